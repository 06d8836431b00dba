"""Runs over many hosts leave a record, which shows them again, and lends its hosts to the next run."""
import json
import re
import signal
import stat

import pytest

import processes
from client import SLOW

PARTLY = ["exec", "--", "sh", "-c", "echo out; echo bad >&2; exit 3"]


def fan(client, *words, hosts="node[1-3]", **how):
    return client.run(["run", "-w", hosts, *words], **how)


def runs(client):
    return client.home / ".local/state/sshexec/runs"


def records(client):
    return sorted(path.name for path in runs(client).iterdir())


def test_a_run_is_shown_again_as_it_was(client):
    done = fan(client, "exec", "--", "sh", "-c", "echo one; echo two >&2; printf three", hosts="node1")
    again = client.run(["show"])
    assert done.code == 0 and again.code == 0 and again.text == done.text and again.error == done.error, (done, again)


def test_it_can_be_shown_in_another_way(client):
    done = fan(client, "hello", "name=Ada")
    assert done.code == 0, done
    name, = records(client)
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-hello", name)
    gathered = client.run(["show", "-b", name])
    assert "node[1-3] (3)" in gathered.text and gathered.text.count("\nhello, Ada") == 1 and "3 hosts" in gathered.error, gathered
    events = [json.loads(line) for line in client.run(["show", "--json", runs(client) / name]).text.splitlines()]
    assert sorted(e["host"] for e in events if e["event"] == "end" and e["outcome"] == "ok" and e["timing"]["total_us"]) == ["node1", "node2", "node3"], events
    assert client.run(["show", "-N", "-q"]).error == ""


def test_it_is_private(client):
    fan(client, "hello")
    name, = records(client)
    assert stat.S_IMODE((runs(client) / name).stat().st_mode) == 0o600 and stat.S_IMODE(runs(client).stat().st_mode) == 0o700


def test_the_list_has_the_newest_last(client):
    fan(client, "hello", "name=Ada")
    fan(client, *PARTLY)
    listed = client.run(["show", "--list"]).text.splitlines()
    assert [line.split()[0] for line in listed] == records(client) and len(listed) == 2
    assert "3 ok" in listed[0] and '"name":"Ada"' in listed[0] and "3 failed" in listed[1], listed


def test_only_the_last_fifty_are_kept(client):
    fan(client, "hello", hosts="node1")
    first, = records(client)
    for n in range(60):
        (runs(client) / ("202601%02dT000000.000000Z-old" % n)).write_bytes(b"")
    (runs(client) / "notes.txt").write_text("mine")
    fan(client, "hello", hosts="node1")
    left = records(client)
    assert len(left) == 51 and first in left and "notes.txt" in left and left[0].startswith("20260112"), left


@pytest.mark.parametrize("which, wanted", [("failed", "node[2-3]"), ("unreachable", "127.0.0.1:1"), ("ok", "node1"), ("all", "127.0.0.1:1,node[1-3]"), ("ok,failed", "node[1-3]")])
def test_the_hosts_of_a_run_are_taken_again(client, which, wanted):
    done = fan(client, "exec", "--", "sh", "-c", 'case $SSH_CONNECTION in *" 127.0.0.1 "*) ;; *) exit 7;; esac', hosts="node[1-3],127.0.0.1:1")
    assert "1 ok, 2 failed (node[2-3]), 1 unreachable" in done.error, done
    again = client.run(["run", "--rerun", which, "--json", "exec", "--", "true"])
    hosts = {json.loads(line)["host"] for line in again.text.splitlines()}
    assert hosts == set(client.run(["hosts", "-w", wanted]).text.split()), again


def test_no_host_to_take_again_is_an_error(client):
    done = client.run(["run", "--rerun", "failed", "hello"])
    assert done.code == 125 and "no record" in done.error, done
    fan(client, "hello", hosts="node1")
    done = client.run(["run", "--rerun", "failed", "hello"])
    assert done.code == 125 and "no host" in done.error and done.error.count("\n") == 1, done
    done = client.run(["run", "--rerun", "broken", "hello"])
    assert done.code == 125 and '"broken" is none of' in done.error, done
    assert len(records(client)) == 1


