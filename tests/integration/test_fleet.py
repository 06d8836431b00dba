"""Many hosts at once: every host ends exactly once and rightly, no host holds up another, nothing grows, nothing is left."""
import resource

import pytest

import processes
from client import SANITIZED, SLOW
from fleet import AGENT, RACES, BadHosts, Fleet, addresses

HELLO = {"name": "fleet"}


@pytest.fixture
def fleet(client, sshd):
    return Fleet(client, sshd)


def agents():
    return processes.running(AGENT)


def test_every_host_of_a_set_answers(fleet):
    hosts = addresses(64)
    fleet.know(hosts)
    run = fleet.run(hosts, "hello", HELLO)
    assert run.outcomes() == {"ok": 64}, run
    assert all(run.output(host) == "hello, fleet\n" for host in hosts), run
    assert processes.wait_until(lambda: not agents(), 5 * SLOW)


def test_the_time_of_each_step_is_told(fleet):
    hosts = addresses(8)
    fleet.know(hosts)
    run = fleet.run(hosts, "hello", HELLO)
    for end in run.ends.values():
        steps = [end[name] for name in ("wait", "look", "resolve", "connect", "exchange", "auth", "agent", "upload", "load", "run", "drain")]
        assert all(us >= 0 for us in steps) and all(end[name] for name in ("look", "connect", "exchange", "auth", "agent", "load", "run")), end
        assert sum(steps) - end["drain"] <= end["total"] * 1.02 + 2000, end
        assert sum(steps) >= 0.8 * end["total"], end


def test_output_comes_while_other_hosts_say_nothing(fleet):
    good, bad = addresses(8), addresses(40, net=2)
    fleet.know(good)
    with BadHosts({host: "silent" for host in bad}) as listeners:
        slow = ["%s:%d" % (host, listeners.port[host]) for host in bad]
        run = fleet.run(slow[:20] + good + slow[20:], "hello", HELLO, connect=3000 * SLOW)
    assert run.outcomes() == {"ok": 8, "unreachable": 40}, run
    given_up = [run.ends[host]["at"] for host in slow]
    assert run.summary["first"] < min(given_up) and 3 * SLOW <= min(given_up) and max(given_up) < 9 * SLOW, run


def agent_killer():
    """A state of exec that kills the agent: the parent of the worker's parent."""
    return {"argv": ["sh", "-c", "read -r _ _ _ host _ </proc/$PPID/stat; read -r _ _ _ agent _ </proc/$host/stat; kill -9 $agent; sleep 60"]}


def bad_fleet(each):
    """So many hosts of each kind of trouble, twice as many good ones, and what is to become of them."""
    ways = ["refuse", "silent", "half", "other key", "killed", "hangs", "floods"]
    hosts = {way: addresses(each, net=10 + n) for n, way in enumerate(ways)}
    hosts["good"] = addresses(2 * each * len(ways), net=9)
    return hosts


def check_bad_fleet(fleet, sshd_with, each, deadline_s, **options):
    hosts = bad_fleet(each)
    other = sshd_with()
    other.authorize(fleet.client.public_key)
    real = hosts["good"] + hosts["killed"] + hosts["hangs"] + hosts["floods"]
    fleet.know(real)
    with fleet.client.known_hosts.open("a") as known: # the other sshd's addresses, with this one's keys
        known.write(fleet.sshd.known_hosts(hosts["other key"], port=other.port))
    states = {"killed": agent_killer(), "hangs": {"argv": ["sleep", "1000"]}, "floods": {"argv": ["yes", "a line of a flood that never ends"]}}
    good = {"argv": ["echo", "fine"]}
    with BadHosts({host: way for way in ("refuse", "silent", "half") for host in hosts[way]}) as listeners:
        at = {host: "%s:%d" % (host, listeners.port[host]) for way in ("refuse", "silent", "half") for host in hosts[way]}
        at.update({host: "%s:%d" % (host, other.port) for host in hosts["other key"]})
        everyone = [host for n in range(each) for way in hosts if way != "good" for host in hosts[way][n:n + 1]]
        mixed = [host for n, bad in enumerate(everyone) for host in [bad] + hosts["good"][2 * n:2 * n + 2]]
        way_of = {host: way for way in hosts for host in hosts[way]}
        run = fleet.run([(at.get(h, h), states.get(way_of[h], good)) for h in mixed], "exec", deadline=deadline_s * 1000, connect=3000 * SLOW, quiet=1,
                        time_limit=deadline_s + 30, **options)
    by_way = {way: {run.outcome(at.get(host, host)) for host in hosts[way]} for way in hosts}
    return run, by_way, {way: [run.ends[at.get(host, host)]["message"] for host in hosts[way]] for way in hosts}


