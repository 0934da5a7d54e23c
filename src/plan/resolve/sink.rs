//! The sink: addresses, formats, trust.

use super::credentials::Vault;
use super::{Address, Keep, Problem, Reason, Secret, Surroundings};
use crate::api::objects::Objects;
use crate::api::rules;
use crate::api::sink as spec;
use crate::plan::{Auth, Batch, ClientCertificate, Format, HttpSink, OAuth2};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use url::Url;

const HTTP: &str = "spec.sink.http";
const CLIENT_CERTIFICATE: &str = "spec.sink.http.tls.clientCertificateRef";

/// Where events are sent.
struct Receiver {
    uri: Secret,
    /// Without query; of a secret one only scheme and host.
    shown: String,
    in_cluster: bool,
}

/// The sink and how its address is shown.
pub(super) fn resolve(
    sink: &spec::Sink,
    namespace: &str,
    objects: &Objects,
    surroundings: &Surroundings,
) -> Result<(HttpSink, String), Vec<Problem>> {
    let spec::Sink { http } = sink;
    let http = http.as_ref().ok_or_else(|| vec![Problem::invalid("spec.sink", "a sink needs http")])?;
    let vault = Vault { namespace, objects };
    let spec::HttpSink { uri, uri_from, r#ref, format, batch, headers, auth, tls, signing, retry_after_max, halt_on_status_codes } = http;
    let mut problems = Vec::new();
    let credentials = auth.is_some() || headers.iter().any(|header| header.value_from.is_some());
    let needs = Needs { credentials, tls: tls.is_some() };
    let receiver = match (uri, uri_from, r#ref) {
        (Some(uri), ..) => given(uri),
        (None, Some(source), _) => secret(source, &needs, &vault),
        (None, None, Some(reference)) => referred(reference, &needs, namespace, surroundings),
        (None, None, None) => Err(Problem::invalid(HTTP, "sink.http needs a uri, uriFrom or ref")),
    };
    let receiver = problems.keep(receiver.map_err(|problem| vec![problem]));
    let headers = problems.keep(resolve_headers(headers, &vault));
    let auth = problems.keep(auth.as_ref().map(|auth| resolve_auth(auth, &vault)).transpose());
    let trust = problems.keep(resolve_tls(tls.as_ref(), &vault));
    let signing = problems.keep(resolve_signing(signing.as_ref(), &vault));
    let format = problems.keep(resolve_format(*format, batch.as_ref()));
    let retry_after_max = problems
        .keep(crate::api::values::duration(retry_after_max).map_err(|error| vec![Problem::invalid("spec.sink.http.retryAfterMax", error)]));
    match (receiver, headers, auth, trust, signing, format, retry_after_max) {
        (
            Some(Receiver { uri, shown, in_cluster }),
            Some(headers),
            Some(auth),
            Some(Trust { ca_bundle, client_certificate, server_name, insecure_skip_verify }),
            Some(signing),
            Some((format, batch)),
            Some(retry_after_max),
        ) => {
            let halt_on_status_codes = halt_on_status_codes.iter().filter_map(|code| u16::try_from(*code).ok()).collect();
            let sink = HttpSink {
                uri,
                in_cluster,
                format,
                batch,
                headers,
                auth,
                ca_bundle,
                client_certificate,
                insecure_skip_verify,
                server_name,
                signing,
                halt_on_status_codes,
                retry_after_max,
            };
            Ok((sink, shown))
        }
        _ => Err(problems),
    }
}

/// What else goes to the address.
struct Needs {
    credentials: bool,
    tls: bool,
}

impl Needs {
    /// Why they do not go with a URL.
    fn refuse(&self, url: &str) -> Option<&'static str> {
        if self.credentials && !rules::credentials_may_go_to(url) {
            return Some("is an http:// URL: credentials are only sent over https, or to a Service of this cluster");
        }
        (self.tls && rules::is_plain(url)).then_some("is an http:// URL, on which tls has no effect")
    }
}

/// The URL of the spec; the rules of the schema have looked at it.
fn given(uri: &str) -> Result<Receiver, Problem> {
    let url = Url::parse(uri).map_err(|error| Problem::invalid("spec.sink.http.uri", format!("not a URL: {error}")))?;
    Ok(Receiver { uri: Secret::new(url.as_str()), shown: without_query(url), in_cluster: false })
}

