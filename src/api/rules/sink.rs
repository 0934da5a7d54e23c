//! Rules of `spec.sink`.

use super::Rule;
use super::helpers::{Uri, count, duration, exactly_one, has, own_text, size, text};
use crate::event::http::{RESERVED, RESERVED_PREFIXES, is_reserved};
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

const TARGETS: [&str; 3] = ["uri", "uriFrom", "ref"];
const CREDENTIALS: [&str; 3] = ["basic", "bearer", "oauth2"];
const VALUES: [&str; 2] = ["value", "valueFrom"];

/// Headers whose value is a credential, in lower case.
const SECRET: [&str; 3] = ["authorization", "cookie", "x-api-key"];

const HEADER_NAME_FORM: &str = "^[A-Za-z0-9!#$%&*+.^_|~-]+$";
const IN_CLUSTER_FORM: &str = "^[^/]*//[^/?#:]+[.]svc([.]cluster[.]local)?(:[0-9]+)?([/?#]|$)";

static HEADER_NAME: LazyLock<Regex> = LazyLock::new(|| regex(HEADER_NAME_FORM));
static IN_CLUSTER: LazyLock<Regex> = LazyLock::new(|| regex(IN_CLUSTER_FORM));
static USER: LazyLock<Regex> = LazyLock::new(|| regex("^[a-zA-Z]+://[^/?#]*@"));
static CONTROL: LazyLock<Regex> = LazyLock::new(|| regex(r"[\x00-\x08\x0a-\x1f\x7f]"));

fn regex(form: &str) -> Regex {
    Regex::new(form).expect("it is written here, and every test compiles it")
}

pub(super) fn rules() -> Vec<Rule> {
    let one =
        Rule::value("spec.sink", "has(self.http)", "a sink needs http: {uri: …}, {uriFrom: …} or {ref: …}", |it| has(it, "http"));
    [vec![one], http(), uri(), reference(), batch(), headers(), auth()].into_iter().flatten().collect()
}

fn http() -> Vec<Rule> {
    vec![
        Rule::value("spec.sink.http", exactly_one(&TARGETS), "sink.http needs exactly one of uri, uriFrom or ref", |it| {
            count(it, &TARGETS) == 1
        }),
        Rule::value("spec.sink.http", "!has(self.batch) || self.format == 'Batch'", "batch is for format: Batch", |it| {
            !has(it, "batch") || it["format"] == "Batch"
        })
        .on(".batch"),
        Rule::value(
            "spec.sink.http",
            format!(
                "!has(self.uri) || !self.uri.lowerAscii().startsWith('http://') || self.uri.matches('{IN_CLUSTER_FORM}') \
                 || !(has(self.auth) || has(self.headers) && self.headers.exists(h, has(h.valueFrom)))"
            ),
            "credentials are only sent over https, or to a Service of this cluster",
            |it| !has(it, "uri") || !has_credentials(it) || credentials_may_go_to(text(it, "uri")),
        )
        .on(".uri"),
        Rule::value(
            "spec.sink.http",
            "!has(self.tls) || !has(self.uri) || !self.uri.lowerAscii().startsWith('http://')",
            "tls has no effect on an http:// URL",
            |it| !has(it, "tls") || !is_plain(text(it, "uri")),
        )
        .on(".tls"),
        Rule::value(
            "spec.sink.http",
            "!has(self.auth) || !has(self.headers) || !self.headers.exists(h, h.name.lowerAscii() == 'authorization')",
            "auth already sets Authorization; remove that header or auth",
            |it| !has(it, "auth") || !list(it, "headers").iter().any(|header| lower_name(header) == "authorization"),
        )
        .on(".headers"),
        duration("spec.sink.http.retryAfterMax", "1s", "24h", true),
    ]
}

fn has_credentials(http: &Value) -> bool {
    has(http, "auth") || list(http, "headers").iter().any(|header| has(header, "valueFrom"))
}

/// Whether a URL is sent in clear.
pub(crate) fn is_plain(uri: &str) -> bool {
    uri.to_ascii_lowercase().starts_with("http://")
}

/// Whether credentials may be sent to a URL: over TLS, or within the cluster.
pub(crate) fn credentials_may_go_to(uri: &str) -> bool {
    !is_plain(uri) || IN_CLUSTER.is_match(uri)
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object[field].as_array().map_or(&[], Vec::as_slice)
}

fn uri() -> Vec<Rule> {
    vec![
        Rule::value(
            "spec.sink.http.uri",
            "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''",
            "must be an absolute http:// or https:// URL with a host",
            |it| is_http(own_text(it)),
        )
        .says(
            r#"(self.contains('@') ? '' : '"' + self + '" ') + 'must be an absolute http:// or https:// URL with a host'"#,
            |it| {
                // What holds an @ may hold a password.
                let shown = if own_text(it).contains('@') { String::new() } else { format!("\"{}\" ", own_text(it)) };
                format!("{shown}must be an absolute http:// or https:// URL with a host")
            },
        ),
        Rule::value(
            "spec.sink.http.uri",
            "!self.matches('^[a-zA-Z]+://[^/?#]*@')",
            "must not hold a user name or password; use auth.basic",
            |it| !USER.is_match(own_text(it)),
        ),
        Rule::value("spec.sink.http.uri", "!self.contains('#')", "must not have a fragment (#…); it would never be sent", |it| {
            !own_text(it).contains('#')
        }),
    ]
}

