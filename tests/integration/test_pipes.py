"""Any command that gives a byte pipe, and the named pipe: what works does so byte for byte; what breaks is `lost` or `unreachable`, never a success and never a hang."""
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import processes
from client import SLOW

FAKE = Path(__file__).with_name("pipe_fake.py")
BROKEN = ("lost", "unreachable")


@pytest.fixture
def transports(client):
    """Writes [transport NAME] sections."""
    def write(extra="", **commands):
        path = client.home / ".config" / "sshexec" / "config"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(extra + "".join("[transport %s]\ncommand = %s\n" % item for item in commands.items()))
    return write


@pytest.fixture
def runtime(client, scratch):
    """Where fifos are made."""
    path = scratch / "run"
    path.mkdir(mode=0o700)
    client.env["XDG_RUNTIME_DIR"] = str(path)
    return path


def fake(how, n=0):
    return "/usr/bin/python3 %s %s %s %%c" % (FAKE, how, n)


def run(client, transport, *words, host="node1", before=(), **how):
    return client.run(["run", "--transport", transport, *before, words[0]] + ([host] if host else []) + list(words[1:]), **how)


def end_of(done):
    """The outcome that --json gave, which must be there once."""
    ends = [event for event in map(json.loads, done.text.splitlines()) if event["event"] == "end"]
    assert len(ends) == 1, done
    return ends[0]["outcome"]


# --- the configuration ---

def test_config_shows_the_templates(client, transports):
    transports("transport = lab\n", lab="nsenter -t %p -- %c", boxes="docker exec -i '%h' %c")
    shown = client.run(["config"]).text
    assert "[transport lab]" in shown and "nsenter -t %p -- %c" in shown and "docker exec -i '%h' %c" in shown


def test_unknown_transport_lists_the_known(client, transports):
    transports(boxes="docker exec -i %h %c")
    done = run(client, "docker", "hello")
    assert done.code == 125 and all(name in done.error for name in ("auto", "libssh", "ssh", "fifo", "boxes")), done


@pytest.mark.parametrize("section,words", [
    ("[transport x]\ncommand = docker exec -i %h", ["config:2", "%c"]), ("[transport x]\ncommand = a '%c", ["config:2", "quote"]),
    ("[transport x]\ncommand = %x %c", ["config:2", "%x"]), ("[transport ssh]\ncommand = %c", ["config:2", "taken"]),
    ("[transport x]\ncomand = %c", ["config:2", "comand"]), ("[transport No]\ncommand = %c", ["config:2", "lower-case"]),
])
def test_bad_template(client, transports, section, words):
    transports(section + "\n")
    done = client.run(["run", "hello"])
    assert done.code == 125 and done.err.count(b"\n") == 1 and all(word in done.error for word in words), done


def test_template_lacks_what_was_not_given(client, transports):
    transports(x="env -u %u %c", y="env -u %h %c")
    done = run(client, "x", "hello")
    assert done.code == 125 and "transport x" in done.error and "user@host" in done.error, done
    done = run(client, "y", "hello", host=None)
    assert done.code == 125 and "needs a host" in done.error, done


def test_host_is_never_an_option_nor_a_shell_s_word(client, transports, scratch):
    transports(x="sh -c \"printf %%s %h >&2; exit 1\" %c", y="printf %h %c")
    done = run(client, "x", "hello", host="$(id)")
    assert done.code == 255 and "uid=" in done.error, done # the user's own shell, in the user's own template: it was asked for
    transports(x="env NAME=%h sh -c \"exec sh -c %c\"")
    done = run(client, "x", "exec", "--", "printenv", "NAME", host="$(id);`id`'\"")
    assert done.code == 0 and done.text == "$(id);`id`'\"\n", done
    assert run(client, "x", "hello", host="-h").code == 125


# --- pipes that work ---

def working(client):
    return {
        "sh": "%c", "quoted": "sh -c \"exec sh -c %c\"", "by-ssh": "ssh -F %s -oBatchMode=yes %%h \"exec /bin/sh -c %%c\"" % client.config,
        "env": "env A=%h %c",
    }


