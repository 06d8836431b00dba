"""Bundles for tests and the bench, hosts with stores of their own, and a race of both against a plain copy."""
import hashlib
import os
import shutil
import subprocess
import time

from client import BUILD

PLUGINS = BUILD / "plugins"


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Shop:
    """Where bundles are made."""

    def __init__(self, client):
        self.client, self.dir = client, client.home / "work"
        self.dir.mkdir()

    def plugin(self, name="hello", extra=b"", source="hello"):
        """One of the build's, perhaps under another name of the same length, with bytes behind it that make it another object."""
        path = self.dir / digest(name.encode() + extra)[:8] / (name + ".so")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((PLUGINS / (source + ".so")).read_bytes().replace(source.encode(), name.encode()) + extra)
        return path

    def bundle(self, name, *plugins, serial=1, sign=None):
        path = self.dir / (name + ".ssx")
        path.unlink(missing_ok=True)
        words = [["create", "-o", path, "--serial", str(serial), *plugins]] + ([["sign", "-k", sign, path]] if sign else [])
        for each in words:
            done = self.client.run(["bundle", *each])
            assert done.code == 0, done
        return path


class Farm:
    """Hosts 127.0.0.1 and up, all of them one sshd, each with a store of its own, or with a home (variable: HOME).
    make: of an sshd, from lines of its configuration."""

    def __init__(self, client, make, directory, count, variable="XDG_CACHE_HOME"):
        self.client, self.names = client, ["127.0.0.%d" % (n + 1) for n in range(count)]
        self.set = "127.0.0.[1-%d]" % count
        self.caches = directory / "caches"
        self.server = make("".join("Match LocalAddress %s\n  SetEnv %s=%s/%s\n" % (n, variable, self.caches, n) for n in self.names) + "Match all\n")
        self.server.authorize(client.public_key)
        client.known_hosts.write_text(self.server.known_hosts(hosts=self.names))
        client.write_config(self.server)
        self.own(self.caches)
        for name in self.names:
            self.own(self.caches / name)

    def own(self, path):
        path.mkdir(exist_ok=True, parents=True)
        path.chmod(0o755)
        if self.server.dedicated:
            os.chown(path, self.server.uid, self.server.uid)


def race(farm, shop, directory):
    """A bundle of 50 MiB and 20 plugins on all of a farm, against parallel-scp copying its file there with our key exchange. Returns seconds: of deploying it the first time, again, with one plugin
    changed; and of the two copies, one before and one after."""
    names = ["hel%c%c" % (a, b) for a in "ab" for b in "abcdefghij"]
    plugins = [shop.plugin(name, os.urandom(5 << 19)) for name in names]
    first = shop.bundle("web-1.0", *plugins)
    second = shop.bundle("web-1.1", *plugins[:-1], shop.plugin(names[-1], os.urandom(5 << 19)), serial=2)
    (directory / "hosts").write_text("\n".join(farm.names) + "\n")

    def seconds(words):
        began = time.monotonic()
        done = subprocess.run(words, env=farm.client.env, capture_output=True, cwd=farm.client.home)
        assert done.returncode == 0, done
        return time.monotonic() - began

    def copy():
        options = "-F %s -oKexAlgorithms=curve25519-sha256" % farm.client.config
        return seconds(["parallel-scp", "-p", str(len(farm.names)), "-t", "0", "-h", directory / "hosts", "-x", options, first, "/dev/null"])

    def deploy(bundle):
        return seconds(farm.client.argv(["deploy", bundle, "-w", farm.set]))
    before = copy()
    taken = deploy(first), deploy(first), deploy(second)
    after = copy()
    shutil.rmtree(farm.caches) # 1.6 GB of 32 hosts
    return (*taken, before, after)
