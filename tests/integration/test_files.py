"""Files to a host and back: `sshexec put` and `get`, what a cut leaves and the next one goes on from; and `tail`, followed and cancelled."""
import hashlib
import json
import os
import signal
import stat
import struct
import subprocess

import pytest

import processes
from client import SLOW
from conftest import Via
from relay import Relay

MIB = 1 << 20
PARTIAL = ".sshexec-part-*"
GONE_S = 2
ODD_NAMES = ["a b", "-dash", "new\nline", "über", "'quoted\"", ".hidden", "tab\t",
             b"\xff\xfe".decode("utf-8", "surrogateescape"), "n" * 255, "$HOME", "*"]


def look(root):
    """Everything below root: what it is, its mode, its time, what is in it."""
    found = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(root))] = ("link", os.readlink(path))
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
            found[str(path.relative_to(root))] = (content, stat.S_IMODE(info.st_mode), info.st_mtime_ns)
    return found


@pytest.fixture
def source(scratch):
    top = scratch / "source"
    (top / "deep" / "er").mkdir(parents=True)
    for n, name in enumerate(ODD_NAMES):
        (top / "deep" / name).write_bytes(os.urandom(n * 1000))
        os.chmod(top / "deep" / name, [0o600, 0o755, 0o644, 0o444][n % 4])
    (top / "empty").touch()
    (top / "big").write_bytes(os.urandom(3 * MIB + 1))
    with open(top / "sparse", "wb") as sparse:
        sparse.write(b"begin")
        sparse.seek(20 * MIB)
        sparse.write(b"end")
    (top / "deep" / "link").symlink_to("../big")
    (top / "dangling").symlink_to("/no/where")
    os.utime(top / "big", ns=(1, 981173106_123456789))
    os.utime(top / "deep" / "er", ns=(1, 1_500000000))
    os.chmod(top / "deep" / "er", 0o555)
    return top


class Place:
    """A directory of the account that runs the far half."""

    def __init__(self, client, via, path):
        self.client, self.via, self.path = client, via, path

    def words(self, command, *words, before=()):
        """Words that begin with a colon are there."""
        transport = [] if self.via.host is None else ["--transport", self.via.transport]
        return [command, *transport, *before] + [(self.via.host or "") + word if word.startswith(":") else word for word in map(str, words)]

    def run(self, command, *words, before=(), **how):
        return self.client.run(self.words(command, *words, before=before), **how)

    def at(self, name=""):
        return ":%s/%s" % (self.path, name)

    def partials(self):
        return list(self.path.rglob(PARTIAL))


def make_place(client, via, sshd, scratch):
    path = (scratch if via.host is None else sshd.home) / "there"
    subprocess.run(["rm", "-rf", path], check=True)
    path.mkdir()
    if via.host is not None and sshd.dedicated:
        os.chown(path, sshd.uid, sshd.uid)
    return Place(client, via, path)


@pytest.fixture(params=["local", "libssh", pytest.param("ssh", marks=pytest.mark.long)])
def via(request, sshd):
    return Via(request.param)


@pytest.fixture(params=["libssh", pytest.param("ssh", marks=pytest.mark.long)])
def via_ssh(request, sshd):
    return Via(request.param)


@pytest.fixture
def there(client, via, sshd, scratch):
    place = make_place(client, via, sshd, scratch)
    yield place
    subprocess.run(["rm", "-rf", place.path], check=True)


@pytest.fixture
def far(client, via_ssh, sshd, scratch):
    """The same, over ssh only."""
    place = make_place(client, via_ssh, sshd, scratch)
    yield place
    subprocess.run(["rm", "-rf", place.path], check=True)


def result_of(done):
    return next(e["value"] for e in map(json.loads, done.text.splitlines()) if e["event"] == "result")


def complains(done, code, *words):
    """One line on stderr that has all the words, nothing on stdout, and that exit code."""
    assert done.code == code and done.out == b"", done
    assert done.err.endswith(b"\n") and done.err.count(b"\n") == 1, done
    assert all(word in done.error for word in words), done
    return True


