"""Completion in real shells: what TAB makes of a command line in bash, zsh and fish, on terminals of their own; and `sshexec complete`, which knows it for all three."""
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from client import BUILD, SLOW, SSHEXEC, Terminal

DEEP = str(BUILD / "sdk/deep.so")
COMPLETIONS = Path(__file__).resolve().parents[2] / "tools/completions"
START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "bind 'set enable-bracketed-paste off'; PS1='ready> '; source %s/sshexec.bash\n"),
    "zsh": (["zsh", "-f", "-i"], "PS1='ready> '; unsetopt zle_bracketed_paste; fpath=(%s $fpath); autoload -Uz compinit; compinit -u -D\n"),
    "fish": (["fish", "--no-config", "-i"], "function fish_prompt; echo 'ready> '; end; source %s/sshexec.fish\n"),
}


@pytest.fixture(params=sorted(START))
def shell(request, client, scratch):
    if not shutil.which(request.param):
        pytest.skip("%s is not here" % request.param)
    return Shell(request.param, client, scratch)


class Shell:
    def __init__(self, name, client, scratch):
        self.name, self.scratch = name, scratch
        self.env = dict(client.env, PATH="%s:%s" % (BUILD / "bin", client.env["PATH"]), SSHEXEC_CONFIG=str(scratch / "config"), TERM="xterm", INPUTRC="/dev/null")
        (scratch / "config").write_text("ssh_config = %s\n[transport lift]\ncommand = true %%c\n" % client.config)

    def _start(self):
        argv, setup = START[self.name]
        terminal = Terminal(argv, self.env, columns=200, cwd=self.scratch)
        terminal.send((setup % COMPLETIONS).replace("ready", "rea''dy").encode())
        terminal.expect(rb"ready> ")
        return terminal

    def tab(self, typed):
        """The command line after these characters and a TAB."""
        terminal = self._start()
        try:
            terminal.send(typed.encode() + b"\t\x01echo 'GO''T' \n")
            return terminal.expect(rb"GOT ([^\r\n]*)").group(1).decode()
        finally:
            terminal.close()

    def run(self, typed):
        """What the completed command prints."""
        terminal = self._start()
        try:
            terminal.send(typed.encode() + b"; echo do''ne\n")
            terminal.expect(rb"done")
            return terminal.output.decode(errors="replace")
        finally:
            terminal.close()


def test_subcommands_types_and_fields_by_tab(shell):
    assert "hello, Ada" in shell.run("sshexec ru\thell\tna\tAda")


@pytest.mark.parametrize("typed, completed", [
    ("sshexec enc", "sshexec encode"),
    ("sshexec run he", "sshexec run hello"),
    ("sshexec run hello ti", "sshexec run hello times="),
    ("sshexec run --trans", "sshexec run --transport"),
    ("sshexec run --transport li", "sshexec run --transport li"),
    ("sshexec run --transport lif", "sshexec run --transport lift"),
    ("sshexec run hello node1 na", "sshexec run hello node1 name="),
    ("sshexec store ver", "sshexec store verify"),
    ("sshexec bundle ext", "sshexec bundle extract"),
    ("sshexec bundle show con", "sshexec bundle show config"),
    ("sshexec help au", "sshexec help authorize"),
    ("sshexec clean ada@nod", "sshexec clean ada@node"),
    ("sshexec put config ada@node1", "sshexec put config ada@node1:"),
    ("sshexec put conf", "sshexec put config"),
])
def test_tab(shell, typed, completed):
    assert shell.tab(typed).rstrip() == completed


def test_records_by_tab(shell, client):
    assert client.run(["run", "-w", "node1,node2", "hello"]).code == 0
    record, = (path.name for path in (client.home / ".local/state/sshexec/runs").iterdir())
    assert shell.tab("sshexec show 2").rstrip() == "sshexec show " + record
    assert shell.tab("sshexec run --rerun all --record 2").rstrip() == "sshexec run --rerun all --record " + record
    assert shell.tab("sshexec run --rerun unr").rstrip() == "sshexec run --rerun unreachable"
    assert shell.tab("sshexec show --color=alw").rstrip() == "sshexec show --color=always"


