//! Standard Webhooks signatures: HMAC-SHA256 (`v1`) and ed25519 (`v1a`) over the bytes `id.timestamp.body`.
//!
//! Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.

use crate::plan::Secret;
use aws_lc_rs::{hmac, signature::Ed25519KeyPair};
use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use std::fmt;

/// Reads base64 with and without padding.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Signing keys, newest first; all of them sign.
#[derive(Default)]
pub struct Keys(Vec<Key>);

enum Key {
    Hmac(Box<hmac::Key>),
    Ed25519(Ed25519KeyPair),
}

/// Why a signing secret cannot be used. Never repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither kind.
    #[error("it must begin with whsec_ (HMAC-SHA256) or whsk_ (ed25519)")]
    Prefix,
    /// Not base64.
    #[error("what follows its prefix is not base64")]
    Base64,
    /// Wrong number of bytes.
    #[error("whsec_ is followed by 24 to 64 bytes, whsk_ by a seed of 32 bytes or a key pair of 64, in base64")]
    Length,
    /// The public half does not belong to the private one.
    #[error("its private and public halves do not belong together")]
    Pair,
}

impl Keys {
    /// Decodes secrets; an error comes with its place in the list, from 1.
    pub fn parse(secrets: &[Secret]) -> Result<Keys, (usize, KeyError)> {
        let parsed = (1..).zip(secrets).map(|(number, secret)| Key::parse(secret.expose()).map_err(|error| (number, error)));
        parsed.collect::<Result<_, _>>().map(Keys)
    }

    /// Whether nothing is to be signed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `webhook-signature`. `timestamp` is in seconds since the epoch.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        let signatures: Vec<String> = self.0.iter().map(|key| key.sign(&head, body)).collect();
        signatures.join(" ")
    }
}

impl Key {
    fn parse(secret: &str) -> Result<Key, KeyError> {
        let secret = secret.trim();
        let decode = |text: &str| LENIENT.decode(text).map_err(|_| KeyError::Base64);
        if let Some(text) = secret.strip_prefix("whsec_") {
            let bytes = decode(text)?;
            if !(24..=64).contains(&bytes.len()) {
                return Err(KeyError::Length);
            }
            return Ok(Key::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes))));
        }
        let bytes = decode(secret.strip_prefix("whsk_").ok_or(KeyError::Prefix)?)?;
        let pair = match bytes.len() {
            32 => Ed25519KeyPair::from_seed_unchecked(&bytes),
            64 => Ed25519KeyPair::from_seed_and_public_key(&bytes[..32], &bytes[32..]),
            _ => return Err(KeyError::Length),
        };
        pair.map(Key::Ed25519).map_err(|_| KeyError::Pair)
    }

    fn sign(&self, head: &str, body: &[u8]) -> String {
        match self {
            Key::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(head.as_bytes());
                context.update(body);
                format!("v1,{}", STANDARD.encode(context.sign()))
            }
            Key::Ed25519(pair) => format!("v1a,{}", STANDARD.encode(pair.sign(&[head.as_bytes(), body].concat()))),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, KeyPair as _, UnparsedPublicKey};

    fn keys(secrets: &[&str]) -> Result<Keys, (usize, KeyError)> {
        Keys::parse(&secrets.iter().map(|secret| Secret::new(*secret)).collect::<Vec<_>>())
    }

    /// From the test suites of the reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_reference_vector_is_met() {
        let signature = keys(&[SECRET]).expect("a key").sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn all_keys_sign_newest_first() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let both = keys(&[&other, SECRET]).expect("keys").sign("evt_1", 1, b"x");
        let each = [&other, SECRET].map(|secret| keys(&[secret]).expect("a key").sign("evt_1", 1, b"x"));
        assert_eq!(both, each.join(" "));
    }

    #[test]
    fn bodies_that_are_no_text_are_signed_as_they_are() {
        let body = [0, 0xff, 0xfe, b'.', 0x80];
        let key = hmac::Key::new(hmac::HMAC_SHA256, &LENIENT.decode(&SECRET[6..]).expect("base64"));
        let signature = keys(&[SECRET]).expect("a key").sign("evt_1.2", 5, &body);
        let signed = [b"evt_1.2.5.".as_slice(), &body].concat();
        hmac::verify(&key, &signed, &STANDARD.decode(&signature[3..]).expect("base64")).expect("the signature is right");
    }

    #[test]
    fn an_ed25519_signature_is_verified_by_the_public_key() {
        let seed = [9; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed");
        let public = pair.public_key().as_ref().to_vec();
        let long = format!("whsk_{}", STANDARD.encode([seed.as_slice(), &public].concat()));
        let short = format!("whsk_{}", STANDARD.encode(seed));
        for secret in [long, short] {
            let signature = keys(&[&secret]).expect("a key").sign("evt_1", 5, b"\xff");
            let bytes = STANDARD.decode(signature.strip_prefix("v1a,").expect("version")).expect("base64");
            UnparsedPublicKey::new(&ED25519, &public).verify(b"evt_1.5.\xff", &bytes).expect("the signature is right");
        }
    }

    #[test]
    fn a_line_break_behind_a_secret_and_missing_padding_do_no_harm() {
        let secret = format!("whsec_{}", STANDARD.encode([1; 25]));
        let expected = keys(&[&secret]).expect("a key").sign("evt_1", 1, b"");
        assert_eq!(keys(&[&format!("{}\n", secret.trim_end_matches('='))]).expect("a key").sign("evt_1", 1, b""), expected);
    }

    #[test]
    fn what_is_no_signing_secret_is_refused_without_repeating_it() {
        let table = [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", KeyError::Prefix),
            ("whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", KeyError::Prefix),
            ("whsec_not base64", KeyError::Base64),
            ("whsec_", KeyError::Length),
            ("whsec_c2hvcnQ=", KeyError::Length),
            ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", KeyError::Length),
        ];
        for (secret, error) in table {
            assert_eq!(keys(&[SECRET, secret]).err(), Some((2, error)), "{secret}");
        }
        let wrong_pair = format!("whsk_{}", STANDARD.encode([3; 64]));
        assert_eq!(keys(&[&wrong_pair]).err(), Some((1, KeyError::Pair)));
        assert_eq!(format!("{:?}", keys(&[SECRET]).expect("a key")), "Keys(1)");
    }
}
