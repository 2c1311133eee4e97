//! The task file of `start-task`: what it may hold, its defaults, its rules, and its division into subtasks.

mod adjust;
mod expression;
mod instance;
mod read;
pub(crate) mod rules;
mod show;
mod split;
mod timezone;

pub use adjust::CHECKING_ITEMS;
pub use show::{exported_yaml, shown_yaml};

use std::collections::BTreeMap;

use dm_errors::{Class, DmError};

use crate::block_allow;
use crate::db::DbConfig;
use crate::filter::EventRule;
use crate::origin::Origin;
use crate::route::RouteRule;
use crate::secret::SecretKey;
use crate::subtask::{ExpressionFilter, Meta};
use crate::units::{Experimental, Loader, Mydumper, Syncer, Validator};

/// A task, read, completed and found valid.
#[derive(Clone, Debug, Default)]
pub struct TaskConfig {
    /// Unique in the cluster; part of names of tables and directories.
    pub name: String,
    /// `all`, `full`, `incremental`, `dump`, `load` or `load&sync`.
    pub task_mode: String,
    /// Old form of `shard-mode: pessimistic`.
    pub is_sharding: bool,
    /// Empty, `pessimistic` or `optimistic`.
    pub shard_mode: String,
    /// Optimistic mode refuses what it cannot join.
    pub strict_optimistic_shard_mode: bool,
    /// Prechecks left out.
    pub ignore_checking_items: Option<Vec<String>>,
    /// Schema of the target that holds checkpoints and the like.
    pub meta_schema: String,
    /// Deprecated; carried along.
    pub heartbeat_update_interval: i64,
    /// Deprecated; carried along.
    pub heartbeat_report_interval: i64,
    /// Empty, an offset or a name of a zone.
    pub timezone: String,
    /// Names are told apart by case.
    pub case_sensitive: bool,
    /// `loose` or `strict`.
    pub collation_compatible: String,
    /// Where the data goes.
    pub target_database: DbConfig,
    /// The task's part for each source, in the order of the file.
    pub mysql_instances: Vec<Instance>,
    /// Ghost tables of online schema changes are understood.
    pub online_ddl: bool,
    /// Names of shadow tables.
    pub shadow_table_rules: Option<Vec<String>>,
    /// Names of tables to be dropped after a change.
    pub trash_table_rules: Option<Vec<String>>,
    /// Deprecated; switches `online_ddl` on.
    pub online_ddl_scheme: String,
    /// Named routes.
    pub routes: BTreeMap<String, RouteRule>,
    /// Named event filters.
    pub filters: BTreeMap<String, EventRule>,
    /// Named conditions on rows.
    pub expression_filters: BTreeMap<String, ExpressionFilter>,
    /// Named lists of tables.
    pub block_allow_list: BTreeMap<String, block_allow::Rules>,
    /// Named settings of the dump.
    pub mydumpers: BTreeMap<String, Mydumper>,
    /// Named settings of the load.
    pub loaders: BTreeMap<String, Loader>,
    /// Named settings of the replication.
    pub syncers: BTreeMap<String, Syncer>,
    /// Named settings of the validator.
    pub validators: BTreeMap<String, Validator>,
    /// The dump is removed after it is loaded.
    pub clean_dump_file: bool,
    /// Deprecated: the answer to start-task says so, nothing else happens.
    pub remove_meta: bool,
    /// Settings that are tried out.
    pub experimental: Experimental,
    column_mappings: usize,
    has_target: bool,
    origin: Origin,
}

/// The task's part for one source.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// The source.
    pub source_id: String,
    /// Where replication begins; required by nothing but mode `incremental`, for which the master finds one.
    pub meta: Option<Meta>,
    /// Names in `filters`.
    pub filter_rules: Option<Vec<String>>,
    /// Deprecated.
    pub column_mapping_rules: Option<Vec<String>>,
    /// Names in `routes`.
    pub route_rules: Option<Vec<String>>,
    /// Names in `expression-filter`.
    pub expression_filters: Option<Vec<String>>,
    /// Name in `block-allow-list`, or empty.
    pub block_allow_list: String,
    /// The dump, after references and overrides are resolved.
    pub mydumper: Mydumper,
    /// The load, likewise.
    pub loader: Loader,
    /// The replication, likewise.
    pub syncer: Syncer,
    /// The validator, likewise.
    pub validator: Validator,
    given: instance::Given,
}

impl TaskConfig {
    /// Reads a task file strictly, completes and checks it. `file_name` is only for the error; it may be empty when
    /// the text came without one. The class of the error is that of every answer to start-task.
    pub fn from_yaml(file_name: &str, text: &str) -> Result<Self, DmError> {
        Self::read_and_adjust(file_name, text, |_| {})
    }

    /// The same for `start-task --start-time`: every instance begins at [`Meta::AT_START_TIME`], whatever the file
    /// says.
    pub fn from_yaml_with_start_time(file_name: &str, text: &str) -> Result<Self, DmError> {
        Self::read_and_adjust(file_name, text, |own| {
            for instance in &mut own.mysql_instances {
                instance.meta = Some(Meta::at_start_time());
            }
        })
    }

    fn read_and_adjust(
        file_name: &str,
        text: &str,
        change: impl FnOnce(&mut Self),
    ) -> Result<Self, DmError> {
        let read = Origin::read(
            file_name,
            text,
            "decode task config failed",
            "config.TaskConfig",
            Self::read,
        );
        let adjusted = read.and_then(|(mut own, origin)| {
            own.origin = origin;
            change(&mut own);
            own.adjust()?;
            Ok(own)
        });
        adjusted.map_err(|error| error.class(Class::DmMaster))
    }

    /// The ids of the sources, in the order of the file.
    pub fn source_ids(&self) -> impl Iterator<Item = &str> {
        self.mysql_instances
            .iter()
            .map(|instance| instance.source_id.as_str())
    }

    /// Replaces an encrypted password of the target by its clear text, which is what etcd holds.
    pub fn decrypt(&mut self, key: &SecretKey) {
        self.target_database.password = self.target_database.password.decrypted(key);
    }

    /// What a target that reports this version asks of the session: lower-case names, and optimistic transactions
    /// for TiDB of 3.0 or later. Other servers leave the session as it is.
    pub fn adjust_target_session(&mut self, server_version: &str) {
        let lower = server_version.to_lowercase();
        let Some((_, after)) = lower.split_once("tidb-") else {
            return;
        };
        let session = self.target_database.session.take().unwrap_or_default();
        let mut session: BTreeMap<String, String> = session
            .into_iter()
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        let major = after
            .trim_start_matches('v')
            .split('.')
            .next()
            .and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major >= 3) {
            session
                .entry("tidb_txn_mode".into())
                .or_insert_with(|| "optimistic".into());
        }
        self.target_database.session = Some(session);
    }
}
