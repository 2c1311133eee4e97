//! `etcd-values.json`: the exact bytes that DM writes, and what its readers take.

use dm_keyspace::{
    Bound, Campaign, ClusterId, ClusterVersion, KeepAlive, Key, Lightning, LoadTask, RelayWorker,
    StageRecord, TaskCliArgs, TaskTemplate, ValueError, WorkerInfo, optimism, pessimism,
};
use serde_json::Value;

use super::support::{Run, list, same, text};

/// Whether a source or subtask configuration is accepted is decided by the configuration crate, which runs
/// these cases again. Here they must be TOML under a key of their family; a `reject` is TOML as well, and its
/// fault is in keys and values that a keyspace does not know.
const DELEGATED: [&str; 2] = ["source config", "subtask config"];

#[test]
fn every_value_is_read_and_written_as_in_dm() {
    let (mut run, json) = Run::load("etcd-values.json");
    let cases = list(&json);
    let mut delegated = 0;
    for (index, case) in cases.iter().enumerate() {
        delegated += usize::from(DELEGATED.iter().any(|record| case["record"] == *record));
        let id = format!("{index} ({} {})", case["record"], case["kind"]);
        run.case(&id, || check(case));
    }
    let toml = cases
        .iter()
        .filter(|case| case["encoding"] == "toml")
        .count();
    assert_eq!(delegated, toml, "only TOML is left to another crate");
    assert!(delegated < cases.len(), "nothing is left for this crate");
    run.finish(cases.len());
}

fn check(case: &Value) -> Result<(), String> {
    let record = text(case, "record")?;
    lies_under_its_key(record, case)?;
    let value = bytes(case)?;
    if DELEGATED.contains(&record) {
        return parses_as_toml(&value);
    }
    let read = Read::of(record, &value)?;
    match (text(case, "kind")?, read) {
        ("reject", Err(_)) => Ok(()),
        ("reject", Ok(read)) => Err(format!("  expected an error\n  actual   {read:?}")),
        (_, Err(error)) => Err(format!("  expected a record\n  actual   {error}")),
        ("written", Ok(read)) => {
            same_bytes("written", &value, &read.written)?;
            same_bytes("canonical", &value, &read.canonical)?;
            done_form(case, &read)
        }
        ("accept", Ok(read)) => {
            let rewritten = text(case, "rewritten")?.as_bytes();
            same_bytes("rewritten", rewritten, &read.canonical)?;
            done_form(case, &read)
        }
        ("accept-legacy", Ok(read)) => legacy(&value, &read),
        (kind, Ok(_)) => Err(format!("  unknown kind {kind}")),
    }
}

/// A value after it was read.
#[derive(Debug)]
struct Read {
    written: Vec<u8>,
    canonical: Vec<u8>,
    /// Operations only: what a worker puts back, of a record that carries a trace and an unknown member.
    done: Option<Vec<u8>>,
}

macro_rules! read {
    ($record:ty, $value:expr) => {
        <$record>::from_bytes($value).map(|record| Read {
            written: record.to_bytes(),
            canonical: record.to_canonical_bytes(),
            done: None,
        })
    };
    (bare $record:ty, $value:expr) => {
        <$record>::from_bytes($value).map(|record| Read {
            written: record.to_bytes(),
            canonical: record.to_bytes(),
            done: None,
        })
    };
    (operation $record:ty, $value:expr) => {
        <$record>::from_bytes($value).map(|record| Read {
            written: record.to_bytes(),
            canonical: record.to_canonical_bytes(),
            done: Some({
                let mut traced = record.into_done();
                traced.traceparent = Some("00-a-b-01".to_owned());
                traced.to_bytes()
            }),
        })
    };
}

impl Read {
    fn of(record: &str, value: &[u8]) -> Result<Result<Self, ValueError>, String> {
        Ok(match record {
            "cluster version" => read!(ClusterVersion, value),
            "cluster id" => read!(bare ClusterId, value),
            "election campaign" => read!(Campaign, value),
            "worker info" => read!(WorkerInfo, value),
            "keepalive" => read!(KeepAlive, value),
            "source bound" | "last source bound" => read!(Bound, value),
            "relay config" => read!(bare RelayWorker, value),
            "subtask stage" | "relay stage" | "validator stage" => read!(StageRecord, value),
            "load task" => read!(bare LoadTask, value),
            "lightning status" => read!(bare Lightning, value),
            "task cli args" => read!(TaskCliArgs, value),
            "pessimistic info" => read!(pessimism::Info, value),
            "pessimistic operation" => read!(operation pessimism::Operation, value),
            "source tables" => read!(optimism::SourceTables, value),
            "optimistic info" => read!(optimism::Info, value),
            "optimistic operation" => read!(operation optimism::Operation, value),
            "dropped column" => read!(bare optimism::DropStage, value),
            "task template" => read!(bare TaskTemplate, value),
            other => return Err(format!("  unknown record {other}")),
        })
    }
}

