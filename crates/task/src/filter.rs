//! Binlog event filters: which events and statements of a table are replicated.

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::pattern::{Wildcard, regex_of};
use crate::yaml::{Issues, Map, Node};

/// One entry of `filters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct EventRule {
    /// A wildcard; no regular expressions here.
    pub schema_pattern: String,
    /// Empty for a rule about whole schemas.
    pub table_pattern: String,
    /// Names of events, of classes (`all dml`), or both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// Regular expressions on the statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql_pattern: Option<Vec<String>>,
    /// `Do`, `Ignore` or `Error`.
    pub action: String,
}

impl EventRule {
    pub(crate) fn read(node: &Node, path: String, issues: &mut Issues) -> Option<Self> {
        Some(Map::read(
            node,
            path,
            "filter.BinlogEventRule",
            issues,
            |map| {
                let mut own = Self::default();
                map.string("schema-pattern", &mut own.schema_pattern);
                map.string("table-pattern", &mut own.table_pattern);
                map.strings("events", &mut own.events);
                map.strings("sql-pattern", &mut own.sql_pattern);
                map.string("action", &mut own.action);
                own
            },
        ))
    }

    /// Event names in the form they are stored in; patterns, too, unless case matters.
    pub(crate) fn normalise(&mut self, case_sensitive: bool) {
        if !case_sensitive {
            self.schema_pattern = self.schema_pattern.to_lowercase();
            self.table_pattern = self.table_pattern.to_lowercase();
        }
        for event in self.events.iter_mut().flatten() {
            *event = normal_event(event);
        }
    }
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is replicated.
    Do,
    /// It is left out.
    Ignore,
    /// It stops the task.
    Error,
}

/// Why a rule takes no part. DM drops such rules with a log line and starts the task all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event filter on `{schema}`.`{table}` is left out: {reason}")]
pub struct DroppedRule {
    schema: String,
    table: String,
    reason: String,
}

/// Compiled filters of one source.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    rules: Vec<Compiled>,
}

#[derive(Clone, Debug)]
struct Compiled {
    schema: Wildcard,
    table: Option<Wildcard>,
    events: Vec<String>,
    sql: Option<Regex>,
    action: Action,
}

impl EventFilter {
    /// Compiles the rules that are valid, rules about whole schemas first, and says which were dropped and why.
    pub fn new(rules: &[EventRule], case_sensitive: bool) -> (Self, Vec<DroppedRule>) {
        let mut own = Self::default();
        let mut dropped = Vec::new();
        let mut pairs: Vec<(String, String)> = Vec::new();
        for rule in rules {
            let mut rule = rule.clone();
            rule.normalise(case_sensitive);
            let pair = (rule.schema_pattern.clone(), rule.table_pattern.clone());
            let compiled = match pairs.contains(&pair) {
                true => Err("an earlier rule has the same patterns".to_owned()),
                false => compile(&rule, case_sensitive),
            };
            match compiled {
                Ok(compiled) => {
                    own.rules.push(compiled);
                    pairs.push(pair);
                }
                Err(reason) => dropped.push(DroppedRule {
                    schema: pair.0,
                    table: pair.1,
                    reason,
                }),
            }
        }
        own.rules.sort_by_key(|rule| rule.table.is_some());
        (own, dropped)
    }

    /// What to do with an event of a table; `sql` is the statement of a DDL. An empty `event` stands for none, and
    /// an unknown one is ignored.
    pub fn decide(&self, schema: &str, table: &str, event: &str, sql: Option<&str>) -> Action {
        let event = normal_event(event);
        let Some(class) = Class::of(&event) else {
            return Action::Ignore;
        };
        for rule in self.rules.iter().filter(|rule| rule.covers(schema, table)) {
            let by_event = (class != Class::None).then(|| names_event(&rule.events, &event, class));
            let by_sql = sql.and_then(|sql| rule.sql.as_ref().map(|regex| regex.is_match(sql)));
            for matched in [by_event, by_sql].into_iter().flatten() {
                match (matched, rule.action) {
                    (true, Action::Ignore) | (false, Action::Do) => return Action::Ignore,
                    (true, Action::Error) => return Action::Error,
                    _ => {}
                }
            }
        }
        Action::Do
    }
}

impl Compiled {
    fn covers(&self, schema: &str, table: &str) -> bool {
        self.schema.matches(schema)
            && self
                .table
                .as_ref()
                .is_none_or(|pattern| pattern.matches(table))
    }
}

fn compile(rule: &EventRule, case_sensitive: bool) -> Result<Compiled, String> {
    let action = match rule.action.as_str() {
        "Do" => Action::Do,
        "Ignore" => Action::Ignore,
        "Error" => Action::Error,
        other => return Err(format!("action {other:?} is none of Do, Ignore, Error")),
    };
    let events = rule.events.clone().unwrap_or_default();
    if let Some(unknown) = events
        .iter()
        .find(|event| !GROUPS.contains(&event.as_str()) && Class::of(event).is_none())
    {
        return Err(format!("event {unknown:?} is not known"));
    }
    let patterns = rule.sql_pattern.as_deref().unwrap_or_default();
    let sql = match patterns.is_empty() {
        true => None,
        false => Some(regex_of(&patterns.join("|"), false).map_err(|error| error.to_string())?),
    };
    let wildcard =
        |text: &str| Wildcard::new(text, case_sensitive).map_err(|error| error.to_string());
    let table = if rule.table_pattern.is_empty() {
        None
    } else {
        Some(wildcard(&rule.table_pattern)?)
    };
    Ok(Compiled {
        schema: wildcard(&rule.schema_pattern)?,
        table,
        events,
        sql,
        action,
    })
}

