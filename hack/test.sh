#!/bin/sh
# Runs every test: with cargo-nextest if it is installed, else with cargo itself.
#
# Many tests start servers and wait for what they do, on a machine that is busy with other tests. So at most three that failed get a second
# try, by themselves (with nextest: each, shown as FLAKY). Who passes then is named at the end, as it is to be mended all the same; who fails
# again fails the run.
set -eu
cd "$(dirname "$0")/.."
SECOND_TRIES=3

hack/apiserver.sh >/dev/null # before the tests, for it may have to be built
hack/foreign-crds.sh >/dev/null
hack/helm.sh >/dev/null

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --retries 1
    cargo test --locked --doc # nextest does not run documentation tests
    exit
fi

cargo test --locked --no-run # what does not compile fails here
log=$(mktemp "${TMPDIR:-/tmp}/posthorn-test.XXXXXX")
trap 'rm -f "$log"' EXIT
# a pipe has the status of its last command: that of the tests goes into the log
{ cargo test --locked --no-fail-fast 2>&1 && echo "all passed"; } | tee "$log"
[ "$(tail -n 1 "$log")" != "all passed" ] || exit 0

# names of functions only: a documentation test gets no second try
failed=$(sed -n 's/^test \([A-Za-z0-9_:]*\)\( - should panic\)* \.\.\. FAILED$/\1/p' "$log" | sort -u)
count=$(grep -c '^test .* FAILED$' "$log") || true
# a program that ended without a result has more to tell than the names of tests
ended=$(grep -c '^test result: FAILED' "$log") || true
if [ "$(sed -n 's/^error: \([0-9]*\) targets* failed:$/\1/p' "$log")" != "$ended" ]; then exit 1; fi
if [ "$count" -eq 0 ] || [ "$count" -gt "$SECOND_TRIES" ] || [ "$count" -ne "$(echo "$failed" | wc -w)" ]; then exit 1; fi
printf '\ntest: failed, tried once more:\n%s\n' "$failed"
# shellcheck disable=SC2086 # a name is one word
cargo test --locked -- --exact $failed
printf '\ntest: passed at the second try only, to be mended:\n%s\n' "$failed"
