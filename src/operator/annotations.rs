//! Hands on a stuck destination: what a person asks for by an annotation. Each value once, each with an Event.
//!
//! * `posthorn.dev/retryRequestedAt`: any new value, and the waiting or halted head is tried now.
//! * `posthorn.dev/skipSequence`: must equal `status.head.sequence`; that event is given up, so that those behind it go on.
//!
//! Redis remembers the last value of each that was dealt with, so neither a restart nor a command in between repeats one.

use super::board::Key;
use super::events::{Events, Note};
use crate::bus::routing::{self, Ask, Once};
use crate::bus::skip::{self, Skipped};
use crate::bus::state::{self, Head};
use crate::bus::{Error, Link};
use crate::event::Sequence;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeMap;

/// Any new value: the waiting or halted head is tried now.
pub const RETRY: &str = "posthorn.dev/retryRequestedAt";
/// The sequence of the head that is to be given up.
pub const SKIP: &str = "posthorn.dev/skipSequence";
/// `"true"`: the operator leaves the object alone.
pub const PAUSED: &str = "posthorn.dev/paused";

/// One destination, for `handle`.
pub struct Asked<'a> {
    /// A connection.
    pub link: &'a Link,
    /// Bus of the destination.
    pub bus: &'a str,
    /// The object.
    pub key: &'a Key,
    /// Its uid.
    pub uid: &'a str,
    /// Where the Events go.
    pub events: &'a Events,
}

/// Does what the annotations of an object ask for, where it was not done. To be called once its route is in Redis; may be repeated.
///
/// # Errors
/// If Redis does not answer; what is left is done the next time.
pub async fn handle(asked: &Asked<'_>, annotations: &BTreeMap<String, String>) -> Result<(), Error> {
    if let Some(value) = annotations.get(RETRY).filter(|value| !value.is_empty()) {
        asked.retry(value).await?;
    }
    if let Some(value) = annotations.get(SKIP).filter(|value| !value.is_empty()) {
        asked.skip(value).await?;
    }
    Ok(())
}

impl Asked<'_> {
    async fn retry(&self, value: &str) -> Result<(), Error> {
        if routing::ask_once(self.link, self.bus, self.uid, Ask::Retry, &nonce(value)).await? == Once::Done {
            self.tell(Note::normal("RetryRequested", "Retry", "the oldest event that waits is tried now, or as soon as a worker runs"));
        }
        Ok(())
    }

    async fn skip(&self, value: &str) -> Result<(), Error> {
        let snapshot = state::snapshot(self.link, self.bus, self.uid).await?;
        let wanted = value.parse::<Sequence>().ok();
        let Some(sequence) = wanted.filter(|sequence| snapshot.head.as_ref().is_some_and(|head| head.sequence == *sequence)) else {
            return self.refuse(value, snapshot.head.as_ref()).await;
        };
        match routing::ask_once(self.link, self.bus, self.uid, Ask::Skip(sequence), &nonce(value)).await? {
            Once::Done => self.tell(Note::normal("SkipRequested", "Skip", format!("{} is given up", sequence.padded()))),
            // asked for before, and still the head: a worker is on it, or there is none
            Once::Repeated => {}
            Once::Gone => return Ok(()),
        }
        if !snapshot.owned && skip::without_worker(self.link, self.bus, self.uid, sequence).await? == Skipped::Done {
            self.tell(Note::normal("Skipped", "Skip", format!("{} is a dead letter now, reason Skipped", sequence.padded())));
        }
        Ok(())
    }

    /// Another event is the head, or none, or this is no sequence.
    async fn refuse(&self, value: &str, head: Option<&Head>) -> Result<(), Error> {
        // the script compares the nonce alone
        let ask = Ask::Skip(Sequence::ZERO);
        if routing::refuse_once(self.link, self.bus, self.uid, ask, &nonce(value)).await? == Once::Done {
            let value: String = value.chars().take(64).collect();
            let present = match head {
                Some(head) => format!("the oldest event that waits is {}", head.sequence.padded()),
                None => "no event waits".to_owned(),
            };
            self.tell(Note::warning("SkipRefused", "Skip", format!("{value} was not skipped: {present}")));
        }
        Ok(())
    }

    fn tell(&self, note: Note) {
        self.events.publish(self.key, self.uid, note);
    }
}

/// Names a value of an annotation, however long and whatever is in it.
fn nonce(value: &str) -> String {
    let hash = digest::digest(&digest::SHA256, value.as_bytes());
    format!("annotation.{}", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_one_word_and_another_for_each_value() {
        let (first, second) = (nonce("2026-01-01T00:00:00Z"), nonce("two words\n"));
        assert_ne!(first, second);
        assert!(!second.contains(char::is_whitespace));
        assert_eq!(first, nonce("2026-01-01T00:00:00Z"));
    }
}
