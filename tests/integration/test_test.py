"""`sshexec test`: a plugin on this machine, checked, as on a node, and in one process for debuggers; plugin code never runs in the sender."""
import os
import re
import signal
import subprocess

import pytest

from client import BUILD, SANITIZED
from test_run import complains

HELLO = BUILD / "plugins/hello.so"
ZOO = BUILD / "zoo"
WAYS = [[], ["--in-process"]]
way = pytest.mark.parametrize("way", WAYS, ids=["node", "in-process"])
debuggers = pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime and a debugger's don't mix")


def rows(result):
    return dict(line.split(None, 1) for line in result.error.splitlines() if re.match(r"(check|selftest|outcome|result|time|sandbox) ", line))


def plugin(scratch, body, name="probe", fields="", traits="0"):
    """A plugin whose run function has this body."""
    source = scratch / (name + ".c")
    lists = "#define IN(F) %s\nSSX_STRUCT(probe_in, IN)" % fields if fields else "SSX_NOTHING(probe_in)"
    source.write_text("""#include <sshexec/worker.h>
#include <stdlib.h>
#include <unistd.h>
%s
#define OUT(F) F(i64, number, required, "a number") F(str, text, empty, "a text")
SSX_STRUCT(probe_out, OUT)
static int probe_work(struct ssx_call *call, const struct probe_in *in, struct probe_out *out)
{
    (void)call; (void)in; (void)out;
    %s
    return 0;
}
SSX_WORKER("%s", "1.0", "for a test", probe_in, probe_out, %s, probe_work)
""" % (lists, body, name, traits))
    subprocess.run(["gcc", "-g", "-shared", "-fPIC", "-I%s/include" % BUILD, source, "-o", scratch / (name + ".so")], check=True)
    return scratch / (name + ".so")


@way
def test_says_all_there_is_to_say(client, way):
    done = client.run(["test", *way, HELLO, "name=Ada"])
    assert done.code == 0 and done.text == 'hello, Ada\n{"greeting":"hello, Ada","greeted":1}\n', done
    said = rows(done)
    assert said["check"].startswith("ok: hello 1.0, ABI 1.") and said["outcome"] == "ok, exit code 0" and said["result"].startswith("fits"), said
    assert {"default", "rlimits", "no_new_privs", "tmpdir"} <= set(said["sandbox"].split()), said
    assert way or said["selftest"] == "none" and re.match(r"[0-9.]+ ms .*KiB", said["time"]), said


def test_is_the_same_process_as_on_a_node(client, scratch):
    body = 'out->text = ssx_strdup(call, getenv("TMPDIR")); return ssx_fail(call, getppid() == %d, "in the sender");'
    done = client.run(["test", plugin(scratch, body % os.getpid())], env={"SECRET_OF_MINE": "1"})
    assert done.code == 0 and "sshexec" in done.text, done


@way
@pytest.mark.parametrize("name, code", [("segfault", 139), ("abort", 134), ("exit0_run", 128)])
def test_a_crash_has_the_exit_code_of_run(client, way, name, code):
    done = client.run(["test", *way, ZOO / (name + ".so")])
    assert done.code == code and "crashed" in rows(done)["outcome"], done


@way
def test_a_failure_has_the_workers_own_code_and_words(client, scratch, way):
    done = client.run(["test", *way, plugin(scratch, 'return ssx_fail(call, 7, "no %s", "luck");')])
    assert done.code == 7 and "no luck" in done.error, done


@way
def test_a_result_out_of_its_range_is_no_success(client, way):
    done = client.run(["test", *way, ZOO / "bad_result.so"])
    assert done.code == 1 and "digit" in done.error, done


def test_a_crash_while_loading_is_told(client):
    done = client.run(["test", ZOO / "crash_constructor.so"])
    assert done.code == 139 and "loading crash_constructor" in done.error, done


@pytest.mark.parametrize("name", ["abi_major", "abi_minor", "no_run", "no_note"])
def test_what_can_not_be_loaded_is_refused_before_anything_runs(client, name):
    assert complains(client.run(["test", ZOO / (name + ".so")]), 126, name)


