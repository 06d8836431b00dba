"""A bad plugin harms its own call alone: whatever it does, its call ends with the right outcome, its siblings and the next call on the
same session don't notice, and 2 s later nothing of it is left."""
import base64
import hashlib
import os
import random
import re
import signal
import time

import pytest

import processes
from agents import AGENT, ITEM, LOG, RESULT, STATE, ZOO, Raw, Session, call, ends, frame, greeting, rss_kib
from client import SANITIZED, SLOW

FLAT_KIB = 16 << 10
IDLE_KIB = 2 << 10
GONE_S = 2 * SLOW

exactly = pytest.mark.skipif(SANITIZED, reason="a sanitizer's own memory is not ours")


@pytest.fixture
def env(client):
    return client.env


@pytest.fixture
def session(env, scratch):
    temp = scratch / "tmp"
    temp.mkdir()
    s = Session(env, temp)
    s.temp = temp
    yield s
    s.close()
    assert processes.wait_until(lambda: not list(temp.iterdir()), GONE_S), list(temp.iterdir())


def is_waiting(pid):
    """A process that is ready for the next call."""
    try:
        with open("/proc/%d/comm" % pid) as comm:
            return comm.read().strip() == "sshexec-ready"
    except OSError:
        return True


def workers(s):
    """Every process below the agent but the worker hosts and the processes that they keep ready."""
    agent = s.agent()
    return [p for p in processes.tree(agent) if p.pid not in hosts(s) and not is_waiting(p.pid)]


def hosts(s):
    agent = s.agent()
    return [p.pid for p in processes.tree(agent) if p.parent == agent]


# --- every one of them ---

BAD = {
    "segfault": ("crashed", {"signal": 11}, "SEGV"),
    "stack_overflow": ("crashed", {"signal": 11}, "SEGV"),
    "abort": ("crashed", {"signal": 6}, "ABRT"),
    "exit0_run": ("crashed", {"signal": 0, "code": 0}, "without returning"),
    "close_all_fds": ("crashed", {"signal": 0, "code": 1}, "without returning"),
    "write_all_fds": ("crashed", {}, "descriptor 3"),
    "kill_group": ("crashed", {"signal": 9}, "KILL"),
    "kill_parent": ("crashed", {"signal": 9}, "ended its host"),
    "stop_parent": ("ok", {}, ""),
    "crash_constructor": ("crashed", {"signal": 11}, "while it was loaded"),
    "ifunc_crash": ("crashed", {"signal": 11}, "while it was loaded"),
    "exit_constructor": ("crashed", {"signal": 0}, "while it was loaded"),
    "bad_result": ("failed", {"code": 1}, "digit"),
    "too_big_result": ("failed", {"code": 1}, "16777215"),
    "missing_symbol": ("refused", {"reason": "load"}, "zoo_function_that_is_nowhere"),
    "lying_struct": ("refused", {"reason": "abi"}, "smaller"),
    "name_mismatch": ("refused", {"reason": "abi"}, "somebody_else"),
    "abi_major": ("refused", {"reason": "abi"}, "2.1"),
    "abi_minor": ("refused", {"reason": "abi"}, "1.9"),
    "no_run": ("refused", {}, "run"),
    "no_note": ("refused", {}, "descriptor"),
    "fork_away": ("ok", {}, ""),
    "fork_bombish": ("ok", {}, ""),
    "fork_runner": ("ok", {}, ""),
    "leak_threads": ("ok", {}, ""),
    "printf_noise": ("ok", {}, ""),
    "big_result": ("ok", {"results": 1}, ""),
}
NEED_ARGUMENTS = {"reuse", "flood", "flood_stderr", "log_flood", "loop", "ignore_term", "loop_constructor", "stubborn_constructor", "sleep", "forge", "deaf"}
ELSEWHERE = {"items", "tiny_items", "dealt"} # good ones: of test_api.py and test_scatter.py


def test_every_plugin_of_the_zoo_has_a_test():
    assert {path.stem for path in ZOO.glob("*.so")} == set(BAD) | NEED_ARGUMENTS | ELSEWHERE


