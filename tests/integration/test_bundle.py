"""Bundles: many plugins in one file. Made the same each time, read by tar, signed and checked with OpenSSH's own tools both ways; and a bad one leaves nothing behind."""
import hashlib
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from client import BUILD
from sshd import make_key

PLUGINS = BUILD / "plugins"
AARCH64, X86_64 = 183, 62
GOLDEN = Path(__file__).resolve().parent / "golden"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def work(client):
    """An empty directory of this test's, where the client works."""
    path = client.home / "work"
    path.mkdir()
    client.work = path
    return path


def bundle(client, *words, **how):
    return client.run(["bundle", *words], cwd=client.work, **how)


def good(client, *words, **how):
    result = bundle(client, *words, **how)
    assert result.code == 0, result
    return result.text


def other_machine(path, name, machine=AARCH64):
    """The same plugin, as if it had been built for another architecture: ELF's e_machine says so."""
    image = bytearray((PLUGINS / (name + ".so")).read_bytes())
    struct.pack_into("<H", image, 18, machine)
    path.mkdir(exist_ok=True)
    (path / (name + ".so")).write_bytes(image)
    return path / (name + ".so")


def make(client, name="web-1.4.ssx", *words):
    arm = other_machine(client.work / "arm", "hello")
    good(client, "create", "-o", name, *words, PLUGINS / "hello.so", arm, PLUGINS / "ping.so")
    return client.work / name


def plain_tar(path):
    return subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout


def repack(path, tar):
    subprocess.run(["zstd", "-qf", "-o", path, "-"], input=tar, check=True)


