"""What a node must never take: bundles that are damaged, lie, or hold tricks, and signatures that do not count. Each is refused in one line, and the node's store is afterwards what it was
before, byte for byte. So are stores that can't be used."""
import base64
import hashlib
import io
import os
import random
import re
import shutil
import stat
import struct
import subprocess
import tarfile

import pytest

from bundles import PLUGINS, Shop
from client import SLOW
from sshd import make_key
from test_deploy import REFUSED, Node, member, mounted, signers_file

pytestmark = pytest.mark.skipif(not shutil.which("zstd"), reason="needs the zstd program")


def tree(directory):
    """Every name below it with its kind, mode and content."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
        found[str(path.relative_to(directory))] = (stat.filemode(status.st_mode), content)
    return found


@pytest.fixture
def shop(client):
    return Shop(client)


@pytest.fixture
def here(client, shop):
    """This machine, with a bundle in force."""
    node = Node(client, client.home / ".cache" / "sshexec")
    node.deployed(shop.bundle("web-1.0", shop.plugin(extra=b"old")))
    return node


def left_alone(node, bundle, *words, codes=(REFUSED,), **how):
    """Deploys it, in vain. Returns the line that says why."""
    before = tree(node.dir)
    done = node.deploy(*words, bundle, **how)
    assert done.code in codes and done.text == "" and done.error.startswith("sshexec: ") and done.error.count("\n") == 1, done
    assert tree(node.dir) == before and node.ran() == node.objects()["hello"][:12]
    return done.error


def packed(path, tar, *words):
    subprocess.run(["zstd", "-q", "-f", "--check", *words, "-o", path], input=tar, check=True, timeout=60 * SLOW)
    return path


def plain(bundle):
    return subprocess.run(["zstd", "-dcq", bundle], check=True, capture_output=True).stdout


def entry(name, data=b"", **fields):
    """A member as tar writes it."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    form = fields.pop("format", tarfile.USTAR_FORMAT)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(form) + data + bytes(-len(data) % 512)


# --- damage ---

def said(node, bundle):
    """What it holds, whatever its file is called."""
    done = node.client.run(["bundle", "show", "--json", bundle])
    assert done.code == 0, done
    return done.text.replace(str(bundle), "")


def damaged(node, bundle, wanted, at):
    """It is refused in one line, or it says the same (a bit of the frame's head that means nothing, a time in a header of the tar)."""
    done = node.deploy("--dry-run", bundle)
    if done.code == 0:
        return said(node, bundle) == wanted
    assert done.code in (125, REFUSED) and done.text == "" and str(bundle) in done.error and done.error.count("\n") == 1, (at, done)
    return True


