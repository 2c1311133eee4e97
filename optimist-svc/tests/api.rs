//! The service as its callers see it: real gRPC, a real replica, an etcd in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/service.rs"]
mod service;

use dm_keyspace::optimism::{ConflictStage, DroppedColumnKey, InfoKey};
use dm_proto::optimist::optimist_client::OptimistClient;
use dm_proto::optimist::{RemoveMetaRequest, ShowDdlLocksResponse, WatchLocksRequest};
use dm_proto::pb;
use dm_service::layers::forward::WITHOUT_DETAILS;
use dm_testkit::memory::MemoryEtcd;
use dm_testkit::{wait_for, wait_until};
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use service::{LIMIT, info, operation_of, put_info, start};

const ROOT: &str = "/dm-master/shardddl-optimism/";

#[tokio::test]
async fn there_are_no_locks_to_show_or_to_unlock() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let (mut client, _running) = start(&etcd, &[]).await;
    let shown = client
        .show_ddl_locks(pb::ShowDdlLocksRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(shown.result && shown.locks.is_empty() && shown.revision > 0);
    assert_eq!(shown.msg, "no DDL lock exists");
    for (id, expected) in [
        ("lock_id", "can't find task name from lock-ID"),
        (
            "t1-`foo`.`bar`",
            "[code=38019:class=dm-master:scope=internal:level=high], Message: lock with ID t1-`foo`.`bar` not found",
        ),
    ] {
        let request = pb::UnlockDdlLockRequest {
            id: id.to_owned(),
            sources: vec!["s1".to_owned()],
            ..Default::default()
        };
        let answer = client.unlock_ddl_lock(request).await.unwrap().into_inner();
        assert!(
            !answer.result && answer.msg.starts_with(expected),
            "{}",
            answer.msg
        );
    }
}

#[tokio::test]
async fn remove_meta_removes_every_record_of_the_task() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let (schema, table) = ("foo".to_owned(), "bar1".to_owned());
    let info = |task: &str| {
        InfoKey {
            task: task.into(),
            source: "s1".into(),
            schema: schema.clone(),
            table: table.clone(),
        }
        .encode()
    };
    let column = DroppedColumnKey {
        lock: "t1-`foo`.`bar`".to_owned(),
        column: "c1".to_owned(),
        source: "s1".into(),
        schema: schema.clone(),
        table: table.clone(),
    };
    etcd.put(info("t1"), "{}");
    etcd.put(info("t2"), "{}");
    etcd.put(column.encode(), "0");
    let (mut client, _running) = start(&etcd, &[]).await;
    let removed = client
        .remove_meta(RemoveMetaRequest {
            task: "t1".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((removed.deleted, removed.revision > 0), (2, true));
    let is_left = || async { etcd.dump(ROOT).len() == 1 };
    wait_until(LIMIT, "the records of the other task alone", is_left)
        .await
        .unwrap();
    assert_eq!(etcd.dump(ROOT)[0].key, info("t2").into_bytes());
    assert!(
        client
            .remove_meta(RemoveMetaRequest::default())
            .await
            .is_err()
    );
}

const ID: &str = "t1-`foo`.`bar`";
const DATE: &str = "ALTER TABLE `foo`.`bar` ADD COLUMN `c` DATETIME";

const BEFORE: &str = "CREATE TABLE bar (id INT PRIMARY KEY)";
const WITH_DATE: &str = "CREATE TABLE bar (id INT PRIMARY KEY, c DATETIME)";

/// One source has added a column, and another the same column with another type. The locks as shown then.
async fn in_conflict(etcd: &MemoryEtcd, client: &OptimistClient<Channel>) -> ShowDdlLocksResponse {
    let text = "ALTER TABLE `foo`.`bar` ADD COLUMN `c` TEXT";
    let with_text = "CREATE TABLE bar (id INT PRIMARY KEY, c TEXT)";
    put_info(etcd, &info("s1", text, BEFORE, with_text));
    let first = operation_of(etcd, "s1", ConflictStage::None).await;
    assert_eq!(
        (first.id.as_str(), first.ddls),
        (ID, Some(vec![text.to_owned()]))
    );
    put_info(etcd, &info("s2", DATE, BEFORE, WITH_DATE));
    let refused = operation_of(etcd, "s2", ConflictStage::Detected).await;
    assert!(
        refused.conflict_message.starts_with("[code=11111:"),
        "{}",
        refused.conflict_message
    );
    // The answer is in etcd a moment before it is folded.
    let show = || async {
        let request = pb::ShowDdlLocksRequest::default();
        let shown = client
            .clone()
            .show_ddl_locks(request)
            .await
            .unwrap()
            .into_inner();
        shown
            .locks
            .first()
            .is_some_and(|lock| !lock.owner.is_empty())
            .then_some(shown)
    };
    wait_for(LIMIT, "a lock with an owner", show).await.unwrap()
}

#[tokio::test]
async fn conflict_is_shown_with_its_owner_and_what_can_be_known_of_it() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let (client, _running) = start(&etcd, &[]).await;
    let shown = in_conflict(&etcd, &client).await;
    let (lock, detail) = (&shown.locks[0], &shown.details[0]);
    assert_eq!((lock.id.as_str(), lock.mode.as_str()), (ID, "optimistic"));
    assert_eq!(
        (lock.owner.as_str(), lock.dd_ls.as_slice()),
        ("s2-`foo`.`bar`", &[DATE.to_owned()][..])
    );
    assert_eq!(
        (lock.synced.len(), lock.unsynced.len(), detail.tables.len()),
        (1, 1, 2)
    );
    assert!(
        detail.joined.contains("`c`") && !detail.reasons.is_empty(),
        "{detail:?}"
    );
}

