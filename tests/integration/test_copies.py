"""put and get with many hosts at once: what arrives, who fails in which way beside whom, what is left when it is cut
short, and hosts that give what nobody asked for."""
import json
import os
import resource
import signal
import struct
from pathlib import Path

import pytest

import processes
from agents import END, HELLO, OUTPUT, RESULT, frame, pack
from client import SLOW
from relay import Relay
from test_files import GONE_S, MIB, PARTIAL, large, look, record, source  # noqa: F401 (a fixture)

DISAGREE, INTERRUPTED = 123, 130


class Hosts:
    """Addresses of one sshd, as many hosts: each has a home of its own, so that the same path is another place on each.
    Those of `relayed` are reached through a relay, a bad network; those of `dead` not at all."""

    def __init__(self, client, make, directory, count, prepare="", relayed=(), dead=()):
        self.client, self.names = client, ["127.0.0.%d" % (n + 1) for n in range(count)]
        self.set, self.dead = "127.0.0.[1-%d]" % count, dead
        self.homes = directory / "homes"
        for name in self.names:
            (self.homes / name).mkdir(parents=True)
        lines = "".join("Match LocalAddress %s\n  SetEnv HOME=%s/%s\n" % (n, self.homes, n) for n in self.names)
        self.server = make(lines + "Match all\n", prepare=prepare)
        self.server.authorize(client.public_key)
        self.relays = {name: Relay(name, self.server.port, **how) for name, how in dict(relayed).items()}
        ports = {self.server.port} | {r.port for r in self.relays.values()}
        client.known_hosts.write_text("".join(self.server.known_hosts(self.names, port) for port in ports))
        self.reach_by_relays()
        for name in self.names:
            self.own(self.home(name))

    def reach_by_relays(self):
        ports = {**{name: relay.port for name, relay in self.relays.items()}, **{name: 1 for name in self.dead}}
        extra = "".join("Host %s\n  HostName 127.0.0.1\n  Port %d\n" % item for item in ports.items())
        self.client.write_config(self.server, extra)

    def reach_directly(self):
        self.client.write_config(self.server)

    def home(self, name):
        return self.homes / name

    def own(self, path):
        path.mkdir(exist_ok=True)
        if self.server.dedicated:
            os.chown(path, self.server.uid, self.server.uid)
        return path

    def warm(self):
        """The agent and the plugins are there: what travels from now on are files."""
        for type in ("put path=~/.unused", "get -- ~/.unused"):
            self.client.run(["run", *type.split()[:1], "-w", self.set, *type.split()[1:]], input=b"")
        return self

    def close(self):
        for relay in self.relays.values():
            relay.__exit__()

    def partials(self):
        return {p.relative_to(self.homes).parts[0]: p for p in self.homes.rglob(PARTIAL)}

    def moving(self):
        """Partial files that have grown to something."""
        return {name for name, path in self.partials().items() if path.exists() and path.stat().st_size > MIB}


@pytest.fixture
def hosts(client, sshd_with, scratch):
    made = []
    def make(count, **how):
        made.append(Hosts(client, sshd_with, scratch, count, **how))
        return made[-1]
    yield make
    for each in made:
        each.close()


def events(done, kind):
    return {e["host"]: e for e in map(json.loads, done.text.splitlines()) if e["event"] == kind}


def outcomes(done):
    return {host: e["outcome"] for host, e in events(done, "end").items()}


def sums(done):
    return {host: e["value"] for host, e in events(done, "result").items()}


def follow(client, words, path):
    """A run with --json, and who has ended until now."""
    with path.open("w+b") as out:
        child = client.popen(words, stdout=out)
    def ended():
        lines = path.read_bytes().splitlines()
        return {json.loads(line)["host"] for line in lines if b'"event":"end"' in line and line.endswith(b"}")}
    return child, ended


def quiet(done):
    """All went well, and one line says so."""
    assert done.code == 0 and done.out == b"" and done.err.count(b"\n") == 1, done
    return done.error


# --- what arrives ---

