"""Hosts behind bastions (ProxyJump): one login for all of them, carried on one thread, and what happens when a bastion doesn't do its part."""
import hashlib
import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

import processes
from client import BUILD, SLOW
from fleet import AGENT, BadHosts, Fleet, addresses
from relay import Relay
from sshd import make_key

HELLO = {"name": "fleet"}
TRANSPORT_PROBE, BASTION_PROBE = BUILD / "tests" / "transport_probe", BUILD / "tests" / "bastion_probe"


class Behind:
    """A fleet whose hosts 127.5.* are to be reached through `bastion`, a second sshd, and 127.6.* through `other`, where there is one."""

    def __init__(self, client, sshd, sshd_with, extra="", other=False, authorize=True):
        self.client, self.sshd, self.fleet = client, sshd, Fleet(client, sshd)
        self.bastions = {name: sshd_with(extra=extra) for name in ["bastion"] + ["other"] * other}
        for server in self.bastions.values():
            if authorize:
                server.authorize(client.public_key)
        self.bastion = self.bastions["bastion"]
        self.hosts = addresses(250, net=5) + addresses(250, net=6)
        self.know()
        self.configure()

    def know(self, **changed):
        keys = "".join((changed.get(name) or server).known_hosts(["127.0.0.1"], port=server.port) for name, server in self.bastions.items())
        self.client.known_hosts.write_text(self.sshd.known_hosts(self.hosts) + keys)

    def configure(self, extra="", jumps=(("127.5.*", "bastion"), ("127.6.*", "other"))):
        hops = "".join("Host %s\n  HostName 127.0.0.1\n  Port %d\n  User %s\n" % (name, server.port, server.user) for name, server in self.bastions.items())
        via = "".join("Host %s\n  ProxyJump %s\n" % jump for jump in jumps)
        self.client.write_config(self.sshd, extra="KexAlgorithms curve25519-sha256\n" + extra + hops + via)

    def run(self, hosts, type="hello", state=HELLO, **options):
        options.setdefault("quiet", 1)
        return self.fleet.run(hosts, type, state, **options)


@pytest.fixture
def behind(client, sshd, sshd_with):
    return lambda **how: Behind(client, sshd, sshd_with, **how)


def connections(server):
    return server.log().count("Connection from ")


def forwards(server):
    return server.log().count("server_request_direct_tcpip: originator")


def messages(run):
    return {end["message"] for end in run.ends.values()}


# --- sharing ---

def test_many_hosts_are_one_login_at_their_bastion(behind):
    b, hosts = behind(), addresses(64, net=5)
    before = connections(b.bastion)
    run = b.run(hosts, quiet=0)
    assert run.outcomes() == {"ok": 64} and all(run.output(host) == "hello, fleet\n" for host in hosts), run
    assert b.bastion.logins() == 1 and connections(b.bastion) == before + 1
    assert forwards(b.bastion) == 64
    assert processes.wait_until(lambda: not processes.running(AGENT), 5 * SLOW)


@pytest.mark.long
def test_two_bastions_have_one_login_each(behind):
    b = behind(other=True)
    run = b.run(addresses(12, net=5) + addresses(12, net=6))
    assert run.outcomes() == {"ok": 24}, run
    assert [(s.logins(), forwards(s)) for s in b.bastions.values()] == [(1, 12), (1, 12)]


@pytest.mark.parametrize("jumps", [(("127.5.*", "bastion,other"),), (("127.5.*", "other"), ("other", "bastion"))], ids=["a list", "a bastion's own ProxyJump"])
def test_a_bastion_behind_a_bastion(behind, jumps):
    b = behind(other=True)
    b.configure(jumps=jumps)
    run = b.run(addresses(16, net=5))
    assert run.outcomes() == {"ok": 16}, run
    assert [(s.logins(), forwards(s)) for s in b.bastions.values()] == [(1, 1), (1, 16)]


def test_a_hop_as_it_may_be_written(behind):
    b = behind()
    b.configure(jumps=(("127.5.*", "%s@127.0.0.1:%d" % (b.bastion.user, b.bastion.port)),))
    run = b.run(addresses(8, net=5))
    assert run.outcomes() == {"ok": 8} and b.bastion.logins() == 1, run


def test_a_hop_has_its_own_identity(behind, client, scratch):
    b = behind(authorize=False)
    b.bastion.authorize(make_key(scratch / "hop", "ecdsa"))
    b.configure(extra="Host bastion\n  IdentityFile %s\n  IdentitiesOnly yes\n" % (scratch / "hop"))
    run = b.run(addresses(8, net=5))
    assert run.outcomes() == {"ok": 8} and "ECDSA" in b.bastion.log(), run


