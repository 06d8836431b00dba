"""What `sshexec run -w SET` does on a terminal, and what it doesn't where there is none."""
import os
import re
import signal
import subprocess
import tempfile

import pytest

import processes
from client import SLOW, Terminal
from fleet import AGENT
from tmux import Tmux

CLEAR = b"\r\x1b[K\x1b7\x1b[B\x1b[J\x1b8"
DRAWN = re.compile(re.escape(CLEAR) + rb"\x1b\[\?7l([^\x1b]*)\x1b\[\?7h\r")
PROGRESS = "0/3 done, 3 running, 0 failed, 0 to go"
long = lambda *values: pytest.param(*values, marks=pytest.mark.long)
UP_AND_SLEEP = ["exec", "--", "sh", "-c", "echo up; sleep 1000"]


def words(*rest, hosts="node[1-3]"):
    return ["run", "-w", hosts, *rest]


def until(path):
    """A worker that waits for a file, which every host sees: they are one machine."""
    return ["exec", "--", "sh", "-c", "echo up; while ! test -e %s; do sleep 0.05; done; echo over" % path]


def nothing_left():
    return processes.wait_until(lambda: not processes.running(AGENT), 5 * SLOW)


@pytest.fixture
def gate(scratch):
    return scratch / "gate"


@pytest.fixture
def screen(client, session_dir):
    """screen(argv, **how): argv on a screen of its own."""
    started = []
    def start(argv, env=None, **how):
        directory = tempfile.mkdtemp(prefix="tmux-", dir=session_dir)
        started.append(Tmux(directory, argv, dict(client.env, **(env or {})), cwd=client.home, **how))
        return started[-1]
    yield start
    for one in started:
        one.__exit__()


# --- the progress line ---

@pytest.mark.parametrize("columns", [1, 12, 40, long(2), long(39), long(200)])
def test_the_progress_line_fits(client, gate, columns):
    terminal = client.terminal(words("-q", *until(gate)), columns=columns) # quiet: no line
    terminal.expect(rb"up\r\n.*up\r\n.*up\r\n")
    gate.touch()
    assert terminal.wait() == 0 and b"done" not in terminal.output
    gate.unlink()
    terminal = client.terminal(words(*until(gate)), columns=columns)
    terminal.expect(rb"(?s)up\r\n.*up\r\n.*up\r\n.*\x1b\[\?7h\r")
    gate.touch()
    assert terminal.wait() == 0
    drawn = [line.decode() for line in DRAWN.findall(terminal.output)]
    assert drawn and all(len(line) < columns for line in drawn) and drawn[0] == PROGRESS[:columns - 1], drawn
    rest = DRAWN.sub(b"", terminal.output).replace(CLEAR, b"")
    assert b"done" not in rest and re.search(rb"3 ok\r\n$", rest), rest


@pytest.mark.parametrize("narrow", [12, long(5), long(39)])
def test_a_terminal_that_changes_its_width(client, gate, screen, narrow):
    """tmux folds the line into several where it no longer fits, as most terminals do. (From a screen that is not full it moves some of them out of reach.)"""
    on = screen(client.argv(words("-N", "exec", "--", "sh", "-c", "seq 10; while ! test -e %s; do sleep 0.05; done" % gate)), columns=60, rows=10)
    on.wait(lambda lines: len(lines) == 31 and lines[-1] == PROGRESS)
    for columns in narrow, 80:
        on.resize(columns, 10)
        lines = on.wait(lambda lines: lines[-1] == PROGRESS[:columns - 1].rstrip())
        assert len(lines) == 31 and all(line.isdigit() for line in lines[:30]), (columns, lines)
    gate.touch()
    code, lines = on.finish()
    assert code == 0 and len(lines) == 31 and re.fullmatch(r"sshexec: 3 hosts in [\d.]+ s: 3 ok", lines[30]), lines


