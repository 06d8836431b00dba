"""Keys that may run workers and nothing else: the line that `sshexec authorize` writes, what the agent's policy refuses, and that nothing of the client's is evaluated."""
import json
import os
import shutil
import socket
import subprocess

import pytest

import processes
from agents import DESCRIBE, END, HELLO, Raw, call, ends, frame, greeting
from client import BUILD, SLOW
from sshd import make_key

REFUSED, TIMEOUT, USAGE = 126, 124, 125
SHELLS = {"bash": "/bin/bash", "tcsh": "/bin/tcsh", "fish": "/usr/bin/fish", "busybox ash": "/bin/busybox", "zsh": "/bin/zsh"}
ODD = "a b'c$HOME`id`\"d;&*(#é"  # a directory that every level of quoting has to get right


def node_at(place, types=("exec", "hello", "facts")):
    """An agent and plugins as an administrator would install them."""
    (place / "plugins").mkdir(parents=True)
    shutil.copy(BUILD / "bin" / "sshexec-agent", place / "sshexec-agent")
    for name in types:
        shutil.copy(BUILD / "plugins" / (name + ".so"), place / "plugins")
    return place


@pytest.fixture
def node(scratch):
    return node_at(scratch / "node")


def line_for(client, node, *words):
    done = client.run(["authorize", "--key", str(client.key) + ".pub", "--agent", node / "sshexec-agent", "--plugin-path", node / "plugins", *words])
    assert done.code == 0 and done.text.count("\n") == 1, done
    return done.text


@pytest.fixture
def locked(client, sshd, node):
    """locked("--allow", "hello"): from now on the client's key may do only that."""
    def lock(*words):
        sshd.keys_path.write_text(line_for(client, node, *words))
    return lock


def refused(done, *words):
    assert done.code == REFUSED and done.out == b"" and done.error.count("\n") == 1, done
    assert all(word in done.error for word in words), done
    return True


# --- what such a key can do, and what not ---

def test_allowed_types_run_and_others_do_not(client, locked, via_ssh):
    locked("--allow", "hello,facts")
    assert client.run(via_ssh.words("hello", "name=Ada")).text.startswith("hello, Ada\n")
    assert client.run(via_ssh.words("hello", before=["--no-bootstrap"])).code == 0
    refused(client.run(via_ssh.words("exec", "--", "id")), "policy: --allow does not list exec")
    locked("--deny", "exec,ping")
    assert client.run(via_ssh.words("facts")).code == 0
    refused(client.run(via_ssh.words("exec", "--", "id")), "policy: --deny lists exec")


def test_only_the_node_s_own_plugins_run(client, sshd, locked, node, via_ssh):
    assert client.run(via_ssh.words("ping")).code == 0  # into the node's store, by an ordinary key
    for words in (["--allow", "ping,hello"], ["--no-uploads"]):
        locked(*words)
        refused(client.run(via_ssh.words("ping")), "policy: --no-uploads", "ping")
        other = node.parent / "hello.so"
        shutil.copy(BUILD / "plugins" / "hello.so", other)
        assert client.run(["run", "--transport", via_ssh.transport, other, "node1"]).code == 0  # the same bytes as the node's
        subprocess.run(["objcopy", "--add-section", "x=/etc/hostname", other], check=True)
        refused(client.run(["run", "--transport", via_ssh.transport, other, "node1"]), "policy: --no-uploads", "hello")
    locked("--allow", "ping", "--uploads")
    assert client.run(via_ssh.words("ping")).code == 0


def test_listing_shows_what_may_be_called(client, locked, node):
    locked("--allow", "hello,ping")
    listed = client.run(["list", "--json", "node1"])
    of_the_node = {line["type"] for line in map(json.loads, listed.text.splitlines()) if line["where"].startswith(str(node))}
    assert of_the_node == {"hello"}, listed
    assert client.run(["describe", "hello", "node1"]).code == 0
    assert client.run(["describe", "exec", "node1"]).code == REFUSED


def test_limits(client, locked, via_ssh):
    locked("--max-timeout", "500ms", "--max-calls", "2")
    for before in ([], ["-u", "1h"]):
        done = client.run(via_ssh.words("exec", "--", "sleep", "60", before=before), timeout=10)
        assert done.code == TIMEOUT, done
    assert "2 calls at once" in client.run(["doctor", "node1"]).text


def test_doctor_shows_the_policy(client, locked, via_ssh):
    locked("--allow", "hello", "--max-timeout", "10s")
    done = client.run(["doctor", "--transport", via_ssh.transport, "node1"])
    assert done.code == 0 and "policy     --allow hello --no-uploads --max-timeout 10s\n" in done.text, done


