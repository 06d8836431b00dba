"""A hostile sender: whatever it writes, the agent ends with the documented exit code (0: the sender left, 1: it broke the protocol),
keeps its memory bounded, and leaves nothing behind."""
import hashlib
import os
import random
import shutil
import struct
import time

import pytest

import processes
from agents import (ATTACH, BYE, CALL, CANCEL, CHUNK, CREDIT, DESCRIBE, END, HELLO, INPUT, NEED, NONCE, OFFER, OUTPUT, PING, PONG, RESULT,
                    SIGNAL, STATE, ZOO, Raw, call, ends, frame, greeting, pack)
from bundles import Shop
from client import BUILD, SANITIZED, SLOW
from test_deploy import member

OK, CANCELLED, REFUSED = 0, 4, 5
FLAT_KIB = 16 << 10
HELLO_SO = BUILD / "plugins" / "hello.so"


@pytest.fixture
def agent(client, scratch):
    """Makes agents; at the end none is left, nor what they keep in TMPDIR, nor half an object."""
    temp, store, made = scratch / "tmp", scratch / "store", []
    temp.mkdir()
    def make(**how):
        made.append(Raw(client.env, temp, store, **how))
        made[-1].store = store
        return made[-1]
    yield make
    for raw in made:
        raw.half_close()
        raw.child.wait(20 * SLOW)
        raw.child.stdout.close()
        raw.child.stderr.close()
    assert processes.wait_until(lambda: not list(temp.iterdir()), 2 * SLOW), list(temp.iterdir())
    assert not list(store.rglob(".in-*"))


def peak(raw):
    return processes.peak_memory_kib(raw.child.pid)


# --- what breaks the protocol ---

BROKEN = {
    "no greeting": b"GET / HTTP/1.1\r\n\r\n",
    "a long line": b"x" * 5000,
    "other version": b"sshexec 2 " + NONCE + b"\n",
    "upper case nonce": b"sshexec 1 " + NONCE.upper() + b"\n",
    "short nonce": b"sshexec 1 " + NONCE[:-1] + b"\n",
    "call before HELLO": b"sshexec 1 " + NONCE + b"\n" + call(1, "hello"),
    "large frame before HELLO": b"sshexec 1 " + NONCE + b"\n" + struct.pack(">I", 5000) + bytes(5000),
    "protocol 2 only": greeting(low=2, high=3),
    "tiny window": greeting(window=1000),
    "second HELLO": greeting() + frame(HELLO, 0, {"min": 1, "max": 1, "window": 1 << 20}),
    "frame of nothing": greeting() + struct.pack(">I", 0),
    "oversize frame": greeting() + struct.pack(">I", (1 << 20) + 1),
    "not msgpack": greeting() + struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1",
    "trailing bytes": greeting() + struct.pack(">I", 5) + b"\x93\x07\x00\x00\x00",
    "unknown kind": greeting() + frame(99, 1),
    "agent's kind": greeting() + frame(END, 1, 0, {}),
    "call with id 0": greeting() + call(0, "hello"),
    "ping with an id": greeting() + frame(PING, 1, 1),
    "id used again": greeting() + call(1, "hello") + call(1, "hello"),
    "smaller id": greeting() + call(7, "hello") + call(3, "hello"),
    "never opened": greeting() + frame(CANCEL, 5),
    "state over the limit": greeting() + call(1, "hello", size=1 << 24),
    "state of more": greeting() + call(1, "hello", b"\x81", size=3) + frame(STATE, 1, b"\0\0\0\0", False),
    "state of less": greeting() + call(1, "hello", b"\x81", size=30) + frame(STATE, 1, b"\0", False),
    "type with a NUL": greeting() + call(1, "hello\0evil"),
    "grace of a day": greeting() + call(1, "hello", grace_ms=86400000),
    "chunk unannounced": greeting() + call(1, "sleep") + frame(CHUNK, 1, bytes(32), b"x", False),
    "chunk of another digest": greeting() + call(1, "nowhere", object=[b"a" * 32, 10, True]) + frame(CHUNK, 1, b"b" * 32, b"x", False),
    "input beyond the window": greeting() + call(1, "ignore_term", input=True) + 8 * frame(INPUT, 1, bytes(65536)),
    "input piece too large": greeting() + call(1, "sleep", input=True) + frame(INPUT, 1, bytes(65537)),
    "depth": greeting() + struct.pack(">I", 60) + b"\x91" * 59 + b"\x01",
    "count beyond the frame": greeting() + struct.pack(">I", 7) + b"\x93\x07\x00\xdd\xff\xff\xff",
}


