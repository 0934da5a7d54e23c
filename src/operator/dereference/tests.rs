use super::*;
use crate::api::parse;
use crate::plan;
use crate::plan::Reason;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

const VALUE: &str = "hunter2";

/// An API server that knows some paths and writes down what it is asked.
struct Server {
    client: Client,
    references: References,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn new(answers: &[(&str, u16, Value)]) -> Server {
        let answers: HashMap<String, (u16, Value)> =
            answers.iter().map(|(path, code, answer)| ((*path).to_owned(), (*code, answer.clone()))).collect();
        let (answers, asked) = (Arc::new(answers), Arc::<Mutex<Vec<String>>>::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let log = asked.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (answers, log) = (answers.clone(), log.clone());
                let serve = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let path =
                        request.uri().path_and_query().expect("a request has a path").as_str().trim_end_matches(['?', '&']).to_owned();
                    let (code, body) = match answers.get(&path) {
                        Some((code, answer)) => (*code, answer.to_string()),
                        // an API that is not served is no object that is missing
                        None if path.starts_with("/apis/") && path.matches('/').count() == 3 => (404, "404 page not found\n".to_owned()),
                        None => (404, status(404, "NotFound").to_string()),
                    };
                    log.lock().expect("no panic while locked").push(path);
                    let response = hyper::Response::builder().status(code).header("content-type", "application/json");
                    let response = response.body(Full::new(Bytes::from(body))).expect("a response");
                    async { Ok::<_, Infallible>(response) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), serve));
            }
        });
        let mut config = kube::Config::new(format!("http://{address}").parse().expect("a URL"));
        config.default_retry = false;
        Server { client: Client::try_from(config).expect("a client"), references: References::default(), asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("no panic while locked"))
    }

    async fn dereference(&self, sink: Value) -> Result<Dereferenced, Error> {
        dereference(&self.client, &key(), &destination(sink), &self.references).await
    }

    /// Why a destination with this `ref` cannot run, or its URL.
    async fn refer(&self, reference: Value) -> Result<String, Reason> {
        let sink = json!({"ref": reference});
        let found = self.dereference(sink.clone()).await.expect("the API server answers");
        let resolved = plan::resolve(&destination(sink), "u", &found.objects, &found.surroundings).expect("its spec is right");
        resolved.plan.map(|_| resolved.route.sink_uri).map_err(|problems| problems[0].reason)
    }
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code})
}

fn key() -> Key {
    Key { namespace: "shop".into(), name: "x".into() }
}

fn destination(sink: Value) -> EventDestination {
    let metadata = json!({"name": "x", "namespace": "shop"});
    let spec = json!({"sink": {"http": sink}});
    parse(json!({"apiVersion": "posthorn.dev/v1alpha1", "kind": "EventDestination", "metadata": metadata, "spec": spec}))
        .expect("a valid spec")
}

fn metadata(namespace: &str, name: &str, version: &str) -> Value {
    json!({"namespace": namespace, "name": name, "uid": format!("uid-of-{name}"), "resourceVersion": version})
}

/// A Secret `s` with the key `k`.
fn secret(allow: bool, version: &str) -> Value {
    let mut metadata = metadata("shop", "s", version);
    metadata["labels"] = json!({"posthorn.dev/allow": allow.to_string()});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": {"k": "aHVudGVyMg=="}})
}

fn service(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(namespace, "billing", "5"), "spec": {"ports": [{"port": 8080}]}})
}

fn bearer() -> Value {
    json!({"uri": "https://a.example/h", "auth": {"bearer": {"secretKeyRef": {"name": "s", "key": "k"}}}})
}

const SECRET: &str = "/api/v1/namespaces/shop/secrets/s";
const SERVICE: &str = "/api/v1/namespaces/shop/services/billing";
const FOREIGN: &str = "/api/v1/namespaces/pay/services/billing";
const GATEWAY_V1: &str = "/apis/gateway.networking.k8s.io/v1";
const GATEWAY_V1BETA1: &str = "/apis/gateway.networking.k8s.io/v1beta1";
const GRANTS: &str = "/apis/gateway.networking.k8s.io/v1beta1/namespaces/pay/referencegrants";
const KNATIVE: &str = "/apis/eventing.knative.dev/v1";
const BROKER: &str = "/apis/eventing.knative.dev/v1/namespaces/shop/brokers/b";

