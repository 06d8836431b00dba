"""A type that declares itself reusable keeps its process between calls. Whatever one of its calls does, the others end as if it had not
been there: none is lost, none runs twice, and each gets its own output to the byte."""
import json
import os
import random
import time

import pytest

import processes
from agents import Session
from client import SANITIZED, SLOW

GONE_S = 2 * SLOW


@pytest.fixture
def session(client, scratch):
    temp = scratch / "tmp"
    temp.mkdir()
    s = Session(client.env, temp)
    yield s
    s.close()
    assert processes.wait_until(lambda: not list(temp.iterdir()), GONE_S), list(temp.iterdir())


def reuse(number, options="", **state):
    return "call %d reuse %s %s" % (number, options, json.dumps(state, separators=(",", ":")))


def ends(session, numbers, timeout=30):
    return {n: session.end(n, timeout) for n in numbers}


def lines(path):
    return path.read_text().split() if path.exists() else []


def process_of(session, n):
    session.tell(reuse(n))
    pid, served = session.end(n)["text"].split()
    return int(pid), int(served)


def test_one_process_serves_many_calls(session):
    first, again, last = (process_of(session, n) for n in (1, 2, 3))
    assert first[0] == again[0] == last[0] and [first[1], again[1], last[1]] == [1, 2, 3]


def test_calls_of_other_types_still_have_a_process_each(session):
    session.tell(reuse(1), 'call 2 sleep {"ms":1}', 'call 3 hello {"name":"Ada"}')
    assert [session.end(n)["outcome"] for n in (1, 2, 3)] == ["ok"] * 3


CRASHES = {"crash": {"signal": 11}, "leave": {"signal": 0, "code": 0}, "control": {}}


@pytest.mark.parametrize("act", CRASHES)
@pytest.mark.parametrize("position", [1, 20, 60])
def test_crash_costs_the_call_in_flight_alone(session, scratch, act, position):
    log = str(scratch / "log")
    session.tell(*(reuse(n, act=act if n == position else "nothing", log=log, name="c%d" % n) for n in range(1, 61)))
    ended = ends(session, range(1, 61))
    assert {n: e["outcome"] for n, e in ended.items() if e["outcome"] != "ok"} == {position: "crashed"}
    assert all(ended[position][key] == value for key, value in CRASHES[act].items()), ended[position]
    assert sorted(lines(scratch / "log")) == sorted("c%d" % n for n in range(1, 61))


def test_many_crashes_among_many_calls(session, scratch):
    log, crash = str(scratch / "log"), set(range(7, 400, 13))
    session.tell(*(reuse(n, act="crash" if n in crash else "nothing", log=log, name="c%d" % n) for n in range(1, 401)))
    ended = ends(session, range(1, 401), 60)
    assert {n for n, e in ended.items() if e["outcome"] == "crashed"} == crash
    assert {n for n, e in ended.items() if e["outcome"] == "ok"} == set(range(1, 401)) - crash
    assert sorted(lines(scratch / "log")) == sorted("c%d" % n for n in range(1, 401))


@pytest.mark.parametrize("act", ["loop", "deaf"])
@pytest.mark.parametrize("how", ["timeout", "cancelled"])
def test_call_that_never_returns_is_ended_and_holds_nobody_up(session, act, how):
    session.tell(reuse(1, "grace=300" + (" timeout=500" if how == "timeout" else ""), act=act), *(reuse(n) for n in range(2, 40)))
    assert all(e["outcome"] == "ok" for e in ends(session, range(2, 40)).values())
    if how == "cancelled":
        session.tell("cancel 1")
    assert session.end(1, 3)["outcome"] == how
    assert process_of(session, 50)[0] > 0


def test_worker_that_notices_its_cancel_keeps_its_process(session):
    pid, _ = process_of(session, 1)
    session.tell(reuse(2, "grace=5000", act="polite", n=60000))
    time.sleep(0.2)
    session.tell("cancel 2")
    end = session.end(2)
    assert (end["outcome"], end["text"]) == ("cancelled", "%d cancelled" % pid)
    assert process_of(session, 3) == (pid, 3)
    session.tell(reuse(4, act="polite", n=50))
    assert session.end(4)["outcome"] == "ok", "the flag outlived its call"


def test_deadline_of_a_polite_worker(session):
    session.tell(reuse(1, "timeout=200 grace=5000", act="polite", n=60000))
    end = session.end(1)
    assert end["outcome"] == "timeout" and end["text"].endswith("cancelled")


def test_call_that_is_cancelled_before_its_turn_never_runs(session, scratch):
    log = str(scratch / "log")
    session.tell(*(reuse(n, act="sleep", n=800) for n in range(1, 9)))
    time.sleep(0.3)  # all lanes are busy now
    session.tell(*(reuse(n, log=log, name="c%d" % n) for n in range(11, 31)), *("cancel %d" % n for n in range(11, 31, 2)))
    ended = ends(session, range(11, 31))
    assert [ended[n]["outcome"] for n in range(11, 31)] == ["cancelled", "ok"] * 10
    assert sorted(lines(scratch / "log")) == sorted("c%d" % n for n in range(12, 31, 2))


