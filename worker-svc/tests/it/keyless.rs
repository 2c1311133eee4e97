//! Rows of tables without a primary key: the right one is changed, also when another source has changed the downstream table a moment ago.

use std::collections::BTreeMap;

use dm_task::DbConfig;
use dm_testkit::wait_until;
use mysql_async::prelude::Queryable;
use worker_svc::downstream::connection;
use worker_svc::downstream::meta::Records;
use worker_svc::downstream::statement::Statement;
use worker_svc::downstream::writer::Writer;
use worker_svc::error::Error;
use worker_svc::names::TableName;
use worker_svc::permit;

use crate::harness::{LIMIT, Running, SOURCE, Site, TASK, login};

/// One shard, whose downstream table has a row of another source in front of this one's.
async fn begin(columns: &str, theirs: &str, ours: &str) -> (Site, Running) {
    let site = Site::start().await;
    let down = format!(
        "CREATE DATABASE merged; CREATE TABLE merged.t ({columns}); INSERT INTO merged.t VALUES ({theirs})"
    );
    site.down.exec(&down).await.unwrap();
    let up = format!(
        "CREATE DATABASE shop; CREATE TABLE shop.t1 ({columns}); INSERT INTO shop.t1 VALUES ({ours})"
    );
    site.up.exec(&up).await.unwrap();
    let mut config = site.optimistic();
    config.to.session = Some(impatient());
    let worker = site.run(&config).await;
    (site, worker)
}

