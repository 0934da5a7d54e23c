#!/bin/sh
# Installs the chart into the cluster that KUBECONFIG names, proves on it what users are promised, and removes everything again.
#
#   hack/e2e.sh [-o json] [TEST...]     all tests, or those whose name contains one of these words
#
#   IMAGE=posthorn:dev        the image under test; the cluster must have it already (`kind load docker-image`, a registry)
#   IMAGE_NEXT=               another tag to upgrade to; without it the same image rolls out with changed values
#   E2E_NAMESPACE=posthorn-system
#   E2E_VALUES=               a file with more values for the chart, such as the Redis image that this cluster has
#   E2E_REPORT=target/e2e     where the summary goes, and what the namespaces held when a test failed
#   E2E_KEEP=                 not empty: leave everything in the cluster, to be looked at
set -eu
cd "$(dirname "$0")/.."

export IMAGE="${IMAGE:-posthorn:dev}" IMAGE_NEXT="${IMAGE_NEXT:-}" E2E_NAMESPACE="${E2E_NAMESPACE:-posthorn-system}" E2E_KEEP="${E2E_KEEP:-}"
export E2E_REPORT="${E2E_REPORT:-$PWD/target/e2e}"
crd=eventdestinations.posthorn.dev
installed=

fail() { printf 'e2e: %s\n' "$*" >&2; exit 1; }
say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }

output=table
while getopts o: option; do
    case $option in
        o) output=$OPTARG ;;
        *) fail "usage: hack/e2e.sh [-o json] [TEST...]" ;;
    esac
done
shift $((OPTIND - 1))
case $output in table | json) ;; *) fail "-o $output: json is the only other format" ;; esac

# Whatever hangs is forced, for the cluster is to be left as it was found.
clean_up() {
    status=$?
    trap '' INT TERM
    [ -n "$installed" ] && [ -z "$E2E_KEEP" ] || exit "$status"
    say "Removing everything"
    hack/uninstall.sh --namespace "$E2E_NAMESPACE" --delete-destinations --force --delete-data >"$E2E_REPORT/uninstall.log" 2>&1 ||
        echo "e2e: the release is left: $E2E_REPORT/uninstall.log" >&2
    kubectl delete namespace --selector posthorn.dev/e2e --timeout=120s >/dev/null 2>&1 || echo "e2e: namespaces of tests are left" >&2
    kubectl delete namespace "$E2E_NAMESPACE" --ignore-not-found --timeout=120s >/dev/null 2>&1 || echo "e2e: the namespace $E2E_NAMESPACE is left" >&2
    exit "$status"
}

command -v kubectl >/dev/null || fail "kubectl is needed: put it on the PATH"
helm=$(hack/helm.sh)
export PATH="${helm%/*}:$PATH"
server=$(kubectl version 2>/dev/null | sed -n 's/^Server Version: //p')
[ -n "$server" ] || fail "no cluster answers: set KUBECONFIG to one that may be tried on"
! kubectl get crd "$crd" >/dev/null 2>&1 || fail "Posthorn is in this cluster already ($crd): the tests want one without it"
! kubectl get namespace "$E2E_NAMESPACE" >/dev/null 2>&1 || fail "the namespace $E2E_NAMESPACE is there already: set E2E_NAMESPACE to another one"

say "Building the tests"
cargo test --locked --test e2e --no-run

# what an earlier run left, and nothing else that may be in a folder of somebody's choice
mkdir -p "$E2E_REPORT"
rm -f "$E2E_REPORT"/table "$E2E_REPORT"/*.json "$E2E_REPORT"/*.log
rm -rf "$E2E_REPORT"/failed
say "Installing $IMAGE on Kubernetes $server, context $(kubectl config current-context 2>/dev/null || echo none)"
begun=$(date +%s)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
installed=yes
helm install posthorn charts/posthorn -n "$E2E_NAMESPACE" --create-namespace --wait --timeout 5m \
    --set-string "image.repository=${IMAGE%:*}" --set-string "image.tag=${IMAGE##*:}" ${E2E_VALUES:+--values "$E2E_VALUES"} >"$E2E_REPORT/install.log" 2>&1 || {
    cat "$E2E_REPORT/install.log" >&2
    kubectl get pods -n "$E2E_NAMESPACE" -o wide >&2
    kubectl get events -n "$E2E_NAMESPACE" --sort-by=.lastTimestamp >&2
    fail "the chart cannot be installed"
}
seconds=$(($(date +%s) - begun))
printf '%-26s  %6s  %7s  %7s  %s\n' SCENARIO EVENTS REPEATS SECONDS FIGURES "helm install" 0 0 "$seconds.0" "" >"$E2E_REPORT/table"
printf '{"scenario":"helm install","events":0,"repeats":0,"seconds":%s,"figures":{}}\n' "$seconds" >"$E2E_REPORT/lines.json"

# tests NAME...: runs them one after the other, whatever becomes of the one before
tests() { cargo test --quiet --locked --test e2e -- --ignored --test-threads=1 --nocapture "$@" >&2; }

status=0
if [ $# -gt 0 ]; then
    tests "$@" || status=1
else
    tests --skip removal:: || status=1
    # last, for nothing is there after it
    tests removal:: || status=1
fi

if [ "$(wc -l <"$E2E_REPORT/lines.json")" -lt 2 ]; then
    echo "e2e: no test has these words in its name: $*" >&2
    status=1
fi

say "Summary"
if [ "$output" = json ]; then
    ok=true
    [ "$status" -eq 0 ] || ok=false
    printf '{"ok":%s,"kubernetes":"%s","image":"%s","scenarios":[%s]}\n' "$ok" "$server" "$IMAGE" "$(paste -s -d , "$E2E_REPORT/lines.json")" |
        tee "$E2E_REPORT/summary.json"
else
    cat "$E2E_REPORT/table"
fi
[ "$status" -eq 0 ] || fail "failed; what the namespaces held is in $E2E_REPORT"
echo "E2E ok" >&2
