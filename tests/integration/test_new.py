"""`sshexec new`: what it makes builds, passes its test and runs with no edit, and nothing that exists is harmed."""
import json
import os
import shutil
import subprocess

import pytest

from client import BUILD, SANITIZED, SSHEXEC

COMPILERS = [cc for cc in ("gcc", "clang") if shutil.which(cc)]


# Not what an outer make hands down: its variables and its job server.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}


def make(folder, *words, **env):
    return subprocess.run(["make", "-s", *words], cwd=folder, env=dict(ENVIRONMENT, **env), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


@pytest.fixture
def new(client, scratch):
    def run(*words):
        return client.run(["new", *words], cwd=scratch)
    return run


@pytest.mark.parametrize("name", ["wordcount", "int", "a-b_c-9", pytest.param("w" * 57, id="longest")])
def test_what_it_makes_builds_without_a_warning_and_passes_its_test(new, scratch, name):
    assert new(name).code == 0
    assert {p.name for p in (scratch / name).iterdir()} == {name + ".h", name + ".c", "Makefile", "test.sh", "README.md"}
    done = make(scratch / name, "test", CFLAGS="-O2 -Wall -Wextra -Wpedantic -Wshadow -Werror", TMPDIR=str(scratch))
    assert done.returncode == 0 and "all passed" in done.stdout, done


@pytest.mark.skipif(SANITIZED, reason="nothing of this differs under a sanitizer")
@pytest.mark.parametrize("cc", COMPILERS)
def test_what_it_makes_suits_every_compiler(new, scratch, cc):
    new("wordcount")
    done = make(scratch / "wordcount", CC=cc, CFLAGS="-std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -Wpedantic -Wshadow -Wvla -Werror")
    assert done.returncode == 0, done


def test_its_own_test_notices_a_broken_worker(new, scratch):
    new("wordcount")
    source = scratch / "wordcount/wordcount.c"
    source.write_text(source.read_text().replace("out->words++;", ""))
    done = make(scratch / "wordcount", "test", TMPDIR=str(scratch))
    assert done.returncode != 0 and "FAILED" in done.stderr and '"words":4' in done.stderr, done


def test_a_fault_that_only_describe_check_sees_fails_the_build(new, scratch):
    new("wordcount")
    header = scratch / "wordcount/wordcount.h"
    header.write_text(header.read_text().replace("str_max(4096)", "str_max(60 * 60)"))
    done = make(scratch / "wordcount")
    assert done.returncode != 0 and "60 * 60" in done.stderr, done
    assert not (scratch / "wordcount/wordcount.so").exists()


def test_the_worker_is_called_as_any_other(new, client, scratch):
    new("wordcount")
    assert make(scratch / "wordcount").returncode == 0
    done = client.run(["run", "./wordcount.so", "path=/etc/passwd", "find=root"], cwd=scratch / "wordcount")
    assert json.loads(done.out)["lines"] == open("/etc/passwd").read().count("\n"), done


def test_the_makefile_is_short(new, scratch):
    new("wordcount")
    assert len((scratch / "wordcount/Makefile").read_text().splitlines()) < 15


@pytest.mark.parametrize("name", ["", "9a", "Word", "a.b", "../a", "a/b", "-", "w" * 58, "ssx", "ssx_a", "ssx-a"])
def test_a_name_that_can_not_be_is_refused(new, scratch, name):
    done = new("--", name) if name.startswith("-") else new(name)
    assert done.code == 125 and done.err.count(b"\n") == 1, done
    assert not any(scratch.iterdir())


@pytest.mark.parametrize("what", ["file", "folder", "empty folder", "dangling link"])
def test_what_exists_is_left_alone(new, scratch, what):
    there = scratch / "wordcount"
    if what == "file":
        there.write_text("mine")
    elif what == "dangling link":
        there.symlink_to("nowhere")
    else:
        there.mkdir()
        if what == "folder":
            (there / "mine").write_text("mine")
    def look():
        return sorted((str(p), p.lstat().st_mtime_ns) for p in [there, *scratch.rglob("*")])
    before = look()
    done = new("wordcount")
    assert done.code == 125 and "exists" in done.error and look() == before, done


def test_nothing_half_made_stays(client, scratch):
    """An installation whose template lacks a file."""
    for part in ("bin", "plugins", "work"):
        (scratch / part).mkdir()
    shutil.copy(SSHEXEC, scratch / "bin")
    shutil.copytree(BUILD / "template", scratch / "template")
    (scratch / "template/README.md").unlink()
    done = subprocess.run([scratch / "bin/sshexec", "new", "wordcount"], cwd=scratch / "work", env=client.env, capture_output=True, text=True)
    assert done.returncode == 125 and "README.md" in done.stderr, done
    assert not any((scratch / "work").iterdir())