def test_ctrl_c_ends_the_worker(client, locked, via_ssh):
    """sshd refuses signals under a forced command; a cancel is a frame."""
    locked("--allow", "exec")
    def there():
        return [p for p in processes.descendants() if p.command == "sleep 765.4"]
    terminal = client.terminal(via_ssh.words("exec", "--", "sleep", "765.4"))
    assert processes.wait_until(there, 10 * SLOW), terminal.output
    terminal.send(b"\x03")
    assert processes.wait_until(lambda: not there(), 2)
    assert terminal.wait(5) == 130
    terminal.close()


# --- no other way in ---

@pytest.mark.parametrize("options, command", [((), ["id"]), ((), []), (["-tt"], ["id"]), (["-tt"], []), (["-s"], ["sftp"])])
def test_no_shell(client, locked, options, command):
    locked("--allow", "hello")
    done = client.ssh("node1", *command, options=options)
    assert done.returncode != 0 and done.stdout == b"", done
    if not options:
        assert b"gives no shell" in done.stderr, done
    if "-tt" in options:
        assert b"PTY allocation request failed" in done.stderr, done


def test_no_forwarding(client, sshd, locked):
    locked("--allow", "hello")
    with socket.create_server(("127.0.0.1", 0)) as target:
        done = client.ssh("node1", options=["-W", "127.0.0.1:%d" % target.getsockname()[1]])
    assert done.returncode != 0 and b"prohibited" in done.stderr, done
    done = client.ssh("node1", options=["-R", "0:127.0.0.1:1", "-oExitOnForwardFailure=yes"])
    assert done.returncode != 0 and b"forward" in done.stderr, done


HOSTILE = "touch PWNED; $(touch PWNED) `touch PWNED` '; touch PWNED; ' \" | touch PWNED\ntouch PWNED"


def test_the_client_s_command_is_not_evaluated(client, sshd, locked, node):
    locked("--allow", "exec")
    argv = ["ssh", "-F", client.config, "-oBatchMode=yes", "node1", HOSTILE]
    hello = greeting() + call(1, "exec", state=b"\x81\xa4argv\x91\xa3env")
    done = subprocess.run(argv, env=client.env, input=hello, capture_output=True, timeout=30 * SLOW)
    assert done.stdout.startswith(b"sshexec-agent 1 "), done
    env = client.run(["run", "exec", "node1", "--", "env"]).text
    assert "HOME=" in env and "SSH_ORIGINAL_COMMAND" not in env
    assert not list(sshd.home.rglob("PWNED")) and not (sshd.cwd / "PWNED").exists()


def test_the_agent_ignores_the_client_s_command(client, scratch):
    raw = Raw(dict(client.env, SSH_ORIGINAL_COMMAND=HOSTILE), scratch)
    frames = raw.converse(greeting())
    assert raw.code == 0 and frames[0][0] == HELLO and not list(scratch.rglob("PWNED"))


def test_a_sender_that_says_anything_gets_no_more(client, scratch, node):
    """Below the command line: refusals name the rule, and siblings go on."""
    raw = Raw(client.env, scratch, plugins=node / "plugins", wrap=["sh", "-c", 'exec "$@" --allow hello --max-calls 8', "sh"])
    raw.send(greeting() + call(1, "exec") + frame(DESCRIBE, 2, "exec") + frame(DESCRIBE, 3, None) + call(4, "hello", object=[b"\1" * 32, 5, True]))
    frames = raw.read_until(lambda got: len([f for f in got if f[0] == END]) == 4)
    said = ends(frames)
    assert frames[0][2]["calls"] == 8 and frames[0][2]["policy"] == "--allow hello --no-uploads --max-calls 8"
    assert {(said[id][0], said[id][1]["reason"]) for id in (1, 2)} == {(5, "policy")} and "--allow" in said[1][1]["message"]
    assert all(f[2]["type"] == "hello" for f in frames if f[0] == DESCRIBE)
    assert said[3][0] == 0 and said[4][1]["reason"] == "policy"
    raw.half_close()
    assert raw.child.wait(10 * SLOW) == 0


# --- the environment ---

