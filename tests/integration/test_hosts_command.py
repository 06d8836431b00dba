"""sshexec hosts: sets, groups from every kind of source, files; what is wrong is said in one line that names the place; and the results are ClusterShell's."""
import os
import shutil
import signal
import subprocess
import time

import pytest

import hosts_corpus
import processes
from client import BUILD, SLOW

PROBE = BUILD / "tests" / "hostset_probe"
USAGE = 125


@pytest.fixture
def hosts(client):
    """Runs `sshexec hosts`; returns what it printed, folded unless told otherwise."""
    def run(*words, how="--fold", **options):
        done = client.run(["hosts", *words, how], **options)
        assert done.code == 0, done
        assert done.text.endswith("\n") and not done.err, done
        return done.text[:-1]
    return run


@pytest.fixture
def refused(client):
    """Runs it where it has to fail; returns the one line on stderr."""
    def run(*words, **options):
        done = client.run(["hosts", *words], **options)
        assert done.code == USAGE and not done.out, done
        assert done.error.startswith("sshexec: ") and done.error.count("\n") == 1, done
        return done.error[len("sshexec: "):-1]
    return run


@pytest.fixture
def config(client):
    """Writes ClusterShell's configuration: groups.conf, and other files below its directory by name."""
    directory = client.home / "clustershell"
    client.env["CLUSTERSHELL_CFGDIR"] = str(directory)

    def write(conf, **files):
        for name, text in {"groups.conf": conf, **files}.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return directory
    return write


@pytest.fixture
def yaml(config):
    def write(text, default="main"):
        return config("[Main]\ndefault: %s\nautodir: $CFGDIR/groups.d\n" % default, **{"groups.d/x.yaml": text})
    return write


# --- output ---

def test_names_come_one_a_line_or_with_a_separator(hosts):
    assert hosts("-w", "n[9-11],web", how="--expand") == "n9\nn10\nn11\nweb"
    assert hosts("-w", "n[1-3]", "-S", " ", how="--expand") == "n1 n2 n3"
    assert hosts("-w", "n[1-3]", "--separator", r"\t", how="--expand") == "n1\tn2\tn3"
    assert hosts("-w", "n[3,1-2,2]") == "n[1-3]"
    assert hosts("-w", "n[1-20]!n[5-6]", how="--count") == "18"


def test_expanding_is_the_default_and_options_add_up(client):
    assert client.run(["hosts", "-w", "b,a", "-x", "c", "-w", "c,d"]).text == "a\nb\nd\n"


def test_excluding_happens_last(hosts):
    assert hosts("-x", "n2", "-w", "n[1-3]") == "n[1,3]"


def test_help_names_every_option(client):
    for words in (["hosts", "--help"], ["help", "hosts"]):
        done = client.run(words)
        assert done.code == 0 and not done.err
        for option in ("-w", "-x", "-g", "-X", "-a", "-s", "-F", "-S", "--hostfile", "--expand", "--fold", "--count"):
            assert option in done.text


@pytest.mark.parametrize("words, said", [
    ([], "which hosts? -w SET, -g GROUP, -a or --hostfile FILE (sshexec hosts --help)"),
    (["-x", "a"], "which hosts? -w SET, -g GROUP, -a or --hostfile FILE (sshexec hosts --help)"),
    (["-w"], "-w needs a value (sshexec hosts --help)"),
    (["-w", ""], "-w: at the end: an operand is missing"),
    (["-w", "a!a"], "no host is left of what was asked for"),
    (["-w", "a", "-x", "a"], "no host is left of what was asked for"),
    (["-w", "a,n[1-"], '-w: at character 4 ("[1-"): this [ is not closed'),
    (["-w", "a", "-x", "n[3-1]"], '-x: at character 3 ("3-1]"): a range that goes down'),
    (["-w", "n[1-9999999999]"], '-w: at character 3 ("1-9999999999]"): a range of more than 4000000 numbers'),
    (["-w", "r[1-9999]n[1-9999]c[1-9999]"], '-w: at character 1 ("r[1-9999]n[1-9999]c[1-99..."): that makes more than 4000000 names'),
    (["--nonsense"], "unknown option --nonsense (sshexec hosts --help)"),
])
def test_what_is_wrong_is_said_in_one_line(refused, words, said):
    assert refused(*words) == said


# --- files ---

