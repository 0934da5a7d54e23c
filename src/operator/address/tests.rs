use super::*;
use serde_json::json;

fn reference(value: Value) -> AddressableRef {
    let mut whole = json!({"name": "billing"});
    value.as_object().expect("an object").iter().for_each(|(name, field)| whole[name] = field.clone());
    serde_json::from_value(whole).expect("a reference")
}

/// The URL of a Service `billing` in namespace `shop`, or why it has none.
fn service(given: Value, spec: Value) -> Result<String, Reason> {
    let service: Service = serde_json::from_value(json!({"metadata": {"name": "billing"}, "spec": spec})).expect("a Service");
    let address = of_service(&reference(given), "shop", &service).map_err(|problem| problem.reason)?;
    assert!(address.is_service);
    Ok(address.url.into())
}

fn ports(ports: Value) -> Value {
    json!({"clusterIP": "10.96.0.7", "ports": ports})
}

#[test]
fn a_service_has_the_url_of_its_port() {
    let one = || ports(json!([{"port": 8080, "targetPort": "http"}]));
    let two =
        || ports(json!([{"name": "web", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "https", "port": 8443}]));
    let table = [
        (json!({}), one(), Ok("http://billing.shop.svc:8080/")),
        (json!({"port": 8080}), one(), Ok("http://billing.shop.svc:8080/")),
        (json!({"port": 80}), one(), Err(Reason::PortNotFound)),
        (json!({"scheme": "HTTPS"}), one(), Ok("https://billing.shop.svc:8080/")),
        (json!({"path": "/hooks?x=1&y=2"}), one(), Ok("http://billing.shop.svc:8080/hooks?x=1&y=2")),
        (json!({}), two(), Err(Reason::PortAmbiguous)),
        (json!({"port": 80}), two(), Ok("http://billing.shop.svc/")),
        (json!({"port": 8443}), two(), Ok("https://billing.shop.svc:8443/")),
        (json!({"port": 8443, "scheme": "HTTP"}), two(), Ok("http://billing.shop.svc:8443/")),
        (json!({"port": 53}), two(), Err(Reason::PortNotFound)),
        (json!({}), ports(json!([{"port": 443}])), Ok("https://billing.shop.svc/")),
        (json!({}), ports(json!([{"port": 443, "appProtocol": "http"}])), Ok("http://billing.shop.svc:443/")),
        (json!({}), ports(json!([{"port": 80, "appProtocol": "https"}])), Ok("https://billing.shop.svc:80/")),
        (json!({}), ports(json!([{"port": 53, "protocol": "UDP"}])), Err(Reason::PortNotFound)),
        (json!({}), json!({"clusterIP": "10.96.0.7"}), Err(Reason::PortNotFound)),
    ];
    for (given, spec, expected) in table {
        assert_eq!(service(given.clone(), spec.clone()), expected.map(str::to_owned), "{given} {spec}");
    }
}

#[test]
fn a_headless_service_is_reached_at_the_port_of_its_pods() {
    let headless = |port: Value| json!({"clusterIP": "None", "ports": [port]});
    assert_eq!(service(json!({}), headless(json!({"port": 80, "targetPort": 8080}))), Ok("http://billing.shop.svc:8080/".into()));
    assert_eq!(service(json!({"port": 80}), headless(json!({"port": 80, "targetPort": 8080}))), Ok("http://billing.shop.svc:8080/".into()));
    assert_eq!(service(json!({}), headless(json!({"port": 8080}))), Ok("http://billing.shop.svc:8080/".into()));
    assert_eq!(service(json!({}), headless(json!({"port": 80, "targetPort": "http"}))), Err(Reason::RefNotAddressable));
}

#[test]
fn a_service_that_stands_for_any_name_is_refused() {
    let spec = json!({"type": "ExternalName", "externalName": "metadata.google.internal", "ports": [{"port": 80}]});
    assert_eq!(service(json!({}), spec), Err(Reason::RefNotAddressable));
}