def test_a_tree_goes_to_many_hosts_and_comes_back_from_each(client, hosts, source, scratch):
    many = hosts(20)
    (source / "sparse").unlink() # large, and no other than for one host
    said = quiet(client.run(["put", "%s/" % source, many.set + ":~/in"]))
    assert said.startswith("sshexec: 20 hosts in ") and said.endswith(": 20 ok\n")
    wanted = look(source)
    assert all(look(many.home(name) / "in") == wanted for name in many.names) and not many.partials()
    again = sums(client.run(["put", "--json", "%s/" % source, many.set + ":~/in"]))
    assert sorted(again) == sorted(many.names)
    assert all(s["files"] == 0 and s["bytes"] == 0 and s["skipped"] > 10 for s in again.values()), again
    (many.home("127.0.0.7") / "in" / "big").unlink() # what one lacks goes to that one
    again = sums(client.run(["put", "--json", "-w", many.set, "%s/" % source, "~/in"]))
    assert {name for name, s in again.items() if s["bytes"]} == {"127.0.0.7"} and again["127.0.0.7"]["files"] == 1
    assert look(many.home("127.0.0.7") / "in") == wanted
    (many.home("127.0.0.3") / "in" / "empty").write_text("its own")
    quiet(client.run(["get", "-w", many.set, "~/in/", scratch / "got"]))
    assert sorted(p.name for p in (scratch / "got").iterdir()) == sorted(many.names)
    assert all(look(scratch / "got" / name) == look(many.home(name) / "in") for name in many.names)
    again = sums(client.run(["get", "--json", many.set + ":~/in/", scratch / "got"]))
    assert sorted(again) == sorted(many.names) and all(s["bytes"] == 0 for s in again.values()), again


def test_a_file_gets_its_new_name_on_each(client, hosts, source, scratch):
    many = hosts(3)
    quiet(client.run(["put", source / "big", many.set + ":~/new"]))
    assert all((many.home(n) / "new").read_bytes() == (source / "big").read_bytes() for n in many.names)
    quiet(client.run(["get", many.set + ":~/new", scratch / "a" / "b"]))
    assert all((scratch / "a" / "b" / n / "new").read_bytes() == (source / "big").read_bytes() for n in many.names)
    alone = client.run(["get", "-w", "127.0.0.2", "~/new", scratch / "set-of-one"]) # a set is a set
    assert quiet(alone) and (scratch / "set-of-one" / "127.0.0.2" / "new").exists()
    assert client.run(["put", "-q", source / "empty", "-w", many.set, "~/new"]).err == b""


# --- hosts that fail, each in its own way ---

def break_some(many):
    """What becomes of a put of "large" to ~/in/large, and why."""
    (many.home("127.0.0.2") / ".config" / "sshexec").mkdir(parents=True)
    (many.home("127.0.0.2") / ".config" / "sshexec" / "agent.conf").write_text("allow = hello\n")
    for name in many.names:
        many.own(many.home(name) / "in")
    (many.home("127.0.0.4") / "in").chmod(0o555)
    os.chown(many.home("127.0.0.4") / "in", 0, 0)


