//! Who a producer says he is: bearer tokens, and signatures as Standard Webhooks writes them.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use std::time::{Duration, SystemTime};

/// How far the time-stamp of a signed request may be from our clock, either way (Standard Webhooks).
const TOLERANCE: Duration = Duration::from_secs(300);
/// What a signing secret begins with when it is shown to people.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a signing secret (Standard Webhooks).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// SHA-256 of a bearer token: the token itself is not kept, and comparing hashes tells nothing of it by time.
pub(super) struct Token([u8; 32]);

/// A secret that requests are signed with.
pub(super) struct SigningSecret(hmac::Key);

/// What a request brings to prove who sent it.
pub(super) enum Proof {
    /// `Authorization: Bearer …`.
    Token(Token),
    /// The headers `webhook-id`, `webhook-timestamp`, `webhook-signature`; the body is needed to check it.
    Signature(Signature),
}

/// A signature still to be checked.
pub(super) struct Signature {
    /// What is signed before the body: `id.timestamp.`
    prefix: Vec<u8>,
    candidates: Vec<Vec<u8>>,
}

impl Token {
    fn of(text: &[u8]) -> Token {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
        Token(hash)
    }

    /// One token a line.
    pub(super) fn read_all(text: &str) -> Result<Vec<Token>, &'static str> {
        lines(text).map(|line| Ok(Token::of(line.as_bytes()))).collect()
    }

    /// In constant time.
    pub(super) fn is(&self, other: &Token) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl SigningSecret {
    /// One secret a line, each `whsec_` and base64 of 24 to 64 bytes.
    pub(super) fn read_all(text: &str) -> Result<Vec<SigningSecret>, &'static str> {
        lines(text).map(SigningSecret::read).collect()
    }

    fn read(line: &str) -> Result<SigningSecret, &'static str> {
        let encoded = line.strip_prefix(SECRET_PREFIX).ok_or("a signing secret begins with whsec_")?;
        let bytes = STANDARD.decode(encoded).map_err(|_| "after whsec_ a signing secret is base64")?;
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err("a signing secret has 24 to 64 bytes, in base64");
        }
        Ok(SigningSecret(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

impl Proof {
    /// What the headers bring. A token goes before a signature.
    ///
    /// # Errors
    /// Why there is nothing that could be checked.
    pub(super) fn find(headers: &HeaderMap, now: SystemTime) -> Result<Proof, &'static str> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            return bearer(value.as_bytes()).map(Proof::Token).ok_or("only `Authorization: Bearer …` is understood");
        }
        if headers.contains_key("webhook-signature") {
            return Signature::find(headers, now).map(Proof::Signature);
        }
        Err("send `Authorization: Bearer …`, or sign the request (webhook-id, webhook-timestamp, webhook-signature)")
    }
}

impl Signature {
    fn find(headers: &HeaderMap, now: SystemTime) -> Result<Signature, &'static str> {
        let text =
            |name| headers.get(name).and_then(|value| value.to_str().ok()).ok_or("a signed request has webhook-id and webhook-timestamp");
        let (id, timestamp) = (text("webhook-id")?, text("webhook-timestamp")?);
        let seconds: u64 = timestamp.parse().map_err(|_| "webhook-timestamp is not a number of seconds")?;
        let signed_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or("webhook-timestamp is out of range")?;
        let apart = now.duration_since(signed_at).unwrap_or_else(|early| early.duration());
        if apart > TOLERANCE {
            return Err("webhook-timestamp is more than 5 minutes from this server's clock");
        }
        let signatures = text("webhook-signature")?.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        let candidates: Vec<_> = signatures.filter_map(|one| STANDARD.decode(one).ok()).collect();
        Ok(Signature { prefix: format!("{id}.{timestamp}.").into_bytes(), candidates })
    }

    /// Whether this secret signed it, with this body. In constant time for each candidate.
    pub(super) fn is_by(&self, secret: &SigningSecret, body: &[u8]) -> bool {
        let mut context = hmac::Context::with_key(&secret.0);
        context.update(&self.prefix);
        context.update(body);
        let expected = context.sign();
        self.candidates.iter().any(|candidate| verify_slices_are_equal(expected.as_ref(), candidate).is_ok())
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn bearer(value: &[u8]) -> Option<Token> {
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then(|| Token::of(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// The example of the Standard Webhooks reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const AT: u64 = 1_614_265_330;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn signed(signature: &str) -> HeaderMap {
        headers(&[("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("webhook-timestamp", "1614265330"), ("webhook-signature", signature)])
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn signature(headers: &HeaderMap, now: SystemTime) -> Result<Signature, &'static str> {
        match Proof::find(headers, now)? {
            Proof::Signature(signature) => Ok(signature),
            Proof::Token(_) => Err("a token"),
        }
    }

    #[test]
    fn the_reference_signature_is_accepted_among_others() {
        let secret = &SigningSecret::read_all(SECRET).unwrap()[0];
        let headers = signed("v1a,xyz v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let signature = signature(&headers, at(AT)).unwrap();
        assert!(signature.is_by(secret, BODY));
        assert!(!signature.is_by(secret, b"{}"));
        let other = &SigningSecret::read_all("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap()[0];
        assert!(!signature.is_by(other, BODY));
    }

    #[test]
    fn a_replay_outside_the_tolerance_is_refused() {
        let headers = signed("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        for now in [AT - 300, AT, AT + 300] {
            assert!(signature(&headers, at(now)).is_ok(), "{now}");
        }
        for now in [AT - 301, AT + 301, 0] {
            assert!(signature(&headers, at(now)).is_err(), "{now}");
        }
    }

    #[test]
    fn a_token_is_compared_whole() {
        let valid = Token::read_all("\n first-token \nsecond-token\n").unwrap();
        let found = |authorization: &str| match Proof::find(&headers(&[("authorization", authorization)]), at(AT)) {
            Ok(Proof::Token(token)) => valid.iter().any(|known| known.is(&token)),
            _ => false,
        };
        assert!(found("Bearer first-token") && found("bearer second-token"));
        for wrong in ["Bearer first-toke", "Bearer first-token1", "Bearer ", "Bearer", "Basic first-token", "first-token"] {
            assert!(!found(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_signing_secret_must_be_a_good_one() {
        for wrong in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!", "whsec_c2hvcnQ=", "whsec_"] {
            assert!(SigningSecret::read_all(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_without_proof_is_told_what_to_send() {
        assert!(Proof::find(&HeaderMap::new(), at(AT)).err().is_some_and(|detail| detail.contains("Bearer")));
    }
}
