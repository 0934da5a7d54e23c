//! Verifies Standard Webhooks signatures (specification 1.0.0), independently of the code that makes them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far the time-stamp of a request may be from our clock; the value of the reference libraries.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// A symmetric key, written as `whsec_` and base64.
#[derive(Clone)]
pub struct Key(hmac::Key);

/// Not a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a Standard Webhooks secret: write it as `whsec_` followed by base64")]
pub struct NotAKey;

/// Why a request is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// One of the three headers is absent or not text.
    #[error("not signed: webhook-id, webhook-timestamp and webhook-signature are needed")]
    Unsigned,
    /// The time-stamp is not a number of seconds, or too far from now.
    #[error("webhook-timestamp is not within five minutes of now")]
    Time,
    /// No signature was made with this key over these bytes.
    #[error("no signature matches")]
    Mismatch,
}

impl Key {
    /// Reads a secret.
    ///
    /// # Errors
    /// If it is not `whsec_` and base64.
    pub fn parse(secret: &str) -> Result<Key, NotAKey> {
        let bytes = STANDARD.decode(secret.trim().strip_prefix("whsec_").ok_or(NotAKey)?).map_err(|_| NotAKey)?;
        Ok(Key(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// Whether one of the signatures of a request was made with this key.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, headers: &http::HeaderMap, body: &[u8], now: SystemTime) -> Result<(), Untrusted> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(Untrusted::Unsigned);
        let (id, time, signatures) = (text("webhook-id")?, text("webhook-timestamp")?, text("webhook-signature")?);
        let sent = UNIX_EPOCH + Duration::from_secs(time.parse().map_err(|_| Untrusted::Time)?);
        let apart = now.duration_since(sent).unwrap_or_else(|ahead| ahead.duration());
        if apart > TOLERANCE {
            return Err(Untrusted::Time);
        }
        let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
        let matches = |tag: Vec<u8>| hmac::verify(&self.0, &signed, &tag).is_ok();
        let tags = signatures.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
        if tags.into_iter().any(matches) { Ok(()) } else { Err(Untrusted::Mismatch) }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    // The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn headers(id: &str, time: &str, signature: &str) -> HeaderMap {
        [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .into_iter()
            .collect()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_published_example_is_trusted() {
        let key = Key::parse(SECRET).unwrap();
        assert_eq!(key.verify(&headers(ID, "1614265330", SIGNATURE), BODY, at(TIME)), Ok(()));
    }

    #[test]
    fn one_good_signature_among_several_is_enough() {
        let key = Key::parse(SECRET).unwrap();
        let signatures = format!("v1,AAAA v1a,{SIGNATURE} {SIGNATURE}");
        assert_eq!(key.verify(&headers(ID, "1614265330", &signatures), BODY, at(TIME)), Ok(()));
    }

    #[test]
    fn a_changed_body_id_or_time_is_not_trusted() {
        let key = Key::parse(SECRET).unwrap();
        assert_eq!(key.verify(&headers(ID, "1614265330", SIGNATURE), b"{}", at(TIME)), Err(Untrusted::Mismatch));
        assert_eq!(key.verify(&headers("msg_other", "1614265330", SIGNATURE), BODY, at(TIME)), Err(Untrusted::Mismatch));
        assert_eq!(key.verify(&headers(ID, "1614265331", SIGNATURE), BODY, at(TIME)), Err(Untrusted::Mismatch));
    }

    #[test]
    fn an_old_or_future_request_is_not_trusted() {
        let key = Key::parse(SECRET).unwrap();
        let headers = headers(ID, "1614265330", SIGNATURE);
        assert_eq!(key.verify(&headers, BODY, at(TIME + 301)), Err(Untrusted::Time));
        assert_eq!(key.verify(&headers, BODY, at(TIME - 301)), Err(Untrusted::Time));
        assert_eq!(key.verify(&HeaderMap::new(), BODY, at(TIME)), Err(Untrusted::Unsigned));
    }

    #[test]
    fn a_secret_without_its_prefix_is_refused_and_never_printed() {
        assert_eq!(Key::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap_err(), NotAKey);
        assert_eq!(format!("{:?}", Key::parse(SECRET).unwrap()), "Key(…)");
    }
}
