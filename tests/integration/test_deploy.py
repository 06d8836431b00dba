"""Bundles on nodes: only what a node lacks travels, nothing is in force before it was checked and tested there, one rename switches; and whatever is killed, full or bad
leaves the old or the new generation whole."""
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from agents import CHUNK, END, NEED, OFFER, Raw, call, ends, frame, greeting
from bundles import PLUGINS, Farm, Shop, digest, race
from client import BUILD, SANITIZED
from relay import Relay
from sshd import make_key
from test_authorize import node_at
from test_test import SELFTEST

ZOO = BUILD / "zoo"
REFUSED, DISAGREE = 126, 123

@pytest.fixture
def shop(client):
    return Shop(client)


def events(done):
    """Of --json."""
    return [json.loads(line) for line in done.text.splitlines()]


class Node:
    """A store, and what is in force in it."""

    def __init__(self, client, directory, host=None):
        self.client, self.dir, self.host = client, Path(directory), [host] if host else []

    def run(self, command, *words, **how):
        words = [words[0], *self.host, *words[1:]] if command == "run" else [*words, *self.host]
        return self.client.run([command, *words], **how)

    def deploy(self, *words, **how):
        return self.run("deploy", *words, **how)

    def deployed(self, *words, **how):
        done = self.deploy("--json", *words, **how)
        assert done.code == 0, done
        return events(done)[-1]

    def current(self):
        """The text of the generation in force."""
        link = self.dir / "current"
        return (self.dir / os.readlink(link)).read_text() if link.is_symlink() else ""

    def objects(self):
        return dict(re.findall(r"^type (\S+) \S+ ([0-9a-f]{64})$", self.current(), re.M))

    def is_sound(self):
        """Every object is what its name says, and those in force are there."""
        objects = {path.name: digest(path.read_bytes()) for path in (self.dir / "objects").glob("*") if len(path.name) == 64}
        assert all(name == is_now for name, is_now in objects.items()), objects
        assert set(self.objects().values()) <= set(objects), (self.current(), objects)
        done = self.run("store", "verify")
        assert done.code == 0, done
        return True

    def ran(self, type="hello", *words):
        """The digest of what runs there under that name."""
        done = self.run("run", type, *words, "-v")
        assert done.code == 0, done
        return re.search(r"^sshexec: ran ([0-9a-f]{12}) ", done.error, re.M)[1]


@pytest.fixture
def here(client):
    return Node(client, client.home / ".cache" / "sshexec")


@pytest.fixture
def node(client, clean_sshd):
    return Node(client, clean_sshd.home / ".cache" / "sshexec", "node1")


def refused(done, *words):
    assert done.code == REFUSED and done.error.count("\n") == 1, done
    assert all(word in done.error for word in words), done
    return True


# --- the way there and back ---

def test_what_was_deployed_runs_and_rolls_back(client, shop, node):
    old, new = shop.plugin(extra=b"old"), shop.plugin(extra=b"new")
    first, second = shop.bundle("web-1.0", old, PLUGINS / "ping.so"), shop.bundle("web-1.1", new, PLUGINS / "ping.so", serial=2)
    would = node.deployed("--dry-run", first)
    assert would["changes"] and not would["switched"] and would["objects"] == 2 and node.current() == ""
    done = node.deployed(first)
    assert done["switched"] and done["bytes"] == would["bytes"] == old.stat().st_size + (PLUGINS / "ping.so").stat().st_size and done["had"] is None
    assert node.ran() == digest(old.read_bytes())[:12]
    assert re.search(r"^hello +1\.0 ", node.run("list").text, re.M)
    done = node.deployed(second)
    assert (done["had"], done["version"], done["objects"], done["generation"]) == ("1.0", "1.1", 1, 2)
    assert node.ran() == digest(new.read_bytes())[:12]
    back = node.run("rollback")
    assert back.code == 0 and "generation 1" in back.text and node.ran() == digest(old.read_bytes())[:12]
    assert node.run("rollback", "--to", "2").code == 0 and node.ran() == digest(new.read_bytes())[:12]
    shown = node.run("generations")
    assert re.search(r"^\* +2 .* said \S+@\S+ +web 1\.1 \(serial 2\)$", shown.text, re.M) and re.search(r"^  +1 .* web 1\.0 \(serial 1\)$", shown.text, re.M), shown
    refused(node.run("rollback", "--to", "7"), "there is no generation 7")
    assert node.is_sound()


