"""Fixtures of the integration tests. BUILD in the environment names the build under test.

sshd        a private sshd for the whole session (sshd.py), its account's home as the tests before left it
clean_sshd  the same with the home emptied first: a host with nothing installed
sshd_with   makes another sshd for one test: sshd_with(extra="ForceCommand ...")
client      the sender: a home, a key and a configuration of its own, new for each test (client.py)
via         parametrized over local, libssh and ssh: via.words("hello", "name=Ada") names the transport and the host
key_agent   an ssh-agent for one test
scratch     an empty directory that every account of this machine may enter and read

Each test must leave no process: what is still there 2 s after it fails it. A sanitizer's report, from either end, does too.
"""
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

import processes
from client import SANITIZED, SLOW, SSHEXEC, Client, reports_in, sanitizer_environment
from sshd import Sshd


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes long; only in `make check-long`")
    processes.become_subreaper()


@pytest.fixture(scope="session")
def session_dir():
    # Under /tmp itself, not pytest's own directory: the test account must be able to enter, and nobody else to write.
    path = Path(tempfile.mkdtemp(prefix="sshexec-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, onerror=_make_removable)


def _make_removable(remove, path, _):
    os.chmod(os.path.dirname(path), stat.S_IRWXU)
    os.chmod(path, stat.S_IRWXU)
    remove(path)


@pytest.fixture(scope="session", autouse=True)
def nothing_left(session_dir):
    """Set up first, so torn down last: by then even the session's sshd must be gone."""
    yield
    strays = [] if processes.wait_until(lambda: not processes.descendants(), 2) else processes.descendants()
    processes.kill_descendants()
    assert not strays, "processes left behind by the session:\n" + "\n".join(map(str, strays))


@pytest.fixture(scope="session")
def sanitizer_dir(session_dir):
    path = session_dir / "sanitizer"
    path.mkdir()
    path.chmod(0o1777)
    return path


@pytest.fixture(autouse=True)
def clean_test(sanitizer_dir):
    before = {p.pid for p in processes.descendants()}
    yield
    def left():
        return [p for p in processes.descendants() if p.pid not in before]
    strays = [] if processes.wait_until(lambda: not left(), 2 * SLOW) else left()
    if strays:
        processes.kill_descendants()
    reports = sorted(sanitizer_dir.iterdir())
    text = "\n".join(path.read_text(errors="replace") for path in reports)
    for path in reports:
        path.unlink()
    assert not strays, "processes left behind:\n" + "\n".join(map(str, strays))
    assert not reports_in(text.encode()), text


def _environment(sanitizer_dir):
    return sanitizer_environment(sanitizer_dir) if SANITIZED else {}


@pytest.fixture(scope="session")
def sshd(session_dir, sanitizer_dir):
    server = Sshd(session_dir / "sshd", environment=_environment(sanitizer_dir)).start()
    yield server
    server.stop()


@pytest.fixture
def clean_sshd(sshd):
    sshd.wipe_home()
    return sshd


@pytest.fixture
def sshd_with(session_dir, sanitizer_dir):
    servers = []
    def make(extra="", **how):
        path = Path(tempfile.mkdtemp(prefix="sshd-", dir=session_dir)) / "sshd"
        path.parent.chmod(0o755)
        servers.append(Sshd(path, extra, environment=_environment(sanitizer_dir), **how).start())
        return servers[-1]
    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def client(session_dir, sanitizer_dir, sshd):
    assert SSHEXEC.exists(), "%s is not built" % SSHEXEC
    path = Path(tempfile.mkdtemp(prefix="client-", dir=session_dir))
    sshd.keys_path.write_text("") # only this test's key
    yield Client(path / "home", sshd, sanitizer_dir if SANITIZED else None)
    shutil.rmtree(path, onerror=_make_removable)


@pytest.fixture
def scratch(session_dir):
    path = Path(tempfile.mkdtemp(prefix="scratch-", dir=session_dir))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, onerror=_make_removable)


def _takes_connections(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


@pytest.fixture
def key_agent(scratch):
    """The socket of an ssh-agent that holds nothing yet."""
    path = scratch / "agent"
    child = processes.start(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert processes.wait_until(lambda: _takes_connections(path), 10 * SLOW)
    yield path
    child.terminate()
    child.wait()


class Via:
    """One way to reach an agent."""

    def __init__(self, transport):
        self.transport, self.host = transport, None if transport == "local" else "node1"

    def words(self, type, *rest, before=()):
        """The words of `sshexec run TYPE` by this way; `before` are options of ours."""
        to = [] if self.host is None else ["--transport", self.transport]
        return ["run", *to, *before, type] + ([self.host] if self.host else []) + list(rest)


@pytest.fixture(params=["local", "libssh", "ssh"])
def via(request, sshd):
    return Via(request.param)


@pytest.fixture(params=["libssh", "ssh"])
def via_ssh(request, sshd):
    return Via(request.param)
