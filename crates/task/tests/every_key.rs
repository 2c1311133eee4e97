//! What becomes of every key of a task file and of a source file: the values that stand in `tests/files`, and where they lie in etcd.
//! That no key is left out is found by the lists that the reader itself gives for an unknown key.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use dm_task::{SourceConfig, SubtaskConfig, TaskConfig};
use serde_json::Value;

#[path = "every_key/rows.rs"]
mod rows;

use rows::{FILLED_IN, FROM_THE_SOURCE, NOT_STORED, NOT_STORED_OF_A_SOURCE, Row, SOURCE, TASK};

const TASK_FILE: &str = include_str!("../../../tests/files/task-every-key.yaml");
const SOURCE_FILE: &str = include_str!("../../../tests/files/source-every-key.yaml");

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn toml_of(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

/// The value at `a.b[0].c`.
fn at<'v>(root: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(root, |value, step| {
        let (name, index) = step.split_once('[').unwrap_or((step, ""));
        let value = value.get(name)?;
        match index.strip_suffix(']') {
            None => Some(value),
            Some(index) => value.get(index.parse::<usize>().unwrap()),
        }
    })
}

/// Paths of all values that hold no others with names.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    };
    match value {
        Value::Object(map) if !map.is_empty() => map
            .iter()
            .for_each(|(name, value)| leaves(value, &below(name), found)),
        Value::Array(list) if list.iter().any(Value::is_object) => list
            .iter()
            .enumerate()
            .for_each(|(at, value)| leaves(value, &format!("{path}[{at}]"), found)),
        _ => drop(found.insert(path.to_owned())),
    }
}

fn leaves_of(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    leaves(value, "", &mut found);
    found
}

fn subtasks(file: &str) -> Vec<SubtaskConfig> {
    let second = "source-id: mysql-02\nflavor: mariadb\nserver-id: 102\n";
    let sources = [SOURCE_FILE, second].map(|text| {
        let source = SourceConfig::from_yaml("", text).unwrap();
        (source.source_id.as_str().into(), source)
    });
    let task = TaskConfig::from_yaml("task.yaml", file).unwrap();
    task.split(&sources.into()).unwrap()
}

/// Each row against what was given and what is stored; gives the stored paths.
fn check(rows: &[Row], given: &Value, stored: &Value) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (key, value, path, expected) in rows {
        assert_eq!(at(given, key), Some(&yaml(value)), "the file's {key}");
        let expected = toml_of(&format!("v = {expected}"))["v"].take();
        assert_eq!(at(stored, path), Some(&expected), "{key} -> {path}");
        seen.insert((*path).to_owned());
    }
    seen
}

#[test]
fn every_key_of_a_task_has_its_place_in_the_subtask() {
    let given = yaml(TASK_FILE);
    let texts: Vec<String> = subtasks(TASK_FILE)
        .iter()
        .map(|subtask| subtask.to_toml().unwrap())
        .collect();
    let mut stored = toml_of(&texts[0]);
    stored["second"] = toml_of(&texts[1]);
    let seen = check(TASK, &given, &stored);

    let rows = TASK.iter().map(|row| row.0);
    let told: BTreeSet<&str> = rows.chain(NOT_STORED.iter().map(|(key, _)| *key)).collect();
    let in_file = leaves_of(&given);
    assert_eq!(
        in_file.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        told,
        "keys of the file, and of the table"
    );
    let all = leaves_of(&toml_of(&texts[0]));
    let known = |path: &String| {
        let is_filled = FILLED_IN.iter().chain(FROM_THE_SOURCE);
        seen.contains(path) || is_filled.into_iter().any(|(own, _)| own == path)
    };
    let unknown: Vec<_> = all.iter().filter(|path| !known(path)).collect();
    assert_eq!(unknown, [""; 0], "keys of the record that no row explains");
    for (path, expected) in FILLED_IN {
        let expected = toml_of(&format!("v = {expected}"))["v"].take();
        assert_eq!(at(&stored, path), Some(&expected), "{path}");
    }
    for text in texts {
        let read = SubtaskConfig::from_toml(&text).unwrap();
        assert_eq!(read.to_toml().unwrap(), text, "read and written again");
    }
}

#[test]
fn every_key_of_a_source_has_its_place_in_the_record() {
    let given = yaml(SOURCE_FILE);
    let source = SourceConfig::from_yaml("source.yaml", SOURCE_FILE).unwrap();
    let text = source.to_toml().unwrap();
    let stored = toml_of(&text);
    let seen = check(SOURCE, &given, &stored);
    let rows = SOURCE.iter().map(|row| row.0);
    let not_stored = NOT_STORED_OF_A_SOURCE.iter().map(|(key, _)| *key);
    let told: BTreeSet<String> = rows.chain(not_stored).map(str::to_owned).collect();
    assert_eq!(
        leaves_of(&given),
        told,
        "keys of the file, and of the table"
    );
    assert_eq!(
        leaves_of(&stored),
        seen,
        "keys of the record, and of the table"
    );
    let read = SourceConfig::from_toml(&text).unwrap();
    assert_eq!(read, source);
    assert_eq!(read.to_toml().unwrap(), text);
}

