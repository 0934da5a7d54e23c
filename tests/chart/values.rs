//! `values.schema.json` refuses what is wrong, and says where.

use crate::helm::{read, root, try_render, try_render_file};

/// What is set, and what the message must have in it.
const REFUSED: &[(&str, &[&str])] = &[
    // names that do not exist
    ("replicas=3", &["replicas"]),
    ("image.name=posthorn", &["/image", "name"]),
    ("ingest.replicaCount=3", &["/ingest", "replicaCount"]),
    ("ingest.autoscaling.min=3", &["/ingest/autoscaling", "min"]),
    ("ingest.pdb.minAvailable=1", &["/ingest/pdb", "minAvailable"]),
    ("ingest.tls.secret=cert", &["/ingest/tls", "secret"]),
    ("router.autoscaling.enabled=true", &["/router", "autoscaling"]),
    ("operator.tls=x", &["/operator", "tls"]),
    ("worker.replicas=2", &["/worker", "replicas"]),
    ("worker.isolation=Shared", &["/worker", "isolation"]),
    ("worker.egress.permit={10.0.0.0/8}", &["/worker/egress", "permit"]),
    ("worker.template.containers={}", &["/worker/template", "containers"]),
    ("redis.enabled=false", &["/redis", "enabled"]),
    ("redis.bundled.maxMemory=1Gi", &["/redis/bundled", "maxMemory"]),
    ("redis.bundled.persistence.storageClass=fast", &["/redis/bundled/persistence", "storageClass"]),
    ("redis.external.host=redis", &["/redis/external", "host"]),
    ("redis.external.users.admin.urlSecret.name=x", &["/redis/external/users", "admin"]),
    ("redis.external.users.ingest.url=redis://x", &["/redis/external/users/ingest", "url"]),
    ("networkPolicy.ports={1}", &["/networkPolicy", "ports"]),
    ("monitoring.enabled=true", &["/monitoring", "enabled"]),
    ("monitoring.podMonitor.namespace=x", &["/monitoring/podMonitor", "namespace"]),
    ("crds.enabled=true", &["/crds", "enabled"]),
    ("buses.default.retension.age=1h", &["/buses/default", "retension"]),
    ("buses.default.durability.sync=Always", &["/buses/default/durability", "sync"]),
    // values that cannot be
    ("image.pullPolicy=Sometimes", &["/image/pullPolicy", "IfNotPresent"]),
    ("image.digest=sha256:1", &["/image/digest"]),
    ("ingest.replicas=-1", &["/ingest/replicas", "minimum"]),
    ("ingest.replicas=two", &["/ingest/replicas", "integer"]),
    ("ingest.autoscaling.enabled=yes-please", &["/ingest/autoscaling/enabled", "boolean"]),
    ("ingest.autoscaling.minReplicas=0", &["/ingest/autoscaling/minReplicas", "minimum"]),
    ("ingest.pdb.maxUnavailable=half", &["/ingest/pdb/maxUnavailable"]),
    ("ingest.service.type=Public", &["/ingest/service/type", "LoadBalancer"]),
    ("ingest.service.port=70000", &["/ingest/service/port"]),
    ("ingest.service.annotations.a=1", &["/ingest/service/annotations/a", "string"]),
    ("ingest.ingress.enabled=true", &["/ingest/ingress/hosts", "minItems"]),
    ("ingest.httpRoute.enabled=true", &["/ingest/httpRoute/parentRefs", "minItems"]),
    ("ingest.gracePeriodSeconds=25s", &["/ingest/gracePeriodSeconds", "integer"]),
    ("ingest.extraEnv[0].value=x", &["/ingest/extraEnv/0", "name"]),
    ("ingest.podLabels.a=true", &["/ingest/podLabels/a", "string"]),
    ("operator.statusWrites=0", &["/operator/statusWrites", "minimum"]),
    ("worker.defaultIsolation=shared", &["/worker/defaultIsolation", "Shared"]),
    ("worker.allowedIsolation={}", &["/worker/allowedIsolation"]),
    ("worker.egress.allow={10.0.0.0}", &["/worker/egress/allow/0", "pattern"]),
    ("worker.haltProbe=5", &["/worker/haltProbe"]),
    ("redis.bundled.maxmemory=1GB", &["/redis/bundled/maxmemory"]),
    ("redis.bundled.password=short", &["/redis/bundled/password", "pattern"]),
    ("redis.bundled.command={}", &["/redis/bundled/command"]),
    ("redis.external.url=redis.example:6379", &["/redis/external/url", "pattern"]),
    ("log.format=xml", &["/log/format", "json"]),
    ("listenAddress=localhost", &["/listenAddress", "pattern"]),
    ("listenAddress=::", &["/listenAddress", "pattern"]),
    ("producerSecrets={a,a}", &["/producerSecrets"]),
    ("networkPolicy.redisPorts={}", &["/networkPolicy/redisPorts"]),
    ("buses.Default.watermark=80%", &["propertyName", "Default"]),
    ("buses.default.watermark=80", &["/buses/default/watermark", "string"]),
    ("buses.default.whenFull=Drop", &["/buses/default/whenFull", "Shed"]),
    ("buses.default.dedupeWindow=10", &["/buses/default/dedupeWindow"]),
    ("buses.default.durability.replicas=17", &["/buses/default/durability/replicas", "maximum"]),
    ("buses.default.producers[0].name=a", &["/buses/default/producers/0", "bearerTokenFile"]),
    (
        "buses.default.producers[0].name=a,buses.default.producers[0].bearerTokenFile=f,buses.default.producers[0].rate.per=1s",
        &["/buses/default/producers/0/rate", "requests"],
    ),
    ("buses.default.redis.url=redis://a,buses.default.redis.urlFile=b", &["/buses/default/redis", "oneOf"]),
    ("buses.default.redis.caFile=b", &["/buses/default/redis", "url"]),
    ("monitoring.podMonitor.interval=often", &["/monitoring/podMonitor/interval", "pattern"]),
    ("monitoring.prometheusRule.disabled={BacklogOld}", &["/monitoring/prometheusRule/disabled/0", "pattern"]),
    ("monitoring.dashboard.labels.a=1", &["/monitoring/dashboard/labels/a", "string"]),
    ("test.type=x", &["/test", "type"]),
    // the chart's own names, which would be there twice
    (r"ingest.podLabels.app\.kubernetes\.io/component=x", &["propertyName", "app.kubernetes.io/component"]),
    (r"worker.podLabels.app\.kubernetes\.io/instance=x", &["propertyName", "app.kubernetes.io/instance"]),
    (r"redis.bundled.podLabels.app\.kubernetes\.io/name=x", &["propertyName", "app.kubernetes.io/name"]),
    (r"monitoring.podMonitor.labels.helm\.sh/chart=x", &["propertyName", "helm.sh/chart"]),
    ("operator.podAnnotations.checksum/config=x", &["propertyName", "checksum/config"]),
    ("redis.bundled.podAnnotations.checksum/config=x", &["propertyName", "checksum/config"]),
    // values that contradict each other
    ("worker.allowedIsolation={Dedicated}", &["worker.defaultIsolation is Shared, which is not among worker.allowedIsolation (Dedicated)"]),
    ("ingest.autoscaling.maxReplicas=1", &["ingest.autoscaling.minReplicas is 2, more than ingest.autoscaling.maxReplicas (1)"]),
    ("enabled=1", &["/enabled", "boolean"]),
];

