"""An author's mistakes read well: the first error of the compiler names the field and says what is wrong with it; what no compiler can see, `describe --check` says."""
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from client import SANITIZED

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(SANITIZED, reason="it is compilers that speak here")
COMPILERS = {"gcc": "gnu17", "clang": "gnu17", "g++": "gnu++17", "clang++": "gnu++17"}

SOURCE = """
#include <errno.h>
#include <sshexec/worker.h>
#define COLOUR(V) V(colour, red) V(colour, green) %(value)s
SSX_ENUM(colour, COLOUR)
#define HELLO(F) F(i32, first, required, "a field in order") %(field)s F(list(str), last, empty, "another")
SSX_STRUCT(hello, HELLO)
SSX_NOTHING(nothing)
static %(returns)s hello_run(struct ssx_call *call, %(const)s struct hello *in, struct %(out)s *out)
{
    (void)call; (void)in; (void)out;
    return 0;
}
SSX_WORKER(%(type)s, "1.0", "for a test", hello, nothing, %(traits)s, hello_run)
"""
RIGHT = {"value": "", "field": "", "returns": "int", "const": "const", "out": "nothing", "type": '"hello"', "traits": "0"}

# What the author wrote, and the words of the first error.
SEEN = {
    "no such kind": ({"field": 'F(i23, times, default(1), "how often")'}, ["times", "i23 is no kind"]),
    "no such kind with an argument": ({"field": 'F(str_mx(64), name, default("x"), "whom")'}, ["name", "str_mx(64) is no kind"]),
    "no such kind in a list": ({"field": 'F(list(opt(sttr)), names, empty, "whom")'}, ["names", "list(opt(sttr)) is no kind"]),
    "a kind without its argument": ({"field": 'F(str_max, name, default("x"), "whom")'}, ["name", "str_max is no kind"]),
    "a default above the range": ({"field": 'F(i32_in(1, 100), times, default(300), "how often")'}, ["times", "default(300)", "out of range for i32_in(1, 100)"]),
    "a default below zero": ({"field": 'F(u64, times, default(-1), "how often")'}, ["times", "default(-1)", "out of range for u64"]),
    "a default too large for the kind": ({"field": 'F(i32, times, default(3000000000), "how often")'}, ["times", "out of range for i32"]),
    "zero out of the range": ({"field": 'F(i32_in(1, 100), times, empty, "how often")'}, ["times", "empty", "out of range for i32_in(1, 100)"]),
    "a default too long": ({"field": 'F(secret(str_max(3)), name, default("world"), "whom")'}, ["name", "world", "out of range for secret(str_max(3))"]),
    "text for a number": ({"field": 'F(i32, times, default("x"), "how often")'}, ["times", "out of range for i32"]),
    "no such default": ({"field": 'F(i32, times, defualt(3), "how often")'}, ["times", "defualt(3)", "required, empty, default(v)"]),
    "the doc instead of a default": ({"field": 'F(i32, times, "how often", empty)'}, ["how often", "DEFAULT_|none of required"]),
    "no such member": ({"field": 'F(enum(colour), which, member(colour, blue), "which")'}, ["colour_blue"]),
    "required instead of a kind": ({"field": 'F(required, i32, times, "how often")'}, ["field i32", "required is no kind"]),
    "required instead of a name": ({"field": 'F(i32, required, times, "how often")'}, ["field required", "times is none of required"]),
    "a field twice": ({"field": 'F(str, first, empty, "again")'}, ["first"]),
    "a macro's name": ({"field": 'F(i32, errno, default(3), "which")'}, ["errno", "macro"]),
    "a macro of gnu mode": ({"field": 'F(bool, linux, default(true), "whether")'}, ["linux", "macro"]),
    "no doc": ({"field": 'F(i32, times, default(3))'}, ["times", "a doc"]),
    "a comma too many": ({"field": 'F(i32, times, default(3), "how", "often")'}, ["times", "a doc"]),
    "two rest fields": ({"field": 'F(rest(list(str)), words, empty, "a") F(rest(list(str)), more, empty, "b")'}, ["struct hello", "rest"]),
    "an enum's value twice": ({"value": "V(colour, red)"}, ["colour_red"]),
    "no such struct": ({"field": 'F(struct(disk), root, empty, "where")'}, ["root", "incomplete"]),
    "a state that may change, undeclared": ({"const": ""}, ["hello_run", "SSX_RETURNS_STATE"]),
    "a state that may not change, declared": ({"traits": "SSX_RETURNS_STATE"}, ["hello_run", "const", "SSX_RETURNS_STATE"]),
    "another result": ({"out": "hello"}, ["hello_run", "struct nothing"]),
    "another type of function": ({"returns": "long"}, ["hello_run", "int hello_run"]),
    "no such trait": ({"traits": "SSX_IDEMPOTENTT"}, ["SSX_IDEMPOTENTT"]),
}
# g++ counts a macro's arguments before it looks at anything else; then the macro's name has to say it.
GXX = {"no doc": ["KIND_NAME_DEFAULT_DOC", "3 given"], "a comma too many": ["KIND_NAME_DEFAULT_DOC", "5 arguments"]}

