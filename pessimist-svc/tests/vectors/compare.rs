//! What a step expects against what it gave.

use std::collections::BTreeSet;

use dm_keyspace::pessimism::{Info, InfoKey, Operation, OperationKey};
use pessimist_svc::machine::LockView;
use serde_json::{Map, Value, json};

use crate::case::Expect;
use crate::player::{Answer, Player};
use crate::world::names;

/// Types of errors that are counted here. The others are DM's troubles with etcd, which are tried again until they end.
const COUNTED: [&str; 2] = ["InfoPut - SyncLockError", "InfoPut - HandleLockError"];

impl Player<'_> {
    /// Compares what the step expects with what it gave.
    pub(crate) fn compare(&self, expect: &Expect, answer: &Answer) -> Result<(), String> {
        let locks = || -> Vec<Value> { self.host.locks("", &[]).iter().map(lock_value).collect() };
        if let Some(expected) = &expect.locks {
            equal("locks", self.plain(expected), locks())?;
        }
        for part in self.plain(&expect.locks_contain) {
            contains("locks", &part, &locks())?;
        }
        self.compare_put(expect)?;
        if let Some(records) = &expect.etcd {
            self.compare_etcd(records.infos.as_ref(), records.ops.as_ref())?;
        }
        if let Some(error) = &expect.error {
            equal("error", vec![error.clone()], vec![json!(answer.error)])?;
        }
        if let Some(allowed) = &expect.error_in
            && !answer.error.is_some_and(|error| allowed.contains(&error))
        {
            return Err(format!(
                "error: expected one of {allowed:?}, got {:?}",
                answer.error
            ));
        }
        if let Some(errors) = &expect.errors {
            let got = self.host.rejected() - self.rejected_before;
            equal(
                "errors",
                errors.iter().map(|code| json!(code)).collect(),
                vec![json!(38016); usize::try_from(got).unwrap_or_default()],
            )?;
        }
        if let Some(kinds) = &expect.metrics {
            let now = self.host.errors();
            let before = |kind: &String| self.errors_before.get(kind).copied().unwrap_or_default();
            let grown = now.iter().filter(|(kind, now)| **now > before(kind));
            equal(
                "metrics",
                kinds
                    .iter()
                    .filter(|kind| COUNTED.contains(&kind.as_str()))
                    .map(|kind| json!(kind))
                    .collect(),
                grown.map(|(kind, _)| json!(kind)).collect(),
            )?;
        }
        if let Some(show) = &expect.show {
            let shown = answer.show.clone().unwrap_or_default();
            equal("show", self.plain(show), shown)?;
        }
        same("putted", expect.putted, answer.putted)?;
        same("result", expect.result, answer.result)?;
        same("msg", expect.msg.as_ref(), answer.msg.as_ref())
    }

    fn compare_put(&self, expect: &Expect) -> Result<(), String> {
        let mut put: Vec<Value> = self.put.iter().map(operation_value).collect();
        for part in self.plain(&expect.put_contains) {
            contains("put", &part, &put)?;
        }
        for part in self.plain(&expect.put_excludes) {
            if put.iter().any(|operation| matches(&part, operation)) {
                return Err(format!("put: {part} must not be among {put:?}"));
            }
        }
        if let Some(expected) = &expect.put {
            let expected = self.plain(expected);
            let optional = self.plain(&expect.put_optional);
            put.retain(|operation| expected.contains(operation) || !optional.contains(operation));
            put.dedup();
            return equal("put", expected, put);
        }
        Ok(())
    }

    fn compare_etcd(
        &self,
        infos: Option<&Vec<Value>>,
        ops: Option<&Vec<Value>>,
    ) -> Result<(), String> {
        if let Some(infos) = infos {
            let present = self.records(InfoKey::PREFIX, Info::from_bytes);
            equal(
                "etcd.infos",
                self.plain(infos),
                present.iter().map(info_value).collect(),
            )?;
        }
        if let Some(ops) = ops {
            let present = self.records(OperationKey::PREFIX, Operation::from_bytes);
            equal(
                "etcd.ops",
                self.plain(ops),
                present.iter().map(operation_value).collect(),
            )?;
        }
        Ok(())
    }

    fn records<T, E>(&self, prefix: &str, decode: impl Fn(&[u8]) -> Result<T, E>) -> Vec<T> {
        let values = self.host.values(prefix);
        values
            .iter()
            .filter_map(|value| decode(value).ok())
            .collect()
    }

    /// Expectations with their aliases replaced.
    fn plain(&self, values: &[Value]) -> Vec<Value> {
        values.iter().map(|value| self.unalias(value)).collect()
    }

    fn unalias(&self, value: &Value) -> Value {
        let Value::Object(members) = value else {
            return value.clone();
        };
        let plain = members.iter().map(|(name, value)| {
            let value = match value {
                Value::String(alias) if name.eq_ignore_ascii_case("ddls") => json!(
                    self.aliases
                        .get(alias)
                        .unwrap_or_else(|| panic!("unknown alias {alias}"))
                ),
                _ => value.clone(),
            };
            (name.clone(), value)
        });
        Value::Object(plain.collect::<Map<_, _>>())
    }
}

fn lock_value(lock: &LockView) -> Value {
    json!({ "id": lock.id, "task": lock.task.as_str(), "owner": lock.owner.as_str(), "ddls": lock.ddls, "synced": names(&lock.synced),
        "unsynced": names(&lock.unsynced), "done": names(&lock.done), "remain": lock.unsynced.len() })
}

fn operation_value(o: &Operation) -> Value {
    json!({ "task": o.task.as_str(), "source": o.source.as_str(), "id": o.id, "exec": o.exec, "ddls": o.ddls(), "done": o.done })
}

fn info_value(info: &Info) -> Value {
    json!({ "task": info.task.as_str(), "source": info.source.as_str(), "table": format!("{}.{}", info.schema, info.table), "ddls": info.ddls() })
}

fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    }
}

pub(crate) fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_key(canonical);
    values
}

fn equal(what: &str, expected: Vec<Value>, got: Vec<Value>) -> Result<(), String> {
    let text = |values: Vec<Value>| {
        sorted(values)
            .iter()
            .map(|value| format!("  {}", canonical(value)))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let (expected, got) = (text(expected), text(got));
    if expected == got {
        Ok(())
    } else {
        Err(format!("{what}: expected\n{expected}\ngot\n{got}"))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    expected: Option<T>,
    got: Option<T>,
) -> Result<(), String> {
    if expected.is_none() || expected == got {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected:?}, got {got:?}"))
    }
}

fn matches(part: &Value, whole: &Value) -> bool {
    part.as_object().is_some_and(|part| {
        part.iter()
            .all(|(name, value)| whole.get(name) == Some(value))
    })
}

fn contains(what: &str, part: &Value, all: &[Value]) -> Result<(), String> {
    if all.iter().any(|whole| matches(part, whole)) {
        Ok(())
    } else {
        Err(format!("{what}: {part} is not among {all:?}"))
    }
}