#[tokio::test]
async fn conflict_is_decided_by_hand_for_the_one_table_that_is_named() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let (mut client, _running) = start(&etcd, &[]).await;
    in_conflict(&etcd, &client).await;
    let mut unlock = pb::UnlockDdlLockRequest {
        id: ID.to_owned(),
        op: pb::UnlockDdlLockOp::ExecLock as i32,
        database: "foo".to_owned(),
        table: "bar".to_owned(),
        ..Default::default()
    };
    let answer = client
        .unlock_ddl_lock(unlock.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.result, answer.msg.as_str()),
        (false, "optimistic locks should have only one source")
    );
    unlock.sources = vec!["s1".to_owned()];
    let answer = client
        .unlock_ddl_lock(unlock.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(
        !answer.result && answer.msg.contains("none status, not conflicted"),
        "{}",
        answer.msg
    );
    unlock.sources = vec!["s2".to_owned()];
    let answer = client.unlock_ddl_lock(unlock).await.unwrap().into_inner();
    assert!(answer.result, "{}", answer.msg);
    let decided = operation_of(&etcd, "s2", ConflictStage::Unlocked).await;
    assert_eq!(decided.ddls, Some(vec![DATE.to_owned()]));
}

#[tokio::test]
async fn details_come_once_a_lock_and_only_to_whom_wants_them() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let (mut client, _running) = start(&etcd, &[]).await;
    in_conflict(&etcd, &client).await;
    // Another table that is refused: one more row, and the detail once.
    let other = info("s3", DATE, BEFORE, WITH_DATE);
    put_info(&etcd, &other);
    operation_of(&etcd, "s3", ConflictStage::Detected).await;
    let two_rows = || async {
        let request = pb::ShowDdlLocksRequest::default();
        let shown = client.clone().show_ddl_locks(request).await.unwrap();
        Some(shown.into_inner()).filter(|shown| shown.locks.len() == 2)
    };
    let shown = wait_for(LIMIT, "two owners", two_rows).await.unwrap();
    assert_eq!(shown.details.len(), 1);
    let said = &shown.msg;
    assert!(
        said.contains("t1-`foo`.`bar`: Refused to s2-`foo`.`bar`: [code=11111:"),
        "{said}"
    );
    let mut brief = Request::new(pb::ShowDdlLocksRequest::default());
    let yes = MetadataValue::from_static("true");
    brief.metadata_mut().insert(WITHOUT_DETAILS, yes);
    let brief = client.show_ddl_locks(brief).await.unwrap().into_inner();
    assert_eq!((brief.locks, brief.details.len()), (shown.locks, 0));
    assert_eq!(&brief.msg, said);
}

