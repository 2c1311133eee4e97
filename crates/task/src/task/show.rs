//! A task as its users see it, put together again from its subtasks: the whole of it for `config task`, a file to
//! import again for `config export`.
//!
//! Etcd holds no task file, so names of rules and settings are made up, one for each distinct value.

use dm_errors::DmError;

use crate::block_allow::{Rules, TableRule};
use crate::secret::Secret;
use crate::subtask::{Meta, SHADOW_RULE, SubtaskConfig, TRASH_RULE};
use crate::units::{Experimental, Loader, Validator};
use crate::yaml::Tree;

/// The task of these subtasks with every key in DM's order, the password as `******`, no key material. None without
/// subtasks.
pub fn shown_yaml(subtasks: &[SubtaskConfig]) -> Result<Option<String>, DmError> {
    let masked: Vec<SubtaskConfig> = subtasks.iter().map(SubtaskConfig::masked).collect();
    Ok(tree(&masked)?.map(|tree| tree.to_yaml()))
}

/// A file that makes the same task again, with the target's password as given. Keys that early versions of DM do not
/// know are left out where they hold the default. None without subtasks.
pub fn exported_yaml(
    subtasks: &[SubtaskConfig],
    password: &Secret,
) -> Result<Option<String>, DmError> {
    let mut own = subtasks.to_vec();
    for subtask in &mut own {
        subtask.to.password = password.clone();
        // Made from the directory of the dump when nobody gave one.
        if subtask.loader.sorting_dir_physical == format!("{}.sorting", subtask.loader.dir) {
            subtask.loader.sorting_dir_physical.clear();
        }
    }
    let defaults = Defaults::new()?;
    Ok(tree(&own)?.map(|tree| defaults.without(tree).to_yaml()))
}

fn tree(subtasks: &[SubtaskConfig]) -> Result<Option<Tree>, DmError> {
    let mut sorted: Vec<&SubtaskConfig> = subtasks.iter().collect();
    sorted.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    let Some(first) = sorted.first().copied() else {
        return Ok(None);
    };
    let mut parts = Parts::default();
    let instances = sorted
        .iter()
        .map(|subtask| parts.instance(subtask))
        .collect::<Result<Vec<_>, _>>()?;
    let Tree::Map(mut entries) = head(first, instances)? else {
        return Ok(None);
    };
    entries.extend(parts.entries());
    let Tree::Map(tail) = Tree::map([
        ("clean-dump-file", first.clean_dump_file.into()),
        ("ansi-quotes", first.ansi_quotes.into()),
        ("remove-meta", false.into()),
        ("experimental", Tree::of(&first.experimental)?),
    ]) else {
        return Ok(None);
    };
    entries.extend(tail);
    Ok(Some(Tree::Map(entries)))
}

fn head(first: &SubtaskConfig, instances: Vec<Tree>) -> Result<Tree, DmError> {
    Ok(Tree::map([
        ("name", first.name.as_str().into()),
        ("task-mode", first.mode.as_str().into()),
        ("is-sharding", first.is_sharding.into()),
        ("shard-mode", first.shard_mode.as_str().into()),
        (
            "strict-optimistic-shard-mode",
            first.strict_optimistic_shard_mode.into(),
        ),
        (
            "ignore-checking-items",
            Tree::texts(&first.ignore_checking_items),
        ),
        ("meta-schema", first.meta_schema.as_str().into()),
        ("enable-heartbeat", first.enable_heartbeat.into()),
        (
            "heartbeat-update-interval",
            first.heartbeat_update_interval.into(),
        ),
        (
            "heartbeat-report-interval",
            first.heartbeat_report_interval.into(),
        ),
        ("timezone", first.timezone.as_str().into()),
        ("case-sensitive", first.case_sensitive.into()),
        (
            "collation_compatible",
            first.collation_compatible.as_str().into(),
        ),
        ("target-database", first.to.tree()?),
        ("mysql-instances", Tree::List(instances)),
        ("online-ddl", first.online_ddl.into()),
        (
            "shadow-table-rules",
            custom(&first.shadow_table_rules, SHADOW_RULE),
        ),
        (
            "trash-table-rules",
            custom(&first.trash_table_rules, TRASH_RULE),
        ),
        ("online-ddl-scheme", first.online_ddl_scheme.as_str().into()),
    ]))
}

