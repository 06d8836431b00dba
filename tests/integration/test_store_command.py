"""sshexec store: what a host has stored is shown, hashed anew and pruned; what a running call, a session or a generation uses is never removed."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest

import processes
from agents import CANCEL, CREDIT, END, HELLO as GREETS, OFFER, PING as ASKS, PONG, RESULT, Raw, ZOO, ends, frame, greeting, pack, unpack
from client import BUILD, SLOW

HELLO, PING = BUILD / "plugins" / "hello.so", BUILD / "plugins" / "ping.so"
CANCELLED = 4
YEAR = 365 * 24 * 3600


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Node:
    """The store of the account that node1 and node2 log in to."""

    def __init__(self, client, sshd):
        self.client, self.sshd, self.dir = client, sshd, sshd.home / ".cache" / "sshexec"
        self.objects = self.dir / "objects"

    def store(self, *words, host="node1", **how):
        return self.client.run(["store", *words, *([host] if host else [])], **how)

    def items(self, *words, **how):
        result = self.store(*words, "--json", **how)
        assert result.code in (0, 1), result
        return [json.loads(line) for line in result.text.splitlines()]

    def bring(self, *plugins):
        for plugin in plugins:
            result = self.client.run(["run", plugin, "node1"])
            assert result.code == 0, result

    def names(self):
        return sorted(path.name for path in self.objects.iterdir())

    def path(self, plugin):
        return self.objects / digest(plugin)

    def age(self, plugin, seconds):
        then = self.path(plugin).stat().st_mtime - seconds
        os.utime(self.path(plugin), (then, then))

    def own(self, path):
        """Makes it the account's."""
        if self.sshd.dedicated:
            for each in (path, *path.rglob("*")):
                os.chown(each, self.sshd.uid, self.sshd.uid)

    def damage(self, plugin):
        path = self.path(plugin)
        path.chmod(0o700)
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
        path.chmod(0o500)

    def generation(self, name, text):
        path = self.dir / "generations" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.own(self.dir / "generations")


@pytest.fixture
def node(client, clean_sshd):
    return Node(client, clean_sshd)


def test_list_shows_what_is_stored(node):
    node.bring(HELLO, PING)
    node.age(HELLO, 3 * 3600)
    text = node.store("list").text
    size = HELLO.stat().st_size + PING.stat().st_size
    assert text.splitlines()[0] == "node1: %s: 2 objects, %.1f KiB" % (node.dir, size / 1024)
    assert re.search(r"%s .* 3h  hello 1\.0\n" % digest(HELLO)[:16], text) and "ping 1.0" in text
    hello, ping = node.items("list")
    assert hello == {"host": "node1", "event": "object", "outcome": "ok", "store": str(node.dir), "digest": digest(HELLO), "size": HELLO.stat().st_size, "idle_s": hello["idle_s"], "use": None, "state": "kept",
                     "type": "hello", "version": "1.0"}
    assert hello["idle_s"] >= 3 * 3600 > 600 > ping["idle_s"]


def test_a_host_that_has_nothing_says_so(node):
    assert node.store("list", "--ephemeral").text == "node1: nothing is stored\n" and not node.dir.exists()
    assert node.store("list", "--no-bootstrap").code == 255 and not node.dir.exists()
    assert node.store("list").text == "node1: nothing is stored\n" and not node.objects.exists()


def test_a_store_without_our_agent_gets_it(node):
    node.bring(HELLO)
    shutil.rmtree(node.dir / "agents")
    assert [item["type"] for item in node.items("list")] == ["hello"]


def test_what_is_used_counts_as_young(node):
    node.bring(HELLO)
    node.age(HELLO, YEAR)
    assert node.items("list")[0]["idle_s"] >= YEAR
    node.bring(HELLO)
    assert node.items("list")[0]["idle_s"] < 600
    assert node.path(HELLO).stat().st_mode & 0o7777 == 0o500 and digest(node.path(HELLO)) == digest(HELLO)


