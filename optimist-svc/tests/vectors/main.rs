//! Behaviour vectors: every case of `optimism.json`, from the folder in `DM_VECTORS` or else from `tests/vectors` of the
//! repository, run against the machine and an in-memory etcd, against the loop and a served in-memory etcd, and against
//! the process, a real etcd and a real MariaDB.

mod case;
#[path = "../../../tests/kit/shared/etcd.rs"]
mod etcd;
mod host;
mod live;
mod player;
mod process;
#[path = "../support/world.rs"]
mod world;

use std::path::{Path, PathBuf};

use case::{Case, File};
use host::Host;
use live::Live;
use process::Outside;
use world::World;

/// The task of all cases.
const TASK: &str = "task";
/// The file has so many cases at least.
const AT_LEAST: usize = 80;
/// Cases played side by side.
const AT_A_TIME: usize = 8;

fn load() -> (PathBuf, File) {
    let path = dm_testkit::vectors().join("optimism.json");
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

/// The failure of a case, if it fails.
fn play(path: &Path, case: &Case, host: &mut dyn Host) -> Option<String> {
    let is_known = ["same", "better"].contains(&case.class.as_str());
    assert!(is_known, "{}: class {}", case.name, case.class);
    let failure = player::play(case, host).err()?;
    let (path, class) = (path.display(), &case.class);
    Some(format!("{path}: case {} ({class}): {failure}", case.name))
}

/// Plays all cases, each on a host of its own.
fn play_all<H: Host>(new: impl Fn() -> H + Sync) {
    let (path, file) = load();
    let play = |case| play(&path, case, &mut new());
    let share = file.cases.len().div_ceil(AT_A_TIME).max(1);
    let failures: Vec<String> = std::thread::scope(|threads| {
        let shares = file
            .cases
            .chunks(share)
            .map(|cases| threads.spawn(|| cases.iter().filter_map(play).collect::<Vec<_>>()));
        let shares: Vec<_> = shares.collect();
        shares
            .into_iter()
            .flat_map(|share| share.join().expect("no case panics"))
            .collect()
    });
    check(&path, file.cases.len(), &failures);
}

fn check(path: &Path, played: usize, failures: &[String]) {
    assert!(
        failures.is_empty(),
        "{} of {played} cases fail\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(
        played >= AT_LEAST,
        "{} has {played} cases only",
        path.display()
    );
}

#[test]
fn every_case_is_as_the_vectors_say_for_the_machine() {
    play_all(World::default);
}

#[test]
fn every_case_is_as_the_vectors_say_for_the_real_loop() {
    play_all(Live::new);
}

/// One etcd, one MariaDB and one process for all: what one case leaves behind must not show in the next.
#[test]
fn every_case_is_as_the_vectors_say_for_the_process() {
    let (path, file) = load();
    let mut host = Outside::new();
    let failures = file.cases.iter().filter_map(|case| {
        host.make_ready();
        play(&path, case, &mut host)
    });
    check(&path, file.cases.len(), &failures.collect::<Vec<_>>());
}
