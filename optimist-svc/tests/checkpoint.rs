//! Schemas that the downstream's checkpoint holds: read from a real MariaDB, also when it is late, or never answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/service.rs"]
mod service;

use dm_keyspace::SubtaskKey;
use dm_keyspace::optimism::{ConflictStage, SourceTables, SourceTablesKey, Tables};
use dm_proto::optimist::optimist_client::OptimistClient;
use dm_proto::optimist::{LockDetail, Phase};
use dm_proto::pb;
use dm_task::SubtaskConfig;
use dm_task::secret::SecretKey;
use dm_testkit::mariadb::{MariaDb, Options, USER};
use dm_testkit::memory::MemoryEtcd;
use dm_testkit::proxy::TcpProxy;
use dm_testkit::wait_for;
use tonic::transport::Channel;

use service::{LIMIT, info, json, operation_of, put_info, start};

const BEFORE: &str = "CREATE TABLE bar (id INT PRIMARY KEY)";
const WITH_DATE: &str = "CREATE TABLE bar (id INT PRIMARY KEY, c DATETIME)";
const WITH_TEXT: &str = "CREATE TABLE bar (id INT PRIMARY KEY, c TEXT)";
const ADD: &str = "ALTER TABLE `foo`.`bar` ADD COLUMN `c` DATETIME";

/// A MariaDB whose checkpoint of task `t1` says that the table of `s2` has a column already.
async fn downstream() -> MariaDb {
    let options = Options::sharing(env!("CARGO_TARGET_TMPDIR"), 1);
    let server = MariaDb::start_temp("downstream", options).await.unwrap();
    let structure = json(WITH_TEXT).replace('\\', "\\\\").replace('\'', "\\'");
    let sql = format!(
        "CREATE DATABASE dm_meta; \
         CREATE TABLE dm_meta.t1_syncer_checkpoint (id VARCHAR(32) NOT NULL, cp_schema VARCHAR(128) NOT NULL, \
         cp_table VARCHAR(128) NOT NULL, table_info JSON NOT NULL, is_global BOOLEAN, \
         UNIQUE KEY uk_id_schema_table (id, cp_schema, cp_table)); \
         INSERT INTO dm_meta.t1_syncer_checkpoint VALUES ('s2', '', '', 'null', 1), ('s2', 'foo', 'bar', '{structure}', 0)"
    );
    server.exec(&sql).await.unwrap();
    server
}

/// A task on two sources, each with one table, and its downstream at a port.
fn put_task(etcd: &MemoryEtcd, port: u16, password: &str) {
    for source in ["s1", "s2"] {
        let mut config = SubtaskConfig {
            name: "t1".to_owned(),
            source_id: source.to_owned(),
            mode: "all".to_owned(),
            shard_mode: "optimistic".to_owned(),
            meta_schema: "dm_meta".to_owned(),
            ..SubtaskConfig::default()
        };
        config.to.host = "127.0.0.1".to_owned();
        config.to.port = port.into();
        config.to.user = USER.to_owned();
        config.to.password = password.into();
        let key = SubtaskKey {
            source: source.into(),
            task: "t1".into(),
        };
        etcd.put(key.encode(), config.to_toml().unwrap());
        let upstream = [("foo".to_owned(), ["bar".to_owned()].into())].into();
        let tables: Tables = [("foo".to_owned(), [("bar".to_owned(), upstream)].into())].into();
        let record = SourceTables {
            task: "t1".into(),
            source: source.into(),
            tables: Some(tables),
            ..SourceTables::default()
        };
        let key = SourceTablesKey {
            task: "t1".into(),
            source: source.into(),
        };
        etcd.put(key.encode(), record.to_bytes());
    }
}

/// The lock of the task, once it says what is awaited.
async fn shown(client: &OptimistClient<Channel>, reason: &str) -> LockDetail {
    let show = || async {
        let request = pb::ShowDdlLocksRequest::default();
        let shown = client.clone().show_ddl_locks(request).await.unwrap();
        let mut details = shown.into_inner().details.into_iter();
        details.find(|detail| detail.reasons.iter().any(|why| why.contains(reason)))
    };
    wait_for(LIMIT, reason, show).await.unwrap()
}