def test_verify_finds_what_is_damaged(node):
    node.bring(HELLO, PING)
    assert node.store("verify").text.endswith(", all sound\n")
    node.damage(HELLO)
    result = node.store("verify")
    assert result.code == 1 and ", 1 damaged\n" in result.text and re.search(r"%s .* damaged\n" % digest(HELLO)[:16], result.text)
    assert {item["digest"]: item["state"] for item in node.items("verify")} == {digest(HELLO): "damaged", digest(PING): "kept"}
    assert len(node.names()) == 2
    assert node.store("verify", "--remove").code == 1
    assert node.names() == [digest(PING)]
    assert node.store("verify").code == 0
    node.bring(HELLO)
    assert len(node.names()) == 2


def test_a_damaged_object_is_found_before_it_runs(node):
    node.bring(HELLO)
    node.damage(HELLO)
    node.bring(HELLO)  # it was brought again
    assert node.store("verify").code == 0


def test_gc_removes_what_was_not_used_for_long(node):
    node.bring(HELLO, PING)
    node.age(HELLO, 31 * 24 * 3600)
    assert "; 1 would go, " in node.store("gc", "--dry-run").text
    assert len(node.names()) == 2
    assert "; 1 removed, " in node.store("gc").text  # 30 days
    assert node.names() == [digest(PING)]
    assert "; 0 removed\n" in node.store("gc", "--older-than", "1h").text
    assert "; 1 removed" in node.store("gc", "--older-than", "0").text
    assert node.names() == []


def test_gc_keeps_the_latest_used_within_a_size(node):
    node.bring(HELLO, PING)
    node.age(HELLO, 60)
    assert "; 0 removed\n" in node.store("gc", "--keep", "1G").text
    assert "; 1 removed" in node.store("gc", "--keep", str(PING.stat().st_size)).text
    assert node.names() == [digest(PING)]
    assert "; 1 removed" in node.store("gc", "--keep", "0").text


def test_gc_removes_what_uploads_left(node):
    node.bring(HELLO)
    left, fresh = node.objects / ".in-abcdef", node.objects / ".in-ghijkl"
    for path in (left, fresh):
        path.write_text("half an object")
    os.utime(left, (1, 1))
    node.own(node.objects)
    node.store("gc")
    assert not left.exists() and fresh.exists()


def test_gc_never_removes_what_a_generation_uses(node):
    node.bring(HELLO, PING)
    node.generation("1/web.manifest", "type hello 1.0 0123456789abcdef\nvariant x86_64 any 5 %s\n" % digest(HELLO))
    result = node.store("gc", "--keep", "0")
    assert "; 1 removed" in result.text and node.names() == [digest(HELLO)]
    assert node.items("list")[0]["use"] == "generation"
    shutil.rmtree(node.dir / "generations" / "1")
    assert "; 1 removed" in node.store("gc", "--keep", "0").text


def test_gc_removes_nothing_where_it_can_t_tell_what_is_in_use(node):
    node.bring(HELLO)
    node.generation("1/web.manifest", "x" * (1 << 20) + "\n" + digest(HELLO))
    result = node.store("gc", "--keep", "0")
    assert result.code == 126 and "web.manifest is larger than the limit" in result.error and result.error.count("\n") == 1
    assert node.names() == [digest(HELLO)]


@pytest.mark.parametrize("stop", ["end", "kill"])
def test_gc_never_removes_what_a_running_call_uses(node, stop):
    child = node.client.popen(["run", ZOO / "sleep.so", "node1", "ms=60000"])
    try:
        assert processes.wait_until(lambda: node.objects.exists() and digest(ZOO / "sleep.so") in node.names() and node.items("list")[0]["use"] == "call", 10 * SLOW)
        result = node.store("gc", "--keep", "0")
        assert "; 0 removed\n" in result.text
        assert node.names() == [digest(ZOO / "sleep.so")]
        child.send_signal(signal.SIGINT if stop == "end" else signal.SIGKILL)
        child.wait(10 * SLOW)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()
    assert processes.wait_until(lambda: node.items("list")[0]["use"] is None, 10 * SLOW), "whoever is gone holds nothing"
    assert "; 1 removed" in node.store("gc", "--keep", "0").text


