"""A private sshd: Debian's own openssh-server on a free port of loopback, with keys, configuration and an account of its own.

It listens on 0.0.0.0, so 127.0.0.1, 127.0.0.2 ... are as many hosts. Who logs in:
- as root, where mount namespaces work: an account that exists only in the passwd file which this sshd sees (bind-mounted in a mount
  namespace of its own, so nothing on the machine changes and nothing is left). Its home is an empty directory here, its shell /bin/sh.
- otherwise: the current user, with HOME set to an empty directory here (SetEnv). A session still starts in the passwd home: see `cwd`.
"""
import collections
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import processes

HOSTS = ["127.0.0.%d" % n for n in range(1, 9)]
KEY_TYPES = ["ed25519", "ecdsa", "rsa"]
ACCOUNT = "ssxtest%d" % (os.getpid() % 100000)  # of its own for each run: what it leaves in shared directories is told apart
COMMENT = "sshexec test"    # of keys
BUILD = Path(os.environ.get("BUILD") or Path(__file__).resolve().parents[2] / "build").resolve()
KEYS = BUILD / "tests" / "keys"
PRIVSEP = Path("/run/sshd") # sshd, started as root, insists on it

_next_in_stock = collections.defaultdict(itertools.count)


def free_port():
    with socket.socket() as s:
        s.bind(("0.0.0.0", 0))
        return s.getsockname()[1]


def make_key(path, kind="ed25519", passphrase="", comment=COMMENT):
    """A key pair that no other caller in this process has; returns the public half as one line."""
    path = Path(path)
    if passphrase or comment != COMMENT:
        _generate(path, kind, passphrase, comment)
    else:
        _take(path, kind)
    return path.with_name(path.name + ".pub").read_text().strip()


def _generate(path, kind, passphrase, comment):
    size = ["-b", "2048"] if kind == "rsa" else []
    argv = ["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-a", "1", "-C", comment, "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _take(path, kind):
    """From the build's stock, which all test files share and each goes through from its beginning: making thousands of keys took a tenth
    of all the tests' time."""
    stock = KEYS / ("%s-%d" % (kind, next(_next_in_stock[kind])))
    if not stock.exists():
        KEYS.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=KEYS))
        _generate(made / "key", kind, "", COMMENT)
        try:
            made.rename(stock)
        except OSError: # another test file was faster
            shutil.rmtree(made)
    shutil.copy(stock / "key", path)
    shutil.copy(stock / "key.pub", path.with_name(path.name + ".pub"))


def can_have_account():
    if os.geteuid() != 0:
        return False
    done = subprocess.run(["unshare", "--mount", "mount", "--bind", "/etc/passwd", "/etc/passwd"], stderr=subprocess.DEVNULL)
    return done.returncode == 0


def free_uid():
    """From a range that nothing hands out; of its own for each run, as ACCOUNT."""
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return next(uid for uid in (60600 + (os.getpid() + n) % 400 for n in range(400)) if uid not in taken)