def test_an_exact_plugin_runs_all_the_same(client, shop, node):
    node.deployed(shop.bundle("web-1.0", shop.plugin(extra=b"deployed")))
    own = shop.plugin(extra=b"my own")
    done = client.run(["run", own, "node1", "-v"])
    assert done.code == 0 and digest(own.read_bytes())[:12] in done.error, done


def test_bundles_of_other_names_stay(shop, here):
    here.deployed(shop.bundle("web-1.0", PLUGINS / "hello.so"))
    here.deployed(shop.bundle("db-2.0", PLUGINS / "ping.so"))
    assert set(here.objects()) == {"hello", "ping"}
    refused(here.deploy(shop.bundle("other-1.0", shop.plugin(extra=b"2"))), "other 1.0 holds the type hello, which the node has from the bundle web 1.0")
    here.deployed(shop.bundle("web-1.1", PLUGINS / "facts.so"))
    assert set(here.objects()) == {"facts", "ping"} and here.is_sound()


def test_again_sends_and_changes_nothing(client, shop, node, sshd):
    bundle = shop.bundle("web-1.0", shop.plugin(extra=os.urandom(1 << 20)))
    node.deployed(bundle)
    with Relay("127.0.0.1", sshd.port) as relay:
        client.connect_to(sshd, port=relay.port)
        done = node.deploy(bundle)
        assert done.code == 0 and "nothing was sent or changed" in done.text and relay.passed["up"] < 64 << 10, (done, relay.passed)
    client.connect_to(sshd)
    assert json.loads(node.run("generations", "--json").text)["generation"] == 1


def test_one_of_twenty_changed_sends_that_one(client, shop, node, sshd):
    one_of_twenty(client, shop, node, sshd, 150 << 10)


def one_of_twenty(client, shop, node, sshd, pad):
    """What passes to the host, all of the session, is the changed plugin and less than 64 KiB."""
    names = ["hell%c" % c for c in range(ord("a"), ord("a") + 20)]
    plugins = [shop.plugin(name, os.urandom(pad)) for name in names]
    node.deployed(shop.bundle("web-1.0", *plugins), timeout=60)
    changed = shop.plugin(names[7], os.urandom(pad))
    bundle = shop.bundle("web-1.1", *plugins[:7], changed, *plugins[8:], serial=2)
    with Relay("127.0.0.1", sshd.port) as relay:
        client.connect_to(sshd, port=relay.port)
        assert node.deployed(bundle)["objects"] == 1
        assert relay.passed["up"] < changed.stat().st_size + (64 << 10), relay.passed


@pytest.mark.long
def test_one_of_twenty_in_fifty_mebibytes_sends_that_one(client, shop, node, sshd):
    one_of_twenty(client, shop, node, sshd, 5 << 19)


def test_no_host_switches_before_all_are_prepared(client, shop, node, sshd_with, scratch):
    other, installed = sshd_with(), node_at(scratch / "installed", ())
    line = client.run(["authorize", "--key", str(client.key) + ".pub", "--agent", installed / "sshexec-agent", "--no-uploads"])
    other.keys_path.write_text(line.text)
    client.known_hosts.write_text(client.known_hosts.read_text() + other.known_hosts())
    client.config.write_text("Host locked\n  HostName 127.0.0.1\n  Port %d\n  User %s\n" % (other.port, other.user) + client.config.read_text())
    bundle = shop.bundle("web-1.0", PLUGINS / "hello.so")
    done = node.deploy(bundle, "locked")
    assert done.code == DISAGREE and "node1: prepared, not switched" in done.text and "locked: policy: --no-uploads" in done.error, done
    assert "2 hosts" in done.error and node.current() == ""
    done = node.deploy("--no-two-phase", bundle, "locked")
    assert done.code == DISAGREE and "generation 1" in done.text and node.current()