@pytest.mark.parametrize("type", BAD)
def test_bad_plugin_harms_its_own_call_alone(session, type):
    outcome, fields, said = BAD[type]
    session.tell('call 1 sleep {"ms":400}', "call 2 " + type)
    end = session.end(2)
    assert end["outcome"] == outcome and said in end["message"] and not end["truncated"], end
    assert all(end[key] == value for key, value in fields.items()), end
    session.tell('call 3 hello {"name":"Ada"}', "call 4 " + type)
    assert session.end(3)["text"] == "hello, Ada\n"
    assert session.end(1)["outcome"] == "ok" and session.end(1)["text"] == "done\n"
    assert session.end(4)["outcome"] == outcome
    assert processes.wait_until(lambda: not workers(session), GONE_S), list(map(str, workers(session)))


CODES = {"segfault": 139, "exit0_run": 128, "kill_group": 137, "crash_constructor": 139, "exit_constructor": 128, "bad_result": 1,
         "missing_symbol": 126, "abi_major": 126, "fork_away": 0, "write_all_fds": 128}


@pytest.mark.parametrize("type", CODES)
def test_exit_code(client, type):
    done = client.run(["run", "--plugin-path", ZOO, type])
    assert done.code == CODES[type], done
    assert done.err.count(b"\n") == (0 if done.code == 0 else 1), done


def test_daemon_of_a_worker_is_gone(session):
    session.tell("call 1 fork_away")
    pid = int(session.end(1)["text"])
    assert processes.wait_until(lambda: not os.path.exists("/proc/%d" % pid), GONE_S)


@pytest.mark.parametrize("type", ["loop", "ignore_term", "loop_constructor", "stubborn_constructor"])
@pytest.mark.parametrize("how", ["timeout", "cancelled"])
def test_what_never_returns_is_ended(session, type, how):
    session.tell("call 1 %s grace=300%s" % (type, " timeout=500" if how == "timeout" else ""), 'call 2 sleep {"ms":600}')
    if how == "cancelled":
        time.sleep(0.5)
        session.tell("cancel 1")
    assert session.end(1, 3)["outcome"] == how
    assert session.end(2)["outcome"] == "ok"
    assert processes.wait_until(lambda: not workers(session), GONE_S), list(map(str, workers(session)))


def test_polite_worker_may_say_so(session):
    session.tell('call 1 sleep grace=5000 {"ms":60000,"polite":true}', 'call 2 sleep timeout=300 {"ms":60000,"polite":true}')
    assert processes.wait_until(lambda: workers(session), 5)
    time.sleep(0.3)
    session.tell("cancel 1")
    assert (session.end(1, 3)["outcome"], session.end(1)["text"]) == ("cancelled", "cancelled\n")
    assert (session.end(2, 3)["outcome"], session.end(2)["text"]) == ("timeout", "cancelled\n")


def test_host_that_is_stopped_for_ever_is_replaced(session):
    session.tell('call 1 stop_parent timeout=300 grace=200 {"stubborn":true}')
    assert session.end(1)["outcome"] == "timeout"
    session.tell("call 2 stop_parent")
    assert session.end(2)["outcome"] == "ok"


# --- forged frames ---

def piece(kind, id, data, more):
    return frame(kind, id, data, more)


FORGED = {
    "not a value": [piece(RESULT, 2, b"\xc1", False)],
    "cut off": [piece(RESULT, 2, b"\x92\x01", False)],
    "too long": [piece(RESULT, 2, b"\x01\x01", False)],
    "empty": [piece(RESULT, 2, b"", False)],
    "nested too deep": [piece(ITEM, 2, b"\x91" * 40 + b"\x01", False)],
    "too many elements": [piece(ITEM, 2, b"\xdd\x7f\xff\xff\xff", True)],
    "two values mixed": [piece(ITEM, 2, b"\x92\x01", True), piece(RESULT, 2, b"\x01", False)],
    "two results": [piece(RESULT, 2, b"\x01", False), piece(RESULT, 2, b"\x01", False)],
    "two states": [piece(STATE, 2, b"\x80", False), piece(STATE, 2, b"\x80", False)],
    "of a sibling": [piece(RESULT, 1, b"\x01", False)],
    "a sibling's end": [frame(15, 1, 0, {})],
    "session's own": [frame(21, 0, "bye")],
    "huge": [b"\xff\xff\xff\xff"],
}


