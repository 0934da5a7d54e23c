//! An event as expressions see it.

use crate::event::Attributes;
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt};
use cel::common::value::{CowVal, Val};
use serde_json::Value;
use std::collections::HashMap;

/// So many bytes of text weigh as much as one value.
const TEXT: usize = 64;

/// The variable `event`: attributes as text, and `data` where there is JSON.
pub struct Values {
    event: CelMap<'static>,
    weight: u64,
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Values")
    }
}

type Members = HashMap<CelMapKey<'static>, Box<dyn Val>>;

impl Values {
    /// Of an event with these attributes, and with this JSON if it is to be looked at. Text that is no JSON is no data.
    pub fn new(attributes: &Attributes, json: Option<&[u8]>) -> Values {
        let mut weight = Weight::default();
        let mut event = Members::new();
        for (name, value) in attributes.iter() {
            event.insert(CelMapKey::from(name.to_owned()), weight.text(value.to_owned()));
        }
        event.insert(CelMapKey::from("specversion".to_owned()), weight.text("1.0".to_owned()));
        if let Some(data) = json.and_then(|json| serde_json::from_slice::<Value>(json).ok()) {
            event.insert(CelMapKey::from("data".to_owned()), weight.value(data));
        }
        Values { event: CelMap::from(event), weight: weight.0 }
    }

    /// Values in it, text counted by its length.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    pub(super) fn event(&self) -> CowVal<'_, '_> {
        CowVal::Borrowed(&self.event)
    }
}

#[derive(Default)]
struct Weight(u64);

impl Weight {
    fn text(&mut self, text: String) -> Box<dyn Val> {
        self.0 += 1 + (text.len() / TEXT) as u64;
        Box::new(CelString::from(text))
    }

    fn value(&mut self, value: Value) -> Box<dyn Val> {
        self.0 += 1;
        match value {
            Value::Null => Box::new(CelNull),
            Value::Bool(value) => Box::new(CelBool::from(value)),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(whole), _) => Box::new(CelInt::from(whole)),
                (None, Some(whole)) => Box::new(CelUInt::from(whole)),
                (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
            },
            Value::String(text) => self.text(text),
            Value::Array(items) => Box::new(CelList::from(items.into_iter().map(|item| self.value(item)).collect::<Vec<_>>())),
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| (CelMapKey::from(name), self.value(value)));
                Box::new(CelMap::from(members.collect::<Members>()))
            }
        }
    }
}
