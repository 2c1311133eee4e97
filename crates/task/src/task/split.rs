//! A task and the sources it names, as one subtask for each source.

use std::collections::{BTreeMap, BTreeSet};

use dm_errors::{Class, Code, DmError};
use dm_keyspace::SourceId;

use super::{Instance, TaskConfig};
use crate::source::SourceConfig;
use crate::subtask::SubtaskConfig;

/// Names that an error lists at most.
const MOST_NAMES: usize = 20;

impl TaskConfig {
    /// One subtask for each instance, in the order of the file, each adjusted. Nothing is asked of any database:
    /// the session of the target and a missing `meta` are filled in before.
    pub fn split(
        &self,
        sources: &BTreeMap<SourceId, SourceConfig>,
    ) -> Result<Vec<SubtaskConfig>, DmError> {
        let known = || sources.keys().cloned().collect::<Vec<_>>();
        let build = |(at, instance): (usize, &Instance)| {
            let path = format!("mysql-instances[{at}]");
            let source = sources
                .get(instance.source_id.as_str())
                .ok_or_else(|| self.unknown_source(at, instance, &known()))?;
            let mut subtask = self.subtask(instance, source);
            subtask.adjust().map_err(|error| {
                let error = error.annotate(format!("source {}", instance.source_id));
                self.origin
                    .at(&path, "the subtask of this source cannot run", error)
            })?;
            Ok(subtask)
        };
        let built: Result<Vec<_>, DmError> =
            self.mysql_instances.iter().enumerate().map(build).collect();
        built
            .and_then(|subtasks| one_import_mode(&subtasks).map(|()| subtasks))
            .map_err(|e| e.class(Class::DmMaster))
    }

    /// Whether each source of the task is among those that are known, which the error lists.
    pub fn check_sources(&self, known: &[SourceId]) -> Result<(), DmError> {
        let unknown = self
            .mysql_instances
            .iter()
            .enumerate()
            .find(|(_, instance)| !known.iter().any(|id| id.as_str() == instance.source_id));
        match unknown {
            None => Ok(()),
            Some((at, instance)) => {
                let error = self.unknown_source(at, instance, known);
                Err(error.class(Class::DmMaster))
            }
        }
    }

    fn unknown_source(&self, at: usize, instance: &Instance, known: &[SourceId]) -> DmError {
        let shown: Vec<&str> = known
            .iter()
            .take(MOST_NAMES)
            .map(SourceId::as_str)
            .collect();
        let more = match known.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let what = format!("known sources: [{}]{more}", shown.join(" "));
        let error = DmError::new(Code::CONFIG_SOURCE_ID_NOT_FOUND, &[&instance.source_id]);
        let key = format!("mysql-instances[{at}].source-id");
        self.origin.at(&key, &what, error)
    }

    fn subtask(&self, instance: &Instance, source: &SourceConfig) -> SubtaskConfig {
        SubtaskConfig {
            is_sharding: self.is_sharding,
            shard_mode: self.shard_mode.clone(),
            strict_optimistic_shard_mode: self.strict_optimistic_shard_mode,
            online_ddl: self.online_ddl,
            shadow_table_rules: self.shadow_table_rules.clone().unwrap_or_default(),
            trash_table_rules: self.trash_table_rules.clone().unwrap_or_default(),
            case_sensitive: self.case_sensitive,
            collation_compatible: self.collation_compatible.clone(),
            name: self.name.clone(),
            mode: self.task_mode.clone(),
            ignore_checking_items: self.ignore_checking_items.clone(),
            source_id: instance.source_id.clone(),
            meta_schema: self.meta_schema.clone(),
            heartbeat_update_interval: self.heartbeat_update_interval,
            heartbeat_report_interval: self.heartbeat_report_interval,
            timezone: self.timezone.clone(),
            route_rules: named(&instance.route_rules, &self.routes),
            filter_rules: named(&instance.filter_rules, &self.filters),
            expression_filters: named(&instance.expression_filters, &self.expression_filters),
            mydumper: instance.mydumper.clone(),
            loader: instance.loader.clone(),
            syncer: instance.syncer.clone(),
            clean_dump_file: self.clean_dump_file,
            uuid: uuid_of(&[&self.name, &instance.source_id]),
            dump_uuid: uuid_of(&[&self.name, &instance.source_id, "dump"]),
            meta: instance.meta.clone(),
            from: source.from.clone(),
            to: self.target_database.clone(),
            block_allow_list: self
                .block_allow_list
                .get(&instance.block_allow_list)
                .cloned(),
            validator: instance.validator.clone(),
            experimental: self.experimental.clone(),
            io_total_bytes: Some(toml::Table::new()),
            dump_io_total_bytes: Some(toml::Table::new()),
            ..SubtaskConfig::default()
        }
    }
}

fn named<T: Clone>(names: &Option<Vec<String>>, defined: &BTreeMap<String, T>) -> Vec<T> {
    names
        .iter()
        .flatten()
        .filter_map(|name| defined.get(name).cloned())
        .collect()
}

fn one_import_mode(subtasks: &[SubtaskConfig]) -> Result<(), DmError> {
    let modes: BTreeSet<&str> = subtasks
        .iter()
        .map(|subtask| subtask.loader.import_mode.as_str())
        .collect();
    let mut modes = modes.into_iter();
    match (modes.next(), modes.next()) {
        (Some(one), Some(other)) => Err(DmError::new(Code::CONFIG_INVALID_LOAD_MODE, &[&other])
            .message(format!(
                "found two import-mode {one} and {other} in task config, DM only supports one value"
            ))),
        _ => Ok(()),
    }
}

/// A UUID that differs from those of all other subtasks in one worker, which is all it is for; the same parts give
/// the same one.
fn uuid_of(parts: &[&str]) -> String {
    let hash = |seed: u64| {
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
        bytes.fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9e37_79b9_7f4a_7c15));
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff,
    )
}
