"""Hosts that are hard: every login shell, noise, forced terminals, disks that are full, read-only or noexec; and what is left on a host afterwards."""
import os
import shlex
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

import processes
from client import BUILD, SANITIZED, SLOW
from relay import Relay

pytestmark = pytest.mark.long  # minutes: each test has an sshd, and often an account, of its own

AGENT = BUILD / "bin" / "sshexec-agent"
ZOO = BUILD / "zoo"
KIB = 1024
SHELLS = {"bash": "/bin/bash", "dash": "/bin/dash", "tcsh": "/bin/tcsh", "fish": "/usr/bin/fish", "ash": "/bin/busybox", "zsh": "/bin/zsh"}
SHARED = [Path("/dev/shm"), Path("/tmp"), Path("/var/tmp")]

# What each shell reads before a command, and, for bash, after one.
NOISE = {
    "bash": {".bashrc": "echo noise from bashrc; printf 'no newline'", ".bash_logout": "echo bye", ".profile": "echo profile"},
    "dash": {".profile": "echo profile"},
    "tcsh": {".cshrc": "echo noise from cshrc", ".logout": "echo bye"},
    "fish": {".config/fish/config.fish": "echo noise from config.fish"},
    "ash": {".profile": "echo profile"},
    "zsh": {".zshenv": "echo noise from zshenv; print -n 'no newline'", ".zlogout": "echo bye"},
}


@pytest.fixture(autouse=True)
def own_account(sshd):
    if not sshd.dedicated:
        pytest.skip("needs an account of its own: root, and mount namespaces")


@pytest.fixture
def host(client, sshd_with):
    """A host like this one: host(extra=..., shell=..., prepare=...); the client reaches it as node1."""
    def make(extra="", **how):
        server = sshd_with(extra, **how)
        server.wipe_home()
        server.others = set()
        server.others = owned(server)
        client.connect_to(server)
        return server
    return make


@pytest.fixture(scope="module")
def shell_path(session_dir):
    def path(name):
        if name != "ash":
            return SHELLS[name]
        link = session_dir / "ash" # busybox is the applet that it is called as
        if not link.exists():
            link.symlink_to("/bin/busybox")
        return link
    return path


def owned(server):
    """Every file and directory of the account since the test began, but for its home itself and those of other tests' hosts."""
    found = set()
    for place in [server.home] + SHARED:
        for top, dirs, files in os.walk(place):
            if place != server.home:
                dirs[:] = [name for name in dirs if not name.startswith("sshexec-test-") and not os.path.ismount(os.path.join(top, name))]
            for name in dirs + files:
                path = Path(top) / name
                try:
                    if path.lstat().st_uid == server.uid:
                        found.add(path)
                except FileNotFoundError:
                    pass
    return found - {server.home} - server.others


def nothing_left(server):
    """What the far side still has to do after the sender has gone takes it a moment."""
    return processes.wait_until(lambda: not owned(server), 2 * SLOW)


def agents(store):
    """What is in a store's directory of agents, hidden files as well."""
    return sorted((store / "agents").iterdir()) if (store / "agents").exists() else []


def greets(client, words):
    done = client.run(words)
    assert done.code == 0 and "Ada" in done.text, done
    return done


def complains(result, code, *words):
    assert result.code == code and result.out == b"" and result.err.count(b"\n") == 1, result
    assert all(word.lower() in result.error.lower() for word in words), result
    return True


def hello(via, *before):
    return via.words("hello", "name=Ada", before=before)


# --- login shells ---

@pytest.mark.parametrize("name", SHELLS)
def test_login_shell(client, host, shell_path, via_ssh, name):
    server = host(shell=shell_path(name))
    greets(client, hello(via_ssh))
    stored = agents(server.home / ".cache/sshexec")
    assert len(stored) == 1 and stored[0].stat().st_mode & 0o7777 == 0o700
    greets(client, hello(via_ssh))
    assert agents(server.home / ".cache/sshexec") == stored
    done = client.run(via_ssh.words("exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7"))
    assert (done.code, done.out, done.err) == (7, b"out\n", b"err\n")