def test_a_killed_run_has_its_record(client):
    child = client.popen(["run", "-w", "node[1-3]", "exec", "--", "sh", "-c", 'echo up; case $SSH_CONNECTION in *" 127.0.0.1 "*) ;; *) sleep 1000;; esac'])
    for _ in range(3):
        assert child.stdout.readline().endswith(b"up\n")
    name, = records(client)
    assert processes.wait_until(lambda: "1 ok" in client.run(["show", "--list"]).text, 10 * SLOW)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    again = client.run(["show"])
    assert sorted(again.text.splitlines()) == ["node%d: up" % n for n in (1, 2, 3)] and "1 ok, 2 lost (node[2-3])" in again.error, again
    path = runs(client) / name
    whole = path.read_bytes()
    for cut in range(len(whole) - 1, len(whole) - 40, -1): # it may end anywhere
        path.write_bytes(whole[:cut])
        shown = client.run(["show", name])
        assert shown.code == 0 and "lost" in shown.error, shown
    lost = client.run(["run", "--rerun", "lost", "--json", "hello"])
    assert {json.loads(line)["host"] for line in lost.text.splitlines()} >= {"node2", "node3"}, lost


def test_what_is_no_record(client):
    (client.home / "x").write_bytes(b"\x00\x00\x00\x02\x91\x05")
    for name, said in ("./x", "no record"), ("./none", "No such file"), ("nosuch", "sshexec show --list"), ("/", "no record"):
        done = client.run(["show", name], cwd=client.home)
        assert done.code == 125 and said in done.error and done.error.count("\n") == 1, done


def test_a_damaged_record_is_shown_up_to_there(client):
    fan(client, "exec", "--", "sh", "-c", "echo one; sleep 0.2; echo two", hosts="node1")
    name, = records(client)
    whole = (runs(client) / name).read_bytes()
    at = whole.index(b"two\n") - 6 # within the frame's head
    (runs(client) / name).write_bytes(whole[:at] + b"\xc1" + whole[at + 1:])
    done = client.run(["show"])
    assert done.code == 125 and done.text == "node1: one\n" and "1 lost" in done.error and "damaged" in done.error, done


def test_a_place_that_can_not_be_written_to_stops_no_run(client):
    (client.home / ".local").write_text("a file")
    done = fan(client, "hello", hosts="node1")
    assert done.code == 0 and "can't record the run" in done.error, done


def frame(body):
    return len(body).to_bytes(4, "big") + body


def frames(data):
    while data:
        n = int.from_bytes(data[:4], "big")
        yield data[4:4 + n]
        data = data[4 + n:]


def of_many(client, count, said):
    """A record like that of a run over so many hosts, made from one of a single host."""
    fan(client, "exec", "--", "echo", "x", hosts="node1")
    name, = records(client)
    run, *_, end = frames((runs(client) / name).read_bytes())
    assert run[-1:] == b"\x01" and end[:5] == b"\xdc\x00\x1f\x19\x00" # one host; the end of the first
    number = lambda n: b"\xcd" + n.to_bytes(2, "big")
    text = lambda b: b"\xc5" + len(b).to_bytes(2, "big") + b
    data = [frame(run[:-1] + number(count))] + [frame(b"\x92\x01" + text(b"node%d\0" % n)) for n in range(count)]
    for n in range(count):
        data += [frame(b"\x94\x11" + number(n) + b"\x01" + text(said(n))), frame(end[:4] + number(n) + end[5:])]
    (runs(client) / name).write_bytes(b"".join(data))


@pytest.mark.parametrize("groups, limit", [(10000, 1), (1, 0.1)])
def test_ten_thousand_hosts_are_shown_in_no_time(client, groups, limit):
    of_many(client, 10000, lambda n: b"I am %d\n" % (n % groups))
    best = min((client.run(["show", "-b"]) for _ in range(3)), key=lambda done: done.seconds)
    assert best.text.count("I am") == groups and "10000 ok" in best.error, best
    assert best.seconds < limit * SLOW, best