def test_one_host_alone_goes_the_same_way(behind, client):
    b = behind()
    done = client.run(["run", "-v", "hello", "127.5.0.1", "name=Ada"])
    assert done.code == 0 and "hello, Ada" in done.text, done
    assert "by libssh: through the bastion bastion" in done.error and "bastion bastion: logged in, as %s" % b.bastion.user in done.error, done
    assert (b.bastion.logins(), forwards(b.bastion)) == (1, 1)


def test_no_jump_where_the_user_says_so(behind, client):
    b = behind()
    done = client.run(["run", "-v", "-o", "ProxyJump=none", "hello", "127.5.0.1"])
    assert done.code == 0 and "bastion" not in done.error and b.bastion.logins() == 0, done


def test_the_system_ssh_where_asked_for(behind):
    b = behind()
    run = b.run(addresses(4, net=5), mode="ssh")
    assert run.outcomes() == {"ok": 4} and b.bastion.logins() == 4, run


def test_the_system_ssh_where_the_bastion_needs_it(behind, client):
    b = behind()
    b.configure(extra="Host bastion\n  CheckHostIP yes\n")
    done = client.run(["run", "-v", "hello", "127.5.0.1"])
    assert done.code == 0 and "by the system ssh: for the bastion bastion, CheckHostIP is set (" in done.error, done
    done = client.run(["run", "--transport", "libssh", "hello", "127.5.0.1"])
    assert done.code == 125 and "for the bastion bastion, CheckHostIP is set" in done.error, done


def test_a_configuration_that_leads_in_a_circle(behind):
    b = behind(other=True)
    b.configure(jumps=(("127.5.*", "other"), ("other", "bastion"), ("bastion", "other")))
    run = b.run(addresses(4, net=5), time_limit=20)
    assert run.outcomes() == {"unreachable": 4} and all("leads back to" in m for m in messages(run)), run
    assert not any(server.logins() for server in b.bastions.values())


# --- bytes ---

def test_fifty_megabytes_both_ways(behind, client):
    b, data = behind(), os.urandom(50 << 20)
    done = subprocess.run([TRANSPORT_PROBE, "-F", client.config, "-t", "libssh", "127.5.0.1", "cat"], env=client.env, input=data, capture_output=True, timeout=60 * SLOW)
    assert done.returncode == 0 and hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest(), done.stderr
    assert b.bastion.logins() == 1 and b"froze" not in done.stderr and b"slept" not in done.stderr


@pytest.mark.long
def test_many_hosts_take_much_and_give_much(behind, scratch):
    b, hosts = behind(), addresses(12, net=5)
    (scratch / "input").write_bytes(os.urandom(2 << 20))
    wanted = hashlib.md5((scratch / "input").read_bytes()).hexdigest()
    state = {"argv": ["sh", "-c", "tee /dev/stderr 2>/dev/null | md5sum; seq 200000"]}
    run = b.run(hosts, "exec", state, input=scratch / "input", quiet=0, time_limit=120)
    text = "%s  -\n%s" % (wanted, "".join("%d\n" % n for n in range(1, 200001)))
    assert run.outcomes() == {"ok": 12} and all(run.output(host) == text for host in hosts), run
    assert b.bastion.logins() == 1