def test_clean_leaves_nothing_that_was_deployed(client, shop, node):
    node.deployed(shop.bundle("web-1.0", shop.plugin(extra=b"deployed")))
    assert node.run("clean").code == 0 and not node.dir.exists()
    assert node.ran() == digest((PLUGINS / "hello.so").read_bytes())[:12]


# --- what is not taken ---

def test_nothing_is_deployed_where_nothing_is_kept(shop, node):
    refused(node.deploy("--ephemeral", shop.bundle("web-1.0", PLUGINS / "hello.so")), "this node keeps nothing")



def test_a_default_transport_that_leads_to_hosts_is_not_for_this_machine(client, shop, here):
    config = client.home / ".config" / "sshexec"
    config.mkdir(parents=True, exist_ok=True)
    (config / "config").write_text("transport = odd\n[transport odd]\ncommand = false %h %c\n")
    assert here.deployed(shop.bundle("web-1.0", shop.plugin()))["switched"]
    assert here.client.run(["deploy", shop.dir / "web-1.0.ssx", "some"]).code == 255


def test_an_older_serial_is_a_step_back(shop, here):
    here.deployed(shop.bundle("web-1.1", shop.plugin(extra=b"1"), serial=2))
    old = shop.bundle("web-1.0", shop.plugin(extra=b"0"), serial=1)
    before = here.current()
    refused(here.deploy(old), "web 1.0 has the serial 1, older than the 2 of 1.1", "--allow-downgrade")
    assert events(here.deploy("--json", old))[-1]["reason"] == "generation" and here.current() == before
    assert here.deployed("--allow-downgrade", old)["switched"]


def test_generations_say_who_deployed(client, shop, here, scratch):
    """As the sender says; a generation of before that was kept says nothing, and a name that could drive a terminal is not taken."""
    here.deployed(shop.bundle("web-1.0", PLUGINS / "hello.so"))
    here.deployed("--no-two-phase", shop.bundle("web-1.1", shop.plugin(extra=b"1"), serial=2))
    name = "%s@%s" % (subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip(), os.uname().nodename)
    first = here.dir / "generations" / "1"
    assert re.match(r"sshexec-generation 1\nby \d+ %s\nbundle web 1.0 1 " % re.escape(name), first.read_text()), first.read_text()
    first.write_text(re.sub(r"\nby .*\n", "\n", first.read_text()))
    shown = [json.loads(line) for line in here.run("generations", "--json").text.splitlines()]
    assert [(g["generation"], g["said_by"]) for g in shown] == [(2, name), (1, None)] and shown[0]["bundles"][0]["serial"] == 2, shown
    assert here.run("rollback").code == 0 and here.ran() == digest((PLUGINS / "hello.so").read_bytes())[:12]
    text = member(shop.bundle("web-1.2", PLUGINS / "hello.so", serial=3), "manifest")
    for by in ("a b", "\x1b[2J", "x" * 128, "h\u00f6st"):
        agent = Raw(client.env, scratch, store=here.dir)
        frames = agent.converse(greeting() + frame(OFFER, 1, [], {"do": "install", "manifest": text, "by": by}))
        assert ends(frames)[1][0] == 5 and "who the sender says it is makes no sense" in ends(frames)[1][1]["message"], frames
    assert here.is_sound()


def test_a_bundle_in_place_of_a_host_is_told_at_once(client, shop):
    """No name is asked of the network, and the message says what to do."""
    web = str(shop.bundle("web-1.0", PLUGINS / "hello.so"))
    for words, parts in [(["rollback", web, "node1"], ["rollback takes hosts", "--to N", "sshexec deploy %s" % web]),
                         (["rollback", "node1", web], ["rollback takes hosts"]),
                         (["generations", web], ["generations takes hosts", "sshexec bundle show %s" % web]),
                         (["store", "list", web], ["store takes hosts"]),
                         (["deploy", web, web], ["deploy takes one bundle", "second bundle"])]:
        done = client.run(words)
        assert done.code == 125 and done.error.count("\n") == 1, done
        assert all(part in done.error for part in parts + ["%s is a" % web]), done
    missing = client.run(["generations", "missing.ssx"])
    assert missing.code == 255 and "takes hosts" not in missing.error, missing


