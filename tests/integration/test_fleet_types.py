"""Runs over many hosts of types that only the hosts have, and options for hosts where there is one host."""
import json
import os
import subprocess

import pytest

from client import BUILD

SOURCE = """
#include <sshexec/worker.h>
#define GREET(F) F(str, name, default("world"), "whom") %s
SSX_STRUCT(greet, GREET)
#define SAID(F) F(str, said, required, "what")
SSX_STRUCT(said, SAID)
static int greet_run(struct ssx_call *call, const struct greet *in, struct said *out)
{
    out->said = ssx_sprintf(call, "%s %%s", in->name);
    return 0;
}
SSX_WORKER("greet", "%s", "greets", greet, said, 0, greet_run)
"""


def give(server, version, fields=""):
    """The host gets its own plugin of the type `greet`."""
    plugins = server.home / ".local/share/sshexec/plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-I%s/include" % BUILD, "-x", "c", "-", "-o", plugins / "greet.so"], input=SOURCE % (fields, version, version), text=True, check=True)
    for path in [server.home / ".local", *(server.home / ".local").rglob("*")]:
        os.chown(path, server.uid, server.uid)
        path.chmod(0o755)


@pytest.fixture
def nodes(client, sshd_with):
    """Two hosts: node1 has greet 1.0, old an older one without the field `loud`; by 127.0.0.1:1 there is nobody."""
    new, old = sshd_with(), sshd_with()
    give(new, "1.0", 'F(i32, loud, default(0), "how loud")')
    give(old, "0.9")
    client.connect_to(new)
    old.authorize(client.public_key)
    client.known_hosts.write_text(new.known_hosts() + old.known_hosts())
    client.write_config(new, extra="Host old\n  HostName 127.0.0.1\n  Port %d\n  User %s" % (old.port, old.user))
    return client


def run(client, hosts, *words):
    return client.run(["run", "-w", hosts, *words])


def test_a_type_that_only_the_hosts_have(nodes):
    done = run(nodes, "node[1-2]", "greet", "name=Ada", "-N")
    assert done.code == 0 and [json.loads(line) for line in done.text.splitlines()] == [{"said": "1.0 Ada"}] * 2, done
    assert nodes.run(["run", "greet", "node1", "name%=%h", "--pick", "said"]).text == "host   said\nnode1  1.0 node1\n"
    assert nodes.run(["show", "--pick", "said"]).text == "host   said\nnode1  1.0 node1\n"
    helped = run(nodes, "node1", "greet", "--help")
    assert helped.code == 0 and "how loud" in helped.text, helped


def test_the_first_host_that_answers_describes_it(nodes):
    done = run(nodes, "127.0.0.1:1,node1", "greet", "loud=3", "-b")
    assert done.code == 123 and "1.0 world" in done.text and "1 ok, 1 unreachable (127.0.0.1:1)" in done.error, done


def test_hosts_have_different_versions(nodes):
    done = run(nodes, "node1,old", "greet", "name=Ada", "--pick", "said", "-q")
    assert done.code == 0 and done.text == "host   said\nnode1  1.0 Ada\nold    0.9 Ada\n", done
    done = run(nodes, "node1", "greet", "nmae=Ada")
    assert done.code == 126 and "greet 1.0" in done.error and "did you mean name" in done.error and done.error.count("\n") == 1, done
    for _ in range(20): # whichever describes it
        done = run(nodes, "node1,old", "greet", "loud=3", "--pick", "said")
        if "node1" in done.text:
            break
    assert done.code == 123 and done.text == "host   said\nnode1  1.0 world\n" and "1 ok, 1 refused (old)" in done.error, done
    line, = [line for line in done.error.splitlines() if " on old:" in line]
    assert "loud" in line and "0.9" in line, line


def test_what_no_host_can_tell(nodes):
    for hosts, words, code, said in [
        ("node[1-2]", ["greeet"], 127, "nor does any of the hosts"), ("node1", ["greeet"], 127, "nor does node1"), ("127.0.0.1:1,node1", ["greeet"], 127, "1 of the 2 hosts"),
        ("127.0.0.1:1,127.0.0.2:1", ["greet"], 255, "no host can be asked"), ("node1", ["greet", "x=1"], 126, "'x'"),
    ]:
        done = run(nodes, hosts, *words)
        assert done.code == code and said in done.error and done.error.count("\n") == 1 and not done.text, done


# --- one host ---

@pytest.mark.parametrize("options, wanted", [
    (["-b"], "---------------\nnode1\n---------------\nhello, world\n"), (["-L"], "node1: hello, world\n"), (["--pick", "greeting"], "host   greeting\nnode1  hello, world\n"),
    (["--sum", "greeted"], "sum greeted: 1\n"), (["--serial", "2"], "node1: hello, world\n"), (["--deadline", "20s", "-N"], "hello, world\n"), (["--outdir", "kept"], ""),
])
def test_options_for_hosts_with_one_host(client, options, wanted):
    done = client.run(["run", "hello", "node1", *options])
    assert done.code == 0 and done.text.startswith(wanted) and "1 host in" in done.error, done
    assert "--outdir" not in options or (client.home / "kept/node1").read_text().startswith("hello, world\n")


def test_where_the_time_of_one_host_went(client):
    done = client.run(["run", "--timing", "hello", "node1"])
    head, node = done.error.splitlines()[:2]
    assert done.code == 0 and head.split()[-8:] == "exchange auth agent upload load run drain total".split(), done
    assert node.startswith("node1 "), done


def test_options_that_do_not_make_a_set_of_one_host(client):
    done = client.run(["run", "-S", "-N", "-f", "3", "--color=always", "hello", "node1"])
    assert done.code == 0 and done.text.startswith("hello, world\n") and not done.error, done


@pytest.mark.parametrize("words, said", [
    (["-b"], "-b is for hosts"), (["--timing"], "--timing is for hosts"), (["--serial", "1"], "--serial is for hosts"), (["node[1-2]"], "behind -w"), (["@web", "-b"], "behind -w"), (["node1,node2"], "behind -w"),
    (["node1", "node2"], "-w, as node1,node2"), (["node1", "-x", "node2"], "beside -w"), (["node1", "-b", "--state-out", "x"], "not with -b"), (["node1", "--record", "x"], "--rerun"),
    (["node1", "--state-map", "none"], "none"),
])
def test_what_can_not_be_meant(client, words, said):
    done = client.run(["run", "hello", *words])
    assert done.code == 125 and said in done.error and done.error.count("\n") == 1 and not done.text, done
