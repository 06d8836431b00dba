"""Bundles on many hosts: prepared on all, switched in batches that stop where it fails; what Ctrl-C does in either phase; what is shown and recorded."""
import json
import os
import re
import signal
import subprocess

import pytest

import processes
from bundles import Farm, Shop
from client import SLOW
from test_deploy import Node, events

DISAGREE, INTERRUPTED = 123, 130
# ~/.ssh/rc, which sshd runs before anything else. Where there is such a file beside the store: `hold` waits while it is there; `hold-switch` does so once a bundle is
# prepared; `break` lets nothing be switched then.
RC = """c=$XDG_CACHE_HOME
ready() { ls "$c"/sshexec/generations/ready-* >/dev/null 2>&1; }
while test -e "$c/hold" || { test -e "$c/hold-switch" && ready; }; do sleep 0.05; done
if test -e "$c/break" && ready; then chmod 500 "$c/sshexec"; fi
"""


class Hosts(Farm):
    """Those that can be held up, or break (RC)."""

    def __init__(self, *what):
        super().__init__(*what)
        rc = self.server.home / ".ssh" / "rc"
        self.own(rc.parent)
        rc.write_text(RC)

    def node(self, number):
        return Node(self.client, self.caches / ("127.0.0.%d" % number) / "sshexec", "127.0.0.%d" % number)

    def flag(self, number, name):
        if not self.server.dedicated:
            pytest.skip("no account can be made here whose ~/.ssh/rc is ours")
        path = self.caches / ("127.0.0.%d" % number) / name
        path.touch()
        return path

    def deploy(self, *words, **how):
        return self.client.run(["deploy", *words, "-w", self.set], **how)

    def versions(self):
        return [(re.findall(r"^bundle web (\S+)", self.node(n + 1).current(), re.M) or [None])[0] for n in range(len(self.names))]


@pytest.fixture
def farm(client, sshd_with, scratch):
    return lambda count=4: Hosts(client, sshd_with, scratch, count)


@pytest.fixture
def shop(client):
    return Shop(client)


def two(shop, extra=b""):
    return shop.bundle("web-1.0", shop.plugin(extra=b"old")), shop.bundle("web-1.1", shop.plugin(extra=b"new" + extra), serial=2)


def test_hosts_that_say_the_same_are_shown_once(shop, farm):
    hosts = farm(3)
    old, new = two(shop)
    size = shop.plugin(extra=b"old").stat().st_size
    done = hosts.deploy("--dry-run", old)
    assert done.text == ("127.0.0.[1-3]: would take web not there -> 1.0, 1 object (%.1f KiB) would be sent\nin all 3 objects (%.1f KiB) would be sent\n"
                         % (size / 1024, 3 * size / 1024)), done
    done = hosts.deploy(old)
    assert done.code == 0 and done.text.startswith("127.0.0.[1-3]: web not there -> 1.0, 1 object (") and re.fullmatch(r"sshexec: 3 hosts in \S+ s: 3 ok\n", done.error), done
    done = hosts.deploy("-q", new)
    assert (done.code, done.text, done.error) == (0, "", ""), done
    done = hosts.deploy(new)
    assert done.text == "127.0.0.[1-3]: had web 1.1 already, nothing was sent or changed (generation 2)\nin all 0 objects (0 B) sent\n", done
    done = hosts.client.run(["rollback", hosts.set])
    assert done.text == "127.0.0.[1-3]: back to generation 1\n" and hosts.versions() == ["1.0"] * 3, done
    done = hosts.client.run(["generations", "-w", hosts.set])
    assert re.fullmatch(r"127.0.0.\[1-3\]:\n     2  .* web 1.1 \(serial 2\)\n\*    1  .* web 1.0 \(serial 1\)\n", done.text), done


def test_a_switch_that_fails_stops_the_batches(shop, farm):
    hosts = farm(4)
    if not hosts.server.dedicated:
        pytest.skip("needs an account that is not root")
    assert hosts.deploy(two(shop)[0]).code == 0
    flag, new = hosts.flag(2, "break"), two(shop)[1]
    done = hosts.deploy("--serial", "1", "--max-fail", "0", new)
    assert done.code == DISAGREE and hosts.versions() == ["1.1", "1.0", "1.0", "1.0"], done
    assert "sshexec: 127.0.0.2: " in done.error and "sshexec: 127.0.0.[3-4]: cancelled: 1 failed, and no more than 0 may\n" in done.error, done
    assert "1 ok, 1 refused (127.0.0.2), 2 cancelled (127.0.0.[3-4])" in done.error or "1 ok, 2 cancelled (127.0.0.[3-4]), 1 refused (127.0.0.2)" in done.error, done
    flag.unlink()
    hosts.node(2).dir.chmod(0o700)
    shown = hosts.client.run(["show", "--json"])
    assert {e["host"]: e["outcome"] for e in map(json.loads, shown.text.splitlines()) if e["event"] == "end"}["127.0.0.2"] == "refused", shown
    done = hosts.client.run(["deploy", new, "--rerun", "failed", "--json"])
    assert done.code == 0 and {json.loads(line)["host"] for line in done.text.splitlines()} == {"127.0.0.2", "127.0.0.3", "127.0.0.4"}, done
    assert hosts.versions() == ["1.1"] * 4 and all(hosts.node(n).is_sound() for n in range(1, 5))


