//! Routes and block-allow-lists beside plain models of them, in which each pattern is a regular expression that means the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use dm_task::block_allow::{Filter, Rules, TableRule};
use dm_task::route::{RouteRule, Router};
use proptest::prelude::*;
use regex::{Regex, RegexBuilder};

/// A pattern and what it means.
#[derive(Clone, Debug)]
struct Meant {
    text: String,
    meaning: Regex,
}

impl Meant {
    fn new(text: String, regex: &str) -> Self {
        let mut builder = RegexBuilder::new(regex);
        Self {
            text,
            meaning: builder.case_insensitive(true).build().unwrap(),
        }
    }

    fn matches(&self, name: &str) -> bool {
        self.meaning.is_match(name)
    }
}

/// Wildcards of a few letters, and regular expressions, which are not anchored.
fn pattern() -> impl Strategy<Value = Meant> {
    let word = prop_oneof![
        4 => "[abAB]".prop_map(|c| (c.clone(), c)),
        1 => Just(("?".to_owned(), ".".to_owned())),
        1 => Just(("[ab]".to_owned(), "[ab]".to_owned())),
        1 => Just(("[!a]".to_owned(), "[^a]".to_owned())),
    ];
    let wildcard =
        (proptest::collection::vec(word, 1..3), any::<bool>()).prop_map(|(words, open)| {
            let (own, regex): (String, String) = words.into_iter().unzip();
            match open {
                true => Meant::new(format!("{own}*"), &format!("^{regex}.*$")),
                false => Meant::new(own, &format!("^{regex}$")),
            }
        });
    let regex = "(\\^)?[abAB.](b|\\[ab\\])?(\\$)?".prop_map(|regex| {
        let text = format!("~{regex}");
        Meant::new(text, &regex)
    });
    prop_oneof![3 => wildcard, 1 => Just(Meant::new("*".into(), "")), 1 => regex]
}

fn pairs() -> impl Strategy<Value = Vec<(Meant, Meant)>> {
    proptest::collection::vec((pattern(), pattern()), 0..3)
}

fn any_pair(list: &[(Meant, Meant)], schema: &str, table: &str) -> bool {
    list.iter()
        .any(|(s, t)| s.matches(schema) && t.matches(table))
}

fn texts(list: &[Meant]) -> Option<Vec<String>> {
    Some(list.iter().map(|meant| meant.text.clone()).collect())
}

fn table_rules(list: &[(Meant, Meant)]) -> Option<Vec<TableRule>> {
    let rule = |(s, t): &(Meant, Meant)| TableRule {
        db_name: s.text.clone(),
        tbl_name: t.text.clone(),
    };
    Some(list.iter().map(rule).collect())
}

proptest! {
    #[test]
    fn a_list_lets_pass_what_its_rules_say(
        do_dbs in proptest::collection::vec(pattern(), 0..3), ignore_dbs in proptest::collection::vec(pattern(), 0..3),
        do_tables in pairs(), ignore_tables in pairs(), schema in "[abcABC]{1,3}", table in "[abcABC]{0,3}",
    ) {
        let in_any = |list: &[Meant]| list.iter().any(|meant| meant.matches(&schema));
        let schema_passes = if do_dbs.is_empty() { !in_any(&ignore_dbs) } else { in_any(&do_dbs) };
        let table_passes = if table.is_empty() || any_pair(&do_tables, &schema, &table) {
            true
        } else if any_pair(&ignore_tables, &schema, &table) {
            false
        } else {
            do_tables.is_empty()
        };
        let rules = Rules {
            do_dbs: texts(&do_dbs),
            ignore_dbs: texts(&ignore_dbs),
            do_tables: table_rules(&do_tables),
            ignore_tables: table_rules(&ignore_tables),
        };
        let filter = Filter::new(Some(&rules), false).unwrap();
        prop_assert_eq!(filter.allows(&schema, &table), schema_passes && table_passes);
    }

    #[test]
    fn a_table_goes_where_the_one_rule_for_it_says(
        rules in proptest::collection::vec((pattern(), proptest::option::of(pattern()), any::<bool>()), 0..4),
        schema in "[abcABC]{1,3}", table in "[abcABC]{0,3}",
    ) {
        let matching = |for_tables: bool| {
            let fits = |(s, t, _): &(Meant, Option<Meant>, bool)| match t {
                Some(t) => for_tables && !table.is_empty() && s.matches(&schema) && t.matches(&table),
                None => !for_tables && s.matches(&schema),
            };
            rules.iter().enumerate().filter(|(_, rule)| fits(rule)).map(|(at, _)| at).collect::<Vec<_>>()
        };
        let candidates = if matching(true).is_empty() { matching(false) } else { matching(true) };
        let expected = match candidates[..] {
            [] => Some((schema.clone(), table.clone())),
            [one] => {
                let target = if rules[one].2 && !table.is_empty() { "T".to_owned() } else { table.clone() };
                Some((format!("S{one}"), target))
            }
            _ => None,
        };
        let own: Vec<RouteRule> = rules.iter().enumerate().map(|(at, (s, t, renames))| RouteRule {
            schema_pattern: s.text.clone(),
            table_pattern: t.as_ref().map(|t| t.text.clone()).unwrap_or_default(),
            target_schema: format!("S{at}"),
            target_table: if *renames { "T".into() } else { String::new() },
            ..RouteRule::default()
        }).collect();
        let routed = Router::new(&own, false).unwrap().route(&schema, &table);
        prop_assert_eq!(routed.ok(), expected);
    }
}