def test_a_plugin_s_own_test_has_to_pass_on_the_node(shop, here):
    def probe(answer):
        source = shop.dir / "probe.c"
        source.write_text(SELFTEST % answer)
        subprocess.run(["gcc", "-shared", "-fPIC", "-I%s/include" % BUILD, source, "-o", shop.dir / "probe.so"], check=True)
        return shop.bundle("web-1.0", shop.dir / "probe.so")
    refused(here.deploy(probe('ssx_fail(call, 5, "no device")')), "probe: its selftest returned 5: no device")
    refused(here.deploy(probe("*(volatile int *)0")), "probe: it ended its process")
    assert here.current() == "" and not list((here.dir / "objects").glob("*"))
    assert here.deployed(probe("ssx_temp_dir(call) == NULL"))["switched"]


def test_a_plugin_that_does_not_load_is_not_put_in_force(shop, here):
    here.deployed(shop.bundle("web-1.0", PLUGINS / "hello.so"))
    before = here.current()
    refused(here.deploy(shop.bundle("web-1.1", ZOO / "crash_constructor.so", serial=2)), "crash_constructor", "ended its process")
    assert here.current() == before and here.is_sound()


def test_no_variant_for_the_machine(shop, here):
    image = bytearray((PLUGINS / "hello.so").read_bytes())
    image[18:20] = b"\xb7\x00" # aarch64
    arm = shop.dir / "arm.so"
    arm.write_bytes(image)
    refused(here.deploy(shop.bundle("web-1.0", arm)), "no x86_64 variant of hello in web 1.0")