@pytest.mark.parametrize("what", BROKEN)
def test_breach_of_protocol_ends_the_session(agent, what):
    raw = agent()
    frames = raw.converse(BROKEN[what], close=False)
    assert raw.code == 1
    if b"sshexec-agent" in raw.output:
        assert frames[-1][0] == BYE and frames[-1][2], frames
    else:
        assert raw.error


def test_session_that_never_speaks(agent):
    raw = agent()
    raw.converse()
    assert (raw.code, raw.output) == (1, b"")


# --- what is refused, and harms nobody ---

def conversation(agent, *pieces, until):
    """Sends, waits until the condition on the frames holds, then leaves in peace."""
    raw = agent()
    raw.send(greeting() + b"".join(pieces))
    frames = raw.read_until(until)
    raw.half_close()
    assert raw.child.wait(20 * SLOW) == 0
    return frames


def has_ended(*ids):
    return lambda frames: set(ids) <= set(ends(frames))


@pytest.mark.parametrize("opening", [frame(OFFER, 1, [[bytes(32), 5]]), frame(ATTACH, 1, "job")])
def test_what_is_not_built_is_unsupported(agent, opening):
    frames = conversation(agent, opening, call(2, "hello"), until=has_ended(1, 2))
    assert ends(frames)[1][0] == REFUSED and ends(frames)[1][1]["reason"] == "unsupported"
    assert ends(frames)[2][0] == OK


@pytest.mark.parametrize("type", ["nowhere", "", "../hello", "Hello", "h" * 65, "h" * 5000, "\x1b[2Jx"])
def test_type_that_is_none(agent, type):
    frames = conversation(agent, call(1, type), until=has_ended(1))
    assert ends(frames)[1][0] == REFUSED and ends(frames)[1][1]["reason"] == "unknown-type"
    assert "\x1b" not in ends(frames)[1][1]["message"]


@pytest.mark.parametrize("state", [b"", b"\xc1", b"\x81\x01", b"\x80\x80", b"\x01", b"\x91" * 30 + b"\x01", b"\x81\xa5wrong\x01", b"\xdf\xff\xff\xff\xff"])
def test_state_that_is_none(agent, state):
    frames = conversation(agent, call(1, "hello", state), call(2, "hello"), until=has_ended(1, 2))
    assert ends(frames)[1][0] == REFUSED and ends(frames)[1][1]["reason"] == "state"
    assert ends(frames)[2][0] == OK


def upload(id, data, digest=None, size=None, type="hello", state=b"\x80"):
    """A call of hello (or another) from an object, and its chunks."""
    digest = hashlib.sha256(data).digest() if digest is None else digest
    pieces = [data[at:at + 65536] for at in range(0, len(data), 65536)] or [b""]
    return call(id, type, state, object=[digest, len(data) if size is None else size, True]) + b"".join(
        frame(CHUNK, id, digest, piece, n < len(pieces) - 1) for n, piece in enumerate(pieces))


def objects(raw):
    return list((raw.store / "objects").iterdir()) if (raw.store / "objects").exists() else []


def test_object_travels_is_kept_and_runs(agent):
    raw, data = agent(), HELLO_SO.read_bytes() + b"another build"
    raw.send(greeting() + upload(1, data))
    frames = raw.read_until(has_ended(1))
    assert ends(frames)[1][0] == OK and [path.name for path in objects(raw)] == [hashlib.sha256(data).hexdigest()]


@pytest.mark.parametrize("what, reason", [
    (dict(data=b"other bytes", digest=hashlib.sha256(b"these bytes").digest()), "object"),
    (dict(data=b"too few bytes", size=100), "object"),
    (dict(data=b"too many bytes", size=5), "object"),
    (dict(data=b"", digest=bytes(32)), "object"),
    (dict(data=b"bytes that are no plugin"), "elf"),
    (dict(data=b""), "elf"),
])
def test_bad_object(agent, what, reason):
    raw = agent()
    late = frame(CHUNK, 1, what.get("digest", hashlib.sha256(what["data"]).digest()), b"late", False)
    raw.send(greeting() + upload(1, **what) + late + call(2, "hello"))
    frames = raw.read_until(has_ended(1, 2))
    assert ends(frames)[1][0] == REFUSED and ends(frames)[1][1]["reason"] == reason
    assert ends(frames)[2][0] == OK and [f[0] for f in frames].count(NEED) == 1
    assert reason == "elf" or not objects(raw)


