"""A node that has musl and no other libc, and plugins for it, built by Debian's musl-gcc."""
import os
import shutil
import subprocess
from pathlib import Path

import processes
from node import Node

TREE = Path(__file__).resolve().parents[2]
LOADER = Path("/lib/ld-musl-%s.so.1" % os.uname().machine)


def missing():
    """What keeps this machine from building for musl; empty: nothing."""
    return "" if shutil.which("musl-gcc") and LOADER.exists() else "there is no musl-gcc (Debian: musl-tools)"


def compiled(source, out):
    """A plugin of the tree, for musl."""
    out.parent.mkdir(exist_ok=True, parents=True)
    includes = ["-I" + str(TREE / "sdk/include"), "-I" + str(TREE / "plugins")]
    done = subprocess.run(["musl-gcc", "-std=c17", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", *includes, TREE / source, "-o", out], capture_output=True, text=True)
    assert done.returncode == 0, done
    return out


class Musl(Node):
    def install_libc(self):
        shutil.copy(LOADER.resolve(), self.node / "lib" / LOADER.name)

    def start_inside(self, argv, **how):
        return processes.start(["unshare", "--mount", "--propagation", "private", *argv], **how)
