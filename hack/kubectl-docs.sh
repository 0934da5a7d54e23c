#!/bin/sh
# Writes docs/kubectl.md: what kubectl prints of destinations, from a run against a real API server.
set -eu
cd "$(dirname "$0")/.."
hack/apiserver.sh >/dev/null
POSTHORN_WRITE_KUBECTL_DOCS=1 cargo test --locked --test apiserver documented