/// Walks the list from the left; the first entry that says something about the event ends it.
fn names_event(events: &[String], event: &str, class: Class) -> bool {
    let ddl = class != Class::Dml;
    for entry in events {
        match entry.as_str() {
            "all" => return true,
            "none" => return false,
            "all ddl" if ddl => return true,
            "none ddl" if ddl => return false,
            "all dml" if !ddl => return true,
            "none dml" if !ddl => return false,
            "incompatible ddl changes" if class == Class::IncompatibleDdl => return true,
            name if name == event => return true,
            _ => {}
        }
    }
    false
}

fn normal_event(event: &str) -> String {
    let lower = event.to_lowercase();
    match lower.as_str() {
        "create schema" => "create database".into(),
        "drop schema" => "drop database".into(),
        "alter schema" => "alter database".into(),
        _ => lower,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    None,
    Dml,
    Ddl,
    IncompatibleDdl,
}

const GROUPS: [&str; 7] = [
    "all",
    "all ddl",
    "all dml",
    "none",
    "none ddl",
    "none dml",
    "incompatible ddl changes",
];

const DDL: [&str; 8] = [
    "create database",
    "alter database",
    "create table",
    "create index",
    "create view",
    "drop view",
    "alter table",
    "add table partition",
];

const INCOMPATIBLE: [&str; 43] = [
    "drop database",
    "drop table",
    "truncate table",
    "rename table",
    "drop index",
    "drop table partition",
    "truncate table partition",
    "add foreign key",
    "drop foreign key",
    "value range decrease",
    "precision decrease",
    "modify column",
    "rename column",
    "rename index",
    "drop column",
    "drop primary key",
    "drop unique key",
    "modify default value",
    "modify constraint",
    "modify columns order",
    "modify charset",
    "modify collation",
    "remove auto increment",
    "modify storage engine",
    "reorganize table partition",
    "rebuild table partition",
    "coalesce table partition",
    "split table partition",
    "exchange table partition",
    "modify schema charset and collate",
    "modify table charset and collate",
    "modify table comment",
    "recover table",
    "alter table partitioning",
    "remove table partitioning",
    "add column",
    "set default value",
    "rebase auto id",
    "add primary key",
    "alter index visibility",
    "alter ttl info",
    "alter ttl remove",
    "multi schema change",
];

impl Class {
    fn of(event: &str) -> Option<Self> {
        match event {
            "" => Some(Self::None),
            "insert" | "update" | "delete" => Some(Self::Dml),
            ddl if DDL.contains(&ddl) => Some(Self::Ddl),
            ddl if INCOMPATIBLE.contains(&ddl) => Some(Self::IncompatibleDdl),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(schema: &str, table: &str, events: &[&str], sql: &[&str], action: &str) -> EventRule {
        let texts = |list: &[&str]| Some(list.iter().map(|text| (*text).to_owned()).collect());
        EventRule {
            schema_pattern: schema.into(),
            table_pattern: table.into(),
            events: texts(events),
            sql_pattern: texts(sql),
            action: action.into(),
        }
    }

    #[test]
    fn the_first_decisive_entry_of_a_rule_counts() {
        let (filter, dropped) = EventFilter::new(
            &[
                rule(
                    "shop_*",
                    "",
                    &["None DML", "truncate table", "drop schema"],
                    &[],
                    "Ignore",
                ),
                rule("shop_*", "log", &["all dml"], &[], "Error"),
            ],
            false,
        );
        assert!(dropped.is_empty());
        assert_eq!(
            filter.decide("Shop_1", "t", "truncate table", None),
            Action::Ignore
        );
        assert_eq!(
            filter.decide("shop_1", "", "drop database", None),
            Action::Ignore
        );
        assert_eq!(filter.decide("shop_1", "t", "insert", None), Action::Do);
        assert_eq!(
            filter.decide("shop_1", "log", "insert", None),
            Action::Error
        );
        assert_eq!(
            filter.decide("other", "t", "truncate table", None),
            Action::Do
        );
        assert_eq!(
            filter.decide("shop_1", "t", "no such event", None),
            Action::Ignore
        );
    }

    #[test]
    fn a_do_rule_ignores_what_it_does_not_name() {
        let (filter, _) =
            EventFilter::new(&[rule("s", "t", &["insert"], &["^alter"], "Do")], false);
        assert_eq!(filter.decide("s", "t", "insert", None), Action::Do);
        assert_eq!(filter.decide("s", "t", "delete", None), Action::Ignore);
        assert_eq!(
            filter.decide("s", "t", "", Some("ALTER TABLE t")),
            Action::Do
        );
        assert_eq!(
            filter.decide("s", "t", "", Some("DROP TABLE t")),
            Action::Ignore
        );
    }

    #[test]
    fn invalid_rules_are_dropped_and_named() {
        let rules = [
            rule("a*b", "", &[], &[], "Do"),
            rule("s", "", &["bogus"], &[], "Do"),
            rule("s", "", &[], &["("], "Do"),
            rule("s", "", &[], &[], "do"),
            rule("s", "", &["all"], &[], "Ignore"),
            rule("S", "", &["all"], &[], "Error"),
        ];
        let (filter, dropped) = EventFilter::new(&rules, false);
        assert_eq!((filter.rules.len(), dropped.len()), (1, 5));
        assert!(
            dropped[1]
                .to_string()
                .contains("event \"bogus\" is not known")
        );
    }
}
