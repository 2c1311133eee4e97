//! DDL without shards: executed where it stands among the rows.

use dm_keyspace::Stage;
use dm_proto::pb;
use dm_testkit::wait_until;

use crate::harness::{LIMIT, Site};

#[tokio::test(flavor = "multi_thread")]
async fn rows_before_and_after_each_ddl_arrive_under_their_own_structure() {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY, v INT); INSERT INTO shop.a VALUES (1, 1)",
    )
    .await;
    let worker = site.run(&site.subtask("all", false)).await;
    site.same("shop.a").await;
    site.up
        .exec(
            "USE shop; INSERT INTO a VALUES (2, 2); ALTER TABLE a ADD COLUMN first_one VARCHAR(20) DEFAULT 'd' FIRST, ADD (x INT, y TINYINT UNSIGNED); \
             INSERT INTO a VALUES ('f', 3, 3, 4, 255); ALTER TABLE a DROP COLUMN v, MODIFY x BIGINT AFTER id, ALGORITHM=COPY; INSERT INTO a VALUES ('g', 4, 18, 200); \
             ALTER TABLE a CHANGE COLUMN y `the y` INT, RENAME COLUMN x TO z; CREATE UNIQUE INDEX u ON a (z); INSERT INTO a VALUES ('h', 5, 19, -1); \
             DROP INDEX u ON a; UPDATE a SET `the y` = 7 WHERE id = 5; CREATE TABLE b LIKE a; INSERT INTO b SELECT * FROM a; ALTER TABLE b RENAME TO c; \
             INSERT INTO c VALUES ('i', 6, 1, 1); CREATE TABLE d AS SELECT id, z FROM c; RENAME TABLE c TO e, d TO f; DELETE FROM e WHERE id = 1; TRUNCATE TABLE f; \
             INSERT INTO f VALUES (1, 1); CREATE TABLE gone (id INT); DROP TABLE gone; CREATE VIEW seen AS SELECT * FROM a; CREATE SEQUENCE seq; SELECT NEXT VALUE FOR seq; FLUSH TABLES; ALTER TABLE a COMMENT = 'it''s', ENGINE = InnoDB",
        )
        .await
        .unwrap();
    for table in ["shop.f", "shop.e", "shop.a"] {
        site.same(table).await;
    }
    let mut agreed = true;
    for table in ["a", "e", "f"] {
        let shown = format!("SHOW CREATE TABLE shop.{table}");
        let expected = site.up.query(&shown).await.unwrap();
        let same = wait_until(LIMIT, "the structures agree", || async {
            site.down.query(&shown).await.unwrap() == expected
        });
        agreed &= same.await.is_ok();
    }
    assert!(agreed);
    // The last statement of all has changed a structure.
    let gone = site.down.query("SHOW TABLES FROM shop").await.unwrap();
    assert_eq!(gone.len(), 3, "{gone:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ddl_that_fails_downstream_pauses_with_its_error_and_goes_on_when_mended() {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY, v INT); INSERT INTO shop.a VALUES (1, 1)",
    )
    .await;
    let config = site.subtask("all", false);
    let worker = site.run(&config).await;
    site.same("shop.a").await;
    site.down
        .exec("INSERT INTO shop.a VALUES (5, 1)")
        .await
        .unwrap();
    site.up
        .exec("ALTER TABLE shop.a ADD UNIQUE KEY u (v); INSERT INTO shop.a VALUES (2, 2)")
        .await
        .unwrap();
    worker.await_stage(pb::Stage::Paused).await;
    let errors = worker.errors();
    assert!(errors[0].raw_cause.contains("Error 1062"), "{errors:?}");
    assert!(errors[0].message.contains("ADD UNIQUE INDEX"), "{errors:?}");
    site.down
        .exec("DELETE FROM shop.a WHERE id = 5")
        .await
        .unwrap();
    site.order(&config, Stage::Running).await;
    site.same("shop.a").await;
    worker.stop().await;
}

