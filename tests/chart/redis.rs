//! Redis, bundled or external.

use crate::helm::{find, found, render, render_values, try_render, try_render_file};
use serde_json::{Value, json};

/// The Secret with the address of Redis, role by role.
fn addresses(objects: &[Value]) -> Vec<Value> {
    let of = |role: &str| {
        let container = &found(objects, "Deployment", &format!("posthorn-{role}"))["spec"]["template"]["spec"]["containers"][0];
        container["env"].as_array().unwrap().iter().find(|it| it["name"] == "POSTHORN_REDIS_URL").unwrap()["valueFrom"]["secretKeyRef"]
            .clone()
    };
    let text = found(objects, "ConfigMap", "posthorn-worker-template")["data"]["template.yaml"].as_str().unwrap();
    let template: Value = serde_saphyr::from_str(text).unwrap();
    let worker = template["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"].clone();
    vec![of("ingest"), of("router"), of("operator"), worker]
}

#[test]
fn the_bundled_one_keeps_what_it_accepts() {
    let objects = render_values("");
    let config = found(&objects, "ConfigMap", "posthorn-redis")["data"]["redis.conf"].as_str().unwrap();
    for line in ["appendonly yes", "appendfsync always", "maxmemory 805306368", "maxmemory-policy noeviction", "dir /data"] {
        assert!(config.lines().any(|found| found == line), "{line}: {config}");
    }
    let set = &found(&objects, "StatefulSet", "posthorn-redis")["spec"];
    assert_eq!(set["persistentVolumeClaimRetentionPolicy"], json!({"whenDeleted": "Retain", "whenScaled": "Retain"}));
    assert_eq!(set["volumeClaimTemplates"][0]["metadata"]["name"], "data");
}

#[test]
fn the_password_is_in_the_secret_alone() {
    let objects = render(&["--set=redis.bundled.password=0123456789abcdef"]);
    for object in &objects {
        assert_eq!(object.to_string().contains("0123456789abcdef"), object["kind"] == "Secret", "{object}");
    }
    let secret = found(&objects, "Secret", "posthorn-redis");
    assert_eq!(secret["stringData"]["url"], "redis://:0123456789abcdef@posthorn-redis:6379");
    assert_eq!(secret["stringData"]["password"], "0123456789abcdef");
    assert_eq!(secret["stringData"]["redis.conf"], "requirepass 0123456789abcdef\n");
    let container = &found(&objects, "StatefulSet", "posthorn-redis")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["args"], &container["env"]), (&json!(["/etc/redis/redis.conf"]), &Value::Null), "not on the command line");
    assert_eq!(addresses(&objects), vec![json!({"name": "posthorn-redis", "key": "url"}); 4]);
}

#[test]
fn a_random_password_is_long_and_the_same_in_both_keys() {
    let objects = render_values("");
    let secret = found(&objects, "Secret", "posthorn-redis");
    let password = secret["stringData"]["password"].as_str().unwrap();
    assert_eq!(password.len(), 32);
    assert!(secret["stringData"]["url"].as_str().unwrap().contains(password));
}

