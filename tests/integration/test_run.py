"""The main job: `sshexec run` on this machine and over a real sshd, by each transport; what goes wrong says so in one line."""
import json
import os
import random
import shutil
import signal
import subprocess

import pytest

import processes
from client import BUILD, SANITIZED, SLOW, SSHEXEC
from sshd import free_port, make_key

AGENT = BUILD / "bin" / "sshexec-agent"
PLUGINS = BUILD / "plugins"
NAMES = ["echo", "exec", "facts", "get", "hello", "ping", "put", "tail"]
GIB = 1 << 30
FLAT_KIB = 16 << 10 # what a gigabyte may cost either end
GONE_S = 2          # how long a worker may outlive its caller

exactly = pytest.mark.skipif(SANITIZED, reason="a sanitizer's own memory is not ours")


def complains(result, code, *words):
    """One line on stderr that has all the words, nothing on stdout, and that exit code."""
    assert result.code == code, result
    assert result.out == b"" and result.err.endswith(b"\n") and result.err.count(b"\n") == 1, result
    assert all(word.lower() in result.error.lower() for word in words), result
    return True


def commands(text):
    return [p for p in processes.descendants() if p.command == text]


def gone(text):
    return processes.wait_until(lambda: not commands(text), GONE_S)


# --- what a person gets ---

def test_hello(client, via):
    done = client.run(via.words("hello", "name=Ada", "times=3"))
    assert done.code == 0 and done.err == b"", done
    assert done.text.count("Ada") >= 3


def test_hello_on_a_host_with_nothing_installed(client, clean_sshd, via_ssh):
    assert "Ada" in client.run(via_ssh.words("hello", "name=Ada")).text
    def files():
        return {path: path.stat().st_mtime_ns for path in clean_sshd.home.rglob("*") if path.is_file()}
    first = files()
    assert first and all(path.stat().st_mode & 0o022 == 0 for path in first)
    assert "Eve" in client.run(via_ssh.words("hello", "name=Eve")).text
    assert files().keys() == first.keys(), "the second run stored something again"


def test_host_takes_agents_of_both_transports_from_one_cache(client, clean_sshd):
    client.run(["run", "--transport", "libssh", "hello", "node1"])
    before = sorted(clean_sshd.home.rglob("*"))
    client.run(["run", "--transport", "ssh", "hello", "node2"])
    assert sorted(clean_sshd.home.rglob("*")) == before


def test_facts_as_json(client, via):
    done = client.run(via.words("facts", before=["--json"]))
    assert done.code == 0, done
    events = [json.loads(line) for line in done.text.splitlines()]
    assert events and all("host" in event and "call" in event for event in events)
    assert os.uname().release in done.text


def test_exec_has_the_login_s_directory(client, sshd, via):
    here = client.home if via.host is None else sshd.cwd
    assert client.run(via.words("exec", "--", "pwd")).text.strip() == str(here)


def test_ping_names_this_machine(client, via):
    done = client.run(via.words("ping"))
    assert done.code == 0 and os.uname().machine in done.text, done


def test_list_and_describe_and_help(client):
    listing = client.run(["list"]).text
    assert all(name in listing for name in NAMES)
    described = client.run(["describe", "hello"]).text
    assert "times" in described and "100" in described
    helped = client.run(["run", "hello", "--help"])
    assert helped.code == 0 and "times" in helped.text and "name" in helped.text
    for words in (["version"], ["help"], ["config"]):
        assert client.run(words).code == 0


def test_list_and_describe_of_a_host(client, sshd):
    client.run(["run", "hello", "node1"])
    listed = client.run(["list", "--json", "node1"])
    assert listed.code == 0 and {line["type"] for line in map(json.loads, listed.text.splitlines())} >= {"hello", "facts"}, listed
    assert "times" in client.run(["describe", "hello", "node1"]).text


def test_doctor_names_transport_and_agent(client, via_ssh):
    done = client.run(["doctor", "--transport", via_ssh.transport, "node1"])
    assert done.code == 0 and via_ssh.transport in done.text and "agent" in done.text, done


# --- bytes ---

@pytest.fixture
def folder(scratch):
    source, dice = scratch / "source", random.Random(2)
    (source / "deep" / "er").mkdir(parents=True)
    (source / "every byte").write_bytes(bytes(range(256)) * 300)
    (source / "empty").touch()
    (source / "deep" / "er" / ("n" * 200)).write_bytes(dice.randbytes(3_000_001))
    return source