@pytest.mark.parametrize("name", ["sh", "quoted", "by-ssh", "env"])
def test_template_is_byte_exact(client, clean_sshd, transports, name):
    transports(**working(client))
    data = os.urandom(300_001)
    for _ in range(2): # with the agent to be brought, and without
        done = run(client, name, "exec", "--", "cat", input=data)
        assert done.code == 0 and done.out == data and done.err == b"", done.err
    assert run(client, name, "exec", "--", "sh", "-c", "exit 7").code == 7


def test_template_without_a_host(client, transports):
    transports(here="%c")
    done = run(client, "here", "hello", "name=Ada", host=None)
    assert done.code == 0 and "Ada" in done.text, done


def test_doctor_and_v_name_the_template(client, transports):
    transports(quoted="sh -c \"exec sh -c %c\"")
    done = client.run(["doctor", "--transport", "quoted", "node1"])
    assert done.code == 0 and "quoted: the template sh -c" in done.text, done
    assert "quoted: the template sh -c" in run(client, "quoted", "hello", before=["-v"]).error


def test_network_namespace(client, transports):
    name = "ssxtest%d" % os.getpid()
    if not shutil.which("ip") or subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        pytest.skip("network namespaces can't be made here")
    try:
        if subprocess.run(["ip", "netns", "exec", name, "true"], capture_output=True).returncode: # in a chroot, say
            pytest.skip("network namespaces can't be entered here")
        transports(netns="ip netns exec %h %c")
        done = run(client, "netns", "exec", "--", "ip", "netns", "identify", host=name)
        assert done.code == 0 and done.text.strip() == name, done
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_dribble(client, transports):
    """One byte a write, both ways, from the first byte of the agent's upload on."""
    transports(dribble=fake("dribble"))
    data = os.urandom(20_000)
    for _ in range(2):
        done = run(client, "dribble", "exec", "--", "cat", input=data, timeout=120)
        assert done.code == 0 and done.out == data, done


# --- pipes that break ---