#[test]
fn wrong_values_are_refused_with_their_place() {
    let mut wrong = Vec::new();
    for (values, words) in REFUSED {
        match try_render(&[&format!("--set={values}")]) {
            Ok(_) => wrong.push(format!("{values}: accepted")),
            Err(said) => {
                wrong.extend(words.iter().filter(|word| !said.contains(**word)).map(|word| format!("{values}: no {word} in: {said}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_value_may_be_taken_away() {
    for path in
        ["buses", "redis.bundled.resources", "redis.bundled.resources.limits", "redis.external.users", "worker.template", "ingest.pdb"]
    {
        assert_eq!(try_render(&[&format!("--set={path}=null")]).err(), None, "{path}");
    }
    // the condition of a chart that has this one as a dependency, which Helm hands on
    assert_eq!(try_render(&["--set=enabled=true"]).err(), None);
}

/// A block of YAML that begins with `# values` is a file of values.
#[test]
fn values_in_the_documentation_are_accepted() {
    let mut count = 0;
    for page in root()
        .join("docs")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
    {
        let text = read(page.strip_prefix(root()).unwrap().to_str().unwrap());
        for block in
            text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next()).filter(|block| block.starts_with("# values"))
        {
            count += 1;
            assert_eq!(try_render_file(block).err(), None, "{}: {block}", page.display());
        }
    }
    assert!(count > 4, "{count}");
}
