#!/bin/sh
# Uninstalls Posthorn from the cluster that KUBECONFIG names, in the order in which nothing is left hanging: destinations, release, definition.
set -eu

usage() {
    cat >&2 <<'TEXT'
usage: uninstall.sh [--namespace NAME] [--release NAME] [--delete-destinations [--timeout TIME] [--force]] [--delete-data]

Uninstalls the Helm release (default: posthorn in namespace posthorn-system), and what the operator made. While there are destinations it does
nothing, unless it is told what is to become of them:

  --delete-destinations   deletes every EventDestination of the cluster, with the events that wait and the dead letters; then the definition too
  --timeout TIME          how long to wait for that (15m)
  --force                 takes the finalizer off those that are still there then, for where no operator runs any more: what Redis holds of them
                          stays there
  --delete-data           deletes the volume of the bundled Redis, and the Secret with its password
TEXT
    exit 1
}

namespace=posthorn-system release=posthorn destinations=keep patience=15m force=no data=keep
while [ $# -gt 0 ]; do
    case $1 in
        --namespace) [ $# -gt 1 ] || usage; namespace=$2; shift ;;
        --release) [ $# -gt 1 ] || usage; release=$2; shift ;;
        --delete-destinations) destinations=delete ;;
        --timeout) [ $# -gt 1 ] || usage; patience=$2; shift ;;
        --force) force=yes ;;
        --delete-data) data=delete ;;
        *) usage ;;
    esac
    shift
done

crd=eventdestinations.posthorn.dev
say() { printf '%s\n' "$*"; }

# remaining: "namespace name" of each destination, one a line; nothing without the definition
remaining() {
    definition=$(kubectl get crd "$crd" --ignore-not-found -o name) || { say "It cannot be told whether there are destinations: see above" >&2; exit 1; }
    [ -n "$definition" ] || return 0
    kubectl get "$crd" -A -o 'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}'
}

found=$(remaining)
if [ -n "$found" ]; then
    if [ "$destinations" = keep ]; then
        say "There are destinations, and only a running operator can delete one in good order:" "$found"
        say "Delete them first, or say --delete-destinations. To uninstall and keep them for the next installation: helm uninstall $release -n $namespace"
        exit 1
    fi
    say "Deleting destinations; one with deletionPolicy Drain is delivered first"
    if ! kubectl delete "$crd" --all -A --timeout="$patience"; then
        [ "$force" = yes ] || { say "They are still there. Does the operator run? kubectl -n $namespace get deploy posthorn-operator; else say --force"; exit 1; }
        remaining | while read -r in name; do
            kubectl patch "$crd" "$name" -n "$in" --type merge -p '{"metadata": {"finalizers": null}}'
        done
    fi
fi

if helm status "$release" -n "$namespace" >/dev/null 2>&1; then
    helm uninstall "$release" -n "$namespace" --wait
else
    say "There is no release $release in namespace $namespace: what was installed by kubectl is to be deleted by kubectl delete -k"
fi

say "Deleting what the operator and the test made"
kubectl delete deployments,secrets -n "$namespace" -l app.kubernetes.io/managed-by=posthorn-operator
kubectl delete lease posthorn-operator -n "$namespace" --ignore-not-found
kubectl delete pods,services -n "$namespace" -l app.kubernetes.io/name=posthorn,app.kubernetes.io/component=test
[ "$destinations" = keep ] || kubectl delete crd "$crd" --ignore-not-found
if [ "$data" = delete ]; then
    kubectl delete pvc,secrets -n "$namespace" -l app.kubernetes.io/name=posthorn,app.kubernetes.io/component=redis
else
    say "The volume of the bundled Redis, if there is one, and its password are kept: kubectl -n $namespace get pvc/data-posthorn-redis-0 secret/posthorn-redis"
fi