def test_each_host_ends_in_its_own_way_and_the_others_are_whole(client, hosts, source, scratch):
    small = scratch / "homes" / "127.0.0.3"
    mount = "mkdir -p {0}/in && mount -t tmpfs -o size=6m none {0}/in && chown $USER {0}/in || exit".format(small)
    many = hosts(7, prepare=mount, relayed={"127.0.0.6": {"cut_up": 9 * MIB}}, dead=["127.0.0.5"])
    if not many.server.dedicated:
        pytest.skip("needs an account that is not root, and a mount namespace")
    break_some(many)
    data = large(source / "large")
    done = client.run(["put", "--json", data, many.set + ":~/in/large"])
    assert done.code == DISAGREE, done
    assert outcomes(done) == {"127.0.0.1": "ok", "127.0.0.2": "refused", "127.0.0.3": "failed", "127.0.0.4": "failed",
                              "127.0.0.5": "unreachable", "127.0.0.6": "lost", "127.0.0.7": "ok"}, events(done, "end")
    assert "No space left" in events(done, "end")["127.0.0.3"]["message"]
    assert "Permission denied" in events(done, "end")["127.0.0.4"]["message"]
    assert "7 hosts" in done.error and "2 ok" in done.error, done
    for name in many.names:
        there = many.home(name) / "in" / "large"
        assert there.exists() == (name in ("127.0.0.1", "127.0.0.7")), name
        assert not there.exists() or there.read_bytes() == data.read_bytes()
    assert processes.wait_until(lambda: set(many.partials()) == {"127.0.0.6"}, GONE_S * SLOW), many.partials()
    part = many.partials()["127.0.0.6"].stat().st_size
    assert part > 4 * MIB
    # the network and the policy are mended: those hosts get it now, one of them the rest of it
    many.reach_directly()
    (many.home("127.0.0.2") / ".config" / "sshexec" / "agent.conf").unlink()
    done = client.run(["put", "--json", "--rerun", "refused,unreachable,lost", data, "~/in/large"])
    assert done.code == 0 and set(outcomes(done)) == {"127.0.0.2", "127.0.0.5", "127.0.0.6"}, done
    assert sums(done)["127.0.0.6"]["kept"] >= part and sums(done)["127.0.0.5"]["kept"] == 0
    assert all((many.home("127.0.0.%d" % n) / "in" / "large").read_bytes() == data.read_bytes() for n in (2, 5, 6))
    (many.home("127.0.0.4") / "in").chmod(0o755)


def test_what_cannot_be_read_here_is_said_for_each_host(client, hosts, source):
    many = hosts(2)
    os.mkfifo(source / "fifo")
    done = client.run(["put", source, many.set + ":~/in"])
    assert done.code == 1 and done.error.count("/fifo: neither a file") == 2, done
    assert all("%s: " % name in done.error for name in many.names)
    assert all((many.home(name) / "in" / "source" / "big").exists() for name in many.names)


def test_nothing_is_asked_of_hosts_for_wrong_words(client, source):
    big = source / "big"
    sets = [["put", big, "a:x", "-w", "b"], ["put", big, "-w", "b", "--record", "x"],
            ["put", big, "--serial", "2", ":x"], ["put", source / "no", "-w", "a", "x"],
            ["get", "a,b:x", "c:y", "/tmp/z"], ["get", "-w", "a", "b:x", "/tmp/z"],
            ["put", big, "node[1-:x"], ["get", "-w", "a", "x", big], ["put", "-w", "a", big]]
    for words in sets:
        done = client.run(words)
        assert done.code == 125 and done.out == b"" and done.err.count(b"\n") == 1, (words, done)


@pytest.mark.parametrize("command", ["put", pytest.param("get", marks=pytest.mark.long)])
def test_a_host_whose_network_is_dead_delays_nobody(client, hosts, source, scratch, command):
    many = hosts(4, relayed=slow(2)).warm()
    data = large(source / "large")
    for name in many.names if command == "get" else ():
        (many.home(name) / "large").write_bytes(data.read_bytes())
        (many.home(name) / "large").chmod(0o644)
    words = ["put", "--json", data, many.set + ":~/in/"]
    if command == "get":
        words = ["get", "--json", many.set + ":~/large", scratch / "got"]
    for name in many.names:
        many.own(many.home(name) / "in")
    child, ended = follow(client, words, scratch / "events")
    where = many.home("127.0.0.2") if command == "put" else scratch / "got" / "127.0.0.2"
    assert processes.wait_until(lambda: [p for p in where.rglob(PARTIAL) if p.stat().st_size > MIB], 20 * SLOW)
    many.relays["127.0.0.2"].freeze()
    assert processes.wait_until(lambda: ended() == set(many.names) - {"127.0.0.2"}, 20 * SLOW), ended()
    many.relays["127.0.0.2"].thaw()
    assert child.wait(30 * SLOW) == 0 and len(ended()) == 4


# --- cut short ---

