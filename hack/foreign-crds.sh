#!/bin/sh
# Prints the files of the CustomResourceDefinitions of other projects that manifests of ours use, one a line. With NAME: only those whose
# name has that in it (`hack/foreign-crds.sh referencegrants`).
#
# They are taken from the cache ($POSTHORN_CACHE, ~/.cache/posthorn). What it lacks is fetched once from the projects' repositories, else taken
# from their Go modules of the same version.
set -eu
cd "$(dirname "$0")/.."
me=foreign-crds
# shellcheck source=hack/programs.sh
. hack/programs.sh

# MODULE VERSION REPOSITORY FILE
files() {
    for kind in referencegrants httproutes; do
        echo sigs.k8s.io/gateway-api v1.4.0 kubernetes-sigs/gateway-api "config/crd/standard/gateway.networking.k8s.io_$kind.yaml"
    done
    for kind in podmonitors prometheusrules servicemonitors; do
        echo github.com/prometheus-operator/prometheus-operator v0.85.0 prometheus-operator/prometheus-operator \
            "example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml"
    done
    echo github.com/kedacore/keda/v2 v2.18.0 kedacore/keda config/crd/bases/keda.sh_scaledobjects.yaml
}

# of_module FILE MODULE@VERSION PATH: the file as the Go module has it
of_module() {
    need_go || return 1
    module_folder=$(cd "$work" && go mod download -json "$2" | sed -n 's/.*"Dir": "\(.*\)",.*/\1/p')
    [ -n "$module_folder" ] && cp "$module_folder/$3" "$1" && chmod u+w "$1"
}

# get FILE MODULE VERSION REPOSITORY PATH
get() {
    say "fetching ${5##*/} of $4 $3"
    fetch "https://github.com/$4/raw/$3/$5" 20 "$1" || of_module "$1" "$2@$3" "$5"
}

# need FILE MODULE VERSION REPOSITORY PATH: in the cache from now on
need() {
    if [ ! -f "$1" ]; then
        [ -n "${work:-}" ] || prepare
        mkdir -p "${1%/*}"
        [ -f "$1" ] || { get "$1.new" "$2" "$3" "$4" "$5" && mv "$1.new" "$1"; } || fail "${5##*/} cannot be had: either make
           https://github.com/$4 reachable, or install Go $GO_AT_LEAST (https://go.dev/dl), or put the file there: $1"
    fi
}

files | grep -e "${1:-.}" >/dev/null || fail "there is no file with $1 in its name; usage: hack/foreign-crds.sh [NAME]"
for line in $(files | grep -e "${1:-.}" | tr ' ' ','); do
    IFS=, read -r module version repository path <<END
$line
END
    file=$cache/${repository##*/}-$version/${path##*/}
    need "$file" "$module" "$version" "$repository" "$path"
    echo "$file"
done
