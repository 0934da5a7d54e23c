//! `posthorn.yaml`, as the chart makes it.

use crate::helm::{found, render, render_values};
use posthorn::settings::{Fsync, RedisAddress, Settings, Size, WhenFull};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn settings(objects: &[Value]) -> Settings {
    let text = found(objects, "ConfigMap", "posthorn-config")["data"]["posthorn.yaml"].as_str().unwrap();
    Settings::parse(text, Path::new("/etc/posthorn")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn without_values_it_is_the_default() {
    assert_eq!(settings(&render_values("")), Settings::default());
}

#[test]
fn every_value_of_a_bus_arrives() {
    let settings = settings(&render_values("maximal"));
    let bus = &settings.buses["default"];
    assert_eq!((bus.retention_bytes, bus.backlog_quota, bus.watermark), (Size::Percent(20), Size::Percent(30), 80));
    assert_eq!((bus.when_full, bus.max_event_bytes), (WhenFull::Refuse, 4 << 20));
    assert_eq!((bus.durability.fsync, bus.durability.replicas), (Fsync::EverySecond, 1));
    let payments = &settings.buses["payments"];
    assert_eq!(payments.producers.len(), 2);
}

/// The folders that its relative paths lead to.
#[test]
fn files_of_secrets_are_where_it_looks_for_them() {
    let objects = render_values("maximal");
    let settings = settings(&objects);
    let payments = &settings.buses["payments"];
    let tokens: Vec<&PathBuf> = payments
        .producers
        .iter()
        .filter_map(|producer| producer.bearer_token_file.as_ref().or(producer.signing_secret_file.as_ref()))
        .collect();
    let own = payments.redis.as_ref().unwrap();
    let RedisAddress::File(address) = &own.address else { panic!("{own:?}") };
    assert_eq!(own.ca_file.as_deref().and_then(Path::parent), address.parent());
    let mounts = |name: &str| -> Vec<PathBuf> {
        let container = &found(&objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0];
        container["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["mountPath"].as_str().unwrap().into()).collect()
    };
    for token in tokens {
        assert!(mounts("posthorn-ingest").iter().any(|mount| Some(mount.as_path()) == token.parent()), "{token:?}");
    }
    for role in ["posthorn-ingest", "posthorn-router", "posthorn-operator"] {
        assert!(mounts(role).iter().any(|mount| Some(mount.as_path()) == address.parent()), "{role}");
        assert!(mounts(role).contains(&PathBuf::from("/etc/posthorn/posthorn.yaml")), "{role}");
    }
    let template = found(&objects, "ConfigMap", "posthorn-worker-template")["data"]["template.yaml"].as_str().unwrap();
    assert!(template.contains(&format!("mountPath: {}\n", address.parent().unwrap().display())), "{template}");
}

#[test]
fn large_numbers_stay_as_they_are() {
    let objects = render(&["--set=buses.default.maxEventBytes=16777216,buses.default.backlogQuota=1073741824"]);
    let bus = settings(&objects).buses["default"].clone();
    assert_eq!((bus.max_event_bytes, bus.backlog_quota), (16 << 20, Size::Bytes(1 << 30)));
}
