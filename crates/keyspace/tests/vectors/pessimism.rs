//! The `unit` part of `pessimism.json`: keys, values and lock ids. Its comparison of DDL lists and its `cases`
//! concern the lock itself and are run by the service that has it.

use dm_keyspace::{
    Key, SourceId, TaskName,
    pessimism::{
        Info, InfoKey, Operation, OperationKey, lock_id, table_of_lock_id, task_of_lock_id,
    },
};
use serde_json::Value;

use super::support::{Run, list, same, text};

#[test]
fn every_unit_of_the_pessimistic_records_is_as_in_dm() {
    let (mut run, json) = Run::load("pessimism.json");
    let parts = json["unit"].as_object().unwrap();
    let mut cases = 0;
    for (part, units) in parts {
        let check: fn(&Value) -> Result<(), String> = match part.as_str() {
            "keys" => key,
            "values" => value,
            "lock_ids" => lock_id_of,
            "extract_task" => extract_task,
            "extract_table" => extract_table,
            "compare_ddls" => continue,
            other => panic!("unknown part {other} of unit"),
        };
        assert!(!list(units).is_empty(), "{part} has no cases");
        for (index, case) in list(units).iter().enumerate() {
            cases += 1;
            run.case(&format!("unit.{part}[{index}]"), || check(case));
        }
    }
    assert_eq!(parts.len(), 6, "a part of unit is missing");
    run.finish(cases);
}

fn key(case: &Value) -> Result<(), String> {
    let task = || text(case, "task").map(TaskName::from);
    let source = || text(case, "source").map(SourceId::from);
    let expected = text(case, "key")?.to_owned();
    let typed: Key = match text(case, "kind")? {
        "info_root" => return same("prefix", &expected, &InfoKey::PREFIX.to_owned()),
        "operation_root" => return same("prefix", &expected, &OperationKey::PREFIX.to_owned()),
        "info_task_prefix" => return same("prefix", &expected, &InfoKey::prefix_of_task(&task()?)),
        "operation_task_prefix" => {
            return same("prefix", &expected, &OperationKey::prefix_of_task(&task()?));
        }
        "info" => InfoKey {
            task: task()?,
            source: source()?,
        }
        .into(),
        "operation" => OperationKey {
            task: task()?,
            source: source()?,
        }
        .into(),
        other => return Err(format!("  unknown kind {other}")),
    };
    same(
        "parse",
        &Ok(&typed),
        &Key::parse(expected.as_bytes()).as_ref(),
    )?;
    same("encode", &expected.into_bytes(), &typed.encode())
}

fn value(case: &Value) -> Result<(), String> {
    let (members, json) = (&case["value"], text(case, "json")?);
    let name = |member| text(members, member).map(str::to_owned);
    let ddls: Option<Vec<String>> =
        serde_json::from_value(members["ddls"].clone()).map_err(|error| error.to_string())?;
    match text(case, "kind")? {
        "info" => {
            let info = Info {
                task: name("task")?.into(),
                source: name("source")?.into(),
                schema: name("schema")?,
                table: name("table")?,
                ddls,
                ..Info::default()
            };
            same(
                "read",
                &Ok(&info),
                &Info::from_bytes(json.as_bytes()).as_ref(),
            )?;
            same(
                "written",
                &json,
                &&*String::from_utf8_lossy(&info.to_bytes()),
            )
        }
        "operation" => {
            let operation = Operation {
                id: name("id")?,
                task: name("task")?.into(),
                source: name("source")?.into(),
                ddls,
                exec: members["exec"] == true,
                done: members["done"] == true,
                ..Operation::default()
            };
            let read = Operation::from_bytes(json.as_bytes());
            same("read", &Ok(&operation), &read.as_ref())?;
            same(
                "written",
                &json,
                &&*String::from_utf8_lossy(&operation.to_bytes()),
            )
        }
        other => Err(format!("  unknown kind {other}")),
    }
}

fn lock_id_of(case: &Value) -> Result<(), String> {
    let task = text(case, "task")?.into();
    let id = lock_id(&task, text(case, "schema")?, text(case, "table")?);
    same("lock id", &text(case, "id")?, &id.as_str())
}

fn extract_task(case: &Value) -> Result<(), String> {
    same(
        "task",
        &text(case, "task")?,
        &task_of_lock_id(text(case, "id")?),
    )
}

fn extract_table(case: &Value) -> Result<(), String> {
    let expected = (text(case, "schema")?, text(case, "table")?);
    same("table", &expected, &table_of_lock_id(text(case, "id")?))
}
