"""--become: the agent runs as another user, by a real sudo; a password is asked for once, and goes to sudo and nowhere else."""
import os
import shutil
import signal
import subprocess

import pytest

import processes
from client import SLOW

PASSWORD = "correct horse"
REAL = shutil.which("sudo", path="/usr/bin")


@pytest.fixture
def sudo_host(sshd_with, client):
    """A host where the account may do this by sudo: sudo_host("NOPASSWD: ALL"). Its root has an empty home, and nothing here changes."""
    def make(rule, defaults=""):
        secret = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True).stdout.strip()
        lines = ["Defaults env_reset,use_pty,timestamp_timeout=0,!lecture,!mail_badpass", defaults, "$USER ALL=(ALL) " + rule if rule else ""]
        prepare = "\n".join([
            "d=$(dirname $HOME); mount -t tmpfs none /root; mount -t tmpfs none /dev/shm",
            "{ cat /etc/shadow; echo \"$USER:%s:19000:0:99999:7:::\"; } >$d/shadow; chmod 600 $d/shadow; mount --bind $d/shadow /etc/shadow" % secret.replace("$", "\\$"),
            "printf '%%s\\n' %s >$d/sudoers; chmod 440 $d/sudoers; mount --bind $d/sudoers /etc/sudoers" % " ".join('"%s"' % line for line in lines),
        ])
        server = sshd_with(prepare=prepare)
        if not REAL or not server.dedicated:
            pytest.skip("needs sudo, and an account to use it")
        client.connect_to(server)
        return server
    return make


@pytest.fixture(params=["libssh", "ssh", "fifo"])
def way(request):
    return request.param


def words(way, *rest, become="--become", type="exec"):
    return ["run", "--transport", way, become, type, "node1", *rest]


def test_as_root_without_a_password(client, sudo_host, way):
    sudo_host("NOPASSWD: ALL")
    data = os.urandom(300_000)
    for _ in range(2):
        done = client.run(words(way, "--", "sh", "-c", "id -u; pwd; cat"), input=data)
        assert done.code == 0 and done.out == b"0\n/root\n" + data and done.err == b"", done.err
    assert client.run(words(way, "--", "sh", "-c", "exit 9")).code == 9


def test_as_another_user(client, sudo_host, way):
    sudo_host("NOPASSWD: ALL")
    done = client.run(words(way, "--", "id", "-un", become="--become=nobody"))
    assert done.code == 0 and done.text == "nobody\n", done
    assert client.run(["clean", "--transport", way, "--become=nobody", "node1"]).code == 0


def test_without_a_terminal_a_wanted_password_is_one_clear_line(client, sudo_host, way):
    sudo_host("ALL")
    done = client.run(words(way, "--", "id"))
    assert done.code == 255 and done.err.count(b"\n") == 1 and "wants a password" in done.error and "terminal" in done.error, done


def test_not_allowed(client, sudo_host, way):
    sudo_host("")
    done = client.run(words(way, "--", "id"))
    assert done.code == 255 and done.err.count(b"\n") == 1 and "sudo" in done.error, done


def test_password_is_asked_for_once(client, sudo_host, way):
    sudo_host("ALL")
    terminal = client.terminal(words(way, "-n", "--", "sh", "-c", "id -u; echo done; cat"))
    terminal.expect(rb"sudo password on node1: ")
    terminal.send(PASSWORD.encode() + b"\n")
    terminal.expect(rb"0\r\ndone")
    assert terminal.wait() == 0 and PASSWORD.encode() not in terminal.output and terminal.output.count(b"password") == 1
    terminal.close()


def test_no_password_is_asked_for_where_none_is_wanted(client, sudo_host, way):
    sudo_host("NOPASSWD: ALL")
    terminal = client.terminal(words(way, "--", "id", "-u"))
    assert terminal.wait() == 0 and terminal.output == b"0\r\n"
    terminal.close()


