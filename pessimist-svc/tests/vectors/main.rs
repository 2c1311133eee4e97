//! Behaviour vectors: every case of `pessimism.json`, from the folder in `DM_VECTORS` or else from `tests/vectors`
//! of the repository, run against the machine and an in-memory etcd.

mod case;
mod compare;
mod host;
mod live;
mod player;
mod unit;
#[path = "../support/world.rs"]
mod world;

use std::path::PathBuf;

use case::{Case, File};
use host::Host;
use live::Live;
use world::World;

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

/// Cases played side by side.
const AT_A_TIME: usize = 8;

/// Plays all cases, each on a host of its own. `not_run` tells why a case cannot be played on such a host; how many
/// those are is asserted, and each is named.
#[expect(
    clippy::print_stderr,
    reason = "a case that is left out is named in the output of the tests"
)]
fn play_all<H: Host>(
    new: impl Fn() -> H + Sync,
    not_run: impl Fn(&Case) -> Option<&'static str>,
    expected_not_run: usize,
) {
    let (path, file) = load();
    let mut played = Vec::new();
    for case in &file.cases {
        assert!(
            ["same", "better"].contains(&case.class.as_str()),
            "{}: class {}",
            case.name,
            case.class
        );
        match not_run(case) {
            Some(reason) => eprintln!("not run: {}: {reason}", case.name),
            None => played.push(case),
        }
    }
    let play = &|case: &Case| {
        let failure = player::play(case, &file.ddls, &mut new()).err();
        failure.map(|failure| format!("{}: case {}: {failure}", path.display(), case.name))
    };
    let share = played.len().div_ceil(AT_A_TIME).max(1);
    let failures: Vec<String> = std::thread::scope(|threads| {
        let shares = played.chunks(share).map(|cases| {
            threads.spawn(move || {
                cases
                    .iter()
                    .filter_map(|case| play(case))
                    .collect::<Vec<_>>()
            })
        });
        let shares: Vec<_> = shares.collect();
        shares
            .into_iter()
            .flat_map(|share| share.join().expect("no case panics"))
            .collect()
    });
    assert!(
        failures.is_empty(),
        "{} of {} cases fail\n\n{}",
        failures.len(),
        played.len(),
        failures.join("\n\n")
    );
    assert_eq!(file.cases.len() - played.len(), expected_not_run);
    assert!(!played.is_empty(), "{} has no cases", path.display());
}

#[test]
fn every_case_is_as_the_vectors_say_for_the_machine() {
    play_all(World::default, |_| None, 0);
}

#[test]
fn every_case_is_as_the_vectors_say_for_the_real_loop() {
    let faulty = load()
        .1
        .cases
        .iter()
        .filter(|case| !case.needs.is_empty())
        .count();
    let not_run = |case: &Case| {
        (!case.needs.is_empty()).then_some("etcd in memory cannot refuse deletions only")
    };
    play_all(Live::new, not_run, faulty);
}

#[test]
fn keys_values_and_comparisons_are_as_the_vectors_say() {
    let (_, file) = load();
    unit::check(&file.unit);
}