def test_calls_go_on_while_everything_is_pruned(node):
    node.bring(HELLO)
    stop, codes = threading.Event(), []

    def prune():
        while not stop.is_set():
            codes.append(node.store("gc", "--keep", "0").code)
    pruning = threading.Thread(target=prune)
    pruning.start()
    try:
        for _ in range(12):
            assert node.client.run(["run", HELLO, "node1", "name=Ada"]).text.startswith("hello, Ada\n")
    finally:
        stop.set()
        pruning.join()
    assert codes and set(codes) == {0}
    assert node.store("verify").code == 0


def test_a_store_of_somebody_else_is_not_used(node):
    node.bring(HELLO)
    real = node.dir.with_name("real")
    node.dir.rename(real)
    node.dir.symlink_to(real)
    result = node.store("gc", "--keep", "0")
    assert result.code == 126 and result.error == "sshexec: node1: won't use %s: it is a link, or belongs to another user\n" % node.dir
    assert (real / "objects" / digest(HELLO)).exists()
    node.dir.unlink()
    real.rename(node.dir)
    if node.sshd.dedicated:
        os.chown(node.dir, 0, 0)
        assert "belongs to another user" in node.store("list").error
        os.chown(node.dir, node.sshd.uid, node.sshd.uid)
    node.objects.chmod(0o777)
    result = node.store("gc", "--keep", "0")
    assert result.code == 126 and "is writable by others" in result.error and result.error.count("\n") == 1
    assert node.names() == [digest(HELLO)]


def test_a_store_that_can_t_be_written_says_so(node):
    if not node.sshd.dedicated:
        pytest.skip("needs an account that is not root")
    node.bring(HELLO)
    node.objects.chmod(0o500)
    result = node.store("gc", "--keep", "0")
    assert result.code == 126 and "can't remove %s: Permission denied" % node.path(HELLO) in result.error and result.error.count("\n") == 1
    node.objects.chmod(0o700)
    assert node.names() == [digest(HELLO)]


def test_hosts_are_sets_and_what_is_the_same_is_shown_once(node):
    node.bring(HELLO)
    os.utime(node.path(HELLO), (0, 0)) # an age that is shown in days: it is the same for both
    result = node.client.run(["store", "list", "-w", "node[1-3],node2", "-x", "node3", "-f", "1"])
    assert result.code == 0 and result.text.startswith("node[1-2]: %s: 1 object, " % node.dir) and result.text.count("hello 1.0") == 1
    assert re.fullmatch(r"sshexec: 2 hosts in \S+ s: 2 ok\n", result.error), result
    assert node.store("list", "-q", host="node[1-2]").error == ""
    hosts = node.client.home / "hosts"
    hosts.write_text("node1\nnode2\n")
    assert [item["host"] for item in node.items("list", "--hostfile", hosts, host=None)] == ["node1", "node2"]
    result = node.client.run(["store", "verify", "-o", "ConnectTimeout=2", "no-such-host.invalid", "node1"])
    assert result.code == 123 and "node1: %s: 1 object" % node.dir in result.text and "all sound" in result.text
    assert "sshexec: no-such-host.invalid: unreachable: " in result.error and "1 ok, 1 unreachable (no-such-host.invalid)" in result.error
    assert node.client.run(["store", "list", "-w", "@no-such-group"]).code == 125


def test_an_agent_that_was_brought_looks_at_each_place_of_its_kind(client, scratch):
    """One of another version may have found no room in the home."""
    places = scratch / "home" / ".cache" / "sshexec", scratch / "run" / "sshexec"
    for place in places:
        (place / "objects").mkdir(parents=True)
        (place / "objects" / digest(PING)).write_bytes(PING.read_bytes())
    agent = Raw(dict(client.env, HOME=str(scratch / "home"), XDG_RUNTIME_DIR=str(scratch / "run"), XDG_CACHE_HOME=""), scratch, store=places[0])
    agent.send(greeting() + frame(OFFER, 1, [], {"do": "tend", "words": "gc:0:"}))
    agent.read_until(lambda frames: any(f[0] == END for f in frames))
    value, _ = unpack(b"".join(f[2] for f in agent.converse() if f[0] == RESULT))
    assert [path for path, problem, objects in value["stores"] if objects] == list(map(str, places))
    assert not [*places[0].glob("objects/*"), *places[1].glob("objects/*")]