def test_wrong_password(client, sudo_host, way):
    sudo_host("ALL")
    terminal = client.terminal(words(way, "--", "id", "-u"))
    terminal.expect(rb"sudo password on node1: ")
    terminal.send(b"wrong\n")
    assert terminal.wait(20) == 255 and b"did not take the password" in terminal.output and b"uid" not in terminal.output
    assert terminal.output.count(b"sudo password on") == 1
    terminal.close()


def test_interrupted_at_the_question(client, sudo_host, way):
    sudo_host("ALL")
    terminal = client.terminal(words(way, "--", "id", "-u"))
    terminal.expect(rb"sudo password on node1: ")
    terminal.send(b"\x03")
    assert terminal.wait() == 130
    terminal.close()


def test_doctor_and_config_speak_of_it(client, sudo_host):
    sudo_host("NOPASSWD: ALL")
    done = client.run(["doctor", "--become", "node1"])
    assert done.code == 0 and "root, by sudo" in done.text, done


@pytest.mark.parametrize("user", ["", "-u", "a b", "$(id)", "a;b", "a'b", "x" * 65])
def test_impossible_user(client, user):
    done = client.run(words("ssh", "--", "id", become="--become=" + user))
    assert done.code == 125 and "can't be a user" in done.error, done


# --- sudos of our own making, on this machine ---

@pytest.fixture
def fake_sudo(client, scratch):
    def make(script):
        path = scratch / "sudo"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        (scratch / "heard").unlink(missing_ok=True)
        client.env["PATH"] = "%s:%s" % (scratch, client.env["PATH"])
        client.env["HEARD"] = str(scratch / "heard")
        return scratch / "heard"
    return make


OBEDIENT = """
while test "$1" != --; do case $1 in -p) p=$2; shift ;; esac; shift; done; shift
printf '%s' "$p" >&2; IFS= read -r password; printf '%s' "$password" >"$HEARD"; exec "$@"
"""


@pytest.mark.parametrize("transport", ["auto", "fifo"])
def test_password_goes_to_sudo_alone(client, fake_sudo, transport):
    heard = fake_sudo(OBEDIENT)
    terminal = client.terminal(["run", "--transport", transport, "--become=someone", "exec", "--", "sh", "-c", "tr a-z A-Z; env; tr '\\0' ' ' </proc/self/cmdline"], stdout=None)
    terminal.expect(rb"sudo password on this machine: ")
    terminal.send(b"hidden one\n")
    processes.wait_until(heard.exists, 5)
    terminal.send(b"typed for the worker\n\x04")
    terminal.expect(rb"TYPED FOR THE WORKER")
    assert terminal.wait() == 0 and heard.read_text() == "hidden one"
    assert b"hidden one" not in terminal.output and b"HIDDEN" not in terminal.output
    terminal.close()


def test_another_s_prompt_gets_no_password(client, fake_sudo):
    """What asks without the nonce is not the sudo that we started."""
    heard = fake_sudo("echo '[sudo] password for someone: ' >&2; echo 'sshexec password:'; IFS= read -r password; echo \"$password\" >\"$HEARD\"")
    terminal = client.terminal(["run", "--become", "exec", "--", "id"])
    processes.wait_until(lambda: [p for p in processes.descendants() if "/sudo" in p.command], 5)
    assert not processes.wait_until(lambda: b"password" in terminal.output or heard.exists(), 1)
    terminal.child.send_signal(signal.SIGINT)
    assert terminal.wait() == 130
    assert not heard.exists() or heard.read_text() == "\n"
    terminal.close()


@pytest.mark.parametrize("script,words", [
    ("echo 'sudo: unknown user: root' >&2; exit 1", "unknown user"), ("exit 0", "ended"), ("exec head -c 200000 /dev/zero", "other output"),
])
def test_sudo_that_fails(client, fake_sudo, script, words):
    fake_sudo(script)
    terminal = client.terminal(["run", "--become", "exec", "--", "id"])
    assert terminal.wait(10 * SLOW) == 255 and words.encode() in terminal.output, terminal.output
    terminal.close()