fn resources(group_version: &str, kind: &str, plural: &str, namespaced: bool) -> Value {
    let resource = json!({"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list", "watch"]});
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": [resource]})
}

fn gateway() -> Value {
    resources("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "referencegrants", true)
}

fn grants(from: &str) -> Value {
    let from = json!([{"group": "posthorn.dev", "kind": "EventDestination", "namespace": from}]);
    let grant = json!({"metadata": metadata("pay", "g", "7"), "spec": {"from": from, "to": [{"group": "", "kind": "Service"}]}});
    json!({"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrantList", "metadata": {}, "items": [grant]})
}

#[test]
fn every_name_of_a_sink_is_found() {
    let key = |name: &str| json!({"secretKeyRef": {"name": name, "key": "k"}});
    let sink = destination(json!({
        "uriFrom": key("a"), "headers": [{"name": "X-A", "valueFrom": key("b")}, {"name": "X-B", "value": "v"}],
        "auth": {"basic": {"secretRef": {"name": "c"}}}, "tls": {"caBundleRef": {"name": "ca"}},
        "signing": {"secretKeyRefs": [{"name": "d", "key": "k"}, {"name": "e", "key": "k"}]},
    }));
    let wanted = Wanted::of(&sink.spec.sink);
    assert_eq!(wanted.secrets, BTreeSet::from(["a", "b", "c", "d", "e"]));
    assert_eq!(wanted.config_maps, BTreeSet::from(["ca"]));
    let sink = destination(json!({
        "ref": {"name": "billing"}, "tls": {"caBundleRef": {"name": "f", "kind": "Secret"}}, "auth": {"bearer": key("g")},
    }));
    let wanted = Wanted::of(&sink.spec.sink);
    assert_eq!((wanted.secrets, wanted.config_maps.len()), (BTreeSet::from(["f", "g"]), 0));
    assert_eq!(wanted.reference.map(|reference| reference.name.as_str()), Some("billing"));
}

#[tokio::test]
async fn a_secret_is_read_by_name_and_only_if_it_opts_in() {
    let server = Server::new(&[(SECRET, 200, secret(true, "1"))]).await;
    let found = server.dereference(bearer()).await.expect("it is there");
    assert_eq!(found.objects.secret("shop", "s").expect("it is there").data["k"], VALUE.as_bytes());
    let expected =
        Version { kind: "Secret".into(), namespace: "shop".into(), name: "s".into(), uid: "uid-of-s".into(), resource_version: "1".into() };
    assert_eq!(found.versions, [expected]);
    assert_eq!(server.asked(), [SECRET]);

    let server = Server::new(&[(SECRET, 200, secret(false, "1"))]).await;
    let found = server.dereference(bearer()).await.expect("it is there");
    let secret = found.objects.secret("shop", "s").expect("it is there");
    assert!(!secret.allowed && secret.data.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_no_failure_and_other_answers_are() {
    let server = Server::new(&[]).await;
    let found = server.dereference(bearer()).await.expect("404 is an answer");
    assert_eq!((found.objects, found.versions), (Objects::default(), vec![]));
    assert_eq!(server.refer(json!({"name": "billing"})).await, Err(Reason::RefNotFound));
    for code in [403, 500] {
        let server = Server::new(&[(SECRET, code, status(code, "No"))]).await;
        let error = server.dereference(bearer()).await.expect_err("it was not told");
        assert!(error.to_string().starts_with("get Secret shop/s: "), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_not_asked_for() {
    let server = Server::new(&[]).await;
    for name in ["../../pay/secrets/s", "s?watch=true", "s/status", "..", "S", "s%2f", "-s"] {
        let sink = json!({"uri": "https://a.example/h", "auth": {"bearer": {"secretKeyRef": {"name": name, "key": "k"}}}});
        server.dereference(sink).await.expect("it is not asked for");
        assert!(server.refer(json!({"name": name})).await.is_err());
        assert!(server.refer(json!({"name": "billing", "namespace": name})).await.is_err());
        assert!(server.refer(json!({"name": "b", "kind": "Broker", "apiVersion": format!("{name}/v1")})).await.is_err());
        assert!(server.refer(json!({"name": "b", "kind": "Broker", "apiVersion": format!("eventing.knative.dev/{name}")})).await.is_err());
    }
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_service_of_the_own_namespace_needs_no_grant() {
    let server = Server::new(&[(SERVICE, 200, service("shop"))]).await;
    for reference in [json!({"name": "billing"}), json!({"name": "billing", "namespace": "shop"})] {
        assert_eq!(server.refer(reference).await, Ok("http://billing.shop.svc:8080/".into()));
        assert_eq!(server.asked(), [SERVICE]);
    }
}

#[tokio::test]
async fn a_service_of_another_namespace_needs_a_grant() {
    let reference = || json!({"name": "billing", "namespace": "pay"});
    let granted = [(GATEWAY_V1BETA1, 200, gateway()), (GRANTS, 200, grants("shop")), (FOREIGN, 200, service("pay"))];
    let server = Server::new(&granted).await;
    assert_eq!(server.refer(reference()).await, Ok("http://billing.pay.svc:8080/".into()));
    assert_eq!(server.asked(), [GATEWAY_V1, GATEWAY_V1BETA1, GRANTS, FOREIGN]);
    assert_eq!(server.refer(reference()).await, Ok("http://billing.pay.svc:8080/".into()));
    assert_eq!(server.asked(), [GRANTS, FOREIGN], "the version is remembered");

    let server = Server::new(&[(GATEWAY_V1BETA1, 200, gateway()), (GRANTS, 200, grants("other")), (FOREIGN, 200, service("pay"))]).await;
    assert_eq!(server.refer(reference()).await, Err(Reason::RefNotPermitted));
    assert!(!server.asked().contains(&FOREIGN.to_owned()), "whether it exists is nobody's business");
}

#[tokio::test]
async fn without_the_api_of_grants_nothing_is_granted() {
    let server = Server::new(&[(FOREIGN, 200, service("pay"))]).await;
    let found = server.dereference(json!({"ref": {"name": "billing", "namespace": "pay"}})).await.expect("404 is an answer");
    let Surroundings::Cluster(Some(Err(problem))) = found.surroundings else { panic!("it was granted") };
    assert_eq!(problem.reason, Reason::RefNotPermitted);
    assert!(problem.message.contains("install the Gateway API"), "{problem}");
}

#[tokio::test]
async fn an_addressable_is_asked_for_its_url() {
    let broker = |status: Value| json!({"metadata": metadata("shop", "b", "3"), "status": status});
    let api = || (KNATIVE, 200, resources("eventing.knative.dev/v1", "Broker", "brokers", true));
    let reference = || json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "b"});
    let ready = Server::new(&[api(), (BROKER, 200, broker(json!({"address": {"url": "http://b.example/x"}})))]).await;
    assert_eq!(ready.refer(reference()).await, Ok("http://b.example/x".into()));
    let not_ready = Server::new(&[api(), (BROKER, 200, broker(json!({})))]).await;
    assert_eq!(not_ready.refer(reference()).await, Err(Reason::RefNotAddressable));
    assert_eq!(Server::new(&[api()]).await.refer(reference()).await, Err(Reason::RefNotFound));
    assert_eq!(Server::new(&[]).await.refer(reference()).await, Err(Reason::RefKindNotFound));
    let other = (KNATIVE, 200, resources("eventing.knative.dev/v1", "Trigger", "triggers", true));
    assert_eq!(Server::new(&[other]).await.refer(reference()).await, Err(Reason::RefKindNotFound));
    let forbidden = Server::new(&[api(), (BROKER, 403, status(403, "Forbidden"))]).await;
    assert_eq!(forbidden.refer(reference()).await, Err(Reason::RefForbidden));
    let everywhere = (KNATIVE, 200, resources("eventing.knative.dev/v1", "Broker", "brokers", false));
    assert_eq!(Server::new(&[everywhere]).await.refer(reference()).await, Err(Reason::RefNotAddressable));
}

#[tokio::test]
async fn a_secret_is_no_addressable() {
    let server = Server::new(&[(SECRET, 200, secret(true, "1"))]).await;
    assert_eq!(server.refer(json!({"kind": "Secret", "name": "s"})).await, Err(Reason::RefNotAddressable));
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_looked_at_wakes_when_it_changes() {
    let references = References::default();
    let look = async |server: Server, sink| dereference(&server.client, &key(), &destination(sink), &references).await;
    look(Server::new(&[(SECRET, 200, secret(true, "1"))]).await, bearer()).await.expect("it is there");
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("1")), []);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("2")), [key()]);
    look(Server::new(&[(SECRET, 500, status(500, "No"))]).await, bearer()).await.expect_err("it was not told");
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("1")), [key()], "it has not seen it");
    look(Server::new(&[]).await, json!({"ref": {"name": "billing", "namespace": "pay"}})).await.expect("404 is an answer");
    assert_eq!(references.kinds(), [Kind::ReferenceGrant].into());
    look(Server::new(&[]).await, json!({"uri": "https://a.example/"})).await.expect("nothing is asked");
    assert_eq!(references.kinds(), [].into());
}

