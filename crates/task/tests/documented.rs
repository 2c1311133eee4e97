//! The description of task and source files says something about everything that they may hold.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use dm_task::task::CHECKING_ITEMS;
use dm_task::{SourceConfig, TaskConfig};

const DOCUMENT: &str = include_str!("../../../docs/tasks.md");

/// What the error for an unknown key says is allowed beside it.
fn allowed(error: &str) -> Vec<String> {
    let (_, list) = error.split_once("(allowed: ").unwrap();
    let (list, _) = list.split_once(')').unwrap();
    list.split(", ").map(str::to_owned).collect()
}

fn undocumented(error: &str) -> Vec<String> {
    let keys = allowed(error);
    assert!(!keys.is_empty(), "{error}");
    let is_missing = |key: &String| !DOCUMENT.contains(&format!("`{key}`"));
    keys.into_iter().filter(is_missing).collect()
}

#[test]
fn every_key_of_a_task_is_documented() {
    let sections = [
        "{zz: 1}",
        "{target-database: {zz: 1}}",
        "{target-database: {security: {zz: 1}}}",
        "{mysql-instances: [{zz: 1}]}",
        "{mysql-instances: [{meta: {zz: 1}}]}",
        "{routes: {r: {zz: 1}}}",
        "{routes: {r: {extract-table: {zz: 1}}}}",
        "{routes: {r: {extract-schema: {zz: 1}}}}",
        "{routes: {r: {extract-source: {zz: 1}}}}",
        "{filters: {f: {zz: 1}}}",
        "{block-allow-list: {l: {zz: 1}}}",
        "{block-allow-list: {l: {do-tables: [{zz: 1}]}}}",
        "{expression-filter: {e: {zz: 1}}}",
        "{mydumpers: {m: {zz: 1}}}",
        "{loaders: {l: {zz: 1}}}",
        "{syncers: {s: {zz: 1}}}",
        "{validators: {v: {zz: 1}}}",
        "{experimental: {zz: 1}}",
    ];
    for text in sections {
        let error = TaskConfig::from_yaml("", text).unwrap_err().to_string();
        assert_eq!(undocumented(&error), [""; 0], "{text}");
    }
}

#[test]
fn every_key_of_a_source_is_documented() {
    for text in [
        "{zz: 1}",
        "{from: {zz: 1}}",
        "{purge: {zz: 1}}",
        "{checker: {zz: 1}}",
    ] {
        let error = SourceConfig::from_yaml("", text).unwrap_err().to_string();
        assert_eq!(undocumented(&error), [""; 0], "{text}");
    }
}

#[test]
fn every_precheck_is_documented() {
    for item in CHECKING_ITEMS {
        assert!(DOCUMENT.contains(&format!("`{item}`")), "{item}");
    }
}
