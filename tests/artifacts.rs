//! The generated files in the repository are what the code generates.

use std::path::Path;

#[test]
fn generated_files_are_up_to_date() {
    let differing = posthorn::generate::differences(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the repository can be read");
    assert!(differing.is_empty(), "out of date: {differing:?}; run `cargo run -- generate` and commit the result");
}
