//! The form of `optimism.json`. A field that is not listed here is an error: nothing of a case is passed over.

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
    pub(crate) cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) class: String,
    #[serde(default, rename = "rule")]
    pub(crate) _rule: Value,
    #[serde(default, rename = "origin")]
    pub(crate) _origin: Value,
    #[serde(default, rename = "note")]
    pub(crate) _note: Value,
    pub(crate) tables: Vec<Table>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) source: String,
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) create: String,
    pub(crate) down: Option<(String, String)>,
    #[serde(default = "yes")]
    pub(crate) in_checkpoint: bool,
    #[serde(default = "yes")]
    pub(crate) in_source_tables: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) down: Option<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) op: String,
    #[serde(default)]
    pub(crate) task: String,
    #[serde(default)]
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) schema: String,
    #[serde(default)]
    pub(crate) table: String,
    pub(crate) down: Option<(String, String)>,
    pub(crate) create: Option<String>,
    #[serde(default)]
    pub(crate) ddls: Vec<String>,
    pub(crate) table_before: Option<String>,
    #[serde(default)]
    pub(crate) table_after: Vec<String>,
    #[serde(default)]
    pub(crate) ignore_conflict: bool,
    #[serde(default = "yes")]
    pub(crate) deliver: bool,
    #[serde(default = "yes")]
    pub(crate) flush: bool,
    #[serde(default)]
    pub(crate) sources: Vec<String>,
    #[serde(default)]
    pub(crate) tables: Vec<Route>,
    pub(crate) action: Option<String>,
    #[serde(default)]
    pub(crate) advisory: Vec<String>,
    pub(crate) expect: BTreeMap<String, Value>,
    /// How DM differs; information only.
    #[serde(default, rename = "dm")]
    pub(crate) _dm: Value,
    #[serde(default, rename = "note")]
    pub(crate) _note: Value,
}

fn yes() -> bool {
    true
}
