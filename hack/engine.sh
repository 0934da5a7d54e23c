# shellcheck shell=sh
# Which container engine is used: $ENGINE, else Docker, else Podman; in $engine. To be sourced after packages.sh.

engine=${ENGINE:-$(if have docker || ! have podman; then echo docker; else echo podman; fi)}
have "$engine" || fail "there is no '$engine' here; install Docker (https://docs.docker.com/engine/install/) or Podman, or name yours by ENGINE"
"$engine" info >/dev/null 2>&1 || fail "'$engine info' fails, so no engine answers: start it, or let DOCKER_HOST say where it is"
