"""What <sshexec/worker.h> gives to a worker, seen from its caller: an object that comes back, input, items of a declared type, exceptions."""
import base64
import json
import os
import signal
import stat
import subprocess

import msgpack
import pytest

import processes
from agents import AGENT, ITEM, frame
from client import BUILD, SLOW
from test_run import complains

SDK = BUILD / "sdk"
OBJECT, INPUT, ITEMS, THROWER, PLACES, SERVICES = (str(SDK / (name + ".so")) for name in ("object", "input", "items", "thrower", "places", "services"))


def events(done):
    return [json.loads(line) for line in done.text.splitlines()]


def of_kind(done, kind):
    return [event for event in events(done) if event["event"] == kind]


# --- a state that comes back ---

def test_an_object_comes_back_changed(client, via, tmp_path):
    kept = tmp_path / "object"
    done = client.run(via.words(OBJECT, "token=hush", before=["--state-out", str(kept)]))
    assert done.code == 0 and done.text == 'moved\n{"carried":0}\n', done
    assert msgpack.unpackb(kept.read_bytes()) == {"visits": 1, "places": ["place 1"], "token": "hush+"}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600, "it holds secrets"


def test_an_object_goes_from_host_to_host(client, sshd):
    """Through pipes, secrets and all: each visit leaves its mark."""
    first = client.run(["run", "--state-out", "-", OBJECT, "token=t"])
    assert first.code == 0 and b"moved" in first.err, "what the call says goes where the state doesn't"
    second = client.run(["run", "--state", "-", "--state-out", "-", OBJECT, "node1"], input=first.out)
    third = client.run(["run", "--state", "-", "--state-out", "-", OBJECT, "node2"], input=second.out)
    assert third.code == 0
    assert msgpack.unpackb(third.out) == {"visits": 3, "places": ["place 1", "place 2", "place 3"], "token": "t+++"}


def test_an_object_of_many_pieces_comes_back(client, via, tmp_path):
    kept = tmp_path / "object"
    assert client.run(via.words(OBJECT, "grow=3000000", before=["--state-out", str(kept)])).code == 0
    done = client.run(via.words(OBJECT, "grow=1", before=["--state", str(kept), "--state-out", str(kept)]))
    assert done.code == 0 and '"carried":3000001' in done.text
    assert msgpack.unpackb(kept.read_bytes())["load"] == b"x" * 3000001


def test_an_object_as_json_has_no_secrets(client, tmp_path):
    kept = tmp_path / "object.json"
    done = client.run(["run", "--state-out", str(kept), "--json", OBJECT, "token=hush"])
    assert json.loads(kept.read_text()) == {"visits": 1, "places": ["place 1"], "load": {"$bin": ""}, "grow": 0, "code": 0}
    assert [event["value"] for event in of_kind(done, "state")] == [json.loads(kept.read_text())]
    assert b"hush" not in done.out + done.err + kept.read_bytes()
    assert client.run(["run", "--state", str(kept), "--state-out", str(kept), OBJECT]).code == 0
    assert json.loads(kept.read_text())["visits"] == 2


def test_a_call_that_fails_leaves_the_object_as_it_was(client, tmp_path):
    kept = tmp_path / "object"
    client.run(["run", "--state-out", str(kept), OBJECT])
    before = kept.read_bytes()
    again = ["run", "--state", str(kept), "--state-out", str(kept)]
    assert client.run(again + [OBJECT, "code=5"]).code == 5
    done = client.run(again + ["--json", OBJECT, "code=5"])
    assert done.code == 5 and not of_kind(done, "state") and of_kind(done, "result")
    assert kept.read_bytes() == before


def test_an_object_out_of_its_range_does_not_come_back(client, tmp_path):
    kept = tmp_path / "object"
    done = client.run(["run", "--state-out", str(kept), OBJECT, "visits=9"])
    assert done.code == 1 and "the worker's state: field visits: 10" in done.error and not kept.exists(), done


