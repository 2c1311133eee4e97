//! Defaults and rules of a task, in the order in which DM applies them: the first failure is the answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;

use dm_errors::{Code, DmError, List};

use super::{Instance, TaskConfig, timezone};
use crate::subtask::adjust_shard_mode;

const TASK_MODES: [&str; 6] = ["full", "incremental", "all", "dump", "load", "load&sync"];

/// Names of prechecks, as `ignore-checking-items` may hold them.
pub const CHECKING_ITEMS: [&str; 23] = [
    "all",
    "binlog_db",
    "binlog_enable",
    "binlog_format",
    "binlog_row_image",
    "conn_number",
    "downstream_mutex_features",
    "downstream_table_empty",
    "downstream_version",
    "dump_privilege",
    "empty_region",
    "free_space",
    "meta_position",
    "online_ddl",
    "primary_key",
    "auto_increment_ID",
    "region_distribution",
    "replication_privilege",
    "schema_of_shard_tables",
    "server_id",
    "table_schema",
    "target_privilege",
    "version",
];

impl TaskConfig {
    pub(super) fn adjust(&mut self) -> Result<(), DmError> {
        self.adjust_head()?;
        self.check_shapes()?;
        self.check_definitions()?;
        self.adjust_instances()?;
        for (name, loader) in &mut self.loaders {
            let key = format!("loaders.{name}");
            loader.adjust().map_err(|error| {
                self.origin
                    .at(&key, "see the workaround for what is allowed", error)
            })?;
        }
        self.check_unused()?;
        let zone = "a name such as Asia/Shanghai or an offset such as +08:00 is allowed";
        timezone::verify(&self.timezone)
            .map_err(|error| self.origin.at("timezone", zone, error))?;
        self.check_rules()
    }

    fn fail<T>(
        &self,
        key: &str,
        what: &str,
        code: Code,
        args: &[&dyn Display],
    ) -> Result<T, DmError> {
        Err(self.origin.at(key, what, DmError::new(code, args)))
    }

    fn adjust_head(&mut self) -> Result<(), DmError> {
        if self.name.is_empty() {
            return self.fail(
                "name",
                "it is required",
                Code::CONFIG_NEED_UNIQUE_TASK_NAME,
                &[],
            );
        }
        if !TASK_MODES.contains(&self.task_mode.as_str()) {
            let allowed = format!("allowed are {}", TASK_MODES.join(", "));
            return self.fail("task-mode", &allowed, Code::CONFIG_INVALID_TASK_MODE, &[]);
        }
        if self.meta_schema.is_empty() {
            self.meta_schema = "dm_meta".into();
        }
        adjust_shard_mode(
            self.is_sharding,
            &mut self.shard_mode,
            self.strict_optimistic_shard_mode,
        )
        .map_err(|error| {
            self.origin.at(
                "shard-mode",
                "allowed are pessimistic, optimistic and empty",
                error,
            )
        })?;
        if self.column_mappings > 0 {
            return self.fail(
                "column-mappings",
                "none are allowed",
                Code::CONFIG_COLUMN_MAPPING_DEPRECATED,
                &[],
            );
        }
        match self.collation_compatible.as_str() {
            "" => self.collation_compatible = "loose".into(),
            "loose" | "strict" => {}
            other => {
                let code = Code::CONFIG_COLLATION_COMPATIBLE_NOT_SUPPORT;
                return self.fail(
                    "collation_compatible",
                    "allowed are loose and strict",
                    code,
                    &[&other],
                );
            }
        }
        Ok(())
    }