def test_tar_is_byte_exact(client, via, folder, scratch):
    words = ["tar", "c", "--sort=name", "-C", str(folder), "."]
    expected = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
    with open(scratch / "x.tar", "wb") as archive:
        child = client.popen(via.words("exec", "--", *words), stdout=archive)
        _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"")
    assert (scratch / "x.tar").read_bytes() == expected


def test_input_comes_back_byte_exact(client, via):
    data = random.Random(3).randbytes(5_000_001)
    done = client.run(via.words("exec", "--", "cat"), input=data)
    assert done.code == 0 and done.out == data


def test_no_input_with_n(client, via):
    done = client.run(via.words("exec", "--", "cat", before=["-n"]), input=b"not for the worker")
    assert (done.code, done.out) == (0, b"")


def test_stdout_and_stderr_stay_apart(client, via):
    done = client.run(via.words("exec", "--", "sh", "-c", "echo to out; echo to err >&2"))
    assert (done.code, done.out, done.err) == (0, b"to out\n", b"to err\n")


@pytest.mark.parametrize("value", ["18446744073709551615", "-9223372036854775808", '""', "[]", '{"a":[1,2.5,null,true,{"b":"\u00e9"}]}'])
def test_echo_gives_back_what_it_got(client, via, value):
    done = client.run(via.words("echo", "value:=" + value))
    assert done.code == 0 and json.loads(done.text) == {"value": json.loads(value)}, done


def test_state_from_files(client, scratch):
    (scratch / "name").write_text("Grace")
    assert "Grace" in client.run(["run", "hello", "name=@%s" % (scratch / "name")]).text
    assert "Alan" in client.run(["run", "hello", "--state", "-"], input=b'{"name":"Alan"}').text
    assert "@home" in client.run(["run", "hello", "name=@@home"]).text


def test_a_gigabyte_streams_through_flat_memory(client, via):
    size = GIB >> 4 if SANITIZED else GIB
    child = client.popen(via.words("exec", "--", "head", "-c", str(size), "/dev/zero"))
    ends, peaks, got, piece = {child.pid}, {}, 0, True
    assert processes.wait_until(lambda: processes.running(AGENT), 10 * SLOW)
    ends |= {p.pid for p in processes.running(AGENT)}
    processes.wait_until(lambda: False, 0.5) # a reader that takes its time: nothing may pile up meanwhile
    while piece:
        piece = child.stdout.read(4 << 20)
        got += len(piece)
        peaks.update((pid, kib) for pid in ends if (kib := processes.peak_memory_kib(pid)))
    assert (child.wait(10), got, child.stderr.read()) == (0, size, b"")
    assert SANITIZED or len(peaks) >= 2 and max(peaks.values()) < FLAT_KIB, peaks


@exactly
def test_idle_agent_is_small(client, via):
    child = client.popen(via.words("exec", "--", "sleep", "765.4"))
    assert processes.wait_until(lambda: commands("sleep 765.4"), 10)
    agents = processes.running(AGENT)
    assert agents and all(processes.peak_memory_kib(p.pid) < 2048 for p in agents)
    child.terminate()
    child.wait(5)


# --- how a call ends ---

@pytest.mark.parametrize("given, code", [(0, 0), (1, 1), (7, 7), (123, 123), (200, 123)])
def test_worker_s_exit_code(client, via, given, code):
    assert client.run(via.words("exec", "--", "sh", "-c", "exit %d" % given)).code == code


def test_timeout(client, via):
    done = client.run(via.words("exec", "--", "sleep", "654.3", before=["-u", "1"]))
    assert done.code == 124 and done.seconds < 5 * SLOW, done
    assert gone("sleep 654.3")


def test_ctrl_c(client, via):
    terminal = client.terminal(via.words("exec", "--", "sleep", "876.5"))
    assert processes.wait_until(lambda: commands("sleep 876.5"), 10 * SLOW), terminal.output
    terminal.send(b"\x03")
    assert gone("sleep 876.5")
    assert terminal.wait(5) == 130
    terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_worker_dies_with_its_caller(client, via, number):
    child = client.popen(via.words("exec", "--", "sleep", "543.2"))
    assert processes.wait_until(lambda: commands("sleep 543.2"), 10 * SLOW)
    child.send_signal(number)
    assert gone("sleep 543.2")
    child.communicate(timeout=10)
    assert child.returncode not in (0, None)


