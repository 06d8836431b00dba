"""sdk/examples: each builds by its own Makefile against this tree, passes `describe --check`, and runs here and on a host."""
import functools
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from client import SLOW, SSHEXEC

EXAMPLES = Path(__file__).resolve().parents[2] / "sdk" / "examples"
LARGE = {"a/large": 300000, "b/larger": 400000, "b/c/largest": 500000}
NEEDS = {"bigfiles": "cc", "tally": "g++", "primes": "rustc"}


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == set(NEEDS)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """build(name, NAME=value ...): the example's plugin, from a copy of its folder; made once."""
    @functools.lru_cache(None)
    def build(name, **variables):
        if not shutil.which(NEEDS[name]):
            pytest.skip("no " + NEEDS[name])
        place = tmp_path_factory.mktemp(name) / name
        shutil.copytree(EXAMPLES / name, place, ignore=shutil.ignore_patterns("*.so"))
        given = dict(SSHEXEC_CFLAGS="-I%s" % (EXAMPLES.parent / "include"), SSHEXEC_TOOL=str(SSHEXEC), **variables)
        argv = ["make", "-C", str(place), *("%s=%s" % pair for pair in given.items())]
        done = subprocess.run(argv, capture_output=True, text=True, env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ})
        assert done.returncode == 0 and "warning" not in done.stderr, done.stdout + done.stderr
        return str(place / (name + ".so"))
    return build


@pytest.fixture
def tree(scratch):
    for name, size in {"a/small": 10, **LARGE}.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return scratch


def test_c_streams_what_it_finds(client, via, build, tree):
    done = client.run(via.words(build("bigfiles"), "at_least=300000", "order=name", "--", str(tree), "/nonexistent", before=["--json"]))
    assert done.code == 0, done
    events = [json.loads(line) for line in done.text.splitlines()]
    items = [event["value"] for event in events if event["event"] == "item"]
    assert {item["path"]: item["bytes"] for item in items} == {str(tree / name): size for name, size in LARGE.items()}
    result, = (event["value"] for event in events if event["event"] == "result")
    assert (result["seen"], result["found"], result["bytes"], result["skipped"]) == (4, 3, 1200000, 1)
    assert result["largest"]["path"] == str(tree / "b/c/largest")
    assert any(event["event"] == "log" and "/nonexistent" in event["text"] for event in events)
    assert any(event["event"] == "progress" for event in events)


def test_c_ends_in_good_order_when_cancelled(client, build):
    child = client.popen(["run", "--json", build("bigfiles"), "at_least=0", "--", "/proc", "/usr", "/proc", "/usr"])
    line = b""
    while b'"item"' not in line:
        line = child.stdout.readline()
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=20 * SLOW)
    assert child.returncode == 130 and json.loads(out.splitlines()[-1])["outcome"] == "cancelled"


def test_cxx_remembers(client, via, build, tmp_path):
    words = tmp_path / "words"
    first = client.run(via.words(build("tally"), before=["--state-out", str(words)]), input=b"a b a\nc a b")
    assert json.loads(first.text) == {"added": 6, "distinct": 3, "top": [{"word": "a", "count": 3}, {"word": "b", "count": 2}, {"word": "c", "count": 1}]}
    second = client.run(via.words(build("tally"), before=["--state", str(words), "--state-out", str(words)]), input=b"c c c")
    assert json.loads(second.text)["top"][0] == {"word": "c", "count": 4}


def test_cxx_exceptions_become_messages(client, build):
    done = client.run(["run", build("tally")], input=b"a\0b")
    assert done.code == 1 and "the input is no text" in done.error, done
    done = client.run(["run", build("tally"), "longest=3"], input=b"long")
    assert done.code == 1 and "longer than 3 bytes" in done.error, done


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_cxx_compiles_without_a_warning(compiler, build):
    if not shutil.which(compiler):
        pytest.skip("no " + compiler)
    build("tally", CXX=compiler, CXXFLAGS="-O1 -Wall -Wextra -Wpedantic -Wshadow -Werror")


def test_rust_counts(client, via, build):
    done = client.run(via.words(build("primes"), "below=20000", before=["--json"]))
    events = [json.loads(line) for line in done.text.splitlines()]
    assert [event["value"] for event in events if event["event"] == "item"] == [{"nth": 1000, "prime": 7919}, {"nth": 2000, "prime": 17389}]
    assert [event["value"] for event in events if event["event"] == "result"] == [{"count": 2262, "largest": 19997}]
    assert events[-1]["outcome"] == "ok"


def test_rust_is_described_like_any_other(client, build):
    about = json.loads(client.run(["describe", "--json", build("primes")]).text)
    assert (about["abi"], about["traits"]) == ([1, 1], ["idempotent"])
    assert [(field["name"], field["type"], field["default"]) for field in about["fields"]] == [("below", "u64 2..100000000", 1000000)]


def test_rust_sees_a_cancel(client, build):
    """Of its own accord, not by SIGTERM: it still has a word to say."""
    done = client.run(["run", "-u", "200ms", build("primes"), "below=100000000"])
    assert done.code == 124 and "cancelled at " in done.error, done
