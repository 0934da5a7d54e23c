#!/bin/sh
# Real events through Redis to four receivers, three of them in trouble; ends within a minute with a proof of order and counts.
set -eu
cd "$(dirname "$0")/.."

# shellcheck source=hack/common.sh
. hack/common.sh
# shellcheck source=hack/demo/setup.sh
. hack/demo/setup.sh

say "Building"
cargo build --locked

say "Starting four receivers (healthy, flaky, slow, dead) and a standalone"
start_receivers
start_standalone --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0
begun=$(date +%s)

hack/demo/events.sh >"$home/events.jsonl"
all=$(wc -l <"$home/events.jsonl" | tr -d ' ')
cadiz=$(grep -c '"/shops/cadiz"' "$home/events.jsonl")

# send_over_http: each line of standard input by a POST of its own
send_over_http() {
    while read -r event; do
        curl -fsS -o /dev/null -H 'content-type: application/cloudevents+json' --data-binary "$event" "http://$listen/" ||
            fail "not accepted: $event"
    done
}

half=0
if command -v curl >/dev/null; then
    half=$((all / 2))
    say "Sending $half events by HTTP POST to http://$listen/"
    head -n "$half" "$home/events.jsonl" | send_over_http
fi
say "Sending $((all - half)) events by posthorn send"
tail -n +$((half + 1)) "$home/events.jsonl" | "$posthorn" send --file -

show_table() {
    look || fail "the table is not to be had"
    if [ -t 1 ]; then printf '\033[2J\033[H'; fi
    say "$(($(date +%s) - begun)) s: $note"
    cat "$home/table"
}

note="the dead receiver is down: only its own events wait"
dead=yes
while :; do
    show_table
    now=$(($(date +%s) - begun))
    if [ "$dead" = yes ] && [ "$now" -ge 12 ]; then
        dead=no note="the dead receiver was restarted"
        start_receiver dead "$dead_port"
    elif [ "$dead" = no ] && is_done; then
        break
    fi
    [ "$now" -lt 55 ] || fail "events still wait after $now s"
    if [ -t 1 ]; then sleep 1; else sleep 4; fi
done

# judge NAME EXPECTED: what the receiver itself says, beside what the table says
judge() {
    name=$1 expected=$2 verdict=ok
    eval "stop \$pid_$name" || verdict=FAILED # not 0 if the order was broken, an event is missing, or a signature did not verify
    number() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" "$home/$name.json"; }
    accepted=$(number accepted)
    if [ "$accepted" != "$expected" ] || [ "$(column DELIVERED "$name")" != "$expected" ]; then verdict=FAILED; fi
    printf '%-12s %8s %9s %9s %8s %8s %13s %8s %15s  %s\n' "$name" "$expected" "$accepted" "$(column DELIVERED "$name")" \
        "$(number repeats)" "$(number refused)" "$(number late)" "$(number missing)" "$(number badSignatures)" "$verdict"
    [ "$verdict" = ok ] || proven=no
}

say "The proof, by the receivers' own reports (accepted to missing) and the table (delivered)"
proven=yes
printf '%-12s %8s %9s %9s %8s %8s %13s %8s %15s\n' DESTINATION EXPECTED ACCEPTED DELIVERED REPEATS REFUSED "OUT OF ORDER" MISSING "BAD SIGNATURES"
judge healthy "$all"
judge flaky $((all - 1))
judge slow "$cadiz"
judge dead "$all"
[ "$(column DEAD flaky)" = 1 ] || { echo "flaky: one dead letter was expected, $(column DEAD flaky) are there"; proven=no; }
[ "$proven" = yes ] || fail "the proof failed"
say "Every event arrived, in order; the one that flaky refused for ever is a dead letter. $(($(date +%s) - begun)) s. Next: make run"
