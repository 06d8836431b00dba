#!/bin/sh
# Runs the worker on a text whose words are known: `make test`. It runs on this machine, in the process and sandbox that it has on a node.
set -eu
: "${SSHEXEC:=sshexec}"
text=$(mktemp) said=$(mktemp)
trap 'rm -f "$text" "$said"' EXIT
printf 'one two\ntwo three\n' >"$text"

fail() { cat "$said"; echo "FAILED: $*"; exit 1; } >&2

expect() { # RESULT WORD...
    wanted=$1
    shift
    got=$("$SSHEXEC" test ./@NAME@.so "$@" 2>"$said") || fail "$*: exit code $?"
    [ "$got" = "$wanted" ] || fail "$*: wanted $wanted, got $got"
}

expect '{"lines":2,"words":4,"bytes":18,"found":[]}' path="$text"
expect '{"lines":2,"words":4,"bytes":18,"found":[{"word":"two","count":2},{"word":"six","count":0}]}' path="$text" find=two find=six

code=0
"$SSHEXEC" test ./@NAME@.so path=/nonexistent >/dev/null 2>"$said" || code=$?
[ "$code" = 2 ] || fail "a file that isn't there: exit code $code, not 2"
echo 'all passed'
