"""A node of another architecture on this machine: an sshd whose sessions live in a small aarch64 tree (busybox and glibc of Debian's arm64), run by qemu-user through
binfmt_misc.

Everything is in a user namespace of its own, with its own binfmt_misc (Linux 6.7 and later): nothing on this machine learns to run aarch64 programs. What qemu can't do is
qemu's: its processes show themselves in /proc as qemu's, and a program that can't be started is told only by exit code 127.
"""
import os
import shutil
import subprocess
from pathlib import Path

import processes
from client import BUILD
from node import Node

QEMU = Path("/usr/bin/qemu-aarch64-static")
LIBRARIES = Path("/lib/aarch64-linux-gnu")
AGENT = BUILD / "bin" / "agents" / "aarch64" / "sshexec-agent"
PLUGINS = BUILD / "plugins" / "aarch64"
# As Debian's qemu-user-static has it. F: the interpreter is opened now, so it needn't be in the node's tree; P: argv[0] is kept, by which busybox knows what it is.
FORMAT = (r":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
          r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:%s:OPF" % QEMU)
ENTER = r"""
until grep -q . /proc/self/uid_map; do sleep 0.01; done
set -e
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
printf %s "$FORMAT" >/proc/sys/fs/binfmt_misc/register
exec "$@"
"""


def start_inside(argv, **how):
    """Starts a program where aarch64 programs run, as root of a user namespace in which every user of this machine is itself."""
    script = ["unshare", "--user", "--keep-caps", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]
    child = processes.start([*script, *argv], env=dict(how.pop("env", os.environ), FORMAT=FORMAT), **how)
    outside = os.readlink("/proc/self/ns/user")
    assert processes.wait_until(lambda: os.readlink("/proc/%d/ns/user" % child.pid) != outside, 10), "no user namespace"
    for kind in ("uid", "gid"):
        Path("/proc/%d/%s_map" % (child.pid, kind)).write_text("0 0 65536")
    return child


def missing():
    """What keeps this machine from having such a node; empty: nothing."""
    for path in (QEMU, LIBRARIES / "libc.so.6", AGENT):
        if not path.exists():
            return "there is no %s" % path
    if os.geteuid() != 0:
        return "it takes root to make it"
    try:
        child = start_inside([AGENT, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except AssertionError as why:
        return str(why)
    out = child.communicate()[0]
    return "" if out.startswith(b"sshexec-agent ") else "binfmt_misc in a user namespace does not work here: %s" % out.decode()


class Arm64(Node):
    BUSYBOX = "busybox-static:arm64"

    def install_libc(self):
        shutil.copytree(LIBRARIES, self.node / "lib" / "aarch64-linux-gnu", symlinks=True, ignore=lambda _, names: [n for n in names if ".so" not in n])
        (self.node / "lib" / "ld-linux-aarch64.so.1").symlink_to("aarch64-linux-gnu/ld-linux-aarch64.so.1")

    def start_inside(self, argv, **how):
        return start_inside(argv, **how)