def test_output_stands_above_the_progress_line(client, gate, screen):
    on = screen(client.argv(words("exec", "--", "sh", "-c", "seq 40; while ! test -e %s; do sleep 0.05; done" % gate, hosts="node1")), rows=10)
    lines = on.wait(lambda lines: len(lines) == 41)
    assert lines[:40] == ["node1: %d" % n for n in range(1, 41)] and lines[40] == "0/1 done, 1 running, 0 failed, 0 to go", lines
    gate.touch()
    code, lines = on.finish()
    assert code == 0 and lines[:40] == ["node1: %d" % n for n in range(1, 41)] and len(lines) == 41 and "1 ok" in lines[40], lines


def test_stopped_and_continued(client, gate, screen):
    (client.home / "go").write_text("exec \"$@\"\n")
    on = screen(["bash", "--norc", "--noprofile", "-i"], env={"PS1": "$ ", "HISTFILE": ""})
    command = " ".join("'%s'" % word for word in client.argv(words(*until(gate))))
    (client.home / "go").write_text(command + "\n")
    on.wait(lambda lines: lines[-1:] == ["$"])
    on.send("sh go", "Enter")
    on.wait(lambda lines: sum(line.endswith(": up") for line in lines) == 3 and lines[-1].endswith(PROGRESS))
    on.send("C-z")
    on.wait(lambda lines: any("Stopped" in line for line in lines) and lines[-1] == "$")
    assert processes.wait_until(lambda: len(processes.running(AGENT)) == 3, 5 * SLOW) # they are not stopped
    on.send("fg", "Enter")
    on.wait(lambda lines: lines[-1] == PROGRESS)
    gate.touch()
    lines = on.wait(lambda lines: lines[-1] == "$" and any("3 ok" in line for line in lines))
    assert sum(line.endswith(": over") for line in lines) == 3, lines
    on.send("echo code $?", "Enter")
    on.wait(lambda lines: "code 0" in lines)


def test_a_terminal_that_can_only_print(client):
    for term in ("dumb", ""):
        terminal = client.terminal(words("facts", "--pick", "arch", "--timing"), env={"TERM": term})
        assert terminal.wait() == 0
        assert b"\x1b" not in terminal.output and b"done" not in terminal.output and b"node1" in terminal.output, terminal.output


# --- one of stdout and stderr ---

def test_only_stderr_is_a_terminal(client, gate):
    with open(client.home / "out", "wb") as out:
        terminal = client.terminal(words("exec", "--", "sh", "-c", r"printf '\033[31mred\033[2J\rx\n'; while ! test -e %s; do sleep 0.05; done" % gate), stdout=out)
        terminal.expect(re.escape(PROGRESS.encode()))
        gate.touch()
        assert terminal.wait() == 0
    assert sorted((client.home / "out").read_bytes().split(b"\n")) == [b""] + [b"node%d: \x1b[31mred\x1b[2J\rx" % n for n in (1, 2, 3)]
    assert re.search(rb"3 hosts in [\d.]+ s: 3 ok", terminal.output) and b"red" not in terminal.output


def test_only_stdout_is_a_terminal(client):
    with open(client.home / "err", "wb") as err:
        terminal = client.terminal(words("exec", "--", "sh", "-c", r"echo out; printf '\033[2Jbad\n' >&2"), stderr=err)
        assert terminal.wait() == 0
    assert sorted(terminal.output.split()) == [b"\x1b[36mnode%d\x1b[0m:" % n for n in (1, 2, 3)] + [b"out"] * 3
    lines = sorted((client.home / "err").read_bytes().splitlines())
    assert lines[:3] == [b"node%d: \x1b[2Jbad" % n for n in (1, 2, 3)] and len(lines) == 4 and b"3 ok" in lines[3], lines


