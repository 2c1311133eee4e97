//! Rules on names and events. DM finds a bad route or list only when it has divided the task, and starts a task with a bad
//! event filter without that filter; here each is an error that says where it is.

use dm_errors::{Code, DmError};

use super::TaskConfig;
use crate::block_allow;
use crate::filter::{EventFilter, EventRule};
use crate::route::Router;

const PATTERNS: &str = "names with `*` at the end, `?`, `[a-z]` and `[!a-z]` are allowed, and regular expressions after `~`";
/// What an event filter may hold.
pub(crate) const EVENTS: &str = "patterns with `*` at the end, `?` and `[a-z]`, known events, sql-pattern that are regular expressions, \
                      and action Do, Ignore or Error are allowed";

impl TaskConfig {
    pub(super) fn check_rules(&self) -> Result<(), DmError> {
        let case_sensitive = self.case_sensitive;
        for (name, rules) in &self.block_allow_list {
            block_allow::Filter::new(Some(rules), case_sensitive).map_err(|error| {
                let error = DmError::new(Code::CONFIG_GEN_BA_LIST, &[]).cause(error);
                self.origin
                    .at(&format!("block-allow-list.{name}"), PATTERNS, error)
            })?;
        }
        for (name, rule) in &self.routes {
            Router::new(std::slice::from_ref(rule), case_sensitive).map_err(|error| {
                let error = DmError::new(Code::CONFIG_GEN_TABLE_ROUTER, &[]).cause(error);
                let what = format!("schema-pattern and target-schema are required; {PATTERNS}");
                self.origin.at(&format!("routes.{name}"), &what, error)
            })?;
        }
        for (name, rule) in &self.filters {
            check_events(std::slice::from_ref(rule), case_sensitive)
                .map_err(|error| self.origin.at(&format!("filters.{name}"), EVENTS, error))?;
        }
        for (at, instance) in self.mysql_instances.iter().enumerate() {
            let named = instance.filter_rules.iter().flatten();
            let rules: Vec<EventRule> = named
                .filter_map(|name| self.filters.get(name).cloned())
                .collect();
            check_events(&rules, case_sensitive).map_err(|error| {
                let key = format!("mysql-instances[{at}].filter-rules");
                let what = "rules with different patterns are allowed";
                self.origin.at(&key, what, error)
            })?;
        }
        Ok(())
    }
}

/// 20037 for the first rule that would take no part.
pub(crate) fn check_events(rules: &[EventRule], case_sensitive: bool) -> Result<(), DmError> {
    let (_, dropped) = EventFilter::new(rules, case_sensitive);
    match dropped.into_iter().next() {
        None => Ok(()),
        Some(rule) => Err(DmError::new(Code::CONFIG_BINLOG_EVENT_FILTER, &[]).cause(rule)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rules: &str) -> String {
        let text = format!(
            "name: t\ntask-mode: all\ntarget-database: {{host: h}}\nmysql-instances:\n  - source-id: s1\n{rules}"
        );
        TaskConfig::from_yaml("t.yaml", &text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_bad_rule_is_named_by_file_line_and_key() {
        let route = refused(
            "    route-rules: [r]\nroutes:\n  r: {schema-pattern: \"a*b\", target-schema: x}\n",
        );
        assert!(
            route.contains("code=20045") && route.contains("t.yaml: line 8: key `routes.r`: "),
            "{route}"
        );
        assert!(route.contains("a*b"), "{route}");
        let list = refused("    block-allow-list: l\nblock-allow-list:\n  l: {do-dbs: [\"~(\"]}\n");
        assert!(
            list.contains("code=20044") && list.contains("line 8: key `block-allow-list.l`: "),
            "{list}"
        );
    }

    #[test]
    fn an_event_filter_that_would_take_no_part_is_an_error() {
        for (rule, reason) in [
            (
                "schema-pattern: s, action: Drop",
                "none of Do, Ignore, Error",
            ),
            (
                "schema-pattern: s, action: Do, events: [explode]",
                "event \"explode\" is not known",
            ),
            (
                "schema-pattern: s, action: Do, sql-pattern: [\"(\"]",
                "not valid",
            ),
            ("schema-pattern: \"a*b\", action: Do", "a*b"),
        ] {
            let error = refused(&format!(
                "    filter-rules: [f]\nfilters:\n  f: {{{rule}}}\n"
            ));
            assert!(
                error.contains("code=20037") && error.contains("t.yaml: line 8: key `filters.f`: "),
                "{error}"
            );
            assert!(error.contains(reason), "{error}");
        }
        let twice = refused(
            "    filter-rules: [f, g]\nfilters:\n  f: {schema-pattern: s, action: Do}\n  g: {schema-pattern: s, action: Ignore}\n",
        );
        assert!(
            twice.contains("line 6: key `mysql-instances[0].filter-rules`: ")
                && twice.contains("an earlier rule has the same patterns"),
            "{twice}"
        );
    }
}
