"""A host on this machine whose sessions live in a small tree of its own: busybox, and whatever libc it is to have. The sshd is this machine's."""
import contextlib
import shutil
import subprocess

from sshd import ACCOUNT, Sshd

APPLETS = ("sh", "uname", "id", "head", "dd", "cat", "tr", "mkdir", "rm", "rmdir", "mv", "chmod", "find", "gzip", "sha256sum", "test", "sleep", "ls", "kill", "ps", "stty")


def busybox(place, package):
    """Debian's static busybox, unpacked below a directory: installed it would replace this machine's own."""
    subprocess.run(["apt-get", "-qq", "download", package], cwd=place, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", next(place.glob("busybox-static_*.deb")), place / "package"], check=True)
    return place / "package" / "bin" / "busybox"


class Node(Sshd):
    BUSYBOX = "busybox-static"

    def __init__(self, root, **how):
        super().__init__(root, "ChrootDirectory /mnt", **how) # sshd takes nothing below /tmp

    def install_libc(self):
        """Puts it into the tree, self.node."""
        raise NotImplementedError

    def _make_account(self):
        self.node = self.root / "node"
        for name in ("bin", "lib", "etc", "home", "proc", "dev", "tmp", "run"):
            (self.node / name).mkdir(parents=True)
        (self.node / "tmp").chmod(0o1777)
        shutil.copy(busybox(self.root, self.BUSYBOX), self.node / "bin" / "busybox")
        for name in APPLETS:
            (self.node / "bin" / name).symlink_to("busybox")
        self.install_libc()
        self.home = self.node / "home" / ACCOUNT
        super()._make_account()
        passwd = (self.root / "passwd").read_text().replace(str(self.home), "/home/" + ACCOUNT)
        (self.root / "passwd").write_text(passwd)
        (self.node / "etc" / "passwd").write_text(passwd.splitlines()[-1] + "\n")
        self.environment.update(PATH="/bin")

    def start_inside(self, argv, **how):
        """Starts a program as root where it may mount what nobody else sees."""
        raise NotImplementedError

    def _launch(self):
        script = 'mount --bind "$0" /etc/passwd && mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev" && mount --rbind "$1" /mnt || exit; shift; exec "$@"'
        argv = [shutil.which("sshd", path="/usr/sbin"), "-D", "-f", self.config_path, "-E", self.log_path]
        self.process = self.start_inside(["sh", "-c", script, self.root / "passwd", self.node, *argv], stdin=subprocess.DEVNULL, start_new_session=True)


@contextlib.contextmanager
def reached(client, sshd, node, name):
    """A client for which `node1` is this machine, by sshd, and `name` the node; both have empty homes."""
    for host in (sshd, node):
        host.wipe_home()
        host.authorize(client.public_key)
    client.write_config(sshd, "Host %s\n  HostName 127.0.0.1\n  Port %d\n  User %s\n" % (name, node.port, node.user))
    client.known_hosts.write_text(sshd.known_hosts() + node.known_hosts())
    yield client
    node.keys_path.write_text("")
