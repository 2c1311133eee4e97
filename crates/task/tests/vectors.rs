//! The TOML records of the shared behaviour vectors: what a Go writer writes we read and write back unchanged, what
//! a Go reader takes or refuses we take or refuse.

use dm_task::{SourceConfig, SubtaskConfig};
use serde_json::Value;

fn cases() -> Vec<Value> {
    let path = dm_testkit::vectors().join("etcd-values.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let all: Vec<Value> = serde_json::from_str(&text).expect("an array of cases");
    all.into_iter()
        .filter(|case| case["encoding"] == "toml")
        .collect()
}

/// Reads a record and writes it back.
fn rewrite(record: &str, text: &str) -> Result<String, dm_errors::DmError> {
    match record {
        "source config" => SourceConfig::from_toml(text).and_then(|config| config.to_toml()),
        "subtask config" => SubtaskConfig::from_toml(text).and_then(|config| config.to_toml()),
        other => panic!("no reader for record {other:?}"),
    }
}

fn table(text: &str) -> toml::Table {
    toml::from_str(text).expect("TOML")
}

#[test]
fn every_toml_record_is_read_as_a_go_reader_reads_it() {
    let cases = cases();
    for (at, case) in cases.iter().enumerate() {
        let (record, text) = (
            case["record"].as_str().unwrap(),
            case["value"].as_str().unwrap(),
        );
        let name = format!(
            "etcd-values.json, TOML case {at} ({record}, {}): {}",
            case["kind"], case["notes"]
        );
        let written = rewrite(record, text);
        match case["kind"].as_str().unwrap() {
            "written" => {
                let written = written.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(table(&written), table(text), "{name}");
                let keys = |text: &str| {
                    table(text)
                        .into_iter()
                        .map(|(key, _)| key)
                        .collect::<Vec<_>>()
                };
                assert_eq!(keys(&written), keys(text), "{name}: order of keys");
            }
            "accept" => {
                let again = rewrite(
                    record,
                    &written.unwrap_or_else(|error| panic!("{name}: {error}")),
                );
                assert!(again.is_ok(), "{name}: {again:?}");
            }
            "reject" => assert!(written.is_err(), "{name}: it must be refused"),
            other => panic!("{name}: kind {other:?} has no check"),
        }
    }
    assert!(cases.len() >= 9, "only {} TOML cases", cases.len());
}
