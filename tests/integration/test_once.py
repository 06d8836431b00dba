"""Workloads: `sshexec encode` at one end of a pipe, `sshexec-agent --once` at the other; a plain Unix program on either side of ssh."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import msgpack
import pytest

import processes
from client import BUILD, SANITIZED, SLOW, Result, Terminal, reports_in
from test_kill_points import temporary_names
from test_run import commands, complains, gone

LIMIT = (1 << 24) - 1
KILLS = 20


@pytest.fixture
def agent(scratch):
    """The agent as an administrator would install it, for every account."""
    (scratch / "bin").mkdir()
    shutil.copy(BUILD / "bin" / "sshexec-agent", scratch / "bin")
    shutil.copytree(BUILD / "plugins", scratch / "plugins")
    return scratch / "bin" / "sshexec-agent"


def test_an_installed_agent_outlives_an_ephemeral_session(agent, client):
    done = subprocess.run([agent, "--ephemeral"], env=client.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert done.returncode == 1 and agent.exists()


class Once:
    """`sshexec-agent --once` here, or at the other end of the system's ssh."""

    def __init__(self, client, agent, host):
        self.client, self.agent, self.host = client, agent, host

    def argv(self, *options):
        to = ["ssh", "-F", str(self.client.config), "-oBatchMode=yes", self.host] if self.host else []
        return to + [str(self.agent), "--once", *options]

    def start(self, *options, **how):
        usual = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.client.env, cwd=self.client.home, start_new_session=True)
        return processes.start(self.argv(*options), **dict(usual, **how))

    def run(self, workload, *options, timeout=30):
        began, child = time.monotonic(), self.start(*options)
        out, err = child.communicate(workload, timeout * SLOW)
        assert not reports_in(err), err.decode()
        return Result(child.returncode, out, err, time.monotonic() - began)


@pytest.fixture(params=["here", "ssh"])
def once(request, client, sshd, agent):
    return Once(client, agent, None if request.param == "here" else "node1")


@pytest.fixture
def here(client, agent):
    return Once(client, agent, None)


def encode(client, *words):
    done = client.run(["encode", *words])
    assert done.code == 0 and done.err == b"", done
    return done.out


def prefixed(body):
    return len(body).to_bytes(4, "big") + body


# --- the examples ---

def test_a_pipe(client, once):
    sender = client.popen(["encode", "hello", "name=Ada"])
    child = once.start(stdin=sender.stdout)
    sender.stdout.close()
    out, err = child.communicate(timeout=30)
    assert (sender.wait(5), child.returncode, err) == (0, 0, b"")
    assert out == b'hello, Ada\n{"greeting":"hello, Ada","greeted":1}\n'
    sender.stderr.close()


def test_a_fifo_made_by_hand(client, once, scratch):
    script = "mkfifo p || exit 9; %s < p & %s encode hello name=Ada > p; wait $!; code=$?; rm p; exit $code"
    words = " ".join("'%s'" % word for word in once.argv())
    done = subprocess.run(["sh", "-c", script % (words, BUILD / "bin" / "sshexec")], cwd=client.home, env=client.env, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b'hello, Ada\n{"greeting":"hello, Ada","greeted":1}\n', b"")


def test_a_workload_that_was_kept_runs_again_and_again(client, once, scratch):
    (scratch / "workload").write_bytes(encode(client, "hello", "name=Eve"))
    for _ in range(2):
        with open(scratch / "workload", "rb") as kept:
            out, _ = once.start(stdin=kept).communicate(timeout=30)
        assert out.startswith(b"hello, Eve\n")


@pytest.mark.parametrize("form", ["bare", "prefixed"])
def test_a_workload_of_another_language_s_library(once, form):
    body = msgpack.packb(["hello", {"name": "Grace", "times": 2}, {"timeout_ms": 20000}])
    done = once.run(body if form == "bare" else prefixed(body))
    assert (done.code, done.out) == (0, b'hello, Grace\nhello, Grace\n{"greeting":"hello, Grace","greeted":2}\n'), done


