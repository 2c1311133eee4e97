//! The service as its callers see it: real gRPC, a real replica, an etcd in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use dm_keyspace::optimism::{DroppedColumnKey, InfoKey};
use dm_proto::optimist::RemoveMetaRequest;
use dm_proto::optimist::optimist_client::OptimistClient;
use dm_proto::pb;
use dm_service::Nothing;
use dm_testkit::memory::MemoryEtcd;
use dm_testkit::{wait_for, wait_until};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

const LIMIT: Duration = Duration::from_secs(30);
const ROOT: &str = "/dm-master/shardddl-optimism/";

async fn start(etcd: &MemoryEtcd) -> (OptimistClient<Channel>, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let endpoint = etcd.endpoint();
    let args = ["optimist-svc", "--etcd-endpoints", &endpoint].map(Into::into);
    let settings = dm_service::config::load::<Nothing>("optimist-svc", 0, args, |_| None).unwrap();
    let stop = CancellationToken::new();
    let until = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        dm_service::run(
            "optimist-svc",
            settings,
            listener,
            until,
            optimist_svc::serve,
        )
        .await
        .unwrap();
    });
    let answer = || async {
        let mut client = OptimistClient::connect(url.clone()).await.ok()?;
        client
            .show_ddl_locks(pb::ShowDdlLocksRequest::default())
            .await
            .ok()?;
        Some(client)
    };
    (
        wait_for(LIMIT, "an answer of the optimist", answer)
            .await
            .unwrap(),
        stop.drop_guard(),
    )
}

#[tokio::test]
async fn there_are_no_locks_to_show_or_to_unlock() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let (mut client, _running) = start(&etcd).await;
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
    let (mut client, _running) = start(&etcd).await;
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
