"""Fleets for the tests: many addresses of one sshd, hosts that misbehave, and the engine under test (fleet_probe.c) on them."""
import json
import os
import socket
import subprocess
import threading
from pathlib import Path

import processes
from client import BUILD, SLOW, reports_in

PROBE = BUILD / "tests" / "fleet_probe"
FAR = Path(os.environ.get("API_BUILD") or BUILD).resolve()  # make check-tsan: agents and workers have no thread to race with
RACES = FAR != BUILD
AGENT = FAR / "bin" / "sshexec-agent"


def addresses(count, net=1):
    """So many addresses of loopback: as many hosts."""
    return ["127.%d.%d.%d" % (net, n // 250, n % 250 + 1) for n in range(count)]


class Run:
    """What the probe said: every event, the ends by host, the summary."""

    def __init__(self, child, out, err):
        self.code, self.error = child.returncode, err.decode(errors="replace")
        self.events = [json.loads(line) for line in out.splitlines()]
        self.summary = self.events[-1] if self.events and self.events[-1]["event"] == "summary" else None
        self.ends, self.twice = {}, []
        for event in self.events:
            if event["event"] != "end":
                continue
            if event["host"] in self.ends:
                self.twice.append(event["host"])
            self.ends[event["host"]] = event

    def outcome(self, host):
        return self.ends[host]["outcome"]

    def output(self, host):
        return "".join(e["text"] for e in self.events if e["event"] == "output" and e["host"] == host)

    def outcomes(self):
        counts = {}
        for end in self.ends.values():
            counts[end["outcome"]] = counts.get(end["outcome"], 0) + 1
        return counts

    def __repr__(self):
        some = [e for e in self.ends.values() if e["outcome"] != "ok"][:12]
        return "exit %s %s\n%s\n%s\n%s" % (self.code, self.summary, self.outcomes(), "\n".join(map(str, some)), self.error[-3000:])


class Fleet:
    def __init__(self, client, sshd):
        self.client, self.sshd = client, sshd

    def know(self, hosts):
        """Writes known_hosts and a configuration for these hosts, all of which are the sshd."""
        self.client.known_hosts.write_text(self.sshd.known_hosts(hosts))
        self.client.write_config(self.sshd)

    def argv(self, type, state=None, plugin=None, **options):
        words = ["%s=%s" % item for item in options.items()]
        return [PROBE, *words, AGENT, plugin or FAR / "plugins" / (type + ".so"), type] + ([json.dumps(state)] if state is not None else [])

    def run(self, hosts, type, state=None, time_limit=60, preexec=None, **options):
        """hosts: names, or (name, state) pairs. Fails where there is no summary, or not exactly one end a host."""
        if "template" not in options:
            options.setdefault("config", self.client.config)
            options.setdefault("mode", "libssh")
        lines = "".join(h + "\n" if isinstance(h, str) else "%s %s\n" % (h[0], json.dumps(h[1])) for h in hosts)
        child = processes.start(self.argv(type, state, **options), env=self.client.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                cwd=self.client.home, preexec_fn=preexec)
        try:
            out, err = child.communicate(lines.encode(), time_limit * SLOW)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            raise AssertionError("no end in %s s\n%r" % (time_limit * SLOW, Run(child, out[:out.rfind(b"\n") + 1], err)))
        assert not reports_in(err), err.decode(errors="replace")
        run = Run(child, out, err)
        assert run.code == 0 and run.summary, run
        assert not run.twice and len(run.ends) == len(hosts) == run.summary["ended"], run
        return run


class BadHosts:
    """Listeners on one port of many addresses: each accepts, and does to a connection what its way says. Use as a context manager.

    silent: says nothing. half: half a greeting, then the end. refuse: nobody listens at all."""

    def __init__(self, ways):
        self.sockets, self.kept, self.closed = [], [], False
        self.port = {}
        for host, way in ways.items():
            listener = socket.socket()
            listener.bind((host, 0))
            self.port[host] = listener.getsockname()[1]
            if way == "refuse":
                listener.close()
                continue
            listener.listen(64)
            self.sockets.append(listener)
            threading.Thread(target=self._serve, args=(listener, way), daemon=True).start()

    def _serve(self, listener, way):
        while not self.closed:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            if way == "half":
                s.sendall(b"SSH-2.0-Open")
                s.close()
            else:
                self.kept.append(s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True
        for s in self.sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for s in self.sockets + self.kept:
            s.close()