#[test]
fn the_address_of_a_service_counts_as_in_the_cluster() {
    let url = service(json!({"path": "/hooks"}), ports(json!([{"port": 8080}]))).expect("it has one");
    assert!(rules::credentials_may_go_to(&url), "{url}");
}

#[test]
fn an_addressable_publishes_its_url() {
    let address = |url: &str| json!({"status": {"address": {"url": url}}});
    let broker = "http://ingress.knative-eventing.svc.cluster.local/shop/default";
    let table = [
        (json!({}), address(broker), Ok(broker)),
        (json!({"path": "/x?y=1"}), address(broker), Ok("http://ingress.knative-eventing.svc.cluster.local/shop/default/x?y=1")),
        (json!({"path": "/x"}), address("https://a.example/"), Ok("https://a.example/x")),
        (json!({"path": "/x?b=2"}), address("https://a.example/y/?a=1"), Ok("https://a.example/y/x?a=1&b=2")),
        (
            json!({}),
            json!({"status": {"addresses": [{"url": "https://a.example/"}, {"url": "http://b.example/"}]}}),
            Ok("https://a.example/"),
        ),
        (json!({}), json!({"status": {"address": {}, "addresses": []}}), Err(Reason::RefNotAddressable)),
        (json!({}), json!({"status": null}), Err(Reason::RefNotAddressable)),
        (json!({}), json!({}), Err(Reason::RefNotAddressable)),
        (json!({}), address("ftp://a.example/"), Err(Reason::RefNotAddressable)),
        (json!({}), address("https://user:canary@a.example/"), Err(Reason::RefNotAddressable)),
        (json!({}), address(""), Err(Reason::RefNotAddressable)),
        (json!({}), json!({"status": {"address": {"url": 7}}}), Err(Reason::RefNotAddressable)),
    ];
    for (given, object, expected) in table {
        let mut given = given;
        given["apiVersion"] = "eventing.knative.dev/v1".into();
        given["kind"] = "Broker".into();
        let found = of_addressable(&reference(given), &object);
        assert!(found.as_ref().is_err() || found.as_ref().is_ok_and(|address| !address.is_service), "{object}");
        assert!(!format!("{:?}", found.as_ref().err()).contains("canary"), "{found:?}");
        assert_eq!(found.map(|address| address.url.to_string()).map_err(|problem| problem.reason), expected.map(str::to_owned), "{object}");
    }
}

#[test]
fn a_grant_permits_what_it_names() {
    let from = |group: &str, kind: &str, namespace: &str| json!([{"group": group, "kind": kind, "namespace": namespace}]);
    let ours = || from("posthorn.dev", "EventDestination", "shop");
    let to = |group: &str, kind: &str| json!([{"group": "", "kind": "Secret"}, {"group": group, "kind": kind}]);
    let table = [
        (ours(), to("", "Service"), true),
        (ours(), json!([{"group": "", "kind": "Service", "name": "billing"}]), true),
        (ours(), json!([{"kind": "Service", "name": ""}]), true),
        (ours(), json!([{"group": "", "kind": "Service", "name": "other"}]), false),
        (ours(), to("serving.knative.dev", "Service"), false),
        (ours(), to("", "Broker"), false),
        (ours(), json!([]), false),
        (from("posthorn.dev", "EventDestination", "other"), to("", "Service"), false),
        (from("gateway.networking.k8s.io", "HTTPRoute", "shop"), to("", "Service"), false),
        (from("", "EventDestination", "shop"), to("", "Service"), false),
        (json!([]), to("", "Service"), false),
    ];
    for (from, to, permitted) in table {
        let grant: Grant = serde_json::from_value(json!({"from": from, "to": to})).expect("a grant");
        assert_eq!(grant.permits("shop", &reference(json!({}))), permitted, "{grant:?}");
    }
    let broker = reference(json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker"}));
    let grant: Grant = serde_json::from_value(json!({"from": ours(), "to": to("eventing.knative.dev", "Broker")})).expect("a grant");
    assert!(grant.permits("shop", &broker));
}
