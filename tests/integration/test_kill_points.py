"""SIGKILL at points spread over a call, a bootstrap and a fifo run: no process, fifo or temporary file stays, and who asked got an outcome.

Each point kills the sender, or what runs at the other end (the shell that brings the agent, the agent, a worker host, the worker: whichever has come up by then).
"""
import os
import signal
import time
from pathlib import Path

import pytest

import processes
from client import SSHEXEC

POINTS = 50
OUTCOMES = {0, 123, 137, 255}  # ok; the command was hit; its worker or the host of that; the link


def far_end(sender):
    """What the test may kill at the other end: whatever runs below the account's sshd sessions, or below the sender where that is this machine."""
    names = ("sshexec", "agents/", "/bin/sh -c", "sleep 0.0", "head -c", "gzip", "sha256sum")
    return [p for p in processes.descendants() if p.pid != sender.pid and any(name in p.command for name in names) and "sshd" not in p.command
            and "ssh " not in p.command and not p.command.startswith(str(SSHEXEC) + " ")] # not the sender's own, which opens its fifo


def leftovers(places):
    """Files that are neither a whole agent nor a whole object under its digest."""
    found = []
    for place in places:
        for path in Path(place).rglob("*"):
            digest = len(path.name) == 64 and path.parent.name in ("agents", "objects")
            if not digest and not path.is_dir() and path.name not in (".bash_history", "lock"):
                found.append(str(path))
    return found


def temporary_names(client, sshd):
    """The names that sshexec makes in shared directories: calls' and fifos' directories, agents on their way. Other runs on this machine make such names
    too, so ours have a directory of their own here (own_temporary), and an owner or a directory of their own at the far end."""
    def is_ours(path):
        try:
            return sshd.dedicated and path.stat().st_uid == sshd.uid
        except FileNotFoundError:
            return False
    own = [own_temporary(client), sshd.root / "tmp"]
    found = [path for place in own for path in place.glob("*sshexec-*")] + [path for place in ("/tmp", "/dev/shm") for path in Path(place).glob("*sshexec-*") if is_ours(path)]
    return {str(path) for path in found if path not in sshd.shared_places()} # those are the account's store where its home didn't do


def own_temporary(client):
    """TMPDIR of what the client starts from now on."""
    path = client.home / "tmp"
    path.mkdir(exist_ok=True)
    client.env["TMPDIR"] = str(path)
    return path


def how_long(client, words):
    start = time.monotonic()
    done = client.run(words)
    assert done.code == 0, done
    return time.monotonic() - start


def kill_at(client, words, delay, whom, turn):
    """Runs it and kills somebody after so long. Returns the exit code of the sender, or None where it was the one."""
    sender = client.popen(words)
    time.sleep(delay)
    if whom == "sender":
        sender.kill()
    else:
        victims = far_end(sender)
        if victims:
            try:
                os.kill(victims[turn % len(victims)].pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    sender.communicate(timeout=20)
    return None if whom == "sender" else sender.returncode


def spread(client, sshd, words, places, before=lambda: None):
    before()
    had, places = temporary_names(client, sshd), [*places, *sshd.shared_places()]
    took = how_long(client, words)
    for i in range(POINTS):
        before()
        code = kill_at(client, words, took * 1.1 * i / POINTS, "sender" if i % 2 else "far end", i // 2)
        assert code is None or code in OUTCOMES, (i, code)
        assert processes.wait_until(lambda: not processes.descendants(), 5), (i, [str(p) for p in processes.descendants()])
        assert processes.wait_until(lambda: not leftovers(places) and temporary_names(client, sshd) <= had, 3), \
            (i, leftovers(places), temporary_names(client, sshd) - had)


@pytest.mark.long
def test_kill_points_over_a_call(client, sshd, via):
    spread(client, sshd, via.words("exec", "--", "sleep", "0.05"), [sshd.home])


@pytest.mark.long
def test_kill_points_over_a_bootstrap(client, clean_sshd, via_ssh):
    spread(client, clean_sshd, via_ssh.words("hello", "name=Ada"), [clean_sshd.home], before=clean_sshd.wipe_home)


@pytest.mark.long
def test_kill_points_over_a_fifo_run(client, sshd):
    spread(client, sshd, ["run", "--transport", "fifo", "exec", "node1", "--", "sleep", "0.05"], [sshd.home])
