"""The sender under test: the build's sshexec with a home, keys and an ssh configuration of its own.

OpenSSH takes ~/.ssh from passwd, not from $HOME, so the configuration is always given with -F.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import processes
from sshd import BUILD, HOSTS, make_key

SSHEXEC = BUILD / "bin" / "sshexec"
SANITIZED = SSHEXEC.exists() and b"__asan_init" in SSHEXEC.read_bytes()
SLOW = 4 if SANITIZED else 1    # what to multiply time limits with
REPORTS = [b"AddressSanitizer", b"LeakSanitizer", b"UndefinedBehaviorSanitizer", b"ThreadSanitizer", b": runtime error: "]
TAKES_F = ("run", "put", "get", "list", "describe", "doctor", "store", "clean", "deploy", "rollback", "generations")    # the subcommands that know ssh's options


def reports_in(output):
    return next((name for name in REPORTS if name in output), None)


class Result:
    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    @property
    def text(self):
        return self.out.decode()

    @property
    def error(self):
        return self.err.decode()

    def __repr__(self):
        shown = self.err[-4000:].decode(errors="replace")
        return "exit %s after %.2f s\nstdout: %r\nstderr: %s" % (self.code, self.seconds, self.out[-2000:], shown)


class Client:
    def __init__(self, root, sshd=None, sanitizer_dir=None):
        self.home = Path(root)
        self.home.mkdir(mode=0o700, parents=True)
        self.ssh_dir = self.home / ".ssh"
        self.ssh_dir.mkdir(mode=0o700)
        self.config, self.known_hosts, self.key = (self.ssh_dir / name for name in ("config", "known_hosts", "id_ed25519"))
        self.env = self._environment(sanitizer_dir)
        self.public_key = make_key(self.key)
        self.config.write_text("")
        if sshd:
            self.connect_to(sshd)

    def _environment(self, sanitizer_dir):
        kept = {name: os.environ[name] for name in ("PATH", "USER", "LOGNAME", "TZ") if name in os.environ}
        env = dict(kept, HOME=str(self.home), LANG="C.UTF-8", SHELL="/bin/sh", TERM="xterm")
        return dict(env, **sanitizer_environment(sanitizer_dir)) if sanitizer_dir else env

    def connect_to(self, sshd, port=None):
        """Writes the configuration for this sshd, 127.0.0.1-8 by address and as node1-8, and lets the key in. `port`: of a relay to it."""
        sshd.authorize(self.public_key)
        self.known_hosts.write_text(sshd.known_hosts(port=port))
        self.write_config(sshd, port=port)

    def write_config(self, sshd, extra="", port=None):
        """`extra` lines come first, so they win."""
        nodes = "".join("Host node%d\n  HostName %s\n" % (n, host) for n, host in enumerate(HOSTS, 1))
        everywhere = "Host *\n  User %s\n  Port %d\n  IdentityFile %s\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n"
        self.config.write_text("%s\n%s" % (extra, nodes) + everywhere % (sshd.user, port or sshd.port, self.key, self.known_hosts))

    def argv(self, words):
        words = list(words)
        given = words[:1] + ["-F", self.config] + words[1:] if words and words[0] in TAKES_F else words
        return [SSHEXEC] + given

    def popen(self, words, env=None, **how):
        """Runs beside the test, without a terminal; pipes unless told otherwise."""
        usual = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.home, start_new_session=True)
        return processes.start(self.argv(words), env=dict(self.env, **(env or {})), **dict(usual, **how))

    def run(self, words, input=None, timeout=30, env=None, cwd=None):
        """Runs to the end. Fails the test after `timeout` seconds, and on a sanitizer's report."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        began = time.monotonic()
        child = self.popen(words, env=env, stdin=stdin, cwd=cwd or self.home)
        try:
            out, err = child.communicate(input, timeout * SLOW)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            late = Result(child.returncode, out, err, time.monotonic() - began)
            raise AssertionError("no end in %s s: sshexec %s\n%r" % (timeout * SLOW, words, late))
        assert not reports_in(err), err.decode(errors="replace")
        return Result(child.returncode, out, err, time.monotonic() - began)

    def ssh(self, host, *command, options=()):
        """The system's ssh with the same configuration."""
        argv = ["ssh", "-F", str(self.config), "-oBatchMode=yes", *options, host, *command]
        return subprocess.run(argv, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)

    def terminal(self, words, env=None, **how):
        return Terminal(self.argv(words), dict(self.env, **(env or {})), cwd=self.home, **how)


def sanitizer_environment(directory):
    """Reports go to files, so that none is lost with a process that nobody listens to any more."""
    return {"ASAN_OPTIONS": "log_path=%s/asan" % directory, "UBSAN_OPTIONS": "log_path=%s/ubsan:print_stacktrace=1" % directory}


class Terminal:
    """A program on a terminal of its own: stdin, stdout and stderr (those that are not given), and the controlling terminal."""

    def __init__(self, argv, env, rows=24, columns=80, cwd=None, stdin=None, stdout=None, stderr=None):
        self.fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.child = processes.start(argv, stdin=stdin or theirs, stdout=stdout or theirs, stderr=stderr or theirs, env=env, cwd=cwd,
                                     start_new_session=True, preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0))
        os.close(theirs)
        self.output = b"" # all that has come so far

    def _read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            piece = os.read(self.fd, 65536)
        except OSError: # EIO: the last process has closed its side
            return False
        self.output += piece
        return bool(piece)

    def expect(self, pattern, timeout=10):
        """Reads until the output so far matches the regular expression (bytes); returns the match."""
        end, alive = time.monotonic() + timeout * SLOW, True
        while True:
            if match := re.search(pattern, self.output):
                return match
            left = end - time.monotonic()
            assert alive and left > 0, "no %r on the terminal, only %r" % (pattern, self.output[-2000:])
            alive = self._read(min(left, 0.2))

    def send(self, data):
        os.write(self.fd, data)

    def resize(self, columns, rows=24):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, timeout=10):
        """Reads what comes until the program ends; returns its exit code."""
        end = time.monotonic() + timeout * SLOW
        while self.child.poll() is None:
            assert time.monotonic() < end, "no end in %s s, the terminal has %r" % (timeout * SLOW, self.output[-2000:])
            if not self._read(0.02):
                time.sleep(0.02)
        while select.select([self.fd], [], [], 0)[0] and self._read(0):
            pass
        assert not reports_in(self.output), self.output.decode(errors="replace")
        return self.child.returncode

    def close(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()
        os.close(self.fd)
