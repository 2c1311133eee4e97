//! Bounds, stages, leases: who may work when.

use dm_keyspace::{KeepAliveKey, Stage};
use dm_proto::pb;
use dm_testkit::wait_until;
use mysql_async::prelude::Queryable;

use crate::harness::{LIMIT, SOURCE, Site, TASK};

async fn begin() -> Site {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY); INSERT INTO shop.a VALUES (1)",
    )
    .await;
    site.order(&site.subtask("all", false), Stage::Running)
        .await;
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subtask_pauses_resumes_and_ends_as_its_stage_says() {
    let site = begin().await;
    let config = site.subtask("all", false);
    let worker = site.worker("w1");
    site.bind("w1").await;
    site.same("shop.a").await;
    site.order(&config, Stage::Paused).await;
    worker.await_stage(pb::Stage::Paused).await;
    site.up.exec("INSERT INTO shop.a VALUES (2)").await.unwrap();
    site.order(&config, Stage::Running).await;
    site.same("shop.a").await;
    // The same bound again, as after a change of leader, changes nothing.
    let before = worker.cast.now().subtasks[0].board.read().started;
    site.bind("w1").await;
    site.up.exec("INSERT INTO shop.a VALUES (3)").await.unwrap();
    site.same("shop.a").await;
    assert_eq!(worker.cast.now().subtasks[0].board.read().started, before);
    site.stop_task().await;
    wait_until(LIMIT, "the subtask is gone", || async {
        worker.cast.now().subtasks.is_empty()
    })
    .await
    .unwrap();
    site.unbind("w1").await;
    wait_until(LIMIT, "the source is gone", || async {
        worker.cast.now().source.is_none()
    })
    .await
    .unwrap();
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_goes_on_at_another_worker_where_the_first_one_stopped() {
    let site = begin().await;
    site.bind("w1").await;
    let first = site.worker("w1");
    let second = site.worker("w2");
    site.same("shop.a").await;
    first.crash().await;
    site.up
        .exec("INSERT INTO shop.a VALUES (2), (3)")
        .await
        .unwrap();
    site.unbind("w1").await;
    site.bind("w2").await;
    site.same("shop.a").await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_replaced_without_noticing_cannot_write() {
    let site = begin().await;
    site.bind("w1").await;
    let first = site.worker("w1");
    site.same("shop.a").await;
    // The first one is not told: its bound stays. The second has a later one.
    site.bind("w2").await;
    let second = site.worker("w2");
    second.await_stage(pb::Stage::Running).await;
    wait_until(LIMIT, "the first is shut out", || async {
        site.up
            .exec("INSERT INTO shop.a SELECT MAX(id) + 1 FROM shop.a")
            .await
            .unwrap();
        let errors = first.errors();
        errors.iter().any(|e| e.message.contains("taken over"))
    })
    .await
    .unwrap();
    assert_eq!(first.stage(), Some(pb::Stage::Paused));
    site.same("shop.a").await;
    first.stop().await;
    second.stop().await;
}

/// As when a process is stopped, or its machine is gone without a word: the server keeps its connection and the locks.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_a_hung_worker_left_open_is_ended_by_its_successor() {
    let site = begin().await;
    site.bind("w1").await;
    let first = site.worker("w1");
    site.same("shop.a").await;
    first.crash().await;
    // In the place of the crashed one, whose connection has ended, one that hangs within a transaction.
    let config = site.subtask("all", false);
    let hung = worker_svc::downstream::connection::writer(&config.to);
    let mut hung = hung.await.unwrap();
    let records = worker_svc::downstream::meta::Records::new(&config.meta_schema, TASK, SOURCE);
    let bound = site.bind("w1").await;
    let epoch = records.claim(&mut hung, bound).await.unwrap();
    hung.query_drop("BEGIN").await.unwrap();
    let fence: Option<String> = hung.query_first(records.fence()).await.unwrap();
    assert_eq!(fence, Some(epoch));
    hung.query_drop("UPDATE shop.a SET id = 100 WHERE id = 1")
        .await
        .unwrap();

    site.up
        .exec("UPDATE shop.a SET id = 2; INSERT INTO shop.a VALUES (3)")
        .await
        .unwrap();
    site.unbind("w1").await;
    site.bind("w2").await;
    let second = site.worker("w2");
    site.same("shop.a").await;
    assert!(
        hung.query_drop("COMMIT").await.is_err(),
        "the hung one can still write"
    );
    // One with an older bound ends nobody.
    let mut late = worker_svc::downstream::connection::writer(&config.to)
        .await
        .unwrap();
    assert!(records.claim(&mut late, bound).await.is_err());
    site.up.exec("INSERT INTO shop.a VALUES (4)").await.unwrap();
    site.same("shop.a").await;
    assert_eq!(second.stage(), Some(pb::Stage::Running));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_stops_everything_and_a_new_session_begins_anew() {
    let site = begin().await;
    site.bind("w1").await;
    let worker = site.worker("w1");
    site.same("shop.a").await;
    let key = KeepAliveKey {
        worker: "w1".into(),
    }
    .encode();
    let alive = site.store.get(key.clone()).await.unwrap().unwrap();
    site.store.revoke(alive.lease).await.unwrap();
    wait_until(LIMIT, "the worker has dropped its source", || async {
        worker.cast.now().source.is_none()
    })
    .await
    .unwrap();
    wait_until(LIMIT, "the worker is alive again", || async {
        site.store
            .get(key.clone())
            .await
            .unwrap()
            .is_some_and(|kv| kv.lease != alive.lease)
    })
    .await
    .unwrap();
    site.up.exec("INSERT INTO shop.a VALUES (2)").await.unwrap();
    site.same("shop.a").await;
    worker.stop().await;
    assert_eq!(
        site.store.get(key).await.unwrap(),
        None,
        "the lease was given back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_cut_off_from_etcd_stops_by_its_own_clock() {
    let mut site = begin().await;
    site.bind("w1").await;
    let worker = site.worker("w1");
    site.same("shop.a").await;
    site.etcd.process().pause().unwrap();
    wait_until(LIMIT, "the worker has dropped its source", || async {
        worker.cast.now().source.is_none()
    })
    .await
    .unwrap();
    site.etcd.process().resume().unwrap();
    site.up.exec("INSERT INTO shop.a VALUES (2)").await.unwrap();
    site.same("shop.a").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_worker_does_not_do_is_an_error_of_the_subtask() {
    let site = begin().await;
    let mut config = site.subtask("all", false);
    config.shard_mode = "hopeful".to_owned();
    site.order(&config, Stage::Running).await;
    site.bind("w1").await;
    let worker = site.worker("w1");
    worker.await_stage(pb::Stage::Paused).await;
    assert_eq!(worker.errors()[0].err_code, 20033);
    assert!(worker.errors()[0].workaround.contains("pessimistic"));
    worker.stop().await;
}

/// A shard DDL may wait for the other sources longer than servers let a connection be idle.
#[tokio::test(flavor = "multi_thread")]
async fn the_connection_that_writes_outlives_the_patience_of_the_server() {
    let site = begin().await;
    site.down.exec("SET GLOBAL wait_timeout = 1").await.unwrap();
    let config = site.subtask("all", false);
    let writer = worker_svc::downstream::connection::writer(&config.to);
    let mut writer = writer.await.unwrap();
    let patience: Option<u64> = writer.query_first("SELECT @@wait_timeout").await.unwrap();
    assert!(patience > Some(24 * 3600), "{patience:?} s");
}