def test_values_files_and_hosts_by_tab(shell):
    subprocess.run(["gcc", "-shared", "-fPIC", "-I%s/include" % BUILD, "-x", "c", "-", "-o", shell.scratch / "kinds.so"], check=True, text=True, input="""
#include <sshexec/worker.h>
#define LEVEL(V) V(level, low) V(level, high)
SSX_ENUM(level, LEVEL)
#define IN(F) F(enum(level), level, empty, "how") F(bool, loud, empty, "or not") F(str, text, empty, "a text")
SSX_STRUCT(in, IN)
SSX_NOTHING(out)
static int work(struct ssx_call *call, const struct in *in, struct out *out) { (void)call; (void)in; (void)out; return 0; }
SSX_WORKER("kinds", "1.0", "for a test", in, out, 0, work)
""")
    (shell.scratch / "a file").write_text("x")
    assert shell.tab("sshexec run ./kin").rstrip() == "sshexec run ./kinds.so"
    assert shell.tab("sshexec test ./kinds.so level=hi").rstrip() == "sshexec test ./kinds.so level=high"
    assert shell.tab("sshexec run ./kinds.so loud=f").rstrip() == "sshexec run ./kinds.so loud=false"
    assert shell.tab("sshexec run ./kinds.so text=@a").rstrip() == "sshexec run ./kinds.so text=@a file"


# --- what `sshexec complete` knows ---

def ask(client, *words, **how):
    done = client.run(["complete", "--", *words], **how)
    assert done.code == 0 and done.err == b"", done
    return dict(line.split("\t", 1) for line in done.text.splitlines())


def test_every_command_and_its_options(client):
    commands = ask(client, "")
    assert {"run", "test", "new", "list", "help", "version"} <= commands.keys() and "complete" not in commands
    for command in commands.keys() - {"help", "version"}:
        page = client.run([command, "--help"]) if command not in ("run", "list", "describe", "doctor", "clean") else client.run(["help", command])
        assert ask(client, command, "--").keys() == set(re.findall(r"^ +(?:-\w, |--[a-z-]+, )?(--[a-z-]+)", page.text, re.M)) | set(re.findall(r"^ +(--[a-z-]+), --", page.text, re.M))


def test_fields_say_what_they_are_and_come_once_but_for_lists(client):
    assert ask(client, "run", "hello", "") == {"name=": "whom to greet", "times=": "how often each", "also=": "others to greet"}
    assert ask(client, "run", "hello", "name=x", "also=y", "times:=2", "").keys() == {"also="}
    assert ask(client, "encode", "hello", "n").keys() == {"name="}


def test_hosts_of_the_configuration_its_includes_and_known_hosts(client, scratch):
    (scratch / "more").write_text("Host inner *.wild !not\n  UserKnownHostsFile %s/known\n" % scratch)
    (scratch / "conf").write_text("Include %s/mo*\nHost alpha beta\n  HostName 192.0.2.1\nMatch host x\n" % scratch)
    (scratch / "known").write_text("# no\ngamma,192.0.2.7 ssh-ed25519 AAAA\n[delta]:2222 ssh-ed25519 AAAA\n|1|abc|def ssh-ed25519 AAAA\n@revoked evil ssh-ed25519 A\n")
    hosts = ask(client, "doctor", "-F", str(scratch / "conf"), "").keys()
    assert {"inner", "alpha", "beta", "gamma", "192.0.2.7", "delta:2222"} <= hosts
    assert not hosts & {"*.wild", "!not", "not", "x", "evil"} and not any("|" in h or "*" in h for h in hosts)
    assert ask(client, "clean", "-F%s/conf" % scratch, "ada@al").keys() == {"ada@alpha"}
    assert "alpha" in ask(client, "authorize", "-F", str(scratch / "conf"), "--host", "")
    assert ask(client, "hosts", "-F", str(scratch / "conf"), "-w", "beta,al").keys() == {"beta,alpha"}
    assert "alpha" in ask(client, "run", "--ssh-config=%s/conf" % scratch, "hello", "")
    assert "alpha" not in ask(client, "run", "-F", str(scratch / "conf"), "hello", "beta", ""), "one host is there already"