def files_below(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


needs_zstd = pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd program here")


# --- making and reading ---

def test_the_same_files_give_the_same_bundle(client, work):
    (work / "log").write_text("Runs on arm64, too.\n\n- and more\n\n\n")
    first = make(client, "web-1.4.ssx", "--serial", "14", "--changelog", "log").read_bytes()
    shutil.copytree(PLUGINS, work / "copy")
    os.utime(work / "copy" / "ping.so", (1, 1))
    good(client, "create", "--name", "web", "--version", "1.4", "--serial", "14", "--changelog", "log", "-o", "other.ssx", "copy/ping.so", "arm/hello.so", "copy/hello.so",
         env={"TZ": "Asia/Tokyo", "LANG": "C"})
    assert (work / "other.ssx").read_bytes() == first
    child = client.popen(["bundle", "create", "--name", "web", "--version", "1.4", "--serial", "14", "--changelog", work / "log", "-o", work / "third.ssx", PLUGINS / "hello.so",
                          work / "arm/hello.so", PLUGINS / "ping.so"], cwd="/", preexec_fn=lambda: os.umask(0o077))
    assert child.communicate(timeout=30) and child.returncode == 0 and (work / "third.ssx").read_bytes() == first


@needs_zstd
def test_plain_tar_reads_it(client, work):
    path = make(client)
    (work / "out").mkdir()
    subprocess.run(["tar", "-C", work / "out", "-xf", path], check=True)
    assert (work / "out/manifest").read_text().startswith("sshexec-bundle 1\nname web\nversion 1.4\nserial 0\ntype hello ")
    for plugin in (PLUGINS / "hello.so", PLUGINS / "ping.so", work / "arm/hello.so"):
        assert digest(plugin) == digest(work / "out/objects" / digest(plugin))
    listed = subprocess.run(["tar", "-tvf", path, "--numeric-owner"], check=True, capture_output=True, text=True, env=dict(os.environ, TZ="UTC")).stdout.splitlines()
    assert len(listed) == 4 and all(line.startswith("-rw-r--r-- 0/0") and "1970-01-01 00:00" in line for line in listed)


def test_show_says_what_is_in_it(client, work):
    (work / "log").write_text("One line")
    make(client, "web-1.4.ssx", "--serial", "14", "--changelog", "log")
    text = good(client, "show", "web-1.4.ssx")
    assert text.startswith("web 1.4, serial 14\nhello 1.0 (schema ")
    assert "aarch64" in text and digest(PLUGINS / "ping.so") in text and "changelog:\n  One line\n" in text and text.endswith("not signed\n")
    shown = json.loads(good(client, "show", "--json", "web-1.4.ssx"))
    assert (shown["name"], shown["version"], shown["serial"], shown["changelog"], shown["signature"]) == ("web", "1.4", 14, "One line\n", None)
    variants = {t["type"]: [(v["arch"], v["digest"]) for v in t["variants"]] for t in shown["types"]}
    assert variants["hello"] == [("aarch64", digest(work / "arm/hello.so")), ("x86_64", digest(PLUGINS / "hello.so"))]


def test_extract_gives_plugins_that_run(client, work):
    make(client)
    assert good(client, "extract", "-C", ".", "web-1.4.ssx") == "./web-1.4\n"
    assert files_below(work / "web-1.4") == ["aarch64", "aarch64/hello.so", "manifest", "x86_64", "x86_64/hello.so", "x86_64/ping.so"]
    assert digest(work / "web-1.4/aarch64/hello.so") == digest(work / "arm/hello.so")
    assert client.run(["run", "--plugin-path", work / "web-1.4/x86_64", "hello", "name=Ada"]).text.startswith("hello, Ada\n")
    again = bundle(client, "extract", "web-1.4.ssx")
    assert again.code == 125 and "is already there" in again.error


def test_what_can_t_be_in_a_bundle_is_refused(client, work):
    hello = PLUGINS / "hello.so"
    (work / "text.so").write_text("no plugin")
    (work / "big").write_bytes(b"x" * 70000)
    (work / "escape").write_bytes(b"\033[2J\n")
    cases = [([hello, hello], 126, "two variants of hello for x86_64"), (["text.so"], 126, "text.so is not an ELF file"), (["missing.so"], 125, "can't read missing.so"),
             (["--serial", "-1", hello], 125, "--serial"), (["--serial", "9223372036854775808", hello], 125, "--serial"), (["--name", "Web", hello], 126, "no bundle's name"),
             (["--version", "1/4", hello], 126, "is no version"), (["--changelog", "big", hello], 126, "larger than the limit"), (["--changelog", "escape", hello], 126, "control character"),
             (["--changelog", "missing", hello], 125, "can't read missing"), ([], 125, "takes plugins")]
    before = files_below(work)
    for words, code, part in cases:
        result = bundle(client, "create", "-o", "web-1.4.ssx", *words)
        assert result.code == code and part in result.error and result.error.count("\n") == 1, (words, result)
    assert "which version" in bundle(client, "create", "-o", "web.ssx", hello).error
    assert "needs -o" in bundle(client, "create", hello).error
    assert files_below(work) == before


def test_a_disk_that_is_full_leaves_no_bundle(client, work):
    result = client.run(["bundle", "create", "-o", "/dev/full/web-1.ssx", PLUGINS / "hello.so"], cwd=work)
    assert result.code == 125 and "can't write /dev/full/web-1.ssx" in result.error
    child = client.popen(["bundle", "create", "-o", "web-1.4.ssx", PLUGINS / "facts.so"], cwd=work, preexec_fn=small_files)
    _, error = child.communicate(timeout=30)
    assert child.returncode == 125 and b"can't make web-1.4.ssx: can't write it: File too large\n" in error
    assert files_below(work) == []


def small_files():
    import resource
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


# --- the golden one ---

@needs_zstd
def test_a_bundle_of_the_first_version_is_read_for_ever(client, work):
    golden = GOLDEN / "web-1.4.ssx"
    shown = json.loads(good(client, "verify", "--json", "--signers", GOLDEN / "allowed_signers", "--identity", "golden@example.org", golden))
    assert shown["serial"] == 14 and shown["signature"]["principals"] == "golden@example.org"
    good(client, "extract", golden)
    plugins = [work / "web-1.4" / t / "one.so" for t in ("aarch64", "x86_64")]
    (work / "log").write_text(shown["changelog"])
    good(client, "create", "-o", "again.ssx", "--name", "web", "--version", "1.4", "--serial", "14", "--changelog", "log", *plugins)
    good(client, "sign", "--signature", "web-1.4/manifest.sig", "again.ssx")
    assert plain_tar(work / "again.ssx") == plain_tar(golden) # what zstd makes of it may differ between its versions


# --- signatures ---

def signers(work, *lines):
    path = work / "signers"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def test_ssh_keygen_accepts_ours(client, work):
    make(client)
    assert "signed with ED25519 SHA256:" in good(client, "sign", "-k", client.key, "web-1.4.ssx")
    allowed = signers(work, 'ada@example.org namespaces="sshexec-bundle" ' + client.public_key)
    good(client, "extract", "--signers", allowed, "-I", "ada@example.org", "web-1.4.ssx")
    argv = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "ada@example.org", "-n", "sshexec-bundle", "-s", work / "web-1.4/manifest.sig"]
    done = subprocess.run(argv, input=(work / "web-1.4/manifest").read_bytes(), capture_output=True)
    assert done.returncode == 0 and b"Good" in done.stdout
    verified = json.loads(good(client, "verify", "--json", "--signers", allowed, "web-1.4.ssx"))
    shown = subprocess.run(["ssh-keygen", "-lf", str(client.key) + ".pub"], capture_output=True, text=True).stdout.split()[1]
    assert verified["signature"] == {"kind": "ED25519", "key": shown, "principals": "ada@example.org"}


