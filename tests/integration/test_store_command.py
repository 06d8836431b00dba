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
from agents import AGENT, ZOO
from client import BUILD, SLOW

HELLO, PING = BUILD / "plugins" / "hello.so", BUILD / "plugins" / "ping.so"
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
    assert hello == {"host": "node1", "store": str(node.dir), "digest": digest(HELLO), "size": HELLO.stat().st_size, "idle_s": hello["idle_s"], "use": None, "state": "kept",
                     "type": "hello", "version": "1.0"}
    assert hello["idle_s"] >= 3 * 3600 > 600 > ping["idle_s"]


def test_a_host_that_has_nothing_gets_no_agent_for_that(node):
    assert node.store("list").text == "node1: nothing is stored\n"
    assert node.store("gc").code == 0
    assert not node.dir.exists()


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


def test_several_hosts_are_asked_in_turn(node):
    node.bring(HELLO)
    result = node.client.run(["store", "list", "node1", "node2"])
    assert result.code == 0 and [line.split(":")[0] for line in result.text.splitlines() if ": " in line] == ["node1", "node2"]
    result = node.client.run(["store", "verify", "-o", "ConnectTimeout=2", "no-such-host.invalid", "node1"])
    assert result.code == 123 and "all sound" in result.text and "no-such-host.invalid" in result.error


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


@pytest.mark.parametrize("words", ["", "gc", "gc:", "gc:1", "gc:1:2:3", "gc:-1:2", "gc-dry", "verify-", "listing", "gc:x:1"])
def test_an_agent_takes_only_what_it_knows(words, tmp_path):
    done = subprocess.run([AGENT, "--store", tmp_path, "--tend", words], capture_output=True, text=True)
    assert done.returncode == 125 and done.stdout.startswith("fail ")


@pytest.mark.parametrize("line", ["kept", "kept %s x 1 - hello 1.0" % ("0" * 64), "kept %s 1 1 - hello" % ("0" * 63), "gone %s 1 1 - hello 1.0" % ("0" * 64), "kept %s 1 1 what hello 1.0" % ("0" * 64),
                                  "kept %s 1 1 - ../x 1.0" % ("0" * 64), "x" * 5000, "\033[2J"])
def test_an_agent_that_talks_nonsense_is_refused(client, scratch, line):
    fake = scratch / "fake"
    fake.write_text("#!/bin/sh\nn=$(grep -o 'sshexec-host 1 [0-9a-f]*' | head -n 1)\necho \"$n store /somewhere\"\nprintf '%%s %%s\\n' \"$n\" '%s'\necho \"$n end\"\necho \"$n done .\"\n" % line)
    fake.chmod(0o755)
    config = client.home / ".config" / "sshexec" / "config"
    config.parent.mkdir(parents=True)
    config.write_text("[transport fake]\ncommand = %s %%h %%c\n" % fake)
    result = client.run(["store", "list", "--transport", "fake", "web1"])
    assert result.code == 255 and "its agent says" in result.error and "\033" not in result.error and result.error.count("\n") == 1, result
