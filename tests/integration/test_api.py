"""<sshexec/client.h>: each case of tests/api, a program that knows the public headers and the shared library alone, locally and over a real sshd; and the README's
program."""
import os
import re
import subprocess
from pathlib import Path

import pytest

import processes
from client import BUILD, SANITIZED, SLOW, reports_in

ROOT = Path(__file__).resolve().parents[2]
API = BUILD / "tests" / "api"
AGENT = Path(os.environ.get("API_AGENT", BUILD / "bin" / "sshexec-agent"))
ZOO = Path(os.environ.get("API_ZOO", BUILD / "zoo"))
CASES = subprocess.run([API, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split() if API.exists() else []
LOCAL_ONLY = {"a_command_as_transport", "a_host_that_talks_beside_the_protocol", "an_unreachable_host"}    # the same wherever they are started
MEMORY = {"a_flood_that_is_not_read", "large_items_that_are_not_read"}


def run(argv, client, timeout=60):
    """Runs a program that should be silent but for what it says of itself; returns its output."""
    child = processes.start([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=client.env, cwd=client.home)
    try:
        out, err = child.communicate(timeout=timeout * SLOW)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError("no end in %s s: %r %r" % (timeout * SLOW, out, err))
    assert not reports_in(err), err.decode()
    return child.returncode, out.decode(), err.decode()


def words(via, client):
    found = ["agent=%s" % AGENT, "plugins=%s" % ZOO, "zoo=%s" % ZOO]
    return found if via.host is None else found + ["host=%s" % via.host, "config=%s" % client.config, "transport=%s" % via.transport]


@pytest.mark.skipif(not API.exists(), reason="tests/api is not built (make unit)")
def test_there_are_cases():
    assert len(CASES) > 20


@pytest.mark.parametrize("case", CASES)
def test_case(case, via, client):
    if via.host and case in LOCAL_ONLY:
        pytest.skip("no host in it")
    if SANITIZED and case in MEMORY:
        pytest.skip("a sanitizer's own memory is not ours")
    assert run([API, case, *words(via, client)], client) == (0, "", ""), "silent: the library prints nothing"


# --- the README's program ---

def readme_program():
    return re.search(r"```c\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]


def test_readme_shows_the_example_as_it_is():
    example = (ROOT / "sdk/examples/call_hello.c").read_text()
    assert readme_program() == example and len(example.splitlines()) < 30


@pytest.mark.parametrize("compiler", [["gcc", "-std=c17"], ["g++", "-std=c++17", "-x", "c++"]], ids=["C", "C++"])
def test_readme_program_compiles_and_calls(compiler, client, scratch):
    source, program = scratch / "call_hello.c", scratch / "call_hello"
    text = readme_program()
    source.write_text(text if compiler[0] == "gcc" else text.replace("err = {0}", "err = {SSX_ERROR_NONE, {0}}"))
    sanitizers = ["-fsanitize=address,undefined"] if SANITIZED else []
    subprocess.run([*compiler, "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-I%s/sdk/include" % ROOT, "-I%s/plugins" % ROOT, source, "-o", program, *sanitizers,
                    "-L%s/lib" % BUILD, "-lsshexec", "-Wl,-rpath,%s/lib" % BUILD], check=True)
    assert run([program], client) == (0, "hello, Ada (1 in all)\n", "")
    code, out, err = run([program, "no-such-host.invalid"], client)
    assert code == 255 and not out and err.startswith("call_hello: ") and "no-such-host.invalid" in err
