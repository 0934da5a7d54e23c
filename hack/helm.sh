#!/bin/sh
# Prints the path of a helm for the tests and for those who have none.
#
# It is the one on the PATH if it is of version 3 and new enough, else that of the cache ($POSTHORN_CACHE, ~/.cache/posthorn). What the cache lacks is
# downloaded once from the project's own release, else built once by Go from the module of the same version (three minutes).
set -eu
cd "$(dirname "$0")/.."
me=helm
# shellcheck source=hack/programs.sh
. hack/programs.sh

HELM=3.19.0
KUBERNETES=34 # minor version that it takes a cluster to have where it asks none (`helm template`)
AT_LEAST=3.14 # deletes what a failed `helm test` left, and checks values by JSON Schema with sentences that name the field

folder=$cache/helm-v$HELM

# usable: whether the helm on the PATH will do; version 4 words some errors in another way
usable() {
    have helm || return 1
    version=$(helm version --template '{{.Version}}' 2>/dev/null) version=${version#v}
    [ "${version%%.*}" = 3 ] && at_least "$version" "$AT_LEAST"
}

# download FOLDER: the official archive, its checksum verified
download() {
    archive=helm-v$HELM-$os-$arch.tar.gz
    say "downloading $archive"
    fetch "https://get.helm.sh/$archive.sha256sum" 20 "$work/sum" || { say "its site cannot be reached"; return 1; }
    fetch "https://get.helm.sh/$archive" 300 "$work/$archive" || { say "it cannot be downloaded"; return 1; }
    [ "$(sha256 "$work/$archive")" = "$(cut -d ' ' -f 1 "$work/sum")" ] || { say "$archive has not the published checksum: not used"; return 1; }
    tar -C "$1" --strip-components 1 -xzf "$work/$archive" "$os-$arch/helm" && [ -x "$1/helm" ]
}

sha256() {
    if have sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# build FOLDER: from its Go module
build() {
    need_go || return 1
    is=helm.sh/helm/v3 flags="-X helm.sh/helm/v3/internal/version.version=v$HELM"
    for package in chartutil lint/rules; do
        flags="$flags -X $is/pkg/$package.k8sVersionMajor=1 -X $is/pkg/$package.k8sVersionMinor=$KUBERNETES"
    done
    (module helm "$is v$HELM" && program "$1/helm" "$is/cmd/helm" "$flags")
}

if usable; then command -v helm; exit; fi
if [ ! -x "$folder/helm" ]; then
    prepare
    [ -x "$folder/helm" ] || into "$folder" download || into "$folder" build || fail "no helm for the tests. Any of these will do:
      1. helm $AT_LEAST or newer, of version 3, on the PATH (https://helm.sh/docs/intro/install)
      2. the same program in the cache: $folder/helm
      3. the site of helm's releases (https://get.helm.sh) within reach, and curl: it is downloaded
      4. Go $GO_AT_LEAST or newer on the PATH (https://go.dev/dl), and Go's modules within reach: it is built"
fi
echo "$folder/helm"