CHECKED = {
    "no doc": ({"field": 'F(i32, times, default(3), "")'}, ["hello.times", "no doc"]),
    "a float out of its range": ({"field": 'F(f64_in(0, 1), share, default(1.5), "how much")'}, ["hello.share", "1.5 is out of range for f64 0..1"]),
    "no literal": ({"field": 'F(i32, times, default(3 * 60), "how long")'}, ["hello.times", "3 * 60", "write the value itself"]),
    "a bool as a number": ({"field": 'F(bool, on, default(1), "whether")'}, ["hello.on", "bool is wanted, not 1"]),
    "a range the wrong way round": ({"field": 'F(f64_in(2, 1), share, required, "how much")'}, ["share", "the range is empty"]),
    "a rest that is no list": ({"field": 'F(rest(str), words, empty, "all")'}, ["words", "only a field that is a list can be the rest"]),
    "a name with capitals": ({"type": '"Hello World"'}, ["lower-case letters", "Hello World"]),
    "a name too long": ({"type": '"%s"' % ("h" * 65)}, ["64 at most", "hhh"]),
}


def compile_with(compiler, changes, tmp_path, *how):
    source = tmp_path / ("hello.cc" if "++" in compiler else "hello.c")
    source.write_text(SOURCE % dict(RIGHT, **changes))
    argv = [compiler, "-std=" + COMPILERS[compiler], "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-error=pedantic", "-I", str(ROOT / "sdk" / "include"), str(source), *how]
    return subprocess.run(argv, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})


def first_error(done):
    return next((line for line in done.stderr.splitlines() if "error:" in line), "no error")


@pytest.fixture(params=COMPILERS)
def compiler(request):
    if not shutil.which(request.param):
        pytest.skip("no " + request.param)
    return request.param


def test_the_source_is_right_without_a_mistake(compiler, tmp_path):
    done = compile_with(compiler, {}, tmp_path, "-fsyntax-only")
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_a_compiler_says_what_is_wrong(compiler, tmp_path):
    bad = []
    for name, (changes, words) in SEEN.items():
        if compiler == "g++":
            words = GXX.get(name, words)
        done = compile_with(compiler, changes, tmp_path, "-fsyntax-only")
        if done.returncode == 0 or not all(re.search("|".join(map(re.escape, word.split("|"))), first_error(done)) for word in words):
            bad.append("%s: %s" % (name, first_error(done)))
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("name", CHECKED)
def test_check_says_what_no_compiler_sees(client, tmp_path, name):
    changes, words = CHECKED[name]
    compiler = next(c for c in ("gcc", "clang") if shutil.which(c))
    plugin = tmp_path / "hello.so"
    made = compile_with(compiler, changes, tmp_path, "-shared", "-fPIC", "-o", str(plugin))
    assert made.returncode == 0, made.stderr
    done = client.run(["describe", "--check", str(plugin)])
    assert done.code == 126 and done.err.count(b"\n") == 1 and all(word in done.error for word in words), done
