//! Cases of the behaviour list that take a whole service: no leader, replicas that start and stop, a feed that breaks, an etcd that
//! takes no write or does not say that it did, clients at the same time; and changes that the service does not make.

use std::time::Duration;

use dm_keyspace::{
    BoundKey, Campaign, LeaderKey, Role, SourceConfigKey, SubtaskKey, SubtaskStageKey,
    WorkerInfoKey,
};
use dm_proto::pb::{self, SourceOp, TaskOp};
use dm_proto::scheduler::scheduler_client::SchedulerClient;
use dm_testkit::mariadb;
use dm_testkit::memory::MemoryEtcd;

use crate::kit::{Client, Cluster, Fake, LIMIT, Mood, bounds, replica};

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

/// Task t on s1, served by a worker that answers.
async fn at_work() -> (Cluster, Fake) {
    let cluster = Cluster::start().await;
    cluster.source("s1");
    let w1 = cluster.worker("w1").await;
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
    (cluster, w1)
}

/// Has the worker of s1 pause and resume task t, which takes calls to it.
async fn pause_and_resume(mut client: Client) {
    for op in [TaskOp::Pause, TaskOp::Resume] {
        let answer = client.operate_task(operate(op, &["s1"])).await.unwrap();
        let answer = answer.into_inner();
        assert!(answer.result && answer.sources[0].result, "{answer:?}");
    }
}

fn operate(op: TaskOp, sources: &[&str]) -> pb::OperateTaskRequest {
    pb::OperateTaskRequest {
        op: op.into(),
        name: "t".into(),
        sources: sources.iter().map(|id| (*id).to_owned()).collect(),
    }
}

async fn leaders_are(cluster: &Cluster, expected: usize) {
    let prefix = "/dm-master/leader/scheduler/";
    let are = || async { cluster.keys(prefix) == expected };
    dm_testkit::wait_until(LIMIT, "the keys of leaders", are)
        .await
        .unwrap();
}