@pytest.mark.parametrize("what", FORGED)
def test_forged_frames_end_the_forger(session, what):
    frames = b"".join(FORGED[what])
    session.tell('call 1 sleep {"ms":400}', 'call 2 forge {"frames":{"$bin":"%s"}}' % base64.b64encode(frames).decode())
    assert session.end(2)["outcome"] == "crashed" and "descriptor 3" in session.end(2)["message"], session.end(2)
    assert session.end(1)["outcome"] == "ok" and session.end(1)["results"] == 1


def test_values_in_pieces_pass(session):
    good = [piece(ITEM, 1, b"\x92", True), piece(ITEM, 1, b"\xda\x00", True), piece(ITEM, 1, b"\x05hel", True), piece(ITEM, 1, b"lo\xcb" + bytes(5), True),
            piece(ITEM, 1, bytes(3), False), piece(STATE, 1, b"\xd8" + bytes(17), False), frame(LOG, 1, 1, "a log line")]
    session.tell('call 1 forge {"frames":{"$bin":"%s"}}' % base64.b64encode(b"".join(good)).decode())
    end = session.end(1)
    assert (end["outcome"], end["results"], end["other"]) == ("ok", 1, 2), end


# --- many, slow, large ---

def test_sixty_four_calls_run_at_once_and_more_wait(session):
    session.tell(*('call %d sleep {"ms":1500}' % n for n in range(1, 66)))
    ends = [session.end(n) for n in range(1, 66)]
    assert [e["outcome"] for e in ends] == ["ok"] * 65
    order = [e["call"] for e in session.seen if e["event"] == "end"]
    assert order[-1] == 65, order


def test_a_process_that_is_ready_counts_once_it_has_a_call(session):
    """Another plugin's process that was kept ready is no sixty-fifth one."""
    session.tell('call 1 hello {"name":"Ada"}')
    assert session.end(1)["outcome"] == "ok"
    kept = lambda: [p for p in processes.tree(session.agent()) if p.pid not in hosts(session) and is_waiting(p.pid)]
    assert processes.wait_until(lambda: len(kept()) == 2, GONE_S), kept() # the host's next one, and the one for the next call
    session.tell(*('call %d sleep {"ms":600000}' % n for n in range(2, 66)))
    assert processes.wait_until(lambda: len(workers(session)) == 64, 20 * GONE_S), len(workers(session))
    session.tell('call 66 hello timeout=300 {"name":"Ada"}')
    assert session.end(66)["outcome"] == "timeout", session.end(66)
    session.tell('call 67 hello {"name":"Ada"}', "cancel 2")
    assert session.end(67)["text"] == "hello, Ada\n"
    session.tell(*("cancel %d" % n for n in range(3, 66)))


def test_a_thousand_calls_are_open_at_once_and_no_more(session):
    session.tell(*('call %d sleep grace=100 {"ms":600000}' % n for n in range(1, 1026)))
    assert session.end(1025)["reason"] == "busy"
    session.tell("cancel 1", "cancel 1024")
    assert (session.end(1)["outcome"], session.end(1024)["outcome"]) == ("cancelled", "cancelled")
    session.tell('call 2000 hello {"name":"Ada"}', *("cancel %d" % n for n in range(2, 1024)))
    assert session.end(2000)["text"] == "hello, Ada\n"


def test_slow_consumer_stalls_nobody_and_loses_nothing(session):
    session.tell('call 1 flood slow {"bytes":3000001}', 'call 2 flood {"bytes":30000000}', 'call 3 hello {"name":"Ada"}')
    assert session.end(2)["out"] == 30000000 and session.end(3)["outcome"] == "ok"
    time.sleep(1) # longer than the agent waits for a pipe that somebody else holds
    session.tell("consume 1")
    end = session.end(1)
    assert (end["outcome"], end["out"], end["truncated"]) == ("ok", 3000001, False), end


