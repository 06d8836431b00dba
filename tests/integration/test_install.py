"""`make install` and `make uninstall`: what is installed finds all of its parts, without the tree that it came from."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from client import BUILD, SANITIZED
from test_new import ENVIRONMENT, make

TREE = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(SANITIZED, reason="nobody installs what has a sanitizer")


def install(build, *words):
    done = subprocess.run(["make", "--no-print-directory", "BUILD=%s" % build, *words], cwd=TREE, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done
    return done


@pytest.fixture(scope="module")
def prefix(session_dir):
    """An installation below a prefix of its own, made for it, whose build is gone."""
    build, where = session_dir / "install-build", session_dir / "prefix"
    shutil.copytree(BUILD, build, symlinks=True, ignore=shutil.ignore_patterns("tests")) # those come and go
    install(build, "install", "PREFIX=%s" % where)
    shutil.rmtree(build)
    return where


@pytest.fixture
def installed(prefix, client):
    """Runs the installed sshexec as a user would who has its prefix in PATH."""
    env = dict(client.env, PATH="%s/bin:%s" % (prefix, client.env["PATH"]), PKG_CONFIG_PATH="%s/share/pkgconfig:%s/lib/pkgconfig" % (prefix, prefix),
               LD_LIBRARY_PATH=str(prefix / "lib"))
    def run(*argv, **how):
        return subprocess.run([str(word) for word in argv], env=env, stdin=how.pop("stdin", subprocess.DEVNULL), capture_output=True, text=True, timeout=120, **how)
    run.env, run.client = env, client
    return run


def test_runs_workers_here_and_on_a_host_that_has_nothing(installed, prefix, clean_sshd):
    done = installed("sshexec", "run", "hello", "name=Ada")
    assert done.returncode == 0 and "hello, Ada" in done.stdout, done
    done = installed("sshexec", "run", "-F", installed.client.config, "hello", "node1", "name=Ada")
    assert done.returncode == 0 and "hello, Ada" in done.stdout, done
    assert str(prefix / "lib/sshexec/plugins/hello.so") in installed("sshexec", "list", "--json").stdout


def test_the_agent_is_a_command_of_its_own(installed):
    done = installed("sh", "-c", "sshexec encode hello name=Ada | sshexec-agent --once")
    assert done.returncode == 0 and "hello, Ada" in done.stdout, done


def test_a_new_worker_builds_and_runs_against_it(installed, prefix, scratch):
    assert installed("sshexec", "new", "wordcount", cwd=scratch).returncode == 0
    assert "SSHEXEC ?= %s\n" % prefix in (scratch / "wordcount/Makefile").read_text()
    done = make(scratch / "wordcount", "test", TMPDIR=str(scratch))
    assert done.returncode == 0 and "all passed" in done.stdout, done


def test_pkg_config_and_path_are_enough(installed, prefix, scratch):
    """As for PREFIX=/usr, where the Makefile names no place."""
    installed("sshexec", "new", "wordcount", cwd=scratch)
    done = installed("make", "SSHEXEC=", "test", cwd=scratch / "wordcount")
    assert done.returncode == 0 and "-I%s/include" % prefix in done.stdout and "all passed" in done.stdout, done
    assert installed("pkg-config", "--modversion", "sshexec-worker", "sshexec").stdout.split() == [re.search(r"VERSION := (.*)", (TREE / "Makefile").read_text())[1]] * 2


def test_a_program_links_the_library_which_finds_agent_and_plugins(installed, prefix, scratch):
    shutil.copytree(prefix / "share/doc/sshexec/examples", scratch / "examples")
    done = installed("sh", "-c", "gcc call_hello.c $(pkg-config --cflags --libs sshexec) -o call_hello && ./call_hello && readelf -d call_hello", cwd=scratch / "examples")
    assert done.returncode == 0 and "hello, Ada" in done.stdout and "[libsshexec.so.0]" in done.stdout, done


def test_its_pages_and_completions_are_where_they_are_looked_for(prefix):
    share = prefix / "share"
    pages = {p.name for p in share.glob("man/man?/*")}
    assert {"sshexec.1", "sshexec-run.1", "sshexec-agent.8", "sshexec-worker.7", "sshexec.conf.5"} <= pages
    for name in ("bash-completion/completions/sshexec", "zsh/site-functions/_sshexec", "fish/vendor_completions.d/sshexec.fish", "doc/sshexec/README.md"):
        assert (share / name).stat().st_mode & 0o777 == 0o644, name


def test_destdir_takes_all_of_it_and_uninstall_all_of_it_back(scratch):
    stage = scratch / "stage"
    install(BUILD, "install", "DESTDIR=%s" % stage, "LIBDIR=/usr/local/lib/multi")
    files = [p for p in stage.rglob("*") if not p.is_dir() or p.is_symlink()]
    assert all(p.relative_to(stage).parts[:2] == ("usr", "local") for p in files) and len(files) > 40
    assert (stage / "usr/local/lib/multi/libsshexec.so").resolve().name == "libsshexec.so.0.1.0"
    assert os.readlink(stage / "usr/local/bin/sshexec-agent") == "../lib/sshexec/sshexec-agent"
    for path in files:
        if not path.is_symlink():
            is_program = path.name in ("sshexec", "sshexec-agent", "sshexec-worker-run", "test.sh") and "completion" not in str(path)
            assert path.stat().st_mode & 0o777 == (0o755 if is_program else 0o644), path
            assert path.suffix != ".pc" or str(stage) not in path.read_text(), path
    foreign = stage / "usr/local/lib/sshexec/plugins/mine.so"
    foreign.write_text("mine")
    install(BUILD, "uninstall", "DESTDIR=%s" % stage, "LIBDIR=/usr/local/lib/multi")
    assert [p for p in stage.rglob("*") if not p.is_dir() or p.is_symlink()] == [foreign]
    foreign.unlink()
    install(BUILD, "uninstall", "DESTDIR=%s" % stage, "LIBDIR=/usr/local/lib/multi")
    assert not [p for p in stage.rglob("*sshexec*")]


def test_what_was_staged_works_where_it_belongs(scratch, client):
    stage = scratch / "stage"
    install(BUILD, "install", "DESTDIR=%s" % stage)
    inner = "mount --bind '%s/usr/local' /usr/local && exec /usr/local/bin/sshexec run hello name=Ada" % stage
    done = subprocess.run(["unshare", "--mount", "sh", "-c", inner], env=client.env, capture_output=True, text=True, timeout=60)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no mount namespaces here: %s" % done.stderr.strip())
    assert done.returncode == 0 and "hello, Ada" in done.stdout, done
