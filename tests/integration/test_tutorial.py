"""docs/tutorial.md, read as a newcomer reads it: each command is run in an empty directory against what is installed, on a host with nothing on it."""
import re
import subprocess
from pathlib import Path

import pytest

from client import BUILD, SANITIZED
from test_deb import PACKAGES, System, debs  # noqa: F401 (a fixture)

TREE = Path(__file__).resolve().parents[2]
PAGE = (TREE / "docs/tutorial.md").read_text()
pytestmark = pytest.mark.skipif(SANITIZED, reason="the page's programs are built without a sanitizer, and can't load a library that has one")


def blocks():
    """The page's fenced blocks in order: (kind, text)."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)


def steps():
    """What to do, in order: ("run", command, the lines that it must print) or ("write", file, text), ("patch", text)."""
    for kind, text in blocks():
        if kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
                command, _, output = part.partition("\n")
                yield "run", command, output
        elif kind == "c":
            yield "write", "call.c", text
        elif kind == "diff":
            yield "patch", "", text


def pattern(output):
    """The page's output as an expression: … stands for anything, a line of its own for any lines."""
    return "".join(r"(.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in output.splitlines())


def as_script(where):
    """All of it as one script whose steps are told apart by a line with a NUL, so that a later step finds what an earlier one left (a directory, a file)."""
    script = ["cd %s" % where]
    for number, (what, name, text) in enumerate(steps()):
        script.append("printf '\\000%d\\n'" % number)
        if what == "run":
            script.append("{ %s\n} 2>&1 || :" % name)
        elif what == "write":
            script.append("cat >%s <<'END OF IT'\n%sEND OF IT" % (name, text))
        else:
            script.append("patch -s -p1 <<'END OF IT'\n%sEND OF IT" % unnumbered(text))
    return "\n".join(script)


def unnumbered(diff):
    """The page's diff with line numbers, which patch wants and no reader does: it then looks for the place itself."""
    out, hunk = [], []
    def close():
        if hunk:
            old = sum(line[:1] in " -" for line in hunk)
            new = sum(line[:1] in " +" for line in hunk)
            out.append("@@ -1,%d +1,%d @@" % (old, new))
            out.extend(hunk)
            hunk.clear()
    for line in diff.splitlines():
        if line.startswith(("---", "+++", "@@")):
            close()
            if not line.startswith("@@"):
                out.append(line)
        else:
            hunk.append(line)
    close()
    return "\n".join(out) + "\n"


@pytest.fixture
def system(scratch, client, clean_sshd):
    """A system of its own whose root may ssh to node1."""
    made = System(scratch, dict(client.env, PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", DEBIAN_FRONTEND="noninteractive"))
    done = made.run("mkdir -p ~/.ssh ~/work; rm -rf ~/.local/share/sshexec ~/.config/sshexec; cp %s ~/.ssh/config; chmod 600 ~/.ssh/config" % client.config)
    assert done.returncode == 0, done
    return made


def follow(system):
    done = system.run(as_script("~/work"))
    told = {int(n): text for n, text in re.findall(r"\0(\d+)\n([^\0]*)", done.stdout)}
    for number, (what, name, text) in enumerate(steps()):
        wanted = pattern(text) if what == "run" else ""
        assert number in told, "the tutorial stopped before: %s\n%s" % (name or what, done.stderr[-2000:])
        assert re.fullmatch(wanted, told[number]), "$ %s\nwanted:\n%s\ngot:\n%s" % (name or what, text, told[number])


def test_every_command_of_the_tutorial_with_make_install(system):
    done = system.run("make -s -C %s BUILD=%s install PREFIX=/usr/local; ldconfig" % (TREE, BUILD))
    assert done.returncode == 0, done
    follow(system)


@pytest.mark.long
def test_every_command_of_the_tutorial_with_the_packages(debs, system):  # noqa: F811
    done = system.run("dpkg -i %s" % " ".join(str(debs[name]) for name in PACKAGES))
    assert done.returncode == 0, done
    follow(system)


def test_every_block_of_the_page_is_run():
    assert {kind for kind, _ in blocks()} == {"console", "c", "diff"} and len(blocks()) > 10
