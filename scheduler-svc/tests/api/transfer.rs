//! `TransferSource`, with workers that do what etcd tells them and with one that does not answer.

use dm_keyspace::{StageRecord, SubtaskStageKey};
use dm_proto::pb;

use crate::kit::{Client, Cluster, LIMIT, Mood};

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
    cluster_with(&[]).await
}

async fn cluster_with(flags: &[&str]) -> (Cluster, [crate::kit::Fake; 2]) {
    let cluster = Cluster::start_with(flags).await;
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

/// The transfer has left nothing: the source is where it was, its task runs.
async fn is_undone(cluster: &Cluster) {
    stage_is(cluster, dm_keyspace::Stage::Running).await;
    let is_gone = || async { cluster.keys("/dm-master/source-transfer/") == 0 };
    dm_testkit::wait_until(LIMIT, "the end of the record", is_gone)
        .await
        .unwrap();
    cluster.bounds("w1-s1").await;
}

#[tokio::test]
async fn case_101_a_task_that_still_loads_keeps_its_source_where_the_files_are() {
    let (cluster, [w1, _w2]) = cluster().await;
    w1.behave(Mood {
        loads: true,
        ..Mood::default()
    });
    let revision = cluster.etcd.revision();
    let answer = transfer(cluster.client.clone(), "s1", "w2").await;
    assert!(!answer.result);
    let expected = "[code=46019:class=scheduler:scope=internal:level=high], Message: running tasks [t] to be transferred \
                    on source s1 should in sync unit";
    assert!(answer.msg.starts_with(expected), "{}", answer.msg);
    assert_eq!(cluster.etcd.revision(), revision, "something was written");
}

#[tokio::test]
async fn case_103_a_task_that_does_not_pause_stays_and_runs_on() {
    let (cluster, [w1, _w2]) = cluster().await;
    w1.behave(Mood {
        never_pauses: true,
        ..Mood::default()
    });
    let answer = transfer(cluster.client.clone(), "s1", "w2").await;
    assert!(
        answer.msg.starts_with("[code=46032:class=scheduler:scope=internal:level=low], Message: failed to auto pause tasks [t]"),
        "{}",
        answer.msg
    );
    is_undone(&cluster).await;
}

#[tokio::test]
async fn case_104_a_move_that_cannot_be_written_leaves_the_source_and_lets_the_task_run() {
    let (cluster, _workers) = cluster().await;
    // Moving deletes the old bound, undoing does not.
    cluster
        .etcd
        .refuse_deletions(Some(dm_keyspace::BoundKey::PREFIX));
    let request = pb::TransferSourceRequest {
        source: "s1".into(),
        worker: "w2".into(),
    };
    // What cannot be written now may be refused, or tried for as long as the caller waits.
    let mut client = cluster.client.clone();
    let moving = client.transfer_source(request);
    let moved = tokio::time::timeout(std::time::Duration::from_secs(3), moving).await;
    let is_moved = matches!(moved, Ok(Ok(answer)) if answer.get_ref().result);
    assert!(!is_moved);
    is_undone(&cluster).await;
    cluster.etcd.refuse_deletions(None);
    cluster.bounds("w1-s1").await;
}

#[tokio::test]
async fn case_108_a_caller_that_leaves_during_the_wait_leaves_nothing_paused() {
    let (cluster, [w1, _w2]) = cluster_with(&["--wait-rounds", "10000"]).await;
    w1.behave(Mood {
        never_pauses: true,
        ..Mood::default()
    });
    let client = cluster.another_client().await;
    let caller = tokio::spawn(async move { transfer(client, "s1", "w2").await });
    stage_is(&cluster, dm_keyspace::Stage::Paused).await;
    caller.abort();
    is_undone(&cluster).await;
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
