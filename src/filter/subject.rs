//! An event that filters are asked about.

use super::cel::{MAX_DATA, Values};
use crate::event::{Attributes, Event, Mode, json};
use std::sync::OnceLock;

/// An event that filters are asked about. What only expressions look at is made when the first one does.
#[derive(Debug)]
pub struct Subject {
    event: Event,
    attributes_alone: OnceLock<Values>,
    with_data: OnceLock<Values>,
}

impl Subject {
    /// Of an event.
    pub fn new(event: Event) -> Subject {
        Subject { event, attributes_alone: OnceLock::new(), with_data: OnceLock::new() }
    }

    /// Of attributes without data.
    pub fn of_attributes(attributes: Attributes) -> Subject {
        Subject::new(Event { mode: Mode::Binary, attributes, content_type: None, data: Default::default() })
    }

    /// Its attributes.
    pub fn attributes(&self) -> &Attributes {
        &self.event.attributes
    }

    /// What an expression sees of it.
    pub(super) fn values(&self, with_data: bool) -> &Values {
        if !with_data {
            return self.attributes_alone.get_or_init(|| Values::new(&self.event.attributes, None));
        }
        self.with_data.get_or_init(|| {
            let data = json::data(&self.event).filter(|data| data.len() <= MAX_DATA);
            Values::new(&self.event.attributes, data.as_deref())
        })
    }
}
