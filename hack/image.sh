#!/bin/sh
# Builds the image, with Docker or Podman, and says how large it is. Flags go to `docker build`.
#
# From the environment: VERSION (dev), IMAGE (posthorn:VERSION), ENGINE (docker, else podman), BUILDER_IMAGE and RUNTIME_IMAGE (those of the Dockerfile)
set -eu
cd "$(dirname "$0")/.."
me=image
# shellcheck source=hack/packages.sh
. hack/packages.sh
# shellcheck source=hack/engine.sh
. hack/engine.sh

limit=60 # MB, compressed: what a node has to fetch
version=${VERSION:-dev}
image=${IMAGE:-posthorn:$version}

# that of the last commit: the same sources have the same labels
created() { TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null; }
revision() { git rev-parse HEAD 2>/dev/null; }

set -- "$@" --tag "$image" --build-arg "VERSION=$version"
if revision >/dev/null; then set -- "$@" --build-arg "REVISION=$(revision)" --build-arg "CREATED=$(created)"; fi
for name in BUILDER_IMAGE RUNTIME_IMAGE CARGO_BUILD_JOBS; do
    value=$(printenv "$name" || true)
    if [ -n "$value" ]; then set -- "$@" --build-arg "$name=$value"; fi
done
"$engine" build "$@" .

saved=$(mktemp "${TMPDIR:-/tmp}/posthorn-image.XXXXXX")
trap 'rm -f "$saved"' EXIT
"$engine" save "$image" >"$saved"
size=$(gzip -6 <"$saved" | wc -c | awk '{ printf "%.1f", $1 / 1e6 }')
say "$image is built, $size MB compressed"
awk -v size="$size" -v limit="$limit" 'BEGIN { exit (size + 0 > limit + 0) }' || fail "that is more than $limit MB: look at what the Dockerfile copies"
