#!/bin/sh
# Kills each container of compose.yaml by kill -9, again and again, while events are sent, and proves that none is lost and the order is kept.
# Tests the image posthorn:dev as it was built last; builds it if it is not there. Everything that it started is removed.
#
# From the environment: ROUNDS (3), in each of which every container is killed once, and then all at once
set -eu
cd "$(dirname "$0")/.."
me="compose-test"
# shellcheck source=hack/packages.sh
. hack/packages.sh
ENGINE=docker
# shellcheck source=hack/engine.sh
. hack/engine.sh
have curl || fail "curl is not here; install it"

if docker compose version >/dev/null 2>&1; then compose="docker compose"
elif have docker-compose; then compose=docker-compose
else fail "neither 'docker compose' nor 'docker-compose' is here; install one of them (https://docs.docker.com/compose/install/)"
fi

rounds=${ROUNDS:-3}
apart=300 # events that must be accepted between two kills: it works again
services="redis posthorn receiver"
export COMPOSE_PROJECT_NAME="posthorn-test-$$"
# ports that nothing else is likely to have; they must stay the same when a container is started again
export POSTHORN_PORT="${POSTHORN_PORT:-18080}" POSTHORN_ADMIN_PORT="${POSTHORN_ADMIN_PORT:-19090}"
home=$(mktemp -d "${TMPDIR:-/tmp}/posthorn.XXXXXX")
senders=""

clean_up() {
    trap '' INT TERM
    touch "$home/enough"
    # shellcheck disable=SC2086 # a list
    wait $senders 2>/dev/null || true
    $compose down --volumes --remove-orphans --timeout 10 >/dev/null 2>&1 || true
    rm -rf "$home"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# give_up WHY: with what the containers say
give_up() {
    for service in $services; do
        say "the last lines of $service:"
        docker logs --tail 15 "$(container "$service")" >&2 || true
    done
    fail "$*"
}

# wait_for WHAT SECONDS COMMAND...: until the command succeeds
wait_for() {
    what=$1 until=$(($(date +%s) + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$until" ] || give_up "$what: not in time"
        sleep 0.2
    done
}

container() { $compose ps -q "$1"; }
pid_of() { docker inspect --format '{{.State.Pid}}' "$(container "$1")"; }
is_ready() { curl -fsS "http://127.0.0.1:$POSTHORN_ADMIN_PORT/readyz"; }
accepted() { cat "$home"/accepted.* | wc -l; }
has_accepted() { [ "$(accepted)" -ge "$1" ]; }
is_new() { new=$(pid_of "$1") && [ "$new" != 0 ] && [ "$new" != "$2" ]; }
posthorn() { $compose exec -T posthorn posthorn "$@"; }
# nothing waits, neither to be routed nor to be delivered
is_done() { posthorn get | awk -v accepted="$(accepted)" 'NR == 2 { exit !($4 == 0 && $6 + $7 >= accepted) }'; }

# send SOURCE: numbered events, each until it is accepted; id and sequence of the accepted ones go into a file
send() {
    number=0
    until [ -e "$home/enough" ]; do
        number=$((number + 1)) sequence=""
        while [ -z "$sequence" ]; do
            answer=$(curl -s -m 5 "http://127.0.0.1:$POSTHORN_PORT/" -H 'content-type: application/cloudevents+json' -d "
                {\"specversion\":\"1.0\",\"id\":\"$1-$number\",\"source\":\"/$1\",\"type\":\"com.example.order.placed\",\"data\":{\"order\":$number}}") || true
            sequence=$(expr "$answer" : '.*"sequence":"\([^"]*\)"' || true)
            [ -n "$sequence" ] || sleep 0.1 # refused, or nobody answers: the same once more
        done
        echo "$1-$number $sequence" >>"$home/accepted.$1"
    done
}

# kill_9 SERVICE...: as the kernel would. After `docker kill` the engine would not start it again: it takes that for a wish.
kill_9() {
    pids=""
    for service in "$@"; do
        pid=$(pid_of "$service")
        eval "old_$service=$pid"
        pids="$pids $pid"
    done
    docker run --rm --pid host --user 0 --entrypoint sh "$redis_image" -c "kill -9 $pids"
    for service in "$@"; do
        eval "wait_for 'a new $service' 60 is_new $service \$old_$service"
    done
    say "killed: $*; started again by the engine"
    wait_for "events are accepted after $* was killed" 60 has_accepted $(($(accepted) + apart))
}

$compose up -d
redis_image=$(docker inspect --format '{{.Config.Image}}' "$(container redis)")
wait_for "Posthorn is ready" 60 is_ready
begun=$(date +%s)
for source in amsterdam berlin; do
    : >"$home/accepted.$source"
    send "$source" &
    senders="$senders $!"
done
wait_for "events are accepted" 60 has_accepted "$apart"

round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    for service in $services; do kill_9 "$service"; done
    # shellcheck disable=SC2086 # a list
    kill_9 $services
done

touch "$home/enough"
# shellcheck disable=SC2086 # a list
wait $senders
senders=""
wait_for "everything is delivered" 120 is_done
posthorn get >&2

cat "$home"/accepted.* >"$home/accepted"
docker logs "$(container receiver)" >"$home/received" 2>/dev/null
# columns of the receiver: 2 is the sequence, 4 its answer, 9 the id
awk -v seconds=$(($(date +%s) - begun)) -v kills=$((rounds * 6)) '
    FNR == NR { accepted[$1] = $2; all++; next }
    $4 == 204 && $9 in seen { repeats++; next }
    $4 == 204 {
        seen[$9] = $2; arrived++
        if ($2 <= last) { print "out of order: " $9 " " $2; wrong++ }
        last = $2
        split($9, name, "-")
        if (name[2] != ++count[name[1]]) { print "not the next one of its sender: " $9; wrong++ }
    }
    END {
        for (id in accepted) if (seen[id] != accepted[id]) { print "lost: " id " " accepted[id]; wrong++ }
        printf "%d events accepted in %d s with %d kills; %d arrived, %d repeats, %d wrong\n", all, seconds, kills, arrived, repeats, wrong
        exit (wrong > 0 || all == 0)
    }' "$home/accepted" "$home/received" || give_up "the promise is broken"
