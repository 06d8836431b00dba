"""The Debian packages: built, judged by lintian, installed, run and purged; on a copy of this system that nothing outside sees (an overlay)."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from client import SANITIZED
from test_arm64 import arm_sshd, both, sha256 # two fixtures
from test_new import ENVIRONMENT

TREE = Path(__file__).resolve().parents[2]
PACKAGES = ["sshexec", "sshexec-agent", "sshexec-agents", "libsshexec0", "libsshexec-dev"]
pytestmark = [pytest.mark.long, pytest.mark.skipif(SANITIZED, reason="packages are built in their own way")]


@pytest.fixture(scope="module")
def debs(session_dir):
    for tool in ("dpkg-buildpackage", "dh", "lintian"):
        if not shutil.which(tool):
            pytest.skip("%s is not here (tools/setup deb)" % tool)
    return build(session_dir / "debs", "deb")


@pytest.fixture(scope="module")
def foreign(arm_sshd, session_dir):
    """What a sender has for hosts of arm64."""
    return build(session_dir / "debs", "deb-arm64", "arm64")


def build(where, folder, *architecture):
    done = subprocess.run([TREE / "packaging/deb", where, *architecture], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    files = {p.name.split("_")[0]: p for p in (where / folder).glob("*.deb")}
    files["said"] = done.stdout
    return files


def field(deb, name):
    return subprocess.run(["dpkg-deb", "-f", deb, name], capture_output=True, text=True, check=True).stdout.strip()


def test_lintian_has_nothing_to_say(debs):
    assert not re.findall(r"^[EW]: .*", debs["said"], re.M)


def test_versions_are_the_trees(debs):
    version = re.search(r"VERSION := (.*)", (TREE / "Makefile").read_text())[1]
    assert {field(debs[name], "Version") for name in PACKAGES} == {version}


def test_no_file_is_in_two_packages(debs):
    owner = {}
    for name in PACKAGES:
        for line in subprocess.run(["dpkg-deb", "-c", debs[name]], capture_output=True, text=True, check=True).stdout.splitlines():
            path = line.split()[5]
            assert path.endswith("/") or owner.setdefault(path, name) == name, path


class System:
    """This system as it is, with a layer on it that takes all changes and goes with the test."""

    def __init__(self, where, env):
        self.where, self.env = where, env
        for part in ("upper", "work", "system"):
            (where / part).mkdir()

    def run(self, script, **how):
        """Runs it by sh -e as root of that system."""
        mounts = "mount -t overlay overlay -o lowerdir=/,upperdir={0}/upper,workdir={0}/work {0}/system && mount -t proc proc {0}/system/proc && mount --bind /dev {0}/system/dev"
        inner = "set -e; %s || exit 99; exec chroot %s/system sh -ec '%s'" % (mounts.format(self.where), self.where, script.replace("'", "'\\''"))
        done = subprocess.run(["unshare", "--mount", "sh", "-c", inner], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, **how)
        if done.returncode == 99 or done.stderr.startswith("unshare"):
            pytest.skip("no overlay mounts here: %s" % done.stderr.strip())
        return done


@pytest.fixture
def system(scratch, client):
    if os.getuid() != 0:
        pytest.skip("needs root for a system of its own")
    if subprocess.run(["dpkg-query", "-W", "sshexec"], capture_output=True).returncode == 0:
        pytest.skip("sshexec is installed on this system")
    return System(scratch, dict(client.env, PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", DEBIAN_FRONTEND="noninteractive"))


def test_install_run_and_purge(debs, system, client, clean_sshd):
    files = " ".join(str(debs[name]) for name in PACKAGES)
    done = system.run("dpkg -i %s; dpkg --verify %s" % (files, " ".join(PACKAGES)))
    assert done.returncode == 0 and "??" not in done.stdout, done
    done = system.run("cd /root; sshexec run hello name=Ada; sshexec run -F %s hello node1 name=Eve; sshexec encode hello name=Bob | sshexec-agent --once" % client.config)
    assert done.returncode == 0 and all("hello, " + name in done.stdout for name in ("Ada", "Eve", "Bob")), done
    done = system.run("cd /root; sshexec new wordcount; cd wordcount; grep -qx \"SSHEXEC ?= \" Makefile; make test; sshexec test --in-process ./wordcount.so path=/etc/passwd")
    assert done.returncode == 0 and "all passed" in done.stdout, done
    done = system.run("cd /root; cp /usr/share/doc/libsshexec-dev/examples/*.[ch] .; gcc call_hello.c $(pkg-config --cflags --libs sshexec) -o call_hello; ./call_hello")
    assert done.returncode == 0 and "hello, Ada" in done.stdout, done
    done = system.run("man -w sshexec 1 sshexec-run 8 sshexec-agent 7 sshexec-worker 3 libsshexec; zsh -c 'echo $fpath' | grep -q vendor-completions")
    assert done.returncode == 0 and done.stdout.count(".gz") == 5, done
    done = system.run("dpkg --purge %s; ! ls -d /usr/lib/sshexec /usr/share/sshexec /usr/share/doc/*sshexec* /usr/include/sshexec; ! dpkg-query -W sshexec" % " ".join(PACKAGES))
    assert done.returncode == 0, done
    left = [p for p in (system.where / "upper").rglob("*sshexec*") if "root" not in p.relative_to(system.where / "upper").parts[:1]]
    assert not left, left


def test_a_sender_with_the_agents_of_arm64_reaches_both(debs, foreign, system, both, arm_sshd):
    assert not re.findall(r"^[EW]: .*", foreign["said"], re.M)
    native = " ".join(str(debs[name]) for name in ("sshexec", "sshexec-agent", "sshexec-agents"))
    call = "cd /root; sshexec run -F %s --json ping -w %%s" % both.config
    done = system.run("dpkg --add-architecture arm64; dpkg -i %s" % native)
    assert done.returncode == 0, done
    done = system.run(call % "arm1")
    assert done.returncode == 255 and "no agent for aarch64 here" in done.stdout and "sshexec-agents" in done.stdout, done
    done = system.run("dpkg -i %s; dpkg --verify sshexec-agents:arm64 sshexec-agents:$(dpkg --print-architecture); %s" % (foreign["sshexec-agents"], call % "node1,arm1"))
    assert done.returncode == 0 and "??" not in done.stdout and '"arch":"aarch64"' in done.stdout and '"arch":"%s"' % os.uname().machine in done.stdout, done
    agent = system.where / "upper/usr/lib/sshexec/agents/aarch64/sshexec-agent"
    assert [p.name for p in (arm_sshd.home / ".cache/sshexec/agents").iterdir()] == [sha256(agent)]
    done = system.run("dpkg --purge sshexec-agents:arm64; ls /usr/lib/sshexec/agents; %s" % (call % "node1"))
    assert done.returncode == 0 and "aarch64" not in done.stdout.splitlines(), done
