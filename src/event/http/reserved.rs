//! Headers of a request that are not a destination's to set.

/// Headers that Posthorn or HTTP itself sets, in lower case; those with a [reserved prefix](RESERVED_PREFIXES) besides.
pub const RESERVED: [&str; 12] = [
    "host",
    "content-length",
    "content-type",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-connection",
    "proxy-authorization",
];

/// Prefixes of headers that Posthorn sets (CloudEvents, Standard Webhooks, its own), in lower case.
pub const RESERVED_PREFIXES: [&str; 3] = ["ce-", "webhook-", "posthorn-"];

/// Whether a header, in lower case, is not a destination's to set.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