# --- what arrives ---

def test_a_tree_goes_there_and_comes_back(there, source, scratch):
    done = there.run("put", source, there.at())
    assert done.code == 0 and done.out == done.err == b"", done
    assert look(there.path / "source") == look(source)
    back = scratch / "back"
    done = there.run("get", there.at("source/"), back)
    assert done.code == 0 and done.out == done.err == b"", done
    assert look(back) == look(source)
    assert not there.partials() and not list(back.rglob(PARTIAL))
    assert (there.path / "source" / "sparse").stat().st_blocks < 20 * MIB // 512 // 4, "holes were filled"


def test_a_file_gets_a_new_name_or_goes_into_a_directory(there, source, scratch):
    for put in ([source / "big", there.at("renamed")], [source / "big", there.at()], [source / "big", source / "empty", there.at()]):
        assert there.run("put", *put).code == 0
    assert sorted(p.name for p in there.path.iterdir()) == ["big", "empty", "renamed"]
    assert (there.path / "renamed").read_bytes() == (source / "big").read_bytes()
    for get in ([there.at("renamed"), scratch / "one"], [there.at("renamed"), there.at("empty"), scratch]):
        assert there.run("get", *get).code == 0
    assert (scratch / "one").read_bytes() == (scratch / "renamed").read_bytes() == (source / "big").read_bytes()
    assert (scratch / "empty").read_bytes() == b""


def test_paths_are_relative_to_the_login_s_home(client, far, sshd, source):
    if not sshd.dedicated:
        pytest.skip("needs an account of its own")
    for path in (":", ":~", ":there/.."):
        assert far.run("put", source / "empty", path).code == 0
        (sshd.home / "empty").unlink()


def test_what_is_there_is_not_sent_again(there, source):
    first = result_of(there.run("put", source, there.at(), before=["--json"]))
    assert first["files"] == len(ODD_NAMES) + 3 and first["skipped"] == 0 and first["links"] == 2
    again = result_of(there.run("put", source, there.at(), before=["--json"]))
    assert again["files"] == 0 and again["skipped"] == first["files"] and again["bytes"] == 0 and again["kept"] == first["bytes"]
    os.utime(source / "big", ns=(1, 2))
    changed = result_of(there.run("put", source, there.at(), before=["--json"]))
    assert changed["files"] == 1 and changed["bytes"] == 3 * MIB + 1
    assert look(there.path / "source") == look(source)


def test_json_names_each_file_with_its_digest(there, source):
    done = there.run("put", source / "big", there.at("new"), before=["--json"])
    events = [json.loads(line) for line in done.text.splitlines()]
    items = [e["value"] for e in events if e["event"] == "item"]
    assert [i["sha256"] for i in items] == [hashlib.sha256((source / "big").read_bytes()).hexdigest()] and items[0]["name"].endswith("/new")
    assert events[-1]["event"] == "end" and events[-1]["outcome"] == "ok" and not [e for e in events if e["event"] == "output"]


@pytest.mark.long
def test_progress_is_for_terminals(client, there, source):
    (source / "large").write_bytes(os.urandom(40 * MIB))
    terminal = client.terminal(there.words("put", source / "large", there.at()))
    terminal.expect(rb"\d+% .*large")
    assert terminal.wait() == 0
    terminal.close()
    terminal = client.terminal(there.words("get", there.at("large"), source / "copy", before=["-q"]))
    assert terminal.wait() == 0 and b"%" not in terminal.output
    terminal.close()


# --- what goes wrong ---

@pytest.mark.parametrize("command", ["put", "get"])
def test_a_missing_or_closed_target_is_one_clear_line(client, far, sshd, source, command):
    (far.path / "f").write_bytes(b"text")
    os.chmod(far.path / "f", 0o644)
    if command == "put":
        assert complains(far.run("put", source / "big", far.at("no/such")), 1, "put on node1", far.path.name + "/no", "No such file")
        os.chown(far.path, 0, 0)
        if sshd.dedicated:
            assert complains(far.run("put", source / "big", far.at("new")), 1, "Permission denied", "there/new")
        assert [p.name for p in far.path.iterdir()] == ["f"]
    else:
        assert complains(far.run("get", far.at("f"), source / "no" / "such"), 1, str(source / "no"), "No such file")
        assert complains(far.run("get", far.at("nothing"), source / "new"), 1, "there/nothing", "No such file")
        assert not (source / "new").exists()


