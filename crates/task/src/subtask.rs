//! A task's part for one source: the record from which a worker runs.

mod adjust;
mod dir;

pub(crate) use adjust::{SHADOW_RULE, TRASH_RULE, adjust_shard_mode};

use dm_errors::{Code, DmError};
use serde::{Deserialize, Serialize};

use crate::block_allow;
use crate::db::{DbConfig, Security};
use crate::filter::EventRule;
use crate::route::{RouteError, RouteRule, Router};
use crate::secret::{MASK, Secret};
use crate::text;
use crate::units::{Experimental, Loader, Mydumper, Syncer, Validator};

/// One subtask. Fields are in the order of the record; the three units lie flattened in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SubtaskConfig {
    /// Old form of `shard-mode: pessimistic`.
    #[serde(default)]
    pub is_sharding: bool,
    /// Empty, `pessimistic` or `optimistic`.
    #[serde(default)]
    pub shard_mode: String,
    /// Optimistic mode refuses what it cannot join.
    #[serde(default)]
    pub strict_optimistic_shard_mode: bool,
    /// Ghost tables of online schema changes are understood.
    #[serde(default)]
    pub online_ddl: bool,
    /// Names of shadow tables, with the real name as the one group.
    #[serde(default)]
    pub shadow_table_rules: Vec<String>,
    /// Names of tables to be dropped after a change, likewise.
    #[serde(default)]
    pub trash_table_rules: Vec<String>,
    /// Deprecated.
    #[serde(default)]
    pub online_ddl_scheme: String,
    /// Names are told apart by case.
    #[serde(default)]
    pub case_sensitive: bool,
    /// `loose` or `strict`.
    #[serde(rename = "collation_compatible", default)]
    pub collation_compatible: String,
    /// Name of the task.
    #[serde(default)]
    pub name: String,
    /// `all`, `full`, `incremental`, `dump`, `load`, `load&sync`.
    #[serde(default)]
    pub mode: String,
    /// Prechecks left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_checking_items: Option<Vec<String>>,
    /// The source.
    #[serde(default)]
    pub source_id: String,
    /// Filled by the worker.
    #[serde(default)]
    pub server_id: u32,
    /// Filled by the worker.
    #[serde(default)]
    pub flavor: String,
    /// Schema of the target that holds checkpoints and the like.
    #[serde(default)]
    pub meta_schema: String,
    /// Deprecated.
    #[serde(default)]
    pub heartbeat_update_interval: i64,
    /// Deprecated.
    #[serde(default)]
    pub heartbeat_report_interval: i64,
    /// Deprecated, always false.
    #[serde(default)]
    pub enable_heartbeat: bool,
    /// Zone of both sessions; empty for the target's own.
    #[serde(default)]
    pub timezone: String,
    /// Filled by the worker.
    #[serde(default)]
    pub relay_dir: String,
    /// Filled by the worker.
    #[serde(default)]
    pub use_relay: bool,
    /// Where tables go, see [`SubtaskConfig::router`].
    #[serde(default)]
    pub route_rules: Vec<RouteRule>,
    /// Which events are replicated.
    #[serde(default)]
    pub filter_rules: Vec<EventRule>,
    /// Always empty: column mappings are refused.
    #[serde(default)]
    pub mapping_rule: Vec<toml::Table>,
    /// Which rows are replicated.
    #[serde(rename = "expression-filter", default)]
    pub expression_filters: Vec<ExpressionFilter>,
    /// The dump unit.
    #[serde(flatten)]
    pub mydumper: Mydumper,
    /// The load unit.
    #[serde(flatten)]
    pub loader: Loader,
    /// The sync unit.
    #[serde(flatten)]
    pub syncer: Syncer,
    /// Never set by a master, as the five that follow.
    #[serde(default)]
    pub log_level: String,
    /// Not used in a cluster.
    #[serde(default)]
    pub log_file: String,
    /// Not used in a cluster.
    #[serde(default)]
    pub log_format: String,
    /// Not used in a cluster.
    #[serde(default)]
    pub log_rotate: String,
    /// Not used in a cluster.
    #[serde(default)]
    pub pprof_addr: String,
    /// Not used in a cluster.
    #[serde(default)]
    pub status_addr: String,
    /// The dump is removed after it is loaded.
    #[serde(default)]
    pub clean_dump_file: bool,
    /// Deprecated.
    #[serde(default)]
    pub ansi_quotes: bool,
    /// Names the counter of bytes written; absent together with [`SubtaskConfig::io_total_bytes`] for no counting.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// The same for the dump.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dump_uuid: String,
    /// Where replication begins, when the dump does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// The source's database; a worker replaces it from the source's own record.
    #[serde(default)]
    pub from: DbConfig,
    /// The target.
    #[serde(default)]
    pub to: DbConfig,
    /// Deprecated form of the list below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub black_white_list: Option<block_allow::Rules>,
    /// Which tables take part, see [`SubtaskConfig::table_filter`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_allow_list: Option<block_allow::Rules>,
    /// TLS of the physical import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// The validator.
    #[serde(rename = "ValidatorCfg", default)]
    pub validator: Validator,
    /// Settings that are tried out.
    #[serde(default)]
    pub experimental: Experimental,
    /// Its presence, empty as it is, makes a worker count bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_total_bytes: Option<toml::Table>,
    /// The same for the dump.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump_io_total_bytes: Option<toml::Table>,
}