def test_upload_that_is_cancelled_leaves_nothing(agent):
    raw = agent()
    digest = bytes(32)
    raw.send(greeting() + call(1, "nowhere", object=[digest, 1 << 20, True]) + frame(CHUNK, 1, digest, bytes(1000), True) + frame(CANCEL, 1))
    assert ends(raw.read_until(has_ended(1)))[1][0] == CANCELLED
    assert not objects(raw)


def test_uploads_at_once_are_bounded(agent):
    raw = agent()
    digests = {n: bytes([n]) * 32 for n in range(1, 10)}
    raw.send(greeting() + b"".join(call(n, "nowhere", object=[d, 256 << 20, True]) + frame(CHUNK, n, d, b"x", True) for n, d in digests.items()))
    frames = raw.read_until(has_ended(*range(3, 10)))
    assert all(outcome == REFUSED and end["reason"] == "busy" for outcome, end in ends(frames).values()) and not {1, 2} & ends(frames).keys()
    raw.send(frame(CANCEL, 1))
    raw.read_until(has_ended(1))
    raw.send(call(20, "nowhere", object=[digests[9], 1 << 20, True]) + frame(CHUNK, 20, digests[9], b"x", False))
    assert ends(raw.read_until(has_ended(20)))[20][1]["reason"] == "object"


def test_plugins_of_calls_count_as_those_on_their_way(agent):
    """A plugin that a call holds takes its memory all the same; an idle one makes room."""
    raw, data = agent(plugins="/nowhere"), (ZOO / "sleep.so").read_bytes() + bytes(4 << 20)

    def begin(n):
        digest = bytes([n]) * 32
        raw.send(call(n, "nowhere", object=[digest, 256 << 20, True]) + frame(CHUNK, n, digest, b"x", True))
    raw.send(greeting() + upload(1, data, type="sleep", state=pack({"ms": 600000})))
    assert processes.wait_until(lambda: objects(raw), 20 * SLOW)
    begin(2)
    begin(3)
    ended = ends(raw.read_until(has_ended(3)))
    assert ended[3][0] == REFUSED and ended[3][1]["reason"] == "busy" and "too much memory" in ended[3][1]["message"]
    assert not {1, 2} & ended.keys()
    raw.send(frame(CANCEL, 1))
    raw.read_until(has_ended(1))
    begin(4)
    begin(5)
    ended = ends(raw.read_until(has_ended(5)))
    assert ended[5][1]["reason"] == "busy" and not {2, 4} & ended.keys()


def test_an_idle_plugin_of_the_node_makes_room_for_the_next(agent, scratch):
    for path in (HELLO_SO, HELLO_SO.with_name("ping.so"), ZOO / "sleep.so"):
        (scratch / path.name).write_bytes(path.read_bytes() + bytes(4 << 20))
    raw = agent(plugins=scratch)
    raw.send(greeting())
    for n, size in ((1, 256 << 20), (2, 250 << 20)):
        digest = bytes([n]) * 32
        raw.send(call(n, "nowhere", object=[digest, size, True]) + frame(CHUNK, n, digest, b"x", True))
    for n, type in ((3, "hello"), (4, "ping"), (5, "hello")):
        raw.send(call(n, type))
        assert ends(raw.read_until(has_ended(n)))[n][0] == OK, type
    raw.send(call(6, "sleep", pack({"ms": 600000})) + call(7, "hello"))
    ended = ends(raw.read_until(has_ended(7)))
    assert ended[7][0] == REFUSED and ended[7][1]["reason"] == "busy" and 6 not in ended


