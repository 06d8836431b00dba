#!/usr/bin/python3
"""A byte pipe that misbehaves: pipe_fake.py HOW N COMMAND... runs the command and passes bytes between it and its own stdin and stdout.

count     as they come; how many came from the command is written to the file N
dribble   one byte a write, both ways
cut       exits 0 after N bytes from the command
cut_end   exits 0 when all but the last N bytes of the first END frame have passed
deaf      closes its stdin after N bytes for the command, and stays
mute      closes its stdout after N bytes from the command, and stays
silent    passes nothing and closes nothing
early     exits 0 at once
"""
import os
import subprocess
import sys
import threading
import time

HOW, N, ARGV = sys.argv[1], sys.argv[2], sys.argv[3:]
UP, DOWN = HOW == "deaf", HOW in ("cut", "cut_end", "mute")   # which direction has a limit


def pass_on(source, sink, limited):
    """Until the end of the source, or the limit. Returns how many bytes went through."""
    total = 0
    while not limited or total < int(N):
        most = 1 if HOW == "dribble" else int(N) - total if limited else 65536
        data = os.read(source, most)
        if not data:
            break
        try:
            os.write(sink, data)    # both ends are blocking: all of it
        except BrokenPipeError:
            break
        total += len(data)
    return total


def pass_to_end(source, sink):
    """Until the first END frame (kind 15 in PROTOCOL.md), of which the last N bytes stay away."""
    data, at = b"", None
    while True:
        piece = os.read(source, 65536)
        data += piece
        if at is None and b"\r\n\0\xff" in data:
            at = data.index(b"\r\n\0\xff") + 4
        while at is not None and len(data) >= at + 6:
            length = int.from_bytes(data[at:at + 4], "big")
            if data[at + 5] == 15:
                while len(data) < at + 4 + length:
                    data += os.read(source, 65536)
                os.write(sink, data[:at + 4 + length - int(N)])
                return
            if len(data) < at + 4 + length:
                break
            at += 4 + length
        if at:
            os.write(sink, data[:at])
            data, at = data[at:], 0


def up(child):
    pass_on(0, child.stdin.fileno(), UP)
    if UP:
        os.close(0)
    else:
        child.stdin.close()


def main():
    if HOW == "early":
        sys.exit(0)
    if HOW == "silent":
        time.sleep(100)
    child = subprocess.Popen(ARGV, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    threading.Thread(target=up, args=[child], daemon=True).start()
    total = pass_to_end(child.stdout.fileno(), 1) if HOW == "cut_end" else pass_on(child.stdout.fileno(), 1, DOWN)
    if HOW == "count":
        with open(N, "w") as file:
            file.write(str(total))
    if DOWN:
        os.close(1)
    if HOW == "mute":
        time.sleep(100)
    if DOWN:
        child.kill()
    child.wait()
    os._exit(0) # whatever the other thread waits for


main()
