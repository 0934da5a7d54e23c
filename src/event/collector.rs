//! Puts the attributes of one event together, whatever format they come from.

use super::{Attributes, Error, Limits, rules};

/// Attributes so far.
pub(super) struct Collector<'a> {
    attributes: Attributes,
    bytes: usize,
    limits: &'a Limits,
}

impl<'a> Collector<'a> {
    /// Checks the version; the specification's other rules depend on it.
    pub(super) fn new(specversion: Option<&str>, limits: &'a Limits) -> Result<Collector<'a>, Error> {
        rules::check_specversion(specversion).map_err(|rule| Error::attribute("specversion", rule))?;
        Ok(Collector { attributes: Attributes::default(), bytes: 0, limits })
    }

    /// Checks and adds an attribute, any but `specversion`.
    pub(super) fn add(&mut self, name: &str, value: String) -> Result<(), Error> {
        rules::check_name(name).map_err(|rule| Error::attribute(name, rule))?;
        rules::check_value(name, &value).map_err(|rule| Error::attribute(name, rule))?;
        self.bytes += name.len() + value.len();
        if self.bytes > self.limits.max_attribute_bytes {
            let message =
                format!("the attributes have more than {} bytes: put less into attribute `{name}`", self.limits.max_attribute_bytes);
            return Err(Error { attribute: Some(name.to_owned()), ..Error::too_large(message) });
        }
        if self.attributes.0.insert(name.to_owned(), value).is_some() {
            return Err(Error::attribute(name, "must be given once"));
        }
        if self.attributes.0.len() > self.limits.max_attributes {
            return Err(too_many(self.limits));
        }
        Ok(())
    }

    /// All of them, if none is missing.
    pub(super) fn finish(self) -> Result<Attributes, Error> {
        match self.attributes.missing() {
            Some(name) => Err(Error::attribute(name, "is required")),
            None => Ok(self.attributes),
        }
    }
}

/// More attributes than allowed.
pub(super) fn too_many(limits: &Limits) -> Error {
    Error::too_large(format!("the event has more than {} attributes: send fewer", limits.max_attributes))
}