def slow(*numbers, rate=8 * MIB):
    return {"127.0.0.%d" % n: {"rate": rate} for n in numbers}


def test_ctrl_c_first_shows_who_is_pending_then_ends_it_everywhere(client, hosts, source, scratch):
    many = hosts(4, relayed=slow(1, 2, 3, rate=3 * MIB)).warm()
    data = large(source / "large", 40)
    sender, ended = follow(client, ["put", "--json", data, many.set + ":~/new"], scratch / "events")
    assert processes.wait_until(lambda: many.moving() >= set(many.names[:3]), 20 * SLOW), many.partials()
    assert processes.wait_until(lambda: ended() == {"127.0.0.4"}, 20 * SLOW), ended()
    sender.send_signal(signal.SIGINT)
    shown = b""
    while b"interrupt again" not in shown:
        shown += sender.stderr.readline()
    assert b"running: 127.0.0.[1-3]" in shown and sender.poll() is None, shown
    sender.send_signal(signal.SIGINT)
    _, err = sender.communicate(timeout=10 * SLOW)
    assert sender.returncode == INTERRUPTED and ended() == set(many.names), (sender.returncode, err)
    assert b"4 hosts in" in err and b"1 ok" in err and b"3 cancelled (127.0.0.[1-3])" in err, err
    assert set(many.partials()) == {"127.0.0.1", "127.0.0.2", "127.0.0.3"}
    assert [name for name in many.names if (many.home(name) / "new").exists()] == ["127.0.0.4"]
    many.reach_directly()
    done = client.run(["put", "--json", data, many.set + ":~/new"])
    assert done.code == 0 and all(s["kept"] > MIB for s in sums(done).values()), done
    assert all((many.home(name) / "new").read_bytes() == data.read_bytes() for name in many.names)


@pytest.mark.parametrize("command", ["put", pytest.param("get", marks=pytest.mark.long)])
def test_a_killed_sender_leaves_no_process_and_what_has_come(client, hosts, source, scratch, command):
    many = hosts(3, relayed=slow(1, 2, 3)).warm()
    data = large(source / "large", 40)
    data.chmod(0o644)
    for name in many.names if command == "get" else ():
        (many.home(name) / "new").write_bytes(data.read_bytes())
    words = {"put": ["put", data, many.set + ":~/new"], "get": ["get", many.set + ":~/new", scratch / "got"]}[command]
    top = many.homes if command == "put" else scratch / "got"
    sender = client.popen(words)
    def parts():
        return [p for p in top.rglob(PARTIAL) if p.exists() and p.stat().st_size > MIB]
    assert processes.wait_until(lambda: len(parts()) == 3, 20 * SLOW), parts()
    sender.kill()
    sender.communicate()
    def left():
        return [p for p in processes.descendants() if "bin/sshexec" in p.command]
    assert processes.wait_until(lambda: not left(), GONE_S * SLOW), left()
    many.reach_directly()
    done = client.run(words[:1] + ["--json"] + words[1:])
    assert done.code == 0 and all(s["kept"] > MIB for s in sums(done).values()), done
    paths = [many.home(n) / "new" if command == "put" else scratch / "got" / n / "new" for n in many.names]
    assert all(path.read_bytes() == data.read_bytes() for path in paths)


@pytest.mark.long
def test_a_deadline_ends_those_that_are_late(client, hosts, source):
    many = hosts(2, relayed={"127.0.0.2": {"rate": MIB}}).warm()
    data = large(source / "large")
    done = client.run(["put", "--json", "-S", "--deadline", "%d" % (5 * SLOW), data, many.set + ":~/new"])
    assert outcomes(done) == {"127.0.0.1": "ok", "127.0.0.2": "timeout"} and done.code == 124, done


def test_a_terminal_shows_how_far_it_is(client, hosts, source):
    many = hosts(3, relayed=slow(1, 2, 3)).warm()
    terminal = client.terminal(["put", large(source / "large"), many.set + ":~/new"])
    terminal.expect(rb"0/3 done, 3 running, 0 failed, 0 to go, [1-9]\d*\.\d MiB, ")
    assert terminal.wait(30) == 0 and b"3 hosts in" in terminal.output
    terminal.close()