def test_a_bundle_s_objects_count_as_those_on_their_way(agent, client):
    """What a deploy asks for takes memory as well."""
    shop, raw = Shop(client), agent()
    manifest, digests = member(shop.bundle("web-1.0", HELLO_SO), "manifest"), {n: bytes([n]) * 32 for n in (1, 2)}
    raw.send(greeting() + b"".join(call(n, "nowhere", object=[d, 256 << 20, True]) + frame(CHUNK, n, d, b"x", True)
                                   for n, d in digests.items()))
    for id in (3, 4):
        raw.send(frame(OFFER, id, [], {"do": "prepare", "manifest": manifest}))
        raw.read_until(lambda frames: any(f[0] == NEED and f[1] == id for f in frames))
        raw.send(frame(CHUNK, id, hashlib.sha256(HELLO_SO.read_bytes()).digest(), HELLO_SO.read_bytes(), False))
        outcome, end = ends(raw.read_until(has_ended(id)))[id]
        assert outcome == (REFUSED if id == 3 else OK), end
        assert id == 4 or (end["reason"] == "busy" and "too much memory" in end["message"])
        raw.send(frame(CANCEL, 1))


def test_ever_new_plugins_cost_bounded_memory(agent):
    raw, data = agent(plugins="/nowhere"), HELLO_SO.read_bytes()
    raw.send(greeting())
    for n in range(1, 81):
        raw.send(upload(n, data + b"%d" % n))
        raw.read_until(has_ended(n))
    assert all(outcome == OK for outcome, _ in ends(raw.frames()).values())
    assert len(os.listdir("/proc/%d/fd" % raw.child.pid)) < 80
    raw.half_close()
    raw.child.wait(20)
    shutil.rmtree(raw.store)


# --- floods ---

def test_flood_of_pings_to_a_sender_that_never_reads(agent):
    raw = agent()
    flood = frame(PING, 0, 1) * 4000
    raw.send(greeting())
    os.set_blocking(raw.child.stdin.fileno(), False)
    sent, end = 0, time.monotonic() + 1.5
    while time.monotonic() < end and sent < 200 << 20:
        try:
            sent += os.write(raw.child.stdin.fileno(), flood[sent % len(flood):])
        except BlockingIOError:
            time.sleep(0.01)
    assert sent < 20 << 20, "it takes more than it can answer"
    assert SANITIZED or peak(raw) < FLAT_KIB
    raw.half_close()
    assert raw.child.wait(5 * SLOW) == 0, "it must notice that the sender has left, though nothing is read"


@pytest.mark.parametrize("type, state", [("sleep", {"ms": 60000}), ("reuse", {"act": "sleep", "n": 60000})])
def test_flood_of_signals_loses_none_that_counts(agent, type, state):
    """More than the worker host's socket holds come in one read; the signal that ends the call is behind them."""
    raw = agent()
    raw.send(greeting() + call(1, type, pack(state), grace_ms=15000 * SLOW))
    assert processes.wait_until(lambda: len(processes.tree(raw.child.pid)) > 2, 5 * SLOW)
    began = time.monotonic()
    raw.send(frame(SIGNAL, 1, "CONT") * 3000 + frame(CANCEL, 1))
    assert ends(raw.read_until(has_ended(1)))[1][0] == CANCELLED
    assert time.monotonic() - began < 10 * SLOW, "it took the end of the grace time"
    raw.send(call(2, type, pack({"act": "nothing"} if type == "reuse" else {"ms": 1})))
    assert ends(raw.read_until(has_ended(2)))[2][0] == OK


def test_small_questions_with_large_answers(agent, scratch):
    plugins = scratch / "plugins"
    plugins.mkdir()
    shutil.copy(HELLO_SO, plugins / "hello.so")
    for n in range(2000):
        (plugins / ("type%d.so" % n)).symlink_to(plugins / "hello.so")
    raw = agent(plugins=plugins)
    raw.send(greeting() + b"".join(frame(DESCRIBE, id, None) for id in range(1, 400)) + frame(PING, 0, 77))
    time.sleep(0.5)
    assert SANITIZED or peak(raw) < FLAT_KIB, "nobody has read an answer yet"
    frames = raw.read_until(lambda fs: any(f[0] == PONG for f in fs))
    assert sum(outcome == REFUSED for outcome, _ in ends(frames).values()) >= 399 - 64


def test_describe_answers_each_plugin_once(agent):
    frames = conversation(agent, frame(DESCRIBE, 1, None), frame(DESCRIBE, 2, "hello"), frame(DESCRIBE, 3, "nowhere"), until=has_ended(1, 2, 3))
    types = [f[2]["type"] for f in frames if f[0] == DESCRIBE and f[1] == 1]
    assert "segfault" in types and "hello" in types and len(types) == len(set(types))
    assert [f[2]["type"] for f in frames if f[0] == DESCRIBE and f[1] == 2] == ["hello"]
    assert ends(frames)[3][1]["reason"] == "unknown-type"


