"""sshexec run --scatter: items dealt over hosts. Whoever is free takes the next; who dies gives back what it had."""
import collections
import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

import processes
from client import BUILD, SLOW, reports_in
from fleet import AGENT, FAR

SDK = FAR / "sdk"
DEALT = FAR / "zoo" / "dealt.so"


class Deal:
    """A run of `dealt` under way: what its workers have begun with, and holds on items and hosts."""

    def __init__(self, client, directory):
        self.client, self.dir, self.child = client, directory, None

    def hold(self, *names):
        for name in names:
            (self.dir / ("hold." + name)).touch()

    def release(self, *names):
        for name in names:
            (self.dir / ("hold." + name)).unlink()

    def words(self, hosts, *options):
        return ["run", "-w", hosts, *options, DEALT, "host%=%h", "dir=%s" % self.dir, "--scatter", "item", "--items", "-"]

    def start(self, items, hosts, *options):
        self.child = self.client.popen(self.words(hosts, *options), stdin=subprocess.PIPE)
        self.child.stdin.write("".join("%s\n" % item for item in items).encode())
        self.child.stdin.close()
        self.child.stdin = None

    def start_held(self, held, others, count, items, *options):
        """So many items are held on one host before the others do any: else they might do all while it connects."""
        self.hold(held, *others)
        self.start(items, ",".join([held, *others]), *options)
        assert processes.wait_until(lambda: sum(host == held for _, host in self.begun()) == count, 20 * SLOW), self.begun()
        self.release(*others)

    def run(self, items, hosts, *options, **how):
        return self.client.run(self.words(hosts, *options), input="".join("%s\n" % item for item in items).encode(), **how)

    def begun(self):
        """(item, host) of all that was ever begun with."""
        return [tuple(p.name.split(".")[1:]) for p in self.dir.glob("begun.*")]

    def wait_begun(self, *wanted):
        assert processes.wait_until(lambda: all(any(item == have[0] for have in self.begun()) for item in wanted), 20 * SLOW), self.begun()

    def host_of(self, item):
        return next(host for have, host in self.begun() if have == item)

    def kill_agent(self, item, host=None):
        """The agent under which the item runs: an ancestor of its worker."""
        pid = int((self.dir / ("begun.%s.%s" % (item, host or self.host_of(item)))).read_text())
        kill_agent_of(pid)

    def end(self):
        out, err = self.child.communicate(timeout=30 * SLOW)
        assert not reports_in(err), err.decode()
        return self.child.returncode, out.decode(), err.decode()


def kill_agent_of(pid):
    agents = {p.pid for agent in (AGENT, BUILD / "bin" / "sshexec-agent") for p in processes.running(agent)}
    while pid not in agents:
        assert pid > 1
        pid = int(open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[1])
    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def deal(client, sshd):
    with tempfile.TemporaryDirectory(dir=sshd.home) as directory: # where workers, whose account is another, can write
        os.chown(directory, sshd.uid, -1)
        yield Deal(client, Path(directory))


def done(text):
    """item -> host, of lines "HOST: ITEM on HOST"."""
    return {m[2]: m[1] for m in re.finditer(r"^(\S+): (\S+) on \1$", text, re.M)}


def test_each_item_is_done_once(deal):
    items = ["item%d" % n for n in range(40)]
    run = deal.run(items, "node[1-4]")
    assert run.code == 0 and sorted(done(run.text)) == sorted(items) and len(deal.begun()) == 40, run
    assert re.fullmatch(r"sshexec: 40 items in [\d.]+ s: 40 ok; 4 hosts\n", run.error), run


def test_a_host_that_is_free_takes_what_a_slow_one_does_not(deal):
    items = ["item%d" % n for n in range(30)]
    deal.start_held("node1", ["node2", "node3"], 1, items)
    deal.wait_begun(*items)
    assert collections.Counter(host for _, host in deal.begun())["node1"] == 1
    deal.release("node1")
    code, out, err = deal.end()
    assert code == 0 and sorted(done(out)) == sorted(items) and "30 ok" in err, (out, err)


def test_more_items_end_at_once_than_are_told_at_once(client):
    """Hosts are done long before the program has been told all of it: no end is made up for what is still to be told."""
    (client.home / "items").write_text("".join("%d\n" % n for n in range(50000)))
    run = client.run(["run", "-w", "node[1-4]", "-N", "--per-host", "32", "echo", "--scatter", "value:=", "--items", "items"], timeout=60)
    assert run.code == 0 and "50000 ok; 4 hosts\n" in run.error and run.text.count("\n") == 50000, run