@pytest.mark.long
def test_a_canary_that_fails_is_the_only_one(shop, farm):
    hosts = farm(3)
    if not hosts.server.dedicated:
        pytest.skip("needs an account that is not root")
    assert hosts.deploy(two(shop)[0]).code == 0
    hosts.flag(1, "break")
    done = hosts.deploy("--canary", "1", two(shop)[1])
    assert done.code == DISAGREE and hosts.versions() == ["1.0"] * 3, done
    assert "sshexec: 127.0.0.[2-3]: cancelled: not all of the first 1 were ok\n" in done.error, done
    hosts.node(1).dir.chmod(0o700)


@pytest.mark.long
def test_so_many_that_can_t_be_prepared_are_left_behind(shop, farm):
    hosts = farm(3)
    old, new = two(shop)
    assert hosts.deploy(old).code == 0
    other = shop.bundle("other-1.0", shop.plugin("hella"))
    assert hosts.node(2).run("rollback", "--to", "1").code == 0 and hosts.node(2).deployed("--no-two-phase", other)["switched"]
    clash = shop.bundle("web-1.1", shop.plugin(extra=b"new"), shop.plugin("hella", b"new"), serial=2)
    done = hosts.deploy(clash)
    assert done.code == DISAGREE and hosts.versions() == ["1.0"] * 3 and "127.0.0.[1,3]: prepared, not switched" in done.text, done
    rerun = hosts.client.run(["deploy", "--dry-run", "--json", clash, "--rerun", "cancelled"])
    assert {json.loads(line)["host"] for line in rerun.text.splitlines()} == {"127.0.0.1", "127.0.0.3"}, "they are on the old one"
    done = hosts.deploy("--max-fail", "0", clash)
    assert hosts.versions() == ["1.0"] * 3, done
    done = hosts.deploy("--max-fail", "1", clash)
    assert done.code == DISAGREE and hosts.versions() == ["1.1", "1.0", "1.1"], done
    assert "sshexec: 127.0.0.2: " in done.error and "which the node has from the bundle other 1.0" in done.error, done


@pytest.mark.long
def test_hosts_out_of_reach_count_apart_where_failures_may_be(shop, farm):
    hosts = farm(2)
    new = two(shop)[1]
    words = [new, "-w", hosts.set + ",127.0.0.9:1", "-o", "ConnectTimeout=2"]
    assert hosts.client.run(["deploy", *words]).code == DISAGREE and hosts.versions() == [None, None]
    done = hosts.client.run(["deploy", "--max-fail", "0", *words])
    assert done.code == DISAGREE and hosts.versions() == ["1.1", "1.1"] and "2 ok, 1 unreachable (127.0.0.9:1)" in done.error, done


@pytest.mark.parametrize("flag", [pytest.param("hold", marks=pytest.mark.long), "hold-switch"])
def test_ctrl_c_shows_who_is_pending_and_again_cancels(shop, farm, flag):
    hosts = farm(3)
    old, new = two(shop)
    assert hosts.deploy(old).code == 0
    held = hosts.flag(2, flag)
    at = "prepared" if flag == "hold" else "switched"
    terminal = hosts.client.terminal(["deploy", new, "-w", hosts.set])
    terminal.expect((at + ": 2 of 3").encode())
    terminal.send(b"\x03")
    terminal.expect(b"sshexec: not yet %s: 127.0.0.2\r\nsshexec: interrupt again to cancel" % at.encode())
    held.unlink()
    assert terminal.wait(20) == 0 and hosts.versions() == ["1.1"] * 3, terminal.output
    terminal.close()
    assert hosts.client.run(["rollback", hosts.set]).code == 0
    held = hosts.flag(2, flag)
    terminal = hosts.client.terminal(["deploy", new, "-w", hosts.set])
    terminal.expect((at + ": 2 of 3").encode())
    terminal.send(b"\x03")
    terminal.expect(b"interrupt again")
    terminal.send(b"\x03")
    assert terminal.wait(20) == INTERRUPTED, terminal.output
    terminal.close()
    held.unlink()
    assert hosts.versions() == (["1.0"] * 3 if flag == "hold" else ["1.1", "1.0", "1.1"]), "each is whole"
    assert hosts.deploy(new).code == 0 and hosts.versions() == ["1.1"] * 3 and all(hosts.node(n).is_sound() for n in range(1, 4))