def test_sender_that_never_reads_output(agent):
    raw = agent()
    raw.send(greeting(window=0xffffffff) + call(1, "flood", pack({"bytes": 1 << 33})) + call(2, "flood_stderr", pack({"bytes": 1 << 33})))
    time.sleep(1)
    assert SANITIZED or peak(raw) < FLAT_KIB
    raw.half_close()
    assert raw.child.wait(5 * SLOW) == 0


def test_half_close_cancels_what_runs(agent):
    raw = agent()
    frames = raw.converse(greeting(), call(1, "sleep", pack({"ms": 60000})), call(2, "ignore_term"), call(3, "hello", b"", size=100))
    assert raw.code == 0
    assert {id: outcome for id, (outcome, _) in ends(frames).items()} == {1: CANCELLED, 2: CANCELLED, 3: CANCELLED}


def test_bye_cancels_what_runs(agent):
    raw = agent()
    frames = raw.converse(greeting(), call(1, "loop"), frame(BYE, 0, "enough"), close=False)
    assert raw.code == 0 and ends(frames)[1][0] == CANCELLED


def test_frames_for_an_id_that_has_ended_are_ignored(agent):
    raw = agent()
    raw.send(greeting() + call(1, "hello"))
    raw.read_until(has_ended(1))
    late = [frame(INPUT, 1, b"x"), frame(CREDIT, 1, 0xffffffff), frame(CANCEL, 1), frame(SIGNAL, 1, "KILL"), frame(STATE, 1, b"x", False)]
    raw.send(b"".join(late) + call(2, "hello"))
    assert ends(raw.read_until(has_ended(2)))[2][0] == OK


def test_credit_without_end_does_not_overflow(agent):
    frames = conversation(agent, call(1, "sleep", pack({"ms": 200})), frame(CREDIT, 1, 0xffffffff) * 3000, call(2, "hello"), until=has_ended(1, 2))
    assert ends(frames)[1][0] == ends(frames)[2][0] == OK


# --- chance ---

def valid_session():
    return [greeting(), call(1, "hello", pack({"name": "Ada", "times": 2})), call(2, "sleep", pack({"ms": 5}), timeout_ms=2000), call(3, "nowhere", object=[bytes(32), 9, True]),
            frame(CHUNK, 3, bytes(32), b"123456789", False), call(4, "deaf", pack({"ms": 5}), input=True), frame(INPUT, 4, b"some input"), frame(INPUT, 4, b""),
            frame(DESCRIBE, 5, "hello"), frame(PING, 0, 9), call(6, "echo", b"\x81\xa5va", size=8), frame(STATE, 6, b"lue\x07", False), frame(CREDIT, 1, 100000),
            frame(SIGNAL, 2, "TERM"), frame(CANCEL, 2), frame(OFFER, 7, [[bytes(32), 1]]), frame(BYE, 0, "done")]


def mutate(dice, data):
    data = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 5])):
        at = dice.randrange(len(data))
        how = dice.randrange(4)
        if how == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif how == 1:
            data[at] = dice.choice([0, 1, 0x7f, 0x80, 0xc1, 0xdd, 0xff])
        elif how == 2:
            del data[at:at + dice.randrange(1, 9)]
        else:
            data[at:at] = dice.randbytes(dice.randrange(1, 9))
    return bytes(data)


def test_valid_session(agent):
    raw = agent()
    frames = raw.converse(b"".join(valid_session()))
    assert raw.code == 0 and frames[0][0] == HELLO


@pytest.mark.parametrize("seed", range(10))
def test_mutated_sessions(agent, seed):
    dice = random.Random(seed)
    for _ in range(10 if SANITIZED else 30):
        parts = valid_session()
        head = parts[0] if dice.random() < 0.9 else mutate(dice, parts[0])
        body = parts[1:]
        if dice.random() < 0.3:
            dice.shuffle(body)
        raw = agent()
        raw.converse(head + mutate(dice, b"".join(body)), timeout=10)
        assert raw.code in (0, 1), raw.error


@pytest.mark.parametrize("seed", range(5))
def test_garbage(agent, seed):
    dice = random.Random(seed)
    for _ in range(10):
        raw = agent()
        raw.converse(dice.choice([b"", greeting()]) + dice.randbytes(dice.randrange(1, 20000)))
        assert raw.code in (0, 1), raw.error
