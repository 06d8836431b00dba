"""Two architectures: this machine, and a node of aarch64 (arm64.py). Which agent and which plugin a host gets, and that the agent does there what it does here."""
import json
import os
import shutil
import subprocess

import pytest

import processes
from arm64 import AGENT, PLUGINS, Arm64, missing
from client import BUILD

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def arm_sshd(session_dir):
    if why := missing():
        pytest.skip(why)
    node = Arm64(session_dir / "arm64").start()
    yield node
    node.stop()


@pytest.fixture
def both(arm_sshd, sshd, client):
    """A client for which `node1` is this machine and `arm1` the other one, both with empty homes."""
    for host in (sshd, arm_sshd):
        host.wipe_home()
        host.authorize(client.public_key)
    arm = "Host arm1\n  HostName 127.0.0.1\n  Port %d\n  User %s\n" % (arm_sshd.port, arm_sshd.user)
    client.write_config(sshd, arm)
    client.known_hosts.write_text(sshd.known_hosts() + arm_sshd.known_hosts())
    yield client
    arm_sshd.keys_path.write_text("")


@pytest.fixture
def arm(both):
    return both


def objects(host):
    return {path.name for path in (host.home / ".cache/sshexec/objects").glob("*")}


def agents(host):
    return {path.name for path in (host.home / ".cache/sshexec/agents").glob("*")}


def sha256(path):
    return subprocess.run(["sha256sum", path], capture_output=True, check=True).stdout.decode().split()[0]


def test_each_host_gets_the_agent_and_the_plugin_for_its_machine(both, sshd, arm_sshd):
    done = both.run(["run", "-w", "node1,arm1", "ping", "--json"], timeout=60)
    assert done.code == 0, done
    lines = [json.loads(line) for line in done.text.splitlines()]
    arches = {line["host"]: line["value"]["arch"] for line in lines if line["event"] == "result"}
    assert arches == {"node1": os.uname().machine, "arm1": "aarch64"}, done
    assert agents(arm_sshd) == {sha256(AGENT)} and agents(sshd) == {sha256(BUILD / "bin" / "sshexec-agent")}
    assert objects(arm_sshd) == {sha256(PLUGINS / "ping.so")} and objects(sshd) == {sha256(BUILD / "plugins" / "ping.so")}
    again = both.run(["run", "ping", "arm1"], timeout=60)
    assert again.code == 0 and '"arch":"aarch64"' in again.text, again


def test_ephemeral_leaves_nothing(arm, arm_sshd):
    done = arm.run(["run", "--ephemeral", "hello", "arm1", "name=Ada"], timeout=60)
    assert done.code == 0 and "hello, Ada" in done.text, done
    assert list(arm_sshd.home.iterdir()) == []


def test_standard_workers(arm):
    assert json.loads(arm.run(["run", "facts", "arm1"], timeout=60).text)["arch"] == "aarch64"
    done = arm.run(["run", "exec", "arm1", "--", "sh", "-c", "uname -m; echo no >&2; exit 7"], timeout=60)
    assert done.code == 7 and done.text == "aarch64\n" and "no" in done.error, done
    done = arm.run(["run", "exec", "arm1", "--", "cat"], input=b"x" * 300000, timeout=60)
    assert done.code == 0 and done.out == b"x" * 300000, done


def test_put_and_get(arm, arm_sshd, scratch):
    there = scratch / "there"
    (scratch / "file").write_bytes(os.urandom(3 << 20))
    done = arm.run(["put", scratch / "file", "arm1:file"], timeout=120)
    assert done.code == 0 and (arm_sshd.home / "file").read_bytes() == (scratch / "file").read_bytes(), done
    done = arm.run(["get", "arm1:file", there], timeout=120)
    assert done.code == 0 and there.read_bytes() == (scratch / "file").read_bytes(), done


def test_a_worker_ends_in_time_and_is_killed(arm):
    done = arm.run(["run", "--timeout", "1s", "exec", "arm1", "--", "sleep", "60"], timeout=60)
    assert done.code == 124, done
    child = arm.popen(["run", "exec", "arm1", "--", "sh", "-c", "echo up; exec sleep 60"])
    assert child.stdout.readline() == b"up\n"
    child.terminate()
    child.communicate(timeout=30)
    assert child.returncode != 0 # and conftest's clean_test sees that nothing is left


def test_wrong_file_is_told(arm):
    done = arm.run(["run", BUILD / "plugins" / "hello.so", "arm1"], timeout=60)
    assert done.code == 126 and "is for %s, this host is aarch64" % os.uname().machine in done.error, done


def test_no_agent_for_the_machine(arm, arm_sshd, scratch):
    """A sender without an agent for it says what it has."""
    shutil.copytree(BUILD / "bin", scratch / "bin", ignore=shutil.ignore_patterns("agents"))
    shutil.copytree(BUILD / "plugins", scratch / "plugins")
    argv = [scratch / "bin" / "sshexec", *arm.argv(["run", "hello", "arm1"])[1:]]
    done = subprocess.run(argv, env=arm.env, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 255 and b"no agent for aarch64 here, only for %s" % os.uname().machine.encode() in done.stderr, done
    assert processes.wait_until(lambda: not list(arm_sshd.home.iterdir()), 10), list(arm_sshd.home.rglob("*"))


def make_bundle(client, path, *plugins):
    done = client.run(["bundle", "create", "-o", path, *plugins])
    assert done.code == 0, done


def test_one_bundle_serves_both(both, sshd, arm_sshd, scratch):
    bundle = scratch / "web-1.0.ssx"
    make_bundle(both, bundle, BUILD / "plugins" / "hello.so", PLUGINS / "hello.so")
    assert "variant aarch64 glibc-2.17" in subprocess.run(["tar", "-xOf", bundle, "manifest"], capture_output=True, check=True).stdout.decode()
    assert both.run(["bundle", "verify", bundle]).code == 0
    done = both.run(["deploy", bundle, "node1", "arm1"], timeout=60)
    assert done.code == 0, done
    assert objects(arm_sshd) == {sha256(PLUGINS / "hello.so")} and objects(sshd) == {sha256(BUILD / "plugins" / "hello.so")}
    assert both.run(["run", "hello", "arm1", "name=Ada"], timeout=60).text.startswith("hello, Ada")
    again = both.run(["deploy", bundle, "node1", "arm1"], timeout=60)
    assert again.code == 0 and again.text.count("nothing was sent or changed") == 2, again


def test_missing_variant(both, sshd, arm_sshd, scratch):
    bundle = scratch / "web-1.0.ssx"
    make_bundle(both, bundle, BUILD / "plugins" / "hello.so")
    done = both.run(["deploy", bundle, "node1", "arm1"], timeout=60)
    assert done.code != 0 and "no aarch64 variant of hello in web 1.0" in done.error, done
    for host in (sshd, arm_sshd):
        assert not (host.home / ".cache/sshexec/current").exists(), "both nodes are prepared before the first is switched"
