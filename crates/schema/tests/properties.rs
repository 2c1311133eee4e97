//! Laws that hold for all tables: of the order, of the join, of reading and printing. And that no text whatsoever ends the process.

use std::cmp::Ordering;

use dm_schema::create_table::{Defaults, print_create_table, read_create_table};
use dm_schema::lattice::Schema;
use dm_schema::table_info::TableInfo;
use dm_schema::{Options, Statement, TableRef, column_change, read};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};

/// Types that a column may have in tables of one group; most of one family compare and join.
const FAMILIES: [&[&str]; 14] = [
    &["INT"],
    &["TINYINT", "SMALLINT", "INT", "INT(5)", "BIGINT"],
    &["INT", "INT", "INT UNSIGNED"],
    &["DECIMAL(5,2)", "DECIMAL(5,2)", "DECIMAL(7,2)"],
    &["FLOAT", "FLOAT(9,3)"],
    &["BIT(3)", "BIT(5)"],
    &["BINARY(3)", "BINARY(4)"],
    &[
        "VARCHAR(4)",
        "VARCHAR(5)",
        "VARCHAR(5) CHARACTER SET utf8",
        "VARCHAR(4) CHARACTER SET latin1",
    ],
    &[
        "CHAR(3)",
        "CHAR(3) COLLATE utf8mb4_general_ci",
        "VARCHAR(3)",
    ],
    &["TINYTEXT", "TEXT", "LONGTEXT", "BLOB"],
    &[
        "ENUM('a')",
        "ENUM('a','b')",
        "ENUM('a','b','c')",
        "ENUM('b')",
    ],
    &["SET('a','b')", "SET('a','b','c')"],
    &["DATETIME", "DATETIME(3)"],
    &["YEAR"],
];

const ATTRIBUTES: [&str; 8] = [
    "",
    "",
    "",
    "",
    " NOT NULL",
    " NULL",
    " DEFAULT NULL",
    " DEFAULT 1",
];

/// Names and definitions.
const INDEXES: [(&str, &str); 9] = [
    ("k", "KEY k (a)"),
    ("k", "KEY k (b)"),
    ("k", "UNIQUE KEY k (a)"),
    ("k", "UNIQUE KEY k (a,b)"),
    ("u", "UNIQUE KEY u (b)"),
    ("h", "KEY h (b,c) USING HASH"),
    ("PRIMARY", "PRIMARY KEY (a)"),
    ("PRIMARY", "PRIMARY KEY (a,b)"),
    ("c", "UNIQUE KEY (c)"),
];

const OPTIONS: [&str; 6] = [
    "",
    " CHARSET=utf8",
    " CHARSET=latin1",
    " AUTO_INCREMENT=5",
    " SHARD_ROW_ID_BITS=2",
    " COMPRESSION='zlib'",
];

/// Texts of `count` tables that belong together: those of `fixed` are in each of them, those of `free` in some.
fn group(
    count: std::ops::Range<usize>,
    fixed: &'static [&'static str],
    free: &'static [&'static str],
) -> impl Strategy<Value = Vec<String>> {
    let families = vec(select(&FAMILIES[..]), fixed.len() + free.len());
    let column = (any::<Index>(), select(&ATTRIBUTES[..]));
    let columns = vec(column, fixed.len() + free.len());
    let there = vec(any::<bool>(), free.len());
    let indexes = vec(prop::option::weighted(0.2, select(&INDEXES[..])), 2);
    let option = prop_oneof![9 => Just(""), 1 => select(&OPTIONS[..])];
    let one = (columns, there, indexes, option);
    (families, vec(one, count)).prop_map(move |(families, tables)| {
        let text = |(columns, there, indexes, option): OneTable| {
            let present = std::iter::repeat_n(true, fixed.len()).chain(there);
            let names = fixed.iter().chain(free).zip(&families);
            let all = names.zip(columns).zip(present);
            let mut parts: Vec<String> = all
                .filter(|(_, present)| *present)
                .map(|(((name, family), (ty, attribute)), _)| {
                    format!("{name} {}{attribute}", ty.get(family))
                })
                .collect();
            let mut names = Vec::new();
            for (name, index) in indexes.into_iter().flatten() {
                if !names.contains(&name) {
                    names.push(name);
                    parts.push(index.to_owned());
                }
            }
            format!("CREATE TABLE t ({}){option}", parts.join(", "))
        };
        tables.into_iter().map(text).collect()
    })
}