def test_state_out_says_what_it_cannot_do(client, tmp_path):
    ping = str(BUILD / "plugins" / "ping.so")
    assert complains(client.run(["run", "--state-out", "x", ping]), 125, "--state-out", "ping", "no state back")
    assert complains(client.run(["run", "--state-out", "-", "--json", OBJECT]), 125, "--state-out -", "--json", "stdout")
    done = client.run(["run", "--state-out", str(tmp_path / "no" / "x"), OBJECT])
    assert done.code == 125 and "--state-out" in done.error and "no/x" in done.error
    terminal = client.terminal(["run", "--state-out", "-", OBJECT])
    assert terminal.wait() == 125 and b"terminal" in terminal.output
    terminal.close()


def test_state_out_into_what_is_no_file_replaces_nothing(client, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE)
    assert client.run(["run", "--state-out", str(fifo), OBJECT]).code == 0
    assert msgpack.unpackb(reader.communicate(timeout=10 * SLOW)[0])["visits"] == 1
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_type_says_that_its_state_comes_back(client):
    assert "returns its state" in client.run(["describe", OBJECT]).text
    assert "returns-state" in json.loads(client.run(["describe", "--json", OBJECT]).text)["traits"]


# --- input ---

def reads_all(client, words, data):
    done = client.run(words, input=data)
    assert json.loads(done.text) == {"bytes": len(data), "sum": sum(data) & 0xffffffff, "error": ""}, done


@pytest.mark.parametrize("size", [0, 1, 65537])
def test_input_is_read_to_its_end(client, size):
    data = (bytes(range(256)) * 300)[:size]
    reads_all(client, ["run", INPUT], data)
    reads_all(client, ["run", INPUT, "asks=yes", "piece=4096"], data)


def test_much_input_is_read_to_its_end(client, via):
    reads_all(client, via.words(INPUT, "asks=yes"), bytes(range(256)) * 20000)


def test_no_input_is_an_end_at_once(client):
    assert json.loads(client.run(["run", "-n", INPUT]).text)["bytes"] == 0


@pytest.mark.parametrize("asks", ["yes", "no"])
def test_a_cancel_ends_the_wait_for_input(client, via, asks):
    """Whoever asks for cancels gets the error and says so in its log, the others are ended."""
    child = client.popen(via.words(INPUT, "asks=" + asks), stdin=subprocess.PIPE, bufsize=0)
    child.stdin.write(b"some")
    assert b"reading" in child.stderr.readline()
    child.send_signal(signal.SIGINT)
    said = child.stderr.read().decode()
    child.stdin.close()
    child.stdout.close()
    assert child.wait(10 * SLOW) == 130
    child.stderr.close()
    assert ("cancelled after" in said) == (asks == "yes"), said


def test_a_deadline_ends_the_wait_for_input(client):
    child = client.popen(["run", "-u", "500ms", INPUT, "asks=yes"], stdin=subprocess.PIPE, bufsize=0)
    said = child.stderr.read().decode()
    child.stdin.close()
    child.stdout.close()
    child.stderr.close()
    assert child.wait(10 * SLOW) == 124 and "cancelled after 0 bytes" in said, said


# --- items ---

def test_items_of_a_declared_type(client, via):
    done = client.run(via.words(ITEMS, before=["--json"]))
    assert [event["value"] for event in of_kind(done, "item")] == [{"mount": "/", "size": 7}], "the secret is for nobody's eyes"
    assert client.run(via.words(ITEMS)).text.startswith('{"mount":"/","size":7}\n')


@pytest.mark.parametrize("what,why", [("other", "struct items, but SSX_WORKER_ITEMS declares disk"), ("any", "declares disk"),
                                      ("range", "size: 101 is not in 1..100")])
def test_items_of_another_type_stay_where_they_are(client, what, why):
    done = client.run(["run", "--json", ITEMS, "what=" + what])
    assert done.code == 1 and not of_kind(done, "item")
    assert [event["level"] for event in of_kind(done, "log")] == ["error"] and why in of_kind(done, "log")[0]["text"], done