def test_cut_anywhere(client, transports, scratch):
    """As `kubectl exec` may: what comes is the beginning only, and the exit code 0. Until END has come whole, that is no success."""
    transports(sh="%c", count=fake("count", scratch / "count"))
    assert run(client, "sh", "hello").code == 0 # the agent is there from now on
    assert run(client, "count", "hello", "name=Ada").code == 0
    total = int((scratch / "count").read_text())
    assert total > 300
    # END holds times, so its length varies by a few bytes: its last ones are counted from its own end.
    points = [("cut", n) for n in sorted({0, 1, 50, 51, 52, 60, total // 2, total - 100, total - 50, *range(100, total - 50, total // 8)})]
    for how, n in points + [("cut_end", n) for n in (1, 2, 10, 30)]:
        transports(cut=fake(how, n))
        done = run(client, "cut", "hello", "name=Ada", before=["--json"])
        assert done.code == 255 and end_of(done) in BROKEN, (how, n, total, done)


def test_cut_while_the_agent_travels(client, transports):
    for n in (0, 1, 30, 60, 70):
        shutil.rmtree(client.home / ".cache", ignore_errors=True)
        transports(cut=fake("cut", n))
        done = run(client, "cut", "hello", before=["--json"])
        assert done.code == 255 and end_of(done) == "unreachable", (n, done)


@pytest.mark.parametrize("how,n", [("early", 0), ("deaf", 0), ("deaf", 40), ("deaf", 100), ("mute", 0), ("mute", 60), ("mute", 400)])
def test_closed_pipes(client, transports, how, n):
    transports(sh="%c", broken=fake(how, n))
    assert run(client, "sh", "hello").code == 0
    done = run(client, "broken", "exec", "--", "sh", "-c", "while sleep 0.05; do echo x; done", before=["--json", "--connect-timeout", "2s"])
    assert done.code == 255 and end_of(done) in BROKEN, done
    assert done.seconds < 8 * SLOW


def test_silence_ends(client, transports):
    transports(silent=fake("silent"))
    done = run(client, "silent", "hello", before=["--connect-timeout", "500ms"])
    assert done.code == 255 and done.seconds < 5 * SLOW and "no agent answered" in done.error, done


def test_command_that_is_not_there(client, transports):
    transports(x="no-such-program-anywhere %c")
    done = run(client, "x", "hello")
    assert done.code in (125, 255) and "no-such-program-anywhere" in done.error and done.err.count(b"\n") == 1, done


def test_what_the_command_says_is_the_reason(client, transports):
    transports(x="sh -c \"echo Error: No such container: %h >&2; exit 1\" %c")
    done = run(client, "x", "hello")
    assert done.code == 255 and "No such container: node1" in done.error and done.err.count(b"\n") == 1, done


# --- the named pipe ---

@pytest.mark.parametrize("host", ["node1", None])
def test_fifo_is_byte_exact(client, clean_sshd, runtime, host):
    data = os.urandom(1_000_003)
    for _ in range(2):
        done = run(client, "fifo", "exec", "--", "cat", host=host, input=data)
        assert done.code == 0 and done.out == data and done.err == b"", done.err
    assert list(runtime.iterdir()) == []
    assert run(client, "fifo", "exec", "--", "sh", "-c", "exit 7", host=host).code == 7
    assert "fifo" in run(client, "fifo", "hello", host=host, before=["-v"]).error


def test_fifo_is_the_stdin_of_ssh_and_gone_while_it_runs(client, runtime):
    child = client.popen(["run", "--transport", "fifo", "exec", "node1", "--", "sh", "-c", "echo up; sleep 60"])
    assert child.stdout.readline() == b"up\n"
    ssh = [p for p in processes.descendants() if p.parent == child.pid and p.command.startswith("ssh ")]
    assert len(ssh) == 1
    stdin = os.readlink("/proc/%d/fd/0" % ssh[0].pid)
    assert stdin.startswith(str(runtime)) and stdin.endswith("(deleted)")
    assert list(runtime.iterdir()) == []
    os.kill(ssh[0].pid, signal.SIGKILL)
    _, err = child.communicate(timeout=10 * SLOW)
    assert child.returncode == 255 and b"lost" in err, err
    assert processes.wait_until(lambda: not [p for p in processes.descendants() if p.command == "sleep 60"], 2 * SLOW)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_fifo_leaves_nothing_when_killed(client, runtime, number):
    for n in range(8):
        child = client.popen(["run", "--transport", "fifo", "exec", "node1", "--", "sleep", "60"])
        time.sleep(0.002 * 3 ** n / 4)
        child.send_signal(number)
        child.communicate(timeout=10 * SLOW)
        assert child.returncode in (-number, 128 + number), (n, child.returncode)
        assert processes.wait_until(lambda: not list(runtime.iterdir()), 1 * SLOW), n # what makes it outlives a SIGKILL of ours by a millisecond
        assert processes.wait_until(lambda: not [p for p in processes.descendants() if p.command == "sleep 60"], 2 * SLOW), n


def test_fifo_is_never_left_by_a_killed_sender(client, runtime):
    """The moments in which it has a name."""
    for n in range(40):
        child = client.popen(["run", "--transport", "fifo", "hello"])
        time.sleep(n / 4000 * SLOW)
        child.kill()
        child.communicate()
        assert processes.wait_until(lambda: not list(runtime.iterdir()), 1 * SLOW), (n, list(runtime.rglob("*")))


def test_fifo_with_nobody_at_the_far_end(client, runtime, scratch):
    for script, code in (("exec sleep 100", 255), ("exit 0", 255), ("exec <&-; exec sleep 100", 255)):
        (scratch / "ssh").write_text("#!/bin/sh\n%s\n" % script)
        (scratch / "ssh").chmod(0o755)
        path = "%s:%s" % (scratch, client.env["PATH"])
        done = run(client, "fifo", "hello", before=["--connect-timeout", "1s"], env={"PATH": path})
        assert done.code == code and done.seconds < 5 * SLOW and done.err.count(b"\n") == 1, (script, done)
        assert list(runtime.iterdir()) == []


def test_fifo_where_none_can_be_made(client, scratch):
    done = run(client, "fifo", "hello", host=None, env={"XDG_RUNTIME_DIR": "/proc/none", "TMPDIR": str(scratch)})
    assert done.code == 0, done
    assert list(scratch.iterdir()) == []
