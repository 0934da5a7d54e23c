//! The CustomResourceDefinition, judged by a real API server.

mod refused;
mod shown;

use serde_json::Value;

/// How an API server answers: the object, or why not.
type Answer = Result<Value, Vec<String>>;

/// A request with strict validation that changes nothing.
async fn dry_run(client: &kube::Client, method: http::Method, path: &str, object: &Value) -> Answer {
    let uri = format!("{path}?dryRun=All&fieldValidation=Strict");
    let request = http::Request::builder().method(method).uri(uri).header("content-type", "application/json");
    match client.request(request.body(object.to_string().into_bytes()).unwrap()).await {
        Ok(answer) => Ok(answer),
        Err(kube::Error::Api(status)) => Err(messages(&status)),
        Err(error) => panic!("{error}"),
    }
}

/// The messages of a refusal, without its opening words.
fn messages(status: &kube::core::Status) -> Vec<String> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let causes: Vec<String> = causes
        .map(|cause| match cause.field.as_str() {
            "" | "<nil>" => cause.message.clone(),
            field => format!("{field}: {}", cause.message),
        })
        .collect();
    if causes.is_empty() {
        let begin = status.message.find("strict decoding error").unwrap_or(0);
        return vec![status.message[begin..].to_owned()];
    }
    causes
}

fn collection(namespace: &str) -> String {
    format!("/apis/posthorn.dev/v1alpha1/namespaces/{namespace}/eventdestinations")
}

fn in_namespace(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = namespace.into();
    object
}
