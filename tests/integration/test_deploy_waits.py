"""What takes long on a node while a bundle is put there (a plugin that tests itself, ssh-keygen that judges a signature,
another session that has the store) holds nobody up: its session answers, serves other calls, and ends it at once where
nobody wants it any more."""
import fcntl
import os
import signal
import subprocess

import pytest

import processes
from agents import CANCEL, CHUNK, END, NEED, OFFER, PING, PONG, Raw, call, ends, frame, greeting
from bundles import PLUGINS, Shop, digest
from client import BUILD, SLOW
from sshd import make_key
from test_deploy import Node, events, member, signers_file
from test_lease import LEASE
from test_test import SELFTEST

CANCELLED = 4


@pytest.fixture
def shop(client):
    return Shop(client)


@pytest.fixture
def here(client):
    return Node(client, client.home / ".cache" / "sshexec")


class Slow:
    """A plugin whose selftest says that it runs (a file with its process), and goes on until it may end (another file)."""

    def __init__(self, shop, directory):
        self.dir = directory / "selftest"
        self.dir.mkdir()
        self.dir.chmod(0o777)
        body = '({ FILE *f = fopen("%s/runs", "w"); if (f) { fprintf(f, "%%d\\n", (int)getpid()); fclose(f); } while (access("%s/go", F_OK)) usleep(5000); 0; })' % (self.dir, self.dir)
        source = shop.dir / "probe.c"
        source.write_text("#include <stdio.h>\n#include <unistd.h>\n" + SELFTEST % body)
        self.plugin = shop.dir / "probe.so"
        subprocess.run(["gcc", "-std=gnu17", "-shared", "-fPIC", "-I%s/include" % BUILD, source, "-o", self.plugin], check=True)

    def pid(self):
        """Of the process that tests it, once it does."""
        path = self.dir / "runs"
        assert processes.wait_until(lambda: path.exists() and path.read_text().endswith("\n"), 20 * SLOW)
        return int(path.read_text())

    def go(self):
        (self.dir / "go").touch()


def is_gone(pid):
    return processes.wait_until(lambda: not os.path.exists("/proc/%d" % pid), 5 * SLOW)


def is_answered(agent, id):
    """A PING, and another call."""
    before = len(agent.frames())
    agent.send(frame(PING, 0, id) + call(id, "hello"))
    frames = agent.read_until(lambda frames: any(f[0] == PONG and f[-1] == id for f in frames) and id in ends(frames))
    return len(frames) > before and ends(frames)[id][0] == 0


def send_to(agent, bundle, plugin):
    """Begins to prepare it, and sends its object."""
    agent.send(greeting() + frame(OFFER, 1, [], {"do": "prepare", "manifest": member(bundle, "manifest")}))
    agent.read_until(lambda frames: any(f[0] == NEED for f in frames))
    agent.send(frame(CHUNK, 1, bytes.fromhex(digest(plugin.read_bytes())), plugin.read_bytes(), False))


def test_a_session_answers_while_a_plugin_tests_itself(client, shop, scratch):
    slow = Slow(shop, scratch)
    agent = Raw(client.env, scratch, store=scratch / "store", plugins=PLUGINS)
    send_to(agent, shop.bundle("web-1.0", slow.plugin), slow.plugin)
    tester = slow.pid()
    assert is_answered(agent, 2) and is_answered(agent, 3) and 1 not in ends(agent.frames())
    slow.go()
    assert ends(agent.read_until(lambda frames: 1 in ends(frames)))[1][0] == 0
    assert is_gone(tester) and list((scratch / "store").rglob("objects/" + digest(slow.plugin.read_bytes())))
    agent.converse()


def test_a_cancel_ends_a_plugin_s_own_test(client, shop, scratch):
    slow = Slow(shop, scratch)
    agent = Raw(client.env, scratch, store=scratch / "store", plugins=PLUGINS)
    send_to(agent, shop.bundle("web-1.0", slow.plugin), slow.plugin)
    tester = slow.pid()
    agent.send(frame(CANCEL, 1))
    assert ends(agent.read_until(lambda frames: 1 in ends(frames)))[1][0] == CANCELLED
    assert is_gone(tester) and is_answered(agent, 2)
    assert not list((scratch / "store").rglob("objects/*")) and not list((scratch / "store").rglob("ready-*"))
    agent.converse()