#[test]
fn a_secret_of_the_admin_takes_its_place() {
    let objects = render(&["--set=redis.bundled.existingSecret=mine"]);
    assert!(find(&objects, "Secret", "posthorn-redis").is_none());
    assert_eq!(addresses(&objects), vec![json!({"name": "mine", "key": "url"}); 4]);
    let set = found(&objects, "StatefulSet", "posthorn-redis").to_string();
    assert!(set.contains(r#""secret":{"name":"mine","items":[{"key":"redis.conf","path":"password.conf"}]}"#), "{set}");
}

#[test]
fn its_memory_must_leave_room_in_the_container() {
    let refusal = try_render(&["--set=redis.bundled.maxmemory=1Gi"]).unwrap_err();
    assert!(refusal.contains("redis.bundled.maxmemory is 1Gi, more than three quarters of"), "{refusal}");
    assert!(try_render(&["--set=redis.bundled.maxmemory=3Gi,redis.bundled.resources.limits.memory=4Gi"]).is_ok());
    assert!(try_render(&["--set=redis.bundled.maxmemory=8Gi,redis.bundled.resources.limits=null"]).is_ok());
}

#[test]
fn sizes_are_read_as_kubernetes_reads_them() {
    let rendered = |size: &str, limit: &str| {
        let values = format!("redis: {{bundled: {{maxmemory: {size}, resources: {{limits: {{memory: {limit}}}}}}}}}");
        let objects = try_render_file(&values)?;
        let config = found(&objects, "ConfigMap", "posthorn-redis")["data"]["redis.conf"].as_str().unwrap();
        Ok::<String, String>(config.lines().find_map(|line| line.strip_prefix("maxmemory ")).unwrap().to_owned())
    };
    let sizes = [
        ("536870912", "1Gi", "536870912"),
        ("2147483648", "4Gi", "2147483648"),
        ("768Mi", "1073741824", "805306368"),
        ("1Gi", "1.5Gi", "1073741824"),
        ("1Gi", "2e9", "1073741824"),
        ("1Gi", "\"2e9\"", "1073741824"),
        ("1500M", "1T", "1500000000"),
        ("1Gi", "null", "1073741824"),
    ];
    for (size, limit, bytes) in sizes {
        assert_eq!(rendered(size, limit).as_deref(), Ok(bytes), "{size} of {limit}");
    }
    let refusal = rendered("805306369", "1073741824").unwrap_err();
    assert!(
        refusal.contains("maxmemory is 805306369, more than three quarters of redis.bundled.resources.limits.memory (1073741824)"),
        "{refusal}"
    );
    assert!(rendered("1536Mi", "1.5Gi").is_err() && rendered("1600M", "2e9").is_err());
}

/// The ports that ingest may reach.
fn reachable(args: &[&str]) -> Vec<u64> {
    let objects = render(args);
    let rules = found(&objects, "NetworkPolicy", "posthorn-ingest")["spec"]["egress"].as_array().unwrap().clone();
    let ports = rules.iter().flat_map(|rule| rule["ports"].as_array().unwrap());
    ports.map(|port| port["port"].as_u64().unwrap()).filter(|port| *port != 53).collect()
}

#[test]
fn the_ports_of_addresses_in_the_values_are_open() {
    assert_eq!(reachable(&[]), [6379]);
    let external = "redis.bundled.enabled=false,redis.external.url";
    assert_eq!(reachable(&[&format!("--set={external}=redis://redis.example")]), [6379]);
    assert_eq!(reachable(&[&format!("--set={external}=rediss://:6a@redis.example:6390/0")]), [6379, 6390]);
    assert_eq!(reachable(&[&format!("--set={external}=redis://r:6390"), "--set=networkPolicy.redisPorts={6390}"]), [6390]);
    let buses = ["a.redis.url=redis://[::1]:7000", "b.redis.url=redis://b:7001", "c.redis.url=redis://c:7000", "d.watermark=80%"];
    assert_eq!(
        reachable(&buses.map(|bus| format!("--set=buses.{bus}")).iter().map(String::as_str).collect::<Vec<_>>()),
        [6379, 6379, 7000, 7001]
    );
}

#[test]
fn an_external_one_is_named_by_url_or_secret() {
    let external = "--set=redis.bundled.enabled=false";
    let objects = render(&[external, "--set=redis.external.url=redis://redis.example:6379"]);
    assert_eq!(found(&objects, "Secret", "posthorn-redis")["stringData"], json!({"url": "redis://redis.example:6379"}));
    assert_eq!(addresses(&objects), vec![json!({"name": "posthorn-redis", "key": "url"}); 4]);
    for kind in ["StatefulSet", "Service", "ConfigMap", "ServiceAccount", "NetworkPolicy"] {
        assert!(find(&objects, kind, "posthorn-redis").is_none(), "{kind}");
    }
    let objects = render(&[external, "--set=redis.external.urlSecret.name=cache"]);
    assert!(find(&objects, "Secret", "posthorn-redis").is_none());
    assert_eq!(addresses(&objects), vec![json!({"name": "cache", "key": "url"}); 4]);
}

#[test]
fn each_role_may_have_a_user_of_its_own() {
    let user = |name: &str, key: &str| json!({"name": name, "key": key});
    let expected = [user("redis-ingest", "url"), user("redis-router", "url"), user("redis", "address"), user("redis-worker", "address")];
    assert_eq!(addresses(&render_values("maximal")), expected);
}

#[test]
fn there_is_one_redis_and_not_two() {
    for given in ["url=redis://redis.example", "urlSecret.name=redis", "tls.caSecret.name=ca", "users.router.urlSecret.name=router"] {
        let both = try_render(&[&format!("--set=redis.external.{given}")]).unwrap_err();
        assert!(both.contains("redis.external is given, but redis.bundled.enabled is true: set it to false"), "{given}: {both}");
    }
    let none = try_render(&["--set=redis.bundled.enabled=false"]).unwrap_err();
    assert!(none.contains("there is no Redis: give redis.external.url or redis.external.urlSecret"), "{none}");
}

#[test]
fn the_password_of_the_bundled_one_outlives_the_release_as_its_volume_does() {
    let kept =
        |args: &[&str]| found(&render(args), "Secret", "posthorn-redis")["metadata"]["annotations"]["helm.sh/resource-policy"].clone();
    assert_eq!(kept(&[]), "keep");
    let external = ["--set=redis.bundled.enabled=false", "--set=redis.external.url=redis://r:6379"];
    assert_eq!(kept(&external), Value::Null);
}