fn is_http(uri: &str) -> bool {
    Uri::parse(uri).is_some_and(|uri| ["http", "https"].contains(&uri.scheme.as_str()) && !uri.host.is_empty())
}

/// What is wrong with a URL that came from a Secret, by the rules of `uri`. Never repeats it.
pub(crate) fn wrong_uri(value: &str) -> Option<&'static str> {
    super::at("spec.sink.http.uri").find(|rule| rule.broken(&value.into(), None).is_some()).map(|rule| rule.message.as_str())
}

fn reference() -> Vec<Rule> {
    vec![
        Rule::value(
            "spec.sink.http.ref",
            "self.kind == 'Service' && self.apiVersion == 'v1' || !has(self.port) && !has(self.scheme)",
            "port and scheme are for a Service of apiVersion v1",
            |it| it["kind"] == "Service" && it["apiVersion"] == "v1" || count(it, &["port", "scheme"]) == 0,
        )
        .says(
            "'port and scheme are for a Service of apiVersion v1; ' + self.kind + ' of ' + self.apiVersion + ' publishes its own address'",
            |it| {
                let (kind, version) = (text(it, "kind"), text(it, "apiVersion"));
                format!("port and scheme are for a Service of apiVersion v1; {kind} of {version} publishes its own address")
            },
        ),
        Rule::value("spec.sink.http.ref.path", "self.startsWith('/')", "must begin with /", |it| own_text(it).starts_with('/')),
        Rule::value("spec.sink.http.ref.path", "!self.contains('#')", "must not have a fragment (#…)", |it| !own_text(it).contains('#')),
    ]
}

fn batch() -> Vec<Rule> {
    vec![size("spec.sink.http.batch.maxBytes", "1Ki", "16Mi"), duration("spec.sink.http.batch.maxWait", "1ms", "1m", true)]
}

fn headers() -> Vec<Rule> {
    let item = "spec.sink.http.headers[]";
    vec![
        Rule::value(
            "spec.sink.http.headers",
            "self.all(h, self.exists_one(o, o.name.lowerAscii() == h.name.lowerAscii()))",
            "the same header is given twice (case does not matter)",
            names_are_unique,
        ),
        Rule::value(item, exactly_one(&VALUES), "a header needs exactly one of value or valueFrom", |it| count(it, &VALUES) == 1),
        Rule::value(item, format!("self.name.matches('{HEADER_NAME_FORM}')"), "not a valid header name", |it| {
            HEADER_NAME.is_match(text(it, "name"))
        })
        .says(r#"'"' + self.name + '" is not a valid header name'"#, |it| format!("\"{}\" is not a valid header name", text(it, "name")))
        .on(".name"),
        Rule::value(item, not_reserved(), "this header is set by Posthorn itself", |it| !is_reserved(&lower_name(it)))
            .says("'header ' + self.name + ' is set by Posthorn itself and cannot be overridden'", |it| {
                format!("header {} is set by Posthorn itself and cannot be overridden", text(it, "name"))
            })
            .on(".name"),
        Rule::value(
            item,
            format!("has(self.valueFrom) || !(self.name.lowerAscii() in {})", words(&SECRET)),
            "credentials must come from valueFrom.secretKeyRef",
            |it| has(it, "valueFrom") || !SECRET.contains(&lower_name(it).as_str()),
        )
        .says("self.name + ' is a credential: use valueFrom.secretKeyRef, so that it is not readable in this object'", |it| {
            format!("{} is a credential: use valueFrom.secretKeyRef, so that it is not readable in this object", text(it, "name"))
        })
        .on(".value"),
        Rule::value(
            item,
            r"!has(self.value) || !self.value.matches('[\\x00-\\x08\\x0a-\\x1f\\x7f]')",
            "a header value has no line breaks and no control characters",
            |it| !CONTROL.is_match(text(it, "value")),
        )
        .on(".value"),
    ]
}

fn names_are_unique(headers: &Value) -> bool {
    let mut names: Vec<String> = headers.as_array().into_iter().flatten().map(lower_name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    names.len() == all
}

fn lower_name(header: &Value) -> String {
    text(header, "name").to_ascii_lowercase()
}

/// CEL for a name that is neither reserved nor has a reserved prefix.
fn not_reserved() -> String {
    let prefixes = RESERVED_PREFIXES.map(|prefix| format!(" && !self.name.lowerAscii().startsWith('{prefix}')"));
    format!("!(self.name.lowerAscii() in {}){}", words(&RESERVED), prefixes.concat())
}

/// A CEL list of words.
fn words(words: &[&str]) -> String {
    format!("['{}']", words.join("', '"))
}

fn auth() -> Vec<Rule> {
    vec![
        Rule::value("spec.sink.http.auth", exactly_one(&CREDENTIALS), "auth needs exactly one of basic, bearer or oauth2", |it| {
            count(it, &CREDENTIALS) == 1
        }),
        Rule::value(
            "spec.sink.http.auth.oauth2.tokenURI",
            "isURL(self) && url(self).getScheme() == 'https'",
            "must be an https:// URL",
            |it| Uri::parse(own_text(it)).is_some_and(|uri| uri.scheme == "https"),
        )
        .says(r#"'"' + self + '" must be an https:// URL'"#, |it| format!("\"{}\" must be an https:// URL", own_text(it))),
    ]
}