def test_a_damaged_object_is_found_before_it_runs(shop, here):
    bundle = shop.bundle("web-1.0", PLUGINS / "hello.so")
    here.deployed(bundle)
    path = here.dir / "objects" / here.objects()["hello"]
    image = bytearray(path.read_bytes())
    image[len(image) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(image)
    other = shop.plugin(extra=b"the sender's") # not the same: it can't stand in
    done = here.run("run", "hello", "--plugin-path", str(other.parent))
    refused(done, "hello", "web 1.0", "deploy it again")
    assert here.deployed(bundle)["objects"] == 1 and here.is_sound() and here.ran() == here.objects()["hello"][:12]


def test_a_damaged_generation_lets_nothing_else_run_in_its_place(shop, here):
    here.deployed(shop.bundle("web-1.0", PLUGINS / "hello.so"))
    (here.dir / "generations" / "1").write_text("sshexec-generation 1\nbundle web\n")
    refused(here.run("run", "hello"), "generations/1 is damaged")


def test_an_object_that_lies_is_not_stored(client, shop, scratch):
    """A sender that is not ours: bytes of another digest, or a plugin that is not what the manifest says."""
    hello, ping = (PLUGINS / "hello.so").read_bytes(), (PLUGINS / "ping.so").read_bytes()
    manifest = member(shop.bundle("web-1.0", PLUGINS / "hello.so"), "manifest")
    liar = manifest.replace(digest(hello).encode(), digest(ping).encode()).replace(b" %d " % len(hello), b" %d " % len(ping))
    for text, image in ((manifest, hello[:-1] + b"x"), (manifest, hello + b"x"), (liar, ping)):
        store = scratch / digest(text + image)[:8]
        agent = Raw(client.env, scratch, store=store)
        name = bytes.fromhex(re.search(rb" ([0-9a-f]{64})\n", text)[1].decode())
        agent.send(greeting() + frame(OFFER, 1, [], {"do": "install", "manifest": text}))
        assert [f for f in agent.read_until(lambda frames: any(f[0] == NEED for f in frames)) if f[0] == NEED][0][2] == [name]
        agent.send(frame(CHUNK, 1, name, image, False))
        frames = agent.read_until(lambda frames: any(f[0] == END for f in frames))
        outcome, end = ends(frames)[1]
        assert outcome == 5 and end["reason"] in ("object", "abi"), end
        agent.converse()
        assert not list(store.rglob("objects/*")) and not (store / "current").is_symlink()


def mounted(path, size):
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%s,mode=0700" % size, "tmpfs", path], capture_output=True).returncode:
        pytest.skip("no file systems can be mounted here")


def test_a_disk_that_fills_leaves_the_old_generation(client, shop, here):
    mounted(here.dir.parent, "400k")
    try:
        first, big = shop.bundle("web-1.0", PLUGINS / "hello.so"), shop.bundle("web-1.1", shop.plugin(extra=os.urandom(1 << 20)), serial=2)
        here.deployed(first)
        before = here.current()
        refused(here.deploy(big), "No space left on device")
        assert here.current() == before and here.is_sound() and here.ran()
    finally:
        subprocess.run(["umount", here.dir.parent], check=True)


def test_a_store_of_somebody_else_s(client, shop, here):
    if os.geteuid():
        pytest.skip("only root can give a directory away")
    here.dir.mkdir(parents=True)
    os.chown(here.dir, 12345, 12345)
    refused(here.deploy(shop.bundle("web-1.0", PLUGINS / "hello.so")), "belongs to uid 12345")


# --- who may ---

@pytest.fixture
def locked(client, clean_sshd, scratch):
    """locked("--require-signed", ...): the client's key may do only that from now on."""
    installed = node_at(scratch / "installed", ())
    def lock(*words):
        done = client.run(["authorize", "--key", str(client.key) + ".pub", "--agent", installed / "sshexec-agent", "--plugin-path", installed / "plugins", *words])
        assert done.code == 0, done
        clean_sshd.keys_path.write_text(done.text)
    return lock


def signers_file(scratch, *lines):
    path = scratch / "allowed_signers"
    path.write_text("".join(line + "\n" for line in lines))
    path.chmod(0o644)
    return path


def test_only_signed_bundles_of_known_signers(client, shop, node, locked, scratch):
    known, stranger = shop.dir / "known", shop.dir / "stranger"
    line, _ = make_key(known), make_key(stranger)
    signers = signers_file(scratch, "ada@example.org namespaces=\"sshexec-bundle\" " + line)
    def make(key, version):
        return shop.bundle("web-" + version, shop.plugin(extra=version.encode()), sign=key)
    locked("--require-signed", "--signers", str(signers))
    refused(node.deploy(make(None, "1.0")), "policy: --require-signed", "web is not signed")
    refused(node.deploy(make(stranger, "1.1")), "signature does not hold by " + str(signers))
    assert node.deployed(make(known, "1.2"))["switched"] and node.ran("hello")
    assert "signed by ada@example.org" in node.run("generations").text
    refused(client.run(["run", shop.plugin(extra=b"loose"), "node1"]), "policy: --require-signed forbids")
    signers.write_text("ada@example.org valid-before=\"20200101\" " + line + "\n")
    refused(node.deploy(make(known, "1.3")), "expired")
    locked("--require-signed", "--signers", str(signers), "--allow", "facts")
    signers.write_text("ada@example.org " + line + "\n")
    refused(node.deploy(make(known, "1.4")), "policy: --allow does not list hello")


def member(bundle, name):
    return subprocess.run(["sh", "-c", 'zstd -dcq "$0" | tar -xO "$1"', bundle, name], capture_output=True, check=True).stdout


def looked(client, scratch, order):
    """The END of one OFFER."""
    agent = Raw(client.env, scratch, store=scratch / "store")
    agent.send(greeting() + frame(OFFER, 1, [], order))
    end = ends(agent.read_until(lambda frames: 1 in ends(frames)))[1]
    agent.converse()
    return end


def test_a_signature_over_another_manifest(client, shop, scratch):
    key = shop.dir / "key"
    signers = signers_file(scratch, "ada@example.org " + make_key(key))
    config = client.home / ".config" / "sshexec"
    config.mkdir(parents=True)
    (config / "agent.conf").write_text("require_signed = yes\nsigners = %s\n" % signers)
    one, other = (shop.bundle("web-1.%d" % i, PLUGINS / "hello.so", sign=key) for i in range(2))
    for order in ({"signature": member(other, "manifest.sig")}, {"signature": b"nonsense"}, {"signature": b""}, {}):
        outcome, end = looked(client, scratch, {"do": "look", "manifest": member(one, "manifest"), **order})
        assert outcome == 5 and end["reason"] in ("signature", "policy"), end
    assert looked(client, scratch, {"do": "look", "manifest": member(one, "manifest"), "signature": member(one, "manifest.sig")})[0] == 0


def test_uploads_forbidden_means_bundles_too(shop, node, locked):
    bundle = shop.bundle("web-1.0", PLUGINS / "hello.so")
    for words, rule in ((["--no-uploads"], "--no-uploads"), (["--allow", "hello"], "--no-uploads")):
        locked(*words)
        refused(node.deploy(bundle), "policy: %s" % rule, "web")
    locked("--store-size", "20K")
    refused(node.deploy(bundle), "policy: --store-size", "20480")
    assert node.current() == ""


def test_what_ran_unsigned_is_refused_once_signatures_are_required(shop, here, client):
    here.deployed(shop.bundle("web-1.0", PLUGINS / "hello.so"))
    here.deployed(shop.bundle("web-1.1", shop.plugin(extra=b"1"), serial=2))
    config = client.home / ".config" / "sshexec"
    config.mkdir(parents=True)
    (config / "agent.conf").write_text("# ours\nrequire_signed = yes\n")
    refused(here.run("run", "hello"), "agent.conf:2: require_signed", "web is not signed")
    refused(here.run("rollback"), "agent.conf:2: require_signed")


def test_the_user_s_own_policy_file(shop, here, client):
    config = client.home / ".config" / "sshexec"
    config.mkdir(parents=True)
    policy = config / "agent.conf"
    policy.write_text("deny = exec\nuploads = no\n")
    refused(here.run("run", "exec", "--", "id"), "agent.conf:1: deny lists exec")
    refused(here.deploy(shop.bundle("web-1.0", PLUGINS / "hello.so")), "agent.conf:2: uploads")
    policy.write_text("denny = exec\n")
    done = here.run("run", "hello")
    assert done.code == 255 and "agent.conf:1: unknown key denny; did you mean deny?" in done.error, done
    policy.write_text("deny = exec\n")
    policy.chmod(0o666)
    done = here.run("run", "hello")
    assert done.code == 255 and "is writable by others" in done.error, done


def policy_cases(shop):
    own = shop.plugin(extra=b"my own")
    unsigned = shop.bundle("web-1.0", PLUGINS / "hello.so")
    return {"allow = hello": (["run", "exec", "--", "id"], "agent.conf:1: allow does not list exec"), "deny = exec": (["run", "exec", "--", "id"], "agent.conf:1: deny lists exec"),
            "uploads = no": (["run", own], "agent.conf:1: uploads forbids"), "require_signed = yes": (["deploy", unsigned], "agent.conf:1: require_signed: web is not signed"),
            "store_size = 20K": (["deploy", unsigned], "agent.conf:1: store_size")}


def test_each_rule_of_a_policy_file_is_named_where_it_refuses(shop, client):
    config = client.home / ".config" / "sshexec"
    config.mkdir(parents=True)
    for line, (words, why) in policy_cases(shop).items():
        (config / "agent.conf").write_text(line + "\n")
        refused(client.run(words), why)
        assert not (client.home / ".cache").exists() or not list((client.home / ".cache").rglob("objects/*")), line
        (config / "agent.conf").unlink()
    (config / "agent.conf").write_text("max_timeout = 300ms\n")
    assert client.run(["run", "-u", "30s", "exec", "--", "sleep", "60"]).code == 124, "the sender can't widen it"
    (config / "agent.conf").write_text("max_calls = 2\n")
    agent = Raw(client.env, client.home, plugins=PLUGINS)
    frames = agent.converse(greeting(), *(call(i, "hello", size=100) for i in (1, 2, 3)))
    assert frames[0][2]["calls"] == 2 and ends(frames)[3][1]["reason"] == "busy", frames


def test_root_s_policy_file(client, scratch):
    """Both files have to permit; the flags as well."""
    etc = scratch / "etc"
    shutil.copytree("/etc", etc, symlinks=True, ignore=shutil.ignore_patterns("ssl", "alternatives", "apparmor.d"))
    (etc / "sshexec").mkdir(exist_ok=True)
    (etc / "sshexec" / "agent.conf").write_text("allow = hello\n")
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', etc]
    if os.geteuid() or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("no file systems can be mounted here")
    agent = Raw(client.env, scratch, plugins=PLUGINS, wrap=inside)
    outcome, end = ends(agent.converse(greeting(), call(1, "exec"), call(2, "hello")))[1]
    assert outcome == 5 and end["message"] == "policy: /etc/sshexec/agent.conf:1: allow does not list exec", end
    os.chown(etc / "sshexec" / "agent.conf", 12345, 12345)
    agent = Raw(client.env, scratch, plugins=PLUGINS, wrap=inside)
    agent.converse(greeting())
    assert agent.code == 125 and b"belongs to uid 12345" in agent.error, agent.error


# --- whatever is killed ---

# What a login runs: the first line of ~/aim, which it takes away, says at which system call it is killed (NAME:N, the Nth of that name; 0: at none; count: those it makes are written to ~/calls).
AIMED = """#!/bin/sh
aim=$(sed -n 1p "$HOME/aim" 2>/dev/null)
test -z "$aim" || sed -i 1d "$HOME/aim"
export ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" # which doesn't work under strace
case $aim in
"" | 0) exec /bin/sh -c "$SSH_ORIGINAL_COMMAND" ;;
count) exec strace -qq -o "$HOME/calls" /bin/sh -c "$SSH_ORIGINAL_COMMAND" ;;
*) exec strace -qq -o /dev/null -e inject="${aim%:*}:signal=KILL:when=${aim#*:}" /bin/sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""


class Aim:
    """Kills the agent of a node's sessions (SIGKILL) at a system call of its own, so that a point is the same however fast the machine is."""

    def __init__(self, client, sshd, scratch):
        self.home, self.client = sshd.home, client
        script = scratch / "aimed"
        script.write_text(AIMED)
        script.chmod(0o755)
        sshd.keys_path.write_text('command="%s" %s' % (script, client.public_key))

    def run(self, words, *sessions):
        """One aim for each session that it has, in turn. Returns how it ended."""
        (self.home / "aim").write_text("".join("%s\n" % aim for aim in sessions))
        done = self.client.run(words, timeout=60)
        (self.home / "aim").unlink()
        return done

    def calls(self, words, *sessions):
        """The system calls of the agent itself, as aims, in the session whose aim is `count`."""
        assert self.run(words, *sessions).code == 0, words
        names = re.findall(r"^(\w+)\(", (self.home / "calls").read_text(errors="replace"), re.M)
        return ["%s:%d" % (name, names[:i + 1].count(name)) for i, name in enumerate(names)][len(names) - names[::-1].index("execve"):]

    def hit(self, words, spot, calls, before=()):
        """Kills at a part (0 to 1) of these calls; earlier where the agent made fewer of them this time. words: makes what to run, and what it is about, anew. Returns the latter."""
        for _ in range(20):
            about, argv = words()
            if self.run(argv, *before, calls[int(len(calls) * spot)]).code:
                return about
            spot *= 0.95
        raise AssertionError("no call of the agent's to kill it at", calls, spot)


@pytest.fixture
def aim(client, clean_sshd, scratch):
    return Aim(client, clean_sshd, scratch)


def spread_kills(aim, shop, node, points):
    """From version to version, each with three plugins that are new. In turn: a deploy in one session, at its prepare, and at its switch, which has fewer points."""
    serial = iter(range(1, 10000))

    def version():
        number = next(serial)
        plugins = [shop.plugin(name, os.urandom(1 << 20)) for name in ("hello", "hella", "hellb")]
        return {p.stem: digest(p.read_bytes()) for p in plugins}, shop.bundle("web-1.%d" % number, *plugins, serial=number)
    ways = [(["--no-two-phase"], []), ([], []), ([], [0])]
    node.deployed(version()[1])
    calls = [aim.calls(["deploy", version()[1], *node.host, *options], *before, "count") for options, before in ways]
    before, old, new = node.objects(), 0, 0
    for i in range(points):
        way, spot = i % 3, i / points

        def words():
            nonlocal before
            before = node.objects()
            about = version()
            return about, ["deploy", about[1], *node.host, *ways[way][0]]
        after, bundle = aim.hit(words, spot, calls[way], ways[way][1])
        assert node.is_sound() and node.objects() in (before, after), (i, node.current())
        old, new = old + (node.objects() == before), new + (node.objects() == after)
        lacked = set(after.values()) - {path.name for path in (node.dir / "objects").iterdir()}
        assert node.deployed(bundle)["objects"] == len(lacked) and node.objects() == after, "what had come isn't sent again"
    assert node.is_sound() and old + new == points and old > points // 2, (old, new)


def spread_kills_over_uploads(aim, shop, node, points):
    """Plugins that `run` brings, beside a bundle that is in force."""
    node.deployed(shop.bundle("web-1.0", PLUGINS / "hello.so"))
    before, lost = node.current(), 0

    def words():
        own = shop.plugin("hella", os.urandom(2 << 20))
        return own, ["run", own, *node.host]
    calls = aim.calls(words()[1], "count")
    for i in range(points):
        own = aim.hit(words, i / points, calls)
        assert node.is_sound() and node.current() == before, i
        lost += not (node.dir / "objects" / digest(own.read_bytes())).exists()
        done = node.client.run(["run", own, *node.host, "-v"])
        assert done.code == 0 and digest(own.read_bytes())[:12] in done.error, done
        assert (node.dir / "objects" / digest(own.read_bytes())).exists()
    assert node.is_sound() and lost > 0, lost


killed = pytest.mark.skipif(SANITIZED, reason="whoever is killed reports nothing")


@killed
def test_a_kill_leaves_the_old_or_the_new_generation(aim, shop, node):
    spread_kills(aim, shop, node, 9)


@killed
def test_a_kill_leaves_no_half_upload(aim, shop, node):
    spread_kills_over_uploads(aim, shop, node, 6)


@pytest.mark.long
def test_150_kills_of_deploys(aim, shop, node):
    spread_kills(aim, shop, node, 150)


@pytest.mark.long
def test_50_kills_of_uploads(aim, shop, node):
    spread_kills_over_uploads(aim, shop, node, 50)


@pytest.mark.long
def test_twenty_senders_at_once(client, shop, node):
    """Five bundles, each four times."""
    names = ["hella", "hellb", "hellc", "helld", "helle"]
    bundles = [shop.bundle("b%d-1.0" % i, shop.plugin(name, os.urandom(1 << 20))) for i, name in enumerate(names)]
    results = []
    threads = [threading.Thread(target=lambda i=i: results.append(node.deploy(bundles[i % 5], timeout=120))) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.code for r in results] == [0] * 20, [r for r in results if r.code]
    assert set(node.objects()) == set(names) and node.is_sound()
    assert node.run("store", "gc", "--older-than", "0s").code == 0 and node.is_sound()


@pytest.mark.long
def test_thirty_two_hosts_beside_parallel_scp(client, shop, sshd_with, scratch):
    if not shutil.which("parallel-scp"):
        pytest.skip("no parallel-scp here (tools/setup bench installs it)")
    new, same, one, *scp = race(Farm(client, sshd_with, scratch, 32), shop, scratch)
    figures = "new %.1f s, one changed %.1f s, again %.1f s; parallel-scp %.1f and %.1f s" % (new, one, same, *scp)
    print(figures)
    assert new <= 0.9 * min(scp) and one <= 0.2 * min(scp) and same <= 0.1 * min(scp), figures