def test_a_host_may_have_several_at_once(deal):
    deal.hold("node1")
    deal.start(["a", "b", "c", "d", "e"], "node1", "--per-host", "3")
    deal.wait_begun("a", "b", "c")
    assert len(deal.begun()) == 3
    deal.release("node1")
    code, out, err = deal.end()
    assert code == 0 and sorted(done(out)) == ["a", "b", "c", "d", "e"], (out, err)


def test_no_more_hosts_than_items_are_opened(deal):
    run = deal.run(["a", "b"], "node[1-8]", "--json")
    ends = [e for e in map(json.loads, run.text.splitlines()) if e["event"] == "end" and "item" not in e]
    assert run.code == 0 and len(ends) == 8 and all(e["outcome"] == "ok" for e in ends), run
    assert sum(e["timing"]["tries"] > 0 for e in ends) == 2, run # begun with; the first may have done both items before the other was there
    assert sum(e.get("message") == "other hosts had done all items" for e in ends) >= 6, run


def test_hosts_that_can_not_be_reached_hold_nothing_up(deal):
    items = ["item%d" % n for n in range(12)]
    run = deal.run(items, "127.0.0.1:1,127.0.0.2:1,node3")
    assert run.code == 0 and set(done(run.text).values()) == {"node3"} and len(done(run.text)) == 12, run
    assert run.error.count("unreachable: can't connect") == 2 and "12 ok; 3 hosts: 1 ok, 2 unreachable (127.0.0.[1-2]:1)" in run.error, run
    nobody = deal.run(["a", "b", "c"], "127.0.0.1:1")
    assert nobody.code == 255 and "3 unreachable (a,b,c)" in nobody.error and "no host" not in nobody.text, nobody


def test_a_host_that_dies_gives_back_what_it_had(deal):
    items = ["item%d" % n for n in range(10)]
    deal.start_held("node1", ["node2"], 2, items, "--per-host", "2")
    deal.wait_begun(*items)
    held = [item for item, host in deal.begun() if host == "node1"]
    deal.kill_agent(held[0], "node1")
    code, out, err = deal.end()
    assert code == 0 and len(held) == 2 and sorted(done(out)) == sorted(items) and {done(out)[item] for item in held} == {"node2"}, (out, err)
    assert "10 ok; 2 hosts: 1 ok, 1 lost (node1)" in err and "dealt.so on node1: lost: " in err, err


def test_what_may_not_run_twice_is_lost_and_the_rest_goes_on(client, deal):
    script = 'echo $$ > pid.$1; while test -e hold.$1; do sleep 0.02; done; echo did $1'
    deal.hold("b")
    child = client.popen(["run", "-w", "node[1-2]", "exec", "cwd=%s" % deal.dir, "--scatter", "argv", "--items", "-", "--", "sh", "-c", script, "sh"],
                         stdin=subprocess.PIPE)
    child.stdin.write(b"a\nb\nc\nd\ne\n")
    child.stdin.close()
    child.stdin = None
    assert processes.wait_until(lambda: all((deal.dir / ("pid." + n)).exists() for n in "abcde") and (deal.dir / "pid.b").read_text(), 20 * SLOW)
    kill_agent_of(int((deal.dir / "pid.b").read_text()))
    out, err = (text.decode() for text in child.communicate(timeout=30 * SLOW))
    assert not reports_in(err.encode()) and child.returncode == 123 and sorted(re.findall("did (.)", out)) == ["a", "c", "d", "e"], (out, err)
    assert re.search(r"exec of b on node\d: lost: .*not idempotent", err) and "4 ok, 1 lost (b)" in err, err


def test_an_item_that_kills_every_host_takes_down_three(deal):
    deal.hold("poison")
    deal.start(["poison"], "node[1-5]")
    for n in range(3):
        assert processes.wait_until(lambda: len(deal.begun()) == n + 1, 20 * SLOW)
        newest = max(deal.dir.glob("begun.*"), key=lambda p: p.stat().st_mtime_ns)
        assert processes.wait_until(lambda: newest.read_text(), 5 * SLOW)
        deal.kill_agent("poison", newest.name.split(".")[2])
    code, out, err = deal.end()
    assert code == 255 and len(deal.begun()) == 3 and "host number 3 that failed under this item" in err and "1 lost (poison)" in err, err


def test_a_failure_is_the_items_not_the_hosts(deal):
    run = deal.run(["a", "bad1", "b", "bad2", "c"], "node1")
    assert run.code == 123 and sorted(done(run.text)) == ["a", "b", "c"] and "of bad1 on node1: failed with code 9" in run.error, run
    assert "3 ok, 2 failed (bad[1-2]); 1 host\n" in run.error, run
    assert deal.run(["bad"], "node[1-2]").code == 9


