//! Block and allow lists: which source tables take part in a task.
//!
//! The two parts of a table rule belong together: a table matches a rule when its schema and its name match the
//! parts of that same rule, whichever of them is a wildcard and which a regular expression.

use serde::{Deserialize, Serialize};

use crate::pattern::{Pattern, PatternError, fold_case};
use crate::yaml::{Issues, Map, Node};

/// One entry of `block-allow-list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Rules {
    /// When not empty, a schema must match one of these and `ignore-dbs` is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub do_dbs: Option<Vec<String>>,
    /// Schemas left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_dbs: Option<Vec<String>>,
    /// A table that matches one passes, whatever `ignore-tables` says; when not empty, no other table passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub do_tables: Option<Vec<TableRule>>,
    /// Tables left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_tables: Option<Vec<TableRule>>,
}

/// A pair of patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TableRule {
    /// Pattern of the schema.
    pub db_name: String,
    /// Pattern of the table.
    pub tbl_name: String,
}

impl TableRule {
    fn read(node: &Node, path: String, issues: &mut Issues) -> Option<Self> {
        Some(Map::read(node, path, "filter.Table", issues, |map| {
            let mut own = Self::default();
            map.string("db-name", &mut own.db_name);
            map.string("tbl-name", &mut own.tbl_name);
            own
        }))
    }
}

impl Rules {
    pub(crate) fn read(map: &mut Map<'_>) -> Self {
        let mut own = Self {
            do_tables: map.list("do-tables", "[]*filter.Table", TableRule::read),
            ..Self::default()
        };
        map.strings("do-dbs", &mut own.do_dbs);
        own.ignore_tables = map.list("ignore-tables", "[]*filter.Table", TableRule::read);
        map.strings("ignore-dbs", &mut own.ignore_dbs);
        own
    }

    pub(crate) fn fold_case(&mut self) {
        for name in self.do_dbs.iter_mut().chain(&mut self.ignore_dbs).flatten() {
            fold_case(name);
        }
        for rule in self
            .do_tables
            .iter_mut()
            .chain(&mut self.ignore_tables)
            .flatten()
        {
            fold_case(&mut rule.db_name);
            fold_case(&mut rule.tbl_name);
        }
    }
}

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A name that is empty.
    #[error("{0} cannot be empty")]
    Empty(&'static str),
    /// A pattern that does not compile.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// A compiled list. The default lets everything pass.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    do_dbs: Vec<Pattern>,
    ignore_dbs: Vec<Pattern>,
    do_tables: Vec<(Pattern, Pattern)>,
    ignore_tables: Vec<(Pattern, Pattern)>,
}

impl Filter {
    /// Compiles the list of an instance; without one everything passes.
    pub fn new(rules: Option<&Rules>, case_sensitive: bool) -> Result<Self, ListError> {
        let Some(rules) = rules else {
            return Ok(Self::default());
        };
        let names = |list: &Option<Vec<String>>, what| {
            list.iter()
                .flatten()
                .map(|name| compile(name, what, case_sensitive))
                .collect::<Result<Vec<_>, _>>()
        };
        let tables = |list: &Option<Vec<TableRule>>, what| {
            let pair = |rule: &TableRule| {
                Ok((
                    compile(&rule.db_name, what, case_sensitive)?,
                    compile(&rule.tbl_name, what, case_sensitive)?,
                ))
            };
            list.iter()
                .flatten()
                .map(pair)
                .collect::<Result<Vec<_>, ListError>>()
        };
        Ok(Self {
            do_dbs: names(&rules.do_dbs, "DoDB rule's DB string")?,
            ignore_dbs: names(&rules.ignore_dbs, "IgnoreDB rule's DB string")?,
            do_tables: tables(
                &rules.do_tables,
                "DoTables rule's DB string or Table string",
            )?,
            ignore_tables: tables(
                &rules.ignore_tables,
                "IgnoreTables rule's DB string or Table string",
            )?,
        })
    }