@pytest.mark.parametrize("name", SHELLS)
def test_noisy_login_shell(client, host, shell_path, via_ssh, scratch, name):
    (scratch / "banner").write_text("AUTHORIZED USE ONLY\n")
    server = host("Banner %s\nPrintMotd yes" % (scratch / "banner"), shell=shell_path(name))
    for file, text in NOISE[name].items():
        path = server.home / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    if any("noise" in text for text in NOISE[name].values()):
        assert b"noise" in client.ssh("node1", "true").stdout, "this shell doesn't read what the test wrote"
    for _ in range(2): # with the agent's upload, and without
        greets(client, hello(via_ssh))
    done = client.run(via_ssh.words("exec", "--", "printf", "%s", "just this"))
    assert (done.code, done.out) == (0, b"just this")
    loud = client.run(hello(via_ssh, "-v"))
    assert "noise" not in "".join(NOISE[name].values()) or "noise from" in loud.error


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_shell_that_never_stops_talking(client, host, shell_path, via_ssh, name):
    server = host(shell=shell_path(name))
    (server.home / (".bashrc" if name == "bash" else ".zshenv")).write_text("while :; do echo for ever and ever; done\n")
    assert complains(client.run(hello(via_ssh)), 255, "for ever and ever")


def test_no_shell_at_all(client, host, via_ssh):
    host(shell="/usr/sbin/nologin")
    assert complains(client.run(hello(via_ssh)), 255, "not available")


# --- what stands between ---

def test_forced_terminal(client, host, via_ssh):
    server = host('ForceCommand script -qec "$SSH_ORIGINAL_COMMAND" /dev/null')
    assert complains(client.run(hello(via_ssh)), 255, "a terminal stands in between", "forced command")
    assert nothing_left(server), owned(server)


@pytest.mark.parametrize("option", ["RequestTTY=force", "RemoteCommand=echo other"])
def test_terminal_asked_for_by_option(client, clean_sshd, via_ssh, option):
    greets(client, hello(via_ssh, "-o", option))


@pytest.mark.parametrize("force", ["sh -c \"$SSH_ORIGINAL_COMMAND\" | sed -u 's/$/\\r/'", "sed -u 's/$/\\r/' | sh -c \"$SSH_ORIGINAL_COMMAND\""])
@pytest.mark.parametrize("stored", [False, True])
def test_translator_of_line_ends(client, host, via_ssh, force, stored, scratch):
    switch = scratch / "on"
    script = scratch / "force"
    script.write_text("#!/bin/sh\nif test -e %s; then %s; else exec sh -c \"$SSH_ORIGINAL_COMMAND\"; fi\n" % (switch, force))
    script.chmod(0o755)
    host("ForceCommand %s" % script)
    if stored:
        greets(client, hello(via_ssh))
    switch.touch()
    assert complains(client.run(hello(via_ssh), timeout=10), 255, "CRLF")


def test_command_that_ignores_ours(client, host, via_ssh):
    host("ForceCommand echo this server is for backups only")
    assert complains(client.run(hello(via_ssh)), 255, "for backups only")


def test_agent_behind_a_forced_command(client, host, via_ssh, scratch):
    shutil.copy(AGENT, scratch / "sshexec-agent")
    server = host("ForceCommand %s" % (scratch / "sshexec-agent"))
    greets(client, hello(via_ssh))
    assert agents(server.home / ".cache/sshexec") == []


# --- disks ---

def place(server, directory):
    return Path(directory) / ("sshexec-" + server.user)


def test_noexec_home(client, host, via_ssh):
    server = host(prepare="mount -t tmpfs -o noexec,mode=711 none $HOME && chown $USER $HOME || exit")
    for _ in range(2):
        greets(client, hello(via_ssh))
    assert len(agents(place(server, "/dev/shm"))) == 1
    inside = Path("/proc/%d/root%s" % (server.process.pid, server.home))
    assert list(inside.iterdir()) == [], "a place that was tried in vain is left as it was"


