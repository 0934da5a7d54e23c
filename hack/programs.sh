# shellcheck shell=sh
# How the scripts that need a program have it: from the cache, downloaded, or built by Go. To be sourced from the project's folder, with `set -eu`;
# `me` is the name that messages begin with, and that of the lock.
#
# shellcheck disable=SC2034,SC2154 # used, and set, there
#
# shellcheck source=hack/packages.sh
. hack/packages.sh

GO_AT_LEAST=1.24 # what the modules ask for

cache=${POSTHORN_CACHE:-$HOME/.cache/posthorn}
os=$(uname -s | tr '[:upper:]' '[:lower:]')
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
PATH=$PATH:/usr/local/go/bin

# fetch URL SECONDS FILE: from a site that may be out of reach, which must not take long to find out
fetch() { have curl && curl -fsSL --proto '=https' --connect-timeout 5 --max-time "$2" -o "$3" "$1" 2>/dev/null; }

# The version of Go that this system's packages offer, so that nothing is installed in vain.
go_offered() {
    case $(manager) in
        apt-get) apt-cache policy golang-go 2>/dev/null | sed -n 's/.*Candidate: [0-9]*:*\([0-9.]*\).*/\1/p' ;;
        dnf) dnf -q info golang 2>/dev/null | sed -n 's/^Version *: //p' | tail -n 1 ;;
        apk) apk policy go 2>/dev/null | sed -n 's/^  \([0-9.]*\).*/\1/p' | head -n 1 ;;
        brew) echo "$GO_AT_LEAST" ;; # always the newest
    esac
}

# Makes sure of a Go that is new enough, or that fetches a newer one by itself (1.21).
need_go() {
    if ! have go; then
        offered=$(go_offered)
        if ! at_least "${offered:-0}" "$GO_AT_LEAST"; then say "there is no Go on the PATH, and no package of Go $GO_AT_LEAST"; return 1; fi
        (packages golang-go golang go go) || return 1
    fi
    version=$(go env GOVERSION) version=${version#go}
    at_least "$version" 1.21 || { say "Go $version is too old to build it: $GO_AT_LEAST or newer is needed"; return 1; }
    at_least "$version" "$GO_AT_LEAST" || export GOTOOLCHAIN=auto
    export CGO_ENABLED=0 GOFLAGS=-mod=mod GOWORK=off
}

# module NAME REQUIRE: a module of our own to build in, and the folder to be in from then on
module() {
    mkdir -p "$work/$1" && cd "$work/$1" && printf 'module posthorn.dev/%s\n\ngo 1.24.0\n%s\n' "$1" "${2:+require $2}" >go.mod
}

# program FILE PACKAGE [LDFLAGS]
program() {
    say "building ${1##*/}"
    go build -trimpath -ldflags "-s -w ${3:-}" -o "$1" "$2" >&2
}

# into FOLDER COMMAND...: makes a folder of the cache by a command that is given a new one to fill; all of it or nothing
into() {
    folder=$1
    shift
    rm -rf "$folder.new" && mkdir -p "$folder.new"
    if "$@" "$folder.new"; then rm -rf "$folder" && mv "$folder.new" "$folder"; else rm -rf "$folder.new"; return 1; fi
}

# One at a time, where the system has a lock for that; everything is made aside and moved, so that without one it is only made twice.
prepare() {
    mkdir -p "$cache"
    exec 9>"$cache/$me.lock"
    ! have flock || flock 9
    work=$(mktemp -d "${TMPDIR:-/tmp}/posthorn-$me.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
}
