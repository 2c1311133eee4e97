//! Optimistic shard DDL: two tables of the source in one downstream table, and a test that plays the optimist.

use dm_keyspace::optimism::ConflictStage;
use dm_keyspace::{OpaqueJson, Stage};
use dm_proto::pb;
use dm_schema::lattice::Schema;
use dm_schema::table_info::TableInfo;
use dm_task::SubtaskConfig;
use dm_testkit::wait_until;

use worker_svc::binlog::position::Position;
use worker_svc::exceptions::Exception;

use crate::harness::{LIMIT, MERGED, Running, Site};
use crate::referee::info_key;

async fn begin() -> (Site, Running) {
    let site = Site::with_shards().await;
    let worker = site.run(&site.optimistic()).await;
    site.same_as(MERGED, "merged.t").await;
    (site, worker)
}

fn columns(json: &OpaqueJson) -> Vec<String> {
    let info = TableInfo::from_json(json.get()).unwrap();
    info.columns.into_iter().map(|c| c.name.original).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ddl_is_reported_with_its_structures_answered_executed_and_done() {
    let (site, worker) = begin().await;
    site.lists(&["merged.t<-shop.t1", "merged.t<-shop.t2"])
        .await;
    site.up
        .exec("USE shop; ALTER TABLE t1 ADD COLUMN c INT DEFAULT 7, ADD COLUMN d INT; INSERT INTO t1 VALUES (11, 1, 1, 1); INSERT INTO t2 VALUES (12, 1)")
        .await
        .unwrap();
    let info = site.reported("t1", 1).await;
    let ddls = [
        "ALTER TABLE `merged`.`t` ADD COLUMN `c` INT DEFAULT 7",
        "ALTER TABLE `merged`.`t` ADD COLUMN `d` INT",
    ];
    assert_eq!(info.ddls.as_deref(), Some(&ddls.map(str::to_owned)[..]));
    assert_eq!(
        (info.down_schema.as_str(), info.down_table.as_str()),
        ("merged", "t")
    );
    assert!(!info.ignore_conflict);
    assert_eq!(
        columns(info.table_info_before.as_ref().unwrap()),
        ["id", "v"]
    );
    let after: Vec<_> = info
        .table_info_after
        .iter()
        .flatten()
        .map(columns)
        .collect();
    assert_eq!(after, [vec!["id", "v", "c"], vec!["id", "v", "c", "d"]]);
    let figures = worker.cast.now().subtasks[0].board.read();
    assert_eq!(figures.blocking, ddls);
    assert_eq!(figures.lock, "t1-`merged`.`t`");
    site.accept(&info).await;
    // The table behind has rows without the columns.
    site.same_as(
        "SELECT * FROM shop.t1 UNION ALL SELECT t2.*, 7, NULL FROM shop.t2 ORDER BY 1",
        "merged.t",
    )
    .await;
    let row = "SELECT table_info FROM dm_meta.t1_syncer_checkpoint WHERE cp_table = 't1' AND is_global = 0";
    let written = site.down.query(row).await.unwrap()[0][0].clone().unwrap();
    let last = info.table_info_after.iter().flatten().next_back().unwrap();
    let schema = |json: &str| Schema::of(&TableInfo::from_json(json).unwrap());
    assert_eq!(schema(&written), schema(last.get()));
    // The other table is told to execute one of the two only.
    site.up
        .exec("USE shop; ALTER TABLE t2 ADD COLUMN d INT, ADD COLUMN c INT DEFAULT 7; INSERT INTO t2 (id, c, d) VALUES (13, 3, 3)")
        .await
        .unwrap();
    let info = site.reported("t2", 1).await;
    let one = info.ddls.iter().flatten().take(1).cloned().collect();
    site.tell(&info, ConflictStage::None, Some(one)).await;
    site.carried_out("t2").await;
    site.same_as(
        "SELECT id, v, c, d FROM shop.t1 UNION ALL SELECT id, v, c, d FROM shop.t2 ORDER BY 1",
        "merged.t",
    )
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_wait_are_left_out_and_read_again_when_redirected() {
    let (site, worker) = begin().await;
    site.up
        .exec(
            "USE shop; CREATE TABLE t3 LIKE t1; ALTER TABLE t1 RENAME COLUMN v TO w; INSERT INTO t1 VALUES (11, 1); ALTER TABLE t1 ADD COLUMN c INT; \
             INSERT INTO t1 VALUES (12, 2, 2); INSERT INTO t2 VALUES (21, 1); ALTER TABLE t2 RENAME COLUMN v TO w; INSERT INTO t2 VALUES (22, 2); INSERT INTO t3 VALUES (31, 1)",
        )
        .await
        .unwrap();
    let first = site.reported("t1", 1).await;
    site.tell(&first, ConflictStage::SkipWaitRedirect, Some(Vec::new()))
        .await;
    let second = site.reported("t2", 1).await;
    site.tell(&second, ConflictStage::SkipWaitRedirect, Some(Vec::new()))
        .await;
    site.ids(&["1", "2", "21", "31"]).await;
    let figures = worker.cast.now().subtasks[0].board.read();
    assert_eq!(figures.groups[0].unsynced, ["`shop`.`t1`", "`shop`.`t2`"]);
    worker.crash().await;
    let worker = site.worker("w1");
    // The third table does it at once; then the others are redirected, one after the other.
    site.up
        .exec("USE shop; ALTER TABLE t3 RENAME COLUMN v TO w; INSERT INTO t3 VALUES (32, 2)")
        .await
        .unwrap();
    let third = site.reported("t3", 1).await;
    site.redirect(&first).await;
    site.accept(&third).await;
    let again = site.reported("t1", 2).await;
    assert_eq!(again.ddls, first.ddls);
    assert_eq!(again.table_info_before, first.table_info_before);
    site.accept(&again).await;
    let added = site.reported("t1", 3).await;
    assert_eq!(
        columns(added.table_info_before.as_ref().unwrap()),
        ["id", "w"]
    );
    site.accept(&added).await;
    site.ids(&["1", "2", "11", "12", "21", "31", "32"]).await;
    site.redirect(&second).await;
    let again = site.reported("t2", 2).await;
    site.accept(&again).await;
    site.same_as(
        "SELECT * FROM shop.t1 UNION ALL SELECT t2.*, NULL FROM shop.t2 UNION ALL SELECT t3.*, NULL FROM shop.t3 ORDER BY 1",
        "merged.t",
    )
    .await;
    assert!(worker.cast.now().subtasks[0].board.read().groups.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_be_told_to_wait_again_while_it_is_read_again() {
    let (site, worker) = begin().await;
    site.up
        .exec(
            "USE shop; ALTER TABLE t1 MODIFY v VARCHAR(20); UPDATE t1 SET v = '2020-01-01'; INSERT INTO t1 VALUES (11, '2020-01-02'); \
             ALTER TABLE t1 MODIFY v DATE; INSERT INTO t1 VALUES (12, '2020-01-03'); INSERT INTO t2 VALUES (21, 1)",
        )
        .await
        .unwrap();
    let first = site.reported("t1", 1).await;
    site.tell(&first, ConflictStage::SkipWaitRedirect, Some(Vec::new()))
        .await;
    site.ids(&["1", "2", "21"]).await;
    site.redirect(&first).await;
    let again = site.reported("t1", 2).await;
    site.accept(&again).await;
    let second = site.reported("t1", 3).await;
    site.tell(&second, ConflictStage::SkipWaitRedirect, Some(Vec::new()))
        .await;
    site.ids(&["1", "2", "11", "21"]).await;
    worker.crash().await;
    let worker = site.worker("w1");
    site.redirect(&second).await;
    let again = site.reported("t1", 4).await;
    assert_eq!(again.ddls, second.ddls);
    // A crash in the middle of it, with the answer there, that nobody has heard.
    worker.crash().await;
    site.tell(&again, ConflictStage::None, Some(Vec::new()))
        .await;
    let worker = site.worker("w1");
    let again = site.reported("t1", 5).await;
    site.tell(&again, ConflictStage::None, Some(Vec::new()))
        .await;
    site.carried_out("t1").await;
    site.ids(&["1", "2", "11", "12", "21"]).await;
    let row = site
        .down
        .query("SELECT v FROM merged.t WHERE id = 12")
        .await
        .unwrap();
    assert_eq!(row[0][0].as_deref(), Some("2020-01-03"));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_in_every_phase_of_a_ddl_change_nothing() {
    let (site, worker) = begin().await;
    site.up
        .exec("USE shop; ALTER TABLE t1 ADD COLUMN c INT; INSERT INTO t1 VALUES (3, 3, 3)")
        .await
        .unwrap();
    let info = site.reported("t1", 1).await;
    worker.crash().await;
    // Answered while nobody listens: the worker reports again and must not take that for the answer.
    site.tell(&info, ConflictStage::None, info.ddls.clone())
        .await;
    let worker = site.worker("w1");
    let again = site.reported("t1", 2).await;
    assert_eq!(
        (&again.ddls, &again.table_info_after),
        (&info.ddls, &info.table_info_after)
    );
    // A done operation and a redirect of rounds before are no answers either.
    site.redirect(&again).await;
    site.accept(&again).await;
    worker.crash().await;
    // Done and crashed with the round still open: not reported a second time, and the rows are there once.
    let worker = site.worker("w1");
    site.up
        .exec("INSERT INTO shop.t2 VALUES (4, 4)")
        .await
        .unwrap();
    site.ids(&["1", "2", "3", "4"]).await;
    assert_eq!(site.kv(info_key("t1")).await.unwrap().version, 2);
    site.forget().await;
    site.up
        .exec("ALTER TABLE shop.t2 ADD COLUMN c INT")
        .await
        .unwrap();
    let info = site.reported("t2", 1).await;
    site.down
        .exec("ALTER TABLE merged.t ADD COLUMN d INT")
        .await
        .unwrap();
    site.accept(&info).await;
    site.down
        .exec("ALTER TABLE merged.t DROP COLUMN d")
        .await
        .unwrap();
    site.same_as(MERGED, "merged.t").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_shown_until_somebody_decides_and_a_pause_ends_the_wait() {
    let (site, worker) = begin().await;
    site.up
        .exec("USE shop; ALTER TABLE t1 ADD COLUMN note INT; INSERT INTO t1 VALUES (3, 3, 3)")
        .await
        .unwrap();
    let info = site.reported("t1", 1).await;
    site.tell(&info, ConflictStage::Detected, Some(Vec::new()))
        .await;
    let shown = || worker.cast.now().subtasks[0].board.read().conflict;
    let expected = ("s1-`shop`.`t1`".to_owned(), "they disagree".to_owned());
    wait_until(LIMIT, "the conflict is shown", || async {
        shown().as_ref() == Some(&expected)
    })
    .await
    .unwrap();
    site.order(&site.optimistic(), Stage::Paused).await;
    worker.await_stage(pb::Stage::Paused).await;
    site.order(&site.optimistic(), Stage::Running).await;
    let info = site.reported("t1", 2).await;
    site.tell(&info, ConflictStage::Detected, Some(Vec::new()))
        .await;
    site.down
        .exec("ALTER TABLE merged.t ADD COLUMN note VARCHAR(20)")
        .await
        .unwrap();
    site.tell(&info, ConflictStage::Unlocked, Some(Vec::new()))
        .await;
    site.carried_out("t1").await;
    site.same_as(
        "SELECT * FROM shop.t1 UNION ALL SELECT t2.*, NULL FROM shop.t2 ORDER BY 1",
        "merged.t",
    )
    .await;
    assert_eq!(shown(), None);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_and_in_strict_mode_every_conflict_pause_the_task() {
    let (site, worker) = begin().await;
    let strict = SubtaskConfig {
        strict_optimistic_shard_mode: true,
        ..site.optimistic()
    };
    site.up
        .exec("ALTER TABLE shop.t1 RENAME COLUMN v TO w")
        .await
        .unwrap();
    let info = site.reported("t1", 1).await;
    site.tell(&info, ConflictStage::Error, Some(Vec::new()))
        .await;
    worker.await_stage(pb::Stage::Paused).await;
    let error = &worker.errors()[0];
    assert_eq!(error.err_code, 36062);
    assert!(
        error.message.ends_with("conflict error: they disagree"),
        "{error:?}"
    );
    for (nth, stage) in [
        (2, ConflictStage::Detected),
        (3, ConflictStage::SkipWaitRedirect),
    ] {
        site.order(&strict, Stage::Running).await;
        let info = site.reported("t1", nth).await;
        site.tell(&info, stage, Some(Vec::new())).await;
        worker.await_stage(pb::Stage::Paused).await;
        assert_eq!(worker.errors()[0].err_code, 36062);
    }
    site.order(&site.optimistic(), Stage::Running).await;
    let info = site.reported("t1", 4).await;
    site.accept(&info).await;
    site.up
        .exec("USE shop; TRUNCATE TABLE t2; RENAME TABLE t2 TO u2")
        .await
        .unwrap();
    worker.await_stage(pb::Stage::Paused).await;
    assert_eq!(worker.errors()[0].err_code, 36068);
    site.ids(&["1", "2"]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_come_and_go_and_columns_are_dropped_by_some_first() {
    let (site, worker) = begin().await;
    site.up
        .exec("USE shop; CREATE TABLE t3 (id INT PRIMARY KEY, v INT); INSERT INTO t3 VALUES (31, 1); ALTER TABLE t3 DROP COLUMN v; INSERT INTO t3 VALUES (32)")
        .await
        .unwrap();
    let info = site.reported("t3", 1).await;
    assert_eq!(site.listed().await.len(), 3);
    let before = TableInfo::from_json(info.table_info_before.as_ref().unwrap().get()).unwrap();
    let row = "SELECT table_info FROM dm_meta.t1_syncer_checkpoint WHERE cp_table = 't1' AND is_global = 0";
    let loaded = site.down.query(row).await.unwrap()[0][0].clone().unwrap();
    // What was read from a CREATE TABLE is what was read from the server.
    assert_eq!(
        Schema::of(&before),
        Schema::of(&TableInfo::from_json(&loaded).unwrap())
    );
    site.tell(&info, ConflictStage::None, Some(Vec::new()))
        .await;
    site.carried_out("t3").await;
    site.ids(&["1", "2", "31", "32"]).await;
    // A table that waits and goes is forgotten.
    site.up
        .exec("USE shop; ALTER TABLE t2 RENAME COLUMN v TO w; INSERT INTO t2 VALUES (22, 2)")
        .await
        .unwrap();
    let info = site.reported("t2", 1).await;
    site.tell(&info, ConflictStage::SkipWaitRedirect, Some(Vec::new()))
        .await;
    site.up
        .exec("USE shop; DROP TABLE t2; INSERT INTO t3 VALUES (33)")
        .await
        .unwrap();
    site.lists(&["merged.t<-shop.t1", "merged.t<-shop.t3"])
        .await;
    site.ids(&["1", "2", "31", "32", "33"]).await;
    assert!(worker.cast.now().subtasks[0].board.read().groups.is_empty());
    site.redirect(&info).await;
    site.up
        .exec(
            "USE shop; CREATE TABLE t2 LIKE t1; INSERT INTO t2 VALUES (23, 3); DROP DATABASE shop",
        )
        .await
        .unwrap();
    site.lists(&[]).await;
    site.ids(&["1", "2", "23", "31", "32", "33"]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tool_changes_with_a_copy_is_there_when_a_table_is_read_again() {
    let (site, worker) = begin().await;
    let online = SubtaskConfig {
        online_ddl: true,
        ..site.optimistic()
    };
    site.order(&site.optimistic(), Stage::Paused).await;
    worker.await_stage(pb::Stage::Paused).await;
    site.order(&online, Stage::Running).await;
    site.up
        .exec(
            "USE shop; CREATE TABLE _t1_gho LIKE t1; ALTER TABLE _t1_gho RENAME COLUMN v TO w; INSERT INTO _t1_gho SELECT * FROM t1; \
             RENAME TABLE t1 TO _t1_del, _t1_gho TO t1; INSERT INTO t1 (id, w) VALUES (11, 1); \
             CREATE TABLE _t1_new LIKE t1; ALTER TABLE _t1_new ADD COLUMN c INT; INSERT INTO _t1_new (id, w) SELECT * FROM t1; \
             RENAME TABLE t1 TO _t1_old, _t1_new TO t1; INSERT INTO t1 VALUES (12, 2, 2); INSERT INTO t2 VALUES (21, 1)",
        )
        .await
        .unwrap();
    let first = site.reported("t1", 1).await;
    let renamed = ["ALTER TABLE `merged`.`t` RENAME COLUMN `v` TO `w`".to_owned()];
    assert_eq!(first.ddls.as_deref(), Some(&renamed[..]));
    site.tell(&first, ConflictStage::SkipWaitRedirect, Some(Vec::new()))
        .await;
    site.ids(&["1", "2", "21"]).await;
    worker.crash().await;
    let worker = site.worker("w1");
    site.redirect(&first).await;
    let again = site.reported("t1", 2).await;
    assert_eq!(again.ddls, first.ddls);
    site.accept(&again).await;
    let added = site.reported("t1", 3).await;
    assert_eq!(
        columns(added.table_info_before.as_ref().unwrap()),
        ["id", "w"]
    );
    site.accept(&added).await;
    site.same_as(
        "SELECT * FROM shop.t1 UNION ALL SELECT t2.*, NULL FROM shop.t2 ORDER BY 1",
        "merged.t",
    )
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_skipped_by_order_is_followed_all_the_same() {
    let (site, worker) = begin().await;
    let skip = async |place: Option<(Position, bool)>| {
        worker.await_stage(pb::Stage::Paused).await;
        let view = worker.cast.now().subtasks[0].clone();
        let failed = view.board.read().failed;
        assert_ne!(failed, place);
        let (at, is_statement) = failed.clone().unwrap();
        assert!(is_statement);
        view.exceptions.set(at, Exception::Skip);
        site.order(&site.optimistic(), Stage::Running).await;
        failed
    };
    site.up
        .exec("USE shop; ALTER TABLE t1 ADD COLUMN note INT; ALTER TABLE t1 DROP COLUMN note; ALTER TABLE t1 RENAME COLUMN v TO w; ALTER TABLE t1 ADD COLUMN c INT; ALTER TABLE t1 ADD COLUMN d INT")
        .await
        .unwrap();
    let info = site.reported("t1", 1).await;
    site.tell(&info, ConflictStage::Error, Some(Vec::new()))
        .await;
    let failed = skip(None).await;
    let info = site.reported("t1", 2).await;
    assert_eq!(
        columns(info.table_info_before.as_ref().unwrap()),
        ["id", "v", "note"]
    );
    site.accept(&info).await;
    // Also while the table is read again.
    let info = site.reported("t1", 3).await;
    let nothing = Some(Vec::new());
    site.tell(&info, ConflictStage::SkipWaitRedirect, nothing)
        .await;
    site.up
        .exec("INSERT INTO shop.t2 VALUES (5, 5)")
        .await
        .unwrap();
    site.ids(&["1", "2", "5"]).await;
    site.redirect(&info).await;
    let info = site.reported("t1", 4).await;
    site.accept(&info).await;
    let info = site.reported("t1", 5).await;
    site.tell(&info, ConflictStage::Error, Some(Vec::new()))
        .await;
    skip(failed).await;
    let info = site.reported("t1", 6).await;
    assert_eq!(
        columns(info.table_info_before.as_ref().unwrap()),
        ["id", "w", "c"]
    );
    site.accept(&info).await;
    worker.stop().await;
}
