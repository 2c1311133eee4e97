//! Files with configurations: they may hold passwords, so nobody else reads them.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::cli::ConfigDir;
use crate::error::Error;

const SOURCES: &str = "sources";
const TASKS: &str = "tasks";
const RELAY_WORKERS: &str = "relay_workers.json";

/// Where an export puts what.
pub(super) struct Layout {
    /// The directory as the user named it.
    pub(super) root: String,
    /// One file for each source.
    pub(super) sources: PathBuf,
    /// One file for each task.
    pub(super) tasks: PathBuf,
    /// Which workers were told by name to pull the relay log of which source.
    pub(super) relay_workers: PathBuf,
}

impl Layout {
    pub(super) fn of(dir: &ConfigDir) -> Self {
        let root = dir.dir.as_ref().unwrap_or(&dir.path).clone();
        let path = Path::new(&root);
        Self {
            sources: path.join(SOURCES),
            tasks: path.join(TASKS),
            relay_workers: path.join(RELAY_WORKERS),
            root,
        }
    }
}

/// Writes a file that only its owner reads; one that is there is replaced.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            // One that was there keeps its mode otherwise.
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())
        });
    written.map_err(|error| failed("write", path, &error))
}

/// Makes a directory that only its owner enters, with those above it.
pub(super) fn make(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| failed("create directory", path, &error))
}

/// The texts of all files right in a directory, in the order of their names.
pub(super) fn texts(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| failed("read directory", dir, &error))?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

pub(super) fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| failed("read", path, &error))
}

fn failed(what: &str, path: &Path, why: &std::io::Error) -> Error {
    Error::Other(format!("can not {what} {}: {why}", path.display()))
}
