//! What was found of one destination, for people and for programs.

use crate::cli::output::harmless;
use crate::filter::explain::Clause;
use crate::worker::sink::http::Preview;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What was found of one destination.
pub(super) struct Report {
    pub(super) name: String,
    pub(super) suspended: bool,
    pub(super) filters: Clause,
    /// The request, or why there is none; `None` where the event is not wanted.
    pub(super) request: Option<Result<Preview, String>>,
}

impl Report {
    pub(super) fn text(&self) -> String {
        let verdict = if self.filters.matches { "wants the event" } else { "does not want the event" };
        let mut text = format!("{} {verdict}\n", self.name);
        self.filters.lines().iter().for_each(|line| text += &format!("  {}\n", harmless(line)));
        if self.suspended {
            text += "It is suspended: the event would wait.\n";
        }
        match &self.request {
            None => {}
            Some(Err(why)) => text += &format!("It cannot be sent: {}\n", harmless(why)),
            Some(Ok(request)) => text += &shown(request),
        }
        text
    }

    pub(super) fn object(&self) -> Value {
        let mut object =
            json!({"destination": self.name, "wanted": self.filters.matches, "suspended": self.suspended, "filters": self.filters});
        match &self.request {
            None => {}
            Some(Err(why)) => object["problem"] = why.as_str().into(),
            Some(Ok(request)) => object["request"] = request_object(request),
        }
        object
    }
}

fn shown(request: &Preview) -> String {
    let mut text = format!("\n{} {}\n", request.method, harmless(&request.url));
    request.headers.iter().for_each(|(name, value)| text += &format!("{name}: {}\n", harmless(value)));
    match printable(&request.body) {
        Some("") => {}
        Some(body) => text += &format!("\n{}\n", body.trim_end_matches('\n')),
        None => text += &format!("\n{} bytes, Base64\n{}\n", request.body.len(), STANDARD.encode(&request.body)),
    }
    text
}

fn request_object(request: &Preview) -> Value {
    let headers: Vec<Value> = request.headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let mut object = json!({"method": request.method.as_str(), "url": request.url, "headers": headers});
    match std::str::from_utf8(&request.body) {
        Ok(body) => object["body"] = body.into(),
        Err(_) => object["bodyBase64"] = STANDARD.encode(&request.body).into(),
    }
    object
}

/// The body as text, if it cannot steer a terminal.
fn printable(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')).then_some(text)
}
