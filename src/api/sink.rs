//! `spec.sink` of an `EventDestination`. The doc comments are what `kubectl explain` prints.

use super::values::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where events go: exactly one kind of sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sink {
    /// Delivers by HTTP POST, as the CloudEvents HTTP binding and Standard Webhooks describe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSink>,
}

/// An HTTP receiver.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpSink {
    /// Absolute http or https URL. Shown in status; a URL that is itself a secret belongs in uriFrom.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub uri: Option<String>,
    /// Takes the URL from a Secret, for receivers whose URL is the credential. Status shows only its scheme and host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri_from: Option<UriSource>,
    /// An object of this cluster that can be addressed: a Service, or any kind that publishes status.address.url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<AddressableRef>,
    /// How an event is put into a request. Binary: attributes as ce-* headers, data as the body. Structured: one JSON object. Batch: a JSON
    /// array of events, limited by batch. Default: Binary.
    pub format: Format,
    /// Limits of one batch. A batch is accepted or refused as a whole, and holds events of one lane only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// Headers added to each request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<Header>,
    /// Credentials sent with each request. For a header such as X-Api-Key use headers with valueFrom; for client certificates use tls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// TLS to the receiver. Without it the system's certificate authorities are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Signs each attempt as Standard Webhooks describes (webhook-id, webhook-timestamp, webhook-signature).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
    /// Longest Retry-After of a receiver that is honoured (on 429 and 503); 0s ignores the header. From 1s to 24h, or 0s. Default: 10m.
    #[schemars(length(max = 24))]
    pub retry_after_max: String,
    /// HTTP status codes that say the destination, not the event, is wrong. They halt delivery at once: the backlog is kept, the head is
    /// probed every few minutes, and delivery resumes by itself. Default: 401, 403, 410.
    #[schemars(length(max = 16), inner(range(min = 300, max = 599)), extend("x-kubernetes-list-type" = "set"))]
    pub halt_on_status_codes: Vec<i32>,
}

impl Default for HttpSink {
    fn default() -> HttpSink {
        HttpSink {
            uri: None,
            uri_from: None,
            r#ref: None,
            format: Format::default(),
            batch: None,
            headers: Vec::new(),
            auth: None,
            tls: None,
            signing: None,
            retry_after_max: "10m".into(),
            halt_on_status_codes: vec![401, 403, 410],
        }
    }
}

/// Takes a URL from a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UriSource {
    /// Key of a Secret that holds the URL.
    pub secret_key_ref: SecretKeyRef,
}

/// Key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret, in the namespace of this object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within the Secret's data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A whole Secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret, in the namespace of this object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An object that can be addressed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressableRef {
    /// Version of the object's API. Default: v1.
    #[serde(default = "core_v1")]
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// Kind of the object. Default: Service.
    #[serde(default = "service")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the object; by default that of this object. Any other needs a ReferenceGrant (gateway.networking.k8s.io) in that
    /// namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Port of a Service. May be left out if the Service has only one. From 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Scheme for a Service. If left out, HTTPS if the port's appProtocol is https or, without appProtocol, if it is 443 or named https; else HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// Path, and query, added to the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub path: Option<String>,
}

fn core_v1() -> String {
    "v1".into()
}

fn service() -> String {
    "Service".into()
}

/// Scheme of a Service's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Scheme {
    /// In clear.
    Http,
    /// With TLS.
    Https,
}

/// How an event is put into a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Format {
    /// Attributes as headers, data as the body.
    #[default]
    Binary,
    /// One JSON object.
    Structured,
    /// A JSON array of events.
    Batch,
}

/// Limits of one batch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Batch {
    /// Most events in one request. From 1 to 5000. Default: 100.
    #[schemars(range(min = 1, max = 5000))]
    pub max_events: i32,
    /// Most bytes in one request body; a single larger event is sent alone. From 1Ki to 16Mi. Default: 1Mi.
    pub max_bytes: Quantity,
    /// How long the first event waits for others. 0s sends what is there. From 1ms to 1m, or 0s. Default: 0s.
    #[schemars(length(max = 24))]
    pub max_wait: String,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { max_events: 100, max_bytes: Quantity::Text("1Mi".into()), max_wait: "0s".into() }
    }
}

/// One request header.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Header name; case does not matter.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Value, in clear. Credentials belong in valueFrom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// Takes the value from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueSource>,
}

/// Takes a header's value from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueSource {
    /// Key of a Secret that holds the value.
    pub secret_key_ref: SecretKeyRef,
}

/// Credentials sent with each request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// HTTP Basic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<Basic>,
    /// A fixed token, sent as Authorization: Bearer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Bearer>,
    /// OAuth 2.0 client credentials. The token is kept until shortly before it ends and asked for anew after a 401.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
}

/// HTTP Basic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Basic {
    /// Secret with the keys username and password (type kubernetes.io/basic-auth has them).
    pub secret_ref: SecretRef,
}

/// A fixed token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bearer {
    /// Key of a Secret that holds the token.
    pub secret_key_ref: SecretKeyRef,
}

/// OAuth 2.0 client credentials (RFC 6749, section 4.4).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2 {
    /// Token endpoint; https.
    #[serde(rename = "tokenURI")]
    #[schemars(length(min = 1, max = 2048))]
    pub token_uri: String,
    /// Client identifier.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 1, max = 256))]
    pub client_id: String,
    /// Key of a Secret that holds the client secret.
    pub client_secret_key_ref: SecretKeyRef,
    /// Scopes to ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub scopes: Vec<String>,
    /// Audience to ask for, where the authorization server wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub audience: Option<String>,
}

/// TLS to the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// PEM certificates of the authorities to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// Secret of type kubernetes.io/tls with the certificate and key to present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretRef>,
    /// Name expected in the receiver's certificate, where it is not the host of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// Accepts any certificate. Works only where the cluster admin allows it. Default: false.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// Where a bundle of certificates lies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundleRef {
    /// What holds them. Default: ConfigMap.
    #[serde(default)]
    pub kind: CaBundleKind,
    /// Name of the ConfigMap or Secret, in the namespace of this object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within it. Default: ca.crt.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn ca_crt() -> String {
    "ca.crt".into()
}

/// What holds a bundle of certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum CaBundleKind {
    /// A ConfigMap.
    #[default]
    ConfigMap,
    /// A Secret.
    Secret,
}

/// Signs each attempt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signing {
    /// Signing secrets (whsec_… for HMAC-SHA256, whsk_… for ed25519), newest first. While more than one is listed all of them sign, so that
    /// a receiver can change over.
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "atomic"), transform = describe_signing_key)]
    pub secret_key_refs: Vec<SecretKeyRef>,
}

fn describe_signing_key(list: &mut schemars::Schema) {
    if let Some(items) = list.get_mut("items").and_then(|items| items.as_object_mut()) {
        items.insert("description".into(), "Key of a Secret that holds a signing secret.".into());
    }
}
