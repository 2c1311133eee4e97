//! Orders for single statements: `binlog skip`, `replace`, `inject`, `revert`, `list`.

use dm_proto::pb;
use dm_proto::pb::worker_server::Worker as _;
use worker_svc::api::Api;

use crate::harness::{LIMIT, Running, Site, TASK};

async fn handle(worker: &Running, op: pb::ErrorOp, at: &str, sqls: &[&str]) -> (bool, String) {
    let api = Api::new("w1".to_owned(), String::new(), worker.cast.clone());
    let request = pb::HandleWorkerErrorRequest {
        op: op.into(),
        task: TASK.to_owned(),
        binlog_pos: at.to_owned(),
        sqls: sqls.iter().map(|sql| (*sql).to_owned()).collect(),
    };
    let answer = api.handle_error(tonic::Request::new(request)).await;
    let answer = answer.unwrap().into_inner();
    (answer.result, answer.msg)
}

async fn end_of_log(site: &Site) -> String {
    let status = site.up.query("SHOW MASTER STATUS").await.unwrap();
    format!(
        "{}:{}",
        status[0][0].as_deref().unwrap(),
        status[0][1].as_deref().unwrap()
    )
}

async fn begin(sharded: bool) -> (Site, Running) {
    let site = Site::with_shards().await;
    let worker = site.run(&site.subtask("all", sharded)).await;
    worker.await_replication().await;
    (site, worker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_can_be_skipped_or_replaced() {
    let (site, worker) = begin(false).await;
    site.same("shop.t1").await;
    let (done, text) = handle(&worker, pb::ErrorOp::Skip, "", &[]).await;
    assert!(!done && text.contains("source 's1' has no error"), "{text}");
    // Twice the same value downstream, so no unique index is possible.
    site.down
        .exec("INSERT INTO shop.t1 VALUES (90, 1)")
        .await
        .unwrap();
    site.up
        .exec("ALTER TABLE shop.t1 ADD UNIQUE INDEX u (v); UPDATE shop.t1 SET v = 5; ALTER TABLE shop.t1 ADD UNIQUE INDEX w (v); INSERT INTO shop.t1 VALUES (3, 3)")
        .await
        .unwrap();
    worker.await_stage(pb::Stage::Paused).await;
    assert_eq!(
        handle(&worker, pb::ErrorOp::Skip, "", &[]).await,
        (true, String::new())
    );
    site.same_as("SELECT 5 v", "(SELECT v FROM shop.t1 WHERE id = 1) s")
        .await;
    // The second one would be possible now.
    let indexes = "SHOW INDEX FROM shop.t1 WHERE Key_name IN ('u', 'w')";
    site.same_as("SELECT 3 id, 3 v", "(SELECT * FROM shop.t1 WHERE id = 3) s")
        .await;
    assert_eq!(site.down.query(indexes).await.unwrap().len(), 1);

    site.down
        .exec("INSERT INTO shop.t2 VALUES (91, 2)")
        .await
        .unwrap();
    site.up
        .exec("ALTER TABLE shop.t2 ADD UNIQUE INDEX u (v); INSERT INTO shop.t2 VALUES (4, 4)")
        .await
        .unwrap();
    worker.await_stage(pb::Stage::Paused).await;
    let (done, text) = handle(
        &worker,
        pb::ErrorOp::Replace,
        "",
        &["ALTER TABLE t2 ADD INDEX u (v)"],
    )
    .await;
    assert!(!done && text.contains("code=36024"), "{text}");
    let (done, text) = handle(
        &worker,
        pb::ErrorOp::Replace,
        "",
        &["ALTER TABLE shop.t2 ADD INDEX u (v)"],
    )
    .await;
    assert!(done, "{text}");
    site.same_as("SELECT 4 id, 4 v", "(SELECT * FROM shop.t2 WHERE id = 4) s")
        .await;
    let key = site
        .down
        .query("SHOW INDEX FROM shop.t2 WHERE Key_name = 'u'")
        .await
        .unwrap();
    assert_eq!(key[0][1].as_deref(), Some("1"), "{key:?}");
    let (_, left) = handle(&worker, pb::ErrorOp::List, "", &[]).await;
    assert_eq!(left, "[]", "what is done with is forgotten");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_for_a_place_to_come_are_kept_listed_taken_back_and_followed() {
    let (site, worker) = begin(false).await;
    site.same("shop.t2").await;
    let far = "mysql-bin.999999:4";
    assert!(handle(&worker, pb::ErrorOp::Skip, far, &[]).await.0);
    let (_, all) = handle(&worker, pb::ErrorOp::List, "", &[]).await;
    assert_eq!(
        all,
        format!(r#"[{{"op":1,"task":"t1","binlogPos":"{far}"}}]"#)
    );
    assert!(handle(&worker, pb::ErrorOp::Revert, far, &[]).await.0);
    let (done, text) = handle(&worker, pb::ErrorOp::Revert, far, &[]).await;
    assert!(!done && text.contains("code=36065"), "{text}");
    let (done, text) = handle(&worker, pb::ErrorOp::Skip, "nowhere", &[]).await;
    assert!(!done && text.contains("nowhere"), "{text}");

    // The statement that comes next begins behind the head of its group.
    site.up
        .exec("FLUSH BINARY LOGS; ALTER TABLE shop.t1 ADD COLUMN c INT")
        .await
        .unwrap();
    site.same("shop.t1").await;
    let here = end_of_log(&site).await;
    let (file, at) = here.split_once(':').unwrap();
    let events = format!("SHOW BINLOG EVENTS IN '{file}'");
    let events = site.up.query(&events).await.unwrap();
    let head = events
        .iter()
        .find(|e| e[2].as_deref() == Some("Gtid"))
        .unwrap();
    let length: u64 = head[4].as_deref().unwrap().parse::<u64>().unwrap()
        - head[1].as_deref().unwrap().parse::<u64>().unwrap();
    let next = at.parse::<u64>().unwrap() + length;
    let sql = ["ALTER TABLE shop.t1 ADD COLUMN d INT DEFAULT 7"];
    let next = format!("{file}:{next}");
    let (done, text) = handle(&worker, pb::ErrorOp::Inject, &next, &sql).await;
    assert!(done, "{text}");
    site.up
        .exec("ALTER TABLE shop.t1 ADD COLUMN e INT DEFAULT 8")
        .await
        .unwrap();
    site.same_as(
        "SELECT 7 d, 8 e",
        "(SELECT d, e FROM shop.t1 WHERE id = 1) s",
    )
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_ddl_that_fails_can_be_skipped_or_replaced_by_its_owner() {
    let (site, worker) = begin(true).await;
    site.same_as(
        "SELECT * FROM shop.t1 UNION SELECT * FROM shop.t2 ORDER BY 1",
        "merged.t",
    )
    .await;
    site.down
        .exec("INSERT INTO merged.t VALUES (90, 1)")
        .await
        .unwrap();
    for (index, op, sqls) in [
        ("u", pb::ErrorOp::Skip, &[][..]),
        (
            "w",
            pb::ErrorOp::Replace,
            &["ALTER TABLE shop.t1 ADD INDEX w (v)"][..],
        ),
    ] {
        let ddl = format!(
            "ALTER TABLE shop.t1 ADD UNIQUE INDEX {index} (v); ALTER TABLE shop.t2 ADD UNIQUE INDEX {index} (v)"
        );
        site.up.exec(&ddl).await.unwrap();
        let info = site.await_info().await;
        let version = site
            .store
            .get(info.key().encode())
            .await
            .unwrap()
            .unwrap()
            .version;
        site.answer(&info, true).await;
        worker.await_stage(pb::Stage::Paused).await;
        let (done, text) = handle(&worker, op, "", sqls).await;
        assert!(done, "{text}");
        dm_testkit::wait_until(LIMIT, "the info is put again", || async {
            let kv = site.store.get(info.key().encode()).await.unwrap();
            kv.is_some_and(|kv| kv.version > version)
        })
        .await
        .unwrap();
        site.answer(&info, true).await;
        site.await_done().await;
        site.end_round().await;
    }
    let keys = "SHOW INDEX FROM merged.t WHERE Key_name IN ('u', 'w')";
    let keys = site.down.query(keys).await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!(keys[0][1].as_deref(), Some("1"), "not unique: {keys:?}");
    worker.stop().await;
}