/// The URL that a Secret holds.
fn secret(spec::UriSource { secret_key_ref }: &spec::UriSource, needs: &Needs, vault: &Vault) -> Result<Receiver, Problem> {
    let path = "spec.sink.http.uriFrom.secretKeyRef";
    let text = vault.text(path, secret_key_ref)?;
    let refuse = |what: &str| vault.invalid(path, secret_key_ref, format!("its value {what}"));
    if let Some(wrong) = rules::wrong_uri(&text) {
        return Err(refuse(wrong));
    }
    let url = Url::parse(&text).map_err(|_| refuse("is not a URL"))?;
    if let Some(wrong) = needs.refuse(&text) {
        return Err(refuse(wrong));
    }
    Ok(Receiver { uri: Secret::new(url.as_str()), shown: url.origin().ascii_serialization(), in_cluster: false })
}

/// The URL of an object of the cluster.
fn referred(reference: &spec::AddressableRef, needs: &Needs, namespace: &str, surroundings: &Surroundings) -> Result<Receiver, Problem> {
    let path = "spec.sink.http.ref";
    let Surroundings::Cluster(Some(address)) = surroundings else {
        let (kind, name) = (&reference.kind, &reference.name);
        let namespace = reference.namespace.as_deref().unwrap_or(namespace);
        let message = format!("there is no {kind} {name} in namespace {namespace}; create it");
        return Err(Problem::new(path, Reason::RefNotFound, message));
    };
    let Address { url, is_service } = address.clone()?;
    if let Some(wrong) = needs.refuse(url.as_str()) {
        let (kind, name) = (&reference.kind, &reference.name);
        return Err(Problem::new(path, Reason::RefNotAddressable, format!("the address of {kind} {name} {wrong}")));
    }
    Ok(Receiver { uri: Secret::new(url.as_str()), shown: without_query(url), in_cluster: is_service })
}

fn without_query(mut url: Url) -> String {
    url.set_query(None);
    url.into()
}

/// The address as it is shown while it cannot be resolved: that of the spec without query, empty for a secret one.
pub(super) fn shown(sink: &spec::Sink) -> String {
    let uri = sink.http.as_ref().and_then(|http| http.uri.as_deref()).and_then(|uri| Url::parse(uri).ok());
    uri.map_or_else(String::new, without_query)
}

fn resolve_headers(headers: &[spec::Header], vault: &Vault) -> Result<Vec<(String, Secret)>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut resolved = Vec::new();
    for (index, spec::Header { name, value, value_from }) in headers.iter().enumerate() {
        let path = format!("{HTTP}.headers[{index}]");
        let value = match (value, value_from) {
            (Some(value), _) => Ok(Secret::new(value.as_str())),
            (None, Some(spec::ValueSource { secret_key_ref })) => {
                vault.header_value(&format!("{path}.valueFrom.secretKeyRef"), secret_key_ref)
            }
            (None, None) => Err(Problem::invalid(&path, "a header needs a value or valueFrom")),
        };
        let value = problems.keep(value.map_err(|problem| vec![problem]));
        resolved.extend(value.map(|value| (name.clone(), value)));
    }
    if problems.is_empty() { Ok(resolved) } else { Err(problems) }
}

fn resolve_format(format: spec::Format, batch: Option<&spec::Batch>) -> Result<(Format, Option<Batch>), Vec<Problem>> {
    match format {
        spec::Format::Binary => Ok((Format::Binary, None)),
        spec::Format::Structured => Ok((Format::Structured, None)),
        spec::Format::Batch => Ok((Format::Batch, Some(resolve_batch(batch.unwrap_or(&spec::Batch::default()))?))),
    }
}

fn resolve_batch(spec::Batch { max_events, max_bytes, max_wait }: &spec::Batch) -> Result<Batch, Vec<Problem>> {
    let invalid = |field: &str, error: String| vec![Problem::invalid(&format!("{HTTP}.batch.{field}"), error)];
    Ok(Batch {
        max_events: usize::try_from(*max_events).unwrap_or_default().max(1),
        max_bytes: max_bytes.bytes().map_err(|error| invalid("maxBytes", error.to_string()))?,
        max_wait: crate::api::values::duration(max_wait).map_err(|error| invalid("maxWait", error.to_string()))?,
    })
}