def test_what_describe_check_finds_is_refused(client, scratch):
    path = plugin(scratch, "", fields='F(i32, n, default(60 * 60), "seconds")')
    done = client.run(["test", path])
    assert done.code == 126 and "60 * 60" in done.error and "outcome" not in rows(done), done


@way
def test_a_bad_field_is_refused_as_by_run(client, way):
    assert complains(client.run(["test", *way, HELLO, "times=300"]), 126, "times", "300")


SELFTEST = """#include <sshexec/worker.h>
SSX_NOTHING(nothing)
static int selftest(struct ssx_call *call) { return %s; }
SSX_NOTE(ssx_worker, "{\\"worker\\":\\"probe\\",\\"version\\":\\"1\\",\\"abi\\":[1,1],\\"state\\":\\"nothing\\",\\"result\\":\\"nothing\\",\\"traits\\":\\"0\\",\\"doc\\":\\"for a test\\"}",
         SSX_NO_LIST, SSX_F_ROOM, SSX_F_TEXT)
int run(struct ssx_call *call, const void *in, void *out) { (void)call; (void)in; (void)out; return puts("it ran") < 0; }
extern const struct ssx_plugin ssx_plugin;
const struct ssx_plugin ssx_plugin = {SSX_ABI_MAJOR, SSX_ABI_MINOR, (uint32_t)sizeof(struct ssx_plugin), "probe", "1", 0, nothing_ssx, nothing_ssx, selftest, NULL};
"""


def test_a_selftest_comes_before_the_call(client, scratch):
    def probe(answer):
        (scratch / "probe.c").write_text(SELFTEST % answer)
        subprocess.run(["gcc", "-shared", "-fPIC", "-I%s/include" % BUILD, scratch / "probe.c", "-o", scratch / "probe.so"], check=True)
        return client.run(["test", scratch / "probe.so"])
    done = probe("ssx_temp_dir(call) == NULL")
    assert done.code == 0 and rows(done)["selftest"] == "ok" and "it ran" in done.text, done
    done = probe('ssx_fail(call, 5, "no device")')
    assert done.code == 5 and "no device" in done.error and "it ran" not in done.text and "outcome" not in rows(done), done
    done = probe("*(volatile int *volatile)0")
    assert done.code == 139 and "it ran" not in done.text, done


@way
def test_a_state_that_comes_back_is_kept(client, scratch, way):
    source = scratch / "counter.c"
    source.write_text("""#include <sshexec/worker.h>
#define COUNTER(F) F(u32, count, empty, "so far")
SSX_STRUCT(counter, COUNTER)
SSX_NOTHING(nothing)
static int work(struct ssx_call *call, struct counter *in, struct nothing *out) { (void)call; (void)out; in->count++; return 0; }
SSX_WORKER("counter", "1.0", "counts", counter, nothing, SSX_RETURNS_STATE, work)
""")
    subprocess.run(["gcc", "-shared", "-fPIC", "-I%s/include" % BUILD, source, "-o", scratch / "counter.so"], check=True)
    done = client.run(["test", *way, "--state-out", scratch / "kept.json", scratch / "counter.so", "count=41"])
    assert done.code == 0 and "came back" in done.error and '"count":42' in (scratch / "kept.json").read_text(), done
    assert client.run(["test", *way, "-q", "--state-out", "-", scratch / "counter.so", "count=1"]).out == b"\x81\xa5count\x02"


def test_a_host_is_no_place_for_a_test(client):
    assert complains(client.run(["test", HELLO, "node1"]), 125, "sshexec run")


def test_quiet_leaves_the_workers_output(client):
    done = client.run(["test", "-q", HELLO])
    assert done.code == 0 and done.text == "hello, world\n" and done.err == b"", done


