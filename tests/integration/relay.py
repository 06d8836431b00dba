"""A bad network in user space: a TCP relay that delays, slows down, cuts or resets what passes through it."""
import collections
import socket
import struct
import threading
import time

PIECE = 16 << 10


class Relay:
    """Listens on `relay.port` of 127.0.0.1 and passes connections on to (host, port).

    delay: seconds that each byte is under way, in each direction. rate: bytes a second in each direction. cut_up, cut_down: after so
    many bytes from the client, or to it, the connection ends (reset: with RST). `freeze()` stops all bytes silently, `thaw()` lets them
    go on, `cut()` ends everything now. Use as a context manager; `passed` counts the bytes in each direction.
    """

    def __init__(self, host, port, delay=0.0, rate=None, cut_up=None, cut_down=None, reset=False):
        self.target, self.delay, self.rate, self.reset = (host, port), delay, rate, reset
        self.limits, self.passed = {"up": cut_up, "down": cut_down}, {"up": 0, "down": 0}
        self.moving, self.closed = threading.Event(), False
        self.moving.set()
        self.sockets, self.lock = [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True
        self.listener.close()
        self.cut()

    def freeze(self):
        self.moving.clear()

    def thaw(self):
        self.moving.set()

    def cut(self):
        with self.lock:
            sockets, self.sockets = self.sockets, []
        for s in sockets:
            self._end(s)
        self.moving.set()

    def _end(self, s):
        try:
            if self.reset: # closing with a linger time of zero sends RST
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.shutdown(socket.SHUT_RD) if self.reset else s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        s.close()

    def _accept(self):
        while not self.closed:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                return
            with self.lock:
                self.sockets += [near, far]
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pump(near, far, "up")
            self._pump(far, near, "down")

    def _pump(self, source, sink, way):
        # On a slow link a few pieces wait at most, so that the sender feels it.
        held, ready = collections.deque(), threading.Condition()
        most = 4 if self.rate else 4096

        def read():
            data = True
            while data:
                try:
                    data = source.recv(PIECE)
                except OSError:
                    data = b""
                with ready:
                    ready.wait_for(lambda: len(held) < most or self.closed)
                    held.append((time.monotonic() + self.delay, data))
                    ready.notify_all()

        def write():
            while True:
                with ready:
                    ready.wait_for(lambda: held)
                    due, data = held.popleft()
                    ready.notify_all()
                time.sleep(max(0, due - time.monotonic()))
                self.moving.wait()
                if not self._pass_on(sink, data, way):
                    return

        for body in (read, write):
            threading.Thread(target=body, daemon=True).start()

    def _pass_on(self, sink, data, way):
        limit = self.limits[way]
        last = limit is not None and self.passed[way] + len(data) >= limit
        data = data[:limit - self.passed[way]] if last else data
        try:
            if not data and not last:
                sink.shutdown(socket.SHUT_WR)
                return False
            sink.sendall(data)
        except OSError:
            return False
        self.passed[way] += len(data)
        if last:
            self.cut()
        elif self.rate:
            time.sleep(len(data) / self.rate)
        return not last
