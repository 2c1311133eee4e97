//! DDL without shards: executed where it stands among the rows.

use dm_keyspace::Stage;
use dm_proto::pb;
use dm_testkit::wait_until;

use crate::harness::{LIMIT, Site};

#[tokio::test(flavor = "multi_thread")]
async fn rows_before_and_after_each_ddl_arrive_under_their_own_structure() {
    let site = Site::start().await;
    site.up
        .exec("CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY, v INT); INSERT INTO shop.a VALUES (1, 1)")
        .await
        .unwrap();
    site.bind("w1").await;
    site.order(&site.subtask("all", false), Stage::Running)
        .await;
    let worker = site.worker("w1");
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
    let gone = site.down.query("SHOW TABLES FROM shop").await.unwrap();
    assert_eq!(gone.len(), 3, "{gone:?}");
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
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ddl_that_fails_downstream_pauses_with_its_error_and_goes_on_when_mended() {
    let site = Site::start().await;
    site.up
        .exec("CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY, v INT); INSERT INTO shop.a VALUES (1, 1)")
        .await
        .unwrap();
    site.bind("w1").await;
    let config = site.subtask("all", false);
    site.order(&config, Stage::Running).await;
    let worker = site.worker("w1");
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