    fn check_shapes(&mut self) -> Result<(), DmError> {
        let ignored = self.ignore_checking_items.iter().flatten();
        if let Some(unknown) = ignored
            .into_iter()
            .find(|item| !CHECKING_ITEMS.contains(&item.as_str()))
        {
            let all = CHECKING_ITEMS.join("\n");
            let code = Code::CONFIG_CHECK_ITEM_NOT_SUPPORT;
            return self.fail(
                "ignore-checking-items",
                "the message lists what is allowed",
                code,
                &[unknown, &all],
            );
        }
        match self.online_ddl_scheme.as_str() {
            "" => {}
            "gh-ost" | "pt" => self.online_ddl = true,
            other => {
                let code = Code::CONFIG_ONLINE_SCHEME_NOT_SUPPORT;
                return self.fail(
                    "online-ddl-scheme",
                    "allowed are gh-ost and pt",
                    code,
                    &[&other],
                );
            }
        }
        if !self.has_target {
            return self.fail(
                "target-database",
                "it is required",
                Code::CONFIG_NEED_TARGET_DB,
                &[],
            );
        }
        if self.mysql_instances.is_empty() {
            let what = "one entry with source-id is required";
            return self.fail(
                "mysql-instances",
                what,
                Code::CONFIG_MYSQL_INSTS_AT_LEAST_ONE,
                &[],
            );
        }
        Ok(())
    }

    fn check_definitions(&mut self) -> Result<(), DmError> {
        for (name, filter) in &self.expression_filters {
            let what = "schema, table and expressions for one kind of change are required";
            let key = format!("expression-filter.{name}");
            filter
                .verify(name)
                .map_err(|error| self.origin.at(&key, what, error))?;
        }
        for (name, validator) in &mut self.validators {
            let key = format!("validators.{name}");
            let what = "mode none, fast or full and a size such as 500m are allowed";
            validator
                .adjust()
                .map_err(|error| self.origin.at(&key, what, error))?;
        }
        Ok(())
    }

    fn adjust_instances(&mut self) -> Result<(), DmError> {
        let mut first_of: HashMap<String, usize> = HashMap::new();
        let mut duplicates = Vec::new();
        let mut instances = std::mem::take(&mut self.mysql_instances);
        let several = instances.len() > 1;
        for (at, instance) in instances.iter_mut().enumerate() {
            let path = format!("mysql-instances[{at}]");
            instance.verify().map_err(|(key, what, error)| {
                let key = if key.is_empty() {
                    path.clone()
                } else {
                    format!("{path}.{key}")
                };
                self.origin.at(
                    &key,
                    what,
                    error.annotate(format!("mysql-instance: {at}{}", ordinal(at))),
                )
            })?;
            if let Some(first) = first_of.insert(instance.source_id.clone(), at) {
                let args: [&dyn Display; 3] = [&first, &at, &instance.source_id];
                let what = "each source is allowed once";
                return self.fail(
                    &format!("{path}.source-id"),
                    what,
                    Code::CONFIG_MYSQL_INST_SAME_SOURCE_ID,
                    &args,
                );
            }
            self.resolve(at, &path, instance, several)?;
            duplicates.extend(
                instance
                    .lists()
                    .into_iter()
                    .filter_map(|(key, names)| twice(at, key, names)),
            );
        }
        self.mysql_instances = instances;
        match duplicates.is_empty() {
            true => Ok(()),
            false => self.fail(
                "mysql-instances",
                "each name is allowed once in a list",
                Code::CONFIG_DUPLICATE_CFG_ITEM,
                &[&duplicates.join("\n")],
            ),
        }
    }