def test_profile_sets_the_environment(client, sshd, locked, scratch, via_ssh):
    """It may print, read, and end with a false condition: nothing of that reaches the conversation."""
    profile = scratch / "a profile's"
    profile.write_text("echo noise\ncat\nexport SITE='of the node'\nfalse\n")
    locked("--allow", "exec", "--env-profile", profile)
    done = client.run(via_ssh.words("exec", "--", "printenv", "SITE"))
    assert done.code == 0 and done.text == "of the node\n", done
    (sshd.home / "mine").write_text("SITE=home; export SITE\n")
    locked("--allow", "exec", "--env-profile", "~/mine")
    if sshd.dedicated:
        assert client.run(via_ssh.words("exec", "--", "printenv", "SITE")).text == "home\n"
    locked("--allow", "exec", "--env-profile", scratch / "missing")
    done = client.run(via_ssh.words("exec", "--", "true"))
    assert done.code == 255 and "missing" in done.error, done


# --- quoting ---

@pytest.mark.parametrize("shell", SHELLS)
def test_odd_names_under_each_login_shell(client, sshd_with, scratch, shell):
    path = SHELLS[shell]
    if shell == "busybox ash":
        path = scratch / "ash"
        path.symlink_to(SHELLS[shell])
    server = sshd_with(shell=path)
    if not server.dedicated or not os.path.exists(path):
        pytest.skip("needs %s and an account of its own" % shell)
    node = node_at(scratch / ODD)
    (node / "profile").write_text("export SITE=odd\n")
    client.connect_to(server)
    server.keys_path.write_text(line_for(client, node, "--allow", "exec", "--env-profile", node / "profile", "--from", "127.0.0.0/8"))
    done = client.run(["run", "exec", "node1", "--", "printenv", "SITE"])
    assert done.code == 0 and done.text == "odd\n", done


@pytest.mark.parametrize("words", [["--agent", "/opt/new\nline"], ["--agent", "/opt/back\\slash"], ["--agent", "/opt/bang!"], ["--agent", "relative"],
                                   ["--env-profile", "/x\ty"], ["--env-profile", "/x\x7f"], ["--from", 'x",command="sh'], ["--from", "a b"], ["--from", "x\\"],
                                   ["--allow", "a b"], ["--allow", ""], ["--allow", "Exec"], ["--allow", "exec,"], ["--allow", "x;id"], ["--max-timeout", "-1"],
                                   ["--max-timeout", "0"], ["--max-timeout", "1s;id"], ["--max-calls", "0"], ["--max-calls", "65"], ["--no-uploads=x"], ["word"]])
def test_what_cannot_be_said_is_refused(client, words):
    done = client.run(["authorize", "--key", str(client.key) + ".pub", *words])
    assert done.code == USAGE and done.out == b"" and done.error.splitlines()[-1].startswith("sshexec: "), done


BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIE3Z6N8l4xJOJo5re70O3aiV28rkesQ18xudRihtgFjO"