def test_agent_that_dies_is_a_loss(client, via):
    child = client.popen(via.words("exec", "--", "sleep", "432.1"))
    assert processes.wait_until(lambda: commands("sleep 432.1"), 10 * SLOW)
    for agent in processes.running(AGENT):
        os.kill(agent.pid, signal.SIGKILL)
    out, err = child.communicate(timeout=10 * SLOW)
    assert (child.returncode, out) == (255, b"") and err.count(b"\n") == 1 and b"lost" in err, err
    assert gone("sleep 432.1")


# --- bad input: one clear line, the right code, nothing half-done ---

@pytest.mark.parametrize("words, code, said", [
    (["helo"], 127, ["helo", "hello"]),
    (["hello", "nmae=Ada"], 126, ["nmae", "name"]),
    (["hello", "times=101"], 126, ["times", "101", "100"]),
    (["hello", "times=three"], 126, ["times", "three"]),
    (["hello", "times:=[1]"], 126, ["times"]),
    (["hello", "name:={"], 125, ["name", "json"]),
    (["echo"], 126, ["value"]),
    (["hello", "name=@/no/such/file"], 125, ["/no/such/file"]),
    (["hello", "--", "word"], 125, ["hello"]),
])
def test_bad_words(client, sshd, words, code, said):
    assert complains(client.run(["run", *words]), code, *said)
    logins = sshd.logins()
    remote = words[:1] + ["node1"] + words[1:]
    assert complains(client.run(["run", *remote]), code, *said)
    assert words == ["helo"] or sshd.logins() == logins, "it connected before it looked at the words"


@pytest.mark.parametrize("words", [
    [], ["--nonsense", "hello"], ["--transport", "pigeon", "hello", "node1"], ["hello", ""], ["-u", "soon", "hello"],
])
def test_usage(client, words):
    done = client.run(["run", *words])
    assert done.code == 125 and done.out == b"" and done.err, done


def test_state_over_the_limit(client, via, scratch):
    (scratch / "big").write_bytes(b"x" * (17 << 20))
    assert complains(client.run(via.words("echo", "value=@%s" % (scratch / "big"))), 126)


def patched(scratch, change):
    image = bytearray((PLUGINS / "hello.so").read_bytes())
    changed = change(image)
    path = scratch / "hello.so"
    path.write_bytes(changed)
    assert changed != (PLUGINS / "hello.so").read_bytes()
    return path


def other_machine(image):
    image[18:20] = (183 if os.uname().machine == "x86_64" else 62).to_bytes(2, "little")
    return image


