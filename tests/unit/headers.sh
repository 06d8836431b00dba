#!/bin/sh
# Every public header compiles alone, and a plugin as C and as C++, with every compiler that is here; the ABI's changelog names
# the current version. TAP.
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
warn="-Wall -Wextra -Wpedantic -Wshadow -Werror -Isdk/include"
number=0 failed=0

# check NAME COMMAND...: one line of TAP; what the command said follows where it failed.
check() {
    name=$1
    shift
    number=$((number + 1))
    if "$@" >"$tmp/said" 2>&1; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        sed 's/^/# /' "$tmp/said"
        failed=1
    fi
}

changelog_names_version() {
    header=sdk/include/sshexec/worker.h
    major=$(sed -n 's/^#define SSX_ABI_MAJOR \([0-9]*\)$/\1/p' $header)
    minor=$(sed -n 's/^#define SSX_ABI_MINOR \([0-9]*\)$/\1/p' $header)
    # The newest entry is the last line of the changelog that begins with a version.
    newest=$(sed -n '/^\/\* Changelog/,/\*\//s/^ \*   *\([0-9][0-9]*\.[0-9][0-9]*\)  .*/\1/p' $header | tail -n 1)
    echo "the macros say $major.$minor, the changelog ends with $newest"
    [ -n "$major" ] && [ "$newest" = "$major.$minor" ]
}

# compile NAME FILE: as C17 and as C++17, with each compiler.
compile() {
    for cc in gcc clang; do
        command -v $cc >/dev/null || continue
        check "$1, C17, $cc" $cc -std=c17 $warn -Wstrict-prototypes -Wmissing-prototypes -fPIC -O2 -c -x c "$2" -o "$tmp/x.o"
    done
    for cxx in g++ clang++; do
        command -v $cxx >/dev/null || continue
        check "$1, C++17, $cxx" $cxx -std=c++17 $warn -fPIC -O2 -c -x c++ "$2" -o "$tmp/x.o"
    done
}

for header in sdk/include/sshexec/*.h; do
    name=sshexec/$(basename "$header")
    echo "#include <$name>" >"$tmp/alone.c"
    compile "$name alone" "$tmp/alone.c"
done

cat >"$tmp/plugin.c" <<'END'
#include <sshexec/worker.h>
#define FSTYPE(V) V(fstype, ext4) V(fstype, other)
SSX_ENUM(fstype, FSTYPE)
#define DISK(F)                                                   \
    F(str_max(9),     mount, required,              "where")      \
    F(f64_in(0, 0.5), share, default(0.25),         "how full")   \
    F(enum(fstype),   type,  member(fstype, other), "which")
SSX_STRUCT(disk, DISK)
#define STATE(F)                                                  \
    F(bool,                       on,    default(true), "")       \
    F(i64_in(-1, 1),              a,     empty,         "")       \
    F(u32_in(1, 2),               b,     default(1),    "")       \
    F(u64_in(1, 2),               c,     default(1),    "")       \
    F(secret(opt(str)),           token, empty,         "")       \
    F(list(secret(bin_max(3))),   keys,  empty,         "")       \
    F(opt(list(struct(disk))),    disks, empty,         "\"/\"")  \
    F(list(bool),                 flags, empty,         "")       \
    F(any,                        value, empty,         "")       \
    F(rest(list(str)),            words, empty,         "")
SSX_STRUCT(state, STATE)
SSX_NOTHING(result)
static int plugin_run(struct ssx_call *call, const struct state *in, struct result *out)
{
    struct state copy = *in;
    (void)out;
    copy.disks.set = true;
    ssx_list_add(call, &copy.disks.value, struct(disk), 2)[1].mount = ssx_sprintf(call, "%d", 1);
    *ssx_list_add(call, &copy.flags, bool, 1) = in->on;
    ssx_log(call, SSX_LOG_INFO, "%s", ssx_strdup(call, "x"));
    ssx_progress(call, 1, 2, NULL);
    if (ssx_item(call, disk, copy.disks.value.at) || ssx_item_any(call, "\1", 1) || ssx_cancelled(call) || ssx_read(call, &copy, sizeof copy) < 0)
        return ssx_fail(call, 2, "%s", "no");
    return ssx_time_left_ms(call) == 0 || !ssx_temp_dir(call);
}
SSX_WORKER("plugin", "1.0", "for a test", state, result, SSX_REUSABLE | SSX_TAKES_INPUT | SSX_SHOWS_OUTPUT, plugin_run)
END
compile "a plugin" "$tmp/plugin.c"

# The same with the other shape of a worker's function, and a type for its items.
sed -e 's/, const struct state \*in/, struct state *in/' -e 's/SSX_WORKER(\(.*\) SSX_REUSABLE/SSX_WORKER_ITEMS(\1 disk, SSX_RETURNS_STATE/' "$tmp/plugin.c" >"$tmp/returns.c"
compile "a plugin that returns its state" "$tmp/returns.c"

# One list in two files, as a program has it that shares a plugin's lists.
{
    echo '#define SSX_NO_NOTES'
    sed '/^SSX_WORKER/,$d' "$tmp/plugin.c"
    echo 'int use(void); int use(void) { return plugin_run(NULL, NULL, NULL); }'
} >"$tmp/embedder.c"
compile "lists without notes" "$tmp/embedder.c"

# The same with calls of the library: it and a plugin's lists in one file.
{
    echo '#include <sshexec/client.h>'
    cat "$tmp/embedder.c"
    cat <<'END'
int call(struct ssx_session *session, struct ssx_run *run, struct ssx_error *err);
int call(struct ssx_session *session, struct ssx_run *run, struct ssx_error *err)
{
    struct ssx_session_options s = ssx_session_defaults();
    struct ssx_run_options o = ssx_run_defaults();
    struct state in;
    struct result out;
    struct disk item;
    state_ssx_defaults(&in);
    o.pull = SSX_PULL_STDOUT | SSX_PULL_ITEMS;
    return ssx_session_open(&session, "node1", &s, err) || ssx_run_start_as(&run, session, "plugin", state, &in, &o, err) ||
           ssx_run_result_as(run, result, &out, err) || ssx_run_state_as(run, state, &in, err) || ssx_run_item_as(run, disk, &item, "", 0, err);
}
END
} >"$tmp/caller.c"
compile "a program that calls" "$tmp/caller.c"

# The command line has many hosts by <sshexec/fleet.h> and <sshexec/bundle.h>, as any program has them.
only_the_public_engine() {
    ! grep -nE '#include "fleet/(engine|member|visit|pump|fleet_parts)' tools/sshexec/*
}
check "tools/sshexec drives hosts by the public headers" only_the_public_engine

check "the changelog ends with the current ABI version" changelog_names_version
echo "1..$number"
exit $failed