def assert_bad_fleet(run, by_way, messages, deadline_s):
    expected = {"good": {"ok"}, "refuse": {"unreachable"}, "silent": {"unreachable"}, "half": {"unreachable"}, "other key": {"unreachable"}, "killed": {"lost"},
                "hangs": {"timeout"}, "floods": {"timeout"}}
    assert by_way == expected, (by_way, run)
    assert all("refused" in m for m in messages["refuse"]) and all("CHANGED" in m for m in messages["other key"]), messages
    assert deadline_s - 0.5 <= run.summary["seconds"] < deadline_s + 5 * SLOW, run
    assert processes.wait_until(lambda: not agents(), 10 * SLOW), agents()


def test_each_kind_of_bad_host_ends_in_its_own_way(fleet, sshd_with):
    deadline = 6 * SLOW
    assert_bad_fleet(*check_bad_fleet(fleet, sshd_with, 2, deadline), deadline)


@pytest.mark.long
def test_three_hundred_hosts_of_which_a_third_are_bad(fleet, sshd_with):
    deadline = 40 * SLOW
    assert_bad_fleet(*check_bad_fleet(fleet, sshd_with, 15, deadline, fanout=128), deadline)


def test_a_default_sshd_loses_nobody(sshd_with, client):
    """MaxStartups 10:30:100 hangs up at random on those who come together, before its greeting."""
    sshd = sshd_with(extra="MaxStartups 10:30:100")
    sshd.authorize(client.public_key)
    fleet, hosts = Fleet(client, sshd), addresses(200)
    fleet.know(hosts)
    run = fleet.run(hosts, "hello", HELLO, fanout=200, quiet=1)
    assert run.outcomes() == {"ok": 200}, run


def test_the_system_ssh_is_tried_again_too(sshd_with, client):
    sshd = sshd_with(extra="MaxStartups 2:60:5")
    sshd.authorize(client.public_key)
    fleet, hosts = Fleet(client, sshd), addresses(24)
    fleet.know(hosts)
    run = fleet.run(hosts, "hello", HELLO, mode="ssh", connect=30000, quiet=1)
    assert run.outcomes() == {"ok": 24}, run
    assert any(end["tries"] > 1 for end in run.ends.values()), run


def test_those_who_go_by_one_bastion_do_not_crowd_it(fleet, sshd_with, client):
    """By the system ssh, each has a login there. Twenty at once would be too many for its door: at most eight log in at a time, the others stand in line."""
    bastion = sshd_with(extra="MaxStartups 9:100:9")
    bastion.authorize(client.public_key)
    hosts = addresses(20, net=5)
    client.known_hosts.write_text(fleet.sshd.known_hosts(hosts) + bastion.known_hosts(["127.0.0.1"]))
    client.write_config(fleet.sshd, extra="KexAlgorithms curve25519-sha256\nHost bastion\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  CheckHostIP yes\nHost 127.5.*\n"
                        "  ProxyJump bastion\n" % (bastion.port, bastion.user))
    run = fleet.run(hosts, "hello", HELLO, mode="auto", connect=30000, quiet=1)
    assert run.outcomes() == {"ok": 20} and bastion.logins() == 20 and all(end["tries"] == 1 for end in run.ends.values()), run


def test_a_refused_login_is_not_tried_again(fleet, sshd):
    hosts = addresses(8)
    fleet.know(hosts)
    fleet.client.config.write_text("User nobody-%s\n%s" % (sshd.user, fleet.client.config.read_text()))
    run = fleet.run(hosts, "hello", HELLO)
    assert run.outcomes() == {"unreachable": 8} and all(end["tries"] == 1 for end in run.ends.values()), run
    assert all("permission denied" in end["message"] for end in run.ends.values()), run


