//! What the operator may do: one list of rules, each with the calls that need it. `posthorn generate` makes the manifests and `docs/rbac.md` of it.
//! Pure: plain data, which `generate` may import.
//!
//! No rule has a wildcard. Two are wider than one would like, and say why: Secrets and the objects that publish an address.

/// ServiceAccount, ClusterRole and Role of the operator.
pub const OPERATOR: &str = "posthorn-operator";
/// ServiceAccount of the workers; it may do nothing, and its token is mounted nowhere.
pub const WORKER: &str = "posthorn-worker";
/// ClusterRole that collects what others allow: to read kinds of objects that publish `status.address.url`.
pub const ADDRESSABLES: &str = "posthorn-operator-addressables";
/// ClusterRoles with one of these labels, with the value `true`, are collected. The first is what Knative and everyone who works with it has.
pub const ADDRESSABLE_LABELS: [&str; 2] = ["duck.knative.dev/addressable", "posthorn.dev/addressable"];
/// The release namespace of the generated manifests.
pub const NAMESPACE: &str = "posthorn-system";

/// Where a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In all namespaces, or for what is in none.
    Cluster,
    /// In the release namespace.
    Release,
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it holds.
    pub scope: Scope,
    /// API group; empty for the core.
    pub group: &'static str,
    /// Resource, and subresource after a slash.
    pub resource: &'static str,
    /// The only objects that it is about; empty for all. A list, a watch or a create cannot be bound to names.
    pub names: &'static [&'static str],
    /// What may be done.
    pub verbs: &'static [&'static str],
    /// Which calls need it, and why.
    pub why: &'static str,
}

const fn cluster(group: &'static str, resource: &'static str, verbs: &'static [&'static str], why: &'static str) -> Rule {
    Rule { scope: Scope::Cluster, group, resource, names: &[], verbs, why }
}

const fn release(group: &'static str, resource: &'static str, verbs: &'static [&'static str], why: &'static str) -> Rule {
    Rule { scope: Scope::Release, group, resource, names: &[], verbs, why }
}

/// Every rule.
pub const RULES: &[Rule] = &[
    cluster(
        "posthorn.dev",
        "eventdestinations",
        &["get", "list", "watch", "patch"],
        "watches destinations; gets one before what belongs to it is swept; patches its finalizer",
    ),
    cluster("posthorn.dev", "eventdestinations/status", &["patch"], "writes the status"),
    cluster(
        "",
        "secrets",
        &["get", "list", "watch"],
        "gets the one Secret that a destination names, if it opted in; lists and watches metadata only, to see a change. Kubernetes cannot allow \
         metadata without contents: that no contents are listed is kept by a test, which reads the API server's audit log",
    ),
    cluster("", "configmaps", &["get", "list", "watch"], "gets the CA bundle that a destination names; watches metadata to see a change"),
    cluster(
        "",
        "services",
        &["get", "list", "watch"],
        "gets the Service that a destination names, for its address; watches metadata to see a change",
    ),
    cluster(
        "gateway.networking.k8s.io",
        "referencegrants",
        &["list", "watch"],
        "lists the grants of a namespace that a destination refers to from another; watches metadata to see one come and go",
    ),
    cluster("events.k8s.io", "events", &["create", "patch"], "writes Events of destinations; a repeated one is a patch of its count"),
    Rule {
        scope: Scope::Cluster,
        group: "apiextensions.k8s.io",
        resource: "customresourcedefinitions",
        names: &["eventdestinations.posthorn.dev"],
        verbs: &["get"],
        why: "waits at its start until the resource is established",
    },
    Rule {
        scope: Scope::Cluster,
        group: "",
        resource: "namespaces",
        names: &["kube-system"],
        verbs: &["get"],
        why: "takes its UID as the name of the cluster: what another cluster keeps in the same Redis is not an orphan",
    },
    release(
        "",
        "secrets",
        &["get", "list", "watch", "create", "patch", "delete"],
        "applies the Secrets that hold plans and deletes them; gets those of a pool at its start; lists metadata for orphans",
    ),
    release(
        "apps",
        "deployments",
        &["list", "watch", "create", "patch", "delete"],
        "applies the workers, watches how they do, repairs and deletes them",
    ),
    release(
        "",
        "pods",
        &["list", "patch"],
        "lists the pods of a worker, to say why none runs and to annotate them, so that their kubelet looks at a changed plan at once",
    ),
    release("coordination.k8s.io", "leases", &["create"], "creates the lease by which one operator leads"),
    Rule {
        scope: Scope::Release,
        group: "coordination.k8s.io",
        resource: "leases",
        names: &[OPERATOR],
        verbs: &["get", "update"],
        why: "looks whose the lease is; takes, renews and releases it",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::leader;
    use std::collections::BTreeSet;

    #[test]
    fn no_rule_has_a_wildcard() {
        for rule in RULES {
            let words = [rule.group, rule.resource].into_iter().chain(rule.names.iter().copied()).chain(rule.verbs.iter().copied());
            assert!(words.into_iter().all(|word| !word.contains('*')), "{rule:?}");
        }
    }

    #[test]
    fn no_rule_lets_it_become_more() {
        let forbidden = ["escalate", "bind", "impersonate", "deletecollection"];
        for rule in RULES {
            assert!(rule.verbs.iter().all(|verb| !forbidden.contains(verb)), "{rule:?}");
            assert!(!rule.resource.starts_with("serviceaccounts") && rule.group != "rbac.authorization.k8s.io", "{rule:?}");
            assert!(!["pods/exec", "pods/attach", "pods/portforward"].contains(&rule.resource), "{rule:?}");
        }
    }

    #[test]
    fn what_it_writes_outside_of_the_release_namespace_is_its_own_resource_and_events() {
        let written = RULES.iter().filter(|rule| rule.scope == Scope::Cluster);
        let written = written.filter(|rule| rule.verbs.iter().any(|verb| !["get", "list", "watch"].contains(verb)));
        let written: Vec<_> = written.map(|rule| rule.resource).collect();
        assert_eq!(written, ["eventdestinations", "eventdestinations/status", "events"]);
    }

    #[test]
    fn each_rule_says_why_and_is_there_once() {
        let mut seen = BTreeSet::new();
        for rule in RULES {
            assert!(rule.why.len() > 15 && !rule.verbs.is_empty(), "{rule:?}");
            for verb in rule.verbs {
                assert!(seen.insert((rule.scope as u8, rule.group, rule.resource, *verb)), "{rule:?}: {verb}");
            }
        }
    }

    #[test]
    fn the_lease_is_the_one_that_may_be_taken() {
        assert_eq!(leader::NAME, OPERATOR);
    }
}
