#!/bin/sh
# Installs what is missing to build and test: Rust, a C compiler, a Redis or Valkey server. Does nothing, at once, if nothing is missing.
#
# Knows Debian and Ubuntu (apt), Fedora (dnf), Alpine (apk) and macOS (brew); elsewhere it says what to install.
set -eu
cd "$(dirname "$0")/.."

RUST_AT_LEAST=1.89  # `rust-version` in Cargo.toml
REDIS_AT_LEAST=7.0  # Valkey counts as 7.2
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

have() { command -v "$1" >/dev/null 2>&1; }
say() { printf 'install: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# at_least 1.95.0 1.89: whether the first version is not below the second
at_least() {
    awk -v a="$1" -v b="$2" 'BEGIN {
        split(a, x, "."); split(b, y, ".")
        for (i = 1; i <= 2; i++) if (x[i] + 0 != y[i] + 0) exit !(x[i] + 0 > y[i] + 0)
    }'
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif have sudo; then sudo "$@"
    elif have doas; then doas "$@"
    else fail "'$*' needs root, and there is neither sudo nor doas: run it as root, then try again"
    fi
}

manager() {
    for name in apt-get dnf apk brew; do
        if have "$name"; then echo "$name"; return; fi
    done
    echo none
}

# packages APT DNF APK BREW: installs the packages that this system's manager knows under these names
packages() {
    case $(manager) in
        apt-get) list=$1 ;; dnf) list=$2 ;; apk) list=$3 ;; brew) list=$4 ;;
        none) fail "no apt, dnf, apk or brew here. Install these by hand and try again: $1" ;;
    esac
    say "installing $list"
    # shellcheck disable=SC2086 # a list of names
    case $(manager) in
        apt-get)
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q $list >/dev/null 2>&1 || {
                as_root apt-get update -q >&2
                as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q $list >&2
            } ;;
        dnf) as_root dnf install -y -q $list >&2 ;;
        apk) as_root apk add --quiet $list >&2 ;;
        brew) brew install --quiet $list >&2 ;;
    esac
}

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
