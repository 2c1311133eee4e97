//! The part of the vectors that concerns single functions.

use dm_keyspace::pessimism::{
    Info, InfoKey, Operation, OperationKey, lock_id, table_of_lock_id, task_of_lock_id,
};
use pessimist_svc::machine::same_ddls;
use serde_json::Value;

use crate::case::{Key, Record, Unit};

pub(crate) fn check(unit: &Unit) {
    unit.keys.iter().for_each(check_key);
    unit.values.iter().for_each(check_value);
    for case in &unit.lock_ids {
        assert_eq!(
            lock_id(&case.task.as_str().into(), &case.schema, &case.table),
            case.id
        );
    }
    for case in &unit.extract_task {
        assert_eq!(task_of_lock_id(&case.id), case.task, "{}", case.id);
    }
    for case in &unit.extract_table {
        assert_eq!(
            table_of_lock_id(&case.id),
            (case.schema.as_str(), case.table.as_str()),
            "{}",
            case.id
        );
    }
    for case in &unit.compare_ddls {
        assert_eq!(
            same_ddls(&case.reported, &case.lock),
            case.equal,
            "reported {:?}, lock {:?}",
            case.reported,
            case.lock
        );
    }
}

fn check_key(case: &Key) {
    let (task, source) = (case.task.as_str().into(), case.source.as_str().into());
    let key = match case.kind.as_str() {
        "info_root" => InfoKey::PREFIX.to_owned(),
        "operation_root" => OperationKey::PREFIX.to_owned(),
        "info" => InfoKey { task, source }.encode(),
        "operation" => OperationKey { task, source }.encode(),
        "info_task_prefix" => InfoKey::prefix_of_task(&task),
        "operation_task_prefix" => OperationKey::prefix_of_task(&task),
        other => panic!("unknown kind of key {other}"),
    };
    assert_eq!(key, case.key);
}

fn check_value(case: &Record) {
    let text = |name: &str| case.value[name].as_str().unwrap_or_default().to_owned();
    let ddls = match &case.value["ddls"] {
        Value::Null => None,
        Value::Array(list) => Some(
            list.iter()
                .map(|ddl| ddl.as_str().expect("a statement is text").to_owned())
                .collect(),
        ),
        other => panic!("{other} is no list of statements"),
    };
    let bytes = match case.kind.as_str() {
        "info" => Info {
            ddls,
            ..Info::new(
                text("task"),
                text("source"),
                text("schema"),
                text("table"),
                Vec::new(),
            )
        }
        .to_bytes(),
        "operation" => {
            let is = |name: &str| case.value[name].as_bool().unwrap_or_default();
            let new = Operation::new(
                text("id"),
                text("task"),
                text("source"),
                Vec::new(),
                is("exec"),
            );
            Operation {
                ddls,
                done: is("done"),
                ..new
            }
            .to_bytes()
        }
        other => panic!("unknown kind of value {other}"),
    };
    assert_eq!(String::from_utf8_lossy(&bytes), case.json);
}