@pytest.mark.parametrize("per_host", ["1", "4"])
def test_output_in_the_order_of_items(deal, per_host):
    deal.hold("a")
    deal.start(["a", "b", "c", "bad", "d"], "node[1-2]", "-k", "--per-host", per_host)
    deal.wait_begun("d")
    deal.release("a")
    code, out, err = deal.end()
    assert code == 123 and re.findall(r"begin (\S+)", out) == ["a", "b", "c", "bad", "d"] and list(done(out)) == ["a", "b", "c", "d"], out


def test_what_was_given_back_is_shown_once_in_order(deal):
    items = ["item%d" % n for n in range(6)]
    deal.start_held("node1", ["node2"], 1, items, "-k")
    deal.wait_begun(*items)
    held = next(item for item, host in deal.begun() if host == "node1")
    deal.kill_agent(held)
    code, out, err = deal.end()
    assert code == 0 and re.findall(r"begin (\S+)", out) == items and list(done(out)) == items, (out, err)


def test_fields_of_results_by_item(deal):
    run = deal.run(["aa", "b", "cccc"], "node[1-2]", "--pick", "length", "--sort", "-length", "--sum", "length", "--max", "length", "--group-by", "item")
    assert run.code == 0 and run.text.splitlines()[:4] == ["item  length", "cccc       4", "aa         2", "b          1"], run
    assert run.text.splitlines()[4:] == ["item  count  items", "aa        1  aa", "b         1  b", "cccc      1  cccc", "sum length: 7", "max length: 4 (cccc)"], run


def test_the_same_output_is_shown_once_under_its_items(client):
    (client.home / "items").write_text("1\n2\n3\n4\n")
    run = client.run(["run", "-w", "node[1-2]", "-b", "exec", "--scatter", "argv", "--items", "items", "--", "sh", "-c", "test $1 = 3 || echo same", "sh"])
    assert run.code == 0 and re.findall(r"-{15}\n(.*)\n-{15}\n(.*)\n", run.text) == [("[1-2,4] (3)", "same")], run


def test_files_by_number(deal):
    run = deal.run(["x/y", "b"], "node1", "--outdir", "out")
    assert run.code == 0 and sorted(p.name for p in (deal.client.home / "out").iterdir()) == ["1", "2"], run
    assert (deal.client.home / "out/2").read_text() == "begin b\nb on node1\n"


def test_json_names_item_and_host(deal):
    run = deal.run(["a", "bad"], "node1", "--json")
    events = [json.loads(line) for line in run.text.splitlines()]
    assert {(e["item"], e["outcome"]) for e in events if e["event"] == "end" and "item" in e} == {(1, "ok"), (2, "failed")}, run
    assert [e["text"] for e in events if e["event"] == "output" and e["item"] == 2] == ["begin bad\n"], run
    assert [e["outcome"] for e in events if e["event"] == "end" and "item" not in e] == ["ok"], run


def test_items_as_json(client):
    (client.home / "items").write_text('["echo","1"]\n["echo","two words"]\n')
    run = client.run(["run", "-w", "node[1-2]", "-N", "exec", "--scatter", "argv:=", "--items", "items"])
    assert run.code == 0 and sorted(run.text.splitlines()) == ["1", "two words"], run


def test_items_are_added_to_a_list_behind_the_words(client):
    run = client.run(["run", "-w", "node[1-2]", "-N", "-0", "exec", "argv=echo", "--scatter", "argv", "--items", "-", "--", "-n"], input=b"a b\0c\nd\0")
    assert run.code == 0 and sorted(run.text.split("\n")) == sorted(["a b", "c", "d", ""]), run


@pytest.mark.parametrize("words, said", [
    (["--scatter", "times", "--items", "items"], "items:3: field times: 'three' is not an integer"), (["--scatter", "nosuch", "--items", "items"], "nosuch"),
    (["--scatter", "times:=", "--items", "items"], "items:3: field times"), (["--scatter", "times", "--items", "none"], "--items none: "),
    (["--scatter", "times", "--items", "empty"], "--items empty: no items"), (["--scatter", "times"], "which items"), (["--items", "items"], "--items goes with --scatter"),
    (["--per-host", "2"], "--per-host goes with --scatter"), (["--scatter", "name", "--items", "items", "--serial", "1"], "--serial"), (["-k"], "-k is for items"),
    (["--scatter", "name", "--items", "items", "-k", "--json"], "-k"), (["--scatter", "name", "--items", "items", "name%=%h"], "name%="),
    (["--scatter", "times=", "--items", "items"], "--scatter"), (["--scatter", "times", "--items", "large"], "large:2: field times"),
    (["--scatter", "name", "--items", "items", "--per-host", "0"], "--per-host"),
])
def test_what_is_wrong_is_said_before_anything_runs(client, words, said):
    (client.home / "items").write_text("1\n2\nthree\n")
    (client.home / "large").write_text("1\n1000000\n")
    (client.home / "empty").write_text("")
    run = client.run(["run", "-w", "node[1-2]", "hello", *words])
    assert run.code in (125, 126) and said in run.error and run.error.count("\n") == 1 and not run.text, run
    assert not (client.home / ".local/state").exists()


