#!/bin/sh
# Checks the alerts by Prometheus' own promtool: their syntax, and the unit tests of tests/fixtures/alerts.yaml. `cargo test --test monitoring`
# checks without it that what they ask for exists.
#
# promtool is that of the PATH, else that of the cache ($POSTHORN_CACHE, ~/.cache/posthorn), where Go builds it once (some minutes).
set -eu
cd "$(dirname "$0")/.."
me=alerts
# shellcheck source=hack/programs.sh
. hack/programs.sh

PROMETHEUS=0.316.0

# build FOLDER: without service discovery, which is most of it
build() {
    need_go || return 1
    (export GOTOOLCHAIN=auto GOFLAGS="$GOFLAGS -tags=remove_all_sd" &&
        module promtool "github.com/prometheus/prometheus v$PROMETHEUS" && program "$1/promtool" github.com/prometheus/prometheus/cmd/promtool)
}

promtool=$(command -v promtool) || promtool=$cache/promtool-v$PROMETHEUS/promtool
if [ ! -x "$promtool" ]; then
    prepare
    [ -x "$promtool" ] || into "${promtool%/*}" build || fail "promtool cannot be had: put it on the PATH, or install Go $GO_AT_LEAST (https://go.dev/dl)"
fi
"$promtool" check rules --lint=all --lint-fatal charts/posthorn/files/alerts.yaml
"$promtool" test rules tests/fixtures/alerts.yaml