@pytest.mark.parametrize("hash", ["sha256", "sha512"])
def test_we_accept_ssh_keygen_s(client, work, hash):
    make(client)
    good(client, "extract", "web-1.4.ssx")
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-O", "hashalg=" + hash, "-n", "sshexec-bundle", "-f", client.key, work / "web-1.4/manifest"], check=True)
    good(client, "sign", "--signature", "web-1.4/manifest.sig", "-o", "signed.ssx", "web-1.4.ssx")
    assert "signed by ada (ED25519" in good(client, "verify", "--signers", signers(work, "ada " + client.public_key), "signed.ssx")
    assert "not signed" in good(client, "verify", "web-1.4.ssx") # the other one is as it was


def test_signing_changes_the_signature_alone(client, work):
    path = make(client)
    unsigned = good(client, "show", "web-1.4.ssx").splitlines()
    good(client, "sign", "-k", client.key, path)
    once = path.read_bytes()
    good(client, "sign", "-k", client.key, path) # in place of the first
    assert path.read_bytes() == once             # ed25519 signs the same each time
    assert good(client, "show", "web-1.4.ssx").splitlines()[:-1] == unsigned[:-1]


def test_an_ssh_agent_signs(client, work, key_agent):
    make(client)
    subprocess.run(["ssh-add", "-q", client.key], env=dict(client.env, SSH_AUTH_SOCK=str(key_agent)), check=True)
    public = work / "only.pub"
    public.write_text(client.public_key + "\n")
    good(client, "sign", "-k", public, "web-1.4.ssx", env={"SSH_AUTH_SOCK": str(key_agent)})
    good(client, "verify", "--signers", signers(work, "ada " + client.public_key), "web-1.4.ssx")


def test_a_passphrase_is_asked_for_on_the_terminal(client, work):
    make(client)
    public = make_key(work / "k", passphrase="secret")
    terminal = client.terminal(["bundle", "sign", "-k", work / "k", work / "web-1.4.ssx"])
    try:
        terminal.expect(rb"passphrase")
        terminal.send(b"secret\n")
        assert terminal.wait() == 0, terminal.output
    finally:
        terminal.close()
    good(client, "verify", "--signers", signers(work, "ada " + public), "web-1.4.ssx")


@pytest.mark.parametrize("kind, name", [("rsa", "an RSA key"), ("ecdsa", "an ECDSA key")])
def test_other_keys_are_refused_by_name(client, work, kind, name):
    path = make(client)
    before = path.read_bytes()
    make_key(work / "k", kind)
    result = bundle(client, "sign", "-k", "k", "web-1.4.ssx")
    assert result.code == 126 and name in result.error and "ed25519" in result.error
    assert path.read_bytes() == before


