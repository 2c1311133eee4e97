//! Behaviour vectors: every case of `pessimism.json`, from the folder in `DM_VECTORS` or else from `tests/vectors`
//! of the repository, run against the machine and an in-memory etcd,
//! against the loop and a served in-memory etcd, and against the process and a real etcd.

mod case;
mod compare;
#[path = "../../../tests/kit/shared/etcd.rs"]
mod etcd;
mod host;
mod live;
mod player;
mod process;
mod unit;
#[path = "../support/world.rs"]
mod world;

use std::path::{Path, PathBuf};

use case::{Case, File};
use host::Host;
use live::Live;
use process::Outside;
use world::World;

fn load() -> (PathBuf, File) {
    let path = dm_testkit::vectors().join("pessimism.json");
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

/// Cases played side by side.
const AT_A_TIME: usize = 8;

/// The failure of a case, if it fails.
fn play(path: &Path, file: &File, case: &Case, host: &mut dyn Host) -> Option<String> {
    assert!(
        ["same", "better"].contains(&case.class.as_str()),
        "{}: class {}",
        case.name,
        case.class
    );
    let failure = player::play(case, &file.ddls, host).err()?;
    Some(format!("{}: case {}: {failure}", path.display(), case.name))
}

/// The case that is about the API of a replica that does not lead. A machine knows nothing of leads, and in front of a process
/// the layer that forwards to the leader answers first (38043), so it is played against the real loop and API only.
const WITHOUT_LEAD: &str = "api_when_not_started";

/// Plays all cases, each on a host of its own.
fn play_all<H: Host>(leaves_out: Option<&str>, new: impl Fn() -> H + Sync) {
    let (path, mut file) = load();
    file.cases.retain(|case| leaves_out != Some(&*case.name));
    let file = file;
    let play = |case| play(&path, &file, case, &mut new());
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
    assert!(played > 0, "{} has no cases", path.display());
}

#[test]
fn every_case_is_as_the_vectors_say_for_the_machine() {
    play_all(Some(WITHOUT_LEAD), World::default);
}

#[test]
fn every_case_is_as_the_vectors_say_for_the_real_loop() {
    play_all(None, Live::new);
}

/// One etcd and one process for all: what one case leaves behind must not show in the next.
#[test]
fn every_case_is_as_the_vectors_say_for_the_process() {
    let (path, file) = load();
    let mut host = Outside::new();
    let cases = file.cases.iter().filter(|case| case.name != WITHOUT_LEAD);
    let failures = cases.filter_map(|case| {
        host.make_ready(case.master == "running");
        play(&path, &file, case, &mut host)
    });
    check(&path, file.cases.len(), &failures.collect::<Vec<_>>());
}

#[test]
fn keys_values_and_comparisons_are_as_the_vectors_say() {
    let (_, file) = load();
    unit::check(&file.unit);
}