def test_the_sender_checks_items_too(client, sshd):
    """A host says what it likes: an item that is no disk is shown for what it is, and called that."""
    items = {"mount": 5}, {"mount": "/", "key": "hush"}, {"mount": "/", "nova": 1}
    forged = b"".join(frame(ITEM, 1, msgpack.packb(value), False) for value in items)
    state = json.dumps({"what": "forged", "frames": {"$bin": base64.b64encode(forged).decode()}})
    done = client.run(["run", "--json", "--state", "-", ITEMS, "node1"], input=state.encode())
    first, second, third = of_kind(done, "item")
    assert first["value"]["mount"] == 5 and "mount: str is wanted, not 5" in first["problem"]
    assert second["value"] == {"mount": "/", "size": 7} and "problem" not in second
    assert "has no field 'nova'" in third["problem"]
    done = client.run(["run", "--state", "-", ITEMS, "node1"], input=state.encode())
    assert done.error.count("an item is no struct disk") == 1 and "mount: str is wanted" in done.error, done


def test_declared_items_are_described(client):
    assert "each item (struct disk):" in client.run(["describe", ITEMS]).text
    assert "each item (struct disk):" in client.run(["run", ITEMS, "--help"]).text
    assert [field["name"] for field in json.loads(client.run(["describe", "--json", ITEMS]).text)["items"]] == ["mount", "size", "key"]


def test_items_without_a_session_have_no_secrets_either(client):
    workload = subprocess.run([*map(str, client.argv(["encode", ITEMS]))], env=client.env, capture_output=True).stdout
    argv = [str(AGENT), "--once", "--plugin-path", str(SDK)]
    done = subprocess.run(argv, input=workload, capture_output=True, env=client.env, timeout=30 * SLOW)
    assert done.returncode == 0 and done.stdout.startswith(b'{"mount":"/","size":7}\n'), done


# --- what else a worker finds ---

def test_log_lines_have_levels_and_are_cut(client):
    done = client.run(["run", "--json", SERVICES, "ask=log"])
    lines = [(event["level"], event["text"]) for event in of_kind(done, "log")]
    assert lines == [("debug", "a debug line"), ("info", "an info line"), ("warning", "two\nlines"), ("error", "x" * 1023)]
    assert "a debug line" not in client.run(["run", SERVICES, "ask=log"]).error
    assert "a debug line" in client.run(["run", "-v", SERVICES, "ask=log"]).error


def test_progress_is_thinned_but_ends(client, via):
    events = of_kind(client.run(via.words(SERVICES, "ask=progress", before=["--json"])), "progress")
    assert (events[-1]["done"], events[-1]["total"]) == (200000, 200000)
    assert len(events) < 2000 and [event["done"] for event in events] == sorted(event["done"] for event in events)


def test_time_left_is_that_of_the_deadline(client):
    def left(*options):
        return json.loads(client.run(["run", *options, SERVICES, "ask=time"]).text)["left_ms"]
    assert left() == -1
    assert 0 < left("-u", "60") <= 60000


def test_the_temp_directory_goes_with_the_call(client, via):
    found = json.loads(client.run(via.words(SERVICES, "ask=temp")).text)
    assert found["right"] and processes.wait_until(lambda: not os.path.lexists(found["temp"]), 2 * SLOW)


def test_memory_is_zeroed_and_aligned(client):
    assert json.loads(client.run(["run", SERVICES, "ask=memory"]).text)["right"]


def test_a_worker_without_memory_says_so_and_keeps_its_output(client, via):
    done = client.run(via.words(SERVICES, "ask=too_much"))
    assert done.code == 1 and "ran out of memory" in done.error and done.text == "said before", done


def test_no_directory_outside_the_sandbox(client):
    assert json.loads(client.run(["run", PLACES]).text) == {"has_temp_dir": False}


def test_exceptions_end_their_call(client):
    assert client.run(["run", THROWER, "what=nothing"]).code == 0
    done = client.run(["run", THROWER, "what=standard"])
    assert done.code == 1 and "a reason in words" in done.error, done
    done = client.run(["run", THROWER, "what=other"])
    assert done.code == 1 and "no std::exception" in done.error, done