/// Rules of the user. The ones that every subtask has anyway are not shown.
fn custom(rules: &[String], default: &str) -> Tree {
    match rules {
        [only] if only == default => Tree::List(Vec::new()),
        rules => Tree::texts(&Some(rules.to_vec())),
    }
}

/// The named parts of a task file.
#[derive(Default)]
struct Parts {
    routes: Named,
    filters: Named,
    conditions: Named,
    lists: Named,
    dumps: Named,
    loads: Named,
    syncs: Named,
    validators: Named,
}

impl Parts {
    fn instance(&mut self, subtask: &SubtaskConfig) -> Result<Tree, DmError> {
        let none = || Tree::List(Vec::new());
        let meta = match &subtask.meta {
            None => Tree::Null,
            Some(meta) => meta_tree(meta),
        };
        let routes = subtask.route_rules.iter().map(Tree::of);
        let routes = routes.collect::<Result<Vec<_>, _>>()?;
        let filters = subtask.filter_rules.iter().map(|rule| rule.tree());
        let conditions = subtask.expression_filters.iter().map(Tree::of);
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        let list = subtask.block_allow_list.as_ref().map(list_tree);
        let list = list.map_or(Tree::from(""), |list| self.lists.name("balist", list));
        let validator = Tree::of(&subtask.validator)?.keeping(|key, _| key != "start-time");
        Ok(Tree::map([
            ("source-id", subtask.source_id.as_str().into()),
            ("meta", meta),
            ("filter-rules", self.filters.all("filter", filters)),
            ("column-mapping-rules", none()),
            ("route-rules", self.routes.all("route", routes)),
            (
                "expression-filters",
                self.conditions.all("expr-filter", conditions),
            ),
            ("black-white-list", "".into()),
            ("block-allow-list", list),
            (
                "mydumper-config-name",
                self.dumps.name("dump", Tree::of(&subtask.mydumper)?),
            ),
            ("mydumper", Tree::Null),
            ("mydumper-thread", 0.into()),
            (
                "loader-config-name",
                self.loads.name("load", load_tree(subtask)?),
            ),
            ("loader", Tree::Null),
            ("loader-thread", 0.into()),
            (
                "syncer-config-name",
                self.syncs.name("sync", Tree::of(&subtask.syncer)?),
            ),
            ("syncer", Tree::Null),
            ("syncer-thread", 0.into()),
            (
                "validator-config-name",
                self.validators.name("validator", validator),
            ),
        ]))
    }

    fn entries(self) -> Vec<(String, Tree)> {
        let none = Named::default;
        [
            ("routes", self.routes),
            ("filters", self.filters),
            ("column-mappings", none()),
            ("expression-filter", self.conditions),
            ("black-white-list", none()),
            ("block-allow-list", self.lists),
            ("mydumpers", self.dumps),
            ("loaders", self.loads),
            ("syncers", self.syncs),
            ("validators", self.validators),
        ]
        .into_iter()
        .map(|(key, named)| (key.to_owned(), Tree::Map(named.0)))
        .collect()
    }
}

/// Distinct values with their names, in the order in which they came.
#[derive(Default)]
struct Named(Vec<(String, Tree)>);

impl Named {
    fn name(&mut self, kind: &str, value: Tree) -> Tree {
        if let Some((name, _)) = self.0.iter().find(|(_, known)| *known == value) {
            return name.as_str().into();
        }
        let name = format!("{kind}-{:02}", self.0.len() + 1);
        self.0.push((name.clone(), value));
        Tree::Text(name)
    }

    fn all(&mut self, kind: &str, values: impl IntoIterator<Item = Tree>) -> Tree {
        let names = values.into_iter().map(|value| self.name(kind, value));
        Tree::List(names.collect())
    }
}

