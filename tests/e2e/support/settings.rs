//! What `hack/e2e.sh` says, by the environment.

use std::path::PathBuf;

/// The namespace of the release.
pub fn release_namespace() -> String {
    text("E2E_NAMESPACE", "posthorn-system")
}

/// The image under test, as pods name it.
pub fn image() -> String {
    text("IMAGE", "posthorn:dev")
}

/// The same image under another tag, or a later one, to upgrade to.
pub fn next_image() -> Option<String> {
    std::env::var("IMAGE_NEXT").ok().filter(|image| !image.is_empty())
}

/// Whether what a test made stays, to be looked at.
pub fn keep() -> bool {
    !text("E2E_KEEP", "").is_empty()
}

/// Where results and dumps go.
pub fn report() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/target/e2e");
    text("E2E_REPORT", default).into()
}

/// The folder of the chart.
pub fn chart() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/charts/posthorn").to_owned()
}

fn text(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}