def test_a_bundle_that_is_larger_than_what_may_wait_comes_in_turns(shop, here):
    """16 MiB of objects wait for their test at most: others are asked for later."""
    plugins = [shop.plugin(name, os.urandom(6 << 20)) for name in ("hella", "hellb", "hellc", "helld", "helle")]
    plugins.append(shop.plugin("hellf", os.urandom(20 << 20)))
    *progress, end = events(here.deploy("--json", shop.bundle("web-1.0", *plugins)))
    assert end["event"] == "end" and end["switched"] and end["objects"] == 6 and here.is_sound()
    size = sum(plugin.stat().st_size for plugin in plugins)
    assert progress[-1]["done"] == size and {(e["event"], e["total"]) for e in progress} == {("progress", size)}, progress


def test_a_lease_is_kept_while_a_plugin_tests_itself(client, shop, clean_sshd, scratch):
    slow = Slow(shop, scratch)
    sender = client.popen(["deploy", "--lease", LEASE, shop.bundle("web-1.0", slow.plugin), "node1"])
    slow.pid()
    assert not processes.wait_until(lambda: sender.poll() is not None, 1.5 * SLOW), sender.communicate() # two leases; a proof may take 10 s
    slow.go()
    out, err = sender.communicate(timeout=20 * SLOW)
    assert sender.returncode == 0, (out, err)


def test_an_interrupt_ends_a_plugin_s_own_test(client, shop, clean_sshd, scratch):
    slow = Slow(shop, scratch)
    sender = client.popen(["deploy", shop.bundle("web-1.0", slow.plugin), "node1"])
    tester = slow.pid()
    sender.send_signal(signal.SIGINT)
    out, err = sender.communicate(timeout=5 * SLOW) # less than a proof may take
    assert sender.returncode == 130, (out, err)
    assert is_gone(tester) and processes.wait_until(lambda: not processes.descendants(), 5 * SLOW), [str(p) for p in processes.descendants()]
    store = clean_sshd.home / ".cache" / "sshexec"
    assert not (store / "current").is_symlink() and not list(store.glob("objects/*")) and not list(store.glob("generations/*"))


class Locked:
    """The store's generations, as another session has them that tends the store (LOCK_SH) or changes them (LOCK_EX)."""

    def __init__(self, store, how):
        store.mkdir(mode=0o700, exist_ok=True)
        self.file = open(store / "lock", "a+b")
        fcntl.lockf(self.file, how, 1, 1 << 62)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def order_of(what, text):
    named = {"switch": {"bundle": bytes.fromhex(digest(text))}, "tend": {"words": "list"}, "rollback": {}}
    return {"do": what, **named.get(what, {"manifest": text})}


# What is asked for, what the other session holds meanwhile, and the generation in force in the end.
ORDERS = [("prepare", fcntl.LOCK_SH, 2), ("install", fcntl.LOCK_SH, 3), ("switch", fcntl.LOCK_SH, 3), ("rollback", fcntl.LOCK_EX, 1),
          ("tend", fcntl.LOCK_EX, 2)]


