//! Registration, binding and failover through the whole service.

use dm_proto::pb;

use crate::kit::Cluster;

fn registration(name: &str, address: &str) -> pb::RegisterWorkerRequest {
    pb::RegisterWorkerRequest {
        name: name.into(),
        address: address.into(),
    }
}

async fn workers(cluster: &mut Cluster) -> Vec<String> {
    let answer = cluster
        .client
        .list_workers(pb::ListMemberRequest::default())
        .await
        .unwrap();
    assert!(answer.metadata().contains_key("dm-revision"));
    let show = |w: pb::WorkerInfo| format!("{} {} {} {}", w.name, w.addr, w.stage, w.source);
    answer.into_inner().workers.into_iter().map(show).collect()
}

#[tokio::test]
async fn a_registered_worker_is_listed_at_once_and_registers_again_without_harm() {
    let mut cluster = Cluster::start().await;
    for _ in 0..2 {
        let answer = cluster
            .client
            .register_worker(registration("w1", "h:1"))
            .await
            .unwrap()
            .into_inner();
        assert!(
            answer.result && answer.secret_key.is_empty(),
            "{}",
            answer.msg
        );
        assert_eq!(workers(&mut cluster).await, ["w1 h:1 offline "]);
    }
    cluster.online("w1");
    cluster.source("s1");
    cluster.bounds("w1-s1").await;
    let answer = cluster
        .client
        .register_worker(registration("w1", "h:2"))
        .await
        .unwrap()
        .into_inner();
    assert!(
        !answer.result && answer.msg.starts_with("[code=46003:"),
        "{}",
        answer.msg
    );
    let nameless = cluster
        .client
        .register_worker(registration("", "h:2"))
        .await
        .unwrap()
        .into_inner();
    assert!(!nameless.result);
}

#[tokio::test]
async fn a_source_moves_from_a_dead_worker_to_a_living_one_and_the_dead_one_can_be_removed() {
    let mut cluster = Cluster::start().await;
    for name in ["w1", "w2"] {
        cluster.register(name, "127.0.0.1:1");
        cluster.online(name);
    }
    cluster.source("s1");
    cluster.bounds("w1-s1").await;
    cluster.offline("w1");
    cluster.bounds("w2-s1").await;
    let offline = |name: &str| pb::OfflineMemberRequest {
        r#type: "worker".into(),
        name: name.into(),
    };
    let refused = cluster
        .client
        .offline_worker(offline("w2"))
        .await
        .unwrap()
        .into_inner();
    assert!(
        !refused.result && refused.msg.starts_with("[code=46005:"),
        "{}",
        refused.msg
    );
    let answer = cluster
        .client
        .offline_worker(offline("w1"))
        .await
        .unwrap()
        .into_inner();
    assert!(answer.result, "{}", answer.msg);
    assert_eq!(workers(&mut cluster).await, ["w2 127.0.0.1:1 bound s1"]);
}

#[tokio::test]
async fn a_standby_answers_for_the_leader_and_takes_over_from_it() {
    let mut cluster = Cluster::start().await;
    let mut standby = cluster.add_replica().await;
    let answer = standby
        .register_worker(registration("w1", "h:1"))
        .await
        .unwrap()
        .into_inner();
    assert!(answer.result, "{}", answer.msg);
    cluster.stop_first_replica();
    cluster.client = standby;
    cluster.online("w1");
    cluster.source("s1");
    cluster.bounds("w1-s1").await;
}

#[tokio::test]
async fn case_115_a_worker_that_hangs_holds_up_nothing_but_its_own_answer() {
    let mut cluster = Cluster::start().await;
    // Connections are accepted by the kernel, and nobody reads them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.register("w1", &silent.local_addr().unwrap().to_string());
    cluster.online("w1");
    cluster.source("s1");
    cluster.bounds("w1-s1").await;
    for name in ["w2", "w3"] {
        cluster.register(name, "127.0.0.1:1");
        cluster.online(name);
    }
    cluster.source("s2");
    cluster.bounds("w1-s1 w2-s2").await;
    let mut asking = cluster.another_client().await;
    let asked = tokio::spawn(async move {
        let request = pb::QueryStatusListRequest {
            sources: vec!["s1".into()],
            ..Default::default()
        };
        asking.query_status(request).await
    });
    let called = tokio::time::timeout(crate::kit::LIMIT, silent.accept()).await;
    let _held = called.unwrap().unwrap();
    cluster.offline("w2");
    cluster.bounds("w1-s1 w3-s2").await;
    assert!(!asked.is_finished(), "the worker has answered");
    assert_eq!(workers(&mut cluster).await.len(), 3);
    asked.abort();
}

#[tokio::test]
async fn a_thousand_sources_are_bound_to_a_thousand_workers() {
    let cluster = Cluster::start().await;
    for n in 0..1_000 {
        cluster.register(&format!("w{n:04}"), "127.0.0.1:1");
        cluster.online(&format!("w{n:04}"));
    }
    // All sources are known at once, so that only our own transactions decide how many there are.
    cluster.etcd.hold_watch();
    for n in 0..1_000 {
        cluster.source(&format!("s{n:04}"));
    }
    let before = cluster.etcd.revision();
    cluster.etcd.release_watch();
    let all_bound = || async { cluster.keys(dm_keyspace::BoundKey::PREFIX) == 1_000 };
    dm_testkit::wait_until(crate::kit::LIMIT, "a thousand bounds", all_bound)
        .await
        .unwrap();
    // Four conditions each, so 31 of them go into one transaction; a few of the last are smaller.
    let revisions = cluster.etcd.revision() - before;
    assert!(revisions < 100, "{revisions} revisions");
}
