//! The grammar of RFC 3986, checked and never changed: the `url` crate would repair what it reads.

/// Whether the text is a URI-reference (section 4.1), absolute or relative.
pub(super) fn is_reference(text: &str) -> bool {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (hierarchy, query) = text.split_once('?').unwrap_or((text, ""));
    let rest = strip_scheme(hierarchy);
    // without a scheme, a colon in the first segment would look like one
    let ambiguous = rest.len() == hierarchy.len() && rest.split('/').next().is_some_and(|segment| segment.contains(':'));
    consists_of(fragment, "/?:@") && consists_of(query, "/?:@") && !ambiguous && is_hierarchy(rest)
}

/// Whether the text is a URI: a URI-reference with a scheme (section 3).
pub(super) fn is_absolute(text: &str) -> bool {
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    strip_scheme(before_query).len() < before_query.len() && is_reference(text)
}

/// What follows the scheme; the text itself if it has none.
fn strip_scheme(text: &str) -> &str {
    match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ => text,
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// An authority and a path, or a path alone.
fn is_hierarchy(rest: &str) -> bool {
    match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            is_authority(authority) && consists_of(path, "/:@")
        }
        None => consists_of(rest, "/:@"),
    }
}

fn is_authority(text: &str) -> bool {
    let (userinfo, host_and_port) = text.rsplit_once('@').unwrap_or(("", text));
    let (host_is_right, port) = match host_and_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((literal, port)) => (is_ip_literal(literal), port),
        None => {
            let (host, port) = host_and_port.split_at(host_and_port.find(':').unwrap_or(host_and_port.len()));
            (consists_of(host, ""), port)
        }
    };
    let port_is_right = port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    consists_of(userinfo, ":") && host_is_right && port_is_right
}

/// An IPv6 address, or an `IPvFuture`.
fn is_ip_literal(text: &str) -> bool {
    match text.strip_prefix(['v', 'V']).and_then(|rest| rest.split_once('.')) {
        Some((version, address)) => {
            !version.is_empty() && version.bytes().all(|b| b.is_ascii_hexdigit()) && !address.contains('%') && consists_of(address, ":")
        }
        None => text.parse::<std::net::Ipv6Addr>().is_ok(),
    }
}

/// Whether there is nothing but unreserved characters, sub-delimiters, percent-encoded bytes and `also`.
fn consists_of(text: &str, also: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|b| b.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) || also.as_bytes().contains(&byte),
        };
        if !fits {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_grammar_allows_is_accepted() {
        for text in [
            "https://github.com/cloudevents",
            "mailto:cncf-wg-serverless@lists.cncf.io",
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "cloudevents/spec/pull/123",
            "/sensors/tn-1234567/alerts",
            "1-555-123-4567",
            "//host:80/a//b",
            "http://[::1]:8080/?a=b/c?d#e/f?",
            "http://[v7.a:b]/",
            "//user:pass@host",
            "?q",
            "#",
            ".",
            "./a:b",
            "/a:b",
            "a%20b",
            "http:",
            "file:///x",
        ] {
            assert!(is_reference(text), "{text}");
        }
    }

    #[test]
    fn what_the_grammar_forbids_is_refused() {
        for text in [
            "a b",
            "%",
            "%1",
            "%zz",
            "é",
            "a\\b",
            "<a>",
            "a|b",
            "a\"",
            "^",
            "`",
            "{x}",
            "#a#b",
            "[",
            "http://[::1",
            "http://[1.2.3.4]/",
            "//h:8a/",
            "//a@b@c",
            "http://[v.a]/",
            "1a:b",
            ":a",
            "//h]/",
            "a\u{0}",
        ] {
            assert!(!is_reference(text), "{text}");
        }
    }

    #[test]
    fn an_absolute_uri_has_a_scheme() {
        for (text, absolute) in
            [("https://a/b", true), ("urn:x", true), ("a:", true), ("/a", false), ("a/b:c", false), ("?a:b", false), ("a b:c", false)]
        {
            assert_eq!(is_absolute(text), absolute, "{text}");
        }
    }
}