def test_wrong_words_are_usage_errors(client, source):
    wrong = [["put", "x"], ["put", source / "no", ":/tmp/x"], ["put", source / "big", "/tmp/x"], ["get", "/tmp/x", "/tmp/y"],
             ["get", "a:x", "b:y", "/tmp"]]
    for words in wrong:
        assert complains(client.run(words), 125), words


def test_what_cannot_be_read_is_named_and_the_rest_goes(there, source):
    os.mkfifo(source / "fifo")
    done = there.run("put", source, there.at())
    assert done.code == 1 and b"/fifo: neither" in done.err, done
    (source / "fifo").unlink()
    assert look(there.path / "source").items() >= {k: v for k, v in look(source).items()}.items()
    assert there.run("put", "/proc/version", there.at()).code == 1


def test_a_full_disk_leaves_the_node_as_it_was(client, sshd_with, via_ssh, source):
    server = sshd_with(prepare="mkdir $HOME/small && mount -t tmpfs -o size=6m none $HOME/small && chown $USER $HOME/small || exit")
    if not server.dedicated:
        pytest.skip("needs a mount namespace")
    client.connect_to(server)
    (source / "big").write_bytes(os.urandom(9 * MIB))
    place = Place(client, via_ssh, "small")
    assert place.run("put", source / "empty", ":small/f").code == 0
    before = client.ssh("node1", "ls -lA --full-time small; df small").stdout
    assert complains(place.run("put", source / "big", ":small/f"), 1, "can't write small/f", "No space left")
    assert complains(place.run("put", source / "big", ":small"), 1, "can't write small/big", "No space left")
    assert client.ssh("node1", "ls -lA --full-time small; df small").stdout == before


def record(kind, data=b""):
    return kind + struct.pack(">I", len(data)) + data


def test_bytes_that_do_not_have_their_digest_are_refused(client, there):
    text, name = b"attack at dawn", b"orders"
    entry = struct.pack(">IqIQ", 0o644, 1, 0, len(text)) + name
    body = record(b"B", bytes(8)) + record(b"C", text)
    def stream(digest):
        return record(b"S", b"ssxfiles\1\1") + record(b"F", entry) + record(b"A") + body + record(b"T", digest) + record(b"E", bytes(8))
    (there.path / "orders").write_bytes(b"hold")
    def send(digest):
        return client.run(there.via.words("put", "path=" + str(there.path)), input=stream(digest))
    done = send(hashlib.sha256(b"attack at dusk").digest())
    assert done.code == 1 and b"digest" in done.err and b"orders" in done.err, done
    assert [p.name for p in there.path.iterdir()] == ["orders"] and (there.path / "orders").read_bytes() == b"hold"
    assert send(hashlib.sha256(text).digest()).code == 0
    assert (there.path / "orders").read_bytes() == text


# --- a cut, and going on ---

def large(path, mib=24):
    path.write_bytes(os.urandom(mib * MIB))
    return path


@pytest.mark.parametrize("command", ["put", "get"])
def test_a_cut_transfer_goes_on(client, sshd, far, source, scratch, command):
    data = large((source if command == "put" else far.path) / "large")
    os.chmod(data, 0o644)
    target = far.path / "new" if command == "put" else scratch / "new"
    words = [data, far.at("new")] if command == "put" else [far.at("large"), target]
    client.run(["run", "hello", "node1"]) # the agent is there: what travels are files
    cuts = {"cut_up": 9 * MIB} if command == "put" else {"cut_down": 9 * MIB}
    with Relay("127.0.0.1", sshd.port, **cuts) as relay:
        client.connect_to(sshd, relay.port)
        done = far.run(command, *words)
        assert done.code == 255, done
    parts = lambda: list(target.parent.glob(PARTIAL))
    assert processes.wait_until(lambda: [p for p in parts() if p.stat().st_size > 4 * MIB], 5 * SLOW), "no partial file"
    assert not target.exists()
    with Relay("127.0.0.1", sshd.port) as relay:
        client.connect_to(sshd, relay.port)
        done = far.run(command, *words, before=["--json"])
        assert done.code == 0 and result_of(done)["kept"] > 4 * MIB, done
        assert relay.passed["up" if command == "put" else "down"] < 21 * MIB
    assert target.read_bytes() == data.read_bytes() and target.stat().st_mtime_ns == data.stat().st_mtime_ns
    assert processes.wait_until(lambda: not parts(), GONE_S * SLOW), parts()


