"""The processes that a test run starts: found, measured, reaped, and gone at the end.

The run is a child subreaper, so whatever a test starts stays below it in the tree even after its parents have died.
"""
import ctypes
import filecmp
import os
import signal
import subprocess
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36

_started = set()    # pids that a Popen waits for; nobody else may reap them
_expected = set()   # pids that may outlive a test (a session's sshd)


class Process:
    def __init__(self, pid, parent, state, command):
        self.pid, self.parent, self.state, self.command = pid, parent, state, command

    def __str__(self):
        return "%d (parent %d, %s) %s" % (self.pid, self.parent, self.state, self.command)


def become_subreaper():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def start(argv, **how):
    """subprocess.Popen for whatever runs beside a test."""
    child = subprocess.Popen([word if isinstance(word, bytes) else str(word) for word in argv], **how)
    _started.add(child.pid)
    return child


def expect(pid):
    """This process may outlive a test; `unexpect` ends that."""
    _expected.add(pid)


def unexpect(pid):
    _expected.discard(pid)


def _parent_and_state(pid):
    """Of one process; None when it is gone. A scan reads this of every process, and nothing else."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[1]), fields[0].decode()


def _command(pid):
    try:
        command = Path("/proc/%d/cmdline" % pid).read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return command or "[%s]" % Path("/proc/%d/comm" % pid).read_text(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree(root):
    """Every live process below `root`. Orphans that came to this process and have ended are reaped in passing."""
    children = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if known := _parent_and_state(pid):
            children.setdefault(known[0], []).append((pid, known[1]))
    found, parents = [], [root]
    while parents:
        parent = parents.pop()
        for pid, state in children.get(parent, []):
            parents.append(pid)
            if (command := _command(pid)) is not None:
                found.append(Process(pid, parent, state, command))
    for p in found:
        if p.state == "Z" and p.parent == os.getpid() and p.pid not in _started:
            try:
                os.waitpid(p.pid, os.WNOHANG)
            except ChildProcessError:
                pass
    return [p for p in found if p.state not in "ZX"]


def descendants():
    """What this run has started and is not expected to stay."""
    return [p for p in tree(os.getpid()) if p.pid not in _expected]


def find(text):
    """Those whose command line or first environment holds this text: a marker that only one test uses."""
    def holds(p):
        try:
            return text in p.command or text.encode() in Path("/proc/%d/environ" % p.pid).read_bytes()
        except OSError:
            return False
    return [p for p in descendants() if holds(p)]


def running(program):
    """Those that run exactly this program, wherever their copy of the file is: an agent that was uploaded, too."""
    def runs(p):
        try:
            return filecmp.cmp("/proc/%d/exe" % p.pid, program, shallow=False)
        except OSError:
            return False
    filecmp.clear_cache()
    return [p for p in descendants() if runs(p)]


def kill_descendants():
    for p in descendants():
        try:
            os.kill(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_until(lambda: not descendants(), 5)


def wait_until(condition, timeout, interval=0.02):
    """Whether the condition became true in time; its value then."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(interval)


def peak_memory_kib(pid):
    """VmHWM: the most resident memory that the process ever had; None when it is gone."""
    try:
        for line in Path("/proc/%d/status" % pid).read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None