#[test]
fn the_source_gives_the_subtask_its_database() {
    let subtask = subtasks(TASK_FILE).remove(0);
    let stored = toml_of(&subtask.to_toml().unwrap());
    let source = SourceConfig::from_yaml("", SOURCE_FILE).unwrap();
    let mut from = toml_of(&source.to_toml().unwrap())["from"].take();
    // The task's zone goes over the source's.
    from["session"]["time_zone"] = "+08:00".into();
    assert_eq!(stored["from"], from);
}

#[test]
fn settings_of_an_instance_itself_are_read_like_named_ones() {
    let mut file = yaml(TASK_FILE);
    for (unit, named, name) in [
        ("mydumper", "mydumpers", "dump"),
        ("loader", "loaders", "load"),
        ("syncer", "syncers", "sync"),
    ] {
        let settings = file[named][name].take();
        file.as_object_mut().unwrap().remove(named);
        let instance = file["mysql-instances"][0].as_object_mut().unwrap();
        instance.remove(&format!("{unit}-config-name")).unwrap();
        instance.insert(unit.to_owned(), settings);
    }
    // JSON is YAML.
    assert_eq!(subtasks(&file.to_string()), subtasks(TASK_FILE));
}

#[test]
fn the_old_name_of_the_lists_counts_when_the_new_one_is_absent() {
    let file = TASK_FILE.replace("\nblock-allow-list:\n", "\nblack-white-list:\n");
    let file = file.replacen("black-white-list:\n  shops: {do-dbs: [old]}\n", "", 1);
    assert_eq!(subtasks(&file), subtasks(TASK_FILE));
}

/// The keys that the reader says are allowed beside `zz`.
fn allowed(error: &str) -> BTreeSet<String> {
    let (_, list) = error.split_once("(allowed: ").unwrap();
    let (list, _) = list.split_once(')').unwrap();
    list.split(", ").map(str::to_owned).collect()
}

/// Names of the keys at `path` in the file.
fn present(file: &Value, path: &str) -> BTreeSet<String> {
    let section = if path.is_empty() {
        Some(file)
    } else {
        at(file, path)
    };
    let map = section.and_then(Value::as_object);
    map.unwrap_or_else(|| panic!("{path}"))
        .keys()
        .cloned()
        .collect()
}

/// The file with an unknown key at `path`.
fn with_unknown(file: &Value, path: &str) -> String {
    let mut changed = file.clone();
    let mut section = &mut changed;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (name, index) = step.split_once('[').unwrap_or((step, ""));
        section = &mut section[name];
        if let Some(index) = index.strip_suffix(']') {
            section = &mut section[index.parse::<usize>().unwrap()];
        }
    }
    section["zz"] = 1.into();
    changed.to_string()
}

#[test]
fn the_files_have_every_key_that_the_reader_knows() {
    let file = yaml(TASK_FILE);
    for paths in [
        &[""][..],
        &["target-database"],
        &["target-database.security"],
        &["mysql-instances[0]", "mysql-instances[1]"],
        &["mysql-instances[0].meta"],
        &["routes.orders"],
        &["routes.orders.extract-table"],
        &["routes.orders.extract-schema"],
        &["routes.orders.extract-source"],
        &["filters.truncates"],
        &["block-allow-list.shops"],
        &["block-allow-list.shops.do-tables[0]"],
        &["block-allow-list.shops.ignore-tables[0]"],
        &[
            "expression-filter.inserts",
            "expression-filter.updates",
            "expression-filter.deletes",
        ],
        &["mydumpers.dump"],
        &["loaders.load"],
        &["syncers.sync"],
        &["validators.compare"],
        &["experimental"],
    ] {
        let error = TaskConfig::from_yaml("", &with_unknown(&file, paths[0])).unwrap_err();
        let there = paths.iter().flat_map(|path| present(&file, path));
        assert_eq!(
            there.collect::<BTreeSet<_>>(),
            allowed(&error.to_string()),
            "{paths:?}"
        );
    }
    let file = yaml(SOURCE_FILE);
    for path in [
        "",
        "from",
        "from.security",
        "purge",
        "checker",
        "filters[0]",
    ] {
        let error = SourceConfig::from_yaml("", &with_unknown(&file, path)).unwrap_err();
        assert_eq!(present(&file, path), allowed(&error.to_string()), "{path}");
    }
}
