"""Two architectures: this machine, and a node of aarch64 (arm64.py). Which agent and which plugin a host gets, and that the agent does there what it does here."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import processes
from arm64 import AGENT, PLUGINS, Arm64, missing
from agents import Session
from client import BUILD
from node import reached
from test_new import ENVIRONMENT

TREE = Path(__file__).resolve().parents[2]
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
    with reached(client, sshd, arm_sshd, "arm1") as it:
        yield it


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
    assert again.code == 0 and again.text.startswith("arm1,node1: had web 1.0 already, nothing was sent or changed"), again


def test_missing_variant(both, sshd, arm_sshd, scratch):
    bundle = scratch / "web-1.0.ssx"
    make_bundle(both, bundle, BUILD / "plugins" / "hello.so")
    done = both.run(["deploy", bundle, "node1", "arm1"], timeout=60)
    assert done.code != 0 and "no aarch64 variant of hello in web 1.0" in done.error, done
    for host in (sshd, arm_sshd):
        assert not (host.home / ".cache/sshexec/current").exists(), "both nodes are prepared before the first is switched"


# --- what a user does with a host, there as here ---

def compiled(source, out, *flags):
    """A plugin of aarch64, from C."""
    out.parent.mkdir(exist_ok=True, parents=True)
    done = subprocess.run(["aarch64-linux-gnu-gcc", "-std=c17", "-D_GNU_SOURCE", "-shared", "-fPIC", "-I", TREE / "sdk/include", *flags, source, "-o", out], capture_output=True, text=True)
    assert done.returncode == 0, done
    return out


def test_doctor_says_what_the_host_is(arm):
    done = arm.run(["doctor", "arm1"], timeout=60)
    assert done.code == 0 and "aarch64" in done.text and "glibc 2." in done.text, done


def test_types_are_described_from_there(arm, arm_sshd):
    arm.run(["deploy", bundle_of(arm, "web-1.0", PLUGINS / "hello.so"), "arm1"], timeout=60)
    here = arm.run(["describe", "hello", "--json"])
    there = arm.run(["describe", "hello", "arm1", "--json"], timeout=60)
    assert here.code == there.code == 0, (here, there)
    fields = [json.loads(done.text.splitlines()[0])["fields"] for done in (here, there)]
    assert fields[0] == fields[1] and fields[0], there
    listed = arm.run(["list", "arm1"], timeout=60)
    assert listed.code == 0 and re.search(r"^hello +1\.0 ", listed.text, re.M), listed


def bundle_of(client, name, *plugins, serial=1):
    path = client.home / (name + ".ssx")
    done = client.run(["bundle", "create", "-o", path, "--serial", str(serial), *plugins])
    assert done.code == 0, done
    return path


def test_generations_and_the_way_back(arm, arm_sshd, scratch):
    newer = scratch / "hello.so"
    newer.write_bytes((PLUGINS / "hello.so").read_bytes() + b"newer")
    def ran():
        done = arm.run(["run", "hello", "arm1", "-v"], timeout=60)
        assert done.code == 0 and done.text.startswith("hello, world"), done
        return [name for name in (sha256(PLUGINS / "hello.so"), sha256(newer)) if name[:12] in done.error]
    for serial, plugin in enumerate((PLUGINS / "hello.so", newer), 1):
        assert arm.run(["deploy", bundle_of(arm, "web-1.%d" % serial, plugin, serial=serial), "arm1"], timeout=60).code == 0
        assert ran() == [sha256(plugin)]
    shown = arm.run(["generations", "arm1"], timeout=60)
    assert re.search(r"^\* +2 .* web 1\.2 \(serial 2\)$", shown.text, re.M) and re.search(r"^  +1 .* web 1\.1 \(serial 1\)$", shown.text, re.M), shown
    back = arm.run(["rollback", "arm1"], timeout=60)
    assert back.code == 0 and "generation 1" in back.text and ran() == [sha256(PLUGINS / "hello.so")], back


def test_the_store_is_listed_verified_and_pruned(arm, arm_sshd):
    for name in ("hello", "ping"):
        assert arm.run(["run", name, "arm1"], timeout=60).code == 0
    listed = arm.run(["store", "list", "arm1"], timeout=60)
    assert listed.code == 0 and "hello" in listed.text and "ping" in listed.text, listed
    assert arm.run(["store", "verify", "arm1"], timeout=60).code == 0
    (arm_sshd.home / ".cache/sshexec/objects" / sha256(PLUGINS / "ping.so")).chmod(0o600)
    with (arm_sshd.home / ".cache/sshexec/objects" / sha256(PLUGINS / "ping.so")).open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"x")
    done = arm.run(["store", "verify", "arm1"], timeout=60)
    assert done.code == 1 and "damaged" in done.text, done
    done = arm.run(["store", "gc", "--older-than", "0s", "arm1"], timeout=60)
    assert done.code == 0 and objects(arm_sshd) == set(), done


@pytest.mark.parametrize("isolation", ["fork", "reuse"])
def test_a_crash_costs_its_own_call(arm, scratch, isolation):
    name, field = ("segfault", []) if isolation == "fork" else ("reuse", ["act=crash"])
    plugin = compiled(TREE / "tests/zoo" / (name + ".c"), scratch / (name + ".so"))
    done = arm.run(["run", plugin, "arm1", *field], timeout=60)
    assert done.code == 128 + 11 and "SEGV" in done.error, done
    assert arm.run(["run", "hello", "arm1", "name=Ada"], timeout=60).text.startswith("hello, Ada")


def test_one_process_serves_the_calls_of_a_reusable_type_and_others_have_their_own(arm, arm_sshd, scratch):
    """In one session, as a program has it: ssh's pipe to an agent that the sender installed there."""
    arm.run(["run", "hello", "arm1"], timeout=60)
    for name in ("reuse", "sleep"):
        compiled(TREE / "tests/zoo" / (name + ".c"), arm_sshd.home / "zoo" / (name + ".so"))
    for path in (arm_sshd.home / "zoo", *(arm_sshd.home / "zoo").iterdir()):
        os.chown(path, arm_sshd.uid, arm_sshd.uid)
    there = ".cache/sshexec/agents/" + sha256(AGENT)
    session = Session(arm.env, scratch, shutil.which("ssh"), "-F", arm.config, "arm1", there, "--plugin-path", "/home/%s/zoo" % arm_sshd.user)
    try:
        session.tell("call 1 reuse {}", 'call 2 sleep {"ms":1}')
        assert [session.end(n)["outcome"] for n in (1, 2)] == ["ok", "ok"]
        session.tell("call 3 reuse {}", 'call 4 reuse {"act":"crash"}')
        first, second = (session.end(n)["text"].split() for n in (1, 3))
        assert first[0] == second[0] and [first[1], second[1]] == ["1", "2"]
        assert session.end(4)["outcome"] == "crashed"
        session.tell("call 5 reuse {}", 'call 6 sleep {"ms":600000}')
        assert session.end(5)["text"].split()[0] != first[0], "the process that crashed is not used again"
        session.tell("cancel 6")
        assert session.end(6)["outcome"] == "cancelled"
    finally:
        session.close()


def test_a_clean_tree_builds_what_is_for_the_other_machine(scratch):
    """The README's two commands."""
    if not shutil.which("aarch64-linux-gnu-gcc"):
        pytest.skip("there is no aarch64-linux-gnu-gcc (tools/setup arm64)")
    tree = scratch / "sshexec"
    shutil.copytree(TREE, tree, ignore=lambda where, names: [n for n in names if n == ".git" or where == str(TREE) and n.startswith("build")])
    done = subprocess.run("tools/setup arm64 && make agent-aarch64", shell=True, cwd=tree, env=dict(ENVIRONMENT, BUILD="build"), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done
    agent = tree / "build/bin/agents/aarch64/sshexec-agent"
    assert sha256(agent) in agent.with_suffix(".id").read_text().split()
    assert {path.name for path in (tree / "build/plugins/aarch64").iterdir()} == {path.name for path in (BUILD / "plugins").glob("*.so")}