/// A place in the source's binlog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Meta {
    /// Name of the file.
    pub binlog_name: String,
    /// Offset in it.
    pub binlog_pos: u32,
    /// The same place as a GTID set.
    pub binlog_gtid: String,
}

impl Meta {
    /// Stands as file name where `--start-time` says where to begin; workers know it.
    pub const AT_START_TIME: &str = "start-task with --start-time";

    pub(crate) fn at_start_time() -> Self {
        Self {
            binlog_name: Self::AT_START_TIME.to_owned(),
            ..Self::default()
        }
    }
}

/// A condition on the row changes of one table; no wildcards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ExpressionFilter {
    /// Literal name of the schema.
    pub schema: String,
    /// Literal name of the table.
    pub table: String,
    /// Inserted rows for which it is true are left out.
    pub insert_value_expr: String,
    /// The same for the old values of an update.
    pub update_old_value_expr: String,
    /// The same for the new values of an update.
    pub update_new_value_expr: String,
    /// The same for deleted rows.
    pub delete_value_expr: String,
}

impl SubtaskConfig {
    /// Reads the record of etcd, skips keys it does not know, and adjusts the result as every reader does.
    pub fn from_toml(text: &str) -> Result<Self, DmError> {
        let mut own: Self = text::from_toml(text, "decode subtask config")?;
        own.adjust()?;
        Ok(own)
    }

    /// The record of etcd, with passwords in clear. Rules lie after the target, where DM writes them; empty ones stay
    /// among the scalars.
    pub fn to_toml(&self) -> Result<String, DmError> {
        const RULES: [&str; 3] = ["route-rules", "filter-rules", "expression-filter"];
        let mut rules = toml::Table::new();
        let mut ordered = toml::Table::new();
        for (key, value) in text::to_table(self)? {
            let is_rule = RULES.contains(&key.as_str())
                && value.as_array().is_some_and(|rules| !rules.is_empty());
            let ends_the_databases = key == "to";
            if is_rule { &mut rules } else { &mut ordered }.insert(key, value);
            if ends_the_databases {
                ordered.extend(std::mem::take(&mut rules));
            }
        }
        text::to_toml(&ordered)
    }

    /// Compiled routes; bad ones were refused when the subtask was built.
    pub fn router(&self) -> Result<Router, RouteError> {
        Router::new(&self.route_rules, self.case_sensitive)
    }

    /// Compiled block-allow-list.
    pub fn table_filter(&self) -> Result<block_allow::Filter, DmError> {
        block_allow::Filter::new(self.block_allow_list.as_ref(), self.case_sensitive)
            .map_err(|error| DmError::new(Code::CONFIG_GEN_BA_LIST, &[]).cause(error))
    }

    /// The table that an online schema change works for, if the name is that of its shadow table. Only of a subtask
    /// that was adjusted.
    pub fn real_name(&self, table: &str) -> Option<String> {
        self.shadow_table_rules.iter().find_map(|rule| {
            let regex = crate::pattern::regex_of(rule, true).ok()?;
            let found = regex.captures(table)?;
            Some(found.get(1)?.as_str().to_owned())
        })
    }

    /// A copy to show to users: `******` for passwords, no key material.
    pub fn masked(&self) -> Self {
        let mut shown = self.clone();
        for side in [&mut shown.from, &mut shown.to] {
            side.password = Secret::from(MASK);
            if let Some(security) = &mut side.security {
                security.forget_content();
            }
        }
        shown
    }

    /// Whether the mode has a dump.
    pub fn dumps(&self) -> bool {
        matches!(self.mode.as_str(), "all" | "full" | "dump")
    }

    /// Whether the mode has a load.
    pub fn loads(&self) -> bool {
        matches!(self.mode.as_str(), "all" | "full" | "load" | "load&sync")
    }

    /// Whether the mode replicates the binlog.
    pub fn syncs(&self) -> bool {
        matches!(self.mode.as_str(), "all" | "incremental" | "load&sync")
    }
}
