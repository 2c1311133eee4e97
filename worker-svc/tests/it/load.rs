//! The full load, also when it is interrupted.

use dm_proto::pb;
use dm_testkit::wait_until;
use mysql_async::prelude::Queryable;

use crate::harness::{LIMIT, Site};

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_was_interrupted_leaves_no_trace_of_the_first_attempt() {
    let site = Site::with(
        "CREATE DATABASE shop; USE shop; CREATE TABLE shop.big (id INT PRIMARY KEY, v VARCHAR(100)); INSERT INTO shop.big SELECT seq, REPEAT('x', 100) FROM seq_1_to_60000; \
         CREATE TABLE shop.a_keyless (v INT); INSERT INTO shop.a_keyless SELECT seq % 7 FROM seq_1_to_500",
    )
    .await;
    // Somebody else is about to write a row in the middle: the load comes as far as that.
    site.down
        .exec("CREATE DATABASE shop; CREATE TABLE shop.big (id INT PRIMARY KEY, v VARCHAR(100))")
        .await
        .unwrap();
    let mut other = site.down.connect().await.unwrap();
    other
        .query_drop("BEGIN; INSERT INTO shop.big VALUES (30000, 'in the way')")
        .await
        .unwrap();
    let worker = site.run(&site.subtask("all", false)).await;
    wait_until(LIMIT, "some rows are loaded", || async {
        let count = site
            .down
            .query("SELECT COUNT(*) > 1000 FROM shop.big")
            .await;
        count.is_ok_and(|c| c[0][0].as_deref() == Some("1"))
    })
    .await
    .unwrap();
    worker.crash().await;
    other.query_drop("ROLLBACK").await.unwrap();
    site.up
        .exec("DELETE FROM shop.big WHERE id < 600; UPDATE shop.big SET v = 'new' WHERE id % 100 = 0; UPDATE shop.big SET id = id + 100000 WHERE id BETWEEN 700 AND 720; INSERT INTO shop.a_keyless VALUES (99)")
        .await
        .unwrap();
    let worker = site.worker("w1");
    site.same("shop.big").await;
    site.same_as("SELECT * FROM shop.a_keyless ORDER BY 1", "shop.a_keyless")
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_task_finishes_and_stays_finished() {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY); INSERT INTO shop.a VALUES (1), (2)",
    )
    .await;
    let worker = site.run(&site.subtask("full", false)).await;
    worker.await_stage(pb::Stage::Finished).await;
    site.same("shop.a").await;
    worker.stop().await;
    site.up.exec("INSERT INTO shop.a VALUES (3)").await.unwrap();
    let worker = site.worker("w1");
    worker.await_stage(pb::Stage::Finished).await;
    let rows = site.down.query("SELECT * FROM shop.a").await.unwrap();
    assert_eq!(rows.len(), 2, "the second start loaded again");
    worker.stop().await;
}