@way
def test_services_work(client, scratch, way):
    body = """
        char path[512];
        snprintf(path, sizeof path, "%s/file", ssx_temp_dir(call));
        FILE *f = fopen(path, "w");
        if (!f)
            return ssx_fail(call, 2, "no temporary directory");
        fclose(f);
        ssx_log(call, SSX_LOG_WARNING, "careful");
        ssx_item_any(call, "\\x07", 1);
        out->number = ssx_time_left_ms(call) > 0;
        out->text = ssx_strdup(call, ssx_temp_dir(call));"""
    temp = scratch / "temp"
    temp.mkdir()
    done = client.run(["test", *way, "-u", "60", plugin(scratch, body)], env={"TMPDIR": str(temp)})
    lines = done.text.splitlines()
    assert done.code == 0 and lines[0] == "7" and '"number":1' in lines[1] and "local: warning: careful" in done.error, done
    assert not any(temp.iterdir()), "a temporary directory stayed"


@way
def test_a_large_state_arrives_whole(client, scratch, way):
    path = plugin(scratch, "out->number = (int64_t)strlen(in->text);", fields='F(str, text, required, "long")')
    (scratch / "long").write_text("x" * 3_000_000)
    done = client.run(["test", *way, path, "text=@%s" % (scratch / "long")])
    assert done.code == 0 and '"number":3000000' in done.text, done


@way
def test_its_input_is_the_callers(client, scratch, way):
    path = plugin(scratch, "for (int c; (c = getchar()) != EOF;) out->number += c == 'x';", traits="SSX_TAKES_INPUT")
    done = client.run(["test", *way, path], input=b"xaxbx")
    assert done.code == 0 and '"number":3' in done.text, done


def test_ctrl_c_ends_a_worker_in_one_process(client, scratch):
    terminal = client.terminal(["test", "--in-process", plugin(scratch, 'puts("begun"); fflush(stdout); pause();')])
    try:
        terminal.expect(rb"begun")
        terminal.send(b"\x03")
        assert terminal.wait() == 128 + signal.SIGINT
    finally:
        terminal.close()


@debuggers
def test_gdb_stops_in_the_plugin_and_may_run_it_again(client, scratch):
    path = plugin(scratch, "int secret_number = 4711; out->number = secret_number;")
    words = [word for command in ("run", "break probe_work", "run", "next", "next", "print secret_number", "continue") for word in ("-X", "-ex", "-X", command)]
    done = client.run(["test", "--gdb", "-X", "-batch", *words, path])
    assert "Temporary breakpoint 1, run" in done.text and "$1 = 4711" in done.text, done
    assert done.code == 0 and '{"number":4711,"text":""}' in done.text and rows(done)["outcome"] == "ok, exit code 0", done


@debuggers
def test_gdb_is_interactive_on_a_terminal(client, scratch):
    terminal = client.terminal(["test", "--gdb", plugin(scratch, "out->number = 4711;")])
    try:
        terminal.expect(rb"\(gdb\) $")
        terminal.send(b"run\n")
        terminal.expect(rb"(?s)breakpoint 1, .*probe.c.*\(gdb\)", timeout=30)
        terminal.send(b"continue\n")
        terminal.expect(rb"4711")
        terminal.send(b"quit\n")
        assert terminal.wait() == 0
    finally:
        terminal.close()


@debuggers
def test_what_valgrind_finds_fails_the_test(client, scratch):
    done = client.run(["test", "--valgrind", HELLO, "name=Ada"], timeout=60)
    assert done.code == 0 and "hello, Ada" in done.text, done
    done = client.run(["test", "--valgrind", plugin(scratch, "int *p = malloc(4); out->number = p[1]; free(p);")], timeout=60)
    assert done.code == 126 and "Invalid read of size 4" in done.error and "probe_work (probe.c:" in done.error, done


def test_a_tool_that_is_not_there_is_one_clear_line(client):
    for tool in ("gdb", "valgrind"):
        done = client.run(["test", "-q", "--" + tool, HELLO], env={"PATH": "/nonexistent"})
        assert complains(done, 125, tool, "not on this machine")
    assert complains(client.run(["test", "--gdb", "--valgrind", HELLO]), 125, "one of them")


def test_any_program_can_stand_in_front(client, scratch):
    path = plugin(scratch, 'out->text = ssx_strdup(call, getenv("LC_MARK"));')
    done = client.run(["test", "--in-process", "-X", "env", "-X", "LC_MARK=4711", path])
    assert done.code == 0 and "4711" in done.text, done
