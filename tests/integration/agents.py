"""Agents of the build under test, spoken to directly: through session_probe (a good sender), or byte by byte (a bad one)."""
import json
import os
import queue
import struct
import subprocess
import threading
from pathlib import Path

import processes
from client import BUILD, SLOW

AGENT = BUILD / "bin" / "sshexec-agent"
PROBE = BUILD / "tests" / "session_probe"
ZOO = BUILD / "zoo"
HELLO, CALL, INPUT, CREDIT, CANCEL, SIGNAL, PING, PONG, OUTPUT, LOG, PROGRESS, ITEM, RESULT, STATE, END = range(1, 16)
OFFER, NEED, CHUNK, DESCRIBE, ATTACH, BYE = range(16, 22)
NONCE = b"0123456789abcdef" * 2


def rss_kib(pid):
    lines = Path("/proc/%d/status" % pid).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


class Session:
    """session_probe and its agent (or the words that start another): `tell` writes a line, `event` waits for what it says of a call."""

    def __init__(self, env, temp, *agent):
        self.env = dict(env, TMPDIR=str(temp))
        self.child = processes.start([PROBE, *(agent or (AGENT, "--plugin-path", ZOO))], env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.seen, self.lines = [], queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def tell(self, *lines):
        self.child.stdin.write("".join(line + "\n" for line in lines).encode())
        self.child.stdin.flush()

    def event(self, kind, call, timeout=20):
        """The first event of this kind for this call, whenever it came."""
        for event in self.seen:
            if event["event"] == kind and event.get("call") == call:
                return event
        while True:
            event = self.lines.get(timeout=timeout * SLOW)
            assert event is not None, "the session ended; it said %s" % self.seen
            self.seen.append(event)
            if event["event"] == kind and event.get("call") == call:
                return event

    def end(self, call, timeout=20):
        return self.event("end", call, timeout)

    def agent(self):
        def found():
            return [p.pid for p in processes.tree(self.child.pid) if p.parent == self.child.pid]
        assert processes.wait_until(found, 5 * SLOW), "no agent"
        return found()[0]

    def close(self):
        if not self.child.stdin.closed:
            self.child.stdin.close()
        try:
            return self.child.wait(20 * SLOW)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise


# --- msgpack, as much of it as frames need ---

def pack(value):
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return bytes([value]) if 0 <= value < 128 else b"\xcf" + struct.pack(">Q", value) if value >= 0 else b"\xd3" + struct.pack(">q", value)
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, dict):
        return b"\xdf" + struct.pack(">I", len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())
    return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))


def frame(*elements):
    body = pack(list(elements))
    return struct.pack(">I", len(body)) + body


SIZES = {0xcc: "B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q", 0xd0: "b", 0xd1: ">h", 0xd2: ">i", 0xd3: ">q", 0xca: ">f", 0xcb: ">d"}
LENGTHS = {0xc4: ("B", "bin"), 0xc5: (">H", "bin"), 0xc6: (">I", "bin"), 0xd9: ("B", "str"), 0xda: (">H", "str"), 0xdb: (">I", "str"),
           0xdc: (">H", "array"), 0xdd: (">I", "array"), 0xde: (">H", "map"), 0xdf: (">I", "map")}


def unpack(data, at=0):
    """The value at this offset, and where it ends."""
    first, at = data[at], at + 1
    if first < 0x80 or first >= 0xe0:
        return (first if first < 0x80 else first - 256), at
    if first in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[first], at
    if first in SIZES:
        n = struct.calcsize(SIZES[first])
        return struct.unpack(SIZES[first], data[at:at + n])[0], at + n
    if first < 0xc0:
        kind, n = ("map", first & 15) if first < 0x90 else ("array", first & 15) if first < 0xa0 else ("str", first & 31)
    else:
        form, kind = LENGTHS[first]
        n, at = struct.unpack(form, data[at:at + struct.calcsize(form)])[0], at + struct.calcsize(form)
    if kind in ("bin", "str"):
        body = bytes(data[at:at + n])
        return (body if kind == "bin" else body.decode(errors="replace")), at + n
    items = []
    for _ in range(n * (2 if kind == "map" else 1)):
        item, at = unpack(data, at)
        items.append(item)
    return (items if kind == "array" else dict(zip(items[::2], items[1::2]))), at


def greeting(window=1 << 20, low=1, high=1):
    return b"sshexec 1 " + NONCE + b"\n" + frame(HELLO, 0, {"min": low, "max": high, "window": window})


def call(id, type, state=b"\x80", object=None, size=None, **options):
    return frame(CALL, id, type, object, len(state) if size is None else size, state, options)


class Raw:
    """An agent on two pipes, and what it answered so far."""

    def __init__(self, env, temp, store=None, plugins=ZOO, wrap=()):
        argv = [*wrap, AGENT, "--plugin-path", plugins] + (["--store", store] if store else [])
        self.child = processes.start(argv, env=dict(env, TMPDIR=str(temp)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.output = b""

    def send(self, data):
        """Returns whether the agent took it all."""
        try:
            self.child.stdin.write(data)
            self.child.stdin.flush()
            return True
        except BrokenPipeError:
            return False

    def converse(self, *pieces, close=True, timeout=20):
        """Sends, closes, and reads to the end while doing so. Returns the frames that came."""
        def write():
            for piece in pieces:
                if not self.send(piece):
                    break
            if close:
                self.half_close()
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        killer = threading.Timer(timeout * SLOW, self.child.kill)
        killer.start()
        self.output += self.child.stdout.read()
        self.error = self.child.stderr.read()
        self.code = self.child.wait()
        killer.cancel()
        writer.join(5)
        assert self.code != -9, "no end in %d s; it said %r" % (timeout * SLOW, self.output[-500:])
        return self.frames()

    def half_close(self):
        try:
            self.child.stdin.close()
        except BrokenPipeError:
            pass

    def read_until(self, condition):
        while not condition(self.frames()):
            piece = os.read(self.child.stdout.fileno(), 1 << 20)
            assert piece, "the agent left; it said %r" % self.frames()
            self.output += piece
        return self.frames()

    def frames(self):
        """The whole frames behind the marker."""
        marker = b"sshexec-agent 1 " + NONCE + b"\r\n\0\xff"
        if not self.output.startswith(marker):
            return []
        found, at = [], len(marker)
        while at + 4 <= len(self.output):
            n = struct.unpack(">I", self.output[at:at + 4])[0]
            if at + 4 + n > len(self.output):
                break
            value, end = unpack(self.output[at + 4:at + 4 + n])
            assert end == n
            found.append(value)
            at += 4 + n
        return found


def ends(frames):
    """{id: (outcome, map)}; each id ends once."""
    found = [(f[1], (f[2], f[3])) for f in frames if f[0] == END]
    assert len(found) == len(dict(found)), found
    return dict(found)