/// The name of the plan of this sink, with the Secret in this version.
async fn plan_id(sink: Value, version: &str) -> String {
    let server = Server::new(&[(SECRET, 200, secret(true, version)), (SERVICE, 200, service("shop"))]).await;
    let destination = destination(sink);
    let found = dereference(&server.client, &key(), &destination, &References::default()).await.expect("it is there");
    let resolved = plan::resolve(&destination, "u", &found.objects, &found.surroundings).expect("its spec is right");
    found.plan_id(&destination, &resolved.plan.expect("nothing is missing"))
}

#[tokio::test]
async fn a_plan_is_named_by_what_is_in_it_and_by_the_versions_of_its_secrets() {
    let id = plan_id(bearer(), "1").await;
    assert_eq!(plan_id(bearer(), "1").await, id);
    assert_ne!(plan_id(bearer(), "2").await, id);
    let mut elsewhere = bearer();
    elsewhere["uri"] = "https://b.example/h".into();
    assert_ne!(plan_id(elsewhere, "1").await, id);
    let mut header = bearer();
    header["headers"] = json!([{"name": "X-A", "value": "a"}]);
    let with_a = plan_id(header.clone(), "1").await;
    header["headers"][0]["value"] = "b".into();
    assert_ne!(plan_id(header, "1").await, with_a);
    let to = |path: &str| json!({"ref": {"name": "billing", "path": path}});
    assert_ne!(plan_id(to("/a"), "1").await, plan_id(to("/b"), "1").await);
}