@pytest.mark.parametrize("env, options, on_a_terminal, in_a_pipe", [
    ({}, [], True, False), ({"NO_COLOR": "1"}, [], False, False), ({"NO_COLOR": ""}, [], True, False), ({"TERM": "dumb"}, [], False, False),
    ({}, ["--color=never"], False, False), ({}, ["--color=auto"], True, False),
    ({}, ["--color"], True, True), ({"NO_COLOR": "1", "TERM": "dumb"}, ["--color=always"], True, True),
])
def test_colors(client, env, options, on_a_terminal, in_a_pipe):
    command = words(*options, "hello", hosts="node1")
    terminal = client.terminal(command, env=env)
    assert terminal.wait() == 0 and (b"\x1b[36mnode1\x1b[0m: hello" in terminal.output) == on_a_terminal, terminal.output
    assert on_a_terminal or b"node1: hello" in terminal.output
    piped = client.run(command, env=env)
    assert piped.code == 0 and (b"\x1b[36mnode1\x1b[0m: hello" in piped.out) == in_a_pipe and (in_a_pipe or b"\x1b" not in piped.out), piped


# --- what hosts may do to a terminal ---

HOSTILE = r"printf 'one\rnode2: two\n\033]0;title\007\033[2J\033[A\302\233A\377\n\033[31mred\nplain\nlast\033[1A'; printf '\033[3A\n' >&2"


@pytest.mark.parametrize("options", [[], ["-b"], ["--diff"], long(["-N"]), long(["-L"]), long(["-b", "-L"])])
def test_a_host_does_not_drive_the_terminal(client, options):
    terminal = client.terminal(words(*options, "exec", "--", "sh", "-c", HOSTILE + "; echo ${SSH_CONNECTION% *}; hostname"))
    assert terminal.wait() == 0
    said = DRAWN.sub(b"", terminal.output).replace(CLEAR, b"").replace(b"\r\n", b"\n")
    assert not re.search(rb"[\x00-\x09\x0b-\x1a\x1c-\x1f\x7f\xff]|\xc2\x9b|\x1b(?!\[[0-9;]*m)", said), said
    assert rb"one\x0dnode2: two" in said or options == ["--diff"] # which shows no more than what is near
    assert rb"\x1b]0;title\x07\x1b[2J\x1b[A\xc2\x9bA\xff" in said, said
    assert b"\x1b[31mred\x1b[0m\n" in said, said


def test_a_pipe_gets_what_hosts_say(client):
    wanted = b"one\rnode2: two\n\x1b]0;title\x07\x1b[2J\x1b[A\xc2\x9bA\xff\n\x1b[31mred\nplain\nlast\x1b[1A"
    for options in ["-N"], ["-b"]:
        done = client.run(words(*options, "exec", "--", "sh", "-c", HOSTILE, hosts="node1"))
        assert done.code == 0 and done.out.endswith(wanted + b"\n") and b"\x1b[3A\n" in done.err, done
    one = client.run(["run", "exec", "node1", "--", "sh", "-c", HOSTILE])
    assert one.out == wanted and one.err == b"\x1b[3A\n", one


def test_wide_characters_stand_in_columns(client):
    (client.home / "map").write_text('node1 {"name": "\u4f60\u597d"}\nnode2 {"name": "Ada"}\nnode3 {"name": "e\u0301\\u001b[2J"}\n')
    done = client.run(words("--state-map", "map", "hello", "--pick", "greeting,greeted"))
    assert done.code == 0, done
    assert done.text.splitlines() == ["host   greeting         greeted", "node1  hello, \u4f60\u597d            1", "node2  hello, Ada             1",
                                      "node3  hello, e\u0301\\x1b[2J        1"], done.text


def test_a_narrow_terminal_gets_whole_tables_and_heads(client):
    terminal = client.terminal(words("facts", "--pick", "arch,kernel.name", hosts="node[1,3-4,6,8]"), columns=10)
    assert terminal.wait() == 0 and re.search(rb"node8  \S+ +Linux\r\n", terminal.output), terminal.output
    terminal = client.terminal(words("-b", "exec", "--", "echo", "same", hosts="node[1,3-4,6,8]"), columns=10)
    assert terminal.wait() == 0 and b"node[1,3-4,6,8]\x1b[0m (5)\r\n---------------\r\nsame\r\n" in terminal.output, terminal.output


# --- the ends ---

