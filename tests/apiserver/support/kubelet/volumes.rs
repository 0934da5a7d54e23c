//! Volumes: Secrets and ConfigMaps as files behind a `..data` link, as a kubelet writes them; empty directories.

use super::cache::{Cache, Versions, version};
use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, Pod, Secret, Volume};
use kube::Resource;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Files of a volume: name → contents.
type Files = BTreeMap<String, Vec<u8>>;

/// A volume that a pod has mounted.
pub struct Mounted {
    volume: Volume,
    /// Where it is.
    pub folder: PathBuf,
    /// `resourceVersion` of what it holds; none if there is nothing to follow.
    version: Option<u64>,
    /// When the change that was seen will be mounted.
    pub due: Option<Instant>,
}

/// What a volume is made from, at two moments.
struct Source {
    present: (u64, Files),
    previous: Option<(u64, Files)>,
}

/// Makes all volumes of a pod in a folder.
pub fn mount(pod: &Pod, cache: &Cache, folder: &Path) -> Result<Vec<Mounted>, String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.map(|volume| Mounted::new(volume, cache, folder.join(&volume.name))).collect()
}

impl Mounted {
    fn new(volume: &Volume, cache: &Cache, folder: PathBuf) -> Result<Mounted, String> {
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let mut mounted = Mounted { volume: volume.clone(), folder, version: None, due: None };
        if volume.empty_dir.is_none() {
            match source(volume, cache)? {
                Some(source) => mounted.write(&source.present),
                None => mounted.write(&(0, Files::new())),
            }
        }
        Ok(mounted)
    }

    /// Name of the volume.
    pub fn name(&self) -> &str {
        &self.volume.name
    }

    /// Whether the API server has told of other contents than are mounted.
    pub fn is_behind(&self, cache: &Cache) -> bool {
        self.source(cache).is_some_and(|source| Some(source.present.0) != self.version)
    }

    /// Mounts what there is; or what there was before, if the watch is to be late. Returns whether anything changed.
    pub fn refresh(&mut self, cache: &Cache, late: bool) -> bool {
        let Some(Source { present, previous }) = self.source(cache) else { return false };
        let wanted = if late { previous } else { Some(present) };
        match wanted {
            Some(wanted) if Some(wanted.0) > self.version => {
                self.write(&wanted);
                true
            }
            _ => false,
        }
    }

    /// What is to be mounted; none for an empty directory, and while the object is gone: what it held stays.
    fn source(&self, cache: &Cache) -> Option<Source> {
        self.version?;
        source(&self.volume, cache).ok().flatten()
    }

    /// As kubelet's atomic writer: a new directory, then the links, then `..data` swings over in one step.
    fn write(&mut self, (version, files): &(u64, Files)) {
        let (folder, directory) = (&self.folder, format!("..v{version}"));
        fs::create_dir_all(folder.join(&directory)).unwrap();
        for (name, contents) in files {
            fs::write(folder.join(&directory).join(name), contents).unwrap();
            // It is there already if the file was there before.
            let _ = symlink(Path::new("..data").join(name), folder.join(name));
        }
        let before = fs::read_link(folder.join("..data")).ok();
        let _ = fs::remove_file(folder.join("..data_tmp"));
        symlink(&directory, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        for entry in fs::read_dir(folder).unwrap().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with("..") && !files.contains_key(&name) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        if let Some(before) = before.filter(|before| *before != Path::new(&directory)) {
            fs::remove_dir_all(folder.join(before)).unwrap();
        }
        self.version = Some(*version);
    }
}

/// What a volume is made from; none if it is optional and not there.
fn source(volume: &Volume, cache: &Cache) -> Result<Option<Source>, String> {
    let (what, found, optional) = if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let found = cache.secret(name).map(|versions| both(versions, secret_files, secret.items.as_deref()));
        (format!("Secret {name}"), found, secret.optional)
    } else if let Some(map) = &volume.config_map {
        let found = cache.config_map(&map.name).map(|versions| both(versions, map_files, map.items.as_deref()));
        (format!("ConfigMap {}", map.name), found, map.optional)
    } else {
        return Err(format!("volume {} is of a kind that is not played", volume.name));
    };
    if found.is_none() && optional != Some(true) {
        return Err(format!("volume {}: {what} is not there", volume.name));
    }
    Ok(found)
}

fn both<K: Resource>(versions: Versions<K>, files: fn(K) -> Files, items: Option<&[KeyToPath]>) -> Source {
    let one = |object: K| (version(&object), chosen(files(object), items));
    Source { present: one(versions.present), previous: versions.previous.map(one) }
}

fn secret_files(secret: Secret) -> Files {
    secret.data.into_iter().flatten().map(|(name, data)| (name, data.0)).collect()
}

fn map_files(map: ConfigMap) -> Files {
    let binary = map.binary_data.into_iter().flatten().map(|(name, data)| (name, data.0));
    map.data.into_iter().flatten().map(|(name, text)| (name, text.into_bytes())).chain(binary).collect()
}

/// All keys, or those that are named, under the names that are given.
fn chosen(mut files: Files, items: Option<&[KeyToPath]>) -> Files {
    match items {
        None | Some([]) => files,
        Some(items) => items.iter().filter_map(|item| Some((item.path.clone(), files.remove(&item.key)?))).collect(),
    }
}