fn resolve_auth(auth: &spec::Auth, vault: &Vault) -> Result<Auth, Vec<Problem>> {
    let spec::Auth { basic, bearer, oauth2 } = auth;
    match (basic, bearer, oauth2) {
        (Some(spec::Basic { secret_ref }), ..) => vault.basic("spec.sink.http.auth.basic.secretRef", secret_ref),
        (_, Some(spec::Bearer { secret_key_ref }), _) => {
            let path = "spec.sink.http.auth.bearer.secretKeyRef";
            vault.token(path, secret_key_ref).map(Auth::Bearer).map_err(|problem| vec![problem])
        }
        (.., Some(oauth2)) => resolve_oauth2(oauth2, vault).map(Auth::OAuth2).map_err(|problem| vec![problem]),
        (None, None, None) => Err(vec![Problem::invalid("spec.sink.http.auth", "auth needs basic, bearer or oauth2")]),
    }
}

fn resolve_oauth2(oauth2: &spec::OAuth2, vault: &Vault) -> Result<OAuth2, Problem> {
    let spec::OAuth2 { token_uri, client_id, client_secret_key_ref, scopes, audience } = oauth2;
    let client_secret = vault.text("spec.sink.http.auth.oauth2.clientSecretKeyRef", client_secret_key_ref)?;
    let token_uri = Url::parse(token_uri).map_err(|error| Problem::invalid("spec.sink.http.auth.oauth2.tokenURI", error))?;
    Ok(OAuth2 {
        token_uri: token_uri.into(),
        client_id: client_id.clone(),
        client_secret: Secret::new(client_secret),
        scopes: scopes.clone(),
        audience: audience.clone(),
    })
}

/// Whom a connection trusts, and as whom it is made.
#[derive(Default)]
struct Trust {
    ca_bundle: Option<String>,
    client_certificate: Option<ClientCertificate>,
    server_name: Option<String>,
    insecure_skip_verify: bool,
}

fn resolve_tls(tls: Option<&spec::Tls>, vault: &Vault) -> Result<Trust, Vec<Problem>> {
    let Some(tls) = tls else { return Ok(Trust::default()) };
    let spec::Tls { ca_bundle_ref, client_certificate_ref, server_name, insecure_skip_verify } = tls;
    let mut problems = Vec::new();
    let bundle = problems.keep(ca_bundle_ref.as_ref().map(|reference| ca_bundle(reference, vault)).transpose().map_err(|one| vec![one]));
    let certificate = client_certificate_ref.as_ref().map(|reference| vault.client_certificate(CLIENT_CERTIFICATE, reference));
    let certificate = problems.keep(certificate.transpose());
    if server_name.as_deref().is_some_and(|name| ServerName::try_from(name).is_err()) {
        problems.push(Problem::invalid("spec.sink.http.tls.serverName", "not a host name or IP address"));
    }
    match (bundle, certificate) {
        (Some(ca_bundle), Some(client_certificate)) if problems.is_empty() => {
            let (server_name, insecure_skip_verify) = (server_name.clone(), *insecure_skip_verify);
            Ok(Trust { ca_bundle, client_certificate, server_name, insecure_skip_verify })
        }
        _ => Err(problems),
    }
}

fn ca_bundle(reference: &spec::CaBundleRef, vault: &Vault) -> Result<String, Problem> {
    let path = "spec.sink.http.tls.caBundleRef";
    let spec::CaBundleRef { kind, name, key } = reference;
    let pem = match kind {
        spec::CaBundleKind::ConfigMap => vault.config(path, name, key)?,
        spec::CaBundleKind::Secret => vault.text(path, &spec::SecretKeyRef { name: name.clone(), key: key.clone() })?,
    };
    let invalid = |what: String| Problem::new(path, Reason::InvalidCABundle, format!("key {key} of {kind:?} {name}: {what}"));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| invalid(format!("not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| invalid(format!("certificate {}: {error}", roots.len() + 1)))?;
    }
    if roots.is_empty() { Err(invalid("holds no PEM certificate (-----BEGIN CERTIFICATE-----)".into())) } else { Ok(pem) }
}

fn resolve_signing(signing: Option<&spec::Signing>, vault: &Vault) -> Result<Vec<Secret>, Vec<Problem>> {
    let Some(spec::Signing { secret_key_refs }) = signing else {
        return Ok(Vec::new());
    };
    let mut problems = Vec::new();
    let path = |index: usize| format!("{HTTP}.signing.secretKeyRefs[{index}]");
    let secrets = secret_key_refs.iter().enumerate().map(|(index, key)| vault.signing_secret(&path(index), key));
    let secrets = secrets.filter_map(|secret| problems.keep(secret.map_err(|problem| vec![problem]))).collect();
    if problems.is_empty() { Ok(secrets) } else { Err(problems) }
}