@pytest.mark.long
def test_another_source_does_not_go_on_where_the_first_was_cut(client, sshd, far, source):
    data = large(source / "large")
    with Relay("127.0.0.1", sshd.port, cut_up=9 * MIB) as relay:
        client.connect_to(sshd, relay.port)
        assert far.run("put", data, far.at("new")).code == 255
    client.connect_to(sshd)
    assert processes.wait_until(far.partials, 5 * SLOW)
    other = large(source / "other")
    stamp = data.stat()
    done = far.run("put", other, far.at("new"), before=["--json"])
    assert done.code == 0 and result_of(done)["kept"] == 0 and (far.path / "new").read_bytes() == other.read_bytes()
    assert processes.wait_until(lambda: not far.partials(), GONE_S * SLOW), "a partial file of the first source stays"
    # the same size and time, and other bytes: the digest of the beginning tells
    with Relay("127.0.0.1", sshd.port, cut_up=9 * MIB) as relay:
        client.connect_to(sshd, relay.port)
        assert far.run("put", data, far.at("new")).code == 255
    client.connect_to(sshd)
    assert processes.wait_until(far.partials, 5 * SLOW)
    os.utime(other, ns=(1, stamp.st_mtime_ns))
    done = far.run("put", other, far.at("new"), before=["--json"])
    assert done.code == 0 and result_of(done)["kept"] == 0 and (far.path / "new").read_bytes() == other.read_bytes(), done
    assert processes.wait_until(lambda: not far.partials(), GONE_S * SLOW)


def test_a_far_end_that_does_not_know_of_the_cut_is_no_obstacle(client, sshd, far, source):
    """A silent cut: sshd and the worker wait on, and hold what they have."""
    data = large(source / "large")
    with Relay("127.0.0.1", sshd.port, rate=20 * MIB) as relay:
        client.connect_to(sshd, relay.port)
        stuck = client.popen(far.words("put", data, far.at("new")))
        assert processes.wait_until(lambda: [p for p in far.partials() if p.stat().st_size > 4 * MIB], 20 * SLOW)
        relay.freeze()
        client.connect_to(sshd)
        done = far.run("put", data, far.at("new"), before=["--json"])
        assert done.code == 0 and result_of(done)["kept"] > 4 * MIB, done
        assert (far.path / "new").read_bytes() == data.read_bytes()
        stuck.kill()
        stuck.communicate()
    assert processes.wait_until(lambda: not far.partials(), 5 * SLOW), "the first one's partial file stays"


@pytest.mark.parametrize("command", ["put", "get"])
def test_ctrl_c_leaves_what_has_come(client, sshd, far, source, scratch, command):
    data = large((source if command == "put" else far.path) / "large")
    os.chmod(data, 0o644)
    target = far.path / "new" if command == "put" else scratch / "new"
    words = [data, far.at("new")] if command == "put" else [far.at("large"), target]
    parts = lambda: list(target.parent.glob(PARTIAL))
    with Relay("127.0.0.1", sshd.port, rate=10 * MIB) as relay:
        client.connect_to(sshd, relay.port)
        sender = client.popen(far.words(command, *words))
        assert processes.wait_until(lambda: [p for p in parts() if p.stat().st_size > MIB], 20 * SLOW)
        sender.send_signal(signal.SIGINT)
        out, err = sender.communicate(timeout=5 * SLOW)
        assert sender.returncode == 130 and out == b"", (sender.returncode, err)
    assert len(parts()) == 1 and not target.exists()
    assert [p.name for p in target.parent.iterdir() if p.name.startswith(".")] == [parts()[0].name]
    client.connect_to(sshd)
    done = far.run(command, *words, before=["--json"])
    assert done.code == 0 and result_of(done)["kept"] > MIB and target.read_bytes() == data.read_bytes(), done
    assert processes.wait_until(lambda: not parts(), GONE_S * SLOW)