/// One source of the task reports. Its statement contradicts what the checkpoint says of the other.
fn report(etcd: &MemoryEtcd) {
    put_info(etcd, &info("s1", ADD, BEFORE, WITH_DATE));
}

/// A task without a downstream goes on, whatever another waits for.
async fn another_task_is_answered(etcd: &MemoryEtcd) {
    let mut other = info("s9", ADD, BEFORE, WITH_DATE);
    other.task = "t2".into();
    put_info(etcd, &other);
    let answer = operation_of(etcd, "s9", ConflictStage::None).await;
    assert_eq!(answer.ddls, Some(vec![ADD.to_owned()]));
}

#[tokio::test]
async fn table_that_has_not_reported_has_the_schema_of_its_checkpoint() {
    let server = downstream().await;
    let etcd = MemoryEtcd::start().await.unwrap();
    let key = "2f".repeat(32);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, &key).unwrap();
    let encrypted = SecretKey::from_hex(&key)
        .unwrap()
        .encrypt([7; 16], server.password());
    put_task(&etcd, server.port(), &encrypted);
    let flags = ["--secret-key-path", path.to_str().unwrap()];
    let (client, _running) = start(&etcd, &flags).await;
    report(&etcd);
    let refused = operation_of(&etcd, "s1", ConflictStage::Detected).await;
    assert!(
        refused.conflict_message.starts_with("[code=11111:"),
        "{}",
        refused.conflict_message
    );
    let detail = shown(&client, "Refused to s1").await;
    let other = detail.tables.iter().find(|table| table.source == "s2");
    assert!(
        other.is_some_and(|table| table.structure.to_lowercase().contains("`c` text")),
        "{detail:?}"
    );
}

#[tokio::test]
async fn info_waits_for_a_checkpoint_that_cannot_be_reached_and_nothing_else_does() {
    let server = downstream().await;
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", server.port()))
        .await
        .unwrap();
    proxy.refuse(true);
    let etcd = MemoryEtcd::start().await.unwrap();
    put_task(&etcd, proxy.port(), server.password());
    let (client, _running) = start(&etcd, &["--checkpoint-wait", "10m"]).await;
    report(&etcd);
    let detail = shown(&client, "The checkpoint could not be read yet").await;
    assert_eq!(detail.phase(), Phase::Diverged);
    assert!(
        detail.reasons[0].contains("The schemas of 1 tables are being read"),
        "{:?}",
        detail.reasons
    );
    let said = format!("{detail:?}");
    assert!(!said.contains(server.password()), "{said}");
    another_task_is_answered(&etcd).await;
    proxy.refuse(false);
    operation_of(&etcd, "s1", ConflictStage::Detected).await;
}

#[tokio::test]
async fn checkpoint_that_never_answers_is_given_up_after_a_time() {
    let server = downstream().await;
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", server.port()))
        .await
        .unwrap();
    proxy.black_hole_both();
    let etcd = MemoryEtcd::start().await.unwrap();
    put_task(&etcd, proxy.port(), server.password());
    let flags = ["--checkpoint-timeout", "100ms", "--checkpoint-wait", "3s"];
    let (client, _running) = start(&etcd, &flags).await;
    report(&etcd);
    shown(&client, "within 100ms").await;
    another_task_is_answered(&etcd).await;
    // What the checkpoint says does not count any more: nothing contradicts the statement.
    let answer = operation_of(&etcd, "s1", ConflictStage::None).await;
    assert_eq!(answer.ddls, Some(vec![ADD.to_owned()]));
}

#[tokio::test]
async fn task_that_has_no_checkpoint_yet_does_not_wait() {
    let server = downstream().await;
    server.exec("DROP DATABASE dm_meta").await.unwrap();
    let etcd = MemoryEtcd::start().await.unwrap();
    put_task(&etcd, server.port(), server.password());
    let (_client, _running) = start(&etcd, &["--checkpoint-wait", "10m"]).await;
    report(&etcd);
    operation_of(&etcd, "s1", ConflictStage::None).await;
}