def test_another_language_reads_ours(client):
    assert msgpack.unpackb(encode(client, "--bare", "hello", "name=Ada", "-u", "1500ms")) == ["hello", {"name": "Ada"}, {"timeout_ms": 1500}]
    assert encode(client, "hello", "also=a", "also=b")[4:] == encode(client, "--bare", "hello", "also=a", "also=b")


# --- decode ---

def test_decode_shows_either_form(client, scratch):
    for form in ([], ["--bare"]):
        workload = encode(client, *form, "-u", "2", BUILD / "plugins" / "hello.so", "name=Ada")
        (scratch / "workload").write_bytes(workload)
        shown = client.run(["decode"], input=workload)
        assert shown.out == client.run(["decode", scratch / "workload"]).out and shown.text.count("\n") == 1
        shown = json.loads(shown.text)
        assert shown["type"] == "hello" and shown["state"] == {"name": "Ada"} and shown["options"]["timeout_ms"] == 2000
        assert len(shown["options"]["digest"]) == 64


def test_decode_shows_what_nobody_here_knows(client):
    done = client.run(["decode"], input=msgpack.packb(["far_away", [1, b"\xff", None]]))
    assert json.loads(done.text) == {"type": "far_away", "state": [1, {"$bin": "/w=="}, None], "options": {}}
    assert complains(client.run(["decode"], input=b"what?"), 126, "not a workload", "0x77")
    assert complains(client.run(["decode", "/nowhere"]), 125, "/nowhere")


def test_encode_refuses_what_run_would(client):
    assert complains(client.run(["encode", "hello", "nmae=Ada"]), 126, "nmae", "did you mean name")
    assert complains(client.run(["encode", "helo"]), 127, "hello")
    assert complains(client.run(["encode", "hello", "node1"]), 125, "node1", "ssh node1 sshexec-agent --once")
    assert complains(client.run(["encode"]), 125, "encode what")


def test_encode_writes_to_a_terminal_only_where_forced(client):
    for words, code in ((["encode", "hello"], 125), (["encode", "--force", "hello"], 0)):
        terminal = client.terminal(words)
        assert terminal.wait(5) == code and (b"--force" in terminal.output) == (code == 125)
        terminal.close()


# --- the same as sshexec run ---