    fn resolve(
        &self,
        at: usize,
        path: &str,
        instance: &mut Instance,
        several: bool,
    ) -> Result<(), DmError> {
        let [routes, filters, ..] = instance.lists();
        self.look_up(
            at,
            path,
            routes,
            &self.routes,
            Code::CONFIG_ROUTE_RULE_NOT_FOUND,
        )?;
        self.look_up(
            at,
            path,
            filters,
            &self.filters,
            Code::CONFIG_FILTER_RULE_NOT_FOUND,
        )?;
        instance.take_over_list();
        let list = std::slice::from_ref(&instance.block_allow_list);
        if !instance.block_allow_list.is_empty() {
            self.look_up(
                at,
                path,
                ("block-allow-list", list),
                &self.block_allow_list,
                Code::CONFIG_BA_LIST_NOT_FOUND,
            )?;
        }
        let located = |key: &str, error| {
            self.origin.at(
                &format!("{path}.{key}"),
                "see the workaround for what is allowed",
                error,
            )
        };
        instance
            .resolve_mydumper(at, self)
            .map_err(|error| located("mydumper-config-name", error))?;
        instance
            .resolve_loader(at, self)
            .map_err(|error| located("loader-config-name", error))?;
        if several
            && instance
                .loader
                .import_mode
                .eq_ignore_ascii_case("import-into")
        {
            return self.fail(
                path,
                "one source is allowed",
                Code::CONFIG_IMPORT_INTO_SHARDING_NOT_SUPPORT,
                &[],
            );
        }
        instance
            .resolve_syncer(at, self)
            .map_err(|error| located("syncer-config-name", error))?;
        instance
            .resolve_validator(at, self)
            .map_err(|error| located("validator-config-name", error))?;
        let [_, _, _, expressions] = instance.lists();
        self.look_up(
            at,
            path,
            expressions,
            &self.expression_filters,
            Code::CONFIG_EXPR_FILTER_NOT_FOUND,
        )
    }

    fn look_up<T>(
        &self,
        at: usize,
        path: &str,
        (key, names): (&str, &[String]),
        defined: &BTreeMap<String, T>,
        code: Code,
    ) -> Result<(), DmError> {
        let Some(unknown) = names.iter().find(|name| !defined.contains_key(*name)) else {
            return Ok(());
        };
        let known: Vec<&str> = defined.keys().map(String::as_str).collect();
        let allowed = match known.is_empty() {
            true => "nothing of the kind is defined".to_owned(),
            false => format!("defined are {}", known.join(", ")),
        };
        self.fail(&format!("{path}.{key}"), &allowed, code, &[&at, unknown])
    }

    fn check_unused(&self) -> Result<(), DmError> {
        let mut used = BTreeSet::new();
        self.mysql_instances
            .iter()
            .for_each(|instance| instance.uses(&mut used));
        let mut unused: Vec<String> = Vec::new();
        let mut first = None;
        for (key, names) in self.definitions() {
            for name in names
                .into_iter()
                .filter(|name| !used.contains(&(key, name.clone())))
            {
                first.get_or_insert_with(|| format!("{key}.{name}"));
                unused.push(name);
            }
        }
        unused.sort();
        match first {
            None => Ok(()),
            Some(key) => {
                let what = "only what an instance uses is allowed";
                self.fail(
                    &key,
                    what,
                    Code::CONFIG_GLOBAL_CONFIGS_UNUSED,
                    &[&List(&unused)],
                )
            }
        }
    }

    fn definitions(&self) -> [(&'static str, Vec<String>); 7] {
        [
            ("routes", self.routes.keys().cloned().collect()),
            ("filters", self.filters.keys().cloned().collect()),
            ("mydumpers", self.mydumpers.keys().cloned().collect()),
            ("loaders", self.loaders.keys().cloned().collect()),
            ("syncers", self.syncers.keys().cloned().collect()),
            (
                "expression-filter",
                self.expression_filters.keys().cloned().collect(),
            ),
            ("validators", self.validators.keys().cloned().collect()),
        ]
    }
}

/// The names that come more than once, as DM lists them.
fn twice(at: usize, key: &str, names: &[String]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let again: BTreeSet<&str> = names
        .iter()
        .filter(|name| !seen.insert(*name))
        .map(String::as_str)
        .collect();
    let again: Vec<&str> = again.into_iter().collect();
    (!again.is_empty()).then(|| format!("mysql-instance({at})'s {key}: {}", again.join(", ")))
}

/// The ending of an English ordinal number.
fn ordinal(number: usize) -> &'static str {
    match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}