def test_cancels_at_any_moment_leave_no_doubt(session, scratch):
    """What is cancelled may have begun or not; what is ok ran once; nothing ran twice; nobody else's call was hit."""
    log, order = str(scratch / "log"), random.Random(11)
    hit = set(order.sample(range(1, 401), 100))
    for start in range(1, 401, 20):
        session.tell(*(reuse(n, act="sleep", n=n % 3, log=log, name="c%d" % n) for n in range(start, start + 20)))
        session.tell(*("cancel %d" % n for n in range(start, start + 20) if n in hit))
    ended = ends(session, range(1, 401), 60)
    ran = lines(scratch / "log")
    assert len(ran) == len(set(ran))
    assert all(e["outcome"] == "ok" or (n in hit and e["outcome"] == "cancelled") for n, e in ended.items()), ended
    assert {"c%d" % n for n, e in ended.items() if e["outcome"] == "ok"} <= set(ran)


def test_a_slow_call_holds_nobody_up(session):
    session.tell(reuse(1, act="sleep", n=3000), *(reuse(n) for n in range(2, 100)))
    began = time.monotonic()
    assert all(e["outcome"] == "ok" for e in ends(session, range(2, 100)).values())
    assert time.monotonic() - began < 2 * SLOW
    assert session.end(1)["outcome"] == "ok"


# --- output ---

def expected(n, name):
    return len(name) + n, n // 2


def test_output_is_each_calls_own_to_the_byte(session):
    sizes = {n: random.Random(n).choice([0, 1, 7, 300, 3000]) for n in range(1, 301)}
    session.tell(*(reuse(n, act="raw", n=size, name="n%d" % n) for n, size in sizes.items()))
    for n, end in ends(session, sizes, 60).items():
        assert (end["outcome"], end["out"], end["err"]) == ("ok", *expected(sizes[n], "n%d" % n)), (n, end)
        assert sizes[n] or end["text"] == "n%d" % n, end
        assert end["sent"] == end["out"] + end["err"]


def test_large_outputs_between_small_ones(session):
    sizes = {n: 30000 if n % 5 == 0 else 100 if n % 2 else 0 for n in range(1, 61)}
    session.tell(*(reuse(n, act="raw", n=size, name="n%d" % n) for n, size in sizes.items()))
    for n, end in ends(session, sizes, 60).items():
        assert (end["outcome"], end["out"], end["err"]) == ("ok", *expected(sizes[n], "n%d" % n)), (n, end)


def test_slow_consumer_of_one_call_stalls_nobody(session):
    size = 1200000 if not SANITIZED else 1100000
    session.tell(reuse(1, "slow", act="raw", n=size, name="x"), *(reuse(n) for n in range(2, 60)))
    assert all(e["outcome"] == "ok" for e in ends(session, range(2, 60)).values())
    session.tell("consume 1")
    end = session.end(1, 60)
    assert (end["outcome"], end["out"], end["err"], end["truncated"]) == ("ok", size + 1, size // 2, False)


def test_echoes_in_a_row_are_not_mixed_up(session, scratch):
    for n in range(1, 20):
        (scratch / ("state%d" % n)).write_text(json.dumps({"value": str(n) * (70000 * (n % 4) + n)}))
    session.tell(*("call %d echo @%s" % (n, scratch / ("state%d" % n)) for n in range(1, 20)))
    assert all(e["outcome"] == "ok" and e["same"] for e in ends(session, range(1, 20)).values())


# --- what a call leaves behind ---

def test_children_of_a_call_are_gone_when_it_ends(session):
    session.tell(*(reuse(n, act="spawn" if n % 2 else "nothing") for n in range(1, 11)))
    for n, end in ends(session, range(1, 11)).items():
        assert end["outcome"] == "ok"
        assert n % 2 == 0 or not os.path.exists("/proc/%s" % end["text"]), end
    pid, served = process_of(session, 20)
    assert served > 1, "its process had to be replaced"
    assert all(p.parent != pid for p in processes.tree(session.agent()))


def test_temporary_directory_is_new_for_each_call(session):
    session.tell(*(reuse(n, act="temp") for n in range(1, 6)))
    assert [e["text"] for e in ends(session, range(1, 6)).values()] == ["new"] * 5


def test_scribbled_page_costs_its_own_call_at_most(session, scratch):
    log = str(scratch / "log")
    session.tell(*(reuse(n, act="page" if n == 5 else "nothing", log=log, name="c%d" % n) for n in range(1, 11)))
    ended = ends(session, range(1, 11))
    assert all(ended[n]["outcome"] == "ok" for n in range(1, 11) if n != 5), ended
    assert sorted(lines(scratch / "log")) == sorted("c%d" % n for n in range(1, 11))
    assert process_of(session, 20)[0] > 0


def test_process_that_dies_between_calls_costs_none(session):
    session.tell(reuse(1, act="alarm"))
    assert session.end(1)["outcome"] == "ok"
    time.sleep(0.2)
    assert process_of(session, 2)[1] == 1
    session.tell(reuse(3, act="alarm"), reuse(4, act="sleep", n=500), *(reuse(n) for n in range(5, 30)))
    ended = ends(session, range(3, 30))
    assert [n for n, e in ended.items() if e["outcome"] != "ok"] in ([], [4]), ended


def test_nothing_is_left_of_lanes_after_the_session(session):
    session.tell(*(reuse(n, act="sleep", n=300) for n in range(1, 9)))
    time.sleep(0.2)
    everyone = {p.pid for p in processes.tree(session.agent())}
    assert len(everyone) > 3
    session.close()
    assert processes.wait_until(lambda: not [p for p in processes.descendants() if p.pid in everyone], GONE_S)