@pytest.fixture
def echo_server():
    """Gives back what it gets, each connection on its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    for side in socket.SO_RCVBUF, socket.SO_SNDBUF: # the kernel lets them grow to tens of MiB, which says nothing of us
        listener.setsockopt(socket.SOL_SOCKET, side, 64 << 10)

    def echo(s):
        with s:
            while data := s.recv(65536):
                s.sendall(data)

    def serve():
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(s,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_one_that_takes_nothing_holds_up_nobody(behind, client, echo_server):
    """What it leaves lying is bounded, and comes through in the end."""
    behind()
    done = subprocess.run([BASTION_PROBE, "-F", client.config, "bastion", str(echo_server), "20"], env=client.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=100 * SLOW)
    said = done.stdout.decode()
    assert done.returncode == 0 and "siblings same" in said and "stuffed one same" in said, (said, done.stderr)
    kernel = int(Path("/proc/sys/net/ipv4/tcp_rmem").read_text().split()[2]) # on the way back into the bastion
    assert 100 << 10 < int(re.match(r"stuffed (\d+)\n", said)[1]) < kernel + (16 << 20), said


@pytest.mark.long
def test_keys_are_exchanged_anew_on_the_way(behind, client):
    """The bastion's session many times within the transfer, its hosts' never."""
    b, data = behind(extra="RekeyLimit 1M"), os.urandom(12 << 20)
    done = subprocess.run([TRANSPORT_PROBE, "-F", client.config, "-t", "libssh", "127.5.0.1", "cat"], env=client.env, input=data, capture_output=True, timeout=60 * SLOW)
    assert done.returncode == 0 and done.stdout == data, done.stderr
    assert b.bastion.log().count("rekey") > 5


# --- a bastion that does not do its part ---

def test_a_login_that_is_refused_is_tried_once(behind):
    b = behind(authorize=False)
    before = connections(b.bastion)
    run = b.run(addresses(40, net=5))
    assert run.outcomes() == {"unreachable": 40} and connections(b.bastion) == before + 1, run
    assert all(re.match(r"bastion bastion: permission denied for \S+ \(publickey\)", m) for m in messages(run)), run


def test_a_bastion_with_another_host_key(behind, sshd):
    b = behind()
    b.know(bastion=sshd)
    before = connections(b.bastion)
    run = b.run(addresses(20, net=5))
    assert run.outcomes() == {"unreachable": 20} and b.bastion.logins() == 0 and connections(b.bastion) == before + 1, run
    assert all(m.startswith("bastion bastion: ") and "host key has CHANGED" in m for m in messages(run)), run


def test_an_unknown_bastion_is_asked_about_once(behind, client):
    b = behind()
    b.know()
    client.known_hosts.write_text(b.sshd.known_hosts(b.hosts))
    terminal = client.terminal(["run", "hello", "127.5.0.1"])
    try:
        terminal.expect(rb"authenticity of host '\[127.0.0.1\]:%d' can't be established" % b.bastion.port)
        terminal.expect(rb"continue connecting \(yes/no/\[fingerprint\]\)\? ")
        terminal.send(b"yes\n")
        terminal.expect(rb"hello, world")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert "[127.0.0.1]:%d" % b.bastion.port in client.known_hosts.read_text()


def test_a_bastion_that_forwards_nothing(behind):
    b = behind(extra="AllowTcpForwarding no")
    run = b.run(addresses(40, net=5))
    assert run.outcomes() == {"unreachable": 40} and b.bastion.logins() == 1, run
    assert all(re.match(r"the bastion bastion does not forward to 127\.5\.\d+\.\d+ port \d+: .*AllowTcpForwarding", m) for m in messages(run)), run


def test_each_host_is_told_its_own_reason(behind, sshd):
    """Refusals come in one breath, and the library keeps one reason only."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        closed = s.getsockname()[1]
    hosts, nobody = addresses(24, net=5), ["%s:%d" % (host, closed) for host in addresses(24, net=5)]
    b = behind(extra="PermitOpen %s" % " ".join("%s:%d" % (host, port) for host in hosts[:16] for port in (sshd.port, closed)))
    run = b.run(hosts + nobody)
    for host in hosts + nobody:
        allowed, message = host.split(":")[0] in hosts[:16], run.ends[host]["message"]
        if not allowed:
            assert "does not forward to" in message, (host, message)
        elif host in nobody:
            assert "the bastion bastion can't connect to" in message and "Connection refused" in message, (host, message)
        else:
            assert run.outcome(host) == "ok", (host, message)


def test_a_silent_bastion_takes_the_time_for_connecting_once(behind, client):
    b = behind()
    with BadHosts({"127.0.0.1": "silent"}) as listeners:
        b.configure(extra="Host bastion\n  Port %d\n" % listeners.port["127.0.0.1"])
        run = b.run(addresses(30, net=5), connect=2000 * SLOW)
        assert len(listeners.kept) == 1
    assert run.outcomes() == {"unreachable": 30} and all(m.startswith("bastion bastion: ") or "did not let anybody in in time" in m for m in messages(run)), run
    assert run.summary["seconds"] < 2 * 2 * SLOW, run


@pytest.mark.long
def test_a_silent_host_behind_a_bastion_holds_up_nobody(behind):
    b, good, bad = behind(), addresses(16, net=5), addresses(8, net=6)
    b.configure(jumps=(("127.5.* 127.6.*", "bastion"),))
    with BadHosts({host: "silent" for host in bad}) as listeners:
        slow = ["%s:%d" % (host, listeners.port[host]) for host in bad]
        run = b.run(slow + good, connect=2500 * SLOW)
    assert run.outcomes() == {"ok": 16, "unreachable": 8} and b.bastion.logins() == 1, run
    assert max(run.ends[host]["at"] for host in good) < min(run.ends[host]["at"] for host in slow), run