fn meta_tree(meta: &Meta) -> Tree {
    Tree::map([
        ("binlog-name", meta.binlog_name.as_str().into()),
        ("binlog-pos", i64::from(meta.binlog_pos).into()),
        ("binlog-gtid", meta.binlog_gtid.as_str().into()),
    ])
}

fn list_tree(rules: &Rules) -> Tree {
    let tables = |rules: &Option<Vec<TableRule>>| {
        let tables = rules.iter().flatten().map(|rule| {
            Tree::map([
                ("db-name", rule.db_name.as_str().into()),
                ("tbl-name", rule.tbl_name.as_str().into()),
            ])
        });
        Tree::List(tables.collect())
    };
    Tree::map([
        ("do-tables", tables(&rules.do_tables)),
        ("do-dbs", Tree::texts(&rules.do_dbs)),
        ("ignore-tables", tables(&rules.ignore_tables)),
        ("ignore-dbs", Tree::texts(&rules.ignore_dbs)),
    ])
}

/// The load with the directory that the user gave: subtasks have one of their own below or beside it.
fn load_tree(subtask: &SubtaskConfig) -> Result<Tree, DmError> {
    let suffixes = [
        format!(".{}", subtask.name),
        format!("/{}.{}", subtask.name, subtask.source_id),
    ];
    let dir = &subtask.loader.dir;
    let given = suffixes
        .iter()
        .find_map(|suffix| dir.strip_suffix(suffix.as_str()));
    let loader = Loader {
        dir: given.unwrap_or(dir).to_owned(),
        ..subtask.loader.clone()
    };
    Tree::of(&loader)
}

/// What keys hold that nobody has set, as far as early versions of DM do not know them.
struct Defaults {
    loader: Tree,
    validator: Tree,
    experimental: Tree,
}

impl Defaults {
    fn new() -> Result<Self, DmError> {
        let mut validator = Validator::default();
        validator.adjust()?;
        let mut loader = Loader::default();
        loader.adjust()?;
        Ok(Self {
            loader: Tree::of(&loader)?,
            validator: Tree::of(&validator)?.keeping(|key, _| key != "start-time"),
            experimental: Tree::of(&Experimental::default())?,
        })
    }

    fn without(&self, task: Tree) -> Tree {
        let has_validators = match &task {
            Tree::Map(entries) => entries
                .iter()
                .any(|(key, value)| key == "validators" && !self.are_validators_default(value)),
            _ => false,
        };
        let keep = |key: &str, value: &Tree| match key {
            "collation_compatible" => value != &Tree::from("loose"),
            "strict-optimistic-shard-mode" | "ansi-quotes" | "remove-meta" => {
                value != &Tree::Bool(false)
            }
            "validators" => has_validators,
            "experimental" => value != &self.experimental,
            _ => true,
        };
        let Tree::Map(entries) = task.keeping(keep) else {
            return Tree::Null;
        };
        let inner = |(key, value): (String, Tree)| {
            let value = match (key.as_str(), value) {
                ("loaders", Tree::Map(loaders)) => Tree::Map(
                    loaders
                        .into_iter()
                        .map(|(name, loader)| (name, self.short_loader(loader)))
                        .collect(),
                ),
                ("mysql-instances", Tree::List(instances)) if !has_validators => Tree::List(
                    instances
                        .into_iter()
                        .map(|i| i.keeping(|key, _| key != "validator-config-name"))
                        .collect(),
                ),
                (_, value) => value,
            };
            (key, value)
        };
        Tree::Map(entries.into_iter().map(inner).collect())
    }

    fn are_validators_default(&self, validators: &Tree) -> bool {
        match validators {
            Tree::Map(entries) => entries.iter().all(|(_, value)| *value == self.validator),
            _ => true,
        }
    }

    fn short_loader(&self, loader: Tree) -> Tree {
        let Tree::Map(defaults) = &self.loader else {
            return loader;
        };
        loader.keeping(|key, value| {
            let default = defaults.iter().find(|(known, _)| known == key);
            matches!(key, "pool-size" | "dir")
                || default.is_none_or(|(_, default)| default != value)
        })
    }
}
