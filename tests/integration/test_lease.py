"""A network that goes away without a word, or a sender that stands still: signs of life (--lease, ServerAliveInterval), at both ends."""
import re
import signal
import uuid

import pytest

import processes
from agents import BYE, HELLO, NONCE, PING, Raw, call, frame
from client import BUILD, SLOW
from relay import Relay

LEASE = "%dms" % (700 * SLOW)


@pytest.fixture
def relay(client, sshd):
    with Relay("127.0.0.1", sshd.port) as relay:
        client.connect_to(sshd, port=relay.port)
        yield relay
    client.connect_to(sshd)


class Call:
    """A call of exec that says that it runs, and then does what the shell's words say."""

    def __init__(self, client, before, words, transport="libssh", hosts=("node1",)):
        self.mark = uuid.uuid4().hex
        argv = ["run", "--transport", transport, *before, "exec", *hosts, "--", "env", "LEASE_TEST=" + self.mark, "sh", "-c", "echo runs; " + words]
        self.sender = client.popen(argv)
        assert processes.wait_until(self.workers, 20 * SLOW), self.sender.communicate()
        assert self.sender.stdout.readline().endswith(b"runs\n"), self.sender.communicate()

    def workers(self):
        return processes.find("LEASE_TEST=" + self.mark)

    def is_gone(self):
        """The workers, and the agents with them: the senders hold the mark in their own words."""
        return processes.wait_until(lambda: not [p for p in self.workers() if p.pid != self.sender.pid], 20 * SLOW)

    def end(self):
        _, err = self.sender.communicate(timeout=20 * SLOW)
        return self.sender.returncode, err.decode()


@pytest.mark.parametrize("transport", ["libssh", "ssh"])
def test_silent_network_ends_a_leased_call_at_both_ends(client, relay, transport):
    leased = Call(client, ["--lease", LEASE], "sleep 1000", transport)
    relay.freeze()
    code, error = leased.end()
    assert code == 255 and "the host has given no sign of life for " in error, error
    assert leased.is_gone()


def test_worker_that_floods_into_a_silent_network_ends(client, relay):
    """Nothing of the sender's is read any more by then, for nothing of ours goes out."""
    leased = Call(client, ["--lease", LEASE], "exec cat /dev/zero")
    relay.freeze()
    leased.sender.stdout.close()
    assert leased.is_gone()
    leased.end()


def test_sender_that_stands_still_loses_its_lease(client):
    leased = Call(client, ["--lease", LEASE], "sleep 1000")
    leased.sender.send_signal(signal.SIGSTOP)
    assert leased.is_gone()
    leased.sender.send_signal(signal.SIGCONT)
    code, error = leased.end()
    assert code == 255 and re.search("lost: .*the sender gave no sign of life", error), error


def test_sender_without_a_lease_may_stand_still(client):
    call = Call(client, [], "sleep 1000")
    call.sender.send_signal(signal.SIGSTOP)
    assert not processes.wait_until(lambda: len([p for p in call.workers() if p.pid != call.sender.pid]) == 0, 1)
    call.sender.send_signal(signal.SIGCONT)
    call.sender.send_signal(signal.SIGINT)
    assert call.end()[0] == 130


@pytest.mark.parametrize("words", ["sleep 3", "for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.3; done"], ids=["silent", "chatty"])
def test_lease_is_kept_while_both_ends_live(client, via, words):
    done = client.run(via.words("exec", "--", "sh", "-c", words, before=["--lease", LEASE]), timeout=60)
    assert done.code == 0, done


def test_lease_of_many_hosts(client, relay, sshd):
    """The silent one is lost; the others go on."""
    client.write_config(sshd, "Host silent\n  HostName 127.0.0.1\n  Port %d\nHost node2\n  Port %d\n" % (relay.port, sshd.port))
    client.known_hosts.write_text(sshd.known_hosts() + sshd.known_hosts(port=relay.port))
    leased = Call(client, ["--lease", LEASE, "-q"], "sleep 4", hosts=["-w", "silent,node2"])
    assert leased.sender.stdout.readline().endswith(b": runs\n")
    relay.freeze()
    code, error = leased.end()
    assert code == 123 and "silent: lost: the host has given no sign of life" in error and "node2" not in error, error
    assert leased.is_gone()


def test_server_alive_interval_of_ssh_is_honoured_by_libssh(client, relay):
    """Which way it goes, test_ssh_config_rows.py sees to."""
    watched = Call(client, ["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1"], "sleep 1000")
    relay.freeze()
    code, error = watched.end()
    assert code == 255 and "the host has given no sign of life for 2 s" in error, error
    relay.cut()
    assert watched.is_gone()


def test_fields_of_a_lease_are_checked(client):
    assert '--lease: "soon" is not a duration' in client.run(["run", "--lease", "soon", "hello"]).error
    assert '--lease: "40d" is too long' in client.run(["run", "--lease", "40d", "hello"]).error


# --- the protocol ---

def test_agent_ends_the_session_of_a_silent_sender(client, scratch):
    raw = Raw(client.env, scratch)
    frames = raw.converse(b"sshexec 1 " + NONCE + b"\n" + frame(HELLO, 0, {"min": 1, "max": 1, "window": 1 << 20, "lease_ms": 300}) + call(1, "sleep"), close=False)
    assert frames[-1][0] == BYE and "no sign of life" in frames[-1][2] and raw.code == 1, frames
    raw.half_close()


def test_any_frame_keeps_the_lease(client, scratch):
    raw = Raw(client.env, scratch)
    raw.send(b"sshexec 1 " + NONCE + b"\n" + frame(HELLO, 0, {"min": 1, "max": 1, "window": 1 << 20, "lease_ms": 1500 * SLOW}))
    for token in range(1, 8):
        assert raw.send(frame(PING, 0, token))
        raw.read_until(lambda frames: frames and frames[-1][-1] == token)
        assert not processes.wait_until(lambda: raw.child.poll() is not None, 0.4 * SLOW)
    raw.half_close()
    assert raw.child.wait(10 * SLOW) == 0