def test_last_bytes_wait_for_a_slow_consumer(session):
    """The worker has left; what is still in its pipe is more than the window."""
    session.tell('call 1 flood slow {"bytes":%d}' % ((1 << 20) + 40000))
    time.sleep(1.5)
    session.tell("consume 1")
    end = session.end(1)
    assert (end["outcome"], end["out"], end["truncated"]) == ("ok", (1 << 20) + 40000, False), end


@pytest.mark.parametrize("type", ["flood", "flood_stderr"])
def test_gigabyte_costs_no_memory(session, type):
    size = 1 << 26 if SANITIZED else 1 << 30
    session.tell('call 1 %s {"bytes":%d}' % (type, size))
    end = session.end(1, 120)
    assert end["out"] + end["err"] == end["sent"] == size
    assert SANITIZED or processes.peak_memory_kib(session.agent()) < FLAT_KIB
    assert SANITIZED or processes.peak_memory_kib(session.child.pid) < FLAT_KIB


@pytest.mark.parametrize("empty", ["true", "false"])
def test_flood_of_logs(session, empty):
    session.tell('call 1 log_flood slow {"count":100000,"empty":%s}' % empty, 'call 2 hello {"name":"Ada"}')
    assert session.end(2)["outcome"] == "ok"
    session.tell("consume 1")
    assert session.end(1, 60)["other"] >= 100000
    assert SANITIZED or processes.peak_memory_kib(session.agent()) < FLAT_KIB


def test_largest_state_comes_back_bit_for_bit(session, scratch):
    overhead = 1 + 1 + 5 + 5 # a map of one, "value", a str's header
    (scratch / "largest").write_text('{"value":"%s"}' % ("x" * ((16 << 20) - 1 - overhead)))
    session.tell("call 1 echo @%s" % (scratch / "largest"))
    end = session.end(1, 60)
    assert (end["outcome"], end["same"]) == ("ok", True), end
    assert SANITIZED or processes.wait_until(lambda: rss_kib(session.agent()) < IDLE_KIB, 5), rss_kib(session.agent())


def test_states_of_many_calls_are_bounded(session, scratch):
    (scratch / "large").write_text('{"value":"%s"}' % ("x" * (15 << 20)))
    session.tell(*("call %d echo @%s" % (n, scratch / "large") for n in range(1, 11)))
    ended = [session.end(n, 120) for n in range(1, 11)]
    assert all(e["outcome"] == "ok" and e["same"] or e["reason"] == "busy" for e in ended), ended
    assert sum(e["outcome"] == "ok" for e in ended) >= 4
    assert SANITIZED or processes.peak_memory_kib(session.agent()) < (64 << 10) + FLAT_KIB


def test_input_streams_through_exactly(client, scratch):
    size = 20_000_000 if SANITIZED else 200_000_000
    block = random.Random(7).randbytes(1 << 20)
    with open(scratch / "in", "wb") as out:
        for at in range(0, size, len(block)):
            out.write(block[:min(len(block), size - at)])
    with open(scratch / "in", "rb") as source:
        child = client.popen(["run", "exec", "--", "cat"], stdin=source)
        digest = hashlib.sha256()
        while data := child.stdout.read(1 << 20):
            digest.update(data)
    assert (child.wait(60), child.stderr.read()) == (0, b"")
    assert digest.digest() == hashlib.sha256((scratch / "in").read_bytes()).digest()


def test_worker_that_never_reads_its_input(client, scratch):
    (scratch / "in").write_bytes(bytes(10_000_000))
    with open(scratch / "in", "rb") as source:
        child = client.popen(["run", "--plugin-path", ZOO, "deaf", "ms=%d" % (1500 * SLOW)], stdin=source)
        time.sleep(0.8 * SLOW)
        peaks = [processes.peak_memory_kib(p.pid) for p in processes.running(AGENT)]
        assert peaks and (SANITIZED or max(peaks) < 4 << 10), peaks
        assert (child.wait(20), child.stdout.read(), child.stderr.read()) == (0, b"{}\n", b"")