def sessions(server):
    """The processes in which it serves those who have logged in."""
    return [p for p in processes.tree(server.process.pid)]


def test_a_bastion_that_dies_takes_its_hosts_with_it(behind):
    """Those whose worker runs are lost; those that come later find nobody. Nothing hangs."""
    b, hosts = behind(), addresses(24, net=5)
    def kill():
        assert processes.wait_until(lambda: forwards(b.bastion) >= 12, 20 * SLOW)
        assert processes.wait_until(lambda: len(processes.running(AGENT)) >= 12, 20 * SLOW)
        b.bastion.stop()
    killer = threading.Thread(target=kill)
    killer.start()
    run = b.run(hosts, "exec", {"argv": ["sleep", "1000"]}, fanout=12, time_limit=60)
    killer.join()
    assert set(run.outcomes()) == {"lost", "unreachable"} and run.outcomes()["lost"] >= 8, run
    lost = {end["message"] for end in run.ends.values() if end["outcome"] == "lost"}
    assert all("the connection to the bastion bastion was lost" in m for m in lost), run
    assert all("bastion bastion" in m for m in messages(run)), run
    assert processes.wait_until(lambda: not processes.running(AGENT), 10 * SLOW)


@pytest.mark.long
def test_a_bastion_that_falls_silent_is_noticed(behind):
    """ServerAliveInterval, of the bastion's own part of the configuration."""
    b, hosts = behind(), addresses(3, net=5)
    with Relay("127.0.0.1", b.bastion.port) as relay:
        with b.client.known_hosts.open("a") as known:
            known.write(b.bastion.known_hosts(["127.0.0.1"], port=relay.port))
        b.configure(extra="Host bastion\n  Port %d\n  ServerAliveInterval 1\n  ServerAliveCountMax 2\n" % relay.port)
        def freeze():
            assert processes.wait_until(lambda: len(processes.running(AGENT)) >= 3, 20 * SLOW)
            time.sleep(1.5) # no condition to wait for: it must live through a question that is answered
            relay.freeze()
        freezer = threading.Thread(target=freeze)
        freezer.start()
        run = b.run(hosts, "exec", {"argv": ["sleep", "1000"]}, time_limit=60)
        freezer.join()
    assert run.outcomes() == {"lost": 3} and all("the connection to the bastion bastion was lost: no sign of life for" in m for m in messages(run)), run


def test_a_lost_login_that_had_served_is_made_anew(behind):
    """sshd goes on, only the session is cut: later hosts of the same run get through."""
    b, hosts = behind(), addresses(6, net=5)
    def cut():
        assert processes.wait_until(lambda: processes.find("sleep 1000"), 20 * SLOW) # its call has been sent, then
        for p in sessions(b.bastion):
            os.kill(p.pid, 9)
    cutter = threading.Thread(target=cut)
    cutter.start()
    run = b.run([(host, {"argv": ["sleep", "1000" if n == 0 else "0"]}) for n, host in enumerate(hosts)], "exec", fanout=1, time_limit=60)
    cutter.join()
    assert run.outcome(hosts[0]) == "lost" and run.outcomes() == {"lost": 1, "ok": 5} and b.bastion.logins() == 2, run


@pytest.mark.long
def test_a_cancelled_run_leaves_the_bastion(behind):
    b, hosts = behind(), addresses(16, net=5)
    run = b.run(hosts, "exec", {"argv": ["sleep", "1000"]}, fanout=8, cancel=2000 * SLOW)
    assert run.outcomes() == {"cancelled": 16}, run
    assert processes.wait_until(lambda: not sessions(b.bastion), 5 * SLOW)


@pytest.mark.long
def test_six_hundred_sessions_at_once_are_two_logins(behind):
    """sshd has a descriptor for each connection, and 1,024 of them."""
    b = behind()
    b.hosts = addresses(600, net=5)
    b.know()
    b.configure(jumps=(("127.5.* 127.6.* 127.7.*", "bastion"),))
    run = b.run(b.hosts, "exec", {"argv": ["sleep", "1000"]}, fanout=600, deadline=90000, time_limit=240)
    assert run.outcomes() == {"timeout": 600} and b.bastion.logins() == 2, run
