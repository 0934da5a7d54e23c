#!/bin/sh
# An operator against a real API server on this machine, with ingest, router, Redis and a receiver, left running to be tried. Ctrl-C ends it.
#
# There is no kubelet: this script starts one worker itself and keeps its plans as the Secret of the first pool has them. Flags go to the operator.
set -eu
cd "$(dirname "$0")/.."
programs=$(hack/apiserver.sh)
cargo build --locked

# shellcheck source=hack/common.sh
. hack/common.sh
command -v openssl >/dev/null || fail "openssl is needed to make a key for the API server: install it"

# free_port: one that nobody listens on
free_port() {
    "$posthorn" receiver --listen 127.0.0.1:0 >"$home/port.log" 2>&1 &
    found=$!
    until grep -q '^listening on' "$home/port.log"; do sleep 0.1; done
    sed -n 's/^listening on http:.*:\([0-9]*\)$/\1/p' "$home/port.log"
    kill "$found"
    wait "$found" 2>/dev/null || true
}

# run NAME COMMAND...: in the background, its output in $home/NAME.log
run() {
    name=$1
    shift
    "$@" >"$home/$name.log" 2>&1 &
    pids="$! $pids"
}

say "Starting etcd, kube-apiserver and Redis"
etcd_port=$(free_port) api_port=$(free_port) redis_port=$(free_port)
openssl genrsa -out "$home/tokens.key" 2048 2>/dev/null
echo 'local,admin,admin,"system:masters"' >"$home/users.csv"
run etcd "$programs/etcd" --data-dir "$home/etcd" --log-level error --listen-client-urls "http://127.0.0.1:$etcd_port" \
    --advertise-client-urls "http://127.0.0.1:$etcd_port" --listen-peer-urls http://127.0.0.1:0
run kube-apiserver "$programs/kube-apiserver" --etcd-servers "http://127.0.0.1:$etcd_port" --secure-port "$api_port" --bind-address 127.0.0.1 \
    --cert-dir "$home/certs" --authorization-mode RBAC --token-auth-file "$home/users.csv" --service-cluster-ip-range 10.0.0.0/16 \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$home/tokens.key" \
    --service-account-signing-key-file "$home/tokens.key"
run redis "$(command -v redis-server || command -v valkey-server)" --port "$redis_port" --bind 127.0.0.1 --dir "$home" --appendonly yes --appendfsync always \
    --maxmemory 256mb --maxmemory-policy noeviction
export KUBECONFIG="$home/kubeconfig"
cat >"$KUBECONFIG" <<TEXT
apiVersion: v1
kind: Config
current-context: local
clusters: [{name: local, cluster: {server: "https://127.0.0.1:$api_port", insecure-skip-tls-verify: true}}]
users: [{name: local, user: {token: local}}]
contexts: [{name: local, context: {cluster: local, user: local, namespace: default}}]
TEXT
kubectl() { "$programs/kubectl" "$@"; }
wait_for "the API server" 60 kubectl get --raw /readyz
kubectl apply -f crds/eventdestinations.posthorn.dev.yaml >/dev/null
kubectl create namespace posthorn >/dev/null

say "Starting ingest, router, operator and a receiver"
export POSTHORN_REDIS_URL="redis://127.0.0.1:$redis_port"
listen=127.0.0.1:$(free_port) receiver=127.0.0.1:$(free_port)
run ingest "$posthorn" ingest --listen "$listen" --admin-listen 127.0.0.1:0
run router "$posthorn" router --admin-listen 127.0.0.1:0
run receiver "$posthorn" receiver --listen "$receiver"
run operator "$posthorn" operator --namespace posthorn --admin-listen 127.0.0.1:0 "$@"

# The worker of the first pool: what a kubelet does with its Secret, looked at each second.
plans=$home/plans
mkdir "$plans"
mirror_plans() {
    while sleep 1; do
        # shellcheck disable=SC2016 # the $ are of the template
        kubectl get secret posthorn-pool-0 -n posthorn -o go-template='{{range $name, $plan := .data}}{{$name}} {{$plan}}{{"\n"}}{{end}}' \
            >"$home/secret" 2>/dev/null || : >"$home/secret"
        while read -r name plan; do
            echo "$plan" | base64 -d >"$home/plan" && mv "$home/plan" "$plans/$name"
        done <"$home/secret"
        for file in "$plans"/*; do
            grep -q "^${file##*/} " "$home/secret" || rm -f "$file"
        done
    done
}
mirror_plans &
pids="$! $pids"
run worker "$posthorn" worker --plans "$plans" --admin-listen 127.0.0.1:0 --egress-allow 127.0.0.0/8

cat >"$home/destination.yaml" <<TEXT
apiVersion: posthorn.dev/v1alpha1
kind: EventDestination
metadata: {name: billing, namespace: default}
spec:
  isolation: Shared
  filters:
  - prefix: {type: com.example.order.}
  sink:
    http: {uri: "http://$receiver/hooks"}
TEXT

cat <<TEXT

The operator runs. Try in another terminal:

  export KUBECONFIG=$KUBECONFIG PATH=$programs:\$PATH
  kubectl apply -f $home/destination.yaml
  kubectl get eventdestinations -w
  curl -i http://$listen/ -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /shops/cadiz' -H 'ce-type: com.example.order.placed' \\
       -H 'content-type: application/json' -d '{"order": 1}'
  kubectl describe evd billing
  tail -f $home/receiver.log
  tail -f $home/operator.log

Ctrl-C ends it and removes all of this.
TEXT
wait