@pytest.mark.parametrize("text, said", [
    ("", "empty"), ("ssh-ed25519", "damaged"), ("ssh-ed25519 %s=" % BLOB, "damaged"), ("ssh-ed25519 %s" % BLOB[:-4], "damaged"), ("ssh-rsa " + BLOB, "damaged"),
    ('command="sh" ssh-ed25519 ' + BLOB, "no type of key"), ("ssh-dss " + BLOB, "no type of key"), ("ssh-ed25519-cert-v01@openssh.com " + BLOB, "no type of key"),
    ("ssh-ed25519 %s\nssh-ed25519 %s" % (BLOB, BLOB), "more than one line"), ("ssh-ed25519 %s x\rcommand" % BLOB, "control character"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----", "private key"), ("ssh-ed25519 %s \x1b[2J" % BLOB, "control character"),
])
def test_what_is_no_public_key_is_refused(client, scratch, text, said):
    path = scratch / "key.pub"
    path.write_text(text)
    done = client.run(["authorize", "--key", path])
    assert done.code == USAGE and done.out == b"" and said in done.error, done


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_kinds_of_keys(client, scratch, kind):
    make_key(scratch / kind, kind, comment='"a", command="sh" \\')
    key = (scratch / (kind + ".pub")).read_text().split(" ", 2)
    done = client.run(["authorize", "--key", scratch / (kind + ".pub"), "--agent", "/usr/lib/sshexec/sshexec-agent", "--allow", "hello"])
    assert done.text == 'restrict,command="exec /bin/sh -c \'unset SSH_ORIGINAL_COMMAND; exec /usr/lib/sshexec/sshexec-agent --allow hello --no-uploads\'" ' + " ".join(key)
    shown = subprocess.run(["ssh-keygen", "-lf", "-"], input=done.out, capture_output=True)
    assert shown.returncode == 0, shown


# --- on a host ---

@pytest.fixture
def host(client, sshd_with):
    """A host where authorized_keys is the account's own, and where a second key logs in without limits."""
    server = sshd_with("AuthorizedKeysFile %h/.ssh/authorized_keys")
    if not server.dedicated:
        pytest.skip("needs an account of its own: root, and mount namespaces")
    server.wipe_home()
    client.connect_to(server)
    server.own_keys = server.home / ".ssh" / "authorized_keys"
    client.admin = client.ssh_dir / "admin"
    server.admin_key = make_key(client.admin, comment="admin")
    client.config.write_text(client.config.read_text().replace("IdentityFile %s\n" % client.key, ""))
    server.own_keys.parent.mkdir(mode=0o700)
    server.own_keys.write_text(server.admin_key)  # without a newline at its end
    for path in (server.own_keys.parent, server.own_keys):
        os.chown(path, server.uid, server.uid)
    return server


def authorize(client, *words, key=None):
    return client.run(["authorize", "-F", client.config, "-i", client.admin, "--host", "node1", "--key", str(key or client.key) + ".pub", *words])


def test_put_into_place(client, host, via_ssh):
    done = authorize(client, "--transport", via_ssh.transport, "--uploads", "--allow", "hello")
    assert done.code == 0 and ".ssh/authorized_keys" in done.text, done
    lines = host.own_keys.read_text().splitlines()
    assert lines[0] == host.admin_key and len(lines) == 2 and "/.cache/sshexec/agents/" in lines[1]
    assert host.own_keys.stat().st_mode & 0o777 == 0o600 and host.own_keys.stat().st_uid == host.uid
    assert [p.name for p in host.own_keys.parent.iterdir()] == ["authorized_keys"]
    locked = ["run", "-i", client.key, "--transport", via_ssh.transport]
    assert client.run([*locked, "hello", "node1", "name=Ada"]).text.startswith("hello, Ada\n")
    refused(client.run([*locked, "exec", "node1", "--", "id"]), "--allow does not list exec")


def test_put_into_place_again_replaces_the_line(client, host):
    odd = r'environment="A=\"b\n\\c\"" ' + make_key(client.ssh_dir / "other", comment=r"o\nther \\")
    host.own_keys.write_text("# a comment of mine\n\n%s\n%s\n" % (odd, host.admin_key))
    assert authorize(client, "--allow", "hello").code == 0
    before = host.own_keys.read_text()
    assert before.startswith("# a comment of mine\n\n%s\n%s\nrestrict," % (odd, host.admin_key)) and before.count("\n") == 5
    again = authorize(client, "--allow", "hello")
    assert again.code == 0 and "already" in again.text and host.own_keys.read_text() == before
    assert authorize(client, "--allow", "hello,facts").code == 0
    assert host.own_keys.read_text() == before.replace("--allow hello ", "--allow hello,facts ")
    assert authorize(client, "--allow", "hello", key=client.ssh_dir / "other").code == 1


def test_another_line_of_the_same_key_is_reported(client, host):
    done = authorize(client, "--allow", "hello", key=client.admin)
    assert done.code == 1 and "authorized_keys line 1" in done.error and "unrestricted" in done.error, done
    assert len(host.own_keys.read_text().splitlines()) == 2


def test_put_into_place_for_the_first_time(client, host):
    """No ~/.ssh there: the login is by another file."""
    shutil.rmtree(host.own_keys.parent)
    host.keys_path.write_text(host.admin_key + "\n")
    host.config_path.write_text(host.config_path.read_text().replace("%h/.ssh/authorized_keys", "%s %%h/.ssh/authorized_keys" % host.keys_path))
    os.kill(host.process.pid, 1)
    assert processes.wait_until(lambda: host.log().count("Server listening") >= 2, 5)
    assert authorize(client, "--allow", "hello").code == 0
    assert host.own_keys.read_text().startswith("restrict,")
    assert (host.own_keys.stat().st_mode & 0o777, host.own_keys.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("words, said", [(["--agent", "/no/such/agent"], "agent is not there"), (["--env-profile", "/no/such/file"], "profile"),
                                         (["--ephemeral"], "where it lasts")])
def test_a_line_that_would_not_work_is_not_written(client, host, words, said):
    before = host.own_keys.read_text()
    done = authorize(client, *words)
    assert done.code == REFUSED and said in done.error, done
    assert host.own_keys.read_text() == before


def test_a_locked_key_puts_nothing_into_place(client, host):
    assert authorize(client, "--allow", "hello").code == 0
    before = host.own_keys.read_text()
    done = client.run(["authorize", "-F", client.config, "-i", client.key, "--host", "node1", "--agent", "/bin/sh", "--key", str(client.key) + ".pub"])
    assert done.code == 255 and "gives no shell" in done.error and host.own_keys.read_text() == before, done
