#!/bin/sh
# Installs what is missing to build and test: Rust, a C compiler, a Redis or Valkey server. Does nothing, at once, if nothing is missing.
#
# Knows Debian and Ubuntu (apt), Fedora (dnf), Alpine (apk) and macOS (brew); elsewhere it says what to install.
set -eu
cd "$(dirname "$0")/.."

RUST_AT_LEAST=1.89  # `rust-version` in Cargo.toml
REDIS_AT_LEAST=7.0  # Valkey counts as 7.2
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

# shellcheck source=hack/packages.sh
. hack/packages.sh

c_compiler() {
    if have cc || have gcc || have clang; then return; fi
    if [ "$(uname -s)" = Darwin ]; then
        fail "no C compiler: run 'xcode-select --install', then try again"
    fi
    packages "gcc libc6-dev make" "gcc glibc-devel make" "gcc musl-dev make linux-headers" "gcc"
}

rust() {
    if ! have cargo && ! have rustup; then
        have curl || packages "curl ca-certificates" "curl" "curl" "curl"
        say "installing Rust by rustup"
        curl --proto '=https' --tlsv1.2 -fsS https://sh.rustup.rs | sh -s -- -y -q --no-modify-path --profile minimal --default-toolchain none >&2
    fi
    if have rustup; then
        wanted=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
        case $(rustup toolchain list) in
            *"$wanted"*) ;;
            *) rustup toolchain install "$wanted" --profile minimal --component rustfmt,clippy --no-self-update >&2 ||
                fail "Rust $wanted could not be installed: see above" ;;
        esac
    fi
    have cargo || fail "Rust could not be installed: see https://rustup.rs, then try again"
    version=$(cargo --version | awk '{print $2}')
    at_least "$version" "$RUST_AT_LEAST" || fail "cargo $version is too old: $RUST_AT_LEAST or newer is needed (https://rustup.rs)"
}

# The version of the Redis or Valkey server that tests and standalone would start; empty if there is none.
redis_version() {
    for name in "${POSTHORN_TEST_REDIS:-}" redis-server valkey-server; do
        if [ -n "$name" ] && have "$name"; then
            "$name" --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p'
            return
        fi
    done
}

redis() {
    if [ -z "$(redis_version)" ]; then
        if [ "$(manager)" = dnf ] && dnf -q info valkey >/dev/null 2>&1; then
            packages "" valkey "" ""
        else
            packages redis-server redis redis redis
        fi
    fi
    version=$(redis_version)
    [ -n "$version" ] || fail "no redis-server and no valkey-server on the PATH: install Redis $REDIS_AT_LEAST or Valkey 7.2, or newer"
    at_least "$version" "$REDIS_AT_LEAST" ||
        fail "redis-server $version is too old: install Redis $REDIS_AT_LEAST or Valkey 7.2, or newer. With Python at hand, this fetches Valkey
         into this folder only: export PATH=\"\$(hack/valkey.sh):\$PATH\""
}

c_compiler
rust
redis
