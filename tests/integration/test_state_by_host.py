"""Many hosts, each with a state of its own."""

import pytest


def fan(client, *words, hosts="node[1-3]", **how):
    return client.run(["run", "-w", hosts, "-q", *words], **how)


def test_a_field_that_differs_by_host(client):
    done = fan(client, "exec", "argv=echo", "argv%=%h:%n:100%%")
    assert done.code == 0 and sorted(done.text.splitlines()) == ["node%d: node%d:%d:100%%" % (n, n, n - 1) for n in (1, 2, 3)], done


def test_user_and_port_are_those_it_was_named_with(client, sshd):
    done = fan(client, "-l", sshd.user, "-p", str(sshd.port), "exec", "argv=echo", "argv%=%u@%h:%p", hosts="node1")
    assert done.text == "node1: %s@node1:%d\n" % (sshd.user, sshd.port), done
    host = "%s@node2:%d" % (sshd.user, sshd.port)
    assert fan(client, "-N", "exec", "argv=echo", "argv%=%u@%h:%p", hosts=host).text == host + "\n"


@pytest.mark.parametrize("content", ['{"node1": {"name": "Ada"}, "node2": {"name": "Bob", "times": 2}, "other": {"nonsense": 1}}\n',
                                     '# who is where\nnode1 {"name": "Eve"}\n\n node2\t{"name": "Bob", "times": 2}\r\nnode1 {"name": "Ada"}'])
@pytest.mark.parametrize("stdin", [False, True])
def test_a_map_of_states(client, content, stdin):
    (client.home / "map").write_text(content)
    done = fan(client, "--state-map", "-" if stdin else "map", "hello", hosts="node[1-2]", input=content.encode() if stdin else None)
    assert done.code == 0 and sorted(done.text.splitlines()) == ["node1: hello, Ada", "node2: hello, Bob", "node2: hello, Bob"], done


def test_words_come_last(client):
    (client.home / "all").write_text('{"name": "nobody", "times": 2}')
    (client.home / "map").write_text('{"node1": {"name": "Ada", "also": ["Eve"]}, "node2": {"name": "Bob"}}')
    done = fan(client, "--state", "all", "--state-map", "map", "hello", "also%=%h", "times=1", hosts="node[1-2]")
    assert sorted(done.text.splitlines()) == ["node1: hello, Ada", "node1: hello, node1", "node2: hello, Bob", "node2: hello, node2"], done


def test_results_that_differ_make_a_table(client):
    done = fan(client, "hello", "name%=%h", "times:=2", "--pick", "greeting,greeted", "--sort", "-greeting")
    assert done.text == "host   greeting      greeted\nnode3  hello, node3        2\nnode2  hello, node2        2\nnode1  hello, node1        2\n", done
    done = client.run(["show", "--group-by", "greeting"])
    assert done.text.splitlines() == ["greeting      count  hosts"] + ["hello, node%d      1  node%d" % (n, n) for n in (1, 2, 3)], done


@pytest.mark.parametrize("words, said", [
    (["hello", "name%=%x"], "%x means nothing"), (["hello", "name%=%u"], "%u needs a user"), (["hello", "times%=%h"], "node1: field times"), (["hello", "nam%=%h"], "name"),
    (["hello", "--state-map", "none"], "none"), (["hello", "--state-map", "map"], "no state for node2"), (["hello", "--state-map", "bad"], "line 2"),
    (["hello", "--state-map", "wrong"], "nmae"),
])
def test_what_is_wrong_is_said_before_anything_runs(client, words, said):
    (client.home / "map").write_text('{"node1": {}}')
    (client.home / "bad").write_text("node1 {}\nnode2 {\n")
    (client.home / "wrong").write_text('{"node1": {}, "node2": {"nmae": 1}, "node3": {}}')
    done = fan(client, *words)
    assert done.code in (125, 126) and said in done.error and done.error.count("\n") == 1 and not done.text, done
    assert not (client.home / ".local/state").exists()


def test_one_host_is_a_set_of_one_with_a_map(client):
    (client.home / "map").write_text('node1 {"name": "Ada"}\n')
    done = client.run(["run", "hello", "node1", "--state-map", "map"])
    assert done.code == 0 and done.text.startswith("node1: hello, Ada\n"), done


def test_without_hosts_it_is_an_error(client):
    for words in ["hello", "name%=%h"], ["hello", "--state-map", "map"]:
        done = client.run(["run", *words])
        assert done.code == 125 and "hosts" in done.error, done
