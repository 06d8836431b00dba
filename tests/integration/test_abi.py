"""The plugin ABI over the years: what was built against the first header loads and runs, through every kind of field and every service."""
import hashlib
import json
from pathlib import Path

from client import BUILD

ROOT = Path(__file__).resolve().parents[2]
FIRST = BUILD / "abi" / "first.so"
FROZEN = "d5311c1d7719ef765a65f4670f44a81125c83d38ddd71cb85b6aeb30b9b41410"
STATE = ["text=hi", "on=false", "big=-7", "small=4", "share=0.5", "bytes=ab", "value:=[1]", "colour=blue", "point.x=9", 'points:=[{"x":3}]', "maybe=1.5",
         "token=hush", "--", "a", "b"]


def test_the_first_header_is_as_it_was():
    """Whoever changes it tests another ABI than the one that plugins out there were built for."""
    assert hashlib.sha256((ROOT / "tests" / "abi" / "worker-1.0.h").read_bytes()).hexdigest() == FROZEN


def test_a_plugin_of_the_first_abi_runs(client, via):
    done = client.run(via.words(str(FIRST), *STATE, before=["--json", "-u", "20"]))
    assert done.code == 0 and b"hush" not in done.out + done.err, done
    events = [json.loads(line) for line in done.text.splitlines()]
    by_kind = {event["event"]: event for event in events}
    assert by_kind["output"]["text"] == "hi\n"
    assert ("warning", "1 points") in [(event["level"], event["text"]) for event in events if event["event"] == "log"]
    assert (by_kind["progress"]["done"], by_kind["progress"]["total"], by_kind["progress"]["text"]) == (1, 1, "done")
    assert [event["value"] for event in events if event["event"] == "item"] == [{"x": 9, "name": "origin"}, "hi"]
    assert by_kind["result"]["value"] == {
        "text": "0 -7 4 0.5 2 2 a", "colour": "red", "points": [{"x": 3, "name": "origin"}, {"x": 7, "name": "origin"}], "maybe": 3.0, "timed": True, "temp": True}
    assert by_kind["end"]["outcome"] == "ok" and "state" not in by_kind


def test_a_plugin_of_the_first_abi_fails_as_it_did(client, via):
    done = client.run(via.words(str(FIRST), "text=hi", "big=13"))
    assert done.code == 13 and "first doesn't like 13" in done.error, done


def test_a_plugin_of_the_first_abi_is_described(client):
    done = client.run(["describe", "--json", str(FIRST)])
    assert done.code == 0 and json.loads(done.text)["abi"] == [1, 0], done
    assert client.run(["describe", "--check", str(FIRST)]).code == 0
