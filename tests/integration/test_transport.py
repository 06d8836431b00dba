"""core/transport against a real sshd, through BUILD/tests/transport_probe: both ways, host keys, keys, and each trap of libssh."""
import hashlib
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

import processes
from client import BUILD, SANITIZED, SLOW, sanitizer_environment
from relay import Relay
from sshd import make_key

PROBE = Path(BUILD) / "tests" / "transport_probe"
CONNECT = ["-o", "ConnectTimeout=%d" % (5 * SLOW)]


class Probe:
    """A user of ssh: a home with a key, a known_hosts and a configuration, none of which is the machine's."""

    def __init__(self, home, sshd, sanitizer_dir):
        self.home, self.sshd = home, sshd
        home.mkdir()
        self.key, self.known_hosts, self.config = home / "key", home / "known_hosts", home / "config"
        self.public = make_key(self.key)
        sshd.keys_path.write_text(self.public + "\n")
        self.known_hosts.write_text(sshd.known_hosts())
        self.config.write_text("")
        self.environment = dict(os.environ, HOME=str(home))
        for name in ("SSH_AUTH_SOCK", "KRB5CCNAME"):
            self.environment.pop(name, None)
        if SANITIZED:
            self.environment.update(sanitizer_environment(sanitizer_dir))

    def argv(self, *words, host="127.0.0.1", port=None, key=True):
        identity = ["-i", self.key] if key is True else ["-o", "IdentityFile=%s" % (key or "none")]
        words = [str(w) for w in words]
        options = words[:-1] if words else []
        return [str(w) for w in [PROBE, "-F", self.config, "-p", port or self.sshd.port, "-l", self.sshd.user, *identity, *CONNECT,
                "-o", "UserKnownHostsFile=%s" % self.known_hosts, "-o", "GlobalKnownHostsFile=none", *options, host, *words[-1:]]]

    def run(self, *words, stdin=b"", **how):
        return self.call(self.argv(*words, **how), stdin)

    def call(self, argv, stdin=b""):
        return subprocess.run(argv, input=stdin, capture_output=True, env=self.environment, timeout=60 * SLOW)

    def fail(self, *words, **how):
        """The message of a run that must fail before anything ran."""
        done = self.run(*words, **how)
        assert done.returncode == 255 and done.stdout == b"", done
        return done.stderr.decode()

    def route(self, *options, **how):
        done = self.call(self.argv("-e", *options, "true", **how))
        return (done.stdout + done.stderr).decode().strip()


@pytest.fixture
def probe(scratch, sshd, sanitizer_dir):
    return Probe(scratch / "home", sshd, sanitizer_dir)


@pytest.fixture
def agent(probe, key_agent):
    """An ssh-agent, in the probe's environment; what it gives takes keys for it."""
    probe.environment["SSH_AUTH_SOCK"] = str(key_agent)
    return lambda *words: subprocess.run(["ssh-add", "-q", *words], check=True, env=probe.environment, stderr=subprocess.PIPE)


@pytest.fixture(params=["libssh", "ssh"])
def transport(request):
    return request.param


# --- bytes ---

