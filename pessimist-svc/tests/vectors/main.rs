//! Behaviour vectors: every case of `pessimism.json`, from the folder in `DM_VECTORS` or else from `tests/vectors`
//! of the repository, run against the machine and an in-memory etcd.

mod case;
mod compare;
mod player;
mod unit;
#[path = "../support/world.rs"]
mod world;

use std::path::PathBuf;

use case::File;

/// Cases that are not run, each with the reason. A name that the file does not have is an error.
const NOT_RUN: [(&str, &str); 0] = [];

fn load() -> (PathBuf, File) {
    let folder = std::env::var_os("DM_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")),
        PathBuf::from,
    );
    let path = folder.join("pessimism.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: File =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(
        (file.format.as_str(), file.version),
        ("dm-pessimism-vectors", 1),
        "{}",
        path.display()
    );
    (path, file)
}

#[test]
fn every_case_is_as_the_vectors_say() {
    let (path, file) = load();
    let mut failures = Vec::new();
    let mut played = 0;
    for case in &file.cases {
        assert!(
            ["same", "better"].contains(&case.class.as_str()),
            "{}: class {}",
            case.name,
            case.class
        );
        if let Some((name, reason)) = NOT_RUN.iter().find(|(name, _)| *name == case.name) {
            eprintln!("not run: {name}: {reason}");
            continue;
        }
        played += 1;
        failures.extend(
            player::play(case, &file.ddls)
                .err()
                .map(|failure| format!("{}: case {}: {failure}", path.display(), case.name)),
        );
    }
    assert!(
        failures.is_empty(),
        "{} of {played} cases fail\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert_eq!(played + NOT_RUN.len(), file.cases.len());
    assert!(!file.cases.is_empty(), "{} has no cases", path.display());
}

#[test]
fn keys_values_and_comparisons_are_as_the_vectors_say() {
    let (_, file) = load();
    unit::check(&file.unit);
}
