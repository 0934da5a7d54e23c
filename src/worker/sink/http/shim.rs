use crate::event::{Event, Sequence};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

pub(super) fn binary(event: &Event, sequence: Sequence) -> Result<(HeaderMap, Bytes), String> {
    let mut headers = HeaderMap::new();
    if let Some(kind) = &event.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).map_err(|e| e.to_string())?);
    }
    let sequence = HeaderValue::from_str(&sequence.padded()).map_err(|e| e.to_string())?;
    headers.insert(HeaderName::from_static("ce-sequence"), sequence);
    Ok((headers, event.data.clone()))
}

pub(super) fn structured(event: &Event, _sequence: Sequence) -> Result<Bytes, String> {
    Ok(event.data.clone())
}

pub(super) fn webhook_id(_event: &Event) -> String {
    "evt_1".to_owned()
}
