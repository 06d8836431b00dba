"""The harness itself: a real sshd on many addresses, an empty home, and nothing left behind."""
import os
import signal
import subprocess
import time

import pytest

import processes
from client import Client, Terminal
from relay import Relay


@pytest.fixture
def keys(session_dir, sshd, scratch):
    """A client that needs no build."""
    return Client(scratch / "keys", sshd)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "node3"])
def test_sshd_is_many_hosts(keys, host):
    done = keys.ssh(host, "true")
    assert done.returncode == 0 and done.stderr == b""


def test_home_is_empty_and_its_own(keys, clean_sshd):
    done = keys.ssh("node1", 'ls -A "$HOME"; echo "$HOME"; id -u')
    assert done.stdout.decode().split() == [str(clean_sshd.home), str(clean_sshd.uid)]
    assert list(clean_sshd.home.iterdir()) == []


def test_session_starts_where_cwd_says(keys, sshd):
    assert keys.ssh("node1", "pwd").stdout.decode().strip() == str(sshd.cwd)


def test_machine_keeps_its_accounts(sshd):
    assert sshd.dedicated is False or subprocess.run(["getent", "passwd", sshd.user], capture_output=True).returncode == 2


def test_unknown_key_stays_out(sshd, scratch):
    stranger = Client(scratch / "stranger")
    stranger.known_hosts.write_text(sshd.known_hosts())
    stranger.write_config(sshd)
    assert stranger.ssh("node1", "true").returncode == 255


def test_another_sshd_with_extra_lines(sshd_with, scratch):
    server = sshd_with(extra="ForceCommand echo forced")
    done = Client(scratch / "other", server).ssh("node1", "true")
    assert done.stdout == b"forced\n"


def test_orphan_is_found_and_reaped():
    subprocess.run(["sh", "-c", "sleep 987.25 &"], check=True)
    orphans = processes.find("sleep 987.25")
    assert [p.parent for p in orphans] == [os.getpid()]
    os.kill(orphans[0].pid, signal.SIGKILL)
    assert processes.wait_until(lambda: not processes.find("sleep 987.25"), 2)
    with pytest.raises(ChildProcessError):
        os.waitpid(orphans[0].pid, os.WNOHANG)


def test_terminal_has_a_controlling_terminal():
    terminal = Terminal(["sh", "-c", "tty; stty size; read line; echo got $line; exec sleep 60"], dict(os.environ))
    terminal.expect(rb"/dev/pts/\d+\s+24 80")
    terminal.send(b"hello\n")
    terminal.expect(rb"got hello")
    terminal.send(b"\x03")
    assert terminal.wait() == -signal.SIGINT
    terminal.close()


def test_relay_delays(keys, sshd):
    with Relay("127.0.0.1", sshd.port, delay=0.05) as relay:
        keys.connect_to(sshd, relay.port)
        began = time.monotonic()
        assert keys.ssh("node1", "true").returncode == 0
        assert time.monotonic() - began > 0.4 # four round trips at the very least
        assert relay.passed["up"] > 1000 and relay.passed["down"] > 1000


@pytest.mark.parametrize("reset", [False, True])
def test_relay_cuts(keys, sshd, reset):
    with Relay("127.0.0.1", sshd.port, cut_down=100_000, reset=reset) as relay:
        keys.connect_to(sshd, relay.port)
        done = keys.ssh("node1", "head -c 1000000 /dev/zero")
        assert done.returncode == 255 and 0 < len(done.stdout) < 100_000
        assert relay.passed["down"] == 100_000


def test_relay_slows(keys, sshd):
    with Relay("127.0.0.1", sshd.port, rate=200_000) as relay:
        keys.connect_to(sshd, relay.port)
        began = time.monotonic()
        assert len(keys.ssh("node1", "head -c 200000 /dev/zero").stdout) == 200_000
        assert time.monotonic() - began > 0.9
