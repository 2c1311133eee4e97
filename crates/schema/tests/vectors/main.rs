//! Comparison vectors: every case of `schemacmp.json`, from the folder in `DM_VECTORS` or else from `tests/vectors` of the repository.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::path::PathBuf;

use dm_schema::create_table::{Defaults, read_create_table};
use dm_schema::lattice::{Incompatible, Schema};
use dm_schema::table_info::TableInfo;
use dm_schema::{ColumnChange, Options, column_change};
use serde::Deserialize;
use serde_json::Value;

/// Cases that are wrong, each with the reason.
const LEFT_OUT: [(&str, &str); 0] = [];

/// A field that is not listed here is an error: nothing of a case is passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    version: u32,
    #[serde(rename = "spec")]
    _spec: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    a: String,
    b: String,
    compare: Compare,
    join: String,
    compare_error: Option<String>,
    join_error: Option<String>,
    #[serde(default, rename = "note")]
    _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Compare {
    Order(i8),
    Word(String),
}

impl Case {
    fn compare(&self) -> Result<Option<Ordering>, String> {
        match &self.compare {
            Compare::Order(-1) => Ok(Some(Ordering::Less)),
            Compare::Order(0) => Ok(Some(Ordering::Equal)),
            Compare::Order(1) => Ok(Some(Ordering::Greater)),
            Compare::Word(word) if word == "error" => Ok(None),
            Compare::Order(other) => Err(format!("field compare has the unknown value {other}")),
            Compare::Word(other) => Err(format!("field compare has the unknown value {other}")),
        }
    }

    fn check(&self) -> Result<(), String> {
        let (a, b) = (encode(&self.a)?, encode(&self.b)?);
        let order = self.compare()?;
        let message = self.compare_error.as_deref();
        check("compare(a, b)", order.as_ref(), message, &a.compare(&b))?;
        let reverse = order.map(Ordering::reverse);
        check("compare(b, a)", reverse.as_ref(), None, &b.compare(&a))?;
        let join = match self.join.as_str() {
            "error" => None,
            text => Some(encode(text)?),
        };
        let message = self.join_error.as_deref();
        check("join(a, b)", join.as_ref(), message, &a.join(&b))?;
        check("join(b, a)", join.as_ref(), None, &b.join(&a))?;
        let twice = Schema::join_all([&b, &a, &b, &a]).map(|join| join.expect("four tables"));
        check("join_all(b, a, b, a)", join.as_ref(), None, &twice)?;
        for (name, joined) in [("join(a, b)", a.join(&b)), ("join(b, a)", b.join(&a))] {
            let (Some(expected), Ok(joined)) = (&join, joined) else {
                continue;
            };
            let equal = Ok(Ordering::Equal);
            let orders = [joined.compare(expected), expected.compare(&joined)];
            if orders != [equal.clone(), equal] {
                return Err(format!("{name} compares with the expected as {orders:?}"));
            }
        }
        Ok(())
    }
}

/// The schema of a text; on the way it goes through JSON as it does from a worker to the coordinator.
fn encode(text: &str) -> Result<Schema, String> {
    let built = read_create_table(text, &Options::default(), &Defaults::default());
    let built = built.map_err(|e| format!("{text}: {e}"))?;
    let info = TableInfo::from_json(&built.to_json()).map_err(|e| format!("{text}: {e}"))?;
    Ok(Schema::of(&info))
}

fn check<T: Debug + PartialEq>(
    what: &str,
    expected: Option<&T>,
    message: Option<&str>,
    actual: &Result<T, Incompatible>,
) -> Result<(), String> {
    let as_expected = match (expected, actual) {
        (Some(expected), Ok(actual)) => expected == actual,
        (None, Err(error)) => error.to_string().contains(message.unwrap_or_default()),
        _ => false,
    };
    if as_expected {
        return Ok(());
    }
    let expected = match (expected, message) {
        (Some(value), _) => format!("{value:?}"),
        (None, Some(message)) => format!("an error with the text {message:?}"),
        (None, None) => "an error".to_owned(),
    };
    let actual = match actual {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("the error {error}"),
    };
    Err(format!(
        "{what}\n  expected: {expected}\n  actual:   {actual}"
    ))
}

fn text_of(file: &str) -> (PathBuf, String) {
    let path = dm_testkit::vectors().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (path, text)
}

fn load() -> (PathBuf, File) {
    let (path, text) = text_of("schemacmp.json");
    let file: File =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(
        (file.format.as_str(), file.version),
        ("dm-schemacmp-vectors", 1),
        "{}",
        path.display()
    );
    (path, file)
}

#[test]
fn every_case_is_as_the_vectors_say() {
    let (path, file) = load();
    let path = path.display();
    let mut failures = Vec::new();
    let mut run = 0;
    for case in &file.cases {
        if let Some((name, reason)) = LEFT_OUT.iter().find(|(name, _)| *name == case.name) {
            println!("not run: {name}: {reason}");
            continue;
        }
        run += 1;
        if let Err(failure) = case.check() {
            failures.push(format!("{path}: case {}: {failure}", case.name));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {run} cases fail\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert_eq!(run + LEFT_OUT.len(), file.cases.len(), "{path}");
    // The vectors at their first version have this many; later ones may have more.
    assert!(run >= 94, "{path} has {run} cases only");
}

#[test]
fn names_of_cases_are_unique() {
    let (path, file) = load();
    let mut names: Vec<&str> = file.cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None, "{}", path.display());
}

fn texts<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => out.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(members) => members.values().for_each(|item| texts(item, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The tables and DDLs of the coordinator's vectors, which are judged there, can all be read.
#[test]
fn tables_and_ddls_of_the_optimistic_vectors_are_understood() {
    let (path, text) = text_of("optimism.json");
    let file: Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut all = Vec::new();
    texts(&file["cases"], &mut all);
    let (mut tables, mut changes) = (0, 0);
    for text in all {
        if text.starts_with("CREATE TABLE `") {
            encode(text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            tables += 1;
        } else if text.starts_with("ALTER TABLE `") {
            let change = column_change(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let expected = ["ADD COLUMN", "DROP COLUMN"].map(|words| text.contains(words));
            let actual = [
                matches!(change, Some(ColumnChange::Added(_))),
                matches!(change, Some(ColumnChange::Dropped(_))),
            ];
            assert_eq!(actual, expected, "{text}");
            changes += 1;
        }
    }
    assert!(tables > 0 && changes > 0, "{}", path.display());
}