def test_signing_that_fails_leaves_the_bundle(client, work):
    path = make(client)
    before, names = path.read_bytes(), files_below(work)
    (work / "signature").write_text("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")
    names.append("signature")
    for words, code, part in [(["-k", "missing"], 125, "can't read the key missing"), (["-k", "arm/hello.so"], 125, "can't sign with arm/hello.so: "), (["--signature", "signature"], 126, "damaged"),
                              (["--signature", "missing"], 125, "can't read missing"), ([], 125, "needs a key")]:
        result = bundle(client, "sign", *words, "web-1.4.ssx")
        assert result.code == code and part in result.error and result.error.count("\n") == 1, (words, result)
    assert path.read_bytes() == before and files_below(work) == sorted(names)


def test_why_a_key_does_not_sign_is_one_line(client, work):
    make(client)
    make_key(work / "k", passphrase="secret")
    (work / "only.pub").write_text(client.public_key + "\n")
    for key, part in [("only.pub", 'No private key found for public key "only.pub"'), ("k", "incorrect passphrase")]:
        result = bundle(client, "sign", "-k", key, "web-1.4.ssx")
        assert result.code == 125 and result.error.startswith("sshexec: can't sign with %s: " % key), result
        assert part in result.error, result
        assert result.error.count("\n") == 1 and "private half is in ssh-agent" in result.error, result


@pytest.fixture
def touching(work, client):
    """An environment with an ssh-keygen that waits for a security key to be touched (a file), and says so as OpenSSH's."""
    tools = work / "tools"
    tools.mkdir()
    (tools / "ssh-keygen").write_text("#!/bin/sh\nif [ -t 2 ]; then printf '\\rConfirm user presence\\r\\n' >&2; fi\n"
                                      "while [ ! -e %s/touched ]; do sleep 0.02; done\n" % work +
                                      "PATH=${PATH#*:}\nexec ssh-keygen \"$@\"\n")
    (tools / "ssh-keygen").chmod(0o755)
    return {"PATH": "%s:%s" % (tools, client.env["PATH"])}


def test_what_ssh_keygen_says_while_it_works_is_shown_at_once(client, work, touching):
    path = make(client)
    terminal = client.terminal(["bundle", "sign", "-k", client.key, path], env=touching)
    try:
        terminal.expect(rb"Confirm user presence")
        (work / "touched").touch()
        assert terminal.wait() == 0 and b"signed with ED25519" in terminal.output, terminal.output
    finally:
        terminal.close()


def test_why_a_key_does_not_sign_is_one_line_on_a_terminal_too(client, work):
    path = make(client)
    (work / "only.pub").write_text(client.public_key + "\n")
    terminal = client.terminal(["bundle", "sign", "-k", work / "only.pub", path])
    try:
        assert terminal.wait() == 125
    finally:
        terminal.close()
    said = terminal.output
    assert said.startswith(b"sshexec: can't sign with ") and said.count(b"\n") == 1, said


def test_who_may_sign_is_checked(client, work):
    make(client)
    good(client, "sign", "-k", client.key, "web-1.4.ssx")
    other = make_key(work / "other")
    ours = client.public_key
    cases = [(["bob " + other], [], "has no line with the key that signed it"), (["ada " + ours], ["-I", "bob"], "not for bob"), (['ada namespaces="git" ' + ours], [], 'namespaces="git" only'),
             (['ada valid-before="20200101" ' + ours], [], "has expired"), (['ada valid-after="29990101" ' + ours], [], "not valid before"), (["*.org cert-authority " + ours], [], "cert-authority")]
    for lines, words, part in cases:
        allowed = signers(work, *lines)
        for command in ("verify", "extract"):
            result = bundle(client, command, "--signers", allowed, *words, "web-1.4.ssx")
            assert result.code == 126 and part in result.error, (lines, result)
    assert not (work / "web-1.4").exists()
    good(client, "verify", "--signers", signers(work, 'ada valid-after="20200101Z",valid-before="29990101Z" ' + ours), "-I", "ada", "web-1.4.ssx")
    broken = bundle(client, "verify", "--signers", signers(work, "ada unknown " + ours), "web-1.4.ssx")
    assert broken.code == 125 and 'signers:1: unknown option "unknown"' in broken.error


def test_a_bundle_without_a_signature_is_refused_where_one_is_asked_for(client, work):
    make(client)
    result = bundle(client, "verify", "--signers", signers(work, "ada " + client.public_key), "web-1.4.ssx")
    assert result.code == 126 and result.error == "sshexec: web-1.4.ssx is not signed\n"


