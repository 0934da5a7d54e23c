use super::*;

/// The error names the attribute, and its message holds the words of the rule.
fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: Kind, attribute: Option<&str>, words: &str, case: &str) {
    let error = result.expect_err(case);
    assert_eq!((error.kind, error.attribute.as_deref()), (kind, attribute), "{case}: {error}");
    assert!(error.message.contains(words), "{case}: {error}");
    assert!(attribute.is_none_or(|name| error.message.contains(name)), "{case}: {error}");
}

#[test]
fn a_header_that_breaks_a_rule_is_named_with_the_rule() {
    let long = "x".repeat(70_000);
    for (header, value, attribute, words) in [
        ("ce-id", "", "id", "is required"),
        ("ce-id", "\"\"", "id", "must not be empty"),
        ("ce-source", "", "source", "is required"),
        ("ce-source", "a b", "source", "URI-reference"),
        ("ce-source", "%C3%A9", "source", "URI-reference"),
        ("ce-type", "", "type", "is required"),
        ("ce-specversion", "0.3", "specversion", "must be 1.0"),
        ("ce-specversion", "1.0.2", "specversion", "must be 1.0"),
        ("ce-subject", "\"\"", "subject", "must not be empty"),
        ("ce-time", "yesterday", "time", "RFC 3339"),
        ("ce-time", "2018-04-05 17:31:00Z", "time", "RFC 3339"),
        ("ce-dataschema", "/relative", "dataschema", "absolute URI"),
        ("ce-datacontenttype", "text/xml", "datacontenttype", "Content-Type"),
        ("content-type", "json", "datacontenttype", "media type"),
        ("content-type", "té/xt", "datacontenttype", "ASCII"),
        ("ce-data", "x", "data", "payload"),
        ("ce-my-ext", "x", "my-ext", "a-z and 0-9"),
        ("ce-my_ext", "x", "my_ext", "a-z and 0-9"),
        ("ce-ext", "%C0%A0", "ext", "UTF-8"),
        ("ce-ext", "\"open", "ext", "double quote"),
        ("ce-ext", "a%0d%0aSet-Cookie:%20x", "ext", "control characters"),
        ("ce-ext", "a%00", "ext", "control characters"),
        ("ce-ext", "a\tb", "ext", "control characters"),
        ("ce-id", "%C2%85", "id", "control characters"),
    ] {
        let case = format!("{header}: {value}");
        assert_refused(decode_binary(&[(header, value)], ""), Kind::BadRequest, Some(attribute), words, &case);
    }
    assert_refused(decode_binary(&[("ce-ext", &long)], ""), Kind::TooLarge, Some("ext"), "65536 bytes", "long value");
}

#[test]
fn a_header_given_twice_is_refused() {
    for name in ["ce-specversion", "ce-id", "ce-ext", "content-type"] {
        let mut map = binary_headers(&[("ce-ext", "1.0"), ("content-type", "1.0")]);
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("1.0"));
        let attribute = name.strip_prefix("ce-").unwrap_or("datacontenttype");
        assert_refused(decode(&map, Bytes::new(), &Limits::default()), Kind::BadRequest, Some(attribute), "once", name);
    }
}

#[test]
fn what_is_no_cloudevent_is_told_what_is_missing() {
    for (pairs, words) in [
        (&[][..], "ce-specversion: 1.0"),
        (&[("content-type", "application/json")], "application/cloudevents+json"),
        (&[("ce-id", "1"), ("ce-type", "t")], "ce-specversion is missing"),
    ] {
        let result = decode(&headers(pairs), Bytes::from_static(b"{}"), &Limits::default());
        assert_refused(result, Kind::BadRequest, Some("specversion"), words, &format!("{pairs:?}"));
    }
}

