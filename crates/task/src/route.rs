//! Table routes: which target a source table goes to.
//!
//! A rule with a table pattern wins over rules for whole schemas; two rules of the same kind for one table are an
//! error, found when that table is routed. `Router::clashes` tells from the patterns alone which rules may come to
//! that. Target names keep their case.

mod clash;

use serde::{Deserialize, Serialize};

pub(crate) use clash::{Clash, Extent};

use crate::pattern::{Pattern, PatternError, fold_case, regex_of};
use crate::yaml::Map;

/// One entry of `routes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RouteRule {
    /// Required; a wildcard or `~regex`.
    pub schema_pattern: String,
    /// Empty for a rule about whole schemas.
    pub table_pattern: String,
    /// Required.
    pub target_schema: String,
    /// Empty keeps the name of the source table.
    pub target_table: String,
    /// Fills a target column from the source table's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extract_table: Option<ExtractTable>,
    /// Fills a target column from the source schema's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extract_schema: Option<ExtractSchema>,
    /// Fills a target column from the source id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extract_source: Option<ExtractSource>,
}

macro_rules! extractor {
    ($name:ident, $regexp:ident, $key:literal, $what:literal) => {
        #[doc = concat!("A column of the target filled with the capture groups of `", $key, "`.")]
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", default)]
        pub struct $name {
            /// Required.
            pub target_column: String,
            /// Searched unanchored; a name it does not match gives an empty value.
            pub $regexp: String,
        }

        impl $name {
            fn read(map: &mut Map<'_>) -> Self {
                let mut own = Self::default();
                map.string("target-column", &mut own.target_column);
                map.string($key, &mut own.$regexp);
                own
            }

            fn check(&self) -> Result<(), RouteError> {
                if self.target_column.is_empty() {
                    return Err(RouteError::Rule(
                        concat!($what, " extractor target column cannot be empty").into(),
                    ));
                }
                regex_of(&self.$regexp, true).map(drop).map_err(|_| {
                    RouteError::Rule(format!(
                        concat!($what, " extractor ", $what, " regexp illegal {}"),
                        self.$regexp
                    ))
                })
            }
        }
    };
}

extractor!(ExtractTable, table_regexp, "table-regexp", "table");
extractor!(ExtractSchema, schema_regexp, "schema-regexp", "schema");
extractor!(ExtractSource, source_regexp, "source-regexp", "source");

impl RouteRule {
    pub(crate) fn read(map: &mut Map<'_>) -> Self {
        let mut own = Self::default();
        map.string("schema-pattern", &mut own.schema_pattern);
        map.string("table-pattern", &mut own.table_pattern);
        map.string("target-schema", &mut own.target_schema);
        map.string("target-table", &mut own.target_table);
        own.extract_table = map.table("extract-table", "router.TableExtractor", ExtractTable::read);
        own.extract_schema = map.table(
            "extract-schema",
            "router.SchemaExtractor",
            ExtractSchema::read,
        );
        own.extract_source = map.table(
            "extract-source",
            "router.SourceExtractor",
            ExtractSource::read,
        );
        own
    }

    pub(crate) fn fold_case(&mut self) {
        fold_case(&mut self.schema_pattern);
        fold_case(&mut self.table_pattern);
    }

    /// What is wrong with the rule taken alone.
    fn check(&self) -> Result<(), RouteError> {
        if self.schema_pattern.is_empty() {
            return Err(RouteError::Rule(
                "schema pattern of table route rule should not be empty".into(),
            ));
        }
        if self.target_schema.is_empty() {
            return Err(RouteError::Rule(
                "target schema of table route rule should not be empty".into(),
            ));
        }
        self.extract_table
            .as_ref()
            .map_or(Ok(()), ExtractTable::check)?;
        self.extract_schema
            .as_ref()
            .map_or(Ok(()), ExtractSchema::check)?;
        self.extract_source
            .as_ref()
            .map_or(Ok(()), ExtractSource::check)
    }
}