/// Columns, which free ones are there, indexes, options.
type OneTable = (
    Vec<(Index, &'static str)>,
    Vec<bool>,
    Vec<Option<(&'static str, &'static str)>>,
    &'static str,
);

/// Columns `a`, `b` and `c`, which indexes may use, and perhaps more.
fn tables(count: usize) -> impl Strategy<Value = Vec<Schema>> {
    group(count..count + 1, &["a", "b", "c"], &["d", "E"]).prop_map(schemas)
}

fn any_table() -> impl Strategy<Value = String> {
    group(1..2, &["a", "b", "c"], &["d", "E"]).prop_map(|mut group| group.remove(0))
}

fn schemas(texts: Vec<String>) -> Vec<Schema> {
    texts.iter().map(|text| schema(text)).collect()
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(8291),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn info(text: &str) -> TableInfo {
    read_create_table(text, &Options::default(), &Defaults::default())
        .unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn schema(text: &str) -> Schema {
    Schema::of(&info(text))
}

fn at_most(a: &Schema, b: &Schema) -> bool {
    a.compare(b).is_ok_and(Ordering::is_le)
}

fn join_all(schemas: &[Schema]) -> Option<Schema> {
    Schema::join_all(schemas).ok().flatten()
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn compare_is_reflexive_and_antisymmetric(group in tables(2)) {
        let [a, b] = &group[..] else { unreachable!() };
        prop_assert_eq!(a.compare(a), Ok(Ordering::Equal));
        let (there, back) = (a.compare(b), b.compare(a));
        prop_assert_eq!(there.clone().ok(), back.ok().map(Ordering::reverse));
        prop_assert_eq!(there == Ok(Ordering::Equal), a == b);
    }

    #[test]
    fn compare_is_transitive(mut all in tables(3)) {
        // Joins make chains of which random tables have few.
        let joins = [join_all(&all[..2]), join_all(&all[1..]), join_all(&all)];
        all.extend(joins.into_iter().flatten());
        for x in &all {
            for y in all.iter().filter(|y| at_most(x, y)) {
                for z in all.iter().filter(|z| at_most(y, z)) {
                    prop_assert!(at_most(x, z), "{}\n{}\n{}", x, y, z);
                }
            }
        }
    }

    #[test]
    fn join_is_commutative_idempotent_and_an_upper_bound(group in tables(2)) {
        let [a, b] = &group[..] else { unreachable!() };
        prop_assert_eq!(a.join(a), Ok(a.clone()));
        let join = a.join(b).ok();
        prop_assert_eq!(&join, &b.join(a).ok());
        if let Some(join) = join {
            prop_assert!(at_most(a, &join), "{}\n{}", a, join);
            prop_assert!(at_most(b, &join), "{}\n{}", b, join);
            prop_assert_eq!(join.join(a), Ok(join.clone()));
        }
    }

    #[test]
    fn the_larger_of_two_is_their_join(group in tables(2)) {
        let [a, b] = &group[..] else { unreachable!() };
        if let Ok(order) = a.compare(b) {
            let larger = if order.is_ge() { a } else { b };
            prop_assert_eq!(&a.join(b).unwrap(), larger);
        }
    }

    #[test]
    fn join_of_two_is_associative_where_no_column_is_missing(
        group in group(3..4, &["a", "b", "c", "d"], &[]).prop_map(schemas),
    ) {
        let [a, b, c] = &group[..] else { unreachable!() };
        let left = a.join(b).ok().and_then(|ab| ab.join(c).ok());
        let right = b.join(c).ok().and_then(|bc| a.join(&bc).ok());
        prop_assert_eq!(&left, &right);
        prop_assert_eq!(left, join_all(&group));
    }

    #[test]
    fn join_of_all_is_the_same_in_any_order_and_above_each(
        schemas in group(2..6, &["a", "b", "c"], &["d", "E"]).prop_map(schemas),
        order in any::<Index>(),
        again in any::<Index>(),
    ) {
        let join = join_all(&schemas);
        let mut other = schemas.clone();
        other.rotate_left(order.index(schemas.len()));
        other.reverse();
        other.push(again.get(&schemas).clone());
        prop_assert_eq!(&join_all(&other), &join);
        if let Some(join) = join {
            for schema in &schemas {
                prop_assert!(at_most(schema, &join), "{}\n{}", schema, join);
            }
        }
    }

    #[test]
    fn a_table_reads_back_from_its_text_and_from_its_json(text in any_table()) {
        let info = info(&text);
        let printed = print_create_table(&info);
        prop_assert_eq!(schema(&printed), Schema::of(&info), "{}", printed);
        let json = info.to_json();
        let again = TableInfo::from_json(&json).unwrap();
        prop_assert_eq!(again.to_json(), json);
        prop_assert_eq!(Schema::of(&again), Schema::of(&info));
    }

    #[test]
    fn a_printed_statement_prints_as_itself(text in any_table()) {
        let print = |text: &str| match read(text, &Options::default()) {
            Ok(Statement::Ddl(ddls)) => ddls[0].render(TableRef::clone),
            other => panic!("{text}: {other:?}"),
        };
        let printed = print(&text);
        prop_assert_eq!(print(&printed), printed.clone());
        prop_assert_eq!(schema(&printed), schema(&text), "{}", printed);
    }
}

/// The laws above say nothing about tables that never compare or join; this says how often they do.
#[test]
fn random_tables_compare_and_join_often_enough_and_not_always() {
    let mut runner = TestRunner::deterministic();
    let (mut compared, mut joined) = (0, 0);
    for _ in 0..400 {
        let group = tables(2).new_tree(&mut runner).unwrap().current();
        compared += usize::from(group[0].compare(&group[1]).is_ok());
        joined += usize::from(group[0].join(&group[1]).is_ok());
    }
    assert!((20..380).contains(&compared), "{compared} of 400 compare");
    assert!((40..380).contains(&joined), "{joined} of 400 join");
}

/// Words that lead the readers into their branches.
const WORDS: [&str; 62] = [
    "CREATE",
    "TABLE",
    "ALTER",
    "ADD",
    "DROP",
    "COLUMN",
    "t",
    "`a`",
    "a",
    "(",
    ")",
    ",",
    ".",
    ";",
    "INT",
    "VARCHAR",
    "ENUM",
    "SET",
    "DECIMAL",
    "DATETIME",
    "BIT",
    "YEAR",
    "TEXT",
    "BINARY",
    "NOT",
    "NULL",
    "DEFAULT",
    "-",
    "+",
    "1",
    "99999999999999999999",
    "1.5e3",
    "X'4'",
    "b'2'",
    "0xZ",
    "'é'",
    "''",
    "PRIMARY",
    "KEY",
    "UNIQUE",
    "CONSTRAINT",
    "CHECK",
    "FOREIGN",
    "REFERENCES",
    "USING",
    "HASH",
    "AS",
    "STORED",
    "CHARSET",
    "=",
    "utf8mb3",
    "COLLATE",
    "_",
    "AUTO_INCREMENT",
    "ON",
    "UPDATE",
    "NOW",
    "PARTITION",
    "/*!",
    "*/",
    "COMMENT",
    "SERIAL",
];

fn sentence() -> impl Strategy<Value = String> {
    let free = vec(select(&WORDS[..]), 0..30).prop_map(|words| words.join(" "));
    let table = vec(select(&WORDS[..]), 0..25)
        .prop_map(|words| format!("CREATE TABLE t (a {})", words.join(" ")));
    let options = vec(select(&WORDS[..]), 0..15)
        .prop_map(|words| format!("CREATE TABLE t (a INT) {}", words.join(" ")));
    prop_oneof![free, table, options, any::<String>(), "\\PC{0,60}"]
}

/// A text that is nearly a table info: a right one with one piece replaced.
fn nearly_json() -> impl Strategy<Value = String> {
    let piece = select(
        &[
            "null",
            "1",
            "-1",
            "\"x\"",
            "[]",
            "{}",
            "[null]",
            "{\"O\":1}",
            "1e999",
            "",
        ][..],
    );
    (any_table(), any::<Index>(), piece).prop_map(|(text, at, piece)| {
        let json = info(&text).to_json();
        let ends: Vec<usize> = json
            .match_indices([':', ','])
            .map(|(at, _)| at + 1)
            .collect();
        let from = ends[at.index(ends.len())];
        let to = ends
            .iter()
            .find(|end| **end > from)
            .map_or(json.len(), |end| end - 1);
        format!("{}{piece}{}", &json[..from], &json[to..])
    })
}

proptest! {
    #![proptest_config(config(2048))]

    #[test]
    fn no_text_ends_the_readers_of_statements(text in sentence(), ansi_quotes: bool, no_backslash_escapes: bool) {
        let options = Options { ansi_quotes, no_backslash_escapes };
        if let Ok(info) = read_create_table(&text, &options, &Defaults::default()) {
            let schema = Schema::of(&info);
            prop_assert_eq!(schema.compare(&schema), Ok(Ordering::Equal));
            let _ = (schema.to_string(), schema.join(&schema), print_create_table(&info));
            prop_assert!(TableInfo::from_json(&info.to_json()).is_ok());
        }
        if let Ok(Statement::Ddl(ddls)) = read(&text, &options) {
            let base = "CREATE TABLE t (a INT, b VARCHAR(9) DEFAULT 'x', c TEXT, PRIMARY KEY (a), KEY k (b(3)))";
            let mut info = read_create_table(base, &Options::default(), &Defaults::default());
            for ddl in ddls {
                let _ = ddl.render(TableRef::clone);
                let Ok(info) = &mut info else { continue };
                let before = info.to_json();
                match info.apply(&ddl, &Defaults::default()) {
                    Ok(()) => prop_assert!(TableInfo::from_json(&info.to_json()).is_ok()),
                    Err(_) => prop_assert_eq!(info.to_json(), before),
                }
            }
        }
        let _ = column_change(&text);
    }

    #[test]
    fn no_text_ends_the_reader_of_json(text in prop_oneof![nearly_json(), any::<String>(), "[\\[\\]{}:,\"a1-]{0,30}"]) {
        if let Ok(info) = TableInfo::from_json(&text) {
            let again = TableInfo::from_json(&info.to_json());
            prop_assert_eq!(again.map(|i| i.to_json()), Ok(info.to_json()));
            let schema = Schema::of(&info);
            let _ = (schema.to_string(), schema.join(&schema));
        }
    }
}