#[test]
fn other_formats_charsets_and_codings_are_unsupported() {
    for (content_type, words) in [
        ("application/cloudevents", "not read"),
        ("application/cloudevents+avro", "not read"),
        ("Application/CloudEvents+protobuf", "not read"),
        ("application/cloudevents-batch+xml", "not read"),
        ("application/cloudevents+json; charset", "not read"),
        ("application/cloudevents+json; charset=utf-16", "utf-8"),
        ("application/cloudevents-batch+json; charset=iso-8859-1", "utf-8"),
    ] {
        assert_refused(decode_json(content_type, envelope("")), Kind::UnsupportedMediaType, None, words, content_type);
    }
    let result = decode_binary(&[("content-encoding", "gzip")], "x");
    assert_refused(result, Kind::UnsupportedMediaType, None, "Content-Encoding", "gzip");
    assert!(decode_binary(&[("content-encoding", "Identity")], "x").is_ok());
}

#[test]
fn a_member_that_breaks_a_rule_is_named_with_the_rule() {
    for (more, attribute, words) in [
        (r#","subject":"""#, "subject", "must not be empty"),
        (r#","subject":5"#, "subject", "JSON string"),
        (r#","time":"2018-04-05""#, "time", "RFC 3339"),
        (r#","time":1522949460"#, "time", "JSON string"),
        (r#","dataschema":"schema.json""#, "dataschema", "absolute URI"),
        (r#","datacontenttype":"json""#, "datacontenttype", "media type"),
        (r#","datacontenttype":true"#, "datacontenttype", "JSON string"),
        (r#","Ext":"x""#, "Ext", "a-z and 0-9"),
        (r#","my_ext":null"#, "my_ext", "a-z and 0-9"),
        (r#","":"x""#, "", "a-z and 0-9"),
        (r#","ext":{}"#, "ext", "a string, a boolean or a whole number"),
        (r#","ext":[1]"#, "ext", "a string, a boolean or a whole number"),
        (r#","ext":1.0"#, "ext", "whole number between"),
        (r#","ext":1e3"#, "ext", "whole number between"),
        (r#","ext":2147483648"#, "ext", "whole number between"),
        (r#","ext":-2147483649"#, "ext", "whole number between"),
        (r#","ext":1234567890123456789012345678901234567890"#, "ext", "whole number between"),
        (r#","ext":"a\u000d\u000ab""#, "ext", "control characters"),
        (r#","ext":"\u0000""#, "ext", "control characters"),
        (r#","ext":"\uffff""#, "ext", "noncharacters"),
        (r#","ext":"\ud800""#, "ext", "surrogate"),
        (r#","ext":"x","ext":"x""#, "ext", "once"),
        (r#","ext":"x","\u0065xt":null"#, "ext", "once"),
        (r#","specversion":"1.0""#, "specversion", "once"),
        (r#","data":1,"data":1"#, "data", "once"),
        (r#","data":1,"data_base64":"AA==""#, "data_base64", "one of both"),
        (r#","data_base64":1"#, "data_base64", "JSON string"),
        (r#","data_base64":"AA""#, "data_base64", "Base64"),
        (r#","data_base64":"A-_=""#, "data_base64", "Base64"),
        (r#","datacontenttype":"text/plain","data":"\ud800""#, "data", "surrogate"),
    ] {
        assert_refused(decode_structured(envelope(more)), Kind::BadRequest, Some(attribute), words, more);
    }
}

#[test]
fn a_required_member_must_be_there_and_be_a_string() {
    for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t"), ("specversion", "1.0")] {
        let valid = envelope("");
        let member = format!(r#""{name}":"{value}""#);
        assert!(valid.contains(&member));
        for (other, words) in [
            (r#""unused":"x""#.to_owned(), "is required"),
            (format!(r#""{name}":null"#), "is required"),
            (format!(r#""{name}":"""#), "must"),
            (format!(r#""{name}":1"#), "must be"),
        ] {
            let result = decode_structured(valid.replace(&member, &other));
            assert_refused(result, Kind::BadRequest, Some(name), words, &format!("{name}: {other}"));
        }
    }
}

#[test]
fn what_is_no_json_object_is_refused_without_being_repeated() {
    for body in [&b""[..], b"null", b"[]", b"\"secret\"", b"{", b"{}}", b"\xff{}", b"{\"id\":\"\xff\"}", b"secret"] {
        let error = decode_structured(body).expect_err("refused");
        assert_eq!((error.kind, error.message.contains("secret")), (Kind::BadRequest, false), "{error}");
    }
}

#[test]
fn a_batch_with_one_bad_item_is_refused_whole_and_the_item_is_named() {
    let good = envelope("");
    for (bad, attribute) in [("1", None), ("{}", Some("specversion")), (envelope(r#","time":"x""#).as_str(), Some("time"))] {
        let error = decode_batch(format!("[{good}, {bad} ]")).expect_err(bad);
        assert_eq!((error.kind, error.index, error.attribute.as_deref()), (Kind::BadRequest, Some(1), attribute), "{error}");
        assert!(error.message.starts_with("item 1 of the batch"), "{error}");
    }
    for body in ["[]", " [ ] ", "{}", "", "[", good.as_str()] {
        assert_refused(decode_batch(body), Kind::BadRequest, None, "batch", body);
    }
}

#[test]
fn each_limit_is_kept_and_not_undercut() {
    let limits = Limits { max_event_bytes: 100, max_attributes: 5, max_attribute_bytes: 40, max_batch_events: 2 };
    let structured = |more: &str| decode(&headers(&[("content-type", json::STRUCTURED)]), envelope(more).into(), &limits).map(drop);
    let binary = |pairs: &[(&str, &str)], size: usize| decode(&binary_headers(pairs), vec![b'x'; size].into(), &limits).map(drop);
    let batch = |count: usize| {
        decode(&headers(&[("content-type", json::BATCH)]), format!("[{}]", vec![envelope(""); count].join(",")).into(), &limits).map(drop)
    };

    let pad = 100 - envelope(r#","data":"""#).len();
    assert_eq!(structured(&format!(r#","data":"{}""#, "x".repeat(pad))), Ok(()));
    assert_eq!(binary(&[], 100), Ok(()));
    assert_eq!(binary(&[("ce-a", "1"), ("ce-b", "2")], 0), Ok(()));
    assert_eq!(structured(r#","a":"1","b":"2","data":1"#), Ok(()));
    assert_eq!(binary(&[("ce-a", &"1".repeat(40 - "idsourcetype1/sta".len()))], 0), Ok(()));
    assert_eq!(batch(2), Ok(()));

    let too_large = |result: Result<(), Error>, words: &str| {
        assert_refused(result.map_err(|e| Error { attribute: None, ..e }), Kind::TooLarge, None, words, words)
    };
    too_large(structured(&format!(r#","data":"{}""#, "x".repeat(pad + 1))), "101 bytes");
    too_large(binary(&[], 101), "101 bytes");
    too_large(binary(&[("ce-a", "1"), ("ce-b", "2"), ("ce-c", "3")], 0), "more than 5 attributes");
    too_large(structured(r#","a":"1","b":"2","c":"3""#), "more than 5 attributes");
    too_large(structured(r#","a":"1","b":"2","c":"3","data":1"#), "more than 5 attributes");
    too_large(binary(&[("ce-a", &"1".repeat(41 - "idsourcetype1/sta".len()))], 0), "more than 40 bytes");
    too_large(batch(3), "more than 2 events");
    assert_eq!(
        decode(
            &headers(&[("content-type", json::BATCH)]),
            format!("[{}]", envelope(&format!(r#","data":"{}""#, "x".repeat(100)))).into(),
            &limits
        )
        .unwrap_err()
        .index,
        Some(0)
    );
}

#[test]
fn a_deep_envelope_is_refused_and_deep_data_is_kept() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_refused(decode_structured(envelope(&format!(r#","ext":{deep}"#))), Kind::BadRequest, Some("ext"), "must be", "deep extension");
    assert!(decode_structured(deep.clone()).is_err());
    assert!(decode_batch(deep.clone()).is_err());
    let event = decode_structured(envelope(&format!(r#","data":{deep}"#))).unwrap();
    assert_eq!(http::binary(&event, SEQUENCE).unwrap().1, deep);
    let event = decode_binary(&[("content-type", "application/json")], &deep).unwrap();
    let sent = json::structured(&event, SEQUENCE).unwrap();
    assert!(std::str::from_utf8(&sent).unwrap().ends_with(&format!(r#""data":{deep}}}"#)));
}