def test_here_only_the_store_that_is_meant_is_touched(client):
    other = client.home / "other"
    sleep = ["run", ZOO / "sleep.so", "ms=1"]  # which the local agent has no plugin of its own for
    assert client.run(sleep).code == client.run(sleep, env={"XDG_CACHE_HOME": str(other)}).code == 0
    assert "sleep 1.0" in client.run(["store", "list"], env={"XDG_CACHE_HOME": str(other)}).text
    result = client.run(["store", "gc", "--keep", "0"], env={"XDG_CACHE_HOME": str(other)})
    assert "; 1 removed" in result.text and result.text.startswith("this machine: %s/sshexec: " % other) and str(client.home / ".cache") not in result.text
    assert "1 object," in client.run(["store", "list"]).text
    assert not list((other / "sshexec" / "objects").iterdir())


def test_words_that_make_no_sense_are_refused(client):
    for words, part in [(["store"], "list, verify or gc"), (["store", "prune"], "list, verify or gc"), (["store", "list", "--keep", "1"], "belong to store gc"),
                        (["store", "gc", "--keep", "1x"], "is not a size"), (["store", "gc", "--older-than", "soon"], "is not a duration"), (["store", "list", "--remove"], "store verify"),
                        (["store", "list", "--", "x"], 'behind "--"')]:
        result = client.run(words)
        assert result.code == 125 and part in result.error, (words, result)


@pytest.fixture
def tend(client, scratch):
    """tend(words, ...) asks a store's agent itself. Returns the outcome and the END's map."""
    def ask(words):
        agent = Raw(client.env, scratch, store=scratch / "store")
        agent.send(greeting() + frame(OFFER, 1, [], {"do": "tend", "words": words}))
        agent.read_until(lambda frames: any(f[0] == END for f in frames))
        return ends(agent.converse())[1]
    return ask


@pytest.mark.parametrize("words", ["", "gc", "gc:", "gc:1", "gc:1:2:3", "gc:-1:2", "gc-dry", "verify-", "listing", "gc:x:1", "l" * 300])
def test_an_agent_takes_only_what_it_knows(tend, words, scratch):
    (scratch / "store" / "objects").mkdir(parents=True)
    outcome, end = tend(words)
    assert outcome == 5 and "nothing that can be done to a store" in end["message"], end


def test_an_agent_tells_no_faster_than_its_sender_takes_it(client, scratch):
    """A store of 2,000 objects: an answer of more than a window of 64 KiB."""
    store = scratch / "store"
    (store / "objects").mkdir(parents=True)
    store.chmod(0o700)
    for i in range(2000):
        (store / "objects" / hashlib.sha256(b"%d" % i).hexdigest()).touch()
    agent = Raw(client.env, scratch, store=store)
    agent.send(greeting(1 << 16) + frame(OFFER, 1, [], {"do": "tend", "words": "list"}))
    agent.read_until(lambda frames: any(f[0] == RESULT for f in frames))
    agent.send(frame(ASKS, 0, 7))
    frames = agent.read_until(lambda frames: any(f[0] == PONG for f in frames))
    assert [len(f[2]) for f in frames if f[0] == RESULT] == [1 << 16], "and no more than the window"
    agent.send(frame(CREDIT, 1, 1 << 20))
    frames = agent.read_until(lambda frames: any(f[0] == END for f in frames))
    agent.converse()
    value, _ = unpack(b"".join(f[2] for f in frames if f[0] == RESULT))
    assert ends(frames)[1][0] == 0 and [len(objects) for _, _, objects in value["stores"]] == [2000]


def test_a_large_store_is_listed_whole(client):
    objects = client.home / ".cache" / "sshexec" / "objects"
    objects.mkdir(parents=True)
    objects.parent.chmod(0o700)
    for i in range(20000):
        (objects / hashlib.sha256(b"%d" % i).hexdigest()).touch()
    assert ": 20000 objects, 0 B\n" in client.run(["store", "list"], timeout=60).text


