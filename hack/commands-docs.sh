#!/bin/sh
# Writes the sessions of docs/commands.md anew: what the commands print, typed on a real installation.
set -eu
cd "$(dirname "$0")/.."
POSTHORN_WRITE_COMMANDS_DOCS=1 cargo test --locked --test it commands::documented