def test_items_that_are_secret_are_shown_and_kept_nowhere(client):
    (client.home / "tokens").write_text("s3cret-a\ns3cret-b\n")
    run = client.run(["run", "-w", "node[1-2]", SDK / "object.so", "code=7", "--scatter", "token", "--items", "tokens"])
    assert run.code == 7 and "object.so of line 1 on node" in run.error and "2 failed (line [1-2])" in run.error, run
    shown = client.run(["show", "--json"])
    records = [path.read_bytes() for path in (client.home / ".local/state/sshexec/runs").iterdir()]
    assert len(records) == 1 and not any(b"s3cret" in text for text in [run.err, run.out, shown.out, shown.err, *records]), run
    again = client.run(["run", "--rerun", "failed", SDK / "object.so", "--scatter", "token"])
    assert again.code == 125 and "--items" in again.error, again


def test_interrupts_end_what_runs_and_what_waits(deal):
    deal.hold("node1", "node2")
    items = ["item%d" % n for n in range(50)]
    (deal.client.home / "items").write_text("".join(item + "\n" for item in items))
    terminal = deal.client.terminal(["run", "-w", "node[1-2]", DEALT, "host%=%h", "dir=%s" % deal.dir, "--scatter", "item", "--items", "items"])
    deal.wait_begun("item0", "item1")
    terminal.expect(rb"0/50 done, 2 running, 0 failed, 48 to go")
    terminal.send(b"\x03")
    terminal.expect(rb"sshexec: running: node\[1-2\]")
    terminal.send(b"\x03")
    assert terminal.wait() == 130 and b"50 items in" in terminal.output and b"50 cancelled" in terminal.output and len(deal.begun()) == 2, terminal.output
    terminal.close()
    assert processes.wait_until(lambda: not processes.running(AGENT), 5 * SLOW)


def test_the_deadline_of_the_run(deal):
    deal.hold("node1")
    run = deal.run(["a", "b", "c"], "node1", "--deadline", "1s")
    assert run.code == 123 and "1 timeout (a)" in run.error and "2 unreachable (b,c)" in run.error, run


def test_too_many_failures_stop_it(deal):
    deal.hold("last") # it may have begun when the third failure is heard of; then none does
    deal.start(["bad1", "bad2", "bad3", "last", "a", "b", "c"], "node1", "--max-fail", "2", "--json")
    line = next(line for line in deal.child.stdout if json.loads(line).get("item") == 3 and json.loads(line)["event"] == "end")
    assert json.loads(line)["outcome"] == "failed"
    deal.release("last")
    code, out, err = deal.end()
    assert code == 123 and "3 failed (bad[1-3])" in err and "no more than 2 may" in err and re.search(r"[34] cancelled", err), err
    assert {item for item, _ in deal.begun()} <= {"bad1", "bad2", "bad3", "last"}, deal.begun()


def test_a_record_is_shown_again_and_what_failed_runs_again(deal):
    deal.run(["a", "bad1", "b", "bad2"], "node[1-2]")
    shown = deal.client.run(["show", "--pick", "length"])
    assert shown.code == 0 and "4 items in" in shown.error and "2 failed (bad[1-2])" in shown.error and "a          1" in shown.text, shown
    assert re.findall(r"begin (\S+)", deal.client.run(["show", "-k"]).text) == ["a", "bad1", "b", "bad2"]
    listed = deal.client.run(["show", "--list"])
    assert "4 items in" in listed.text and "2 ok, 2 failed (bad[1-2])" in listed.text, listed
    again = deal.client.run(["run", "--rerun", "failed", DEALT, "host%=%h", "--scatter", "item"])
    assert "2 items in" in again.error and sorted(re.findall(r"begin (\S+)", again.text)) == ["bad1", "bad2"], again
    hosts = deal.client.run(["run", "--rerun", "failed", DEALT])
    assert hosts.code == 125 and "with --scatter FIELD" in hosts.error, hosts
    none = deal.client.run(["run", "--rerun", "ok", DEALT, "--scatter", "item"])
    assert none.code == 125 and "no item" in none.error, none