def test_a_host_file_holds_sets_and_comments(client, hosts):
    (client.home / "machines").write_text("# all\nnode[1-3] node7,web\n\n  db1 # the old one\nnode[8-9]!node9\r\n")
    assert hosts("--hostfile", "machines") == "db1,node[1-3,7-8],web"
    assert hosts("-w", "^machines") == "db1,node[1-3,7-8],web"
    assert hosts("-w", "x,^machines,y!node[1-8]") == "db1,web,x,y"
    assert hosts("-w", "node[1-9]", "-x", "^machines") == "node[4-6,9]"


def test_a_dash_is_stdin(hosts):
    assert hosts("--hostfile", "-", input=b"node2 node1\nnode3") == "node[1-3]"
    assert hosts("-w", "a,^-", input=b"b\n") == "a,b"


def test_bad_files_are_named_with_the_line(client, refused):
    (client.home / "empty").write_text("# nothing\n\n")
    (client.home / "broken").write_text("a\nb c,n[1\n")
    (client.home / "nul").write_bytes(b"a\nb\0c\n")
    (client.home / "nested").write_text("^broken\n")
    assert refused("--hostfile", "empty") == "empty: no names in it"
    assert refused("-w", "a,^empty") == '-w: at character 3 ("^empty"): empty: no names in it'
    assert refused("--hostfile", "broken") == 'broken: line 2: at character 4 ("[1"): this [ is not closed'
    assert "nul: line 2: at character 2" in refused("--hostfile", "nul")
    assert refused("--hostfile", "nested") == 'nested: line 1: at character 1 ("^broken"): an operand is missing'
    assert "missing: No such file" in refused("--hostfile", "missing") or "No such file" in refused("--hostfile", "missing")


# --- groups.conf and YAML ---

def test_groups_of_a_yaml_file(hosts, yaml):
    yaml(hosts_corpus.GROUPS_YAML)
    assert hosts("-w", "@io") == "db[01-04,10],node[100-103]"
    assert hosts("-w", "@racks:both") == "r1n[1-6],r3n[1-4]"
    assert hosts("-w", "@racks:rack[1-2]&r[1-9]n1") == "r[1-2]n1"
    assert hosts("-w", "@list") == "db[01-04],node[1-3],web1"
    assert hosts("-g", "web,db", "-X", "racks:rack1", "-x", "web[2-8]") == "db[01-04,10],web1"
    assert hosts("-g", "rack[1,3]", "-s", "racks") == "r1n[1-6],r3n[1-4]"
    assert hosts("-w", "@@racks") == "both,rack[1-3,10]"
    assert hosts("-w", "web?,*way!web[1-7]") == "gateway,web8"
    assert hosts("-a", how="--count") == hosts("-w", "@*", how="--count") == "163"
    assert hosts("-a", "-s", "racks", how="--count") == hosts("-w", "@racks:*", how="--count") == "29"


@pytest.mark.parametrize("expression, said", [
    ("a,@nosuch", '-w: at character 3 ("@nosuch"): there is no group nosuch in '),
    ("@racks:nosuch", '-w: at character 1 ("@racks:nosuch"): there is no group nosuch in '),
    ("@nosuch:web", "there is no group source nosuch, only "),
    ("@", "a group without a name"),
    ("@void", "@void: it has no nodes"),
    ("@null", "@null: it has no nodes"),
    ("@bad", '@bad: at character 4 ("[1"): this [ is not closed'),
    ("@self", "groups in groups without an end"),
    ("@ping", "groups in groups without an end"),
    ("@laugh0", "groups in groups without an end"),
])
def test_groups_that_are_no_hosts_are_errors(refused, yaml, expression, said):
    laughs = "".join("    laugh%d: '@laugh%d,@laugh%d'\n" % (n, n + 1, n + 1) for n in range(29)) + "    laugh29: 'x'\n"
    yaml("main:\n    web: 'w1'\n    void: ''\n    null: ~\n    bad: 'a,n[1'\n    self: '@self'\n    ping: '@pong'\n    pong: 'a,@ping'\n".replace("    null:", "    'null':")
         + laughs + "racks:\n    rack1: 'r1'\n")
    assert said in refused("-w", expression)


@pytest.mark.parametrize("text, said", [
    ("- a\n", "x.yaml:1: this is no mapping of group sources"),
    ("main: [a]\n", "x.yaml:1: a group source has to be a mapping of groups"),
    ("main:\n  web: {a: b}\n", "x.yaml:2: a group is a host set, or a list of them"),
    ("main:\n  web: [[a]]\n", "x.yaml:2: a group's list holds host sets only"),
    ("main:\n  1: a\n", "x.yaml:2: a name has to be a word (a number needs quotes)"),
    ("main:\n  web: 'a\n", "x.yaml:"),
    ("main: &a\n  web: *a\n", "x.yaml:"),
])
def test_yaml_that_is_no_groups_is_refused(refused, yaml, text, said):
    yaml(text)
    assert said in refused("-w", "@web")


