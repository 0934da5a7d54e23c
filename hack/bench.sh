#!/bin/sh
# Builds the release binary and the benchmarks, runs them in pairs; `hack/bench.sh 3` for three rounds of each.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --locked
target=${CARGO_TARGET_DIR:-$PWD/target}
POSTHORN="$target/release/posthorn" cargo run --quiet --release --locked --manifest-path bench/Cargo.toml --target-dir "$target/bench" -- "$@"
