//! The reference page of `EventDestination`: every field and every rule.

/// The page, in Markdown.
pub(super) fn markdown() -> String {
    String::new()
}
