"""What was built: that the agent starts anywhere, that the worker host runs on an old glibc, that programs are hardened and the library exports only its own names."""
import gzip
import os
import re
import subprocess
from pathlib import Path

import pytest

from client import SANITIZED

BUILD = Path(os.environ["BUILD"])
ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = [BUILD / "bin/sshexec", BUILD / "bin/sshexec-agent"]
OLDEST_GLIBC = (2, 17)  # of 2012: CentOS 7; agent/worker-host/old_glibc.h
no_sanitizer = pytest.mark.skipif(SANITIZED, reason="sanitizers link their own way")


def readelf(*words):
    return subprocess.run(["readelf", "-W", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout


@no_sanitizer
def test_worker_host_and_plugins_ask_for_an_old_glibc_only():
    for path in [BUILD / "obj/agent/worker-host/worker-host", *sorted((BUILD / "plugins").glob("*.so"))]:
        versions = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([0-9.]+)", readelf("-V", path))}
        assert max(versions, default=(0,)) <= OLDEST_GLIBC, (path, sorted(versions))


@no_sanitizer
def test_agent_is_static_and_small():
    agent = BUILD / "bin/sshexec-agent"
    assert "INTERP" not in readelf("-l", agent) and "NEEDED" not in readelf("-d", agent)
    packed = (BUILD / "bin/sshexec-agent.gz").read_bytes()
    assert gzip.decompress(packed) == agent.read_bytes() and len(packed) < 500_000, len(packed)


@no_sanitizer
@pytest.mark.parametrize("path", PROGRAMS + sorted((BUILD / "plugins").glob("*.so")) + [BUILD / "lib/libsshexec.so"], ids=lambda p: p.name)
def test_hardening(path):
    assert "DYN" in readelf("-h", path), "position-independent"
    segments = readelf("-l", path)
    assert "GNU_RELRO" in segments and not re.search(r"GNU_STACK.*\bRWE\b", segments)
    assert path.name == "sshexec-agent" or re.search(r"BIND_NOW|NOW", readelf("-d", path))


def names_in(text):
    return set(re.findall(r"\b(ssx_[a-z0-9_]+)", text))


def test_library_exports_the_listed_names_and_no_others():
    listing = subprocess.run(["nm", "-D", "--defined-only", BUILD / "lib/libsshexec.so"], stdout=subprocess.PIPE, text=True, check=True).stdout
    exported = {line.split()[-1].partition("@")[0] for line in listing.splitlines() if " A " not in line}
    assert exported == names_in((ROOT / "core/exports.map").read_text())


def test_every_listed_name_is_declared_in_a_header_and_documented():
    declared = set()
    for header in (ROOT / "sdk/include/sshexec").glob("*.h"):
        declared |= set(re.findall(r"SSX_API [^;]*?\b(ssx_[a-z_]+)\(", header.read_text()))
    assert declared == names_in((ROOT / "core/exports.map").read_text())
    assert not declared - names_in((ROOT / "docs/man/libsshexec.3").read_text()), "not in the man page"


def test_soname_and_links_as_distributions_expect():
    lib = BUILD / "lib"
    version = re.search(r"^VERSION := (.*)", (ROOT / "Makefile").read_text(), re.M)[1]
    assert "[libsshexec.so.0]" in readelf("-d", lib / ("libsshexec.so." + version))
    assert os.readlink(lib / "libsshexec.so.0") == "libsshexec.so." + version and os.readlink(lib / "libsshexec.so") == "libsshexec.so.0"
