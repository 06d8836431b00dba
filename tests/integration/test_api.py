"""<sshexec/client.h>: each case of tests/api, a program that knows the public headers and the shared library alone, locally and over a real sshd; and the README's
program.

API_BUILD names the build whose agent and plugins serve, where it is another one than BUILD: under ThreadSanitizer (make check-tsan) the sender alone is instrumented.
"""
import os
import re
import subprocess
from pathlib import Path

import pytest

import processes
from bundles import Farm, Shop
from client import BUILD, SLOW, reports_in
from conftest import Via
from sshd import make_key

ROOT = Path(__file__).resolve().parents[2]
API = BUILD / "tests" / "api"
SERVING = Path(os.environ.get("API_BUILD") or BUILD).resolve()
SANITIZER = next((flag for flag, mark in [("address,undefined", b"__asan_init"), ("thread", b"__tsan_init")] if API.exists() and mark in API.read_bytes()), None)
CASES = subprocess.run([API, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split() if API.exists() else []
LOCAL_ONLY = {"a_command_as_transport", "a_host_that_talks_beside_the_protocol", "an_unreachable_host", "runs_wait_their_turn",
              "runs_that_wait_when_the_link_breaks",
              "what_can_be_no_question_about_bundles_says_so"}    # the same wherever they are started
OWN_TEST = {"a_question_is_answered", "nothing_is_left_or_nothing_brought",
            "a_bundle_is_deployed_again_and_rolled_back"}    # they need more than a place to run in
BY_SSH = {"a_typed_call", "a_flood_that_is_not_read", "runs_in_a_foreign_loop", "a_broken_link_loses_its_runs", "sessions_in_threads"}
MEMORY = {"a_flood_that_is_not_read", "large_items_that_are_not_read", "small_items_that_are_not_read",
          "who_waits_at_a_joint_delays_nobody"}


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
    found = ["agent=%s/bin/sshexec-agent" % SERVING, "plugins=%s/zoo:%s/plugins" % (SERVING, SERVING), "zoo=%s/zoo" % SERVING]
    return found if via.host is None else found + ["host=%s" % via.host, "config=%s" % client.config, "transport=%s" % via.transport]


@pytest.mark.skipif(not API.exists(), reason="tests/api is not built (make unit)")
def test_there_are_cases():
    assert len(CASES) > 20


def ways():
    """Each case locally and by libssh; by the system ssh, which is a child process as the local agent is, a few always and the rest in the long tests."""
    for case in sorted(set(CASES) - OWN_TEST, key=CASES.index):
        yield pytest.param(case, "local")
        if case not in LOCAL_ONLY:
            yield pytest.param(case, "libssh")
            yield pytest.param(case, "ssh", marks=[] if case in BY_SSH else [pytest.mark.long])


@pytest.mark.parametrize("case, transport", ways())
def test_case(case, transport, client):
    via = Via(transport)
    if SANITIZER and case in MEMORY:
        pytest.skip("a sanitizer's own memory is not ours")
    assert run([API, case, *words(via, client)], client) == (0, "", ""), "silent: the library prints nothing"


def holds(case, client, *more):
    assert run([API, case, *words(Via("libssh"), client), *more], client) == (0, "", "")


def test_a_question_is_answered_by_the_program(client, sshd, scratch):
    sshd.authorize(make_key(scratch / "locked", passphrase="secret"))
    client.key.unlink() # so that only the locked one is left
    holds("a_question_is_answered", client, "key=%s" % (scratch / "locked"))


def test_an_agent_that_leaves_nothing_and_one_that_is_not_brought(client, clean_sshd):
    holds("nothing_is_left_or_nothing_brought", client)
    assert not list(clean_sshd.home.glob(".cache/sshexec/*"))


def test_a_program_deploys_bundles_to_hosts_that_tell_what_they_have(client, sshd_with, scratch):
    Farm(client, sshd_with, scratch, 3)
    shop, plugin, bundles = Shop(client), scratch / "hello.so", []
    for n in range(2):
        plugin.write_bytes((SERVING / "plugins/hello.so").read_bytes() + b"%d" % n)
        bundles.append(shop.bundle("web-1.%d" % n, plugin, serial=n + 1))
    holds("a_bundle_is_deployed_again_and_rolled_back", client, "old=%s" % bundles[0], "new=%s" % bundles[1])


# --- the README's program ---

def readme_program():
    return re.search(r"```c\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]


def test_readme_shows_the_example_as_it_is():
    example = (ROOT / "sdk/examples/call_hello.c").read_text()
    assert readme_program() == example and len(example.splitlines()) < 30


@pytest.mark.skipif(SANITIZER == "thread", reason="its agent would be instrumented")
@pytest.mark.parametrize("compiler", [["gcc", "-std=c17"], ["g++", "-std=c++17", "-x", "c++"]], ids=["C", "C++"])
def test_readme_program_compiles_and_calls(compiler, client, scratch):
    source, program = scratch / "call_hello.c", scratch / "call_hello"
    text = readme_program()
    source.write_text(text if compiler[0] == "gcc" else text.replace("err = {0}", "err = {SSX_ERROR_NONE, {0}}"))
    sanitizers = ["-fsanitize=" + SANITIZER] if SANITIZER else []
    subprocess.run([*compiler, "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-I%s/sdk/include" % ROOT, "-I%s/plugins" % ROOT, source, "-o", program, *sanitizers,
                    "-L%s/lib" % BUILD, "-lsshexec", "-Wl,-rpath,%s/lib" % BUILD], check=True)
    assert run([program], client) == (0, "hello, Ada (1 in all)\n", "")
    code, out, err = run([program, "no-such-host.invalid"], client)
    assert code == 255 and not out and err.startswith("call_hello: ") and "no-such-host.invalid" in err


@pytest.mark.skipif(SANITIZER == "thread", reason="its agent would be instrumented")
def test_example_program_deploys_in_two_phases(client, scratch):
    program, shop = scratch / "deploy", Shop(client)
    sanitizers = ["-fsanitize=" + SANITIZER] if SANITIZER else []
    subprocess.run(["gcc", "-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-I%s/sdk/include" % ROOT,
                    ROOT / "sdk/examples/deploy.c", "-o", program, *sanitizers, "-L%s/lib" % BUILD, "-lsshexec",
                    "-Wl,-rpath,%s/lib" % BUILD], check=True)
    old, new = (shop.bundle("web-1.%d" % n, shop.plugin(extra=b"%d" % n), serial=n + 1) for n in range(2))
    for _ in range(2): # the second time there is nothing to do
        assert run([program, old], client) == (0, "web 1.0 is in force\n", "")
    code, out, err = run([program, new, "no-such-host.invalid"], client)
    assert code == 1 and not out and err.startswith("deploy: no-such-host.invalid: unreachable: "), err
    assert run([program, new], client) == (0, "web 1.1 is in force\n", "")
    code, out, err = run([program, old], client)
    assert code == 1 and not out and err.startswith("deploy: this machine: refused: web 1.0 has the serial 1"), err
    code, out, err = run([program, "/no/such.ssx"], client)
    assert code == 125 and not out and err.count("\n") == 1 and "/no/such.ssx" in err, err
