//! Shard DDL: two tables of the source in one downstream table, and a test that plays the pessimist.

use dm_keyspace::Stage;
use dm_proto::pb;

use crate::harness::{MERGED, Running, Site};

async fn begin() -> (Site, Running) {
    let site = Site::with_shards().await;
    let worker = site.run(&site.subtask("all", true)).await;
    site.same_as(MERGED, "merged.t").await;
    (site, worker)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_that_is_ahead_are_held_back_and_arrive_after_the_ddl() {
    let (site, worker) = begin().await;
    site.up
        .exec(
            "USE shop; ALTER TABLE t1 ADD COLUMN c INT DEFAULT 7; INSERT INTO t1 VALUES (11, 1, 1); UPDATE t1 SET c = 8 WHERE id = 1; INSERT INTO t2 VALUES (12, 1)",
        )
        .await
        .unwrap();
    // The table behind goes on, the one ahead does not, and nobody hears of the DDL yet.
    dm_testkit::wait_until(crate::harness::LIMIT, "the row of t2", || async {
        let rows = site.down.query("SELECT id FROM merged.t ORDER BY id").await;
        let ids: Vec<_> = rows.unwrap().into_iter().flatten().flatten().collect();
        ids == ["1", "2", "12"]
    })
    .await
    .unwrap();
    assert_eq!(site.info().await, None);
    site.up
        .exec("USE shop; INSERT INTO t1 VALUES (13, 3, 3); ALTER TABLE t2 ADD COLUMN c INT DEFAULT 7; INSERT INTO t2 VALUES (14, 4, 4)")
        .await
        .unwrap();
    let info = site.await_info().await;
    assert_eq!(
        info.ddls(),
        ["ALTER TABLE `merged`.`t` ADD COLUMN `c` INT DEFAULT 7"]
    );
    assert_eq!((info.schema.as_str(), info.table.as_str()), ("merged", "t"));
    let figures = worker.cast.now().subtasks[0].board.read();
    assert_eq!(figures.blocking, info.ddls());
    assert_eq!(figures.groups[0].synced, ["`shop`.`t1`", "`shop`.`t2`"]);
    site.resolve(true).await;
    site.same_as(MERGED, "merged.t").await;
    assert!(worker.cast.now().subtasks[0].board.read().groups.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_told_to_skip_does_not_execute() {
    let (site, worker) = begin().await;
    site.up
        .exec("USE shop; ALTER TABLE t1 ADD INDEX i (v); ALTER TABLE t2 ADD INDEX i (v); INSERT INTO t1 VALUES (3, 3)")
        .await
        .unwrap();
    site.resolve(false).await;
    site.same_as(MERGED, "merged.t").await;
    let keys = site.down.query("SHOW INDEX FROM merged.t").await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ddls_in_a_row_are_resolved_one_after_the_other() {
    let (site, worker) = begin().await;
    site.up
        .exec(
            "USE shop; ALTER TABLE t1 ADD COLUMN c INT; INSERT INTO t1 VALUES (3, 3, 3); ALTER TABLE t1 MODIFY v BIGINT, DROP COLUMN c; INSERT INTO t1 VALUES (4, 4000000000); \
             INSERT INTO t2 VALUES (5, 5); ALTER TABLE t2 ADD COLUMN c INT; INSERT INTO t2 VALUES (6, 6, 6); UPDATE t1 SET v = 1 WHERE id = 3; \
             ALTER TABLE t2 MODIFY v BIGINT, DROP COLUMN c; INSERT INTO t2 VALUES (7, 7)",
        )
        .await
        .unwrap();
    let first = site.resolve(true).await;
    assert_eq!(first.ddls().len(), 1);
    let second = site.resolve(true).await;
    assert_eq!(second.ddls().len(), 2, "{second:?}");
    site.same_as(MERGED, "merged.t").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_in_every_phase_of_a_shard_ddl_change_nothing() {
    let (site, worker) = begin().await;
    site.up
        .exec("USE shop; ALTER TABLE t1 ADD COLUMN c INT; INSERT INTO t1 VALUES (3, 3, 3)")
        .await
        .unwrap();
    worker.crash().await;
    let worker = site.worker("w1");
    site.up
        .exec("USE shop; INSERT INTO t2 VALUES (4, 4); ALTER TABLE t2 ADD COLUMN c INT; INSERT INTO t2 VALUES (5, 5, 5)")
        .await
        .unwrap();
    let info = site.await_info().await;
    worker.crash().await;
    // Answered while nobody listens: the worker reports again and must not take the order for an answer to that.
    site.answer(&info, true).await;
    let worker = site.worker("w1");
    dm_testkit::wait_until(crate::harness::LIMIT, "the info is put again", || async {
        let key = info.key().encode();
        let kv = site.store.get(key).await.unwrap();
        kv.is_some_and(|kv| kv.version > 1)
    })
    .await
    .unwrap();
    site.answer(&info, true).await;
    site.await_done().await;
    worker.crash().await;
    // Done and crashed, with the round still open: it must not be reported a second time.
    let worker = site.worker("w1");
    site.same_as(MERGED, "merged.t").await;
    assert_eq!(site.info().await, None);
    site.end_round().await;
    site.up
        .exec("USE shop; ALTER TABLE t1 DROP COLUMN c; ALTER TABLE t2 DROP COLUMN c; INSERT INTO t2 VALUES (6, 6)")
        .await
        .unwrap();
    site.resolve(true).await;
    site.same_as(MERGED, "merged.t").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_ddl_that_fails_is_shown_and_reported_again_after_a_resume() {
    let (site, worker) = begin().await;
    site.down
        .exec("INSERT INTO merged.t VALUES (90, 1)")
        .await
        .unwrap();
    site.up
        .exec("USE shop; ALTER TABLE t1 ADD UNIQUE INDEX u (v); ALTER TABLE t2 ADD UNIQUE INDEX u (v); INSERT INTO t2 VALUES (5, 5)")
        .await
        .unwrap();
    let info = site.await_info().await;
    site.answer(&info, true).await;
    worker.await_stage(pb::Stage::Paused).await;
    assert!(worker.errors()[0].raw_cause.contains("Error 1062"));
    assert!(site.info().await.is_some() && !site.operation().await.unwrap().done);
    site.down
        .exec("DELETE FROM merged.t WHERE id = 90")
        .await
        .unwrap();
    site.order(&site.subtask("all", true), Stage::Running).await;
    dm_testkit::wait_until(crate::harness::LIMIT, "the info is put again", || async {
        let kv = site.store.get(info.key().encode()).await.unwrap();
        kv.is_some_and(|kv| kv.version > 1)
    })
    .await
    .unwrap();
    site.answer(&info, true).await;
    site.await_done().await;
    site.same_as(MERGED, "merged.t").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_shard_joins_between_ddls_and_its_rows_are_merged() {
    let (site, worker) = begin().await;
    site.up
        .exec("USE shop; CREATE TABLE t3 LIKE t1; INSERT INTO t3 VALUES (31, 1); ALTER TABLE t1 ADD COLUMN c INT; ALTER TABLE t2 ADD COLUMN c INT")
        .await
        .unwrap();
    site.up
        .exec("USE shop; ALTER TABLE t3 ADD COLUMN c INT; INSERT INTO t3 VALUES (32, 2, 2)")
        .await
        .unwrap();
    site.resolve(true).await;
    site.same_as(
        "SELECT * FROM shop.t1 UNION ALL SELECT * FROM shop.t2 UNION ALL SELECT * FROM shop.t3 ORDER BY 1, 2",
        "merged.t",
    )
    .await;
    site.up
        .exec("DROP TABLE shop.t3; INSERT INTO shop.t1 VALUES (40, 1, 1)")
        .await
        .unwrap();
    dm_testkit::wait_until(crate::harness::LIMIT, "the row behind the drop", || async {
        let rows = site
            .down
            .query("SELECT 1 FROM merged.t WHERE id IN (31, 40)")
            .await;
        rows.unwrap().len() == 2
    })
    .await
    .unwrap();
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_somebody_removes_while_it_waits_is_put_again() {
    let (site, worker) = begin().await;
    site.up
        .exec("USE shop; ALTER TABLE t1 ADD COLUMN c INT; ALTER TABLE t2 ADD COLUMN c INT; INSERT INTO t2 VALUES (5, 5, 5)")
        .await
        .unwrap();
    let info = site.await_info().await;
    let first = site.store.get(info.key().encode()).await.unwrap().unwrap();
    let key = dm_store::KeyRange::key(info.key().encode());
    site.store.delete(key).await.unwrap();
    dm_testkit::wait_until(crate::harness::LIMIT, "the info is put again", || async {
        let kv = site.store.get(info.key().encode()).await.unwrap();
        kv.is_some_and(|kv| kv.create_revision > first.create_revision)
    })
    .await
    .unwrap();
    site.resolve(true).await;
    site.same_as(MERGED, "merged.t").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renames_of_all_shards_are_resolved_like_any_ddl_and_rows_follow_their_tables() {
    let (site, worker) = begin().await;
    // To names with the same target, then to names with another one.
    site.up
        .exec(
            "USE shop; RENAME TABLE t1 TO t3; INSERT INTO t3 VALUES (3, 3); ALTER TABLE t3 ADD COLUMN c INT; INSERT INTO t3 VALUES (4, 4, 4); UPDATE t3 SET v = 9 WHERE id = 1; \
             ALTER TABLE t3 RENAME TO u3; INSERT INTO u3 VALUES (5, 5, 5)",
        )
        .await
        .unwrap();
    worker.crash().await;
    let worker = site.worker("w1");
    site.up
        .exec(
            "USE shop; INSERT INTO t2 VALUES (6, 6); RENAME TABLE t2 TO t4; INSERT INTO t4 VALUES (7, 7); ALTER TABLE t4 ADD COLUMN c INT; INSERT INTO t4 VALUES (8, 8, 8); \
             ALTER TABLE t4 RENAME TO u4; INSERT INTO u4 VALUES (9, 9, 9); DELETE FROM u4 WHERE id = 2",
        )
        .await
        .unwrap();
    let first = site.resolve(true).await;
    assert_eq!(first.ddls(), ["RENAME TABLE `merged`.`t` TO `merged`.`t`"]);
    let second = site.resolve(true).await;
    assert_eq!(
        second.ddls(),
        ["ALTER TABLE `merged`.`t` ADD COLUMN `c` INT"]
    );
    let third = site.resolve(true).await;
    assert_eq!(
        third.ddls(),
        ["ALTER TABLE `merged`.`t` RENAME TO `merged`.`u`"]
    );
    let merged = "SELECT * FROM shop.u3 UNION ALL SELECT * FROM shop.u4 ORDER BY 1";
    site.same_as(merged, "merged.u").await;
    site.up
        .exec("USE shop; ALTER TABLE u3 DROP COLUMN v; ALTER TABLE u4 DROP COLUMN v; INSERT INTO u4 VALUES (10, 10)")
        .await
        .unwrap();
    let info = site.resolve(true).await;
    assert_eq!((info.schema.as_str(), info.table.as_str()), ("merged", "u"));
    site.same_as(merged, "merged.u").await;
    let tables = site.down.query("SHOW TABLES FROM merged").await.unwrap();
    assert_eq!(tables.len(), 1, "{tables:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_out_of_the_task_is_an_error_that_names_it() {
    let (site, worker) = begin().await;
    site.up
        .exec("CREATE DATABASE other; RENAME TABLE shop.t1 TO other.t1")
        .await
        .unwrap();
    worker.await_stage(pb::Stage::Paused).await;
    let error = &worker.errors()[0];
    assert_eq!(error.err_code, 36068, "{error:?}");
    assert!(error.message.contains("RENAME TABLE"), "{error:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn online_changes_of_the_shards_are_one_ddl_of_their_group() {
    let (site, worker) = begin().await;
    worker.stop().await;
    let mut config = site.subtask("all", true);
    config.online_ddl = true;
    site.order(&config, Stage::Running).await;
    let worker = site.worker("w1");
    let change = |table: &str, copy: &str, trash: &str| {
        format!(
            "CREATE TABLE {copy} LIKE {table}; ALTER TABLE {copy} ADD COLUMN c INT DEFAULT 7; INSERT INTO {copy} (id, v) SELECT id, v FROM {table}; \
             RENAME TABLE {table} TO {trash}, {copy} TO {table}; DROP TABLE {trash}; UPDATE {table} SET c = 8; "
        )
    };
    let (gh_ost, pt) = (
        change("t1", "_t1_gho", "_t1_del"),
        change("t2", "_t2_new", "_t2_old"),
    );
    site.up
        .exec(&format!(
            "USE shop; {gh_ost} INSERT INTO t2 VALUES (4, 4); {pt}"
        ))
        .await
        .unwrap();
    let info = site.resolve(true).await;
    assert_eq!(
        info.ddls(),
        ["ALTER TABLE `merged`.`t` ADD COLUMN `c` INT DEFAULT 7"]
    );
    site.same_as(MERGED, "merged.t").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_paused_while_it_waits_reports_again_when_it_is_resumed() {
    let (site, worker) = begin().await;
    site.up
        .exec("USE shop; ALTER TABLE t1 ADD COLUMN c INT; ALTER TABLE t2 ADD COLUMN c INT; INSERT INTO t2 VALUES (5, 5, 5)")
        .await
        .unwrap();
    let info = site.await_info().await;
    let config = site.subtask("all", true);
    site.order(&config, Stage::Paused).await;
    worker.await_stage(pb::Stage::Paused).await;
    // The order comes while nobody waits for it.
    site.answer(&info, true).await;
    site.order(&config, Stage::Running).await;
    dm_testkit::wait_until(crate::harness::LIMIT, "the info is put again", || async {
        let kv = site.store.get(info.key().encode()).await.unwrap();
        kv.is_some_and(|kv| kv.version > 1)
    })
    .await
    .unwrap();
    site.answer(&info, true).await;
    site.await_done().await;
    site.same_as(MERGED, "merged.t").await;
    worker.stop().await;
}
