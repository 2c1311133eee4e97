//! One entry of `mysql-instances`: its keys, and the settings that its references resolve to.

use std::collections::{BTreeMap, BTreeSet};

use dm_errors::{Code, DmError};

pub(super) use super::Instance;
use super::TaskConfig;
use crate::subtask::Meta;
use crate::units::{Loader, Mydumper, Syncer, Validator};
use crate::yaml::{Issues, Map, Node};

/// What the file says, before names are looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    is_null: bool,
    black_white_list: String,
    mydumper: Unit<Mydumper>,
    loader: Unit<Loader>,
    syncer: Unit<Syncer>,
    validator: String,
}

/// The three ways to set a unit up.
#[derive(Clone, Debug)]
struct Unit<T> {
    name: String,
    inline: Option<T>,
    threads: i64,
}

impl<T> Default for Unit<T> {
    fn default() -> Self {
        Self {
            name: String::new(),
            inline: None,
            threads: 0,
        }
    }
}

impl<T: Clone + Default> Unit<T> {
    fn read(
        map: &mut Map<'_>,
        [name, inline, threads]: [&'static str; 3],
        type_name: &'static str,
        read: impl FnOnce(&mut Map<'_>) -> T,
    ) -> Self {
        let mut own = Self::default();
        map.string(name, &mut own.name);
        own.inline = map.table(inline, type_name, read);
        map.int(threads, &mut own.threads);
        own
    }

    /// The settings meant, and the name that was used for them.
    fn resolve(
        &self,
        named: &BTreeMap<String, T>,
        unknown: impl FnOnce() -> DmError,
    ) -> Result<T, DmError> {
        match (self.name.as_str(), &self.inline) {
            ("", inline) => Ok(inline.clone().unwrap_or_default()),
            (name, _) => named.get(name).cloned().ok_or_else(unknown),
        }
    }
}

impl Instance {
    pub(super) fn read(node: &Node, path: String, issues: &mut Issues) -> Option<Self> {
        let mut own = Map::read(node, path, "config.MySQLInstance", issues, |map| {
            let mut own = Self::default();
            map.string("source-id", &mut own.source_id);
            own.meta = map.table("meta", "config.Meta", |map| {
                let mut meta = Meta::default();
                map.string("binlog-name", &mut meta.binlog_name);
                map.int("binlog-pos", &mut meta.binlog_pos);
                map.string("binlog-gtid", &mut meta.binlog_gtid);
                meta
            });
            map.strings("filter-rules", &mut own.filter_rules);
            map.strings("column-mapping-rules", &mut own.column_mapping_rules);
            map.strings("route-rules", &mut own.route_rules);
            map.strings("expression-filters", &mut own.expression_filters);
            map.string("black-white-list", &mut own.given.black_white_list);
            map.string("block-allow-list", &mut own.block_allow_list);
            let keys = ["mydumper-config-name", "mydumper", "mydumper-thread"];
            own.given.mydumper = Unit::read(map, keys, "config.rawMydumperConfig", Mydumper::read);
            let keys = ["loader-config-name", "loader", "loader-thread"];
            own.given.loader = Unit::read(map, keys, "config.rawLoaderConfig", Loader::read);
            let keys = ["syncer-config-name", "syncer", "syncer-thread"];
            own.given.syncer = Unit::read(map, keys, "config.rawSyncerConfig", Syncer::read);
            map.string("validator-config-name", &mut own.given.validator);
            own
        });
        own.given.is_null = node.is_null();
        Some(own)
    }

    /// What is wrong with the entry taken alone, with the key it is about.
    pub(super) fn verify(&self) -> Result<(), (&'static str, &'static str, DmError)> {
        let given = &self.given;
        if given.is_null {
            return Err((
                "",
                "an entry with source-id is required",
                DmError::new(Code::CONFIG_MYSQL_INST_NOT_FOUND, &[]),
            ));
        }
        if self.source_id.is_empty() {
            return Err((
                "source-id",
                "it is required",
                DmError::new(Code::CONFIG_EMPTY_SOURCE_ID, &[]),
            ));
        }
        if self
            .meta
            .as_ref()
            .is_some_and(|meta| meta.binlog_name.is_empty() && meta.binlog_gtid.is_empty())
        {
            let error = DmError::new(Code::CONFIG_META_INVALID, &[])
                .annotate(format!("source {}", self.source_id));
            return Err((
                "meta",
                "binlog-name or binlog-gtid is required in it",
                error,
            ));
        }
        let both = "either the name or the inline settings are allowed";
        for (name, inline, key, code) in [
            (
                &given.mydumper.name,
                given.mydumper.inline.is_some(),
                "mydumper-config-name",
                Code::CONFIG_MYDUMPER_CFG_CONFLICT,
            ),
            (
                &given.loader.name,
                given.loader.inline.is_some(),
                "loader-config-name",
                Code::CONFIG_LOADER_CFG_CONFLICT,
            ),
            (
                &given.syncer.name,
                given.syncer.inline.is_some(),
                "syncer-config-name",
                Code::CONFIG_SYNCER_CFG_CONFLICT,
            ),
        ] {
            if !name.is_empty() && inline {
                return Err((key, both, DmError::new(code, &[])));
            }
        }
        Ok(())
    }

    /// The list's name, taking the deprecated key when the new one is empty.
    pub(super) fn take_over_list(&mut self) {
        if self.block_allow_list.is_empty() {
            self.block_allow_list
                .clone_from(&self.given.black_white_list);
        }
    }

    /// Looks up the settings of the dump.
    pub(super) fn resolve_mydumper(&mut self, at: usize, task: &TaskConfig) -> Result<(), DmError> {
        let given = &self.given.mydumper;
        let unknown = || DmError::new(Code::CONFIG_MYDUMPER_CFG_NOT_FOUND, &[&at, &given.name]);
        self.mydumper = given.resolve(&task.mydumpers, unknown)?;
        if given.threads != 0 {
            self.mydumper.threads = given.threads;
        }
        if self.mydumper.mydumper_path.is_empty()
            && matches!(task.task_mode.as_str(), "all" | "full" | "dump")
        {
            return Err(DmError::new(Code::CONFIG_MYDUMPER_PATH_NOT_VALID, &[&at]));
        }
        Ok(())
    }

    /// Looks up the settings of the load.
    pub(super) fn resolve_loader(&mut self, at: usize, task: &TaskConfig) -> Result<(), DmError> {
        let given = &self.given.loader;
        let unknown = || DmError::new(Code::CONFIG_LOADER_CFG_NOT_FOUND, &[&at, &given.name]);
        self.loader = given.resolve(&task.loaders, unknown)?;
        if given.threads != 0 {
            self.loader.pool_size = given.threads;
        }
        Ok(())
    }

    /// Looks up the settings of the replication.
    pub(super) fn resolve_syncer(&mut self, at: usize, task: &TaskConfig) -> Result<(), DmError> {
        let given = &self.given.syncer;
        let unknown = || DmError::new(Code::CONFIG_SYNCER_CFG_NOT_FOUND, &[&at, &given.name]);
        self.syncer = given.resolve(&task.syncers, unknown)?;
        self.syncer.adjust()?;
        if given.threads != 0 {
            self.syncer.worker_count = given.threads;
        }
        Ok(())
    }

    /// Looks up the settings of the validator; without a name there is none.
    pub(super) fn resolve_validator(
        &mut self,
        at: usize,
        task: &TaskConfig,
    ) -> Result<(), DmError> {
        let name = &self.given.validator;
        self.validator = match name.as_str() {
            "" => Validator {
                mode: "none".into(),
                ..Validator::default()
            },
            _ => task.validators.get(name).cloned().ok_or_else(|| {
                DmError::new(Code::CONTINUOUS_VALIDATOR_CFG_NOT_FOUND, &[&at, name])
            })?,
        };
        Ok(())
    }

    /// The lists of names with their keys, in which no name may come twice.
    pub(super) fn lists(&self) -> [(&'static str, &[String]); 4] {
        [
            (
                "route-rules",
                self.route_rules.as_deref().unwrap_or_default(),
            ),
            (
                "filter-rules",
                self.filter_rules.as_deref().unwrap_or_default(),
            ),
            (
                "column-mapping-rules",
                self.column_mapping_rules.as_deref().unwrap_or_default(),
            ),
            (
                "expression-filters",
                self.expression_filters.as_deref().unwrap_or_default(),
            ),
        ]
    }

    /// Every name of a definition that this instance uses, by the key of the definitions.
    pub(super) fn uses(&self, used: &mut BTreeSet<(&'static str, String)>) {
        let [routes, filters, _, expressions] = self.lists();
        for (key, names) in [
            ("routes", routes.1),
            ("filters", filters.1),
            ("expression-filter", expressions.1),
        ] {
            used.extend(names.iter().map(|name| (key, name.clone())));
        }
        for (key, name) in [
            ("mydumpers", &self.given.mydumper.name),
            ("loaders", &self.given.loader.name),
            ("syncers", &self.given.syncer.name),
            ("validators", &self.given.validator),
        ] {
            used.insert((key, name.clone()));
        }
    }
}