@pytest.mark.long
def test_a_signal_in_the_first_phase_lets_nobody_switch(shop, farm):
    """SIGTERM: at once."""
    hosts = farm(2)
    held = hosts.flag(2, "hold")
    child = hosts.client.popen(["deploy", two(shop)[1], "-w", hosts.set])
    assert processes.wait_until(lambda: list(hosts.node(1).dir.glob("generations/ready-*")), 20 * SLOW)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=20 * SLOW)
    assert child.returncode == 143 and b"127.0.0.1: prepared, not switched" in out and b"127.0.0.2: cancelled" in err, (out, err)
    held.unlink()
    assert hosts.versions() == [None, None]


@pytest.mark.long
def test_a_deadline_is_for_all_of_it(shop, farm):
    hosts = farm(3)
    held = hosts.flag(2, "hold-switch")
    done = hosts.deploy("--deadline", "3s", two(shop)[1])
    held.unlink()
    assert done.code == DISAGREE and hosts.versions() == ["1.1", None, "1.1"] and "127.0.0.2: " in done.error and "the time for the whole run was over" in done.error, done
    done = hosts.client.run(["deploy", two(shop)[1], "--rerun", "failed,unreachable,lost", "-f", "1"])
    assert done.code == 0 and hosts.versions() == ["1.1"] * 3, done


def test_a_line_on_the_terminal_says_how_many_bytes_have_gone(shop, farm):
    hosts = farm(2)
    bundle = two(shop, os.urandom(24 << 20))[1]
    terminal = hosts.client.terminal(["deploy", bundle, "-w", hosts.set])
    terminal.expect(rb"prepared: \d of 2, [\d.]+ \w+ of (24|48)\.\d MiB, [\d.]+ \w+/s")
    assert terminal.wait(60) == 0, terminal.output
    terminal.close()
    assert "in all 2 objects (48." in terminal.output.decode(errors="replace")


def test_json_tells_of_the_bytes_of_each_host(shop, farm):
    hosts = farm(3)
    old, new = two(shop, os.urandom(3 << 20))
    assert hosts.deploy(old).code == 0 and hosts.node(2).deployed(new)["switched"]
    all_events = events(hosts.deploy("--json", new))
    for name in hosts.names:
        *progress, end = [e for e in all_events if e["host"] == name]
        assert end["event"] == "end" and end["outcome"] == "ok", end
        assert [e["event"] for e in progress] == ["progress"] * len(progress) and bool(progress) == (name != "127.0.0.2"), progress
        done = [e["done"] for e in progress]
        assert done == sorted(set(done)) and (not done or done[-1] == progress[-1]["total"] == end["bytes"]), progress
    assert {e["event"] for e in events(hosts.client.run(["generations", "--json", hosts.set]))} == {"generation"}
    assert [e["event"] for e in events(hosts.client.run(["rollback", "--json", hosts.set]))] == ["end"] * 3
    assert {e["event"] for e in events(hosts.client.run(["store", "list", "--json", hosts.set]))} == {"object"}


def test_few_descriptors_make_fewer_hosts_at_a_time(shop, farm):
    """As of run: none fails for it, and it is said once for both rounds of a deploy."""
    hosts = farm(30)
    words = ["prlimit", "--nofile=256:256", *hosts.client.argv(["deploy", two(shop)[0], "-w", hosts.set])]
    done = subprocess.run(words, env=hosts.client.env, cwd=hosts.client.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * SLOW)
    assert done.returncode == 0 and hosts.versions() == ["1.0"] * 30, done
    assert len(re.findall(r"^sshexec: the limit of open files \(ulimit -n\) leaves room for \d+ hosts at a time, not 64$", done.stderr, re.M)) == 1, done
    words[1] = "--nofile=64:4096"
    again = subprocess.run(words, env=hosts.client.env, cwd=hosts.client.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * SLOW)
    assert again.returncode == 0 and "ulimit" not in again.stderr, again


def test_mistakes_with_a_rollout_are_said(shop, farm):
    """A host in place of the bundle; a host that can't be prepared, which holds back the others; a stdout that is full, after which what was begun is in force all the same."""
    hosts = farm(2)
    old, new = two(shop)
    done = hosts.client.run(["deploy", "127.0.0.1"])
    assert done.code == 125 and done.error == "sshexec: deploy takes a bundle first, and there is no file 127.0.0.1 (sshexec deploy --help)\n", done
    done = hosts.deploy(old, "no-such-host.invalid")
    assert done.code == DISAGREE and hosts.versions() == [None, None], done
    assert "sshexec: none was switched, for not all could be prepared (--max-fail N switches the others where N fail)\n" in done.error, done
    for bundle, words, version in ((old, ["--json"], "1.0"), (new, [], "1.1")):
        with open("/dev/full", "w") as full:
            done = subprocess.run(hosts.client.argv(["deploy", *words, bundle, "-w", hosts.set]), env=hosts.client.env, cwd=hosts.client.home, stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=30 * SLOW)
        assert done.returncode == 125 and "sshexec: can't write to stdout: No space left on device\n" in done.stderr and hosts.versions() == [version] * 2, done