def test_aliases_do_not_multiply_a_yaml_file_without_a_limit(hosts, refused, yaml):
    """A few hundred kilobytes could come to terabytes."""
    def text(groups):
        names = "[%s]" % ", ".join("node%d" % n for n in range(1000))
        return "defs:\n  all: &all %s\nmain: &main\n" % names + "".join("  g%d: *all\n" % n for n in range(groups))
    yaml(text(100))
    assert hosts("-w", "@g99", how="--count") == "1000"
    for many in (text(2000), text(100) + "".join("s%d: *main\n" % n for n in range(100))):
        yaml(many)
        assert "x.yaml:2: aliases (*name) make too much of this file" in refused("-w", "@g1")


def test_a_source_defined_twice_is_refused(refused, config):
    config("[Main]\nautodir: $CFGDIR/groups.d\n[main]\nmap: echo a\n", **{"groups.d/x.yaml": "main:\n  web: a\n"})
    assert "a group source main is already defined in" in refused("-w", "@web")


UPCALLS = """\
[Main]
default: shell
confdir: "$CFGDIR/groups.conf.d"

# names and values as ClusterShell's own examples have them
[shell]
map: sed -n 's/^$GROUP:\\(.*\\)/\\1/p' $CFGDIR/flat
all = sed -n 's/^all:\\(.*\\)/\\1/p' ${CFGDIR}/flat
list: sed -n 's/^\\([0-9A-Za-z_-]*\\):.*/\\1/p' \\
  $CFGDIR/flat

[north,south]
map: echo $SOURCE-$GROUP[1-2] $$HOME:$other | tr -d :/ | cut -d' ' -f1

[lister]
map: test $GROUP = x && echo x1 || echo y[1-2]
list: echo x y

[broken]
map: echo no such thing: $GROUP >&2; exit 3
"""


def test_groups_by_commands(hosts, config):
    config(UPCALLS, flat="web: web[1-4]\nall: web[1-4],db[1-2]\ntwo: web1\ntwo: @web!web[1-3]\n", **{"groups.conf.d/more.conf": "[more]\nmap: cat $GROUP.txt\n", "groups.conf.d/m.txt": "m[1-2] m7\nm9\n"})
    assert hosts("-w", "@web") == "web[1-4]"
    assert hosts("-w", "@two", how="--count") == "1"
    assert hosts("-a") == "db[1-2],web[1-4]"
    assert hosts("-w", "@@shell") == "all,two,web"
    assert hosts("-w", "@north:a,@south:b") == "north-a[1-2],south-b[1-2]"
    assert hosts("-w", "@lister:*") == "x1,y[1-2]"
    assert hosts("-w", "@more:m") == "m[1-2,7,9]"


def test_a_command_that_fails_is_quoted(refused, config):
    directory = config(UPCALLS, flat="")
    assert "source broken (%s/groups.conf): exit 3: no such thing: g" % directory in refused("-w", "@broken:g")
    assert "@nosuch: it has no nodes" in refused("-w", "@nosuch")
    assert "has no \"list\" command" in refused("-w", "@broken:*")


@pytest.mark.parametrize("group", ["a;touch x", "a$(touch x)", "a`touch x`", "a'", "a/e touch x", "a|b", "a b", "-n", "a\\", "a\"", "a\n"])
def test_no_groups_name_gets_to_do_anything_in_a_shell(client, refused, config, group):
    config(UPCALLS, flat="")
    refused("-w", "@" + group)
    client.run(["hosts", "-g", group])
    assert not list(client.home.rglob("x"))


def test_a_hanging_command_ends_with_ctrl_c(client, config):
    directory = config("[Main]\n[slow]\nmap: echo started > $CFGDIR/started; sleep 1000\n")
    child = client.popen(["hosts", "-w", "@slow:x"])
    assert processes.wait_until((directory / "started").exists, 10)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=10 * SLOW)
    assert child.returncode == 130 and not out


@pytest.mark.long
def test_a_hanging_command_is_given_up(refused, config):
    config("[Main]\n[slow]\nmap: sleep 1000\n")
    assert "no answer in 30 s" in refused("-w", "@slow:x", timeout=60)


def test_a_command_without_end_is_given_up(refused, config):
    config("[Main]\n[endless]\nmap: yes node1\n")
    assert "its output is too long" in refused("-w", "@endless:x")


