//! Cases of the behaviour list that take a whole service: no leader, a feed that breaks, an etcd that takes no write or
//! does not say that it did, clients at the same time.

use std::time::Duration;

use dm_keyspace::{BoundKey, Campaign, LeaderKey, Role, SourceConfigKey, WorkerInfoKey};
use dm_proto::pb::{self, SourceOp, TaskOp};
use dm_proto::scheduler::scheduler_client::SchedulerClient;
use dm_testkit::memory::MemoryEtcd;

use crate::kit::{Client, Cluster, LIMIT, bounds, replica};

/// A living worker, another one, and a source that the first one serves.
async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.source("s1");
    cluster.register("w1", "127.0.0.1:1");
    cluster.online("w1");
    cluster.bounds("w1-s1").await;
    cluster.register("w2", "127.0.0.1:1");
    cluster.online("w2");
    cluster
}

async fn moves(cluster: &Cluster, expected: &str) {
    let moved = || async { bounds(&cluster.etcd) == expected };
    dm_testkit::wait_until(LIMIT, expected, moved)
        .await
        .unwrap();
}

#[tokio::test]
async fn case_1_a_replica_that_does_not_lead_writes_nothing() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let options = dm_store::Options {
        endpoints: vec![etcd.endpoint()],
        ..dm_store::Options::default()
    };
    let store = dm_store::Store::connect(&options).await.unwrap();
    let lease = store.grant(Duration::from_secs(600)).await.unwrap().id;
    // It leads, takes connections and answers nobody.
    let leader = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = leader.local_addr().unwrap().to_string();
    let role = Role::Scheduler;
    let key = LeaderKey { role, lease }.encode();
    let place = Campaign::new("another", addr).to_bytes();
    store.put(key, place, Some(lease)).await.unwrap();

    let (addr, _replica) = replica(&etcd, &[]).await;
    let uri = format!("http://{addr}");
    let connected = || async { SchedulerClient::connect(uri.clone()).await.ok() };
    let mut client = dm_testkit::wait_for(LIMIT, "the replica", connected)
        .await
        .unwrap();
    let register = pb::RegisterWorkerRequest {
        name: "w1".into(),
        address: "127.0.0.1:1".into(),
    };
    let mut request = tonic::Request::new(register);
    request.set_timeout(Duration::from_secs(1));
    assert!(client.register_worker(request).await.is_err());
    assert!(etcd.dump(WorkerInfoKey::PREFIX).is_empty());
}

#[tokio::test]
async fn case_32_what_was_compacted_away_is_made_up_for() {
    let cluster = cluster().await;
    cluster.etcd.hold_watch();
    cluster.offline("w1");
    cluster
        .etcd
        .compact(cluster.etcd.revision())
        .unwrap_or_else(|_| panic!("etcd does not compact"));
    cluster.etcd.release_watch();
    moves(&cluster, "w2-s1").await;
}

#[tokio::test]
async fn case_33_a_watch_that_ends_is_begun_again() {
    let cluster = cluster().await;
    cluster.etcd.cut_connections();
    cluster.offline("w1");
    moves(&cluster, "w2-s1").await;
    cluster.etcd.cut_connections();
    cluster.offline("w2");
    cluster.online("w1");
    moves(&cluster, "w1-s1").await;
}

#[tokio::test]
async fn case_34_a_failover_that_etcd_refuses_is_made_when_it_can_be() {
    let cluster = cluster().await;
    for _ in 0..5 {
        let refusal = tonic::Status::unavailable("not now");
        cluster.etcd.fail_next("Txn", refusal);
    }
    cluster.offline("w1");
    moves(&cluster, "w2-s1").await;
}

#[tokio::test]
async fn case_117_a_write_whose_reply_is_lost_is_known_all_the_same() {
    let mut cluster = Cluster::start().await;
    for n in 0..5 {
        cluster.etcd.drop_reply_of_next_txn();
        let request = pb::RegisterWorkerRequest {
            name: format!("w{n}"),
            address: "127.0.0.1:1".into(),
        };
        let answer = cluster.client.register_worker(request).await.unwrap();
        let answer = answer.into_inner();
        assert!(answer.result, "{}", answer.msg);
        let listed = cluster
            .client
            .list_workers(pb::ListMemberRequest::default());
        let listed = listed.await.unwrap().into_inner().workers;
        assert_eq!(listed.len(), cluster.keys(WorkerInfoKey::PREFIX));
        assert_eq!(listed.len(), n + 1);
    }
    assert_eq!(cluster.keys(BoundKey::PREFIX), 0);
}

#[tokio::test]
async fn case_88_reading_never_makes_an_operation_fail() {
    let mut cluster = Cluster::start().await;
    cluster.source("s1");
    let _w1 = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    cluster.subtask("t", "s1");
    let is_known = || async {
        let mut client = cluster.client.clone();
        let request = pb::GetSubTaskCfgRequest { name: "t".into() };
        let answer = client.get_sub_task_cfg(request).await;
        answer.is_ok_and(|answer| answer.get_ref().cfgs.len() == 1)
    };
    dm_testkit::wait_until(LIMIT, "the subtask", is_known)
        .await
        .unwrap();
    let operate = |op: TaskOp| pb::OperateTaskRequest {
        op: op.into(),
        name: "t".into(),
        sources: vec!["s1".into()],
    };
    let read = |mut client: Client| async move {
        for _ in 0..20 {
            let all = pb::QueryStatusListRequest::default();
            client.query_status(all).await.unwrap();
        }
    };
    let readers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(read(cluster.client.clone())))
        .collect();
    for op in [TaskOp::Pause, TaskOp::Resume, TaskOp::Pause, TaskOp::Resume] {
        let answer = cluster.client.operate_task(operate(op)).await.unwrap();
        let answer = answer.into_inner();
        assert!(answer.result && answer.sources[0].result, "{answer:?}");
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn case_116_of_two_clients_that_add_a_source_through_two_members_one_succeeds() {
    let db = crate::kit::database("twice").await;
    let mut cluster = Cluster::start().await;
    let other = cluster.add_replica().await;
    let (port, user, password) = (
        db.port(),
        dm_testkit::mariadb::USER,
        db.password().to_owned(),
    );
    let create = move |mut client: Client| {
        let config = format!(
            "source-id: s1\nfrom: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}}}\n"
        );
        let request = pb::OperateSourceRequest {
            op: SourceOp::StartSource.into(),
            config: vec![config],
            ..Default::default()
        };
        async move { client.operate_source(request).await.unwrap().into_inner() }
    };
    let (first, second) = tokio::join!(create(cluster.client.clone()), create(other));
    assert!(first.result != second.result, "{first:?} {second:?}");
    let refused = if first.result { second } else { first };
    assert!(refused.msg.starts_with("[code=46007:"), "{}", refused.msg);
    assert_eq!(cluster.keys(SourceConfigKey::PREFIX), 1);
}
