//! Reads the files of the folder.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The file of the folder that holds settings, not objects.
pub const SETTINGS_FILE: &str = "posthorn.yaml";

/// Largest file that is read, bytes. An object of Kubernetes is at most 1.5 MiB.
const LARGEST: u64 = 16 << 20;

/// The text of each file, or why it could not be read.
pub type Texts = BTreeMap<String, Result<String, String>>;

/// Reads every manifest right in the folder, settings included; links are followed, sub-folders are not.
///
/// # Errors
/// If the folder itself cannot be read.
pub fn read(folder: &Path) -> io::Result<Texts> {
    let mut texts = Texts::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_manifest(&name) {
            let path = folder.join(&name);
            if !path.is_dir() {
                texts.insert(name, read_file(&path));
            }
        }
    }
    Ok(texts)
}

/// Whether a file counts, by its name: neither hidden nor what an editor leaves beside it.
pub fn is_manifest(name: &str) -> bool {
    let suffix = Path::new(name).extension().and_then(|suffix| suffix.to_str());
    matches!(suffix, Some("yaml" | "yml" | "json")) && !name.starts_with(['.', '#', '~'])
}

fn read_file(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if metadata.len() > LARGEST {
        return Err(format!("is larger than {} MiB", LARGEST >> 20));
    }
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        _ => format!("cannot be read: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_leave_behind_does_not_count() {
        for name in ["a.yaml", "b.yml", "c.json", "posthorn.yaml", "a.b.yaml"] {
            assert!(is_manifest(name), "{name}");
        }
        for name in
            [".a.yaml", "a.yaml~", "#a.yaml#", ".a.yaml.swp", ".#a.yaml", "4913", "a.txt", "yaml", "a.yaml.bak", "..data", "~$a.yaml"]
        {
            assert!(!is_manifest(name), "{name}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_there_with_its_reason() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(folder.path().join("good.yaml"), "a: 1").expect("writable");
        std::fs::write(folder.path().join("odd.yaml"), [0xff, 0xfe]).expect("writable");
        std::os::unix::fs::symlink("nowhere", folder.path().join("link.yaml")).expect("writable");
        std::fs::create_dir(folder.path().join("sub.yaml")).expect("writable");
        let texts = read(folder.path()).expect("readable");
        assert_eq!(texts.keys().collect::<Vec<_>>(), ["good.yaml", "link.yaml", "odd.yaml"]);
        assert_eq!(texts["good.yaml"], Ok("a: 1".to_owned()));
        assert_eq!(texts["odd.yaml"], Err("is not UTF-8 text".to_owned()));
        assert!(texts["link.yaml"].as_ref().is_err_and(|reason| reason.starts_with("cannot be read")));
    }
}
