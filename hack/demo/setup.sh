# shellcheck shell=sh
# What `make demo` and `make run` share: builds, makes a folder with four destinations, starts their receivers and a standalone.
#
# To be sourced from the project's folder, with `set -eu`. Everything lives in $home and ends with the script that sources this.

home=$(mktemp -d "${TMPDIR:-/tmp}/posthorn-demo.XXXXXX")
export POSTHORN_DATA_DIR="$home/data"
posthorn=${CARGO_TARGET_DIR:-target}/debug/posthorn
pids=""

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

fail() {
    printf 'demo: %s\n' "$*" >&2
    if [ -f "$home/standalone.log" ]; then
        echo "demo: the last lines of the standalone:" >&2
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

# start_receiver NAME PORT FLAGS...: its process ID is in $pid_NAME
start_receiver() {
    name=$1 port=$2
    shift 2
    "$posthorn" receiver --listen "127.0.0.1:$port" --secret-file "$home/key" --counter demoindex --report "$home/$name.json" "$@" \
        >"$home/$name.log" 2>&1 &
    eval "pid_$name=$!"
    pids="$pids $!"
    wait_for "the receiver $name" 10 grep -q '^listening on' "$home/$name.log"
}

port_of() { sed -n 's/^listening on http:.*:\([0-9]*\)$/\1/p' "$home/$1.log"; }

# stop PID: and wait for its end; the exit status is that of the process
stop() {
    kill "$1"
    wait "$1"
}

start_receivers() {
    printf 'whsec_%s\n' "$(head -c 32 /dev/urandom | base64)" >"$home/key"
    start_receiver healthy 0
    start_receiver flaky 0 --fail-every 10 --reject-type com.example.order.garbled
    start_receiver slow 0 --delay 300ms
    start_receiver dead 0
    dead_port=$(port_of dead)
    # shellcheck disable=SC2154 # set by start_receiver
    stop "$pid_dead" # a port that nobody listens on
}

# start_standalone FLAGS...
start_standalone() {
    mkdir "$home/destinations"
    sed -e "s|@healthy@|$(port_of healthy)|" -e "s|@flaky@|$(port_of flaky)|" -e "s|@slow@|$(port_of slow)|" -e "s|@dead@|$dead_port|" \
        -e "s|@key@|$(cat "$home/key")|" hack/demo/destinations.yaml >"$home/destinations/demo.yaml"
    "$posthorn" standalone "$home/destinations" "$@" >"$home/standalone.log" 2>&1 &
    pid_standalone=$!
    pids="$pid_standalone $pids" # first to end: it is the receivers' only client
    wait_for "the standalone with four destinations" 30 is_ready
}

is_ready() {
    kill -0 "$pid_standalone" || fail "the standalone ended"
    "$posthorn" get >"$home/table" && [ "$(column READY | grep -c True)" -eq 4 ]
}

# column NAME [ROW]: a column of the last table, of all rows or of one destination
column() {
    awk -v wanted="$1" -v row="${2:-}" '
        NR == 1 { for (i = 1; i <= NF; i++) { if ($i == wanted) column = i; if ($i == "NAME") name = i }; next }
        row == "" || $name == row { print $column }' "$home/table"
}
