"""A terminal with a screen: tmux, which wraps lines, takes them apart again when it becomes narrower, and has job control for the shells in it."""
import os
import re
import subprocess
import time

from client import SLOW

# The exit code is read from the screen: tmux 3.3 now and then doesn't know it. An interrupt is for the program alone.
WRAP = 'trap : INT; "$@"; echo "exit $?"; exec sleep 1000'
CONFIGURATION = "set -g status off\nset -g default-terminal tmux-256color\nset -g escape-time 0\n"


class Tmux:
    """Runs argv in a window of its own; a context manager, which ends the server and what runs in it."""

    def __init__(self, directory, argv, env, columns=80, rows=24, cwd=None):
        self.socket, self.env = os.path.join(directory, "tmux"), dict(env, TERM="xterm")
        configuration = os.path.join(directory, "tmux.conf")
        with open(configuration, "w") as file:
            file.write(CONFIGURATION)
        self("-f", configuration, "new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(cwd or directory), "--", "sh", "-c", WRAP, "sh", *map(str, argv))

    def __call__(self, *words):
        return subprocess.run(["tmux", "-u", "-S", self.socket, *words], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=20 * SLOW).stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)

    def resize(self, columns, rows=24):
        self("resize-window", "-x", str(columns), "-y", str(rows))

    def send(self, *keys):
        self("send-keys", *keys)

    def lines(self):
        """All lines that are not blank, with what has left the screen above."""
        return [line.rstrip() for line in self("capture-pane", "-p", "-S", "-").splitlines() if line.strip()]

    def finish(self):
        """Waits for the end of the program; returns its exit code, and the lines."""
        *lines, last = self.wait(lambda lines: re.fullmatch(r"exit \d+", lines[-1] if lines else ""))
        return int(last.split()[1]), lines

    def wait(self, condition, timeout=15):
        """Until condition(lines) holds; returns the lines."""
        end = time.monotonic() + timeout * SLOW
        while not condition(lines := self.lines()):
            assert time.monotonic() < end, "the screen has\n" + "\n".join(lines)
            time.sleep(0.05)
        return lines
