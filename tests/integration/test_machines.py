"""Which agent a host is sent, as far as it can be seen without a cross compiler: a host whose `uname -m` says riscv64, and an agent that only claims to be for it. (test_arm64.py
has a real one.)"""
import gzip
import hashlib
import os
import shutil
import subprocess

import pytest

from client import BUILD, SLOW

AGENT = BUILD / "bin" / "sshexec-agent"


class Tree:
    """A build tree of its own, with an agent for riscv64 beside the own one: the same, but for its ELF header."""

    def __init__(self, root, client):
        self.client, self.folder = client, root / "bin" / "agents" / "riscv64"
        shutil.copytree(AGENT.parent, root / "bin", ignore=shutil.ignore_patterns("agents"))
        (root / "plugins").mkdir()
        shutil.copy(BUILD / "plugins" / "hello.so", root / "plugins")
        self.folder.mkdir(parents=True)
        image = bytearray(AGENT.read_bytes())
        image[18:20] = (243).to_bytes(2, "little")
        self.program, self.size, self.digest = root / "bin" / "sshexec", len(image), hashlib.sha256(image).hexdigest()
        (self.folder / "sshexec-agent").write_bytes(image)
        (self.folder / "sshexec-agent.gz").write_bytes(gzip.compress(bytes(image), 1))
        self.version = subprocess.run([AGENT, "--version"], capture_output=True, text=True).stdout.split()[1]
        self.identify()

    def identify(self, version=None, digest=None, size=None):
        packed = (self.folder / "sshexec-agent.gz").stat().st_size
        (self.folder / "sshexec-agent.id").write_text("%s %s %d %d\n" % (version or self.version, digest or self.digest, size or self.size, packed))

    def run(self):
        argv = [self.program, *self.client.argv(["run", "hello", "node1", "name=Ada"])[1:]]
        done = subprocess.run(argv, env=self.client.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30 * SLOW)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def tree(scratch, client):
    return Tree(scratch / "tree", client)


@pytest.fixture
def riscv(sshd_with, scratch, client):
    (scratch / "bin").mkdir()
    (scratch / "bin" / "uname").write_text("#!/bin/sh\ntest $1 = -m && echo riscv64 || exec /usr/bin/uname $@\n")
    (scratch / "bin" / "uname").chmod(0o755)
    server = sshd_with('SetEnv PATH="%s:/usr/bin:/bin"' % (scratch / "bin"))
    client.connect_to(server)
    return server


def test_own_machine(tree, client, clean_sshd):
    code, said = tree.run()
    assert code == 0 and "hello, Ada" in said, said
    stored = [path.name for path in (clean_sshd.home / ".cache/sshexec/agents").iterdir()]
    assert stored == [hashlib.sha256(AGENT.read_bytes()).hexdigest()]
    tree.identify(version="9.9") # nothing that this host needs
    assert tree.run()[0] == 0


def test_other_machine(tree, riscv):
    code, said = tree.run()
    assert code == 255 and "so it does not run in" in said, said # the right one arrived, whole: the lie comes out where it is started


@pytest.mark.parametrize("lie, why", [({"version": "9.9"}, "is of sshexec 9.9, this is"), ({"size": 1}, "is not the one that"), ({"digest": "0" * 63 + ";"}, "is not what was written")])
def test_an_agent_that_can_not_be_used_says_why(tree, riscv, lie, why):
    tree.identify(**lie)
    code, said = tree.run()
    assert code == 255 and "can't send the agent for riscv64: " in said and why in said, said
    assert len(said.splitlines()) == 1 and not list(riscv.home.glob(".cache/sshexec/agents/[0-9a-f]*")), said


def test_no_agent_for_it(tree, riscv):
    shutil.rmtree(tree.folder)
    code, said = tree.run()
    assert code == 255 and 'no agent for riscv64 here, only for %s ("make agent-riscv64" builds one;' % os.uname().machine in said, said
