//! The operator's roles, judged by a real API server.

use crate::support::Cluster;
use crate::support::eventually::{eventually, holds};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use posthorn::generate::rbac;
use posthorn::operator::rbac::{OPERATOR, RULES, Rule, Scope, WORKER};

const RELEASE: &str = "release";

/// Whether a ServiceAccount of the release namespace may do that, in a namespace or (empty) in all.
async fn may(client: &kube::Client, account: &str, verb: &str, rule: &Rule, namespace: &str) -> bool {
    let (resource, subresource) = rule.resource.split_once('/').map_or((rule.resource, None), |(resource, sub)| (resource, Some(sub)));
    let attributes = ResourceAttributes {
        group: Some(rule.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(ToOwned::to_owned),
        name: rule.names.first().map(ToString::to_string),
        namespace: Some(namespace.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let user = Some(format!("system:serviceaccount:{RELEASE}:{account}"));
    let spec = SubjectAccessReviewSpec { user, resource_attributes: Some(attributes), ..SubjectAccessReviewSpec::default() };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let answer = Api::<SubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await.unwrap();
    answer.status.is_some_and(|status| status.allowed)
}

#[tokio::test]
async fn the_operator_may_do_what_its_rules_say_and_no_more() {
    // The names of what is in no namespace are taken but once.
    let cluster = Cluster::bare().await;
    let client = cluster.client().await;
    cluster.create_namespace(RELEASE);
    for object in rbac::objects(RELEASE) {
        cluster.create(&object);
    }
    for rule in RULES {
        let namespace = if rule.scope == Scope::Release { RELEASE } else { "" };
        for verb in rule.verbs {
            eventually(&format!("{verb} {} is allowed", rule.resource), async || {
                holds(may(&client, OPERATOR, verb, rule, namespace).await, || "it is refused".into())
            })
            .await;
            assert!(!may(&client, WORKER, verb, rule, RELEASE).await, "a worker may {verb} {}", rule.resource);
        }
        for verb in ["create", "update", "patch", "delete", "deletecollection"].iter().filter(|verb| !rule.verbs.contains(verb)) {
            assert!(!may(&client, OPERATOR, verb, rule, "").await, "{verb} {}", rule.resource);
        }
        if rule.scope == Scope::Release {
            for verb in ["create", "update", "patch", "delete"] {
                assert!(!may(&client, OPERATOR, verb, rule, "default").await, "{verb} {} of another namespace", rule.resource);
            }
        }
    }
}