/// Why a table cannot be routed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A rule that is wrong whatever the table.
    #[error("{0}")]
    Rule(String),
    /// A pattern that does not compile.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Two rules of the same kind match the table.
    #[error("table {schema}.{table} matches more than one rule")]
    Ambiguous {
        /// The source schema.
        schema: String,
        /// The source table.
        table: String,
    },
}

/// Compiled routes of one source.
#[derive(Clone, Debug, Default)]
pub struct Router {
    rules: Vec<Compiled>,
}

#[derive(Clone, Debug)]
struct Compiled {
    schema: Pattern,
    /// Absent for a rule about whole schemas.
    table: Option<Pattern>,
    rule: RouteRule,
}

impl Router {
    /// Compiles the rules; the first bad one is the error.
    pub fn new(rules: &[RouteRule], case_sensitive: bool) -> Result<Self, RouteError> {
        let compile = |rule: &RouteRule| {
            rule.check()?;
            let schema = Pattern::new(&rule.schema_pattern, case_sensitive)?;
            let table = match rule.table_pattern.as_str() {
                "" => None,
                pattern => Some(Pattern::new(pattern, case_sensitive)?),
            };
            Ok(Compiled {
                schema,
                table,
                rule: rule.clone(),
            })
        };
        rules
            .iter()
            .map(compile)
            .collect::<Result<_, _>>()
            .map(|rules| Self { rules })
    }

    /// Schema and table of the target. An empty table asks for the schema alone. Names no rule matches stay.
    pub fn route(&self, schema: &str, table: &str) -> Result<(String, String), RouteError> {
        let ambiguous = || RouteError::Ambiguous {
            schema: schema.to_owned(),
            table: table.to_owned(),
        };
        let mut candidates = self.matching(schema, table, true).peekable();
        let (first, second) = match candidates.peek() {
            Some(_) => (candidates.next(), candidates.next()),
            None => {
                let mut whole_schema = self.matching(schema, table, false);
                (whole_schema.next(), whole_schema.next())
            }
        };
        match (first, second) {
            (Some(_), Some(_)) => Err(ambiguous()),
            (Some(rule), None) => {
                let target = if rule.target_table.is_empty() {
                    table
                } else {
                    &rule.target_table
                };
                Ok((
                    rule.target_schema.clone(),
                    if table.is_empty() {
                        String::new()
                    } else {
                        target.to_owned()
                    },
                ))
            }
            (None, _) => Ok((schema.to_owned(), table.to_owned())),
        }
    }

    /// The columns that the routes add to a row of this table, with their values, in the order table, schema,
    /// source.
    pub fn extracted(&self, schema: &str, table: &str, source_id: &str) -> Vec<(String, String)> {
        let rule = self
            .matching(schema, table, true)
            .next()
            .or_else(|| self.matching(schema, table, false).next());
        let Some(rule) = rule else { return Vec::new() };
        let table = rule
            .extract_table
            .as_ref()
            .map(|e| (&e.target_column, &e.table_regexp, table));
        let schema = rule
            .extract_schema
            .as_ref()
            .map(|e| (&e.target_column, &e.schema_regexp, schema));
        let source = rule
            .extract_source
            .as_ref()
            .map(|e| (&e.target_column, &e.source_regexp, source_id));
        let columns = [table, schema, source].into_iter().flatten();
        columns
            .map(|(column, regexp, name)| (column.clone(), captured(regexp, name)))
            .collect()
    }

    fn matching(
        &self,
        schema: &str,
        table: &str,
        with_table: bool,
    ) -> impl Iterator<Item = &RouteRule> {
        self.rules.iter().filter_map(move |compiled| {
            let fits = match &compiled.table {
                Some(pattern) => with_table && !table.is_empty() && pattern.matches(table),
                None => !with_table,
            };
            (fits && compiled.schema.matches(schema)).then_some(&compiled.rule)
        })
    }
}

