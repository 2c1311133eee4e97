//! Rules of one list that are in each other's way, told from their patterns alone, before any table is known.

use super::{Compiled, Router};
use crate::pattern::Pattern;

/// Two rules of the same kind that want the same tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    /// Places in the list.
    pub(crate) rules: (usize, usize),
    pub(crate) extent: Extent,
    /// A table, or for rules about whole schemas a schema, that both want; not always known of regular expressions.
    pub(crate) example: Option<String>,
}

/// How many tables two rules share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All that one of them matches: that rule can do nothing but make its tables ambiguous.
    All,
    /// Some, and each has others of its own: it depends on the tables that there are.
    Some,
}

impl Router {
    /// Every pair of rules of the same kind that is known to share tables.
    pub(crate) fn clashes(&self) -> Vec<Clash> {
        let mut found = Vec::new();
        for (second, rule) in self.rules.iter().enumerate() {
            for (first, earlier) in self.rules[..second].iter().enumerate() {
                if let Some((extent, example)) = earlier.shares_with(rule) {
                    found.push(Clash {
                        rules: (first, second),
                        extent,
                        example,
                    });
                }
            }
        }
        found
    }
}

impl Compiled {
    fn shares_with(&self, other: &Self) -> Option<(Extent, Option<String>)> {
        // Rules of different kinds are not in each other's way: the one for tables wins.
        let tables = match (&self.table, &other.table) {
            (None, None) => None,
            (Some(one), Some(other)) => Some((one, other)),
            _ => return None,
        };
        let schemas = (&self.schema, &other.schema);
        let within = |(one, other): (&Pattern, &Pattern)| one.is_within(other);
        let swap = |(one, other)| (other, one);
        let example = example(schemas, tables);
        if within(schemas) && tables.is_none_or(within)
            || within(swap(schemas)) && tables.map(swap).is_none_or(within)
        {
            return Some((Extent::All, example));
        }
        example.map(|example| (Extent::Some, Some(example)))
    }
}

fn example(schemas: (&Pattern, &Pattern), tables: Option<(&Pattern, &Pattern)>) -> Option<String> {
    let schema = schemas.0.common_name(schemas.1)?;
    match tables {
        None => Some(schema),
        Some((one, other)) => one
            .common_name(other)
            .map(|table| format!("{schema}.{table}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{RouteError, RouteRule};
    use super::*;

    fn router(patterns: &[(&str, &str)]) -> Router {
        let rule = |(schema, table): &(&str, &str)| RouteRule {
            schema_pattern: (*schema).into(),
            table_pattern: (*table).into(),
            target_schema: "x".into(),
            ..RouteRule::default()
        };
        let rules: Vec<_> = patterns.iter().map(rule).collect();
        Router::new(&rules, false).unwrap()
    }

    fn clash(one: (&str, &str), other: (&str, &str)) -> Option<(Extent, Option<String>)> {
        let found = router(&[one, other]).clashes();
        assert!(found.len() <= 1);
        found.into_iter().next().map(|c| (c.extent, c.example))
    }

    #[test]
    fn rules_of_one_kind_clash_by_what_they_share() {
        let all = |example: &str| Some((Extent::All, Some(example.to_owned())));
        let some = |example: &str| Some((Extent::Some, Some(example.to_owned())));
        assert_eq!(
            clash(("Shop_*", "order_*"), ("shop_*", "Order_*")),
            all("shop_.order_")
        );
        assert_eq!(
            clash(("shop_*", "order_*"), ("shop_1", "order_1")),
            all("shop_1.order_1")
        );
        assert_eq!(clash(("shop_1", ""), ("shop_*", "")), all("shop_1"));
        assert_eq!(
            clash(("shop_1", "order_*"), ("shop_*", "order_1")),
            some("shop_1.order_1"),
            "neither is inside the other"
        );
        assert_eq!(clash(("s", "a?"), ("s", "?b")), some("s.ab"));
        assert_eq!(clash(("s", "a*"), ("s", "b*")), None);
        assert_eq!(clash(("s1", "t"), ("s2", "t")), None);
    }

    #[test]
    fn rules_of_different_kinds_do_not_clash() {
        assert_eq!(clash(("shop_*", ""), ("shop_*", "order_*")), None);
    }

    #[test]
    fn of_regular_expressions_only_what_is_plain_is_told() {
        assert_eq!(
            clash(("~^s", "~t"), ("~^s", "~t")),
            Some((Extent::All, None))
        );
        assert_eq!(
            clash(("~^s", "t*"), ("s1", "t1")),
            Some((Extent::All, Some("s1.t1".into())))
        );
        assert_eq!(clash(("~^s", "~t"), ("~s", "~t")), None);
    }

    const PATTERN: &str = "(a|b|\\?|\\[ab\\]|\\[!a\\]){1,2}\\*?|\\*";

    proptest! {
        #[test]
        fn no_table_is_ambiguous_without_a_clash_and_every_example_is(
            rules in proptest::collection::vec((PATTERN, proptest::option::of(PATTERN)), 1..4),
            schema in "[abc]{1,2}", table in "[abc]{1,2}",
        ) {
            let rules: Vec<(&str, &str)> = rules.iter().map(|(s, t)| (s.as_str(), t.as_deref().unwrap_or(""))).collect();
            let router = router(&rules);
            let clashes = router.clashes();
            let reversed: Vec<_> = rules.iter().rev().copied().collect();
            prop_assert_eq!(clashes.len(), self::router(&reversed).clashes().len());
            if matches!(router.route(&schema, &table), Err(RouteError::Ambiguous { .. })) {
                prop_assert!(!clashes.is_empty());
            }
            for clash in clashes {
                let example = clash.example.unwrap();
                let pair = self::router(&[rules[clash.rules.0], rules[clash.rules.1]]);
                let (schema, table) = example.split_once('.').unwrap_or((&example, ""));
                prop_assert!(pair.route(schema, table).is_err(), "{} {:?}", example, rules);
            }
        }
    }
}