async fn holds(site: &Site, expected: &[&[&str]]) {
    let held = || async {
        let rows = site.down.query("SELECT * FROM merged.t").await.unwrap();
        let text = |row: Vec<Option<String>>| row.into_iter().flatten().collect::<Vec<_>>();
        rows.into_iter().map(text).collect::<Vec<_>>()
    };
    let found = wait_until(LIMIT, "rows of the downstream", || async {
        held().await == expected
    })
    .await;
    assert!(found.is_ok(), "{:?} instead of {expected:?}", held().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_another_source_has_just_dropped_finds_no_row_any_more() {
    let (site, worker) = begin("id INT, b INT, UNIQUE KEY u (b)", "90, 90", "1, 1").await;
    holds(&site, &[&["90", "90"], &["1", "1"]]).await;
    site.up.exec("UPDATE shop.t1 SET id = 2").await.unwrap();
    holds(&site, &[&["90", "90"], &["2", "1"]]).await;
    site.down
        .exec("ALTER TABLE merged.t DROP INDEX u; UPDATE merged.t SET b = 1 WHERE id = 90")
        .await
        .unwrap();
    site.up
        .exec("UPDATE shop.t1 SET id = 3; DELETE FROM shop.t1 WHERE id = 3")
        .await
        .unwrap();
    holds(&site, &[&["90", "1"]]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rows_that_compare_as_equal_the_one_with_the_same_letters_is_changed() {
    let (site, worker) = begin("v VARCHAR(9) COLLATE utf8mb4_general_ci", "'A'", "'a'").await;
    holds(&site, &[&["A"], &["a"]]).await;
    site.up.exec("UPDATE shop.t1 SET v = 'b'").await.unwrap();
    holds(&site, &[&["A"], &["b"]]).await;
    site.up
        .exec("UPDATE shop.t1 SET v = 'ä'; UPDATE shop.t1 SET v = 'Á'; DELETE FROM shop.t1")
        .await
        .unwrap();
    holds(&site, &[&["A"]]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_values_in_columns_that_this_source_lacks_is_another_source_s() {
    let (site, worker) = begin("id INT, v INT", "1, 1", "1, 1").await;
    holds(&site, &[&["1", "1"], &["1", "1"]]).await;
    // The other source has added columns and filled them.
    site.down
        .exec("ALTER TABLE merged.t ADD COLUMN c INT, ADD COLUMN d INT DEFAULT 7; UPDATE merged.t SET c = 5, d = 5 LIMIT 1")
        .await
        .unwrap();
    site.up.exec("UPDATE shop.t1 SET v = 2").await.unwrap();
    holds(&site, &[&["1", "1", "5", "5"], &["1", "2", "7"]]).await;
    site.down
        .exec("UPDATE merged.t SET v = 2 LIMIT 1")
        .await
        .unwrap();
    site.up.exec("DELETE FROM shop.t1").await.unwrap();
    holds(&site, &[&["1", "2", "5", "5"]]).await;
    worker.stop().await;
}

/// Patience with locks that ends soon.
fn impatient() -> BTreeMap<String, String> {
    BTreeMap::from([("innodb_lock_wait_timeout".to_owned(), "1".to_owned())])
}

async fn writer(site: &Site) -> Writer {
    let config = DbConfig {
        session: Some(impatient()),
        ..login(&site.down)
    };
    let mut conn = connection::writer(&config).await.unwrap();
    let records = Records::new("dm_meta", TASK, SOURCE);
    records.create(&mut conn).await.unwrap();
    let epoch = records.claim(&mut conn, 1).await.unwrap();
    Writer::new(conn, records, epoch, permit::unlimited())
}

fn statement(sql: &str) -> Statement {
    Statement {
        head: sql.to_owned(),
        tuple: None,
    }
}

/// Another source drops the key, in a task of its own; answers when the server has got the statement and lets it wait, or has let it through.
async fn drop_key_meanwhile(site: &Site) -> tokio::task::JoinHandle<()> {
    let mut conn = site.down.connect().await.unwrap();
    let dropping = tokio::spawn(async move {
        conn.query_drop("ALTER TABLE merged.t DROP INDEX u")
            .await
            .unwrap();
    });
    let waiting = "SELECT id FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table metadata lock%'";
    wait_until(LIMIT, "the ALTER waits", || async {
        dropping.is_finished() || !site.down.query(waiting).await.unwrap().is_empty()
    })
    .await
    .unwrap();
    dropping
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_repeated_is_made_anew_for_a_table_that_has_changed_meanwhile() {
    let (site, worker) = begin("id INT, b INT, UNIQUE KEY u (b)", "90, 90", "1, 1").await;
    holds(&site, &[&["90", "90"], &["1", "1"]]).await;
    worker.await_replication().await;
    // The position cannot be written, so each transaction is undone after its rows.
    let mut blocker = site.down.connect().await.unwrap();
    let lock = "BEGIN; SELECT * FROM dm_meta.t1_syncer_checkpoint FOR UPDATE";
    blocker.query_drop(lock).await.unwrap();
    site.up.exec("UPDATE shop.t1 SET id = 2").await.unwrap();
    let waits = "SELECT id FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT INTO `dm_meta`.`t1_syncer_checkpoint`%'";
    wait_until(LIMIT, "the worker waits", || async {
        !site.down.query(waits).await.unwrap().is_empty()
    })
    .await
    .unwrap();
    drop_key_meanwhile(&site).await.await.unwrap();
    site.down
        .exec("UPDATE merged.t SET b = 1 WHERE id = 90")
        .await
        .unwrap();
    drop(blocker);
    holds(&site, &[&["90", "1"], &["2", "1"]]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_stays_as_it_is_for_as_long_as_the_transaction_lasts() {
    let site = Site::start().await;
    site.down
        .exec("CREATE DATABASE merged; CREATE TABLE merged.t (b INT, UNIQUE KEY u (b)); INSERT INTO merged.t VALUES (1); CREATE TABLE merged.u (id INT PRIMARY KEY); INSERT INTO merged.u VALUES (1)")
        .await
        .unwrap();
    let mut writer = writer(&site).await;
    let table = TableName::new("merged", "t");
    let keys = async |writer: &mut Writer| {
        let target = writer.hold_still(&table).await.unwrap();
        target.structure.keys.len()
    };
    assert_eq!(keys(&mut writer).await, 1);
    let dropping = drop_key_meanwhile(&site).await;
    assert_eq!(keys(&mut writer).await, 1);
    // What is written after that does not wait for the one who waits for it.
    let change = statement("UPDATE merged.t SET b = 2 WHERE b = 1 LIMIT 1");
    writer.add([change]).await.unwrap();
    writer.commit(Vec::new()).await.unwrap();
    assert_eq!(
        site.down.query("SELECT b FROM merged.t").await.unwrap()[0][0].as_deref(),
        Some("2")
    );
    dropping.await.unwrap();
    assert_eq!(keys(&mut writer).await, 0);
    writer.commit(Vec::new()).await.unwrap();

    // A transaction that is undone and repeated lets the other source in between.
    site.down
        .exec("ALTER TABLE merged.t ADD UNIQUE KEY u (b)")
        .await
        .unwrap();
    assert_eq!(keys(&mut writer).await, 1);
    let dropping = drop_key_meanwhile(&site).await;
    let mut blocker = site.down.connect().await.unwrap();
    let lock = "BEGIN; SELECT * FROM merged.u FOR UPDATE";
    blocker.query_drop(lock).await.unwrap();
    let delete = statement("DELETE FROM merged.u WHERE id = 1");
    writer.add([delete]).await.unwrap();
    let outcome = writer.commit(Vec::new()).await;
    assert!(
        matches!(&outcome, Err(Error::Outdated { table: t }) if *t == table),
        "{outcome:?}"
    );
    dropping.await.unwrap();
}
