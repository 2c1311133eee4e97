//! Rules on names and events. DM finds a bad route or list only when it has divided the task, starts a task with a bad
//! event filter without that filter, and leaves a table that two routes want where it is; here each is an error that says
//! where it is. Routes that share some tables only, which may not be there, are told and not refused.

use std::collections::BTreeMap;

use dm_errors::{Code, DmError};

use super::TaskConfig;
use crate::block_allow;
use crate::filter::{EventFilter, EventRule};
use crate::route::{Clash, Extent, RouteRule, Router};

/// Routes told about at most.
const MOST_NOTICES: usize = 20;
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
        self.check_clashes()?;
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

    /// What to tell about a task that may begin, one sentence each: routes that some table may be ambiguous for.
    pub fn notices(&self) -> Vec<String> {
        let tell = |(clash, [first, second]): (Clash, [String; 2])| {
            let example = clash.example.map(|name| format!(", such as {name}"));
            format!(
                "routes `{first}` and `{second}` can match the same table{}; a table that both match is an error of the precheck, and is not routed if prechecks are ignored",
                example.unwrap_or_default()
            )
        };
        let mut all: Vec<String> = self
            .clashes()
            .map(|(_, c, names)| tell((c, names)))
            .collect();
        let more = all.len().saturating_sub(MOST_NOTICES);
        all.truncate(MOST_NOTICES);
        if more > 0 {
            all.push(format!(
                "{more} more pairs of routes can match the same table"
            ));
        }
        all
    }

    /// Refuses a list in which all tables of one route are also another's.
    fn check_clashes(&self) -> Result<(), DmError> {
        let refused = self
            .clashes()
            .find(|(_, clash, _)| clash.extent == Extent::All);
        let Some((at, clash, [first, second])) = refused else {
            return Ok(());
        };
        let cause = match clash.example {
            Some(name) => format!("{name} matches more than one rule"),
            None => "all tables of one of them match more than one rule".to_owned(),
        };
        let what = format!(
            "of two routes, both with a table-pattern or both without, neither may match all that the other does, as `{first}` and `{second}`"
        );
        let error = DmError::new(Code::CONFIG_GEN_TABLE_ROUTER, &[]).cause(cause);
        let key = format!("mysql-instances[{at}].route-rules");
        Err(self.origin.at(&key, &what, error))
    }

    /// Pairs of routes that are in each other's way in some instance, with their names and the first such instance.
    fn clashes(&self) -> impl Iterator<Item = (usize, Clash, [String; 2])> {
        // Instances often share their list.
        let mut lists: BTreeMap<&[String], usize> = BTreeMap::new();
        for (at, instance) in self.mysql_instances.iter().enumerate() {
            let [(_, routes), ..] = instance.lists();
            lists.entry(routes).or_insert(at);
        }
        lists.into_iter().flat_map(|(names, at)| {
            let rules: Vec<RouteRule> = names
                .iter()
                .filter_map(|name| self.routes.get(name).cloned())
                .collect();
            let router = Router::new(&rules, self.case_sensitive).unwrap_or_default();
            let named = |place: usize| names.get(place).cloned().unwrap_or_default();
            router.clashes().into_iter().map(move |clash| {
                let pair = [named(clash.rules.0), named(clash.rules.1)];
                (at, clash, pair)
            })
        })
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
    fn routes_of_which_one_matches_all_that_another_does_are_refused_whatever_is_checked() {
        for (r, q, cause) in [
            (
                "\"Shop_*\", table-pattern: \"t_*\"",
                "shop_*, table-pattern: t_1",
                "shop_.t_1 matches",
            ),
            ("shop_1", "\"shop_*\"", "shop_1 matches more than one rule"),
            ("\"~^s\"", "\"~^s\"", "all tables of one of them match"),
        ] {
            let error = refused(&format!(
                "    route-rules: [r, q]\nignore-checking-items: [all]\nroutes:\n  r: {{schema-pattern: {r}, target-schema: x}}\n  q: {{schema-pattern: {q}, target-schema: y}}\n"
            ));
            let place = "t.yaml: line 6: key `mysql-instances[0].route-rules`: ";
            assert!(
                error.contains("code=20045") && error.contains(place),
                "{error}"
            );
            assert!(
                error.contains("as `r` and `q`") && error.contains(cause),
                "{error}"
            );
        }
    }

    #[test]
    fn routes_that_may_share_a_table_are_told() {
        let task = |more: &str| {
            let text = format!(
                "name: t\ntask-mode: all\ntarget-database: {{host: h}}\nmysql-instances:\n  - source-id: s1\n{more}"
            );
            TaskConfig::from_yaml("t.yaml", &text).unwrap().notices()
        };
        let routes = "routes:\n  r: {schema-pattern: s, table-pattern: a?, target-schema: x}\n  q: {schema-pattern: s, table-pattern: \"?b\", target-schema: y}\n  d: {schema-pattern: s, target-schema: z}\n";
        let told = task(&format!("    route-rules: [r, q, d]\n{routes}"));
        let [told] = &told[..] else {
            panic!("{told:?}")
        };
        assert!(
            told.starts_with("routes `r` and `q` can match the same table, such as s.ab; "),
            "{told}"
        );
        let apart =
            format!("    route-rules: [r, d]\n  - source-id: s2\n    route-rules: [q]\n{routes}");
        assert_eq!(task(&apart), [""; 0], "each source has its own list");
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
