//! The resource: `EventDestination` of `posthorn.dev/v1alpha1`, its schema and rules, and the manifests it is written in. Pure.
//!
//! * [`spec`], [`sink`], [`filter`], [`status`]: the types. Their doc comments become the descriptions in the schema.
//! * [`crd`]: the CustomResourceDefinition, made from the types and the [`rules`].
//! * [`mod@validate`]: the same schema and rules applied here, with the messages of an API server.
//! * [`not_yet`]: what the schema offers and the data plane does not do yet.
//! * [`manifest`]: YAML files, with the line of every field; [`objects`]: Secrets and ConfigMaps from them.

pub mod crd;
pub mod filter;
pub mod manifest;
pub mod not_yet;
pub mod objects;
pub mod rules;
pub mod sink;
pub mod spec;
pub mod status;
pub mod validate;
pub mod values;
pub mod yaml;

pub use spec::{EventDestination, EventDestinationSpec};
pub use status::EventDestinationStatus;
pub use validate::{Violation, parse, validate};

/// API group and version.
pub const API_VERSION: &str = "posthorn.dev/v1alpha1";

/// Kind of the resource.
pub const KIND: &str = "EventDestination";