def test_a_cancelled_run_ends_everywhere(fleet):
    hosts = addresses(24)
    fleet.know(hosts)
    run = fleet.run(hosts, "exec", {"argv": ["sleep", "1000"]}, fanout=12, cancel=2000 * SLOW)
    assert run.outcomes() == {"cancelled": 24}, run
    assert run.summary["seconds"] < 5 * SLOW, run
    assert processes.wait_until(lambda: not agents(), 5 * SLOW)


def test_a_call_that_takes_too_long_ends_by_itself(fleet):
    hosts = addresses(8)
    fleet.know(hosts)
    run = fleet.run([(host, {"argv": ["sleep", "1000" if n % 2 else "0"]}) for n, host in enumerate(hosts)], "exec", timeout=1000 * SLOW)
    assert run.outcomes() == {"ok": 4, "timeout": 4}, run


def test_a_slow_program_makes_hosts_wait_and_memory_stays_flat(fleet):
    hosts = addresses(12)
    fleet.know(hosts)
    run = fleet.run(hosts, "exec", {"argv": ["yes", "x" * 1000]}, slow=10, cancel=4000, quiet=1)
    assert run.outcomes() == {"cancelled": 12}, run
    assert 50 < run.summary["outputs"] < 4000, run
    assert SANITIZED or RACES or run.summary["rss_kb"] < 48 << 10, run


def test_output_of_a_fast_host_is_whole_and_in_order(fleet):
    hosts = addresses(6)
    fleet.know(hosts)
    run = fleet.run(hosts, "exec", {"argv": ["seq", "200000"]})
    assert run.outcomes() == {"ok": 6}, run
    wanted = "".join("%d\n" % n for n in range(1, 200001))
    assert all(run.output(host) == wanted for host in hosts)


def test_every_worker_reads_the_whole_input(fleet, scratch):
    hosts = addresses(10)
    fleet.know(hosts)
    text = "".join("line %d\n" % n for n in range(100000))
    (scratch / "input").write_text(text)
    run = fleet.run(hosts, "exec", {"argv": ["md5sum"]}, input=scratch / "input")
    assert run.outcomes() == {"ok": 10} and len({run.output(host) for host in hosts}) == 1, run
    import hashlib
    assert run.output(hosts[0]).split()[0] == hashlib.md5(text.encode()).hexdigest()


def test_few_descriptors_make_a_smaller_fanout_not_a_failure(fleet):
    hosts = addresses(100)
    fleet.know(hosts)
    run = fleet.run(hosts, "hello", HELLO, fanout=100, quiet=1, preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    assert run.outcomes() == {"ok": 100} and run.summary["fanout"] < 20, run


def test_the_soft_limit_of_descriptors_is_raised(fleet):
    hosts = addresses(60)
    fleet.know(hosts)
    run = fleet.run(hosts, "hello", HELLO, fanout=60, quiet=1, preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096)))
    assert run.outcomes() == {"ok": 60} and run.summary["fanout"] == 60, run


@pytest.mark.long
def test_memory_is_flat_for_ten_thousand_hosts(fleet):
    """Simulated ones, each a local agent behind a shell: memory, and the time a host takes, are those of a thousand."""
    def measure(count):
        run = fleet.run(["sim%d" % n for n in range(count)], "exec", {"argv": ["true"]}, template="env H=%h %c", fanout=256, quiet=1, time_limit=600)
        assert run.outcomes() == {"ok": count}, run
        return run.summary
    few = measure(1000)
    many = measure(10000)
    assert many["rss_kb"] < few["rss_kb"] * 1.15 + 4096, (few, many)
    assert many["seconds"] / 10 < few["seconds"] * 1.1, (few, many)


@pytest.mark.long
def test_a_thousand_sessions_are_open_at_once(fleet):
    hosts = addresses(1000)
    fleet.know(hosts)
    run = fleet.run(hosts, "exec", {"argv": ["sleep", "1000"]}, fanout=1000, deadline=150000, time_limit=300, quiet=1)
    assert run.outcomes() == {"timeout": 1000}, run
