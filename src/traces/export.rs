//! The way of spans out of the process.

use super::TRACER;
use crate::authorities;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rustls::RootCertStore;
use std::env;
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::Handle;

/// Most of an answer that is read, bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Longest export of one batch, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait at the end for what was not exported yet.
const LAST: Duration = Duration::from_secs(5);

/// What is wrong with the `OTEL_*` variables.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another protocol is asked for.
    #[error("{variable}={value} is not supported: traces are exported by http/protobuf; remove the variable or set it to that")]
    Protocol {
        /// Which variable.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// The exporter cannot be made.
    #[error("traces cannot be exported: {0}; check OTEL_EXPORTER_OTLP_ENDPOINT and the other OTEL_EXPORTER_OTLP_ variables")]
    Exporter(String),
}

/// The export of a process, to be [ended](Exporting::end).
#[derive(Debug, Default)]
pub struct Exporting(Option<SdkTracerProvider>);

/// Begins to export, if an endpoint is set and neither `OTEL_SDK_DISABLED` nor `OTEL_TRACES_EXPORTER=none` says no. To be called within tokio.
///
/// # Errors
/// If the variables ask for what is not there, or contradict themselves.
pub fn init() -> Result<Exporting, Error> {
    if !wanted(|name| env::var(name).ok()) {
        return Ok(Exporting::default());
    }
    check_protocol(|name| env::var(name).ok())?;
    let exporter = SpanExporter::builder().with_http().with_http_client(Client::new()).build();
    let exporter = exporter.map_err(|error| Error::Exporter(error.to_string()))?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
    if TRACER.set(provider.tracer("posthorn")).is_ok() {
        tracing::info!("traces are exported");
    }
    Ok(Exporting(Some(provider)))
}

impl Exporting {
    /// Exports what is left, but does not wait long for it.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be exported");
        }
    }
}

fn wanted(env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let says = |name: &str, word: &str| set(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
    let endpoint = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"].into_iter().any(|name| set(name).is_some());
    endpoint && !says("OTEL_SDK_DISABLED", "true") && !says("OTEL_TRACES_EXPORTER", "none")
}

fn check_protocol(env: impl Fn(&str) -> Option<String>) -> Result<(), Error> {
    let set = |name: &'static str| Some((name, env(name).filter(|value| !value.is_empty())?));
    let asked = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
    match asked {
        Some((variable, value)) if value != "http/protobuf" => Err(Error::Protocol { variable, value }),
        _ => Ok(()),
    }
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, and what is known without them.
fn resource() -> Resource {
    let mut builder = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let set = |name: &str| env::var(name).unwrap_or_default();
    let named = !set("OTEL_SERVICE_NAME").is_empty() || set("OTEL_RESOURCE_ATTRIBUTES").contains("service.name=");
    if !named {
        builder = builder.with_service_name("posthorn");
    }
    builder.build()
}

/// Sends by this process's runtime: the exporter runs on a thread of its own, which has none.
#[derive(Debug)]
struct Client {
    inner: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    limit: Duration,
}

impl Client {
    fn new() -> Client {
        // without authorities a collector by plain HTTP can be reached all the same
        let tls = authorities::client(authorities::of_system().unwrap_or_else(|_| RootCertStore::empty()));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let millis = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"].into_iter().find_map(|name| env::var(name).ok());
        let limit = millis.and_then(|millis| millis.parse().ok()).map_or(TIMEOUT, Duration::from_millis);
        Client { inner: HyperClient::builder(TokioExecutor::new()).build(connector), runtime: Handle::current(), limit }
    }
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sending<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let (client, limit) = (self.inner.clone(), self.limit);
        let exchange = async move {
            let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        // a timer is made within the runtime only
        let sending = self.runtime.spawn(async move { tokio::time::timeout(limit, exchange).await });
        Box::pin(async move { sending.await?? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(set: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let set: Vec<(String, String)> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        move |name| set.iter().find(|(one, _)| one == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_set() {
        const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert!(wanted(env(&[ENDPOINT])));
        assert!(wanted(env(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces")])));
        for set in [
            &[("OTEL_SERVICE_NAME", "shop")][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "true")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert!(!wanted(env(set)), "{set:?}");
        }
    }

    #[test]
    fn another_protocol_is_refused() {
        assert!(check_protocol(env(&[])).is_ok());
        assert!(check_protocol(env(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")])).is_ok());
        let error = check_protocol(env(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")])).unwrap_err();
        assert!(error.to_string().contains("OTEL_EXPORTER_OTLP_PROTOCOL=grpc"), "{error}");
    }
}