def test_groups_conf_that_is_none_is_refused_with_its_line(refused, config):
    config("[Main]\nwhat is this\n")
    assert 'groups.conf:2: "what is this" is not key: value' in refused("-w", "@x")
    config("[Main]\n[a]\nall: echo\n")
    assert 'group source a has no "map" command' in refused("-w", "@x")


# --- the other sources ---

def test_dsh_groups(client, hosts, refused):
    directory = client.home / "dsh" / "group"
    directory.mkdir(parents=True)
    (directory / "web").write_text("# the web\nweb[1-3]\nweb9 # spare\n")
    (directory / "both").write_text("#include web\ndb1,db2\n")
    (directory / "both~").write_text("old\n")
    (client.home / "dsh" / "machines.list").write_text("web[1-9]\ndb[1-2]\n")
    client.env["DSHGROUP_PATH"] = str(directory)
    assert hosts("-w", "@dsh:both") == "db[1-2],web[1-3,9]"
    assert hosts("-g", "web", "-s", "dsh") == "web[1-3,9]"
    assert hosts("-a", "-s", "dsh") == "db[1-2],web[1-9]"
    assert "there is no group ../web in" in refused("-w", "@dsh:../web")


def test_dsh_groups_of_the_user(client, hosts):
    directory = client.home / ".dsh" / "group"
    directory.mkdir(parents=True)
    (directory / "mine").write_text("m[1-2]\n")
    assert hosts("-w", "@dsh:mine") == "m[1-2]"


def test_genders(client, hosts, refused):
    (client.home / "genders").write_text("# nodes\nlogin1,login2  mgmt,role=login\nnode[1-4]\trole=compute,rack=r1,name=%n\nnode[5-6] role=compute,rack=r2\nnode1 old\nbare\n")
    client.env["PDSH_GENDERS_FILE"] = str(client.home / "genders")
    assert hosts("-w", "@genders:mgmt") == "login[1-2]"
    assert hosts("-w", "@genders:role=compute!@genders:rack=r2") == "node[1-4]"
    assert hosts("-w", "@genders:role") == "login[1-2],node[1-6]"
    assert hosts("-w", "@genders:name=node3") == "node3"
    assert hosts("-g", "old", "-s", "genders") == "node1"
    assert hosts("-a", "-s", "genders") == "bare,login[1-2],node[1-6]"
    assert "there is no group nosuch in" in refused("-w", "@genders:nosuch")


INVENTORY = """\
mail.example.com
gate ansible_host=10.0.0.1 ansible_port=2222 ansible_user=ada
six ansible_host=fe80::1 ansible_port=22 ; not a comment to Ansible

[web]
www[01:03].example.com  http_port=80 # first
www9:2022
gate

[letters]
db-[a:c].example[1:2]
n[1:9:4]

[odd]
[2001:db8::1]:22
n1[8:11]

[site:children]
web
letters

[site:vars]
ansible_user=not read
"""


def test_an_ansible_inventory(client, hosts, refused):
    path = client.home / "inventory"
    path.write_text(INVENTORY.replace(" ; not a comment to Ansible", ""))
    client.env["ANSIBLE_INVENTORY"] = str(path)
    assert hosts("-w", "@ansible:web") == "ada@10.0.0.1:2222,www[01-03].example.com,www9:2022"
    assert hosts("-w", "@ansible:letters") == "db-a.example[1-2],db-b.example[1-2],db-c.example[1-2],n[1,5,9]"
    assert hosts("-w", "@ansible:odd") == "[2001:db8::1]:22,n[18-19,110-111]"
    assert hosts("-w", "@ansible:ungrouped") == "[fe80::1]:22,ada@10.0.0.1:2222,mail.example.com"
    assert hosts("-w", "@ansible:site!@ansible:letters") == "ada@10.0.0.1:2222,www[01-03].example.com,www9:2022"
    assert hosts("-a", "-s", "ansible", how="--count") == "21"
    path.write_text("web:\n  hosts:\n    a b\n")
    assert "inventory:3: \"b\" is not variable=value" in refused("-w", "@ansible:web")
    path.write_text("[web]\na!b\n")
    assert "is no host or group" in refused("-w", "@ansible:web")
    path.write_text("[web]\nx[1:99999999]\n")
    assert "more than 1000000 names" in refused("-w", "@ansible:web")


