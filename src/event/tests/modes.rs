use super::*;

fn sent_binary(event: &Event) -> (Vec<(String, String)>, Bytes) {
    let (headers, body) = http::binary(event, SEQUENCE).unwrap();
    let mut pairs: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    pairs.sort();
    (pairs, body)
}

fn sent_structured(event: &Event) -> String {
    String::from_utf8(json::structured(event, SEQUENCE).unwrap().to_vec()).unwrap()
}

fn header(event: &Event, name: &str) -> Option<String> {
    sent_binary(event).0.into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

#[test]
fn a_binary_event_keeps_its_attributes_and_its_body() {
    let event =
        decode_binary(&[("ce-subject", "Euro%20%E2%82%AC"), ("CE-Ext", "1"), ("content-type", "text/plain; a=b"), ("x-other", "no")], "hi")
            .unwrap();
    assert_eq!((event.mode, event.content_type.as_deref(), event.data.as_ref()), (Mode::Binary, Some("text/plain; a=b"), &b"hi"[..]));
    let attributes: Vec<_> = event.attributes.iter().collect();
    let expected =
        [("datacontenttype", "text/plain; a=b"), ("ext", "1"), ("id", "1"), ("source", "/s"), ("subject", "Euro €"), ("type", "t")];
    assert_eq!(attributes, expected);
    let (pairs, body) = sent_binary(&event);
    let expected = [
        ("ce-ext", "1"),
        ("ce-id", "1"),
        ("ce-sequence", PADDED),
        ("ce-source", "/s"),
        ("ce-specversion", "1.0"),
        ("ce-subject", "Euro%20%E2%82%AC"),
        ("ce-type", "t"),
        ("content-type", "text/plain; a=b"),
    ];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(body, "hi");
}

#[test]
fn attributes_of_an_envelope_have_their_canonical_form() {
    let body = envelope(
        r#","t":true,"f":false,"i":-2147483648,"z":-0,"s":"a\u20ac\/","n":null,"time":"2018-04-05T17:31:00Z","dataschema":"urn:x#y","data":{"n":1.50}"#,
    );
    let event = decode_structured(body.clone()).unwrap();
    assert_eq!((event.mode, event.content_type.as_deref(), &event.data[..]), (Mode::Structured, None, body.as_bytes()));
    for (name, value) in [("t", "true"), ("f", "false"), ("i", "-2147483648"), ("z", "0"), ("s", "a€/"), ("time", "2018-04-05T17:31:00Z")]
    {
        assert_eq!(event.attributes.get(name), Some(value), "{name}");
    }
    assert_eq!(event.attributes.get("n"), None);
}

#[test]
fn structured_mode_is_told_by_its_media_type_in_any_spelling() {
    for content_type in
        ["application/cloudevents+json", "Application/CloudEvents+JSON ; Charset=\"UTF-8\"", "application/cloudevents+json;charset=utf-8"]
    {
        assert!(one(decode_json(content_type, envelope(""))).is_ok(), "{content_type}");
    }
    let with_copies = headers(&[("content-type", json::STRUCTURED), ("ce-id", "other"), ("ce-bad-name", "x")]);
    let event = one(decode(&with_copies, envelope("").into(), &Limits::default())).unwrap();
    assert_eq!(event.attributes.id(), "1");
}

#[test]
fn an_item_of_a_batch_is_its_own_slice_of_the_body() {
    let second = envelope(r#" , "data_base64" : "AAE=" "#);
    let body = Bytes::from(format!("[\n{} ,\t{second}\n]", envelope("")));
    let Received::Batch(events) = decode(&headers(&[("content-type", json::BATCH)]), body.clone(), &Limits::default()).unwrap() else {
        panic!("not a batch");
    };
    assert_eq!((events.len(), events[1].mode, &events[1].data[..]), (2, Mode::BatchItem, second.as_bytes()));
    assert!(body.as_ptr_range().contains(&events[1].data.as_ptr()), "copied");
    assert_eq!(sent_binary(&events[1]).1, &b"\0\x01"[..]);
}

#[test]
fn the_data_of_an_envelope_becomes_the_body() {
    for (more, content_type, body) in [
        ("", None, ""),
        (r#","datacontenttype":"text/plain""#, Some("text/plain"), ""),
        (r#","data": {"a" : 1.50} "#, Some("application/json"), r#"{"a" : 1.50}"#),
        (r#","data":null"#, Some("application/json"), "null"),
        (r#","data":"I'm \u0061 string""#, Some("application/json"), r#""I'm \u0061 string""#),
        (r#","datacontenttype":"text/json","data":"a""#, Some("text/json"), r#""a""#),
        (r#","datacontenttype":"application/xml","data":"<much wow=\"xml\"/>""#, Some("application/xml"), r#"<much wow="xml"/>"#),
        (r#","datacontenttype":"application/xml","data":{"a": 1}"#, Some("application/xml"), r#"{"a": 1}"#),
        (r#","datacontenttype":"image/x","data_base64":"aGk\/""#, Some("image/x"), "hi?"),
        (r#","data_base64":"aGk=","datacontenttype":null"#, Some("application/json"), "hi"),
        (r#","data":1,"data_base64":null"#, Some("application/json"), "1"),
    ] {
        let event = decode_structured(envelope(more)).unwrap();
        assert_eq!((header(&event, "content-type").as_deref(), sent_binary(&event).1), (content_type, Bytes::from(body)), "{more}");
    }
}

#[test]
fn a_binary_event_is_put_into_an_envelope() {
    let start = format!(r#"{{"specversion":"1.0","sequence":"{PADDED}","id":"1","source":"/s","type":"t""#);
    for (content_type, body, end) in [
        ("", "", "}"),
        ("", "{}", r#","data_base64":"e30="}"#),
        ("application/json", "", r#","datacontenttype":"application/json"}"#),
        ("application/json", " {\"a\" : 1.50}\n", ",\"datacontenttype\":\"application/json\",\"data\": {\"a\" : 1.50}\n}"),
        ("application/vnd.a+json", "1", r#","datacontenttype":"application/vnd.a+json","data":1}"#),
        ("application/json", "{", r#","datacontenttype":"application/json","data_base64":"ew=="}"#),
        ("application/json", "\u{feff}1", r#","datacontenttype":"application/json","data_base64":"77u/MQ=="}"#),
        ("application/json;charset=utf-16", "1", r#","datacontenttype":"application/json;charset=utf-16","data_base64":"MQ=="}"#),
        ("text/plain;a=\"b\"", "hi", r#","datacontenttype":"text/plain;a=\"b\"","data_base64":"aGk="}"#),
    ] {
        let event = decode_binary(&[("content-type", content_type)], body).unwrap();
        assert_eq!(sent_structured(&event), format!("{start}{end}"), "{content_type} {body}");
    }
}

#[test]
fn an_envelope_is_passed_on_with_our_sequence_only() {
    for (before, after) in [
        (
            r#" { "id" : "1","specversion":"1.0","source":"/s","type":"t", "data" : [1,  2] } "#,
            r#" { "sequence":"@","id" : "1","specversion":"1.0","source":"/s","type":"t", "data" : [1,  2] } "#,
        ),
        (
            &envelope(r#", "sequence" : 5,"data":{"sequence":1}"#),
            r#"{"sequence":"@","specversion":"1.0","id":"1","source":"/s","type":"t", "producersequence" : 5,"data":{"sequence":1}}"#,
        ),
        (
            &envelope(r#","s\u0065quence":"x""#),
            r#"{"sequence":"@","specversion":"1.0","id":"1","source":"/s","type":"t","producersequence":"x"}"#,
        ),
        (
            &envelope(r#","sequence":"x","producersequence":"p""#),
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","sequence":"@","producersequence":"p"}"#,
        ),
        (
            &envelope(r#","producersequence":"p","sequence":null"#),
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","producersequence":"p","sequence":"@"}"#,
        ),
        (
            &envelope(r#","producersequence":null,"sequence":"x""#),
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","producersequence":"x","sequence":"@"}"#,
        ),
        (
            &envelope(r#","producersequence":"p""#),
            r#"{"sequence":"@","specversion":"1.0","id":"1","source":"/s","type":"t","producersequence":"p"}"#,
        ),
        (
            r#"{"sequence":"x","specversion":"1.0","id":"1","source":"/s","type":"t"}"#,
            r#"{"sequence":"@","producersequence":"x","specversion":"1.0","id":"1","source":"/s","type":"t"}"#,
        ),
    ] {
        let sent = sent_structured(&decode_structured(before).unwrap());
        assert_eq!(sent, after.replace('@', PADDED), "{before}");
        let again = decode_structured(sent).unwrap();
        assert_eq!(again.attributes.get("sequence"), Some(PADDED), "{before}");
    }
}

#[test]
fn the_sequence_of_a_producer_goes_out_by_another_name() {
    let binary = decode_binary(&[("ce-sequence", "5")], "").unwrap();
    assert_eq!(header(&binary, "ce-sequence").as_deref(), Some(PADDED));
    assert_eq!(header(&binary, "ce-producersequence").as_deref(), Some("5"));
    assert!(sent_structured(&binary).contains(r#""producersequence":"5""#));
    let both = decode_binary(&[("ce-sequence", "5"), ("ce-producersequence", "p")], "").unwrap();
    assert_eq!(header(&both, "ce-producersequence").as_deref(), Some("p"));
    assert_eq!(sent_structured(&both).matches("sequence").count(), 2);
    let structured = decode_structured(envelope(r#","sequence":5"#)).unwrap();
    assert_eq!(header(&structured, "ce-producersequence").as_deref(), Some("5"));
}

#[test]
fn a_damaged_event_is_undecodable() {
    let good = decode_structured(envelope(r#","data":"x""#)).unwrap();
    for data in ["", "[]", "{}", "{", "\u{1}", "{\"data_base64\":\"%\"}"] {
        let event = Event { data: data.into(), ..good.clone() };
        assert!(http::binary(&event, SEQUENCE).is_err(), "{data}");
        assert!(json::structured(&event, SEQUENCE).is_err() || data.contains("data_base64"), "{data}");
    }
    let event = Event { data: Bytes::from_static(b"\xff"), ..good.clone() };
    assert!(http::binary(&event, SEQUENCE).is_err() && json::structured(&event, SEQUENCE).is_err());
    let event = Event { content_type: Some("a\nb".to_owned()), ..good };
    assert!(http::binary(&event, SEQUENCE).is_err());
}
