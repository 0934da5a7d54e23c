#!/bin/sh
# Writes the manifests that are made from the chart: base, what the overlays add to it, and the file that installs everything.
# With --check it writes nothing, and fails if they differ.
set -eu
cd "$(dirname "$0")/.."

helm=$(hack/helm.sh)
kubectl=$(hack/apiserver.sh)/kubectl
work=$(mktemp -d "${TMPDIR:-/tmp}/posthorn-manifests.XXXXXX")
trap 'rm -rf "$work"' EXIT

external="--set redis.bundled.enabled=false --set redis.external.urlSecret.name=posthorn-redis"
alone="--set ingest.autoscaling.enabled=false --set ingest.pdb.enabled=false --set router.pdb.enabled=false --set operator.pdb.enabled=false"
# no secret: it stands in a file that everyone can read, and opens a Redis that only pods of Posthorn are let to
password="--set redis.bundled.password=posthorn-dev-password"

# render FLAGS...: the chart without what is Helm's own, into $work/rendered
render() {
    "$helm" template posthorn charts/posthorn -n posthorn-system "$@" >"$work/whole"
    sed '/helm.sh\/chart:/d; /managed-by: Helm/d; /helm.sh\/resource-policy: keep}/d' "$work/whole" >"$work/rendered"
}

# documents FILE PATTERN: those of the rendered documents in which a line matches, with a note at the head
documents() {
    mkdir -p "${1%/*}"
    echo '# Made from charts/posthorn by hack/manifests.sh. Do not edit.' >"$1"
    awk -v pattern="$2" '
        function flush() { if (text ~ pattern && text !~ /# Source: posthorn\/templates\/(rbac|crd|tests\/)/) printf "---\n%s", text; text = "" }
        /^---$/ { flush(); next }
        { text = text $0 "\n" }
        END { flush() }' "$work/rendered" | sed '/^# Source: /d' >>"$1"
}

# shellcheck disable=SC2086 # flags
make() {
    render $external $alone
    documents "$1/base/posthorn.yaml" 'kind: '
    render $alone $password
    documents "$1/overlays/dev/redis.yaml" '\n  name: posthorn-redis\n'
    render $external
    documents "$1/overlays/production/availability.yaml" 'kind: (PodDisruptionBudget|HorizontalPodAutoscaler)\n'
}

# install FOLDER: the overlay for trying things out in one file
install() {
    echo '# Everything in one file, with a small Redis, for trying Posthorn out: kubectl apply -f manifests/install.yaml'
    echo "# Another image: sed 's|ghcr.io/posthorn/posthorn|registry.example/posthorn|' manifests/install.yaml | kubectl apply -f -"
    echo '# Made from manifests/overlays/dev by hack/manifests.sh. Do not edit.'
    "$kubectl" kustomize "$1/overlays/dev"
}

case ${1:-} in
    "")
        make manifests
        install manifests >"$work/install.yaml" && cp "$work/install.yaml" manifests/install.yaml ;;
    --check)
        cp -R manifests crds "$work"
        make "$work/manifests"
        install "$work/manifests" >"$work/manifests/install.yaml"
        diff -r -u manifests "$work/manifests" >&2 || { echo "the manifests are not what the chart makes; run hack/manifests.sh and commit the result" >&2; exit 1; } ;;
    *) echo "usage: hack/manifests.sh [--check]" >&2; exit 1 ;;
esac
