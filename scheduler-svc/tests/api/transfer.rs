//! `TransferSource`, with workers that do what etcd tells them and with one that does not answer.

use dm_keyspace::{StageRecord, SubtaskStageKey};
use dm_proto::pb;

use crate::kit::{Client, Cluster, LIMIT};

async fn transfer(mut client: Client, source: &str, worker: &str) -> pb::TransferSourceResponse {
    let request = pb::TransferSourceRequest {
        source: source.into(),
        worker: worker.into(),
    };
    client.transfer_source(request).await.unwrap().into_inner()
}

async fn stage_is(cluster: &Cluster, expected: dm_keyspace::Stage) {
    let key = SubtaskStageKey {
        source: "s1".into(),
        task: "t".into(),
    };
    let is_so = || async {
        let kv = cluster.etcd.dump(&key.encode()).remove(0);
        StageRecord::from_bytes(&kv.value).unwrap().expect == expected
    };
    dm_testkit::wait_until(LIMIT, "the stage of the task", is_so)
        .await
        .unwrap();
}

/// s1 with task t on w1; w2 free.
async fn cluster() -> (Cluster, [crate::kit::Fake; 2]) {
    let cluster = Cluster::start().await;
    cluster.source("s1");
    let w1 = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    cluster.subtask("t", "s1");
    let w2 = cluster.worker("w2").await;
    let is_free = || async {
        let mut client = cluster.client.clone();
        let listed = client
            .list_workers(pb::ListMemberRequest::default())
            .await
            .unwrap();
        listed
            .into_inner()
            .workers
            .iter()
            .any(|w| w.name == "w2" && w.stage == "free")
    };
    dm_testkit::wait_until(LIMIT, "the free worker", is_free)
        .await
        .unwrap();
    (cluster, [w1, w2])
}

#[tokio::test]
async fn case_102_a_source_with_a_running_task_moves_and_the_task_runs_again() {
    let (cluster, _workers) = cluster().await;
    let answer = transfer(cluster.client.clone(), "s1", "w2").await;
    assert!(answer.result, "{}", answer.msg);
    cluster.bounds("w2-s1").await;
    stage_is(&cluster, dm_keyspace::Stage::Running).await;
    assert_eq!(cluster.keys("/dm-master/source-transfer/"), 0);
    let again = transfer(cluster.client.clone(), "s1", "w2").await;
    assert!(again.result, "{}", again.msg);
}

#[tokio::test]
async fn case_101_a_worker_that_gives_no_answer_keeps_its_source() {
    let (cluster, _workers) = cluster().await;
    cluster.register("w1", "127.0.0.1:1");
    let refused = || async {
        let answer = transfer(cluster.client.clone(), "s1", "w2").await;
        !answer.result
            && answer
                .msg
                .contains("failed to query worker: w1 status err: ")
    };
    // The new address may not be folded at once; then the source moves, and moves back.
    let moved_back = || async {
        if refused().await {
            return true;
        }
        transfer(cluster.client.clone(), "s1", "w1").await;
        false
    };
    dm_testkit::wait_until(LIMIT, "the refusal", moved_back)
        .await
        .unwrap();
    cluster.bounds("w1-s1").await;
    stage_is(&cluster, dm_keyspace::Stage::Running).await;
}
