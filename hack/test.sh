#!/bin/sh
# Runs every test: with cargo-nextest if it is installed, else with cargo itself.
set -eu
cd "$(dirname "$0")/.."

hack/apiserver.sh >/dev/null # before the tests, for it may have to be built
hack/foreign-crds.sh >/dev/null
hack/helm.sh >/dev/null

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked
    cargo test --locked --doc # nextest does not run documentation tests
else
    cargo test --locked
fi
