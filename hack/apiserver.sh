#!/bin/sh
# Prints the folder that holds a real etcd, kube-apiserver and kubectl for the tests.
#
# They are taken from KUBEBUILDER_ASSETS if that is set, else from the cache ($POSTHORN_CACHE, ~/.cache/posthorn). What the cache lacks
# is downloaded once from the projects' own releases, else built once by Go from the modules of the same version (four minutes).
set -eu
cd "$(dirname "$0")/.."
me=apiserver
# shellcheck source=hack/programs.sh
. hack/programs.sh

KUBERNETES=1.34.4
ETCD=3.6.5

programs=$cache/kubernetes-v$KUBERNETES

# holds_all FOLDER: whether all three programs are there
holds_all() { [ -x "$1/etcd" ] && [ -x "$1/kube-apiserver" ] && [ -x "$1/kubectl" ]; }

sha512() {
    if have sha512sum; then sha512sum "$1"; else shasum -a 512 "$1"; fi | cut -d ' ' -f 1
}

# Newest patch of this minor version that the envtest project has published, as "name hash": the version itself if it is there.
published() {
    awk -v minor="${KUBERNETES%.*}" -v platform="$os-$arch" '
        { sub(/:$/, "", $1) }
        $1 ~ "^envtest-v" minor "[.][0-9]+-" platform "[.]tar[.]gz$" { name = $1; next }
        /^ *envtest-/ { name = "" }
        name != "" && $1 == "hash" { split(name, part, /[.-]/); print part[4], name, $2 }
    ' "$1" | sort -n | awk -v wanted="envtest-v$KUBERNETES-" 'index($2, wanted) == 1 { exact = $0 } { last = $0 }
        END { $0 = exact ? exact : last; print $2, $3 }'
}

# download FOLDER: the official archive, its checksum verified
download() {
    site=https://github.com/kubernetes-sigs/controller-tools
    say "looking for the official archive of Kubernetes ${KUBERNETES%.*}"
    fetch "$site/raw/HEAD/envtest-releases.yaml" 20 "$work/releases.yaml" || { say "its site cannot be reached"; return 1; }
    published "$work/releases.yaml" >"$work/published"
    read -r archive hash <"$work/published"
    [ -n "$archive" ] || { say "there is none for $os-$arch"; return 1; }
    say "downloading $archive"
    release=${archive%"-$os-$arch.tar.gz"}
    fetch "$site/releases/download/$release/$archive" 600 "$work/$archive" || { say "it cannot be downloaded"; return 1; }
    [ "$(sha512 "$work/$archive")" = "$hash" ] || { say "$archive has not the published checksum: not used"; return 1; }
    tar -C "$1" --strip-components 2 -xzf "$work/$archive" && holds_all "$1"
}

# Kubernetes' module names its parts as v0.0.0 and replaces them by folders, which a module is published without.
replace_parts() {
    awk -v version="v0.${KUBERNETES#1.}" '$2 == "v0.0.0" && !seen[$1]++ { print "replace " $1 " => " $1 " " version }' "$1"
}

# build FOLDER: each program from its Go module. Chained by &&, for within a condition the shell does not stop at an error.
build() {
    need_go || return 1
    say "building it from Go modules: four minutes, the first time"
    (
        module parts && mod=$(go list -m -f '{{.GoMod}}' "k8s.io/kubernetes@v$KUBERNETES") &&
            module kubernetes "k8s.io/kubernetes v$KUBERNETES" && replace_parts "$mod" >>go.mod &&
            is=k8s.io/component-base/version minor=${KUBERNETES#*.} &&
            flags="-X $is.gitVersion=v$KUBERNETES -X $is.gitMajor=1 -X $is.gitMinor=${minor%.*} -X $is.gitTreeState=clean" &&
            program "$1/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver "$flags" &&
            program "$1/kubectl" k8s.io/kubernetes/cmd/kubectl "$flags" &&
            module etcd "go.etcd.io/etcd/server/v3 v$ETCD" && program "$1/etcd" go.etcd.io/etcd/server/v3
    ) && holds_all "$1"
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    holds_all "$KUBEBUILDER_ASSETS" || fail "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS does not hold etcd, kube-apiserver and kubectl"
    echo "$KUBEBUILDER_ASSETS"
    exit
fi
if ! holds_all "$programs"; then
    prepare
    holds_all "$programs" || into "$programs" download || into "$programs" build || fail "no Kubernetes API server for the tests. Any of these will do:
           1. KUBEBUILDER_ASSETS: a folder with etcd, kube-apiserver and kubectl, such as 'setup-envtest use -p path ${KUBERNETES%.*}' prints
           2. the same three programs in the cache: $programs
           3. the site of the envtest releases within reach, and curl: they are downloaded
           4. Go $GO_AT_LEAST or newer on the PATH (https://go.dev/dl), and Go's modules within reach: they are built"
fi
echo "$programs"
