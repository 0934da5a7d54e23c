#!/bin/sh
# Sends GitHub's public webhook samples as CloudEvents by the official Python and JavaScript SDKs, binary and structured, through Posthorn
# to receivers that check every signature with the reference Standard Webhooks libraries; then compares what arrived, byte for byte.
#
# Packages are fetched into target/interop when it runs: nothing of them is part of this project.
set -eu
cd "$(dirname "$0")/.."

# shellcheck source=hack/common.sh
. hack/common.sh

tools=${CARGO_TARGET_DIR:-$PWD/target}/interop
if [ ! -f "$tools/ready-1" ]; then
    for program in python3 node npm; do
        command -v "$program" >/dev/null || fail "$program is needed: install Python 3.10 and Node.js 18, or newer"
    done
    say "Fetching the SDKs and the samples"
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check 'cloudevents==2.*' 'standardwebhooks==1.*' 'requests==2.*'
    npm install --silent --no-save --no-audit --no-fund --prefix "$tools" cloudevents@10 standardwebhooks@1 @octokit/webhooks-examples@7
    touch "$tools/ready-1"
fi
export NODE_PATH="$tools/node_modules"
samples=$tools/node_modules/@octokit/webhooks-examples/api.github.com/index.json

cargo build --locked

new_key >"$home/key"
start_receiver() { # NAME COMMAND...
    name=$1
    shift
    "$@" "$home/key" "$home/received.$name" >"$home/$name.log" 2>&1 &
    pids="$pids $!"
    wait_for "the receiver $name" 20 grep -q '^[0-9]' "$home/$name.log"
}
start_receiver python "$tools/bin/python" hack/interop/receive.py
start_receiver javascript node hack/interop/receive.cjs

mkdir "$home/destinations"
sed -e "s|@python@|$(head -n 1 "$home/python.log")|" -e "s|@javascript@|$(head -n 1 "$home/javascript.log")|" -e "s|@key@|$(cat "$home/key")|" \
    hack/interop/destinations.yaml >"$home/destinations/interop.yaml"
start_standalone --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0

say "Sending"
"$tools/bin/python" hack/interop/send.py "$samples" "http://$listen/" "$home/sent.python"
node hack/interop/send.cjs "$samples" "http://$listen/" "$home/sent.javascript"
cat "$home/sent.python" "$home/sent.javascript" >"$home/sent"

# Each receiver gets each event twice, binary and structured.
arrived() { [ "$(cat "$home"/received.* | wc -l)" -ge $((4 * $(wc -l <"$home/sent"))) ]; }
until=$(($(date +%s) + 120))
until arrived && look && is_done; do
    [ "$(date +%s)" -lt "$until" ] || { cat "$home/table"; break; } # what is missing is said below
    sleep 1
done
say "Comparing"
"$tools/bin/python" hack/interop/compare.py "$home/sent" "$home/received.python" "$home/received.javascript"
