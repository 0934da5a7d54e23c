# shellcheck shell=sh
# What the scripts that start processes share. To be sourced from the project's folder, with `set -eu`.
#
# shellcheck disable=SC2034 # used there
#
# Everything lives in $home, and ends with the script that sources this.

home=$(mktemp -d "${TMPDIR:-/tmp}/posthorn.XXXXXX")
export POSTHORN_DATA_DIR="$home/data"
posthorn=${CARGO_TARGET_DIR:-target}/debug/posthorn
pids=""

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

fail() {
    printf '%s\n' "$*" >&2
    if [ -f "$home/standalone.log" ]; then
        echo "The last lines of the standalone:" >&2
        tail -n 20 "$home/standalone.log" >&2
    fi
    exit 1
}

# Ends what was started, the standalone too: it stops its own redis-server.
clean_up() {
    trap '' INT TERM
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$home"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# wait_for WHAT SECONDS COMMAND...: until the command succeeds
wait_for() {
    what=$1 until=$(($(date +%s) + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$until" ] || fail "$what: not there in time"
        sleep 0.1
    done
}

# stop PID: and wait for its end; the exit status is that of the process
stop() {
    kill "$1"
    pids=$(echo " $pids " | sed "s/ $1 / /")
    wait "$1"
}

# A Standard Webhooks key of 32 random bytes.
new_key() { printf 'whsec_%s\n' "$(head -c 32 /dev/urandom | base64)"; }

# start_standalone FLAGS...: on $home/destinations; waits until every destination of it is ready. $listen is where it takes events
start_standalone() {
    wanted=$(grep -c '^kind: EventDestination' "$home"/destinations/*.yaml)
    "$posthorn" standalone "$home/destinations" "$@" >"$home/standalone.log" 2>&1 &
    pid_standalone=$!
    pids="$pid_standalone $pids" # first to end: it is the receivers' only client
    until=$(($(date +%s) + 30))
    until look 2>/dev/null && [ "$(column READY | grep -c True)" -eq "$wanted" ]; do
        kill -0 "$pid_standalone" 2>/dev/null || fail "the standalone ended"
        [ "$(date +%s)" -lt "$until" ] || fail "the standalone is not ready with $wanted destinations"
        sleep 0.2
    done
    listen=$(sed -n 's/.*"listen": *"\([^"]*\)".*/\1/p' "$home/data/instance.json")
}

# look: takes the table, for `column` and `is_done`
look() { "$posthorn" get >"$home/table"; }

# is_done: whether nothing waits any more, by the last table
is_done() { [ "$(column BACKLOG | awk '{ sum += $1 } END { print sum }')" = 0 ]; }

# column NAME [ROW]: a column of the last table, of all rows or of one destination
column() {
    awk -v wanted="$1" -v row="${2:-}" '
        NR == 1 { for (i = 1; i <= NF; i++) { if ($i == wanted) column = i; if ($i == "NAME") name = i }; next }
        row == "" || $name == row { print $column }' "$home/table"
}