def test_interrupts_on_a_screen(client, screen):
    on = screen(client.argv(words(*UP_AND_SLEEP)))
    on.wait(lambda lines: len(lines) == 4 and lines[-1] == PROGRESS)
    on.send("C-c")
    lines = on.wait(lambda lines: lines[-1] == PROGRESS and "sshexec: interrupt again to cancel" in lines)
    assert [line.replace("^C", "") for line in lines[3:]] == ["sshexec: running: node[1-3]", "sshexec: interrupt again to cancel", PROGRESS], lines
    on.send("C-c")
    code, lines = on.finish()
    assert code == 130 and not any("done" in line for line in lines), lines
    assert sorted(lines[5:8]) == ["sshexec: exec on node%d: cancelled" % n for n in (1, 2, 3)] and re.fullmatch(r"sshexec: 3 hosts in [\d.]+ s: 3 cancelled \(node\[1-3\]\)", lines[8]), lines
    assert nothing_left()


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_cancel_at_once(client, number, code):
    terminal = client.terminal(words(*UP_AND_SLEEP))
    terminal.expect(rb"(?s)up\r\n.*up\r\n.*up\r\n")
    terminal.child.send_signal(number)
    assert terminal.wait() == code and b"3 cancelled (node[1-3])" in terminal.output and nothing_left()


def test_a_terminal_that_goes_away(client):
    terminal = client.terminal(words(*UP_AND_SLEEP))
    terminal.expect(rb"(?s)up\r\n.*up\r\n.*up\r\n")
    os.close(terminal.fd)
    assert terminal.child.wait(10 * SLOW) == 129 and nothing_left()


@pytest.mark.parametrize("options", [[], ["-b"], long(["--json"]), long(["-N"])])
def test_a_reader_that_has_enough(client, options):
    command = [client.argv(words(*options, "exec", "--", "seq", "100000"))]
    shell = 'set -o pipefail; "$@" | head -n 1'
    done = subprocess.run(["bash", "-c", shell, "bash", *map(str, command[0])], env=client.env, cwd=client.home, stdin=subprocess.DEVNULL, capture_output=True, timeout=30 * SLOW)
    assert done.returncode == 128 + signal.SIGPIPE and done.stdout.count(b"\n") == 1 and b"can't" not in done.stderr, done
    assert nothing_left()


@pytest.mark.parametrize("how, said", [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")])
@pytest.mark.parametrize("command", [["run", "-w", "node1,node2", "hello"], ["run", "-w", "node1", "hello", "--pick", "greeting"], ["run", "--json", "-w", "node1", "hello"], ["run", "hello", "node1"]])
def test_a_stdout_that_takes_nothing(client, command, how, said):
    done = subprocess.run(["sh", "-c", '"$@" ' + how, "sh", *map(str, client.argv(command))], env=client.env, cwd=client.home, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30 * SLOW)
    assert done.returncode == 125 and b"sshexec: can't write to stdout: %s\n" % said.encode() in done.stderr, done


def test_closed_descriptors(client):
    run = lambda how: subprocess.run(["sh", "-c", '"$@" ' + how, "sh", *map(str, client.argv(words("exec", "--", "sh", "-c", "cat; echo out; echo bad >&2")))], env=client.env, cwd=client.home,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30 * SLOW)
    done = run("<&-") # to be read from it is an error, not the end of it
    assert done.returncode == 125 and b"stdin" in done.stderr, done
    done = run("2>&-")
    assert done.returncode == 0 and sorted(done.stdout.splitlines()) == [b"node%d: out" % n for n in (1, 2, 3)], done


def test_stdin_is_no_terminal(client):
    """What is piped in goes to every host, and the terminal is still there to be drawn on."""
    with open(client.home / "input", "w+b") as given:
        given.write(b"some\n")
        given.seek(0)
        terminal = client.terminal(words("exec", "--", "cat"), stdin=given)
        assert terminal.wait() == 0 and terminal.output.count(b": some\r\n") == 3, terminal.output


def test_a_terminal_as_stdin_is_not_read(client):
    terminal = client.terminal(words("exec", "--", "cat"))
    terminal.send(b"typed ahead\n")
    assert terminal.wait() == 0 and terminal.output.count(b"typed ahead") <= 1, terminal.output # its echo
