"""A change that goes from batch to batch, and stops where it fails."""
import json
import re

import pytest

FAILS_ON_2_AND_3 = ["exec", "--", "sh", "-c", 'case $SSH_CONNECTION in *" 127.0.0.2 "*|*" 127.0.0.3 "*) exit 7;; esac']


def fan(client, *words, hosts="node[1-8]", **how):
    return client.run(["run", "-w", hosts, *words], **how)


def ends(done):
    return [(e["host"], e["outcome"]) for e in map(json.loads, done.text.splitlines()) if e["event"] == "end"]


def test_a_batch_begins_when_the_one_before_has_ended(client):
    done = fan(client, "--serial", "3", "--json", "exec", "--", "sh", "-c", "echo begun; sleep 0.1")
    assert done.code == 0, done
    events = [(e["host"], e["event"]) for e in map(json.loads, done.text.splitlines()) if e["event"] in ("output", "end")]
    for batch in ("node1", "node2", "node3"), ("node4", "node5", "node6"), ("node7", "node8"):
        of_batch, events = events[:2 * len(batch)], events[2 * len(batch):]
        assert {host for host, _ in of_batch} == set(batch), done
    waits = {e["host"]: e["timing"]["wait_us"] for e in map(json.loads, done.text.splitlines()) if e["event"] == "end"}
    assert waits["node8"] > 200000 > waits["node1"], waits


def test_too_many_failures_stop_it(client):
    done = fan(client, "--serial", "2", "--max-fail", "1", *FAILS_ON_2_AND_3)
    assert done.code == 123 and "8 hosts" in done.error and "2 ok, 2 failed (node[2-3]), 4 cancelled (node[5-8])" in done.error, done
    assert "sshexec: stopped: 2 failed, and no more than 1 may" in done.error, done
    again = client.run(["run", "--rerun", "cancelled", "--json", "exec", "--", "true"])
    assert sorted(ends(again)) == [("node%d" % n, "ok") for n in (5, 6, 7, 8)], again


def test_within_a_batch_no_host_is_begun_with_any_more(client):
    done = fan(client, "-f", "1", "--max-fail", "0", *FAILS_ON_2_AND_3)
    assert re.search(r"1 ok, \d failed \(node.*\), \d cancelled \(node\[[3-5]-8\]\)", done.error), done # who had begun when it was heard goes on


def test_what_runs_goes_on(client):
    done = fan(client, "-f", "2", "--max-fail", "0", "exec", "--", "sh", "-c",
               'case $SSH_CONNECTION in *" 127.0.0.1 "*) sleep 1; echo done;; *) exit 7;; esac', hosts="node[1-4]")
    assert done.text == "node1: done\n" and re.search(r"1 ok, [123] failed", done.error), done


def test_unreachable_hosts_are_counted_apart(client):
    done = fan(client, "--serial", "2", "--max-fail", "0", "exec", "--", "true", hosts="127.0.0.1:1,127.0.0.2:1,node[1-3]")
    assert "3 ok, 2 unreachable" in done.error, done


@pytest.mark.parametrize("hosts, summary", [("node[1-4]", "4 ok"), ("127.0.0.1:1,node[1-3]", "1 unreachable (127.0.0.1:1), ")])
def test_a_canary_goes_first(client, hosts, summary):
    done = fan(client, "--canary", "1", "--json", "exec", "--", "true", hosts=hosts)
    first = client.run(["hosts", "-w", hosts]).text.split()[0]
    assert ends(done)[0][0] == first and (done.code == 0) == ("4 ok" == summary), done
    assert ("4 ok" in done.error) == ("4 ok" == summary) and ("3 cancelled" in done.error) == ("4 ok" != summary), done


@pytest.mark.parametrize("words, said", [(["--serial", "0"], "--serial"), (["--serial", "x"], "--serial"), (["--max-fail", "200%"], "--max-fail"), (["--canary", "5%"], "--canary")])
def test_what_can_not_be_meant(client, words, said):
    done = fan(client, *words, "hello")
    assert done.code == 125 and said in done.error and done.error.count("\n") == 1, done
