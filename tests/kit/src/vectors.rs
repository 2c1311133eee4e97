//! Where the machine-readable cases are.

use std::path::{Path, PathBuf};

/// The folder of the cases: what `DM_VECTORS` names, as seen from the root of the repository, or else `tests/vectors` in it.
///
/// Tests run in the folder of their crate, so that a relative path would otherwise mean another folder to each.
pub fn vectors() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    in_root(&root, std::env::var_os("DM_VECTORS").map(PathBuf::from))
}

fn in_root(root: &Path, named: Option<PathBuf>) -> PathBuf {
    root.join(named.unwrap_or_else(|| PathBuf::from("tests/vectors")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_folders_begin_at_the_root_and_absolute_ones_are_what_they_are() {
        let root = Path::new("/repository");
        let named = |name: &str| in_root(root, Some(PathBuf::from(name)));
        assert_eq!(in_root(root, None), root.join("tests/vectors"));
        assert_eq!(named("../other"), root.join("../other"));
        assert_eq!(named("/absolute"), Path::new("/absolute"));
        assert!(
            vectors().join("etcd-keys.json").exists() || std::env::var_os("DM_VECTORS").is_some()
        );
    }
}