def test_a_signature_over_another_manifest_is_found(client, work):
    make(client)
    make(client, "web-1.5.ssx")
    good(client, "sign", "-k", client.key, "web-1.4.ssx")
    good(client, "extract", "web-1.4.ssx")
    result = bundle(client, "sign", "--signature", "web-1.4/manifest.sig", "web-1.5.ssx")
    assert result.code == 126 and "not over this manifest" in result.error


# --- hostile ones ---

def members(tar):
    """name, header and padded content of each member."""
    at = 0
    while tar[at] != 0:
        size = int(tar[at + 124:at + 136].rstrip(b"\0 "), 8)
        end = at + 512 + (size + 511) // 512 * 512
        yield tar[at:at + 100].rstrip(b"\0").decode(), tar[at:at + 512], tar[at + 512:at + 512 + size], tar[at:end]
        at = end


@needs_zstd
def test_nothing_of_a_hostile_bundle_is_written(client, work):
    path = make(client)
    good(client, "sign", "-k", client.key, path)
    whole = path.read_bytes()
    parts = list(members(plain_tar(path)))
    end = bytes(1024)
    raw = {name: raw for name, _, _, raw in parts}
    objects = [name for name in raw if name.startswith("objects/")]
    flipped = bytearray(raw[objects[1]])
    flipped[700] ^= 1
    other_manifest = raw["manifest"].replace(b"serial 0\n", b"serial 1\n")
    inputs = {"cut": whole[:-5], "half": whole[:len(whole) // 2], "more": whole + b"x", "text": b"no bundle\n", "none": b""}
    tars = {
        "object changed": raw["manifest"] + raw["manifest.sig"] + raw[objects[0]] + bytes(flipped) + raw[objects[2]] + end,
        "manifest changed": other_manifest + raw["manifest.sig"] + b"".join(raw[o] for o in objects) + end,
        "last missing": raw["manifest"] + raw["manifest.sig"] + raw[objects[0]] + raw[objects[1]] + end,
        "order": raw["manifest"] + raw["manifest.sig"] + b"".join(raw[o] for o in reversed(objects)) + end,
        "unknown": plain_tar(path)[:-1024] + raw["manifest"].replace(b"manifest\0", b"../../x1\0", 1) + end,
        "zeros": plain_tar(path) + bytes(64 << 20),
        "no zeros": plain_tar(path) + b"x" * 512,
    }
    for name, data in inputs.items():
        (work / "bad.ssx").write_bytes(data)
        check_refused(client, work, name)
    for name, tar in tars.items():
        repack(work / "bad.ssx", tar)
        check_refused(client, work, name)


def check_refused(client, work, name):
    before = files_below(work)
    for command in ("verify", "extract", "sign"):
        words = ["-k", client.key] if command == "sign" else []
        data = (work / "bad.ssx").read_bytes()
        result = bundle(client, command, *words, "bad.ssx")
        if command == "sign" and name == "manifest changed":
            (work / "bad.ssx").write_bytes(data) # that is what signing anew is for
            continue
        assert result.code == 126 and result.error.startswith("sshexec: bad.ssx: ") and result.error.count("\n") == 1, (name, command, result)
        assert (work / "bad.ssx").read_bytes() == data and files_below(work) == before, (name, command)


@needs_zstd
def test_a_manifest_that_lies_about_a_plugin_is_found_by_verify(client, work):
    path = make(client)
    tar = plain_tar(path)
    lie = tar.replace(b"variant aarch64 ", b"variant riscv64 ", 1)
    repack(path, lie)
    result = bundle(client, "verify", path)
    assert result.code == 126 and "its hello for riscv64" in result.error and "for aarch64" in result.error


def test_ctrl_c_while_signing_leaves_no_file(client, work):
    path = make(client)
    before = path.read_bytes()
    make_key(work / "k", passphrase="secret")
    names = files_below(work)
    terminal = client.terminal(["bundle", "sign", "-k", work / "k", path])
    try:
        terminal.expect(rb"passphrase")
        terminal.send(b"\x03")
        assert terminal.wait() == 130, terminal.output
    finally:
        terminal.close()
    assert path.read_bytes() == before and files_below(work) == names
