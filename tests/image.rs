//! The image is built by the compiler that everything else is built by.

use std::path::Path;

/// What stands behind the first line that begins so.
fn value(file: &str, start: &str) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it is there");
    let found = text.lines().find_map(|line| line.strip_prefix(start));
    found.unwrap_or_else(|| panic!("{file} has no line with {start}")).trim_matches('"').to_owned()
}

#[test]
fn the_dockerfile_names_the_toolchain_of_the_repository() {
    let channel = value("rust-toolchain.toml", "channel = ");
    assert_eq!(value("Dockerfile", "ARG BUILDER_IMAGE="), format!("docker.io/library/rust:{channel}-bookworm"));
}
