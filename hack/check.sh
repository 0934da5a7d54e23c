#!/bin/sh
# Everything that must be clean besides the tests.
set -eu
cd "$(dirname "$0")/.."

step() { printf '==> %s\n' "$*"; "$@"; }

step cargo fmt --check
step cargo clippy --locked --all-targets -- -D warnings
step cargo test --locked --quiet --test artifacts # generated files
RUSTDOCFLAGS="-D warnings" step cargo doc --locked --no-deps --quiet
if cargo deny --version >/dev/null 2>&1; then
    step cargo deny --log-level error check bans licenses sources
fi
if command -v python3 >/dev/null 2>&1; then
    step hack/concepts-svg.py --check
fi
if command -v shellcheck >/dev/null 2>&1; then
    step shellcheck hack/*.sh hack/*/*.sh .ci/run
fi