def test_one_thing_at_a_time_is_done_to_a_store(client, scratch):
    """Both lock its generations: a session that did both would wait for itself."""
    store = scratch / "store"
    (store / "objects").mkdir(parents=True)
    store.chmod(0o700)
    with open(store / "objects" / ("0" * 64), "wb") as sparse:
        sparse.truncate(256 << 20)
    agent = Raw(client.env, scratch, store=store)
    agent.send(greeting() + frame(OFFER, 1, [], {"do": "tend", "words": "verify"}) + frame(OFFER, 2, [], {"do": "tend", "words": "list"}) +
               frame(OFFER, 3, [], {"do": "list"}) + frame(CANCEL, 1))
    frames = agent.read_until(lambda frames: len([f for f in frames if f[0] == END]) == 3)
    agent.converse()
    assert ends(frames)[1][0] == CANCELLED and ends(frames)[2][1]["reason"] == ends(frames)[3][1]["reason"] == "busy", ends(frames)


def test_who_may_bring_nothing_may_remove_nothing(client, tend):
    config = client.home / ".config" / "sshexec"
    config.mkdir(parents=True)
    (config / "agent.conf").write_text("uploads = no\n")
    for words in ("list", "verify", "gc-dry:0:"):
        assert tend(words)[0] == 0
    for words in ("gc:0:", "verify-remove"):
        outcome, end = tend(words)
        assert outcome == 5 and "agent.conf:1: uploads" in end["message"], end


ITEM = ["kept", b"\0" * 32, 1, 1, "-", "hello", "1.0"]


def changed(**by):
    names = ("state", "digest", "size", "idle", "use", "type", "version")
    return [by.get(name, was) for name, was in zip(names, ITEM)]


def fake_transport(client, scratch, *frames):
    """An agent that greets and then says these frames, whatever it is asked, as the transport `fake`."""
    (scratch / "answer").write_bytes(frame(GREETS, 0, {"min": 1, "max": 1, "window": 1 << 20}) + b"".join(frames))
    fake = scratch / "fake"
    fake.write_text("#!/bin/sh\nread -r greeting version nonce\nprintf 'sshexec-agent 1 %%s\\r\\n\\0\\377' $nonce\ncat %s -\n" % (scratch / "answer"))
    fake.chmod(0o755)
    config = client.home / ".config" / "sshexec" / "config"
    config.parent.mkdir(parents=True)
    config.write_text("[transport fake]\ncommand = %s %%h %%c\n" % fake)


@pytest.mark.parametrize("answer", [
    b"\x01", {}, {"stores": 7}, {"stores": ["x"]}, {"stores": [["/somewhere", ""]]}, {"stores": [["/somewhere", "", [7]]]}, {"stores": [["/somewhere", "", [ITEM[:-1]]]]},
    *({"stores": [["/somewhere", "", [ITEM, changed(**by)]]]} for by in (
        {"state": "gone"}, {"state": "\033[2J"}, {"digest": b"\0" * 31}, {"digest": "0" * 64}, {"size": -1}, {"size": "1"}, {"idle": -1}, {"use": "what"}, {"type": "../x"}, {"version": 7}))])
def test_an_agent_that_talks_nonsense_is_refused(client, scratch, answer):
    value = answer if isinstance(answer, bytes) else pack(answer)
    fake_transport(client, scratch, frame(RESULT, 1, value, False), frame(END, 1, 0, {}))
    result = client.run(["store", "list", "--transport", "fake", "web1"])
    assert result.code == 255 and result.text == "" and "its agent's answer makes no sense" in result.error and result.error.count("\n") == 1, result


@pytest.mark.parametrize("answer", [
    None, 1, [], {"generation": "7"}, {"generation": -1}, {"generation": 1 << 32}, {"changes": 1}, {"has": 7},
    {"needs": None}, {"bytes": 1 << 63}, {7: 7}])
def test_success_without_an_answer_that_makes_sense_is_a_loss(client, scratch, answer):
    frames = [] if answer is None else [frame(RESULT, 1, pack(answer), False)]
    fake_transport(client, scratch, *frames, frame(END, 1, 0, {}))
    result = client.run(["rollback", "--json", "--transport", "fake", "web1"])
    event, = map(json.loads, result.text.splitlines())
    assert (result.code, event["outcome"]) == (255, "lost"), result
    assert event["message"] == "its agent's answer makes no sense", event