CASES = [
    ["hello", "name=Ada", "times=3", "also=Eve"], ["echo", 'value:={"a":[1,-2.5,null,"\u00e9"],"b":18446744073709551615}'],
    ["exec", "--", "printf", "no newline"], ["exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7"], ["exec", "--", "sh", "-c", "exit 200"],
    ["exec", "--", "sh", "-c", "kill -SEGV $PPID; sleep 5"], ["exec", "--", "/no/such/program"], ["hello", "name=" + "x" * 64],
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_bytes_result_and_exit_code_are_those_of_run(client, sshd, agent, via, case):
    words = CASES[case]
    wanted = client.run(via.words(*words))
    got = Once(client, agent, via.host).run(encode(client, *words))
    said = re.sub(r"^sshexec: (\S+) on \S+: ", r"sshexec-agent: \1: ", wanted.error, flags=re.M)
    assert (got.code, got.out, got.error) == (wanted.code, wanted.out, said)


@pytest.mark.parametrize("state, code", [({"times": 300}, 126), ({"nmae": "Ada"}, 126), ("text", 126), (None, 126)])
def test_a_state_that_the_type_refuses(once, state, code):
    assert complains(once.run(msgpack.packb(["hello", state])), code, "sshexec-agent: hello: refused")


def test_timeout(client, once):
    done = once.run(encode(client, "-u", "500ms", "exec", "--", "sleep", "321.4"))
    assert complains(done, 124, "sshexec-agent: exec: timeout: not done after 0.") and gone("sleep 321.4")


def test_types_that_are_not_there(client, once):
    assert complains(once.run(msgpack.packb(["helo", {}])), 127, "did you mean hello")
    assert complains(once.run(msgpack.packb(["../hello", {}])), 127, "not a type name")
    other = msgpack.packb(["hello", {}, {"digest": bytes(32)}])
    assert complains(once.run(other), 126, "no plugin with the digest 000000000000")
    assert once.run(encode(client, BUILD / "plugins" / "hello.so")).code == 0


@pytest.mark.parametrize("workload, said", [
    (b"", "empty"), (b"garbage", "0x67"), (b"sshexec 1 " + b"0" * 32 + b"\n", "0x73"), (b"\0\0", "cut off"), (b"\0\0\0\x20\x92\xa5hello", "cut off after 7 of 32"),
    (b"\x92\xa5hel", "cut off"), (b"\0\0\0\0", "no array"), (msgpack.packb(["hello", {}, {"new": 1}]), "doesn't know: new"),
    (msgpack.packb(["hello", {}]) + b"\0", "behind its end"),
])
def test_what_is_no_workload(once, workload, said):
    assert complains(once.run(workload), 126, said)


def test_a_workload_over_the_limit(client, once, scratch):
    assert complains(once.run(msgpack.packb(["echo", {"value": bytes(LIMIT)}])), 126, "larger than the limit of 16777215 bytes")
    (scratch / "large").write_text("x" * (LIMIT - 8))
    assert complains(client.run(["encode", "echo", "value=@%s" % (scratch / "large")]), 126, "limit")


def test_a_terminal_is_no_workload(client, here):
    terminal = Terminal(here.argv(), client.env)
    assert terminal.wait(5) == 125 and b"sshexec encode" in terminal.output
    terminal.close()


# --- bytes ---

def test_tar_is_byte_exact(client, once, scratch):
    dice = random.Random(7)
    (scratch / "data").mkdir()
    (scratch / "data" / "random").write_bytes(dice.randbytes(3_000_001))
    words = ["tar", "c", "--sort=name", "-C", str(scratch / "data"), "."]
    assert once.run(encode(client, "exec", "--", *words)).out == subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout


def test_what_follows_the_workload_is_input(client, once):
    data = random.Random(8).randbytes(3_000_001)
    assert once.run(encode(client, "exec", "--", "cat") + data).out == data
    assert once.run(encode(client, "--bare", "exec", "--", "cat")).out == b""
    assert once.run(encode(client, "hello") + data, "--no-result").out == b"hello, world\n"


def test_a_worker_that_takes_no_more_input_doesn_t_stop_its_sender(client, here):
    done = here.run(encode(client, "exec", "--", "head", "-c", "5") + b"hello" + bytes(5_000_000))
    assert (done.code, done.out) == (0, b"hello")


def test_a_large_value_and_back(here):
    value = random.Random(9).randbytes(12_000_000)
    done = here.run(msgpack.packb(["echo", {"value": value}]))
    assert done.code == 0 and len(json.loads(done.text)["value"]["$bin"]) == 16_000_000


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's own memory is not ours")
def test_a_slow_reader_swells_nothing(client, here):
    child = here.start()
    child.stdin.write(encode(client, "exec", "--", "head", "-c", "200000000", "/dev/zero"))
    child.stdin.close()
    time.sleep(0.5)
    peak = processes.peak_memory_kib(child.pid)
    got = 0
    while piece := child.stdout.read(1 << 20):
        got += len(piece)
        peak = max(peak, processes.peak_memory_kib(child.pid) or 0)
    assert (child.wait(10), got) == (0, 200_000_000) and peak < 16 << 10
    child.stderr.close()


# --- where the result goes ---

def test_result_in_a_file(client, once, scratch):
    place = scratch / "results"
    place.mkdir()
    place.chmod(0o777)
    done = once.run(encode(client, "hello"), "--result", str(place / "result"))
    assert (done.code, done.out) == (0, b"hello, world\n")
    assert json.loads((place / "result").read_text()) == {"greeting": "hello, world", "greeted": 1}
    done = once.run(encode(client, "exec", "--", "echo", "hi"), "--result", str(place / "other"))
    assert (done.code, done.out) == (0, b"hi\n") and (place / "other").exists()
    assert complains(once.run(encode(client, "hello"), "--result", "/nowhere/result"), 125, "/nowhere/result")


def test_result_on_a_descriptor_or_nowhere(client, here):
    ours, theirs = os.pipe()
    child = here.start("--result-fd", str(theirs), pass_fds=[theirs])
    os.close(theirs)
    out, _ = child.communicate(encode(client, "hello"), 30)
    with os.fdopen(ours, "rb") as result:
        assert (out, result.read()) == (b"hello, world\n", b'{"greeting":"hello, world","greeted":1}\n')
    assert here.run(encode(client, "hello"), "--no-result").out == b"hello, world\n"
    assert complains(here.run(encode(client, "hello"), "--result-fd", "77"), 125, "77")


# --- ends ---

@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_cancel(client, here, number, code):
    child = here.start()
    child.stdin.write(encode(client, "exec", "--", "sleep", "432.1"))
    child.stdin.flush()
    assert processes.wait_until(lambda: commands("sleep 432.1"), 10 * SLOW)
    child.send_signal(number)
    out, err = child.communicate(timeout=10)
    assert (child.returncode, out, err) == (code, b"", b"sshexec-agent: exec: cancelled\n") and gone("sleep 432.1")


def test_a_second_signal_waits_for_nobody(client, here):
    child = here.start()
    child.stdin.write(encode(client, "exec", "--", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"))
    child.stdin.flush()
    assert child.stdout.readline() == b"ready\n"
    child.terminate()
    child.terminate()
    child.communicate(timeout=10)
    assert child.returncode in (143, -signal.SIGTERM)


def test_nohup(client, here):
    child = processes.start(["nohup"] + here.argv(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=client.env)
    child.stdin.write(encode(client, "exec", "--", "sh", "-c", "echo ready; sleep 0.5; echo done"))
    child.stdin.close()
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGHUP)
    assert (child.stdout.read(), child.wait(10)) == (b"done\n", 0)
    child.stderr.close()


@pytest.mark.parametrize("command", ["sleep 234.5", "while :; do echo y; done"])
def test_nobody_reads_stdout(client, once, command):
    child = once.start(stdin=subprocess.PIPE)
    child.stdin.write(encode(client, "exec", "--", "sh", "-c", command + "; :"))
    child.stdin.flush()
    assert processes.wait_until(lambda: commands("sh -c %s; :" % command), 10 * SLOW)
    child.stdout.close()
    if once.host: # ssh itself hears of it only when there is something to write
        child.stdin.close()
        if "echo" not in command:
            child.terminate()
    assert gone("sh -c %s; :" % command)
    code = child.wait(10)
    assert once.host or code == -signal.SIGPIPE
    child.stderr.close()
    child.stdin.close()


def test_stdout_that_can_t_be_written(client, here):
    workload = encode(client, "hello")
    with open("/dev/full", "wb") as full:
        child = here.start(stdout=full)
        _, err = child.communicate(workload, 10)
    assert child.returncode == 125 and b"can't write stdout: No space left" in err
    closed = subprocess.run(["sh", "-c", "exec '%s' --once >&-" % here.agent], input=workload, env=client.env, capture_output=True, timeout=10)
    assert closed.returncode == 125 and b"can't write stdout" in closed.stderr


def test_killed_at_any_point_leaves_nothing(client, sshd, once):
    workload, had = encode(client, "exec", "--", "sh", "-c", "echo x; sleep 0.1"), temporary_names(client, sshd)
    began = time.monotonic()
    assert once.run(workload).code == 0
    took, dice = time.monotonic() - began, random.Random(10)
    for turn in range(KILLS):
        child = once.start()
        child.stdin.write(workload)
        child.stdin.close()
        child.stdin = None
        time.sleep(took * 1.1 * dice.random())
        far = [p for p in processes.descendants() if "sshexec-" in p.command and "ssh " not in p.command or "sleep 0.1" in p.command]
        victim = child.pid if turn % 2 == 0 or not far else dice.choice(far).pid
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.communicate(timeout=20)
        assert processes.wait_until(lambda: not processes.descendants(), 5), [str(p) for p in processes.descendants()]
        assert processes.wait_until(lambda: temporary_names(client, sshd) <= had, 3), temporary_names(client, sshd) - had