@pytest.mark.parametrize("what, held, then", ORDERS)
def test_a_session_answers_while_another_has_the_store(client, shop, here, scratch, what, held, then):
    """And does what was asked once that one is done, unless nobody wants it any more."""
    for n in range(2):
        here.deployed(shop.bundle("web-1.%d" % n, PLUGINS / "hello.so", serial=n))
    text = member(shop.bundle("web-1.2", PLUGINS / "hello.so", serial=2), "manifest")
    agent = Raw(client.env, scratch, store=here.dir, plugins=PLUGINS)
    agent.send(greeting() + frame(OFFER, 1, [], order_of("prepare", text)))
    assert ends(agent.read_until(lambda frames: 1 in ends(frames)))[1][0] == 0
    with Locked(here.dir, held):
        agent.send(frame(OFFER, 2, [], order_of(what, text)))
        assert is_answered(agent, 3) and is_answered(agent, 4) and 2 not in ends(agent.frames())
        agent.send(frame(CANCEL, 2))
        assert ends(agent.read_until(lambda frames: 2 in ends(frames)))[2][0] == CANCELLED
        agent.send(frame(OFFER, 5, [], order_of(what, text)))
        assert is_answered(agent, 6) and 5 not in ends(agent.frames())
        assert os.readlink(here.dir / "current") == "generations/2"
    assert ends(agent.read_until(lambda frames: 5 in ends(frames)))[5][0] == 0
    assert os.readlink(here.dir / "current") == "generations/%d" % then
    agent.converse()


def test_a_deploy_waits_for_another_session_that_has_the_store(client, shop, here):
    """As its user sees it."""
    here.deployed(shop.bundle("web-1.0", PLUGINS / "hello.so"))
    with Locked(here.dir, fcntl.LOCK_SH):
        sender = client.popen(["deploy", shop.bundle("web-1.1", shop.plugin(extra=b"1"), serial=2)])
        # all is there but the lock
        assert processes.wait_until(lambda: len(list((here.dir / "objects").iterdir())) == 2, 20 * SLOW)
        assert sender.poll() is None and os.readlink(here.dir / "current") == "generations/1"
    out, err = sender.communicate(timeout=20 * SLOW)
    assert sender.returncode == 0 and os.readlink(here.dir / "current") == "generations/2", (out, err)


@pytest.fixture
def signed(client, shop, scratch):
    """A bundle, and a file of signers that nobody writes yet: a pipe."""
    key = shop.dir / "key"
    line = "ada@example.org " + make_key(key) + "\n"
    signers = signers_file(scratch, "")
    signers.unlink()
    os.mkfifo(signers, 0o600)
    config = client.home / ".config" / "sshexec"
    config.mkdir(parents=True)
    (config / "agent.conf").write_text("require_signed = yes\nallow = hello\nuploads = yes\nsigners = %s\n" % signers)
    bundle = shop.bundle("web-1.0", PLUGINS / "hello.so", sign=key)
    order = {"do": "look", "manifest": member(bundle, "manifest"), "signature": member(bundle, "manifest.sig")}
    return signers, line, order


def keygens(signers):
    return [p for p in processes.find(str(signers)) if "ssh-keygen" in p.command]


def test_a_session_answers_while_a_signature_is_verified(client, scratch, signed):
    signers, line, order = signed
    agent = Raw(client.env, scratch, store=scratch / "store", plugins=PLUGINS)
    agent.send(greeting() + frame(OFFER, 1, [], order))
    assert processes.wait_until(lambda: keygens(signers), 10 * SLOW)
    agent.send(frame(PING, 0, 7))
    agent.read_until(lambda frames: any(f[0] == PONG for f in frames))
    agent.send(frame(CANCEL, 1))
    assert ends(agent.read_until(lambda frames: 1 in ends(frames)))[1][0] == CANCELLED
    assert processes.wait_until(lambda: not keygens(signers), 5 * SLOW)
    agent.send(frame(OFFER, 2, [], order))
    for step in ("find-principals", "verify"):
        assert processes.wait_until(lambda: [p for p in keygens(signers) if step in p.command], 10 * SLOW), step
        signers.write_text(line) # waits for its reader
    assert ends(agent.read_until(lambda frames: 2 in ends(frames)))[2][0] == 0
    agent.converse()


def test_a_sender_that_leaves_ends_what_judges_its_signature(client, scratch, signed):
    signers, _, order = signed
    agent = Raw(client.env, scratch, store=scratch / "store", plugins=PLUGINS)
    agent.send(greeting() + frame(OFFER, 1, [], order))
    assert processes.wait_until(lambda: keygens(signers), 10 * SLOW)
    agent.half_close()
    assert agent.child.wait(5 * SLOW) == 0 and not keygens(signers)
