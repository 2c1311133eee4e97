//! Behaviour vectors: every case of `optimism.json`, from the folder in `DM_VECTORS` or else from `tests/vectors` of the
//! repository, run against the machine and an in-memory etcd.

mod case;
mod player;
#[path = "../support/world.rs"]
mod world;

use std::path::PathBuf;

use case::File;

fn load() -> (PathBuf, File) {
    let folder = std::env::var_os("DM_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")),
        PathBuf::from,
    );
    let path = folder.join("optimism.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: File =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(
        (file.format.as_str(), file.version),
        ("dm-optimism-vectors", 1),
        "{}",
        path.display()
    );
    (path, file)
}

#[test]
fn every_case_is_as_the_vectors_say_for_the_machine() {
    let (path, file) = load();
    let mut failures = Vec::new();
    for case in &file.cases {
        let is_known = ["same", "better"].contains(&case.class.as_str());
        assert!(is_known, "{}: class {}", case.name, case.class);
        if let Err(failure) = player::play(case) {
            failures.push(format!("case {} ({}): {failure}", case.name, case.class));
        }
    }
    assert!(!file.cases.is_empty(), "{} has no cases", path.display());
    assert!(
        failures.is_empty(),
        "{}: {} of {} cases fail\n\n{}",
        path.display(),
        failures.len(),
        file.cases.len(),
        failures.join("\n\n")
    );
}
