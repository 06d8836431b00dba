"""Two libcs: this machine's, and musl. Which variant of a type a host gets, that the agent runs workers on a host that has musl alone, and what is said where nothing fits."""
import os
import subprocess

import pytest

import musl
from client import BUILD, SANITIZED
from node import reached

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(musl.missing()), reason=musl.missing())]
HELLO = BUILD / "plugins" / "hello.so"


@pytest.fixture(scope="module")
def built(session_dir):
    """Plugins for musl."""
    sources = {"hello": "plugins/hello.c", "exec": "plugins/exec.c", "echo": "plugins/echo.c", "segfault": "tests/zoo/segfault.c", "reuse": "tests/zoo/reuse.c", "sleep": "tests/zoo/sleep.c"}
    return {name: musl.compiled(source, session_dir / "musl-plugins" / (name + ".so")) for name, source in sources.items()}


@pytest.fixture(scope="module")
def musl_sshd(session_dir):
    if os.geteuid() != 0:
        pytest.skip("it takes root to make a node of its own")
    if SANITIZED:
        pytest.skip("a sanitizer's runtime wants glibc")
    node = musl.Musl(session_dir / "musl").start()
    yield node
    node.stop()


@pytest.fixture
def both(musl_sshd, sshd, client):
    with reached(client, sshd, musl_sshd, "musl1") as it:
        yield it


def bundle_of(client, name, *plugins):
    path = client.home / (name + ".ssx")
    done = client.run(["bundle", "create", "-o", path, *plugins])
    assert done.code == 0, done
    return path


def objects(host):
    return {path.name for path in (host.home / ".cache/sshexec/objects").glob("*")}


def sha256(path):
    return subprocess.run(["sha256sum", path], capture_output=True, check=True).stdout.decode().split()[0]


def test_the_manifest_tells_them_apart(client, built):
    bundle = bundle_of(client, "web-1.0", HELLO, built["hello"])
    manifest = subprocess.run(["tar", "-xOf", bundle, "manifest"], capture_output=True, check=True).stdout.decode()
    machine = os.uname().machine
    assert "variant %s glibc-" % machine in manifest and "variant %s musl " % machine in manifest
    assert client.run(["bundle", "verify", bundle]).code == 0


def test_a_host_with_glibc_gets_the_variant_for_it(client, clean_sshd, built):
    client.connect_to(clean_sshd)
    assert client.run(["deploy", bundle_of(client, "web-1.0", HELLO, built["hello"]), "node1"]).code == 0
    assert objects(clean_sshd) == {sha256(HELLO)}
    assert client.run(["run", "hello", "node1", "name=Ada"]).text.startswith("hello, Ada")


def test_a_host_with_glibc_refuses_what_is_for_musl_alone(client, clean_sshd, built):
    client.connect_to(clean_sshd)
    done = client.run(["deploy", bundle_of(client, "web-1.0", built["hello"]), "node1"])
    assert done.code != 0 and "no %s variant of hello in web 1.0 for glibc 2." % os.uname().machine in done.error and "(the nearest needs musl)" in done.error, done
    assert objects(clean_sshd) == set()
    done = client.run(["run", built["hello"], "node1"])
    assert done.code == 126 and "hello.so is for musl, this host has glibc 2." in done.error, done


def test_each_gets_the_variant_for_its_libc(both, sshd, musl_sshd, built):
    done = both.run(["deploy", bundle_of(both, "web-1.0", HELLO, built["hello"]), "node1", "musl1"])
    assert done.code == 0, done
    assert objects(sshd) == {sha256(HELLO)} and objects(musl_sshd) == {sha256(built["hello"])}
    done = both.run(["run", "-w", "node1,musl1", "hello", "name=Ada"])
    assert done.code == 0 and done.text.count("hello, Ada\n") == 2, done


def test_workers_run_on_musl(both, built):
    said = both.run(["doctor", "musl1"])
    assert said.code == 0 and "musl" in said.text, said
    done = both.run(["run", built["exec"], "musl1", "--", "sh", "-c", "echo out; echo no >&2; exit 7"])
    assert done.code == 7 and done.text == "out\n" and "no" in done.error, done
    done = both.run(["run", built["exec"], "musl1", "--", "cat"], input=b"x" * 300000)
    assert done.code == 0 and done.out == b"x" * 300000, done
    done = both.run(["run", "--timeout", "1s", built["sleep"], "musl1", "ms=600000"])
    assert done.code == 124, done
    for plugin, field in ((built["segfault"], []), (built["reuse"], ["act=crash"])):
        done = both.run(["run", plugin, "musl1", *field])
        assert done.code == 128 + 11 and "SEGV" in done.error, done


def test_nothing_is_left_open_for_a_worker(both, built):
    done = both.run(["run", built["exec"], "musl1", "--", "sh", "-c", "ls /proc/self/fd"])
    assert done.text.split() == ["0", "1", "2", "3"], done # 3 is that of ls


def test_a_host_with_musl_refuses_what_is_for_glibc(both, musl_sshd):
    done = both.run(["run", HELLO, "musl1"])
    assert done.code == 126 and "needs glibc 2." in done.error and "this host has musl" in done.error, done
    done = both.run(["deploy", bundle_of(both, "web-1.0", HELLO), "musl1"])
    assert done.code != 0 and "for musl (the nearest needs glibc-" in done.error, done
    assert objects(musl_sshd) == set()


@pytest.mark.parametrize("build", [BUILD, BUILD / "cross" / "aarch64"], ids=["own", "aarch64"])
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime wants glibc")
def test_the_worker_host_asks_for_nothing_that_musl_lacks(build):
    """The same file is run by both loaders; musl's has the same functions on every machine."""
    host = build / "obj/agent/worker-host/worker-host"
    if not host.exists():
        pytest.skip("not built (make agent-aarch64)")
    def names(*words):
        lines = subprocess.run(["nm", "-D", *words], capture_output=True, text=True, check=True).stdout.splitlines()
        return {line.split()[-1].split("@")[0] for line in lines if " w " not in line}
    assert names("--undefined-only", host) and not names("--undefined-only", host) - names("--defined-only", musl.LOADER)