    /// Whether the table takes part; with an empty table name, whether the schema does.
    pub fn allows(&self, schema: &str, table: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(schema));
        let any_table = |rules: &[(Pattern, Pattern)]| {
            rules
                .iter()
                .any(|(s, t)| s.matches(schema) && t.matches(table))
        };
        let schema_passes = match self.do_dbs.is_empty() {
            true => !any(&self.ignore_dbs),
            false => any(&self.do_dbs),
        };
        schema_passes
            && (table.is_empty()
                || any_table(&self.do_tables)
                || (self.do_tables.is_empty() && !any_table(&self.ignore_tables)))
    }
}

fn compile(name: &str, what: &'static str, case_sensitive: bool) -> Result<Pattern, ListError> {
    if name.is_empty() {
        return Err(ListError::Empty(what));
    }
    Ok(Pattern::new(name, case_sensitive)?)
}

/// Schemas of the server itself, which never take part.
pub fn is_system_schema(schema: &str) -> bool {
    const SYSTEM: [&str; 7] = [
        "DM_HEARTBEAT",
        "SYS",
        "MYSQL",
        "INFORMATION_SCHEMA",
        "INSPECTION_SCHEMA",
        "PERFORMANCE_SCHEMA",
        "METRICS_SCHEMA",
    ];
    SYSTEM.iter().any(|name| name.eq_ignore_ascii_case(schema))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|name| (*name).to_owned()).collect())
    }

    fn tables(list: &[(&str, &str)]) -> Option<Vec<TableRule>> {
        let rule = |(db, tbl): &(&str, &str)| TableRule {
            db_name: (*db).into(),
            tbl_name: (*tbl).into(),
        };
        Some(list.iter().map(rule).collect())
    }

    fn filter(rules: &Rules) -> Filter {
        Filter::new(Some(rules), false).unwrap()
    }

    #[test]
    fn do_dbs_hide_ignore_dbs() {
        let rules = Rules {
            do_dbs: names(&["~^shop_\\d+$", "a*"]),
            ignore_dbs: names(&["a1"]),
            ..Rules::default()
        };
        let filter = filter(&rules);
        assert!(
            filter.allows("SHOP_12", "t") && filter.allows("a1", "") && !filter.allows("b", "t")
        );
    }

    #[test]
    fn do_tables_win_over_ignore_tables_and_shut_out_the_rest() {
        let ignored = tables(&[("s", "t*")]);
        let both = filter(&Rules {
            do_tables: tables(&[("s", "t1")]),
            ignore_tables: ignored.clone(),
            ..Rules::default()
        });
        assert!(
            both.allows("s", "t1")
                && !both.allows("s", "t2")
                && !both.allows("s", "x")
                && both.allows("s", "")
        );
        let only_ignored = filter(&Rules {
            ignore_tables: ignored,
            ..Rules::default()
        });
        assert!(
            !only_ignored.allows("s", "t2")
                && only_ignored.allows("s", "x")
                && only_ignored.allows("z", "t2")
        );
    }

    #[test]
    fn the_parts_of_a_table_rule_belong_together() {
        let filter = filter(&Rules {
            do_tables: tables(&[("~^a", "t1"), ("~^b", "t2")]),
            ..Rules::default()
        });
        assert!(filter.allows("a", "t1") && filter.allows("b", "t2") && !filter.allows("a", "t2"));
    }

    #[test]
    fn no_list_lets_everything_pass_and_empty_names_are_refused() {
        assert!(Filter::new(None, true).unwrap().allows("any", "thing"));
        let error = Filter::new(
            Some(&Rules {
                do_dbs: names(&[""]),
                ..Rules::default()
            }),
            true,
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "DoDB rule's DB string cannot be empty");
    }

    #[test]
    fn system_schemas_are_known_in_any_case() {
        assert!(
            is_system_schema("Mysql")
                && is_system_schema("information_schema")
                && !is_system_schema("shop")
        );
    }

    proptest! {
        #[test]
        fn a_table_passes_only_in_a_schema_that_passes(schema in "[ab]{1,2}", table in "[ab]{1,2}", db in "[ab]{1,2}", tbl in "[ab?]{1,2}") {
            let rules = Rules { do_dbs: names(&[&db]), ignore_tables: tables(&[(&db, &tbl)]), ..Rules::default() };
            let filter = filter(&rules);
            prop_assert!(!filter.allows(&schema, &table) || filter.allows(&schema, ""));
        }
    }
}