/// As gh-ost and pt-online-schema-change work, with rows of all tables between their steps.
const ONLINE: &str = "USE shop; CREATE TABLE _a_ghc (id INT PRIMARY KEY, v TEXT); INSERT INTO _a_ghc VALUES (1, 'migrated'); CREATE TABLE _a_gho LIKE a; \
     ALTER TABLE _a_gho ADD COLUMN c INT DEFAULT 7, DROP COLUMN v; INSERT INTO _a_gho (id) SELECT id FROM a; INSERT INTO a VALUES (2, 2); INSERT INTO _a_gho (id) VALUES (2); \
     CREATE TABLE _a_del (id INT PRIMARY KEY) COMMENT='ghost-cut-over-sentry'; DROP TABLE IF EXISTS _a_del; RENAME TABLE a TO _a_del, _a_gho TO a; \
     INSERT INTO a VALUES (3, 3); DROP TABLE _a_ghc; DROP TABLE _a_del; \
     CREATE TABLE _b_new LIKE b; ALTER TABLE _b_new ADD UNIQUE INDEX u (v); INSERT LOW_PRIORITY IGNORE INTO _b_new SELECT * FROM b; \
     RENAME TABLE b TO _b_old, _b_new TO b; DROP TABLE IF EXISTS _b_old; INSERT INTO b VALUES (3, 3)";

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_a_tool_changes_online_is_changed_once_the_copy_takes_its_place() {
    let site = Site::with(
        "CREATE DATABASE shop; USE shop; CREATE TABLE a (id INT PRIMARY KEY, v INT); INSERT INTO a VALUES (1, 1); CREATE TABLE b LIKE a; INSERT INTO b VALUES (1, 1)",
    )
    .await;
    let mut config = site.subtask("all", false);
    config.online_ddl = true;
    let worker = site.run(&config).await;
    site.same("shop.b").await;
    let (before, after) = ONLINE.split_once("CREATE TABLE _a_del").unwrap();
    site.up.exec(before).await.unwrap();
    site.same("shop.a").await;
    // What was done to the copy is remembered.
    worker.crash().await;
    let worker = site.worker("w1");
    let after = format!("USE shop; CREATE TABLE _a_del{after}");
    site.up.exec(&after).await.unwrap();
    site.same("shop.b").await;
    site.same("shop.a").await;
    for table in ["a", "b"] {
        let shown = format!("SHOW CREATE TABLE shop.{table}");
        let columns = |rows: Vec<Vec<Option<String>>>| rows[0][1].clone();
        assert_eq!(
            columns(site.down.query(&shown).await.unwrap()),
            columns(site.up.query(&shown).await.unwrap())
        );
    }
    let tables = site.down.query("SHOW TABLES FROM shop").await.unwrap();
    assert_eq!(tables.len(), 2, "{tables:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_making_was_not_seen_is_an_error_of_the_subtask() {
    let site = Site::with(
        "CREATE DATABASE shop; USE shop; CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE _a_gho LIKE a; ALTER TABLE _a_gho ADD COLUMN c INT",
    )
    .await;
    let mut config = site.subtask("all", false);
    config.online_ddl = true;
    let worker = site.run(&config).await;
    site.same("shop.a").await;
    site.up
        .exec("USE shop; RENAME TABLE a TO _a_del, _a_gho TO a")
        .await
        .unwrap();
    worker.await_stage(pb::Stage::Paused).await;
    assert_eq!(worker.errors()[0].err_code, 36046, "{:?}", worker.errors());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_have_the_character_set_that_the_schema_gives_a_new_table() {
    let site = Site::start().await;
    site.down.exec("CREATE DATABASE shop").await.unwrap();
    let worker = site.run(&site.subtask("all", false)).await;
    worker.await_replication().await;
    site.up
        .exec(
            "CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.a (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO shop.a VALUES (1, 'é'); \
             ALTER TABLE shop.a ADD COLUMN w TEXT; INSERT INTO shop.a VALUES (2, 'ä', 'ö')",
        )
        .await
        .unwrap();
    site.same("shop.a").await;
    worker.stop().await;
}
