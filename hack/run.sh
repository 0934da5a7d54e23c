#!/bin/sh
# The set-up of the demo, left running for events of your own. Ctrl-C ends it. Flags go to `posthorn standalone`.
set -eu
cd "$(dirname "$0")/.."
cargo build --locked

# shellcheck source=hack/common.sh
. hack/common.sh
# shellcheck source=hack/demo/setup.sh
. hack/demo/setup.sh
start_receivers
start_standalone "$@"

cat <<TEXT

Posthorn runs, with four receivers: healthy, flaky, slow (events of /shops/cadiz only) and dead. Try in another terminal:

  curl -i http://$listen/ -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /shops/cadiz' -H 'ce-type: com.example.order.placed' \\
       -H 'content-type: application/json' -d '{"order": 1}'
  curl -i http://$listen/ -H 'content-type: application/cloudevents+json' \\
       -d '{"specversion": "1.0", "id": "2", "source": "/shops/berlin", "type": "com.example.order.paid", "data": {"order": 2}}'

  export POSTHORN_DATA_DIR=$POSTHORN_DATA_DIR
  $posthorn get -w                                      the table
  $posthorn dead list flaky                             what was given up
  hack/demo/events.sh 100 | $posthorn send --file -     many events
  tail -f $home/healthy.log          what a receiver gets (also flaky.log, slow.log)
  $posthorn receiver --listen 127.0.0.1:$dead_port      brings the dead receiver back
  \$EDITOR $home/destinations/demo.yaml      changes are picked up at once

Ctrl-C ends it and removes all of this.
TEXT
wait "$pid_standalone"
