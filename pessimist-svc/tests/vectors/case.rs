//! The form of `pessimism.json`. A field that is not listed here is an error: nothing of a case is passed over.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) format: String,
    pub(crate) version: u32,
    #[serde(default, rename = "spec")]
    pub(crate) _spec: Value,
    pub(crate) ddls: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) unit: Unit,
    pub(crate) cases: Vec<Case>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Unit {
    pub(crate) keys: Vec<Key>,
    pub(crate) values: Vec<Record>,
    pub(crate) lock_ids: Vec<LockId>,
    pub(crate) extract_task: Vec<TaskOfId>,
    pub(crate) extract_table: Vec<TableOfId>,
    pub(crate) compare_ddls: Vec<Comparison>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) task: String,
    #[serde(default)]
    pub(crate) source: String,
    pub(crate) key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) kind: String,
    pub(crate) value: Value,
    pub(crate) json: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockId {
    pub(crate) task: String,
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskOfId {
    pub(crate) id: String,
    pub(crate) task: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableOfId {
    pub(crate) id: String,
    pub(crate) schema: String,
    pub(crate) table: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Comparison {
    pub(crate) reported: Vec<String>,
    pub(crate) lock: Vec<String>,
    pub(crate) equal: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) class: String,
    #[serde(default, rename = "rules")]
    pub(crate) _rules: Vec<String>,
    #[serde(default, rename = "origin")]
    pub(crate) _origin: Value,
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    pub(crate) tasks: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) default: Defaults,
    pub(crate) master: String,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Defaults {
    #[serde(default)]
    pub(crate) task: String,
    #[serde(default)]
    pub(crate) schema: String,
    #[serde(default)]
    pub(crate) table: String,
    pub(crate) ddls: Option<Ddls>,
}

/// An alias of the file's `ddls`, or the statements themselves.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Ddls {
    Alias(String),
    Statements(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) event: String,
    pub(crate) task: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) schema: Option<String>,
    pub(crate) table: Option<String>,
    pub(crate) ddls: Option<Ddls>,
    pub(crate) op: Option<Remembered>,
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) exec: bool,
    #[serde(default)]
    pub(crate) done: bool,
    pub(crate) replace_owner: Option<String>,
    #[serde(default)]
    pub(crate) force_remove: bool,
    #[serde(default)]
    pub(crate) during: Vec<Step>,
    pub(crate) when: Option<When>,
    #[serde(default)]
    pub(crate) sources: Vec<String>,
    #[serde(default)]
    pub(crate) on: bool,
    #[serde(default)]
    pub(crate) expect: Expect,
    #[serde(default, rename = "dm")]
    pub(crate) _dm: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remembered {
    pub(crate) id: String,
    pub(crate) exec: bool,
    pub(crate) ddls: Ddls,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    pub(crate) source: String,
    pub(crate) exec: bool,
    pub(crate) done: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    pub(crate) locks: Option<Vec<Value>>,
    pub(crate) locks_contain: Vec<Value>,
    pub(crate) put: Option<Vec<Value>>,
    pub(crate) put_optional: Vec<Value>,
    pub(crate) put_contains: Vec<Value>,
    pub(crate) put_excludes: Vec<Value>,
    pub(crate) etcd: Option<Records>,
    pub(crate) error: Option<Value>,
    pub(crate) error_in: Option<Vec<u32>>,
    pub(crate) putted: Option<bool>,
    pub(crate) result: Option<bool>,
    pub(crate) msg: Option<String>,
    pub(crate) show: Option<Vec<Value>>,
    pub(crate) errors: Option<Vec<u32>>,
    /// Labels of DM's error counter that have grown.
    pub(crate) metrics: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Records {
    pub(crate) infos: Option<Vec<Value>>,
    pub(crate) ops: Option<Vec<Value>>,
}
