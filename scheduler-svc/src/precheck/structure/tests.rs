//! Each finding of the structure check.

use super::super::facts::Server;
use super::super::report::Trouble;
use super::super::scope::Scope;
use super::*;

fn source(text: &str, extended: &[&str]) -> Upstream {
    let (table, target) = (TableName::new("a", "t1"), TableName::new("b", "t"));
    let mut scope = Scope::default();
    scope.targets.insert(target.clone(), vec![table.clone()]);
    if !extended.is_empty() {
        let columns = extended.iter().map(|c| (*c).to_owned()).collect();
        scope.extended.insert(target, columns);
    }
    Upstream {
        server: Server::new("h:1"),
        listing: BTreeMap::new(),
        scope,
        binlog_filter: Err(Trouble::new("not asked")),
        definitions: BTreeMap::from([(table, Ok(Some(text.to_owned())))]),
        position: None,
        data_size: Ok(0),
    }
}

/// State and texts, without the table's name before them.
fn told(upstream: &str, downstream: Option<&str>, extended: &[&str]) -> (State, Vec<String>) {
    let target = BTreeMap::from([(TableName::new("b", "t"), Ok(downstream.map(str::to_owned)))]);
    let check = table_schema(&[source(upstream, extended)], &target);
    let texts = check.errors.into_iter().map(|finding| {
        let text = finding.short_error;
        text.strip_prefix("table `a`.`t1` ")
            .map_or(text.clone(), str::to_owned)
    });
    (check.state, texts.collect())
}

fn table(columns: &str) -> String {
    format!("CREATE TABLE `t1` (\n  {columns}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")
}

#[test]
fn equal_tables_and_a_target_that_is_not_there_are_fine() {
    let own = table("`id` int NOT NULL,\n  `c` text,\n  PRIMARY KEY (`id`)");
    assert_eq!(told(&own, Some(&own), &[]), (State::Success, vec![]));
    assert_eq!(told(&own, None, &[]), (State::Success, vec![]));
}

#[test]
fn a_table_without_keys_and_foreign_keys_are_warnings() {
    let own = table(
        "`id` int,\n  KEY `k` (`id`),\n  CONSTRAINT `fk` FOREIGN KEY (`id`) REFERENCES `u` (`id`)",
    );
    let expected = [
        "Foreign Key fk is parsed but ignored by TiDB.",
        "primary/unique key does not exist",
    ];
    assert_eq!(
        told(&own, None, &[]),
        (State::Warn, expected.map(str::to_owned).into())
    );
    let check = table_schema(&[source(&own, &[])], &BTreeMap::new());
    assert_eq!(check.instruction, format!("{FIX_FOREIGN_KEYS}; {FIX_KEYS}"));
}

#[test]
fn charsets_and_collations_are_compared_where_both_are_written() {
    let with = |options: &str| {
        format!("CREATE TABLE `t1` (\n  `id` int PRIMARY KEY\n) ENGINE=InnoDB {options}")
    };
    let own = with("DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci COMMENT='CHARSET=x'");
    let other = with("DEFAULT CHARSET=gbk COLLATE=gbk_bin");
    let expected = [
        "charset is not same, upstream: (t1 latin1), downstream: (t gbk)",
        "collation is not same, upstream: (t1 latin1_swedish_ci), downstream: (t gbk_bin)",
    ];
    assert_eq!(
        told(&own, Some(&other), &[]),
        (State::Warn, expected.map(str::to_owned).into())
    );
    let wide = with("DEFAULT CHARSET=utf8mb4");
    assert_eq!(told(&own, Some(&wide), &[]), (State::Success, vec![]));
    assert_eq!(told(&own, Some(&with("")), &[]), (State::Success, vec![]));
}

#[test]
fn keys_are_compared_by_their_columns_not_their_names() {
    let own = table(
        "`a` int NOT NULL,\n  `b` int NOT NULL,\n  PRIMARY KEY (`a`),\n  UNIQUE KEY `x` (`b`,`a`)",
    );
    let same = table(
        "`a` int NOT NULL,\n  `b` int NOT NULL,\n  PRIMARY KEY (`a`),\n  UNIQUE KEY `y` (`a`,`b`)",
    );
    assert_eq!(told(&own, Some(&same), &[]), (State::Success, vec![]));
    let other =
        table("`a` int,\n  `b` int NOT NULL,\n  UNIQUE KEY `u` (`a`),\n  UNIQUE KEY `v` (`b`)");
    let (state, texts) = told(&own, Some(&other), &[]);
    assert_eq!(state, State::Warn);
    assert_eq!(
        texts,
        [
            "upstream has more PK or NOT NULL UK than downstream, index name: PRIMARY, columns: [a]",
            "upstream has more PK or NOT NULL UK than downstream, index name: x, columns: [a b]",
            "downstream has more PK or NOT NULL UK than upstream, table name: t, index name: v, columns: [b]",
        ]
    );
}

#[test]
fn columns_that_routes_add_must_be_in_the_target_and_not_in_the_source() {
    let plain = table("`id` int NOT NULL,\n  PRIMARY KEY (`id`)");
    let with = table("`id` int NOT NULL,\n  `c` text,\n  PRIMARY KEY (`id`)");
    assert_eq!(told(&plain, Some(&with), &["c"]), (State::Success, vec![]));
    let cases = [
        (
            &plain,
            None,
            "upstream table `a`.`t1` who has extended columns [c] does not exist in downstream table",
        ),
        (
            &with,
            Some(&with),
            "upstream table must not contain extended column [c]",
        ),
        (
            &plain,
            Some(&plain),
            "downstream table must contain extended columns [c]",
        ),
    ];
    for (own, target, expected) in cases {
        let (state, texts) = told(own, target.map(String::as_str), &["c"]);
        assert_eq!((state, texts), (State::Fail, vec![expected.to_owned()]));
    }
}

#[test]
fn columns_of_one_side_only_are_warnings() {
    let own = table("`id` int NOT NULL,\n  `mine` text,\n  PRIMARY KEY (`id`)");
    let target = table(
        "`id` int NOT NULL,\n  `must` int NOT NULL,\n  `may` int DEFAULT NULL,\n  `has` int NOT NULL DEFAULT 1,\n  \
         `made` int GENERATED ALWAYS AS (`id`) VIRTUAL NOT NULL,\n  PRIMARY KEY (`id`)",
    );
    let expected = [
        "upstream has more columns than downstream, columns: [mine]",
        "downstream has more columns than upstream that require values to insert records, table name: t, columns: [must]",
    ];
    assert_eq!(
        told(&own, Some(&target), &[]),
        (State::Warn, expected.map(str::to_owned).into())
    );
}

#[test]
fn a_text_that_is_not_understood_is_a_warning_with_the_text() {
    let (state, texts) = told("CREATE TABLE nonsense", None, &[]);
    assert_eq!(state, State::Warn);
    assert!(
        texts[0].starts_with("statement CREATE TABLE nonsense: "),
        "{texts:?}"
    );
}

#[test]
fn a_table_that_went_is_passed_over_and_a_server_that_is_silent_is_named() {
    let mut gone = source("", &[]);
    let name = TableName::new("a", "t1");
    gone.definitions.insert(name.clone(), Ok(None));
    assert_eq!(
        table_schema(&[gone.clone()], &BTreeMap::new()).state,
        State::Success
    );
    gone.definitions
        .insert(name, Err(Trouble::new("source s1 (h:1): no answer")));
    let check = table_schema(&[gone], &BTreeMap::new());
    assert_eq!(check.errors[0].short_error, "source s1 (h:1): no answer");
    assert_eq!(check.state, State::Fail);
}
