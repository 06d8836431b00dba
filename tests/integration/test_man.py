"""The manual pages: sound mdoc, and the same options, commands, keys and services as the programs have."""
import json
import re
import subprocess
from pathlib import Path

import pytest

from client import BUILD

ZOO = BUILD / "zoo"
TREE = Path(__file__).resolve().parents[2]
PAGES = sorted((BUILD / "man").glob("*.[1-8]"))
COMMANDS = ["run", "show", "put", "get", "test", "new", "encode", "decode", "list", "describe", "hosts", "doctor", "authorize", "bundle", "deploy", "rollback", "generations",
            "store", "clean", "config", "complete"]


def text(page):
    return (BUILD / "man" / page).read_text()


def options_of_page(page):
    """What stands in the tags of its lists, -x and --xyz."""
    tags = "\n".join(re.findall(r"^\.It (Fl .*)", text(page), re.M))
    return {"-" + name for name in re.findall(r"\bFl (-?[A-Za-z][\w-]*)", tags)}


def options_of_help(output):
    """Of the lines that begin with an option: what stands before the first two blanks."""
    heads = [re.split(r" {2,}", line.strip())[0] for line in output.splitlines() if re.match(r" +-{1,2}\w", line)]
    return {option for head in heads for option in re.findall(r"(?<!\S)(--?[A-Za-z][\w-]*)", head)}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_page_is_sound(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "", done.stdout
    assert re.search(r"^\.Sh NAME\n\.Nm (\S+)$", page.read_text(), re.M)[1] == page.stem, "whatis and apropos would not find it"
    assert "include" not in re.findall(r'^\.\\" (\w+)', page.read_text(), re.M), "an include was left"


def test_each_command_has_a_page_and_each_page_a_command(client):
    listed = client.run(["help"]).text.split("examples:")[0]
    shown = set(re.findall(r"^  ([a-z]+) ", listed, re.M)) - {"help", "version"}
    assert shown | {"complete"} == set(COMMANDS) == {p.stem[len("sshexec-"):] for p in PAGES if re.match(r"sshexec-.*\.1$", p.name)}
    assert set(re.findall(r"^\.It Cm ([a-z]+)$", text("sshexec.1"), re.M)) == set(COMMANDS) | {"help", "version"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_the_options_of_its_help_and_no_other(client, command):
    help = client.run(["help", command])
    assert help.code == 0 and options_of_help(help.text), help
    assert options_of_page("sshexec-%s.1" % command) == options_of_help(help.text)


def test_the_events_of_json_are_those_of_the_page(client):
    """All of them, from workers that give every one, and from hosts that end in several ways."""
    page = dict(re.findall(r"^\.It Cm (\w+) Pq (.*)", text("sshexec-run.1").split(".Sh JSON EVENTS")[1].split(".Sh EXIT")[0], re.M))
    page = {event: set(re.findall(r"\w+", keys)) for event, keys in page.items()}
    seen = {event: set() for event in page}
    for words in [["exec", "--", "sh", "-c", r"echo out; printf '\377' >&2; exit 3"], [ZOO / "segfault.so"], [ZOO / "crash_constructor.so"], [ZOO / "items.so"]]:
        done = client.run(["run", "--json", "-w", "node1,127.0.0.1:1", *words])
        for event in map(json.loads, done.text.splitlines()):
            assert isinstance(event.pop("host"), str) and isinstance(event.pop("call"), int)
            seen["timing"] |= event.get("timing", {}).keys()
            seen[event.pop("event")] |= event.keys()
    lacking = {"item": {"problem"}, "result": {"problem"}, "state": {"problem"}, "end": {"reason"}, "returned": {"text"}} # these take a host with another version, one that refuses, or one that dies
    seen = {event: keys | lacking.get(event, set()) for event, keys in seen.items()}
    assert seen == page, {event: seen[event] ^ page[event] for event in page}


def test_the_agents_page_too(client):
    done = subprocess.run([BUILD / "bin/sshexec-agent", "--help"], capture_output=True, text=True, env=client.env)
    assert options_of_page("sshexec-agent.8") == options_of_help(done.stdout)


def test_the_configurations_page_has_its_keys(client):
    shown = re.findall(r"^(\w+) *=", client.run(["config"]).text, re.M)
    assert set(re.findall(r"^\.It Cm (\w+)$", text("sshexec.conf.5"), re.M)) == set(shown) | {"command"}


def test_the_workers_page_has_what_the_header_offers():
    header = (TREE / "sdk/include/sshexec/worker.h").read_text().split("From here on: how the lists become code")[0]
    macros = re.split("---- The macros an author uses", header)[1]
    offered = set(re.findall(r"^#define (SSX_[A-Z]+(?:_[A-Z]+)*)\b", macros, re.M)) - set(re.findall(r"^#define (SSX_WORKER_ALL)\b", macros, re.M))
    offered |= set(re.findall(r"^#define (SSX_[A-Z_]+) +\d+u ", header, re.M))
    offered |= set(re.findall(r"^(?:__attribute__.*)?(?:static inline .*?|#define )(ssx_\w+)\(", macros, re.M))
    page = text("sshexec-worker.7")
    named = set(re.findall(r"^\.It (?:Fn|Dv) (ssx_\w+|SSX_[A-Z_]+)", page, re.M)) | set(re.findall(r"SSX_LOG_\w+", page)) | {"SSX_NO_NOTES"}
    assert named - {"SSX_NO_NOTES"} == offered