NOEXEC = "for d in /tmp /dev/shm /var/tmp; do mount --bind $d $d && mount -o remount,bind,noexec $d || exit; done"


@pytest.mark.parametrize("options", [[], ["--ephemeral"]])
def test_noexec_everywhere(client, host, via_ssh, options):
    server = host(prepare=NOEXEC)
    assert complains(client.run(hello(via_ssh, *options)), 255, "noexec", "/dev/shm", "/tmp", str(AGENT.stat().st_size))
    assert nothing_left(server), owned(server)


def test_read_only_home(client, host, via_ssh):
    server = host(prepare="mount --bind $HOME $HOME && mount -o remount,bind,ro $HOME || exit")
    for _ in range(2):
        greets(client, hello(via_ssh))
    assert len(agents(place(server, "/dev/shm"))) == 1


def test_home_of_another(client, host, via_ssh):
    server = host()
    os.chown(server.home, 0, 0)
    server.home.chmod(0o755)
    greets(client, hello(via_ssh))
    assert len(agents(place(server, "/dev/shm"))) == 1 and list(server.home.iterdir()) == []


@pytest.mark.parametrize("limit", ["size=256k", "nr_inodes=2"])
def test_full_home(client, host, via_ssh, limit):
    server = host(prepare="mount -t tmpfs -o %s none $HOME && chmod 700 $HOME && chown $USER $HOME || exit" % limit)
    greets(client, hello(via_ssh))
    assert len(agents(place(server, "/dev/shm"))) == 1
    inside = Path("/proc/%d/root%s" % (server.process.pid, server.home))
    assert list(inside.iterdir()) == []


def test_room_for_the_agent_and_not_for_the_plugin(client, host, via_ssh):
    size = (AGENT.stat().st_size + 4095) // 4096 + 4
    host(prepare="mount -t tmpfs -o size=%dk none $HOME && chmod 700 $HOME && chown $USER $HOME || exit" % (4 * size))
    greets(client, hello(via_ssh))


def test_full_everywhere(client, host, via_ssh):
    server = host(prepare="for d in $HOME /dev/shm; do mount -t tmpfs -o size=64k,mode=1777 none $d || exit; done; chown $USER $HOME")
    blocked = place(server, "/tmp")
    blocked.mkdir() # root's
    try:
        assert complains(client.run(hello(via_ssh)), 255, "No space left", "another user", str(AGENT.stat().st_size))
    finally:
        blocked.rmdir()


def test_place_that_another_user_has_taken(client, host, via_ssh):
    server = host()
    server.home.chmod(0o500)
    digest = None
    greets(client, hello(via_ssh))
    digest = agents(place(server, "/dev/shm"))[0].name
    server.wipe_home()
    server.home.chmod(0o500)
    taken = place(server, "/dev/shm") / "agents"
    taken.mkdir(parents=True) # root's, for all to write
    (taken / digest).write_text("#!/bin/sh\necho pwned >&2\n")
    for path in (taken.parent, taken, taken / digest):
        path.chmod(0o777)
    greets(client, hello(via_ssh))
    assert agents(place(server, "/tmp"))[0].name == digest
    assert sorted(taken.parent.rglob("*")) == [taken, taken / digest], "something of ours was put there"
    shutil.rmtree(taken.parent)
    shutil.rmtree(place(server, "/tmp"))
    mine = server.home / "mine"
    mine.mkdir()
    os.chown(mine, server.uid, server.uid)
    taken.parent.symlink_to(mine)
    greets(client, hello(via_ssh))
    taken.parent.unlink()
    assert list(mine.iterdir()) == []
    mine.rmdir()
    server.home.chmod(0o700)


# --- what a host is asked for ---

def test_machine_that_we_lack(client, host, via_ssh, scratch):
    (scratch / "uname").write_text("#!/bin/sh\ntest $1 = -m && echo riscv64 || exec /usr/bin/uname $@\n")
    (scratch / "uname").chmod(0o755)
    server = host('SetEnv PATH="%s:/usr/bin:/bin"' % scratch)
    assert complains(client.run(hello(via_ssh)), 255, "no agent for riscv64", os.uname().machine)
    assert nothing_left(server), owned(server)