# --- hosts that are not to be trusted ---

@pytest.fixture
def pretend(client, scratch):
    """Hosts that are no more than what they say: pretend(name=bytes). Any other is this machine, with its own home."""
    def make(**hosts):
        for name, said in hosts.items():
            (scratch / name).write_bytes(said)
        lead = scratch / "lead"
        lead.write_text("""#!/bin/sh
top=%s host=$1
shift
if test -e "$top/$host"; then
    read -r greeting version nonce
    printf 'sshexec-agent 1 %%s\\r\\n\\0\\377' $nonce
    exec cat "$top/$host" -
fi
mkdir -p "$top/home/$host" && cd "$top/home/$host" && HOME=$PWD XDG_CACHE_HOME=$PWD/.cache exec "$@"
""" % scratch)
        lead.chmod(0o755)
        config = client.home / ".config" / "sshexec" / "config"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text("transport = pretend\n[transport pretend]\ncommand = %s %%h %%c\n" % lead)
        return scratch / "home"
    return make


def entry(name, size=4):
    return record(b"F", struct.pack(">IqIQ", 0o644, 1, 0, size) + name)


def saying(stream):
    """What an agent says that has run its part of a get to the end, and is content."""
    sums = {name: 0 for name in ("files", "skipped", "directories", "links", "bytes", "kept", "problems")}
    return (frame(HELLO, 0, {"min": 1, "max": 1, "window": 1 << 20}) + frame(OUTPUT, 1, 1, stream) +
            frame(RESULT, 1, pack(sums), False) + frame(END, 1, 0, {}))


START = record(b"S", b"ssxfiles\1\1")
DOWN = record(b"D", struct.pack(">IqI", 0o755, 1, 0) + b"data")
LINK = struct.pack(">IqIB", 0o777, 1, 0, 4) + b"data"
TRICKS = {
    "up": START + entry(b"../other"), "absolute": START + entry(b"/etc/passwd"), "dots": START + entry(b".."),
    "unasked": START + entry(b".bashrc"), "link": START + record(b"L", LINK + b"/tmp"), "nothing": START,
    "out": START + DOWN + record(b"U") + record(b"U"), "deeper": START + DOWN + entry(b"../../other"),
    "noise": b"\xff" * 100,
}


def test_a_host_can_t_choose_what_is_written_here(client, pretend, scratch):
    home = pretend(**{name: saying(stream) for name, stream in TRICKS.items()})
    (home / "good").mkdir(parents=True)
    (home / "good" / "data").write_text("true")
    got = scratch / "got"
    done = client.run(["get", "--json", "good,%s:data" % ",".join(TRICKS), got])
    assert done.code == DISAGREE, done
    ends = outcomes(done)
    assert ends.pop("good") == "ok" and set(ends.values()) == {"failed"} and len(ends) == len(TRICKS), ends
    assert all("it is not" in e["message"] for host, e in events(done, "end").items() if host in ends), done
    written = {str(p.relative_to(got)) for p in got.rglob("*")} - {"out/data", "deeper/data", "out", "deeper"}
    assert written == {"good", "good/data"} and (got / "good" / "data").read_text() == "true", written
    assert {p.name for p in scratch.iterdir()} == {"got", "home", "lead", *TRICKS}


def test_a_host_s_name_is_one_part_of_a_path(client, pretend, scratch):
    home = pretend()
    odd = {"..": "%2E.", ".hidden": "%2Ehidden", "user@node1:22": "user@node1:22"}
    for name in (".hidden", "node1"):
        (home / name).mkdir(parents=True)
        (home / name / "data").write_text(name)
    got = scratch / "deep" / "got"
    done = client.run(["get", "--json", "-w", ",".join(odd), "data", got])
    assert {p.name for p in got.iterdir()} <= set(odd.values()), done
    assert [p.name for p in got.parent.iterdir()] == ["got"]
    assert (got / "%2Ehidden" / "data").read_text() == ".hidden"
    assert (got / "user@node1:22" / "data").read_text() == "node1"


