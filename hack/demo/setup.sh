# shellcheck shell=sh
# What `make demo` and `make run` share: the folder with four destinations, and their receivers. To be sourced after common.sh.
# shellcheck disable=SC2154 # set there

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

start_receivers() {
    new_key >"$home/key"
    start_receiver healthy 0
    start_receiver flaky 0 --fail-every 10 --reject-type com.example.order.garbled
    start_receiver slow 0 --delay 300ms
    start_receiver dead 0
    dead_port=$(port_of dead)
    stop "$pid_dead" # a port that nobody listens on
    mkdir "$home/destinations"
    sed -e "s|@healthy@|$(port_of healthy)|" -e "s|@flaky@|$(port_of flaky)|" -e "s|@slow@|$(port_of slow)|" -e "s|@dead@|$dead_port|" \
        -e "s|@key@|$(cat "$home/key")|" hack/demo/destinations.yaml >"$home/destinations/demo.yaml"
}
