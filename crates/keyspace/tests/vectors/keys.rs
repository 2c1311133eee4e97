//! `etcd-keys.json`: the adapters as DM has them, and the key types on top of them.

use dm_keyspace::{Adapter, Key, KeyError, KeyFault};
use serde_json::Value;

use super::support::{Run, list, same, text};

#[test]
fn every_key_is_encoded_and_decoded_as_in_dm() {
    let (mut run, json) = Run::load("etcd-keys.json");
    let cases = list(&json);
    for (index, case) in cases.iter().enumerate() {
        let id = format!("{index} ({} {})", case["adapter"], case["kind"]);
        run.case(&id, || check(case));
    }
    run.finish(cases.len());
}

#[test]
fn every_adapter_has_vectors() {
    let (_, json) = Run::load("etcd-keys.json");
    for adapter in Adapter::ALL {
        let known = list(&json)
            .iter()
            .any(|case| case["adapter"] == adapter.name);
        assert!(known, "no vector for {}", adapter.name);
    }
}

fn check(case: &Value) -> Result<(), String> {
    let name = text(case, "adapter")?;
    let adapter = Adapter::by_name(name).ok_or_else(|| format!("  unknown adapter {name}"))?;
    let key = text(case, "key")?;
    match text(case, "kind")? {
        "full" => {
            encodes(&adapter, case, key)?;
            decodes(&adapter, case, key)?;
            typed(&adapter, key, Some(key))
        }
        "prefix" => {
            encodes(&adapter, case, key)?;
            decodes(&adapter, case, key)?;
            is_the_typed_prefix(&adapter, case, key)
        }
        "empty" | "extra" => {
            encodes(&adapter, case, key)?;
            decodes(&adapter, case, key)?;
            typed(&adapter, key, None)
        }
        "decode" => {
            decodes(&adapter, case, key)?;
            typed(&adapter, key, canonical(&adapter, case).as_deref())
        }
        "undecodable" => {
            same("error", &Value::Bool(true), &case["error"])?;
            same("decode", &Value::Null, &case["decode"])?;
            decodes(&adapter, case, key)?;
            typed(&adapter, key, None)
        }
        kind => Err(format!("  unknown kind {kind}")),
    }
}

fn encodes(adapter: &Adapter, case: &Value, key: &str) -> Result<(), String> {
    same("encode", &key.to_owned(), &adapter.encode(&segments(case)))
}

fn decodes(adapter: &Adapter, case: &Value, key: &str) -> Result<(), String> {
    let expected = expected_segments(case);
    let actual = adapter.decode(key.as_bytes());
    match (&expected, &actual) {
        (Some(expected), Ok(actual)) => same("decode", expected, actual),
        (None, Err(error)) => fails_as_in_dm(case, key, error),
        _ => Err(format!(
            "  decode\n    expected {expected:?}\n    actual   {actual:?}"
        )),
    }
}

fn fails_as_in_dm(case: &Value, key: &str, error: &KeyError) -> Result<(), String> {
    same("code", &11110, &error.code())?;
    same(
        "text",
        &format!("fail to decode etcd key: {key}"),
        &error.to_string(),
    )?;
    let reason = text(case, "decode_error")?;
    let actual = match &error.fault {
        KeyFault::NotHex(_) => "not hex".to_owned(),
        KeyFault::OddHex(_) => "odd length hex".to_owned(),
        KeyFault::Empty if reason.starts_with("empty key") => reason.to_owned(),
        KeyFault::SegmentCount { .. } if reason == "segment count" => reason.to_owned(),
        other => other.to_string(),
    };
    same("reason", &reason.to_owned(), &actual)
}

/// What [`Key::parse`] makes of the key: the family's own variant, written back as `canonical`, or nothing of
/// this family at all.
fn typed(adapter: &Adapter, key: &str, canonical: Option<&str>) -> Result<(), String> {
    let parsed = Key::parse(key.as_bytes());
    match (&parsed, canonical) {
        (Ok(Key::Foreign(_)) | Err(_), None) => Ok(()),
        (Ok(typed), Some(canonical)) if !matches!(typed, Key::Foreign(_)) => {
            let written = typed.encode();
            same("typed", &canonical, &&*String::from_utf8_lossy(&written))?;
            same(
                "family",
                &true,
                &written.starts_with(adapter.path.as_bytes()),
            )
        }
        (Ok(other), None) if !other.encode().starts_with(adapter.path.as_bytes()) => Ok(()),
        _ => Err(format!(
            "  typed\n    expected {canonical:?}\n    actual   {parsed:?}"
        )),
    }
}

/// The form in which a lenient key is written, if the typed keys take it: they want the path, names of some
/// length, and text.
fn canonical(adapter: &Adapter, case: &Value) -> Option<String> {
    let in_family = text(case, "key").ok()?.starts_with(adapter.path);
    let names: Option<Vec<&str>> = case["decode"]
        .as_array()?
        .iter()
        .map(Value::as_str)
        .collect();
    names
        .filter(|names| in_family && !names.contains(&""))
        .map(|names| adapter.encode(&names))
}

/// Ranges are made from `prefix`, which is DM's form except where that form is wider than its names say.
fn is_the_typed_prefix(adapter: &Adapter, case: &Value, key: &str) -> Result<(), String> {
    let names = segments(case);
    let prefix = adapter.prefix(&names);
    if names.contains(&"") {
        return same("prefix of nothing", &format!("{key}/"), &prefix);
    }
    let is_old = adapter.spelling == dm_keyspace::Spelling::Plain;
    let expected = if is_old {
        format!("{key}/")
    } else {
        key.to_owned()
    };
    same("prefix", &expected, &prefix)
}

fn segments(case: &Value) -> Vec<&str> {
    list(&case["segments"])
        .iter()
        .map(|name| {
            name.as_str()
                .unwrap_or_else(|| panic!("a segment of {case} is no text"))
        })
        .collect()
}

fn expected_segments(case: &Value) -> Option<Vec<Vec<u8>>> {
    let unhex = |name: &Value| hex::decode(name.as_str()?).ok();
    let plain = |name: &Value| name.as_str().map(|name| name.as_bytes().to_vec());
    match (&case["decode"], &case["decode_hex"]) {
        (Value::Array(names), _) => names.iter().map(plain).collect(),
        (_, Value::Array(names)) => names.iter().map(unhex).collect(),
        _ => None,
    }
}
