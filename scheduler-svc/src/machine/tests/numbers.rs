//! Whoever looks for a case of the behaviour list finds a test by its number.

use std::collections::BTreeSet;
use std::path::Path;

const CASES: std::ops::RangeInclusive<u32> = 1..=118;
/// Where the tests of cases stand, below this crate's folder; those of the simulation are as good as any.
const PLACES: [&str; 3] = ["src", "tests", "../tests/sim/tests"];

fn texts(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The numbers at the head of a name such as `case_4_…`, `cases_6_and_16_…` or `cases_109_to_112_…`.
fn numbers(name: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = Vec::new();
    let mut is_range = false;
    for word in name.split('_') {
        match (word, word.parse()) {
            (_, Ok(number)) => {
                let from = numbers
                    .last()
                    .filter(|_| is_range)
                    .map_or(number, |last| last + 1);
                numbers.extend(from..=number);
            }
            ("to", _) => is_range = true,
            ("and", _) => is_range = false,
            _ => break,
        }
    }
    numbers
}

#[test]
fn every_case_is_a_test_that_is_found_by_its_number() {
    assert_eq!(numbers("109_to_112_validators"), [109, 110, 111, 112]);
    assert_eq!(numbers("103_104_and_108_an_abandoned"), [103, 104, 108]);
    let mut found = Vec::new();
    for place in PLACES {
        texts(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(place),
            &mut found,
        );
    }
    let names = found
        .iter()
        .flat_map(|text| text.split(['(', ':', ' ', '\n']))
        .filter_map(|word| word.strip_prefix("case_").or(word.strip_prefix("cases_")));
    let tested: BTreeSet<u32> = names.flat_map(numbers).collect();
    let missing: Vec<u32> = CASES.filter(|case| !tested.contains(case)).collect();
    assert_eq!(missing, [0; 0], "cases without a test");
}