@pytest.mark.long
def test_a_killed_get_keeps_its_part(there, source, scratch):
    """SIGKILL to the sender: its other process has nobody left, and ends."""
    large(there.path / "large", 200).chmod(0o644)
    sender = there.client.popen(there.words("get", there.at("large"), scratch / "new"))
    assert processes.wait_until(lambda: [p for p in scratch.glob(PARTIAL) if p.stat().st_size > MIB], 10 * SLOW, 0.001)
    sender.kill()
    sender.communicate()
    done = there.run("get", there.at("large"), scratch / "new", before=["--json"])
    assert done.code == 0 and result_of(done)["kept"] > MIB, done
    assert (scratch / "new").read_bytes() == (there.path / "large").read_bytes()


# --- tail ---

@pytest.fixture
def log(scratch):
    path = scratch / "log"
    path.write_text("".join("line %d\n" % n for n in range(1, 30001)))
    return path


def test_tail_shows_the_last_lines(client, via, log):
    def shown(*fields):
        return client.run(via.words("tail", "path=%s" % log, *fields)).text.splitlines()
    assert shown() == ["line %d" % n for n in range(29991, 30001)]
    assert shown("lines=0") == [] and shown("lines=12000") == ["line %d" % n for n in range(18001, 30001)]
    assert len(shown("lines=40000")) == 30000
    log.write_text("no\nnewline")
    assert shown("lines=1") == ["newline"] and shown("lines=2") == ["no", "newline"]
    assert complains(client.run(via.words("tail", "path=%s/none" % log.parent)), 1, "No such file")
    assert complains(client.run(via.words("tail", "path=%s" % log.parent)), 1, "not a plain file")


class Follower:
    def __init__(self, client, words, path):
        self.out = open(path, "w+b")
        self.child = client.popen(words, stdout=self.out)
        self.path = path

    def events(self):
        return [json.loads(line) for line in self.path.read_bytes().splitlines() if line.endswith(b"}")]

    def text(self):
        return "".join(e["text"] for e in self.events() if e["event"] == "output")

    def expect(self, end):
        assert processes.wait_until(lambda: self.text().endswith(end), 5 * SLOW), "no %r at the end of %r" % (end, self.text()[-200:])


def test_tail_follows_until_it_is_cancelled(client, via, log, scratch):
    follower = Follower(client, via.words("tail", "path=%s" % log, "lines=1", "follow=true", before=["--json"]), scratch / "events")
    follower.expect("line 30000\n")
    with log.open("a") as more:
        more.write("added\n")
    follower.expect("added\n")
    log.rename(scratch / "log.1") # rotated, and the old one still written to
    with (scratch / "log.1").open("a") as more:
        more.write("late\n")
    log.write_text("new file\n")
    follower.expect("late\nnew file\n")
    with log.open("a") as more:
        more.write("more\n")
    follower.expect("more\n")
    log.write_text("cut\n")
    follower.expect("cut\n")
    tails = lambda: [p for p in processes.descendants() if p.pid != follower.child.pid and "tail" in p.command]
    follower.child.send_signal(signal.SIGINT)
    assert follower.child.wait(5 * SLOW) == 130
    assert processes.wait_until(lambda: not tails(), GONE_S * SLOW), tails()
    events = follower.events()
    result = next(e["value"] for e in events if e["event"] == "result")
    assert result == {"lines": 6, "bytes": len(follower.text()), "rotations": 1, "truncations": 1}
    assert events[-1]["event"] == "end" and events[-1]["outcome"] == "cancelled"