def test_the_hosts_of_ssh_config(client, hosts, refused):
    path = client.home / "ssh_config"
    (client.home / "more").write_text("Host inner\nInclude %s\n" % path)
    path.write_text('host a "b c" d?\nHost=e !f\n  HostName x # no\nHost *\nMatch host g\nInclude %s\n' % (client.home / "more"))
    assert hosts("-w", "@ssh:*", "-F", str(path)) == hosts("-a", "-s", "ssh", "-F", str(path)) == "a,e,inner"
    assert "missing" in refused("-w", "@ssh:*", "-F", "missing")


# --- as ClusterShell does ---

@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The lines that the probe gives for hosts_corpus.expressions(), and the directory of their groups."""
    directory = tmp_path_factory.mktemp("corpus") / "clustershell"
    hosts_corpus.write_groups(directory)
    expressions = list(hosts_corpus.expressions())
    env = dict(os.environ, HOME=str(directory), CLUSTERSHELL_CFGDIR=str(directory))
    done = subprocess.run([PROBE], input="\n".join(expressions).encode() + b"\n", stdout=subprocess.PIPE, env=env, timeout=120 * SLOW)
    assert done.returncode == 0
    return expressions, done.stdout.decode().splitlines(), directory


def test_ten_thousand_expressions_come_to_what_clustershell_said(corpus):
    _, lines, _ = corpus
    version, digests, samples = hosts_corpus.golden()
    assert version.startswith("ClusterShell 1.9") and len(lines) == hosts_corpus.COUNT
    for number, line in samples.items():
        assert lines[number] == line
    for block, digest in enumerate(digests):
        at = block * hosts_corpus.BLOCK
        assert hosts_corpus.digest(lines[at:at + hosts_corpus.BLOCK]) == digest, "expressions %d to %d: hosts_corpus.py write shows which" % (at, at + hosts_corpus.BLOCK - 1)


@pytest.mark.long
def test_ten_thousand_expressions_come_to_what_clustershell_says(corpus):
    pytest.importorskip("ClusterShell", reason="ClusterShell is not installed")
    expressions, lines, directory = corpus
    line = hosts_corpus.clustershell(directory)
    for expression, ours in zip(expressions, lines):
        assert ours == line(expression)


def check_command(client, lines, outputs):
    """The command says what the probe said."""
    for line in lines:
        expression, *said = line.split("\t")
        empty = said == ["error"] or said[0] == "0"
        for words, text in zip((["--count"], ["--fold"], ["-S", " "]), said * 3 if empty else said):
            if words[0] in outputs:
                done = client.run(["hosts", "-w", expression, *words])
                assert (done.code, done.text) == ((USAGE, "") if empty else (0, text + "\n")), (expression, done)


def test_the_command_says_the_same(client, corpus):
    client.env["CLUSTERSHELL_CFGDIR"] = str(corpus[2])
    check_command(client, corpus[1][::400], ("--count", "--fold", "-S"))


@pytest.mark.long
def test_the_command_says_the_same_of_all(client, corpus):
    client.env["CLUSTERSHELL_CFGDIR"] = str(corpus[2])
    check_command(client, corpus[1], ("--fold",))
    check_command(client, corpus[1][::20], ("--count", "-S"))


@pytest.mark.long
def test_nodeset_says_the_same(client, corpus):
    if not shutil.which("nodeset"):
        pytest.skip("nodeset is not installed")
    env = dict(client.env, CLUSTERSHELL_CFGDIR=str(corpus[2]))
    for expression, line in list(zip(*corpus[:2]))[::250]:
        said = line.split("\t")[1:]
        for option, text in zip(("-c", "-f", "-e"), said if said != ["error"] else ()):
            done = subprocess.run(["nodeset", option, "--", expression], stdin=subprocess.DEVNULL, capture_output=True, env=env, text=True, timeout=60)
            assert done.stdout == text + "\n", (expression, done)


@pytest.mark.parametrize("form", ["n%(a)d", "r%(a)dn%(b)d", "10.0.%(a)d.%(b)d", "%(a)x-%(b)x"])
def test_a_hundred_thousand_names_that_hardly_fold_take_no_time(hosts, form):
    dice = hosts_corpus.Dice(3)
    names = {form % {"a": dice.below(30000), "b": dice.below(30000)} for _ in range(100000)}
    began = time.monotonic()
    folded = hosts("--hostfile", "-", input="\n".join(names).encode())
    assert time.monotonic() - began < 3 * SLOW      # 0.1 s where nothing else runs; a quadratic fold takes minutes
    assert hosts("--hostfile", "-", how="--count", input=folded.encode()) == str(len(names))