/// All capture groups of the first match in a row.
fn captured(regexp: &str, name: &str) -> String {
    let Ok(regex) = regex_of(regexp, true) else {
        return String::new();
    };
    let groups = regex.captures(name);
    groups.map_or_else(String::new, |groups| {
        groups
            .iter()
            .skip(1)
            .flatten()
            .map(|group| group.as_str())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(schema: &str, table: &str, target_schema: &str, target_table: &str) -> RouteRule {
        RouteRule {
            schema_pattern: schema.into(),
            table_pattern: table.into(),
            target_schema: target_schema.into(),
            target_table: target_table.into(),
            ..RouteRule::default()
        }
    }

    fn pair(schema: &str, table: &str) -> (String, String) {
        (schema.into(), table.into())
    }

    #[test]
    fn a_table_rule_wins_over_a_schema_rule_and_unmatched_names_stay() {
        let rules = [
            rule("shop_*", "", "shop", ""),
            rule("shop_*", "order_*", "shop", "orders"),
        ];
        let router = Router::new(&rules, false).unwrap();
        assert_eq!(
            router.route("Shop_1", "Order_7"),
            Ok(pair("shop", "orders"))
        );
        assert_eq!(router.route("shop_1", "users"), Ok(pair("shop", "users")));
        assert_eq!(router.route("shop_1", ""), Ok(pair("shop", "")));
        assert_eq!(
            router.route("other", "order_1"),
            Ok(pair("other", "order_1"))
        );
    }

    #[test]
    fn two_rules_of_one_kind_for_one_table_are_an_error() {
        let rules = [
            rule("s", "a*", "x", ""),
            rule("s", "ab*", "y", ""),
            rule("s", "", "z", ""),
            rule("~^s$", "", "w", ""),
        ];
        let router = Router::new(&rules, true).unwrap();
        assert_eq!(router.route("s", "ac"), Ok(pair("x", "ac")));
        assert_eq!(
            router.route("s", "abc").unwrap_err().to_string(),
            "table s.abc matches more than one rule"
        );
        assert!(router.route("s", "b").is_err());
        assert_eq!(
            router.route("S", "abc"),
            Ok(pair("S", "abc")),
            "case matters here"
        );
    }

    #[test]
    fn bad_rules_are_refused() {
        let error = |rule: RouteRule| Router::new(&[rule], false).unwrap_err().to_string();
        assert_eq!(
            error(rule("", "t", "x", "")),
            "schema pattern of table route rule should not be empty"
        );
        assert_eq!(
            error(rule("s", "t", "", "")),
            "target schema of table route rule should not be empty"
        );
        assert!(error(rule("s*x", "t", "x", "")).starts_with("pattern s*x not valid"));
        let mut bad = rule("s", "t", "x", "");
        bad.extract_table = Some(ExtractTable {
            target_column: "c".into(),
            table_regexp: "(".into(),
        });
        assert_eq!(error(bad.clone()), "table extractor table regexp illegal (");
        bad.extract_table = Some(ExtractTable::default());
        assert_eq!(error(bad), "table extractor target column cannot be empty");
    }

    #[test]
    fn extracted_columns_come_in_the_order_table_schema_source() {
        let mut with = rule("shop_*", "order_*", "shop", "orders");
        with.extract_source = Some(ExtractSource {
            target_column: "c_source".into(),
            source_regexp: "mysql-(.*)".into(),
        });
        with.extract_table = Some(ExtractTable {
            target_column: "c_table".into(),
            table_regexp: "(or)der_(.*)".into(),
        });
        let router = Router::new(&[with], false).unwrap();
        let expected = vec![pair("c_table", "or7"), pair("c_source", "")];
        assert_eq!(router.extracted("shop_1", "order_7", "maria"), expected);
        assert!(router.extracted("x", "order_7", "maria").is_empty());
    }

    proptest! {
        #[test]
        fn routing_does_not_depend_on_the_order_of_rules(table in "[ab]{1,3}") {
            let rules = [rule("s", "a*", "x", "one"), rule("s", "?b*", "y", "two"), rule("s", "", "z", "")];
            let mut reversed = rules.clone();
            reversed.reverse();
            let (one, two) = (Router::new(&rules, true).unwrap(), Router::new(&reversed, true).unwrap());
            prop_assert_eq!(one.route("s", &table), two.route("s", &table));
        }
    }
}
