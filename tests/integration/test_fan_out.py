"""sshexec run -w SET: what a person sees of many hosts, and what a script can rely on."""
import json
import re
import signal

import pytest

import processes
from client import SLOW
from fleet import AGENT

EIGHT = "node[1-8]"


def fan(client, *words, hosts=EIGHT, options=(), **how):
    return client.run(["run", "-w", hosts, *options, *words], **how)


def agents():
    return processes.running(AGENT)


def test_each_line_has_its_host_in_front(client):
    done = fan(client, "exec", "--", "sh", "-c", "echo one; echo two; printf three")
    assert done.code == 0, done
    wanted = ["node%d: %s" % (n, word) for n in range(1, 9) for word in ("one", "two", "three")]
    assert sorted(done.text.splitlines()) == sorted(wanted) and done.text.endswith("\n"), done
    assert re.fullmatch(r"sshexec: 8 hosts in [\d.]+ s: 8 ok\n", done.error), done


def test_no_names(client):
    done = fan(client, "-N", "exec", "--", "echo", "fine")
    assert done.code == 0 and done.text == "fine\n" * 8, done


def test_stderr_goes_to_stderr(client):
    done = fan(client, "-q", "exec", "--", "sh", "-c", "echo out; echo bad >&2", hosts="node1,node2")
    assert sorted(done.text.splitlines()) == ["node1: out", "node2: out"] and sorted(done.error.splitlines()) == ["node1: bad", "node2: bad"], done


def test_long_lines_of_many_hosts_never_mix(client):
    done = fan(client, "exec", "--", "sh", "-c", "i=0; while test $i -lt 200; do printf %0200d $i; printf %0300d $i; echo; i=$((i+1)); done")
    lines = done.text.splitlines()
    assert done.code == 0 and len(lines) == 1600, done
    assert all(re.fullmatch(r"node[1-8]: 0*(\d+)0{200,}\1", line) or re.fullmatch(r"node[1-8]: 0{500}", line) for line in lines)
    for n in range(1, 9): # and each host's are in order
        assert [int(line[-300:]) for line in lines if line.startswith("node%d:" % n)] == list(range(200))


def test_the_same_output_is_shown_once(client):
    done = fan(client, "-b", "exec", "--", "sh", "-c", 'test "${SSH_CONNECTION#* 127.0.0.3 }" != "$SSH_CONNECTION" || echo common; echo end')
    assert done.code == 0, done
    heads = re.findall(r"-{15}\n(.*)\n-{15}\n", done.text)
    assert heads in (["node[1-8] (8)"], ["node[1-2,4-8] (7)", "node3"]), done
    apart = fan(client, "-b", "exec", "--", "sh", "-c", "echo ${SSH_CONNECTION% *}", hosts="node[1-3]")
    assert re.findall(r"-{15}\n(.*)\n-{15}\n", apart.text) == ["node1", "node2", "node3"], apart


def test_typed_results(client):
    done = fan(client, "hello", "name=Ada", hosts="node1,node2")
    assert done.code == 0 and sorted(line for line in done.text.splitlines() if "{" not in line) == ["node1: hello, Ada", "node2: hello, Ada"], done
    done = fan(client, "facts", hosts="node1")
    assert done.code == 0 and json.loads(done.text.partition(": ")[2])["kernel"], done


def test_json_has_an_event_a_line_with_where_the_time_went(client):
    done = fan(client, "--json", "exec", "--", "echo", "fine", hosts="node[1-3]")
    events = [json.loads(line) for line in done.text.splitlines()]
    ends = [e for e in events if e["event"] == "end"]
    assert done.code == 0 and {e["host"] for e in ends} == {"node1", "node2", "node3"} and len(ends) == 3, done
    assert all(e["outcome"] == "ok" and e["timing"]["total_us"] > e["timing"]["run_us"] > 0 for e in ends), done
    assert [e["text"] for e in events if e["event"] == "output"] == ["fine\n"] * 3, done


def test_where_the_time_went_is_a_table(client):
    done = fan(client, "--timing", "exec", "--", "true", hosts="node[1-3]")
    table = [line.split() for line in done.error.splitlines() if not line.startswith("sshexec:")]
    assert done.code == 0 and table[0] == "host wait look resolve connect exchange auth agent upload load run drain total".split(), done
    assert [row[0] for row in table[1:]] == ["node1", "node2", "node3"] and all(0 < float(row[6]) < float(row[-1]) for row in table[1:]), done


@pytest.mark.parametrize("options, code", [((), 123), (("-S",), 7)])
def test_hosts_that_disagree(client, options, code):
    done = fan(client, "exec", "--", "sh", "-c", 'case $SSH_CONNECTION in *" 127.0.0.2 "*) exit 7;; esac', hosts="node[1-3]", options=options)
    if done.code == 0: # sshd gave no SSH_CONNECTION to the worker
        pytest.skip("the worker does not see where it was reached")
    assert done.code == code and "2 ok, 1 failed (node2)" in done.error, done