class Sshd:
    def __init__(self, root, extra="", environment=None, shell="/bin/sh", prepare=""):
        """Makes all files under `root` (a new directory that every user may enter). `extra`: more lines for sshd_config, which win
        over those here. `environment`: variables for every session. With an account of its own only: `shell`, its login shell; `prepare`, a
        shell script that runs in the mount namespace before sshd does ($HOME and $USER are the account's)."""
        self.root, self.extra, self.environment = Path(root), extra, dict(environment or {})
        self.shell, self.prepare = shell, prepare
        self.home, self.process, self.port = self.root / "home", None, None
        self.log_path, self.config_path, self.keys_path = (self.root / name for name in ("log", "sshd_config", "authorized_keys"))
        self.dedicated = can_have_account()
        self.root.mkdir(mode=0o755, parents=True)
        self.keys_path.touch()
        self.host_keys = {kind: make_key(self.root / ("host_" + kind), kind) for kind in KEY_TYPES}
        self._make_account()

    def _make_account(self):
        self.home.mkdir(mode=0o700)
        if self.dedicated:
            self.user, self.uid, self.cwd = ACCOUNT, free_uid(), self.home
            os.chown(self.home, self.uid, self.uid)
            line = "%s:x:%d:%d:sshexec test:%s:%s\n" % (self.user, self.uid, self.uid, self.home, self.shell)
            (self.root / "passwd").write_text(Path("/etc/passwd").read_text() + line)
        else:
            entry = pwd.getpwuid(os.geteuid())
            self.user, self.uid, self.cwd = entry.pw_name, entry.pw_uid, Path(entry.pw_dir)
            (self.root / "tmp").mkdir(mode=0o700)
            self.environment.update(HOME=str(self.home), TMPDIR=str(self.root / "tmp"))

    def _configuration(self):
        variables = " ".join('%s="%s"' % item for item in self.environment.items())
        host_keys = ["HostKey %s/host_%s" % (self.root, kind) for kind in KEY_TYPES]
        lines = [self.extra, "Port %d" % self.port, "ListenAddress 0.0.0.0", *host_keys, "AuthorizedKeysFile %s" % self.keys_path,
                 "PidFile %s/pid" % self.root, "LogLevel DEBUG", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin yes",
                 "AcceptEnv LANG LC_*", "Subsystem sftp internal-sftp", "SetEnv " + variables if variables else ""]
        if "MaxStartups" not in self.extra: # of this one, sshd takes the last
            lines.append("MaxStartups 100:30:200")
        return "\n".join(lines) + "\n"

    def authorize(self, public_key, options=""):
        """Lets a key in; `options` as in authorized_keys, such as 'restrict,command="..."'."""
        with self.keys_path.open("a") as keys:
            keys.write("%s %s\n" % (options, public_key) if options else public_key + "\n")

    def known_hosts(self, hosts=None, port=None):
        """Lines for known_hosts: each host with each key."""
        port, keys = port or self.port, self.host_keys.values()
        return "".join("[%s]:%d %s\n" % (host, port, key) for host in hosts or HOSTS for key in keys)

    def start(self):
        if os.geteuid() == 0:
            PRIVSEP.mkdir(mode=0o755, exist_ok=True)
        for _ in range(5): # another process can take the port in between
            self.port = free_port()
            self.config_path.write_text(self._configuration())
            self._launch()
            processes.wait_until(lambda: self.process.poll() is not None or self._answers(), 10)
            if self.process.poll() is None:
                processes.expect(self.process.pid)
                return self
            self.stop()
        raise RuntimeError("sshd does not start:\n" + self.log())

    def _launch(self):
        program = shutil.which("sshd", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
        if not program:
            raise RuntimeError("no sshd here (tools/setup test installs it)")
        argv = [program, "-D", "-f", self.config_path, "-E", self.log_path]
        if self.dedicated: # unshare and sh become sshd: the pid stays
            script = 'mount --bind "$0" /etc/passwd || exit; HOME=%s; USER=%s; %s\nexec "$@"' % (self.home, self.user, self.prepare)
            argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, self.root / "passwd", *argv]
        self.process = processes.start(argv, stdin=subprocess.DEVNULL, start_new_session=True)

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                return s.recv(4) == b"SSH-"
        except OSError:
            return False

    def stop(self):
        """Ends the listener and the sessions it has open."""
        if not self.process:
            return
        if self.dedicated:
            for place in self.shared_places():
                shutil.rmtree(place, ignore_errors=True)
        sessions = processes.tree(self.process.pid)
        for pid in [self.process.pid] + [p.pid for p in sessions]:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        processes.unexpect(self.process.pid)
        self.process = None

    def shared_places(self):
        """Where in shared directories an agent is kept if the home doesn't take it."""
        return [Path(place) / ("sshexec-" + self.user) for place in ("/dev/shm", "/tmp")]

    def wipe_home(self):
        """The account's home as on the first day: empty, its own, mode 0700; and nothing of its elsewhere."""
        for place in self.shared_places():
            shutil.rmtree(place, ignore_errors=True)
        for child in self.home.iterdir():
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
        self.home.chmod(0o700)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def logins(self):
        """How many sessions have authenticated so far."""
        return self.log().count("Accepted publickey")
