#!/bin/sh
# How the operator does with a thousand objects on a real API server: times from apply to Ready, writes, memory, CPU. Release build, six minutes.
set -eu
cd "$(dirname "$0")/.."
hack/apiserver.sh >/dev/null
cargo test --locked --release --test apiserver scale -- --ignored --nocapture
