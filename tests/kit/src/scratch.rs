//! Folders that vanish with the test, in memory where the machine allows it: databases under
//! test sync to disk at each commit, and a disk is a thousand times slower than they need.

use std::path::Path;

use tempfile::TempDir;

use crate::{Error, Result};

/// Linux's shared-memory file system.
const IN_MEMORY: &str = "/dev/shm";

/// Makes an empty folder that is removed when the value is dropped.
pub fn scratch_dir(name: &str) -> Result<TempDir> {
    let prefix = format!("dm-{name}-");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    if Path::new(IN_MEMORY).is_dir()
        && let Ok(dir) = builder.tempdir_in(IN_MEMORY)
    {
        return Ok(dir);
    }
    builder
        .tempdir()
        .map_err(Error::io("make a temporary folder"))
}