def test_no_bootstrap(client, host, via_ssh, scratch):
    server = host('SetEnv PATH="%s:/usr/bin:/bin"' % scratch)
    assert complains(client.run(hello(via_ssh, "--no-bootstrap")), 255, "--no-bootstrap")
    assert nothing_left(server), owned(server)
    shutil.copy(AGENT, scratch / "sshexec-agent")
    greets(client, hello(via_ssh, "--no-bootstrap"))
    assert agents(server.home / ".cache/sshexec") == []


def test_ephemeral_leaves_no_file(client, host, via_ssh):
    server = host()
    assert nothing_left(server), owned(server)
    greets(client, hello(via_ssh, "--ephemeral"))
    assert nothing_left(server), owned(server)
    child = client.popen(via_ssh.words("exec", "--", "sleep", "321.7", before=["--ephemeral"]))
    assert processes.wait_until(lambda: [p for p in processes.descendants() if p.command == "sleep 321.7"], 10 * SLOW)
    assert nothing_left(server), owned(server) # while it runs
    for agent in processes.running(AGENT):
        os.kill(agent.pid, signal.SIGKILL)
    child.communicate(timeout=10 * SLOW)
    assert child.returncode == 255 and nothing_left(server), owned(server)
    assert processes.wait_until(lambda: not processes.running(AGENT), 5)


def test_ten_senders_at_once(client, host, via_ssh):
    server = host("MaxStartups 100")
    children = [client.popen(hello(via_ssh)) for _ in range(10)]
    for child in children:
        out, err = child.communicate(timeout=60 * SLOW)
        assert child.returncode == 0 and b"Ada" in out, err
    store = server.home / ".cache/sshexec"
    assert len(agents(store)) == 1 and not agents(store)[0].name.startswith(".")
    assert len(list((store / "objects").iterdir())) == 1


def test_older_agent_stays_beside_the_new_one(client, host, via_ssh):
    server = host()
    greets(client, hello(via_ssh))
    store = server.home / ".cache/sshexec"
    mine, = agents(store)
    older = mine.with_name("0" * 64)
    child = client.popen(via_ssh.words("exec", "--", "sleep", "2"))
    assert processes.wait_until(lambda: [p for p in processes.descendants() if p.command == "sleep 2"], 10 * SLOW)
    mine.rename(older) # it runs, and has another digest than the one asked for
    greets(client, hello(via_ssh))
    assert set(agents(store)) == {older, mine}
    assert child.communicate(timeout=20)[1] == b"" and child.returncode == 0


# --- what it costs ---

@pytest.mark.skipif(SANITIZED, reason="a sanitizer's agent is larger")
def test_bytes_of_a_first_and_a_second_call(client, host, via_ssh):
    server = host()
    def cost(run):
        with Relay("127.0.0.1", server.port) as relay:
            client.connect_to(server, port=relay.port)
            run()
            return relay.passed["up"], relay.passed["down"]
    # All of ssh's own bytes count here (key exchange, login, packet headers); `ssh node1 true` shows what those are.
    kex = ["-oKexAlgorithms=curve25519-sha256"] if via_ssh.transport == "libssh" else [] # the larger one is not libssh's
    login = cost(lambda: client.ssh("node1", "true", options=kex))
    first = cost(lambda: greets(client, hello(via_ssh)))
    second = cost(lambda: greets(client, hello(via_ssh)))
    assert first[0] + first[1] - login[0] - login[1] < 500 * KIB + (BUILD / "plugins/hello.so").stat().st_size
    assert (BUILD / "bin/sshexec-agent.gz").stat().st_size < 500 * KIB
    assert second[0] - login[0] < 4 * KIB and second[1] - login[1] < 4 * KIB, (login, second)


# --- clean ---