def test_hosts_that_agree(client):
    assert fan(client, "exec", "--", "sh", "-c", "exit 3").code == 3


def test_unreachable_hosts_are_named(client):
    done = fan(client, "exec", "--", "true", hosts="node1,127.0.0.1:1,127.0.0.2:1")
    assert done.code == 123, done
    assert "1 ok, 2 unreachable (127.0.0.1:1,127.0.0.2:1)" in done.error.replace("127.0.0.[1-2]:1", "127.0.0.1:1,127.0.0.2:1"), done
    assert "sshexec: exec on 127.0.0.1:1: unreachable: can't connect" in done.error, done
    assert fan(client, "exec", "--", "true", hosts="127.0.0.1:1").code == 255


def test_a_call_that_takes_too_long(client):
    done = fan(client, "-u", "1s", "exec", "--", "sleep", "1000", hosts="node[1-2]")
    assert done.code == 124 and "2 timeout (node[1-2])" in done.error, done


def test_the_deadline_of_the_run(client):
    done = fan(client, "--deadline", "1s", "exec", "--", "sleep", "1000", hosts="node[1-2]")
    assert done.code == 124 and done.seconds < 6 * SLOW, done


def test_stdin_goes_to_all_hosts(client):
    done = fan(client, "exec", "--", "wc", "-c", input=b"x" * 300000)
    assert done.code == 0 and sorted(done.text.splitlines()) == ["node%d: 300000" % n for n in range(1, 9)], done
    assert sorted(fan(client, "-n", "exec", "--", "wc", "-c", input=b"x").text.splitlines()) == ["node%d: 0" % n for n in range(1, 9)]


@pytest.mark.parametrize("words, said", [
    (["-w", "node1!node1", "hello"], "no host is left"), (["-w", "node[1-", "hello"], "-w"), (["-w", "node1", "hello", "node2"], "node2 beside -w"),
    (["-w", "node1", "nosuchtype"], "nosuchtype"), (["-w", "node1", "-f", "none", "hello"], "-f"), (["-x", "node1", "hello"], "which hosts"),
])
def test_what_can_not_be_meant(client, words, said):
    done = client.run(["run", *words])
    assert done.code in (125, 127) and said in done.error and done.error.count("\n") == 1 and not done.text, done


def test_a_group_and_what_it_excludes(client):
    (client.home / "hosts").write_text("node[1-4]\n")
    done = client.run(["run", "--hostfile", client.home / "hosts", "-x", "node[2-3]", "exec", "--", "true"])
    assert done.code == 0 and "2 hosts" in done.error, done


def test_progress_on_a_terminal_and_interrupts(client):
    terminal = client.terminal(["run", "-w", EIGHT, "-f", "4", "exec", "--", "sh", "-c", "echo up; sleep 1000"])
    for n in range(1, 5):
        terminal.expect(rb"node%d(\x1b\[0m)?: up" % n)
    terminal.expect(rb"0/8 done, 4 running, 0 failed, 4 to go")
    terminal.send(b"\x03")
    terminal.expect(rb"sshexec: running: node\[1-4\]")
    terminal.expect(rb"sshexec: waiting: node\[5-8\]")
    terminal.expect(rb"interrupt again to cancel")
    terminal.expect(rb"again to cancel\r\n.*0/8 done, 4 running") # it goes on
    terminal.send(b"\x03")
    terminal.expect(rb"8 hosts in [\d.]+ s: 8 cancelled \(node\[1-8\]\)")
    assert terminal.wait() == 130
    assert processes.wait_until(lambda: not agents(), 5 * SLOW)


def test_no_progress_in_a_pipe(client):
    assert b"\r" not in fan(client, "exec", "--", "true").err


def test_sigterm_cancels_at_once(client):
    child = client.popen(["run", "-w", EIGHT, "exec", "--", "sh", "-c", "echo up; sleep 1000"])
    for _ in range(8):
        assert child.stdout.readline().endswith(b"up\n")
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=10 * SLOW)
    assert child.returncode == 143 and b"8 cancelled" in err, (out, err)
    assert processes.wait_until(lambda: not agents(), 5 * SLOW)


def test_a_reader_that_leaves_ends_the_run(client):
    child = client.popen(["run", "-w", EIGHT, "exec", "--", "yes"])
    assert child.stdout.readline()
    child.stdout.close()
    child.communicate(timeout=15 * SLOW)
    assert child.returncode == -signal.SIGPIPE
    assert processes.wait_until(lambda: not agents(), 5 * SLOW)
