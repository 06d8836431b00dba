"""What happens in a session that is there already: contenders side by side on one sshd, each a process that does what it is told by
lines (session.c, bare_libssh.c, peers.py). A round asks each once, in a new random order, so that a change of the machine's load
meets all alike."""
import importlib.util
import random
import statistics
import subprocess
import time
from pathlib import Path

import processes
from client import BUILD

HERE = Path(__file__).resolve().parent
SIZE = 64 << 20      # of a bulk transfer
PAUSE_US = 2000      # before a single call: what one that comes now and then takes
IDLE_S = 2           # without a call, after all of the above: then the agent is idle
BENCH = BUILD / "bench"


class Contender:
    def __init__(self, argv, env):
        self.child = subprocess.Popen([str(word) for word in argv], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.expect("ready")

    def expect(self, wanted):
        line = self.child.stdout.readline().strip()
        if line != wanted:
            raise SystemExit("bench: %s said %r" % (self.child.args[0], line))

    def ask(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            raise SystemExit("bench: %s gave no answer to %r" % (self.child.args[0], line))
        return float(answer)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Ssh:
    """`ssh HOST cat`, its connection not counted: the clock starts when the far side says so."""

    def __init__(self, client):
        self.argv, self.env = ["ssh", "-F", str(client.config), "-oBatchMode=yes", "node1"], client.env

    def ask(self, line):
        what, size = line.split()[0], int(line.split()[1])
        command = "echo; cat > /dev/null; echo" if what == "up" else "echo; read x; head -c %d /dev/zero" % size
        piece, left = bytes(1 << 16), size
        child = subprocess.Popen(self.argv + [command], env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        child.stdout.read(1)
        began = time.perf_counter()
        if what == "up":
            while left > 0:
                left -= child.stdin.write(piece[:left])
            child.stdin.close()
            child.stdout.read(1)
        else:
            child.stdin.write(b"\n")
            while data := child.stdout.read(1 << 16):
                left -= len(data)
        took = time.perf_counter() - began
        if left:
            raise SystemExit("bench: ssh lost %d bytes" % left)
        child.stdin.close()
        child.wait()
        return size / took / 1e6

    def close(self):
        pass


def ours(client):
    return Contender([BENCH / "session", BUILD / "bin" / "sshexec-agent", client.config, "node1", BENCH / "plugins"], client.env)


def contenders(client, sshd):
    where = [client.config, "node1", "127.0.0.1", sshd.port, sshd.user, client.key]
    found = {"sshexec": ours(client),
             "bare libssh": Contender([BENCH / "bare_libssh", "127.0.0.1", sshd.port, sshd.user, client.key, client.known_hosts], client.env),
             "ssh": Ssh(client)}
    for name in ("execnet", "mitogen"):
        if importlib.util.find_spec(name):
            found[name] = Contender(["/usr/bin/python3", HERE / "peers.py", name] + where, client.env)
    return found


# What is asked of whom: (name of the measurement, contender, line). A line that only warms up is asked once, before the rounds.
def questions():
    asked = []
    for pause, count, name in ((0, 300, "back to back"), (PAUSE_US, 100, "after a pause")):
        asked += [("reuse, " + name, "sshexec", "warm echo %d %d" % (count, pause)),
                  ("fork, " + name, "sshexec", "warm echo_fork %d %d" % (count // 2, pause)),
                  ("echo, " + name, "bare libssh", "warm %d %d" % (count, pause)), ("execnet, " + name, "execnet", "warm %d %d" % (count, pause)),
                  ("mitogen, " + name, "mitogen", "warm %d %d" % (count // 3, pause))]
    asked += [("reuse, pipelined", "sshexec", "pipelined echo 60000 1000"), ("fork, pipelined", "sshexec", "pipelined echo_fork 300 64"),
              ("execnet, pipelined", "execnet", "pipelined 15000 1000"), ("mitogen, pipelined", "mitogen", "pipelined 2000 256")]
    for way in ("up", "down"):
        asked += [("sshexec, " + way, "sshexec", "%s %d" % (way, SIZE)), ("libssh, " + way, "bare libssh", "%s %d 0" % (way, SIZE)),
                  ("ssh, " + way, "ssh", "%s %d" % (way, SIZE))]
    return asked


def agent_kib(sshd):
    found = [p.pid for p in processes.tree(sshd.process.pid) if "/sshexec/agents/" in str(p)]
    status = Path("/proc/%d/status" % found[0]).read_text()
    return next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def measure(client, sshd, rounds):
    """Returns {measurement: [a number a round]}."""
    all_contenders = contenders(client, sshd)
    asked = [q for q in questions() if q[1] in all_contenders]
    numbers = {name: [] for name, _, _ in asked}
    for _, who, line in asked:
        all_contenders[who].ask(line)
    for _ in range(rounds):
        random.shuffle(asked)
        for name, who, line in asked:
            numbers[name].append(all_contenders[who].ask(line))
    time.sleep(IDLE_S)
    numbers["agent, idle"] = [agent_kib(sshd)]
    for contender in all_contenders.values():
        contender.close()
    numbers["sender, idle"] = []
    for _ in range(3):
        fresh = ours(client)  # in which nothing has left room for a session
        numbers["sender, idle"].append(fresh.ask("idle 50"))
        fresh.close()
    numbers["codec"] = [float(subprocess.run([BENCH / "codec"], capture_output=True, check=True).stdout) for _ in range(5)]
    return numbers


# The table: (work, measurement, against, the most or least that the ratio or number may be, unit).
TARGETS = [
    ("one warm call, reuse, back to back", "reuse, back to back", "echo, back to back", "<=", 1.5, "us"),
    ("one warm call, reuse, back to back", "reuse, back to back", "execnet, back to back", "<=", 0.35, "us"),
    ("one warm call, fork, back to back", "fork, back to back", "execnet, back to back", "<=", 0.8, "us"),
    ("one warm call, reuse, after a pause", "reuse, after a pause", "echo, after a pause", "<=", 1.5, "us"),
    ("one warm call, reuse, after a pause", "reuse, after a pause", "execnet, after a pause", "<=", 0.35, "us"),
    ("one warm call, fork, after a pause", "fork, after a pause", "execnet, after a pause", "<=", 0.8, "us"),
    ("pipelined calls, reuse", "reuse, pipelined", "execnet, pipelined", ">=", 10, "/s"),
    ("bulk to a call", "sshexec, up", "libssh, up", ">=", 0.9, "MB/s"),
    ("bulk to a call", "sshexec, up", "ssh, up", ">=", 1, "MB/s"),
    ("bulk from a call", "sshexec, down", "libssh, down", ">=", 0.9, "MB/s"),
    ("bulk from a call", "sshexec, down", "ssh, down", ">=", 1, "MB/s"),
    ("memory of an idle session, sender", "sender, idle", None, "<=", 64, "KiB"),
    ("memory of an idle session, agent", "agent, idle", None, "<=", 2048, "KiB"),
    ("struct of 10 fields to msgpack and back", "codec", None, "<=", 500, "ns"),
]


def rows(numbers):
    """Lines of the page's table."""
    middle = {name: statistics.median(values) for name, values in numbers.items()}
    for work, name, against, sign, bound, unit in TARGETS:
        if name not in middle or (against and against not in middle):
            yield "| %s | | %s | | %s %g | not measured: no peer |" % (work, against, sign, bound)
            continue
        value = middle[name] / middle[against] if against else middle[name]
        met = value <= bound if sign == "<=" else value >= bound
        other = "%s: %.4g %s" % (against, middle[against], unit) if against else ""
        yield "| %s | %.4g %s | %s | %s | %s %g | %s |" % (work, middle[name], unit, other, "%.2f" % value if against else "",
                                                          sign, bound, "met" if met else "**MISSED**")


def table(numbers):
    """All measurements, as lines."""
    for name, values in numbers.items():
        ordered = sorted(values)
        yield "| %s | %.5g | %.5g | %.5g |" % (name, statistics.median(values), ordered[0], ordered[-1])