def test_records_and_how_many_hosts_they_have(client):
    assert ask(client, "show", "") == {}
    for hosts in "node1", "node[1-3]":
        assert client.run(["run", "-w", hosts, "hello"]).code == 0
    runs = client.home / ".local/state/sshexec/runs"
    first, second = sorted(path.name for path in runs.iterdir())
    (runs / first).write_bytes(b"damaged")
    assert ask(client, "show", "2") == {first: "", second: "3 hosts"} == ask(client, "run", "--record", "") == {first: "", second: "3 hosts"}
    assert ask(client, "show", first, "") == {}
    assert ask(client, "run", "--rerun", "failed,l").keys() == {"failed,lost"}


def test_an_include_of_itself_ends(client, scratch):
    (scratch / "conf").write_text("Include %s/conf\nHost alpha\n" % scratch)
    assert "alpha" in ask(client, "doctor", "-F", str(scratch / "conf"), "al")


def test_hosts_stand_in_one_place_of_a_transfer(client, scratch):
    (scratch / "conf").write_text("Host alpha\n")
    (scratch / "allowed").write_text("")
    assert ask(client, "put", "-F", "conf", "al", cwd=scratch).keys() == {"alpha:", "allowed"}
    assert ask(client, "put", "-F", "conf", "-w", "alpha", "al", cwd=scratch).keys() == {"allowed"}


def test_nothing_that_could_drive_a_terminal(client, scratch):
    (scratch / "conf").write_text("Host alpha\x1b[31m al\tbeta\n")
    (scratch / "x\x1by").write_text("")
    assert ask(client, "doctor", "-F", str(scratch / "conf"), "al").keys() == {"al"}
    assert ask(client, "decode", "x", cwd=scratch) == {}


def test_plugins_of_another_path(client, scratch):
    shutil.copy(BUILD / "zoo/segfault.so", scratch)
    scratch.chmod(0o755)
    assert "segfault" in ask(client, "run", "--plugin-path", str(scratch), "seg")
    assert "segfault" in ask(client, "run", "--plugin-path=%s" % scratch, "seg")
    assert "segfault" not in ask(client, "run", "seg")


@pytest.mark.parametrize("words", [["nonsense", ""], ["run", "nonsense", ""], ["run", "./nonsense.so", "x="], ["run", "hello", "nonsense=", "b="], ["run", "-p", ""],
                                   ["run", "hello", "--", ""], ["run", "-"], ["run", "hello", "a.b.c=x"], ["run", "--nonsense="], ["x" * 5000, ""], ["run", "=" * 5000]])
def test_nonsense_is_no_error(client, words):
    ask(client, *words)


@pytest.mark.parametrize("words", [["complete", "--", "run", DEEP, ""], ["complete", "--", "run", DEEP, "aaa.abb."], ["describe", DEEP], ["describe", "--check", DEEP],
                                   ["run", DEEP, "--help"], ["encode", DEEP, "aaa.aaa:={}"], ["run", DEEP, "aaa=x"], ["run", DEEP, "-w", "a", "--scatter", "aaa:=", "--items", "/dev/null"]])
def test_a_schema_whose_structs_multiply_is_bounded(client, words):
    began = time.monotonic()
    done = client.run(words)
    assert time.monotonic() - began < 5 * SLOW and len(done.out) + len(done.err) < 1 << 20


def test_is_fast(client):
    def once():
        began = time.monotonic()
        ask(client, "run", "hello", "na")
        return time.monotonic() - began
    assert min(once() for _ in range(5)) < 0.1 * SLOW