BAD_FILES = {
    "not ELF": (lambda image: b"#!/bin/sh\necho hello\n", ["elf"]),
    "truncated": (lambda image: image[:3000], []),
    "wrong architecture": (other_machine, ["aarch64", "x86_64"]),
    "other ABI major": (lambda image: image.replace(b'"abi":[1,', b'"abi":[9,'), ["9."]),
    "no run": (lambda image: image.replace(b"\0run\0", b"\0rux\0"), ["run"]),
    "no descriptor": (lambda image: image.replace(b".note.sshexec", b".note.sshexel").replace(b"sshexec\0", b"sshexel\0"), []),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_plugin_file(client, scratch, what):
    change, said = BAD_FILES[what]
    path = patched(scratch, change)
    assert complains(client.run(["run", path]), 126, str(path), *said)
    assert complains(client.run(["run", path, "node1"]), 126, str(path), *said)


def test_plugin_by_path(client, scratch, via):
    shutil.copy(PLUGINS / "hello.so", scratch / "greeter.so")
    done = client.run(via.words(str(scratch / "greeter.so"), "name=Ada"))
    assert done.code == 0 and "Ada" in done.text, done


def test_host_not_found(client, via_ssh):
    host = "no-such-host.invalid"
    assert complains(client.run(["run", "--transport", via_ssh.transport, "hello", host]), 255, host)


def test_connection_refused(client, via_ssh):
    port = free_port()
    assert complains(client.run(["run", "--transport", via_ssh.transport, "-p", port, "hello", "node1"]), 255, "refused", str(port))


def test_wrong_host_key(client, sshd, via_ssh, scratch):
    client.known_hosts.write_text("[127.0.0.1]:%d %s\n" % (sshd.port, make_key(scratch / "other")))
    logins = sshd.logins()
    assert complains(client.run(via_ssh.words("hello")), 255, "host key")
    assert sshd.logins() == logins


def test_revoked_host_key(client, sshd, via_ssh):
    revoked = "".join("@revoked * %s\n" % key for key in sshd.host_keys.values())
    client.known_hosts.write_text(sshd.known_hosts() + revoked)
    assert complains(client.run(via_ssh.words("hello")), 255, "revoked")


def test_unknown_host_key(client, sshd, via_ssh):
    client.known_hosts.write_text("")
    assert complains(client.run(via_ssh.words("hello")), 255, "host key")
    assert client.known_hosts.read_text() == ""
    taught = client.run(via_ssh.words("hello", before=["-o", "StrictHostKeyChecking=accept-new"]))
    assert taught.code == 0, taught
    assert "[127.0.0.1]:%d " % sshd.port in client.known_hosts.read_text()
    assert client.run(via_ssh.words("hello")).code == 0


def test_no_usable_key(client, sshd, via_ssh):
    sshd.keys_path.write_text("")
    assert complains(client.run(via_ssh.words("hello")), 255, "key")


def test_agent_that_cannot_be_stored(client, clean_sshd, via_ssh):
    """A home that is read-only, and places in shared directories that somebody else has taken: those are never used."""
    if not clean_sshd.dedicated:
        pytest.skip("needs an account that is not root's")
    taken = clean_sshd.shared_places()
    for place in taken:
        place.mkdir(mode=0o777)
        place.chmod(0o777)
    clean_sshd.home.chmod(0o500)
    try:
        assert complains(client.run(via_ssh.words("hello")), 255, "agent")
        assert [list(place.iterdir()) for place in taken] == [[], []]
    finally:
        clean_sshd.home.chmod(0o700)
        for place in taken:
            shutil.rmtree(place)


# --- ssh's options, keys ---

def test_options_mean_what_they_mean_to_ssh(client, sshd, via_ssh):
    wrong = "Host *\n  Port 1\n  User nobody-here\n  IdentityFile /no/such/key\n  UserKnownHostsFile /no/such/file"
    client.write_config(sshd, extra=wrong)
    options = ["-p", sshd.port, "-l", sshd.user, "-i", client.key, "-o", "UserKnownHostsFile=%s" % client.known_hosts]
    done = client.run(via_ssh.words("hello", "name=Ada", before=options))
    assert done.code == 0 and "Ada" in done.text, done


@pytest.fixture
def locked_key(client):
    argv = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", client.key]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def test_encrypted_key_fails_plainly_without_a_terminal(client, via_ssh, locked_key):
    assert complains(client.run(via_ssh.words("hello")), 255, "key")


def test_encrypted_key_asks_on_a_terminal(client, via_ssh, locked_key):
    terminal = client.terminal(via_ssh.words("hello", "name=Ada"))
    terminal.expect(rb"(?i)passphrase")
    terminal.send(b"open sesame\n")
    terminal.expect(rb"Ada")
    assert terminal.wait() == 0 and b"sesame" not in terminal.output
    terminal.close()


def test_key_from_ssh_agent(client, via_ssh, key_agent):
    env = {"SSH_AUTH_SOCK": str(key_agent)}
    subprocess.run(["ssh-add", "-q", client.key], env=dict(os.environ, **env), check=True, stdin=subprocess.DEVNULL)
    client.key.unlink()
    done = client.run(via_ssh.words("hello", "name=Ada"), env=env)
    assert done.code == 0 and "Ada" in done.text, done


# --- nothing of a plugin runs to describe it ---

@pytest.mark.parametrize("name", NAMES)
def test_readelf_shows_the_descriptor_a_field_a_line(name):
    argv = ["readelf", "-p", ".note.sshexec", PLUGINS / (name + ".so")]
    shown = subprocess.run(argv, capture_output=True, check=True).stdout.decode()
    lines = [line.split("]", 1)[1].strip() for line in shown.splitlines() if line.strip().startswith("[") and "{" in line]
    objects = [json.loads(line[line.index("{"):]) for line in lines]
    assert [o["worker"] for o in objects if "worker" in o] == [name]
    assert all(set(o) & {"worker", "struct", "enum", "field", "value"} for o in objects)


@pytest.mark.parametrize("words", [["describe", "hello"], ["list"], ["run", "hello", "--help"]])
def test_describing_maps_no_plugin_executable(client, scratch, words):
    trace = scratch / "trace"
    env = dict(client.env, ASAN_OPTIONS="detect_leaks=0") # the leak check can't work under another tracer
    argv = ["strace", "-f", "-y", "-e", "trace=mmap,mprotect,openat,read,pread64", "-o", trace, *client.argv(words)]
    subprocess.run([str(word) for word in argv], env=env, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    calls = [line for line in trace.read_text(errors="replace").splitlines() if "/plugins/" in line]
    assert any("hello.so" in line for line in calls), "it never looked at the file"
    assert not [line for line in calls if "PROT_EXEC" in line]