@exactly
def test_ten_thousand_calls_leave_no_descriptor(session):
    def fds():
        return [sorted(os.readlink("/proc/%d/fd/%s" % (pid, fd)).split(":")[0] for fd in os.listdir("/proc/%d/fd" % pid)) for pid in (session.agent(), hosts(session)[0])]
    def next_is_ready(): # a process with its pipes, made for whichever call comes next
        return any(is_waiting(p.pid) for p in processes.tree(session.agent()))
    session.tell('many 1 10 hello {"name":"Ada"}')
    session.event("many", 1)
    assert processes.wait_until(next_is_ready, 5 * SLOW)
    before, small = fds(), rss_kib(session.agent())
    session.tell('many 2 10000 hello {"name":"Ada"}')
    many = session.event("many", 2, 120)
    assert many["bad"] == 0 and processes.wait_until(next_is_ready, 5 * SLOW)
    assert fds() == before and rss_kib(session.agent()) < small + 200
    assert processes.peak_memory_kib(session.agent()) < IDLE_KIB
    for n, type in enumerate(["segfault", "missing_symbol", "no_note", "kill_parent", "exit_constructor", "nonsense"] * 20):
        session.tell("call %d %s" % (n + 10, type))
        session.end(n + 10)
    assert len(fds()[0]) < len(before[0]) + 16 # images and hosts that are kept


# --- the ends of processes ---

def running_session(session):
    session.tell("call 1 ignore_term", "call 2 loop", 'call 3 exec {"argv":["sleep","321.5"]}', "call 4 stubborn_constructor")
    session.event("output", 1)
    assert processes.wait_until(lambda: len(workers(session)) >= 3, 5 * SLOW)
    return session.agent()


def gone(pids):
    return processes.wait_until(lambda: not [p for p in processes.descendants() if p.pid in pids], GONE_S)


@pytest.mark.parametrize("whose", ["sender", "agent"])
def test_nothing_is_left_of_a_session_that_is_killed(env, scratch, whose):
    session = Session(env, scratch)
    agent = running_session(session)
    everyone = {p.pid for p in processes.tree(session.child.pid)} - ({session.child.pid} if whose == "agent" else set())
    os.kill(session.child.pid if whose == "sender" else agent, signal.SIGKILL)
    assert gone(everyone), [str(p) for p in processes.descendants() if p.pid in everyone]
    assert processes.wait_until(lambda: not list(scratch.glob("sshexec-*")), GONE_S), list(scratch.iterdir())
    if whose == "agent":
        assert session.end(1)["outcome"] == "lost"
    session.close()


def test_worker_host_that_is_killed(session):
    session.tell('call 1 sleep {"ms":60000}')
    assert processes.wait_until(lambda: hosts(session), 5)
    time.sleep(0.3)
    session.tell('call 2 exec {"argv":["sleep","1"]}')
    time.sleep(0.3)
    os.kill(hosts(session)[0], signal.SIGKILL)
    assert session.end(1)["outcome"] == "crashed" and "host" in session.end(1)["message"]
    assert session.end(2)["outcome"] == "ok"
    session.tell('call 3 sleep {"ms":10}')
    assert session.end(3)["outcome"] == "ok"


def test_agent_spares_the_children_that_it_inherits(env, scratch):
    raw = Raw(env, scratch, wrap=["sh", "-c", 'sleep 2.75 & exec "$@"', "sh"])
    raw.send(greeting() + call(1, "segfault"))
    raw.read_until(ends)
    assert processes.find("sleep 2.75")
    raw.half_close()
    assert raw.child.wait(20) == 0
    for p in processes.find("sleep 2.75"):
        os.kill(p.pid, signal.SIGKILL)


def test_worker_leads_its_own_session(client):
    shown = client.run(["run", "exec", "--", "sh", "-c", "ps -o pid=,ppid=,sess= -e"]).text
    sessions = {int(pid): (int(parent), int(sid)) for pid, parent, sid in re.findall(r"(\d+) +(\d+) +(\d+)", shown)}
    ours = [pid for pid, (parent, sid) in sessions.items() if pid == sid]
    assert ours, shown