@pytest.mark.parametrize("points", [12, pytest.param(200, marks=pytest.mark.long)])
def test_damage_anywhere_in_the_file(shop, here, points):
    """Cut short, or with a bit flipped: at offsets spread over the whole file, its ends, and one in each section."""
    good = shop.bundle("web-1.1", shop.plugin(extra=os.urandom(4096)), PLUGINS / "ping.so", serial=2, sign=here.client.key)
    data, bad, random_bit = good.read_bytes(), shop.dir / "bad.ssx", random.Random(1)
    before, wanted = tree(here.dir), said(here, good)
    offsets = sorted({0, 1, 4, 5, len(data) - 5, len(data) - 1, *(len(data) * i // points for i in range(points))})
    for at in offsets:
        flipped = bytearray(data)
        flipped[at] ^= 1 << random_bit.randrange(8)
        for image in (data[:at], bytes(flipped)):
            bad.write_bytes(image)
            assert damaged(here, bad, wanted, at), at
    bad.write_bytes(data[:-1])
    left_alone(here, bad)
    assert tree(here.dir) == before and here.deployed(good)["switched"]


@pytest.mark.parametrize("points", [12, pytest.param(300, marks=pytest.mark.long)])
def test_damage_anywhere_in_the_archive(shop, here, points):
    """The frame is sound, what it holds is not: every section of the tar. """
    good = shop.bundle("web-1.1", shop.plugin(extra=os.urandom(4096)), PLUGINS / "ping.so", serial=2, sign=here.client.key)
    tar, before, random_bit = plain(good), tree(here.dir), random.Random(2)
    wanted = said(here, good)
    starts = [m.start() - 257 for m in re.finditer(rb"ustar", tar)]
    offsets = sorted({at + n for at in starts for n in (0, 100, 124, 148, 156, 512)} | {len(tar) * i // points for i in range(points)})
    for at in offsets if points > 100 else offsets[::3]:
        flipped = bytearray(tar)
        flipped[min(at, len(tar) - 1)] ^= 1 << random_bit.randrange(8)
        for image in (tar[:at], bytes(flipped)):
            assert damaged(here, packed(shop.dir / "bad.ssx", image, "-1"), wanted, at), at
    assert tree(here.dir) == before


# --- tricks ---

def tricks(good, shop):
    """Tars that are like the good one, but for one member."""
    tar = plain(good)
    end, body = bytes(1024), tar.rstrip(b"\0")
    body += bytes(-len(body) % 512)
    manifest = member(good, "manifest")
    name = re.search(rb" ([0-9a-f]{64})\n", manifest)[1].decode()
    head = entry("manifest", manifest)
    image = shop.plugin(extra=b"new").read_bytes()
    yield "one more, above", body + entry("../x", b"x") + end
    yield "one more, absolute", body + entry("/tmp/x", b"x") + end
    yield "an object above", head + entry("objects/../../" + name, image) + end
    yield "an object with a dot", head + entry("./objects/" + name, image) + end
    yield "an object as a link", head + entry("objects/" + name, type=tarfile.SYMTYPE, linkname="/etc/passwd") + end
    yield "an object as a hard link", head + entry("objects/" + name, type=tarfile.LNKTYPE, linkname="manifest") + end
    yield "an object as a device", head + entry("objects/" + name, type=tarfile.CHRTYPE, devmajor=1, devminor=5) + end
    yield "an object as a fifo", head + entry("objects/" + name, type=tarfile.FIFOTYPE) + end
    yield "an object as a directory", head + entry("objects/" + name, type=tarfile.DIRTYPE) + end
    yield "objects, a directory", head + entry("objects", type=tarfile.DIRTYPE) + entry("objects/" + name, image) + end
    yield "objects, a link to elsewhere", head + entry("objects", type=tarfile.SYMTYPE, linkname="/tmp") + entry("objects/" + name, image) + end
    yield "the manifest as a link", entry("manifest", type=tarfile.SYMTYPE, linkname="/etc/passwd") + entry("objects/" + name, image) + end
    yield "twice the same object", head + 2 * entry("objects/" + name, image) + end
    yield "twice the manifest", head + head + entry("objects/" + name, image) + end
    yield "a name in a pax header", head + pax({"path": "../../x"}, "objects/" + name, image) + end
    yield "a size in a pax header", head + pax({"size": str(1 << 40)}, "objects/" + name, image) + end
    yield "a sparse object", head + pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "objects/" + name, "GNU.sparse.realsize": str(1 << 40)}, "x", image) + end
    huge = bytearray(entry("objects/" + name, image))
    huge[124:136] = b"\x80\0\0\0" + (1 << 62).to_bytes(8, "big")
    yield "a size beyond all", head + checked(huge) + end
    yield "a size of eight binary digits", head + checked(bytearray(entry("objects/" + name, image))[:124] + b"\xff" * 12 + entry("objects/" + name, image)[136:]) + end
    yield "a billion entries", head + entry("objects/" + name, image) + b"".join(entry("objects/%064x" % i) for i in range(20000)) + end
    yield "a digest that lies", entry("manifest", manifest.replace(name.encode(), b"0" * 64)) + entry("objects/" + "0" * 64, image) + end
    yield "another object", head + entry("objects/" + name, image[:-1] + b"x") + end
    yield "a size that lies", entry("manifest", manifest.replace(b" %d " % len(image), b" %d " % (len(image) - 1))) + entry("objects/" + name, image) + end
    line = re.search(rb"type hello .*\nvariant .*\n", manifest)[0]
    yield "two types of one name", entry("manifest", manifest.replace(line, line + line)) + entry("objects/" + name, image) + end
    yield "a type above", entry("manifest", manifest.replace(b"type hello", b"type ../hello")) + entry("objects/" + name, image) + end


def pax(records, name, data):
    return entry(name, data, pax_headers=records, format=tarfile.PAX_FORMAT)


def checked(header):
    """With the sum that its header wants."""
    header = bytearray(header)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


def test_tricks_in_the_archive(shop, here):
    good = shop.bundle("web-1.1", shop.plugin(extra=b"new"), serial=2)
    outside = tree(shop.dir)
    for what, tar in tricks(good, shop):
        bad = packed(shop.dir / "bad.ssx", tar, "-1")
        line = left_alone(here, bad)
        assert "bad.ssx: " in line and re.fullmatch(r"[\x20-\x7e]+\n", line), (what, line)
        bad.unlink()
        assert tree(shop.dir) == outside, what


def test_a_bomb_is_stopped_before_it_bursts(shop, here):
    """256 MiB of zeros behind all of it, or behind the manifest, in some kilobytes."""
    good = shop.bundle("web-1.1", shop.plugin(extra=b"new"), serial=2)
    tar = plain(good)
    bomb = shop.dir / "bomb.ssx"
    for front in (tar, tar[:1536]):
        with subprocess.Popen(["zstd", "-q", "-f", "-1", "--check", "-o", bomb], stdin=subprocess.PIPE) as child:
            child.stdin.write(front)
            for _ in range(64):
                child.stdin.write(bytes(4 << 20))
        line = left_alone(here, bomb, timeout=20)
        assert "bomb.ssx: " in line


# --- signatures ---

def test_signatures_that_do_not_count(client, shop, here, scratch):
    """By the node's own file of signers, and by the sender's (--signers)."""
    key, other = shop.dir / "key", shop.dir / "other"
    line, _ = make_key(key), make_key(other)
    config = client.home / ".config" / "sshexec"
    config.mkdir(parents=True)
    bundle = shop.bundle("web-1.1", shop.plugin(extra=b"new"), serial=2, sign=key)
    cases = {"valid-before=\"20200101\" ": "xpired", "valid-after=\"20990101\" ": "not", "namespaces=\"file\" ": "namespace|not permitted|no line|may not|not hold",
             "cert-authority ": "cert|authority|no line|not hold"}
    for options, why in cases.items():
        signers = signers_file(scratch, "ada@example.org " + options + line)
        assert re.search(why, left_alone(here, bundle, "--signers", signers)), options
        (config / "agent.conf").write_text("signers = %s\n" % signers) # not even asked for: one that is there has to hold
        assert re.search(why, left_alone(here, bundle)), options
        (config / "agent.conf").unlink()
    signers = signers_file(scratch, "ada@example.org " + line)
    stranger = shop.bundle("web-1.1", shop.plugin(extra=b"new"), serial=2, sign=other)
    assert "has no line with the key that signed it" in left_alone(here, stranger, "--signers", signers)
    (config / "agent.conf").write_text("signers = %s\n" % signers)
    assert str(signers) in left_alone(here, stranger)
    signed_other = shop.bundle("web-1.2", shop.plugin(extra=b"newer"), serial=3, sign=key)
    swapped = entry("manifest", member(stranger, "manifest")) + entry("manifest.sig", member(signed_other, "manifest.sig")) + plain(stranger)[tarfile_offset(stranger):]
    left_alone(here, packed(shop.dir / "bad.ssx", swapped))
    signers.chmod(0o666)
    assert "writable by others" in left_alone(here, signed_other)
    signers.chmod(0o644)
    assert here.deployed(signed_other)["switched"]


def ssh_string(data):
    return struct.pack(">I", len(data)) + data


def security_key(directory, touched=True):
    """A key as a FIDO token has it, without the token: its public line, and what signs a text as the token would."""
    secret, kind, application = directory / "sk.pem", b"sk-ssh-ed25519@openssh.com", b"ssh:"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", secret], check=True)
    raw = subprocess.run(["openssl", "pkey", "-in", secret, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout[-32:]
    blob = ssh_string(kind) + ssh_string(raw) + ssh_string(application)

    def sign(text):
        names = ssh_string(b"sshexec-bundle") + ssh_string(b"") + ssh_string(b"sha512")
        message = b"SSHSIG" + names + ssh_string(hashlib.sha512(text).digest())
        tail = bytes([touched]) + struct.pack(">I", 7)
        (directory / "asked").write_bytes(hashlib.sha256(application).digest() + tail + hashlib.sha256(message).digest())
        done = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", secret, "-in", directory / "asked"], check=True, capture_output=True)
        whole = b"SSHSIG" + struct.pack(">I", 1) + ssh_string(blob) + names + ssh_string(ssh_string(kind) + ssh_string(done.stdout) + tail)
        return "-----BEGIN SSH SIGNATURE-----\n" + base64.encodebytes(whole).decode() + "-----END SSH SIGNATURE-----\n"
    return kind.decode() + " " + base64.b64encode(blob).decode(), sign


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl program")
def test_security_keys_sign_if_somebody_touched_them(client, shop, here, scratch):
    """ssh-keygen, the sender and the node (by its own ssh-keygen) agree."""
    config = client.home / ".config" / "sshexec"
    config.mkdir(parents=True)
    for touched in (False, True):
        line, sign = security_key(shop.dir, touched)
        signers = signers_file(scratch, "ada@example.org " + line)
        bundle = shop.bundle("web-1.1", shop.plugin(extra=b"new"), serial=2)
        (shop.dir / "manifest").write_bytes(member(bundle, "manifest"))
        (shop.dir / "sig").write_text(sign(member(bundle, "manifest")))
        with open(shop.dir / "manifest", "rb") as manifest:
            theirs = subprocess.run(["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "ada@example.org", "-n", "sshexec-bundle", "-s", shop.dir / "sig"], stdin=manifest, capture_output=True)
        ours = client.run(["bundle", "sign", "--signature", shop.dir / "sig", bundle])
        assert (ours.code == 0) == touched and (touched or "without anybody touching" in ours.error), ours
        assert theirs.returncode == 0 or not touched, theirs # whether a touch is asked for is up to its file of signers
    (config / "agent.conf").write_text("require_signed = yes\nsigners = %s\n" % signers)
    assert here.deployed("--signers", signers, bundle)["switched"]
    assert "signed by ada@example.org" in here.run("generations").text


def tarfile_offset(bundle):
    """Where its objects begin."""
    with tarfile.open(fileobj=io.BytesIO(plain(bundle))) as tar:
        return next(m.offset for m in tar if m.name.startswith("objects/"))


# --- stores that can't be used ---

def test_a_store_that_can_only_be_read(client, shop, here):
    """On a file system of its own, mounted read-only: what is in force runs, nothing else comes in, and a plugin that is brought runs without being kept."""
    aside = client.home / "aside"
    shutil.copytree(here.dir.parent, aside, symlinks=True)
    mounted(here.dir.parent, "4m")
    try:
        shutil.copytree(aside, here.dir.parent, symlinks=True, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", here.dir.parent], check=True)
        line = left_alone(here, shop.bundle("web-1.1", shop.plugin(extra=b"new"), serial=2))
        assert "Read-only file system" in line, line
        before = tree(here.dir)
        own = shop.plugin(extra=b"my own")
        done = client.run(["run", own, "-v"])
        assert done.code == 0 and hashlib.sha256(own.read_bytes()).hexdigest()[:12] in done.error, done
        assert "Read-only file system" in here.run("rollback", "--to", "1").error
        for words in (["store", "verify"], ["store", "list"], ["generations"]):
            assert client.run(words).code == 0, words
        done = client.run(["store", "gc", "--keep", "0"])
        assert done.code == 0 and "; 0 removed" in done.text and tree(here.dir) == before, done
    finally:
        subprocess.run(["umount", here.dir.parent], check=True)


def test_a_disk_that_fills_while_a_plugin_is_brought(client, shop, here):
    mounted(here.dir.parent, "300k")
    try:
        own = shop.plugin(extra=os.urandom(1 << 20))
        done = client.run(["run", own, "-v"])
        assert done.code == 0 and hashlib.sha256(own.read_bytes()).hexdigest()[:12] in done.error, done
        assert [path.name for path in here.dir.rglob("*") if path.is_file() and path.name != "lock"] == []
        assert client.run(["store", "verify"]).code == 0
    finally:
        subprocess.run(["umount", here.dir.parent], check=True)


@pytest.mark.parametrize("part, mode, why", [(".", 0o777, "is writable by others"), ("objects", 0o777, "is writable by others"), ("..", 0o777, "is writable by others")])
def test_a_store_that_others_may_write_to(shop, here, part, mode, why):
    place = (here.dir / part).resolve()
    before, was = tree(here.dir), place.stat().st_mode
    place.chmod(mode)
    done = here.deploy(shop.bundle("web-1.1", shop.plugin(extra=b"new"), serial=2))
    assert done.code == REFUSED and why in done.error and str(place) in done.error and done.error.count("\n") == 1, done
    place.chmod(was)
    assert tree(here.dir) == before and here.is_sound()


@pytest.mark.parametrize("part", [".", "objects", "generations"])
def test_a_store_that_belongs_to_somebody_else(shop, here, part):
    if os.geteuid():
        pytest.skip("only root can give a directory away")
    place, before = here.dir / part, tree(here.dir)
    os.chown(place, 12345, 12345)
    done = here.deploy(shop.bundle("web-1.1", shop.plugin(extra=b"new"), serial=2))
    assert done.code == REFUSED and "belongs to uid 12345" in done.error and done.error.count("\n") == 1, done
    os.chown(place, 0, 0)
    assert tree(here.dir) == before and here.is_sound()