async fn watches_are(cluster: &Cluster, expected: usize) {
    let are = || async { cluster.etcd.open_watches() == expected };
    dm_testkit::wait_until(LIMIT, "the open watches", are)
        .await
        .unwrap();
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
async fn case_2_a_replica_more_is_harmless_and_workers_stay_in_touch() {
    let (mut cluster, _w1) = at_work().await;
    let bound = cluster.etcd.dump(BoundKey::PREFIX);
    pause_and_resume(cluster.client.clone()).await;
    for _ in 0..2 {
        let other = cluster.add_replica().await;
        pause_and_resume(other).await;
        pause_and_resume(cluster.client.clone()).await;
    }
    assert_eq!(cluster.etcd.dump(BoundKey::PREFIX), bound, "put again");
}

#[tokio::test]
async fn case_3_a_replica_stops_and_starts_on_an_empty_etcd_and_on_one_at_work() {
    let mut cluster = Cluster::start().await;
    for _ in 0..2 {
        cluster.stop_first_replica();
        leaders_are(&cluster, 0).await;
        cluster.client = cluster.add_replica().await;
    }
    cluster.source("s1");
    let _w1 = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    cluster.subtask("t", "s1");
    let bound = cluster.etcd.dump(BoundKey::PREFIX);
    for _ in 0..2 {
        cluster.stop_first_replica();
        leaders_are(&cluster, 0).await;
        cluster.client = cluster.add_replica().await;
        pause_and_resume(cluster.client.clone()).await;
    }
    assert_eq!(cluster.etcd.dump(BoundKey::PREFIX), bound, "put again");
}

#[tokio::test]
async fn case_11_a_start_that_fails_halfway_or_is_broken_off_leaves_nothing_in_the_way_of_the_next()
{
    let (mut cluster, _w1) = at_work().await;
    cluster.stop_first_replica();
    leaders_are(&cluster, 0).await;
    watches_are(&cluster, 0).await;
    // It has read what there is and hears nothing more, so it does not campaign.
    cluster.etcd.hold_watch();
    let (_, half) = replica(&cluster.etcd, &[]).await;
    watches_are(&cluster, 1).await;
    drop(half);
    watches_are(&cluster, 0).await;
    assert_eq!(cluster.keys("/dm-master/leader/"), 0);
    cluster.etcd.release_watch();
    for method in ["Range", "WatchCreate", "LeaseGrant", "Txn"] {
        for _ in 0..3 {
            let refusal = tonic::Status::unavailable("not now");
            cluster.etcd.fail_next(method, refusal);
        }
    }
    let client = cluster.add_replica().await;
    pause_and_resume(client).await;
    assert_eq!(bounds(&cluster.etcd), "w1-s1");
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
    let (cluster, _w1) = at_work().await;
    let read = |mut client: Client| async move {
        for _ in 0..20 {
            let all = pb::QueryStatusListRequest::default();
            client.query_status(all).await.unwrap();
        }
    };
    let readers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(read(cluster.client.clone())))
        .collect();
    for _ in 0..2 {
        pause_and_resume(cluster.client.clone()).await;
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

#[tokio::test]
async fn case_64_a_source_is_not_updated_whatever_state_it_is_in() {
    let (mut cluster, _w1) = at_work().await;
    let refuse = async |cluster: &mut Cluster, id: &str| {
        let records = cluster.etcd.dump(SourceConfigKey::PREFIX);
        let config = format!("source-id: {id}\nfrom: {{host: h, port: 2, user: another}}\n");
        let request = pb::OperateSourceRequest {
            op: SourceOp::UpdateSource.into(),
            config: vec![config],
            source_id: vec![id.to_owned()],
            ..Default::default()
        };
        let answer = cluster.client.operate_source(request).await.unwrap();
        let answer = answer.into_inner();
        let text = "Update worker config is not supported by dm-ha now";
        assert_eq!((answer.result, answer.msg.as_str()), (false, text), "{id}");
        assert!(cluster.etcd.dump(SourceConfigKey::PREFIX) == records);
    };
    // Unknown; with a task that runs; with one that is paused; with a relay besides.
    refuse(&mut cluster, "s9").await;
    refuse(&mut cluster, "s1").await;
    let pause = operate(TaskOp::Pause, &["s1"]);
    let paused = cluster.client.operate_task(pause).await.unwrap();
    assert!(paused.get_ref().sources[0].result, "{paused:?}");
    refuse(&mut cluster, "s1").await;
    let relay = pb::OperateRelayRequest {
        op: pb::RelayOpV2::StartRelayV2.into(),
        source: "s1".into(),
        worker: vec!["w1".into()],
    };
    let relay = cluster.client.operate_relay(relay).await.unwrap();
    assert!(relay.get_ref().result, "{relay:?}");
    refuse(&mut cluster, "s1").await;
}

#[tokio::test]
async fn cases_92_and_93_subtasks_are_not_updated_whatever_state_they_are_in() {
    let db = crate::kit::database("unchanged").await;
    let mut cluster = Cluster::start().await;
    let workers = [cluster.worker("w1").await, cluster.worker("w2").await];
    cluster.source("s1");
    cluster.source("s2");
    cluster.bounds("w1-s1 w2-s2").await;
    let (port, user, password) = (db.port(), mariadb::USER, db.password());
    // No database stands behind the sources.
    let file = |name: &str, second: &str, threads: u32| {
        format!(
            "name: {name}\ntask-mode: all\nignore-checking-items: [all]\n\
             target-database: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}}}\n\
             mysql-instances: [{{source-id: s1, mydumper-thread: {threads}}}, {{source-id: {second}}}]\n"
        )
    };
    let request = pb::StartTaskRequest {
        task: file("t", "s2", 3),
        ..Default::default()
    };
    let started = cluster.client.start_task(request).await.unwrap();
    assert!(started.get_ref().result, "{started:?}");
    let records = |cluster: &Cluster| {
        [SubtaskKey::PREFIX, SubtaskStageKey::PREFIX].map(|prefix| cluster.etcd.dump(prefix))
    };
    let update = async |client: &Client, task: String, sources: &[&str]| {
        let request = pb::UpdateTaskRequest {
            task,
            sources: sources.iter().map(|id| (*id).to_owned()).collect(),
        };
        client
            .clone()
            .update_task(request)
            .await
            .unwrap()
            .into_inner()
    };
    let nothing = pb::UpdateTaskResponse {
        result: true,
        ..Default::default()
    };
    let before = records(&cluster);
    // Both run; then the first is paused and its worker would refuse, if it were asked.
    let client = cluster.client.clone();
    assert_eq!(update(&client, file("t", "s2", 7), &[]).await, nothing);
    assert_eq!(records(&cluster), before);
    let pause = operate(TaskOp::Pause, &["s1"]);
    let paused = cluster.client.operate_task(pause).await.unwrap();
    assert!(paused.get_ref().sources[0].result, "{paused:?}");
    let [w1, _] = &workers;
    w1.behave(Mood {
        refuses_updates: true,
        ..Mood::default()
    });
    let before = records(&cluster);
    for sources in [&[][..], &["s1"], &["s1", "s2"]] {
        assert_eq!(update(&client, file("t", "s2", 7), sources).await, nothing);
    }
    // A task that was never started; a source that is none of the task's; one that there is not.
    assert_eq!(update(&client, file("u", "s2", 7), &[]).await, nothing);
    let other = update(&client, file("t", "s2", 7), &["s9"]).await;
    assert_eq!(other.sources[0].msg, "source not found in task's config");
    let unknown = update(&client, file("t", "s9", 7), &[]).await;
    assert!(!unknown.result, "{unknown:?}");
    assert!(unknown.msg.starts_with("[code=20031:"), "{}", unknown.msg);
    assert_eq!(records(&cluster), before);
}