def test_clean_removes_all_that_was_left(client, host, via_ssh):
    server = host()
    options = ["--transport", via_ssh.transport]
    (server.home / ".bashrc").write_text("echo noise\n")
    done = client.run(["clean", *options, "node1"])
    assert (done.code, done.text) == (0, "nothing of sshexec's on node1\n"), done
    greets(client, hello(via_ssh))
    server.home.chmod(0o500)
    (server.home / ".cache").rename(server.root / "cache")
    greets(client, hello(via_ssh)) # to another place
    (server.root / "cache").rename(server.home / ".cache")
    server.home.chmod(0o700)
    mine = server.home / ".cache/sshexec/answers"
    mine.write_text("this host's own, as a sender")
    store = server.home / ".cache/sshexec"
    done = client.run(["clean", *options, "node1"])
    expected = ["%s/%s" % (where, what) for where in (store, place(server, "/dev/shm")) for what in ("agents", "objects")]
    assert (done.code, done.err) == (0, b"") and done.text.splitlines() == ["removed " + path for path in expected], done
    assert mine.exists() and list(store.iterdir()) == [mine] and not place(server, "/dev/shm").exists()
    mine.unlink()
    client.run(["clean", *options, "node1"])
    assert owned(server) <= {server.home / ".cache"}
    greets(client, hello(via_ssh))


@pytest.mark.parametrize("name", SHELLS)
def test_clean_in_every_shell(client, host, shell_path, name):
    server = host(shell=shell_path(name))
    for file, text in NOISE[name].items():
        path = server.home / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    client.run(["run", "hello", "node1"])
    done = client.run(["clean", "node1"])
    assert done.code == 0 and len(done.text.splitlines()) == 2, done
    assert not (server.home / ".cache/sshexec").exists()


def test_clean_says_what_went_wrong(client, host, via_ssh):
    server = host()
    options = ["--transport", via_ssh.transport]
    assert complains(client.run(["clean", *options]), 125, "host")
    assert complains(client.run(["clean", *options, "no-such-host.invalid"]), 255, "no-such-host.invalid")
    greets(client, hello(via_ssh))
    store = server.home / ".cache/sshexec"
    store.chmod(0o500)
    done = client.run(["clean", *options, "node1"])
    store.chmod(0o700)
    assert done.code == 125 and "Permission denied" in done.error and str(store / "agents") in done.error, done
    server.keys_path.write_text("")
    assert complains(client.run(["clean", *options, "node1"]), 255, "key")


# --- types that only the node has ---

@pytest.fixture
def node_with_sleep(host):
    server = host()
    plugins = server.home / ".local/share/sshexec/plugins"
    plugins.mkdir(parents=True)
    shutil.copy(ZOO / "sleep.so", plugins)
    for path in [server.home / ".local", *(server.home / ".local").rglob("*")]:
        os.chown(path, server.uid, server.uid)
        path.chmod(0o755)
    return server


def test_node_describes_what_only_it_has(client, node_with_sleep, via_ssh):
    before = node_with_sleep.logins()
    done = client.run(via_ssh.words("sleep", "ms=1"))
    assert (done.code, done.text.splitlines()[0]) == (0, "done"), done
    assert node_with_sleep.logins() == before + 1, "a second connection"
    helped = client.run(["run", "--transport", via_ssh.transport, "sleep", "node1", "--help"])
    assert helped.code == 0 and "how long to sleep" in helped.text, helped
    assert complains(client.run(via_ssh.words("sleep", "msx=1")), 126, "msx", "ms")
    assert complains(client.run(via_ssh.words("sleep", "ms=soon")), 126, "ms", "soon")
    assert complains(client.run(["run", "sleep"]), 127, "sleep")
    assert complains(client.run(via_ssh.words("sleeep")), 127, "sleeep", "node1")
    assert complains(client.run(via_ssh.words("sleep", "ms=60000", before=["-u", "0.3"])), 124)


def test_node_s_plugin_that_is_broken(client, node_with_sleep, via_ssh):
    plugin = node_with_sleep.home / ".local/share/sshexec/plugins/sleep.so"
    plugin.write_bytes(plugin.read_bytes()[:2000])
    assert complains(client.run(via_ssh.words("sleep")), 126, "sleep", "node1")
