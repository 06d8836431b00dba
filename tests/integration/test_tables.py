"""What many hosts gave, side by side: fields of their results, and their outputs compared."""
import re

import pytest

# Each host says which it is, but for node2 and node3, which say the same.
WHO = ["exec", "--", "sh", "-c", 'echo first; case $SSH_CONNECTION in *" 127.0.0.1 "*) echo one;; *) echo other;; esac; echo last']


def fan(client, *words, hosts="node[1-3]", **how):
    return client.run(["run", "-w", hosts, *words], **how)


def test_a_table_of_fields(client):
    done = fan(client, "facts", "--pick", "kernel.name,memory.total", "--pick", "disks.0.mount", hosts="node[1-3],127.0.0.1:1")
    head, *rows = done.text.splitlines()
    assert done.code == 123 and re.fullmatch(r"host   kernel.name +memory.total  disks.0.mount", head), done
    assert [re.fullmatch(r"(node\d)  Linux +\d+  (\S+)", row)[1] for row in rows] == ["node1", "node2", "node3"], done
    assert "1 unreachable (127.0.0.1:1)" in done.error, done
    again = client.run(["show", "--pick", "arch", "--sort", "-hostname"])
    assert again.code == 0 and [line.split()[0] for line in again.text.splitlines()] == ["host", "node1", "node2", "node3"], again


def test_groups_of_hosts_and_numbers_of_all(client):
    done = fan(client, "hello", "times=3", "--group-by", "greeted", "--sum", "greeted", "--max", "greeted", "--avg", "greeted", "--pct", "greeted", "-q")
    assert done.code == 0, done
    assert done.text == ("greeted  count  hosts\n3            3  node[1-3]\nsum greeted: 9\nmax greeted: 3 (node1)\navg greeted: 3\n"
                         "p50 greeted: 3\np90 greeted: 3\np99 greeted: 3\n"), done


@pytest.mark.parametrize("words, said", [
    (["facts", "--pick", "kernle"], "kernel"), (["facts", "--pick", "arch.x"], "no parts"), (["facts", "--pick", "disks.size"], "disks.0"), (["facts", "--sort", "arch"], "--pick"),
    (["facts", "--pick", "arch", "-b"], "not with"), (["facts", "--json", "--diff"], "not with"), (["facts", "--color=blue"], "blue"),
])
def test_what_can_not_be_meant(client, words, said):
    done = fan(client, *words)
    assert done.code in (125, 126) and said in done.error and done.error.count("\n") == 1 and not done.text, done


def test_what_differs_from_what_most_said(client):
    done = fan(client, "--diff", *WHO)
    assert done.code == 0, done
    assert done.text == "--- node[2-3] (2)\n+++ node1 (1)\n@@ -1,3 +1,3 @@\n first\n-other\n+one\n last\n", done
    assert fan(client, "--diff", *WHO, hosts="node[2-3]").text == ""


def test_lines_host_by_host(client):
    done = fan(client, "-L", *WHO)
    lines = lambda name, word: "".join("%s: %s\n" % (name, w) for w in ("first", word, "last"))
    assert done.text == lines("node1", "one") + lines("node2", "other") + lines("node3", "other"), done
    assert client.run(["show", "-bL"]).text == lines("node[2-3]", "other") + lines("node1", "one")


def test_a_file_a_host(client):
    for words in ("echo", "long line, gone the next time"), ("echo", "fine"):
        done = fan(client, "--outdir", "out/here", "exec", "--", *words, hosts="node1,node2")
        assert done.code == 0 and done.text == "", done
    files = {path.name: path.read_text() for path in (client.home / "out/here").iterdir()}
    assert files == {"node1": "fine\n", "node2": "fine\n"}
    done = fan(client, "--outdir", "out/here", "exec", "--", "true", hosts="../x:1,.y%")
    assert sorted(p.name for p in (client.home / "out/here").iterdir()) == ["%2E.%2Fx:1", "%2Ey%25", "node1", "node2"] and not list((client.home / "out").glob("x*")), done


def test_hostile_text_in_a_table_can_not_drive_a_terminal(client):
    done = fan(client, "hello", "name=\x1b[2Jx", "--pick", "greeting", hosts="node1")
    assert done.code == 0 and "\x1b" not in done.text and "\\x1b[2Jx" in done.text, done
