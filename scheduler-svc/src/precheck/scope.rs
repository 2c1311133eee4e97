//! Which tables of a source take part in a task, and where they go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dm_errors::{Code, DmError, List};
use dm_task::SubtaskConfig;

/// Schemas of the server itself.
const SYSTEM: [&str; 7] = [
    "DM_HEARTBEAT",
    "SYS",
    "MYSQL",
    "INFORMATION_SCHEMA",
    "INSPECTION_SCHEMA",
    "PERFORMANCE_SCHEMA",
    "METRICS_SCHEMA",
];

/// A table; prints quoted.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct TableName {
    pub(crate) schema: String,
    pub(crate) table: String,
}

impl TableName {
    pub(crate) fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            table: table.into(),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
        write!(f, "{}.{}", quoted(&self.schema), quoted(&self.table))
    }
}

/// Tables of a server by schema.
pub(crate) type Listing = BTreeMap<String, Vec<String>>;

/// Whether the tables of a schema may take part at all.
pub(crate) fn is_system(schema: &str) -> bool {
    SYSTEM.iter().any(|name| name.eq_ignore_ascii_case(schema))
}

/// The part of one source in a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Source tables by target table.
    pub(crate) targets: BTreeMap<TableName, Vec<TableName>>,
    /// Columns that routes add to a target table.
    pub(crate) extended: BTreeMap<TableName, Vec<String>>,
}

impl Scope {
    /// Filters and routes what was listed.
    ///
    /// # Errors
    /// 26006 and 26003 for rules that are no rules, 11043 for a table that two routes want, 26001 for targets that
    /// differ by nothing but case.
    pub(crate) fn of(subtask: &SubtaskConfig, listing: &Listing) -> Result<Self, DmError> {
        let filter = subtask
            .table_filter()
            .map_err(|e| DmError::new(Code::TASK_CHECK_GEN_BA_LIST, &[]).caused_by(&e))?;
        let router = subtask
            .router()
            .map_err(|e| DmError::new(Code::TASK_CHECK_GEN_TABLE_ROUTER, &[]).cause(e))?;
        if !subtask.case_sensitive {
            let rules = subtask.route_rules.iter();
            let targets = rules
                .filter(|rule| !rule.table_pattern.is_empty() && !rule.target_table.is_empty())
                .map(|rule| TableName::new(&rule.target_schema, &rule.target_table));
            distinct_ignoring_case(targets)?;
        }
        let mut own = Self::default();
        for (schema, tables) in listing {
            for table in tables.iter().filter(|table| filter.allows(schema, table)) {
                let (target_schema, target_table) = router
                    .route(schema, table)
                    .map_err(|e| DmError::new(Code::GEN_TABLE_ROUTER, &[]).cause(e))?;
                let target = TableName::new(target_schema, target_table);
                let added = router.extracted(schema, table, &subtask.source_id);
                if !added.is_empty() {
                    let columns = added.into_iter().map(|(column, _)| column).collect();
                    own.extended.insert(target.clone(), columns);
                }
                let sources = own.targets.entry(target).or_default();
                sources.push(TableName::new(schema, table));
            }
        }
        distinct_ignoring_case(own.targets.keys().cloned())?;
        Ok(own)
    }

    /// Every table that takes part.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.targets.values().flatten()
    }

    /// Every schema with a table that takes part.
    pub(crate) fn schemas(&self) -> BTreeSet<&str> {
        self.tables().map(|table| table.schema.as_str()).collect()
    }
}

fn distinct_ignoring_case(targets: impl Iterator<Item = TableName>) -> Result<(), DmError> {
    let mut seen: BTreeMap<String, TableName> = BTreeMap::new();
    let mut same = Vec::new();
    for target in targets {
        let lower = target.to_string().to_lowercase();
        match seen.get(&lower) {
            Some(first) if *first != target => {
                same.push(format!("same target table {first} vs {target}"));
            }
            Some(_) => {}
            None => {
                seen.insert(lower, target);
            }
        }
    }
    if same.is_empty() {
        return Ok(());
    }
    Err(DmError::new(
        Code::TASK_CHECK_SAME_TABLE_NAME,
        &[&List(&same)],
    ))
}

#[cfg(test)]
mod tests {
    use dm_task::block_allow::Rules;
    use dm_task::route::{ExtractTable, RouteRule};

    use super::*;

    fn rule(schema: &str, table: &str, target: (&str, &str)) -> RouteRule {
        RouteRule {
            schema_pattern: schema.into(),
            table_pattern: table.into(),
            target_schema: target.0.into(),
            target_table: target.1.into(),
            ..RouteRule::default()
        }
    }

    fn subtask(routes: Vec<RouteRule>) -> SubtaskConfig {
        SubtaskConfig {
            source_id: "s1".into(),
            route_rules: routes,
            block_allow_list: Some(Rules {
                do_dbs: Some(vec!["shop*".into()]),
                ..Rules::default()
            }),
            ..SubtaskConfig::default()
        }
    }

    fn listing(tables: &[(&str, &str)]) -> Listing {
        let mut listing = Listing::new();
        for (schema, table) in tables {
            let entry = listing.entry((*schema).to_owned()).or_default();
            entry.push((*table).to_owned());
        }
        listing
    }

    #[test]
    fn tables_are_filtered_and_routed() {
        let mut route = rule("shop_*", "t*", ("shop", "t"));
        route.extract_table = Some(ExtractTable {
            target_column: "c".into(),
            table_regexp: "t(.*)".into(),
        });
        let tables = listing(&[
            ("shop_1", "t1"),
            ("shop_1", "t2"),
            ("shop_1", "u"),
            ("other", "t1"),
        ]);
        let scope = Scope::of(&subtask(vec![route]), &tables).unwrap();
        let target = TableName::new("shop", "t");
        assert_eq!(scope.targets[&target].len(), 2);
        assert_eq!(scope.extended[&target], ["c"]);
        assert_eq!(scope.targets[&TableName::new("shop_1", "u")].len(), 1);
        assert_eq!(scope.schemas().into_iter().collect::<Vec<_>>(), ["shop_1"]);
    }

    #[test]
    fn a_table_that_two_routes_want_is_error_11043() {
        let routes = vec![
            rule("shop*", "t*", ("a", "b")),
            rule("shop_1", "t1", ("c", "d")),
        ];
        let error = Scope::of(&subtask(routes), &listing(&[("shop_1", "t1")])).unwrap_err();
        assert_eq!(error.code().number(), 11043);
        assert_eq!(
            error.raw_cause(),
            "table shop_1.t1 matches more than one rule"
        );
    }

    #[test]
    fn targets_that_differ_by_case_only_are_error_26001() {
        let tables = listing(&[("shop_1", "T"), ("shop_1", "t")]);
        let error = Scope::of(&subtask(Vec::new()), &tables).unwrap_err();
        assert_eq!(
            error.message_text(),
            "same table name in case-insensitive [same target table `shop_1`.`T` vs `shop_1`.`t`]"
        );
        let routes = vec![
            rule("shop_1", "a", ("x", "T")),
            rule("shop_1", "b", ("x", "t")),
        ];
        let error = Scope::of(&subtask(routes), &listing(&[])).unwrap_err();
        assert_eq!(error.code().number(), 26001);
    }

    #[test]
    fn schemas_of_the_server_are_known_in_any_case() {
        assert!(is_system("Mysql") && is_system("information_schema") && !is_system("shop"));
    }
}