#[tokio::test]
async fn record_that_cannot_be_read_is_named_where_locks_are_shown() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let (client, _running) = start(&etcd, &[]).await;
    let key = info("s1", DATE, BEFORE, WITH_DATE).key().encode();
    etcd.put(key.clone(), "no info");
    let named = || async {
        let request = pb::ShowDdlLocksRequest::default();
        let shown = client.clone().show_ddl_locks(request).await.unwrap();
        Some(shown.into_inner().msg).filter(|msg| msg != "no DDL lock exists")
    };
    let said = wait_for(LIMIT, "a message", named).await.unwrap();
    assert!(
        said.starts_with(&format!("The record {key} cannot be used: ")),
        "{said}"
    );
    etcd.delete(key);
    let quiet = || async {
        let request = pb::ShowDdlLocksRequest::default();
        let shown = client.clone().show_ddl_locks(request).await.unwrap();
        shown.into_inner().msg == "no DDL lock exists"
    };
    wait_until(LIMIT, "no message", quiet).await.unwrap();
}

#[tokio::test]
async fn a_watcher_sees_a_lock_come_change_and_go_with_all_its_owners() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let (mut client, _running) = start(&etcd, &[]).await;
    let watched = client.watch_locks(WatchLocksRequest::default()).await;
    let mut changes = watched.unwrap().into_inner();
    in_conflict(&etcd, &client).await;
    put_info(&etcd, &info("s3", DATE, BEFORE, WITH_DATE));
    let mut owners = Vec::new();
    while owners.len() < 2 {
        let seen = tokio::time::timeout(LIMIT, changes.message())
            .await
            .unwrap();
        let seen = seen.unwrap().unwrap();
        assert_eq!((seen.detail.unwrap().id.as_str(), seen.gone), (ID, false));
        owners = seen.locks.into_iter().map(|lock| lock.owner).collect();
    }
    assert_eq!(owners, ["s2-`foo`.`bar`", "s3-`foo`.`bar`"]);
    let task = "t1".to_owned();
    client
        .remove_meta(RemoveMetaRequest { task })
        .await
        .unwrap();
    let mut is_gone = false;
    while !is_gone {
        let seen = tokio::time::timeout(LIMIT, changes.message())
            .await
            .unwrap();
        is_gone = seen.unwrap().unwrap().gone;
    }
}

#[tokio::test]
async fn group_that_is_done_leaves_no_records() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let (_client, _running) = start(&etcd, &[]).await;
    let before = "CREATE TABLE bar (id INT PRIMARY KEY)";
    let after = "CREATE TABLE bar (id INT PRIMARY KEY, c INT)";
    let ddl = "ALTER TABLE `foo`.`bar` ADD COLUMN `c` INT";
    for source in ["s1", "s2"] {
        put_info(&etcd, &info(source, ddl, before, after));
    }
    for source in ["s1", "s2"] {
        let operation = operation_of(&etcd, source, ConflictStage::None).await;
        etcd.put(operation.key().encode(), operation.into_done().to_bytes());
    }
    let is_clean = || async { etcd.dump(ROOT).is_empty() };
    wait_until(LIMIT, "no records", is_clean).await.unwrap();
}

#[tokio::test]
async fn record_that_cannot_be_read_is_named_on_the_status_page_and_counted() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let (_client, _running) = start(&etcd, &[]).await;
    let key = InfoKey {
        task: "t1".into(),
        source: "s1".into(),
        schema: "foo".to_owned(),
        table: "bar".to_owned(),
    }
    .encode();
    etcd.put(key.clone(), "no {record");
    for (path, words) in [("/metrics", "\ndm_faults 1\n"), ("/status", key.as_str())] {
        wait_until(LIMIT, &format!("{path} tells of it"), || {
            dm_testkit::pages::says(&etcd, "optimist", path, std::slice::from_ref(&words))
        })
        .await
        .unwrap();
    }
    etcd.delete(key);
    wait_until(LIMIT, "it is gone", || {
        dm_testkit::pages::says(&etcd, "optimist", "/metrics", &["\ndm_faults 0\n"])
    })
    .await
    .unwrap();
}
