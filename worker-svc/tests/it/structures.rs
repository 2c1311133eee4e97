//! Structures that are followed through statements against those that a server shows.

use dm_schema::lattice::Schema;
use dm_schema::table_info::TableInfo;
use dm_schema::{Options, Statement};
use dm_testkit::mariadb::{self, MariaDb};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use worker_svc::downstream::connection;
use worker_svc::names::TableName;
use worker_svc::upstream::{Described, describe, schema_defaults};

use crate::harness::login;

const NAMES: [&str; 5] = ["a", "b", "C", "d", "e"];

const TYPES: [&str; 24] = [
    "INT",
    "BIGINT UNSIGNED",
    "INT NOT NULL DEFAULT 7",
    "INT NOT NULL",
    "TINYINT(1) DEFAULT TRUE",
    "VARCHAR(20)",
    "VARCHAR(10) NOT NULL DEFAULT 'it''s'",
    "VARCHAR(20) CHARACTER SET latin1",
    "VARCHAR(20) COLLATE utf8mb4_bin",
    "CHAR(5) CHARSET utf8mb3 DEFAULT 5",
    "DECIMAL(7,2) DEFAULT 1.5",
    "NUMERIC NOT NULL DEFAULT -0",
    "DOUBLE DEFAULT 1e3",
    "FLOAT(7,2) UNSIGNED",
    "DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)",
    "TIMESTAMP NULL",
    "DATE DEFAULT '2020-01-02'",
    "TEXT",
    "MEDIUMTEXT CHARACTER SET latin1",
    "JSON",
    "BIT(5) DEFAULT b'101'",
    "ENUM('x','y') DEFAULT 'y'",
    "SET('x','y','z') DEFAULT 'z,x'",
    "BINARY(4) DEFAULT 'ab'",
];

fn statement(random: &mut StdRng) -> String {
    let mut name = || *NAMES.choose(random).unwrap_or(&"a");
    let (one, two) = (name(), name());
    let ty = TYPES.choose(random).unwrap_or(&"INT");
    let place = ["", " FIRST", " AFTER id"].choose(random).unwrap_or(&"");
    let length = if random.random_bool(0.5) { "(4)" } else { "" };
    let number = random.random_range(0..3);
    let what = match random.random_range(0..17) {
        0..=2 => format!("ADD COLUMN {one} {ty}{place}"),
        3..=4 => format!("MODIFY {one} {ty}{place}"),
        5 => format!("CHANGE {one} {two} {ty}"),
        6 => format!("RENAME COLUMN {one} TO {two}"),
        7 => format!("DROP {one}"),
        8 => format!("ADD INDEX i{number} ({one}{length}, id)"),
        9 => format!("ADD UNIQUE ({one}{length})"),
        10 => format!("DROP INDEX i{number}"),
        11 => format!("RENAME INDEX i{number} TO j{number}"),
        12 => format!("ALTER {one} SET DEFAULT {number}"),
        13 => format!("ALTER {one} DROP DEFAULT"),
        14 => "CONVERT TO CHARACTER SET utf8mb3".to_owned(),
        15 => "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci".to_owned(),
        _ => [
            "CHARSET latin1",
            "COLLATE utf8mb4_bin",
            "COMMENT 'x'",
            "DROP PRIMARY KEY, ADD PRIMARY KEY (id)",
            "ADD COLUMN (a INT, b INT UNIQUE)",
        ]
        .choose(random)
        .map_or_else(String::new, |s| (*s).to_owned()),
    };
    format!("ALTER TABLE shop.t {what}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_structure_is_what_the_server_shows() {
    let options = mariadb::Options::sharing(env!("CARGO_TARGET_TMPDIR"), 1);
    let server = MariaDb::start_temp("structures", options).await.unwrap();
    server.exec("CREATE DATABASE shop").await.unwrap();
    let seed = std::env::var("STRUCTURES_SEED");
    match seed.ok().and_then(|s| s.parse().ok()) {
        Some(seed) => follow(&server, seed).await,
        None => {
            for seed in 1..=6 {
                follow(&server, seed).await;
            }
        }
    }
}

/// Random statements, the same for the same seed; `STRUCTURES_SEED` tries another one.
async fn follow(server: &MariaDb, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let create = "CREATE OR REPLACE TABLE shop.t (id INT PRIMARY KEY, a VARCHAR(20), u TEXT CHARACTER SET latin1, KEY k (a))";
    server.exec(create).await.unwrap();
    let mut conn = connection::reader(&login(server)).await.unwrap();
    let table = TableName::new("shop", "t");
    let defaults = schema_defaults(&mut conn, "shop").await.unwrap();
    assert!(defaults.is_mariadb);
    let shown = |described: Option<Described>| {
        let described = described.unwrap();
        (
            described.table_info(&table, &defaults).unwrap(),
            described.text,
        )
    };
    let (mut info, _) = shown(describe(&mut conn, &table).await.unwrap());
    let mut done = Vec::new();
    for _ in 0..400 {
        let sql = statement(&mut random);
        // Many do not fit; the server says which.
        if server.exec(&sql).await.is_err() {
            continue;
        }
        done.push(sql.clone());
        let Ok(Statement::Ddl(mut ddls)) = dm_schema::read(&sql, &Options::default()) else {
            panic!("{sql}");
        };
        for ddl in &mut ddls {
            ddl.set_default_schema("shop");
            let applied = info.apply(ddl, &defaults);
            applied.unwrap_or_else(|e| panic!("seed {seed}: {e} at {done:#?}"));
        }
        let (there, text) = shown(describe(&mut conn, &table).await.unwrap());
        assert_eq!(
            form(&info),
            form(&there),
            "seed {seed}: {text} after {done:#?}"
        );
    }
    assert!(done.len() > 50, "{}", done.len());
}

/// What counts, and the order of the columns.
fn form(info: &TableInfo) -> (Schema, Vec<&str>) {
    let names = info.columns.iter().map(|c| c.name.original.as_str());
    (
        Schema::of(info).without_auto_increment_base(),
        names.collect(),
    )
}