fn done_form(case: &Value, read: &Read) -> Result<(), String> {
    match (case["done_form"].as_str(), &read.done) {
        (Some(expected), Some(done)) => same_bytes("done form", expected.as_bytes(), done),
        (Some(_), None) => Err("  a done form of a record that has none".to_owned()),
        (None, _) => Ok(()),
    }
}

/// The old form has one schema in place of a list; written again it is a list of one.
fn legacy(value: &[u8], read: &Read) -> Result<(), String> {
    let old: Value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let new: Value = serde_json::from_slice(&read.canonical).map_err(|error| error.to_string())?;
    let mut expected = old.clone();
    expected["table-info-after"] = Value::Array(vec![old["table-info-after"].clone()]);
    expected["ignore-conflict"] = Value::Bool(false);
    same("rewritten", &expected, &new)
}

fn lies_under_its_key(record: &str, case: &Value) -> Result<(), String> {
    let Some(key) = case["key"].as_str() else {
        return Ok(());
    };
    let parsed = Key::parse(key.as_bytes()).map_err(|error| error.to_string())?;
    let fits = match record {
        "cluster version" => matches!(parsed, Key::ClusterVersion(_)),
        "cluster id" => matches!(parsed, Key::ClusterId(_)),
        "election campaign" => matches!(parsed, Key::DmCampaign(_)),
        "worker info" => matches!(parsed, Key::WorkerInfo(_)),
        "keepalive" => matches!(parsed, Key::KeepAlive(_)),
        "source bound" => matches!(parsed, Key::Bound(_)),
        "last source bound" => matches!(parsed, Key::LastBound(_)),
        "relay config" => matches!(parsed, Key::RelayWorker(_)),
        "subtask stage" => matches!(parsed, Key::SubtaskStage(_)),
        "relay stage" => matches!(parsed, Key::RelayStage(_)),
        "validator stage" => matches!(parsed, Key::ValidatorStage(_)),
        "load task" => matches!(parsed, Key::LoadTask(_)),
        "lightning status" => matches!(parsed, Key::Lightning(_)),
        "task cli args" => matches!(parsed, Key::TaskCliArgs(_)),
        "source config" => matches!(parsed, Key::SourceConfig(_)),
        "subtask config" => matches!(parsed, Key::Subtask(_)),
        "pessimistic info" => matches!(parsed, Key::PessimismInfo(_)),
        "pessimistic operation" => matches!(parsed, Key::PessimismOperation(_)),
        "source tables" => matches!(parsed, Key::SourceTables(_)),
        "optimistic info" => matches!(parsed, Key::OptimismInfo(_)),
        "optimistic operation" => matches!(parsed, Key::OptimismOperation(_)),
        "dropped column" => matches!(parsed, Key::DroppedColumn(_)),
        "task template" => matches!(parsed, Key::TaskTemplate(_)),
        other => return Err(format!("  unknown record {other}")),
    };
    same("key of the record's family", &(true, key), &(fits, key))?;
    same_bytes("key", key.as_bytes(), &parsed.encode())
}

fn bytes(case: &Value) -> Result<Vec<u8>, String> {
    match text(case, "encoding")? {
        "json" | "toml" | "plain" => text(case, "value").map(|value| value.as_bytes().to_vec()),
        "bytes" => hex::decode(text(case, "value_hex")?).map_err(|error| error.to_string()),
        other => Err(format!("  unknown encoding {other}")),
    }
}

fn parses_as_toml(value: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(value).map_err(|error| error.to_string())?;
    text.parse::<toml::Table>()
        .map(|_| ())
        .map_err(|error| format!("  expected TOML\n  actual   {error}"))
}

fn same_bytes(what: &str, expected: &[u8], actual: &[u8]) -> Result<(), String> {
    let (expected, actual) = (
        String::from_utf8_lossy(expected),
        String::from_utf8_lossy(actual),
    );
    same(what, &expected, &actual)
}