#[tokio::test]
async fn the_name_of_a_plan_is_no_digest_of_a_value() {
    let server = |value: &'static str| async move {
        let mut secret = secret(true, "1");
        secret["data"]["k"] = value.into();
        Server::new(&[(SECRET, 200, secret)]).await
    };
    let mut ids = Vec::new();
    for value in ["YQ==", "Yg=="] {
        let found = server(value).await.dereference(bearer()).await.expect("it is there");
        let resolved = plan::resolve(&destination(bearer()), "u", &found.objects, &found.surroundings).expect("its spec is right");
        ids.push(found.plan_id(&destination(bearer()), &resolved.plan.expect("nothing is missing")));
    }
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn secrets_of_a_token_endpoint_and_of_a_client_certificate_are_fetched() {
    let path = |name: &str| format!("/api/v1/namespaces/shop/secrets/{name}");
    let server = Server::new(&[]).await;
    let oauth2 = json!({"tokenURI": "https://id.example/", "clientID": "a", "clientSecretKeyRef": {"name": "client", "key": "k"}});
    let sink = json!({"uri": "https://a.example/h", "auth": {"oauth2": oauth2}, "tls": {"clientCertificateRef": {"name": "cert"}}});
    server.dereference(sink).await.expect("it is told that there are none");
    assert_eq!(server.asked(), [path("cert"), path("client")]);
}