# --- processes that die, and too few descriptors ---

def kill_far(home, wanted):
    """Of a pretended host, those processes."""
    def said(pid, what):
        try:
            return Path("/proc/%d/%s" % (pid, what)).read_bytes().rstrip(b"\n").split(b"\0")
        except OSError:
            return []
    mark = b"HOME=" + os.fsencode(home)
    its = [p for p in processes.descendants() if mark in said(p.pid, "environ")]
    found = [p.pid for p in its if wanted(p, said(p.pid, "comm"))]
    assert found
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def test_a_worker_and_an_agent_that_are_killed_take_nobody_with_them(client, pretend, source):
    home = pretend()
    with open(source / "huge", "wb") as huge:
        huge.truncate(1 << 29)
    sender = client.popen(["put", "--json", source / "huge", "n[1-4]:new"])
    def under_way(name):
        return list((home / name).glob(PARTIAL))
    assert processes.wait_until(lambda: under_way("n2") and under_way("n3"), 20 * SLOW)
    kill_far(home / "n2", lambda p, name: name == [b"sshexec-call"])
    kill_far(home / "n3", lambda p, name: p.parent == sender.pid)
    out, err = sender.communicate(timeout=60 * SLOW)
    ends = {e["host"]: e["outcome"] for e in map(json.loads, out.splitlines()) if e["event"] == "end"}
    assert ends == {"n1": "ok", "n2": "crashed", "n3": "lost", "n4": "ok"}, (ends, err)
    assert sender.returncode == DISAGREE
    assert {n: (home / n / "new").exists() for n in ends} == {"n1": True, "n2": False, "n3": False, "n4": True}


def test_few_descriptors_mean_fewer_hosts_at_a_time(client, pretend, source):
    home = pretend()
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (260, 260))
    sender = client.popen(["put", source / "big", "n[1-20]:new"], preexec_fn=few)
    out, err = sender.communicate(timeout=60 * SLOW)
    assert sender.returncode == 0 and b"(ulimit -n) leaves room for" in err and b"20 hosts in" in err, err
    assert {(home / ("n%d" % n) / "new").stat().st_size for n in range(1, 21)} == {3 * MIB + 1}


# --- what the record keeps ---

def test_a_transfer_has_a_record_like_any_run(client, pretend, source):
    home = pretend()
    assert client.run(["put", source / "big", "n[1-3]:x"]).code == 0
    listed = client.run(["show", "--list"]).text
    assert "-put  3 hosts in " in listed and ": 3 ok" in listed and '{"path":"x"}' in listed
    shown = client.run(["show", "--json"])
    assert {e["value"]["size"] for e in events(shown, "item").values()} == {3 * MIB + 1} and len(outcomes(shown)) == 3
    (home / "n2" / "x").unlink()
    (home / "n2" / "x").mkdir()
    (home / "n2" / "x" / "big").mkdir() # in the way
    done = client.run(["put", source / "big", "n[1-3]:x"])
    assert done.code == DISAGREE and "1 failed (n2)" in done.error, done
    (home / "n2" / "x" / "big").rmdir()
    done = client.run(["put", "--rerun", "failed", source / "big", "x"])
    assert done.code == 0 and "1 host in" in done.error, done
    assert (home / "n2" / "x" / "big").stat().st_size == 3 * MIB + 1


def test_batches_stop_where_one_fails(client, pretend, source):
    home = pretend()
    (home / "n2").mkdir(parents=True)
    (home / "n2" / "x").mkdir()
    (home / "n2" / "x" / "big").mkdir()
    done = client.run(["put", "--serial", "1", "--max-fail", "0", source / "big", "n[1-4]:x"])
    assert done.code == DISAGREE and "1 ok, 1 failed (n2), 2 cancelled (n[3-4])" in done.error, done
    assert (home / "n1" / "x").exists() and not (home / "n3").exists()
