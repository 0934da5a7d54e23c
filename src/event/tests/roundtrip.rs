use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Any text that an attribute may have.
fn text() -> impl Strategy<Value = String> {
    any::<String>()
        .prop_map(|text| text.chars().filter(|c| rules::check_value("ext", &c.to_string()).is_ok()).collect::<String>() + "%25 \"")
}

fn attributes() -> impl Strategy<Value = BTreeMap<String, String>> {
    let extensions = btree_map("x[a-z0-9]{0,20}", text(), 0..8);
    let sequences = btree_map("(producer)?sequence", text(), 0..2);
    let required = (text(), text(), "/[a-z][a-z/:?]{0,9}(%20)?");
    (extensions, sequences, required).prop_map(|(mut map, sequences, (id, kind, source))| {
        map.extend(sequences);
        map.extend([("id", id), ("type", kind), ("source", source)].map(|(name, value)| (name.to_owned(), value)));
        map
    })
}

fn content_type() -> impl Strategy<Value = Option<String>> {
    prop::option::of(
        prop::sample::select(vec!["application/json", "text/plain", "application/x+json; charset=utf-8", "image/png"])
            .prop_map(str::to_owned),
    )
}

/// The attributes that a receiver should find.
fn as_received(mut map: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if let Some(own) = map.insert("sequence".to_owned(), PADDED.to_owned()) {
        map.entry("producersequence".to_owned()).or_insert(own);
    }
    map
}

fn found(event: &Event) -> BTreeMap<String, String> {
    event
        .attributes
        .iter()
        .filter(|(name, _)| *name != "datacontenttype")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn binary_event(map: &BTreeMap<String, String>, content_type: Option<String>, data: Vec<u8>) -> Event {
    let mut attributes = Attributes::from_json(&serde_json::to_vec(map).unwrap()).unwrap();
    if let Some(content_type) = &content_type {
        attributes.0.insert("datacontenttype".to_owned(), content_type.clone());
    }
    Event { mode: Mode::Binary, attributes, content_type, data: data.into() }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
        ]
    })
}

proptest! {
    #[test]
    fn a_binary_event_arrives_byte_for_byte(map in attributes(), content_type in content_type(), data: Vec<u8>) {
        let event = binary_event(&map, content_type, data);
        let (headers, body) = http::binary(&event, SEQUENCE).unwrap();
        let again = one(decode(&headers, body, &Limits::default())).unwrap();
        prop_assert_eq!(found(&again), as_received(map));
        prop_assert_eq!((again.data, again.content_type), (event.data, event.content_type));
    }

    #[test]
    fn a_binary_event_arrives_in_an_envelope(map in attributes(), content_type in content_type(), data: Vec<u8>) {
        let event = binary_event(&map, content_type, data);
        let again = decode_structured(json::structured(&event, SEQUENCE).unwrap()).unwrap();
        prop_assert_eq!(found(&again), as_received(map));
        prop_assert_eq!(&again.content_type, &event.content_type);
        let (headers, body) = http::binary(&again, SEQUENCE).unwrap();
        let (direct, _) = http::binary(&event, SEQUENCE).unwrap();
        prop_assert_eq!(&headers["ce-id"], &direct["ce-id"]);
        prop_assert_eq!(body, event.data);
    }

    #[test]
    fn json_data_is_never_rewritten(map in attributes(), value in json_value(), pretty: bool) {
        let data = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let event = binary_event(&map, Some("application/json".to_owned()), data.clone());
        let sent = json::structured(&event, SEQUENCE).unwrap();
        let end = [b",\"data\":", &data[..], b"}"].concat();
        prop_assert!(sent.ends_with(&end));
        let again = decode_structured(sent).unwrap();
        prop_assert_eq!(http::binary(&again, SEQUENCE).unwrap().1, data);
    }

    #[test]
    fn an_envelope_differs_by_its_sequence_only(map in attributes(), value in json_value(), pretty: bool) {
        let mut members: serde_json::Map<_, _> = map.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        members.insert("data".to_owned(), value);
        members.insert("specversion".to_owned(), "1.0".into());
        let body = if pretty { serde_json::to_vec_pretty(&members) } else { serde_json::to_vec(&members) }.unwrap();
        let event = decode_structured(body.clone()).unwrap();
        prop_assert_eq!(&event.data, &body);
        let sent = json::structured(&event, SEQUENCE).unwrap();
        if !map.contains_key("sequence") {
            let inserted = format!("\"sequence\":\"{PADDED}\",");
            prop_assert_eq!(String::from_utf8(sent.to_vec()).unwrap().replacen(&inserted, "", 1).into_bytes(), body);
        }
        prop_assert_eq!(found(&decode_structured(sent).unwrap()), as_received(map));
    }

    #[test]
    fn attributes_are_read_back_from_redis(map in attributes()) {
        let attributes = Attributes::from_json(&serde_json::to_vec(&map).unwrap()).unwrap();
        prop_assert_eq!(Attributes::from_json(attributes.to_json().as_bytes()), Ok(attributes));
    }

    #[test]
    fn no_body_makes_it_panic(body: Vec<u8>) {
        let _ = decode_structured(body.clone());
        let _ = decode_batch(body.clone());
        let _ = Attributes::from_json(&body);
        for mode in [Mode::Binary, Mode::Structured, Mode::BatchItem] {
            let event = Event { mode, attributes: Attributes::default(), content_type: Some("a/b".to_owned()), data: body.clone().into() };
            let _ = (http::binary(&event, SEQUENCE), json::structured(&event, SEQUENCE));
        }
    }

    #[test]
    fn nothing_like_json_makes_it_panic(body in r#"[{}\[\]",:\\u0dD8a-e1.\-+ \n]{0,64}"#) {
        let _ = decode_batch(format!("[{body}]"));
        let event = decode_structured(format!("{{{body}}}"));
        let other = decode_structured(envelope(&format!(",{body}")));
        for event in [event, other].into_iter().flatten() {
            http::binary(&event, SEQUENCE).unwrap();
            decode_structured(json::structured(&event, SEQUENCE).unwrap()).unwrap();
        }
    }

    #[test]
    fn no_header_makes_it_panic_or_reaches_a_destination_unsafe(name in "[a-z0-9]{1,12}", value: Vec<u8>, content_type: Vec<u8>) {
        let mut map = binary_headers(&[]);
        if let (Ok(value), Ok(content_type)) = (HeaderValue::from_bytes(&value), HeaderValue::from_bytes(&content_type)) {
            map.insert(HeaderName::try_from(format!("ce-{name}")).unwrap(), value);
            map.insert("content-type", content_type);
        }
        if let Ok(Received::One(event)) = decode(&map, Bytes::new(), &Limits::default()) {
            let (headers, _) = http::binary(&event, SEQUENCE).unwrap();
            prop_assert!(headers.values().all(|value| value.as_bytes().iter().all(|b| matches!(b, b' '..=b'~' | b'\t'))));
        }
    }
}
