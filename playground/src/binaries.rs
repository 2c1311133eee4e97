//! Where the programs are that the playground starts.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Environment variable that names the folder of the programs.
pub const BIN_DIR: &str = "PLAYGROUND_BIN_DIR";

/// The folder: the given one, else that of [`BIN_DIR`], else the one of the running program (for a test, which Cargo puts one folder lower, its parent).
pub fn find(given: Option<&Path>) -> Result<PathBuf> {
    let named = given
        .map(Path::to_owned)
        .or_else(|| std::env::var_os(BIN_DIR).map(PathBuf::from));
    if let Some(dir) = named {
        return std::path::absolute(&dir).map_err(Error::io(format!("find {}", dir.display())));
    }
    let me = std::env::current_exe().map_err(Error::io("ask for the path of this program"))?;
    let dir = me.parent().unwrap_or(Path::new("."));
    let above_deps = dir.parent().filter(|_| dir.ends_with("deps"));
    Ok(above_deps.unwrap_or(dir).to_owned())
}

/// One program in the folder, which must be there.
pub fn program(dir: &Path, name: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::NotBuilt { path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_not_built_is_named_with_the_command_that_builds_it() {
        let dir = tempfile::tempdir().unwrap();
        let text = program(dir.path(), "scheduler-svc")
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("scheduler-svc is not there") && text.contains("cargo build"),
            "{text}"
        );
    }

    #[test]
    fn a_test_finds_the_programs_one_folder_above_its_own() {
        let found = find(None).unwrap();
        assert!(
            std::env::var_os(BIN_DIR).is_some() || !found.ends_with("deps"),
            "{}",
            found.display()
        );
    }
}