def test_streams_and_status(probe, transport):
    done = probe.run("-t", transport, "cat; echo apart >&2; exit 7", stdin=b"in\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"in\n", b"apart\n", 7)


def test_killed_command(probe):
    assert probe.run("-t", "libssh", "kill -9 $$").returncode == 128 + 9


def test_bulk_both_ways(probe, transport):
    data = os.urandom(1 << 20) * (8 if SANITIZED else 24)
    done = probe.run("-t", transport, "cat", stdin=data)
    assert done.returncode == 0 and hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert done.stderr == b"" # nor did it sleep on bytes that had come


def test_both_streams_at_once(probe):
    """Bytes of one stream that arrive while the other is read must not wait in libssh's memory while poll sleeps."""
    done = probe.run("-t", "libssh", "for i in $(seq 300); do head -c 20000 /dev/zero; head -c 20000 /dev/zero >&2; done")
    assert (len(done.stdout), len(done.stderr), done.returncode) == (6000000, 6000000, 0)


def test_rekeying_in_the_middle(probe):
    data = os.urandom(1 << 20) * 4
    done = probe.run("-t", "libssh", "-o", "RekeyLimit=1M", "cat", stdin=data)
    assert done.returncode == 0 and done.stdout == data


def test_stalled_link_does_not_freeze_a_write(probe, sshd):
    """libssh makes the socket blocking and sends all it holds at once: on a slow link one write froze for seconds."""
    data = bytes(32 << 20) # more than the kernel holds
    with Relay("127.0.0.1", sshd.port) as relay:
        probe.known_hosts.write_text(sshd.known_hosts(port=relay.port))
        threading.Thread(target=stall, args=(relay, 2), daemon=True).start()
        done = probe.run("-t", "libssh", "wc -c", stdin=data, port=relay.port)
    assert done.stdout.split() == [b"%d" % len(data)] and b"froze" not in done.stderr, done


def stall(relay, seconds):
    processes.wait_until(lambda: relay.passed["up"] > 1 << 20, 30)
    relay.freeze()
    time.sleep(seconds)
    relay.thaw()


def test_broken_link_is_an_error(probe, sshd):
    with Relay("127.0.0.1", sshd.port, cut_down=200000, reset=True) as relay:
        probe.known_hosts.write_text(sshd.known_hosts(port=relay.port))
        done = probe.run("-t", "libssh", "cat /dev/zero", port=relay.port)
    assert done.returncode == 255
    assert b"error 5: the connection broke" in done.stderr


# --- time ---

@pytest.mark.skipif(SANITIZED, reason="measures time")
def test_no_pause_of_40_ms(probe):
    """sshd's Nagle and our delayed acknowledgement: 75 ms and more instead of 40, in every connection. TCP_QUICKACK isn't sticky: it has to be on
    before each wait of the set-up. (How long it all takes is the benchmark's to say: a busy machine has pauses of its own.)"""
    done = probe.call(["strace", "-f", "-e", "trace=setsockopt,poll,ppoll", *probe.argv("-t", "libssh", "-T", "true")])
    quick, waits = False, []
    connected = done.stderr.decode(errors="replace").partition("TCP_NODELAY")[2]
    for line in connected.splitlines():
        if "TCP_QUICKACK" in line:
            quick = True
        elif re.search(r"poll\(\[\{fd=\d+, events=POLLIN[^]]*\], \d+, [1-9]", line): # one that waits, for something from sshd
            waits.append(quick)
            quick = False
        elif line.startswith("time: open "):
            break
    assert done.returncode == 0 and len(waits) > 3 and all(waits), (waits, done.stderr)


def test_interrupted_while_connecting(probe, sshd):
    with Relay("127.0.0.1", sshd.port) as relay:
        relay.freeze()
        child = processes.start(probe.argv("-t", "libssh", "true", port=relay.port), env=probe.environment,
                                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert processes.wait_until(lambda: len(relay.sockets) == 2, 10)
        time.sleep(0.2)
        begin = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert b"error 7: interrupted" in child.communicate(timeout=10)[1]
        assert time.monotonic() - begin < SLOW


def test_silent_server(probe, sshd):
    with Relay("127.0.0.1", sshd.port) as relay:
        relay.freeze()
        message = probe.fail("-t", "libssh", "-c", "500", "true", port=relay.port)
    assert "took too long for its SSH greeting: gave up after 0.5 s" in message


# --- getting there ---

def test_connection_refused(probe):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    assert "error 5: can't connect to 127.0.0.1 port %d: connection refused" % port in probe.fail("true", port=port)


def test_host_not_found(probe):
    assert "error 5: can't find the host nowhere.invalid" in probe.fail("true", host="nowhere.invalid")


def test_not_an_ssh_server(probe):
    """Hung up on before the greeting, it tries again a few times."""
    with Hasty(0, turned_away=100) as server:
        message = probe.fail("-v", "true", port=server.port)
    assert "hung up before any greeting of SSH: too many logins at once (MaxStartups), or no SSH server there" in message
    assert server.count == 5


def test_turned_away_at_first(probe, sshd):
    """As sshd does at random beyond MaxStartups: nothing was tried, so trying again is right."""
    with Hasty(sshd.port, turned_away=2) as server:
        probe.known_hosts.write_text(sshd.known_hosts(port=server.port))
        assert probe.run("-t", "libssh", "echo in", port=server.port).stdout == b"in\n"
    assert server.count == 3


class Hasty:
    """Hangs up on the first connections, then passes one on to `target`."""

    def __init__(self, target, turned_away):
        self.relay = Relay("127.0.0.1", target)
        self.listener, self.turned_away, self.count = socket.create_server(("127.0.0.1", 0)), turned_away, 0
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.relay.__exit__()

    def _serve(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            if self.count <= self.turned_away:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.relay.port))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


# --- host keys ---

def test_unknown_host_key(probe):
    probe.known_hosts.write_text("")
    message = probe.fail("-t", "libssh", "-o", "StrictHostKeyChecking=yes", "true")
    assert re.search(r"error 5: won't connect to \[127\.0\.0\.1\]:\d+: its ED25519 host key SHA256:[\w+/]{43} "
                     r"is not in .*known_hosts; .*accept-new", message)
    assert probe.known_hosts.read_text() == ""


@pytest.mark.parametrize("hashed", ["yes", "no"])
def test_accept_new(probe, hashed):
    probe.known_hosts.unlink()
    options = ["-t", "libssh", "-o", "StrictHostKeyChecking=accept-new", "-o", "HashKnownHosts=" + hashed]
    assert probe.run(*options, "echo in").stdout == b"in\n"
    line = probe.known_hosts.read_text()
    assert line.count("\n") == 1 and line.startswith("|1|" if hashed == "yes" else "[127.0.0.1]:") and " ssh-ed25519 " in line
    assert probe.run("-t", "libssh", "-o", "StrictHostKeyChecking=yes", "echo in").stdout == b"in\n"
    assert probe.run("-t", "ssh", "-o", "StrictHostKeyChecking=yes", "echo in").stdout == b"in\n"
    assert probe.known_hosts.read_text() == line


def test_asks_about_an_unknown_key(probe):
    probe.known_hosts.write_text("")
    assert "won't connect" in probe.fail("-t", "libssh", "-a", "no", "true")
    assert "won't connect" in probe.fail("-t", "libssh", "-a", "yes", "-o", "BatchMode=yes", "true")
    done = probe.run("-t", "libssh", "-a", "maybe\nyes", "echo in")
    assert done.stdout == b"in\n" and b"The authenticity of host '[127.0.0.1]:" in done.stderr
    assert probe.known_hosts.read_text().count("\n") == 1


def test_changed_host_key(probe, sshd, scratch):
    other = make_key(scratch / "other")
    probe.known_hosts.write_text("# first\n[127.0.0.1]:%d %s\n" % (sshd.port, other))
    for policy in ("yes", "accept-new"):
        message = probe.fail("-t", "libssh", "-o", "StrictHostKeyChecking=" + policy, "true")
        assert re.search(r"its ED25519 host key has CHANGED to SHA256:\S+, .*known_hosts:2 holds another", message)
    assert probe.run("-t", "libssh", "-o", "StrictHostKeyChecking=no", "echo in").stdout == b"in\n"


def test_revoked_host_key(probe, sshd):
    """libssh skips every line that begins with @."""
    with probe.known_hosts.open("a") as lines:
        lines.write("@revoked * %s\n" % sshd.host_keys["ed25519"])
    for policy in ("yes", "no", "accept-new"):
        message = probe.fail("-t", "libssh", "-o", "StrictHostKeyChecking=" + policy, "true")
        assert "is revoked by %s:" % probe.known_hosts in message


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_asks_the_server_for_the_key_on_file(probe, sshd, kind):
    probe.known_hosts.write_text("[127.0.0.1]:%d %s\n" % (sshd.port, sshd.host_keys[kind]))
    assert probe.run("-t", "libssh", "-o", "StrictHostKeyChecking=yes", "echo in").stdout == b"in\n"


def test_key_filed_without_a_port(probe, sshd):
    probe.known_hosts.write_text("127.0.0.1 %s\n" % sshd.host_keys["ed25519"])
    assert probe.run("-t", "libssh", "-o", "StrictHostKeyChecking=yes", "echo in").stdout == b"in\n"


# --- proving who we are ---

@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_key_files(probe, sshd, scratch, kind):
    sshd.authorize(make_key(scratch / kind, kind))
    (scratch / (kind + ".pub")).unlink()
    assert probe.run("-t", "libssh", "echo in", key=scratch / kind).stdout == b"in\n"
    assert not (scratch / (kind + ".pub")).exists() # libssh's own way writes it


@pytest.mark.parametrize("form", ["openssh", "pem"])
def test_encrypted_key(probe, sshd, scratch, form):
    key = scratch / "locked"
    make_key(key, "rsa", "secret")
    if form == "pem":
        subprocess.run(["ssh-keygen", "-q", "-p", "-m", "PEM", "-P", "secret", "-N", "secret", "-f", key], check=True,
                       stdout=subprocess.DEVNULL)
    sshd.authorize(Path(str(key) + ".pub").read_text().strip())
    done = probe.run("-t", "libssh", "-a", "wrong\nsecret", "echo in", key=key)
    assert done.stdout == b"in\n" and done.stderr.count(b"asked(hidden): Enter passphrase for key '%s'" % str(key).encode()) == 2
    assert "%s is encrypted, and there is no terminal to ask" % key in probe.fail("-t", "libssh", "true", key=key)
    assert "no right passphrase came" in probe.fail("-t", "libssh", "-a", "a\nb\nc\nsecret", "true", key=key)


def test_does_not_ask_for_a_key_that_the_host_refuses(probe, scratch):
    make_key(scratch / "locked", passphrase="secret")
    message = probe.fail("-t", "libssh", "-a", "secret", "true", key=scratch / "locked")
    denied = "permission denied for %s@127.0.0.1 (publickey): tried %s" % (probe.sshd.user, scratch / "locked")
    assert "asked" not in message and denied in message


def test_permission_denied_names_what_was_tried(probe, scratch):
    make_key(scratch / "stranger")
    message = probe.fail("-t", "libssh", "true", key=scratch / "stranger")
    assert "(publickey): tried %s; the host takes publickey, sshexec offers keys only" % (scratch / "stranger") in message


def test_no_key_at_all(probe):
    assert "there is no key to offer (no IdentityFile exists, no ssh-agent answers)" in probe.fail("-t", "libssh", "true", key=None)


def test_key_that_others_can_read(probe):
    probe.key.chmod(0o644)
    assert "%s is not used, for others can read it (chmod 600)" % probe.key in probe.fail("-t", "libssh", "true")


def test_agent_key(probe, agent):
    agent(probe.key)
    probe.key.unlink()
    assert probe.run("-t", "libssh", "echo in", key=None).stdout == b"in\n"
    assert "no key to offer" in probe.fail("-t", "libssh", "-o", "IdentitiesOnly=yes", "true", key=None)
    assert probe.run("-t", "libssh", "-o", "IdentitiesOnly=yes", "echo in", key=probe.key).stdout == b"in\n" # its .pub is there
    assert "no key to offer" in probe.fail("-t", "libssh", "-o", "IdentityAgent=none", "true", key=None)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_agent_signs_with_other_kinds(probe, agent, sshd, scratch, kind):
    sshd.authorize(make_key(scratch / kind, kind))
    agent(scratch / kind)
    assert probe.run("-t", "libssh", "echo in", key=None).stdout == b"in\n"


def test_full_agent_does_not_use_up_the_tries(probe, agent, scratch):
    """sshd hangs up after six keys; libssh would offer the agent's all."""
    for n in range(8):
        make_key(scratch / str(n))
        agent(scratch / str(n))
    assert probe.run("-t", "libssh", "echo in").stdout == b"in\n"
    agent(probe.key)
    assert probe.run("-t", "libssh", "echo in").stdout == b"in\n"
    message = probe.fail("-t", "libssh", "true", key=None)
    assert "Too many authentication failures" in message and "IdentitiesOnly" in message


def test_hanging_agent(probe):
    """libssh would wait for it for ever."""
    path = probe.home / "agent"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen(4)
        probe.environment["SSH_AUTH_SOCK"] = str(path)
        begin = time.monotonic()
        assert probe.run("-t", "libssh", "echo in").stdout == b"in\n"
        assert time.monotonic() - begin < 6 * SLOW


# --- which transport ---

def test_libssh_by_default(probe):
    assert probe.route().startswith("libssh: ")


@pytest.mark.parametrize("option, reason", [
    ("ProxyJump=%h-bastion", "ProxyJump is set (%h-bastion)"),
        ("ProxyJump=bastion", ""),
    ("HostKeyAlias=x", "HostKeyAlias is set (x)"),
    ("ServerAliveInterval=9", ""),
    ("Ciphers=3des-cbc", ""),
    ("MACs=umac-64@openssh.com", "libssh knows nothing of what MACs asks for"),
    ("KexAlgorithms=sntrup761x25519-sha512@openssh.com", "libssh knows nothing of what KexAlgorithms asks for"),
])
def test_reasons(probe, option, reason):
    said = probe.route("-o", option)
    assert said == "ssh: " + reason if reason else said.startswith("libssh: ")
    if reason:
        message = probe.fail("-t", "libssh", "-o", option, "true")
        assert "error 2: can't reach 127.0.0.1 by libssh: %s; use --transport auto or ssh" % reason in message


def test_certificate_beside_the_key(probe):
    Path(str(probe.key) + "-cert.pub").write_text("x\n")
    assert probe.route() == "ssh: %s-cert.pub exists" % probe.key


def test_security_key(probe):
    Path(str(probe.key) + ".pub").write_text("sk-ssh-ed25519@openssh.com AAAA x\n")
    assert probe.route() == "ssh: %s is a security key" % probe.key


def test_certificate_authority_for_the_host(probe, sshd):
    probe.known_hosts.write_text("@cert-authority * %s\n" % sshd.host_keys["ed25519"])
    assert probe.route() == "ssh: %s:1 trusts a certificate authority for the host" % probe.known_hosts


def test_certificate_in_the_agent(probe, agent, scratch):
    make_key(scratch / "ca")
    make_key(scratch / "mine", comment="me")
    subprocess.run(["ssh-keygen", "-q", "-s", scratch / "ca", "-I", "id", scratch / "mine.pub"], check=True)
    agent(scratch / "mine")
    assert re.match("ssh: the agent's .* is a certificate", probe.route())


def test_master_that_answers(probe):
    path = probe.home / "master"
    options = ["-o", "ControlPath=%s" % path]
    assert probe.route(*options).startswith("libssh: ")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        assert probe.route(*options).startswith("libssh: ") # stale: nobody listens
        s.listen(1)
        assert probe.route(*options) == "ssh: ControlPath %s answers now" % path


def test_kerberos_ticket(probe):
    assert probe.route("-o", "GSSAPIAuthentication=yes").startswith("libssh: ")
    ticket = probe.home / "ticket"
    ticket.write_text("x")
    probe.environment["KRB5CCNAME"] = "FILE:%s" % ticket
    assert "there is a Kerberos ticket (%s)" % ticket in probe.route("-o", "GSSAPIAuthentication=yes")
    assert probe.route("-o", "GSSAPIAuthentication=no").startswith("libssh: ")


def test_auto_goes_through_ssh_where_needed(probe, sshd):
    probe.config.write_text("Host front\n  HostName 127.0.0.1\n  HostKeyAlias alias\n")
    probe.known_hosts.write_text("alias %s\n" % sshd.host_keys["ed25519"])
    done = probe.run("-v", "-o", "StrictHostKeyChecking=yes", "echo in", host="front")
    assert done.stdout == b"in\n" and b"v1: front: by the system ssh: HostKeyAlias is set (alias)" in done.stderr


def test_host_from_the_configuration(probe, sshd):
    probe.config.write_text("Host front\n  HostName 127.0.0.1\n  Port 1\n")
    done = probe.run("-v", "echo in", host="%s@front:%d" % (sshd.user, sshd.port), port=1)
    assert done.stdout == b"in\n" and b"by libssh" in done.stderr


def test_bad_configuration(probe):
    assert re.search("error 2: ssh refuses its configuration for 127.0.0.1: .*nonsense", probe.fail("-o", "Nonsense=1", "true"))
    assert "error 2: '-oProxyCommand=x' can't be a host" in probe.fail("--", "true", host="-oProxyCommand=x")


def test_algorithms_that_the_user_chose(probe):
    done = probe.run("-v", "-t", "libssh", "-o", "KexAlgorithms=ecdh-sha2-nistp256", "-o", "Ciphers=aes256-ctr", "true")
    assert b"ecdh-sha2-nistp256, aes256-ctr" in done.stderr
