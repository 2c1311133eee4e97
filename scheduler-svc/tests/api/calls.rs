//! Requests that are passed on to workers: one entry for each, whether it answers or not.

use dm_proto::pb;

use crate::kit::{Cluster, Fake, LIMIT};

/// Task t on s1 with w1, which answers; on s2 with w2, which does not; on s3 without a worker.
async fn cluster() -> (Cluster, Fake) {
    let cluster = Cluster::start().await;
    for id in ["s1", "s2", "s3"] {
        cluster.source(id);
        cluster.subtask("t", id);
    }
    let w1 = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    cluster.register("w2", "127.0.0.1:1");
    cluster.online("w2");
    cluster.bounds("w1-s1 w2-s2").await;
    (cluster, w1)
}

fn texts(entries: &[pb::CommonWorkerResponse]) -> Vec<String> {
    let text = |e: &pb::CommonWorkerResponse| {
        let msg = match e.msg.starts_with("[code=38008:") {
            true => "no answer",
            false => &e.msg,
        };
        format!("{} {} {}: {msg}", e.result, e.source, e.worker)
    };
    entries.iter().map(text).collect()
}

#[tokio::test]
async fn a_schema_request_reaches_the_workers_of_the_named_sources() {
    let (mut cluster, _w1) = cluster().await;
    let request = pb::OperateSchemaRequest {
        op: pb::SchemaOp::GetSchema.into(),
        task: "t".into(),
        sources: vec!["s3".into(), "s2".into(), "s1".into()],
        database: "d".into(),
        table: "x".into(),
        ..Default::default()
    };
    let answer = cluster
        .client
        .operate_schema(request)
        .await
        .unwrap()
        .into_inner();
    assert!(answer.result);
    assert_eq!(
        texts(&answer.sources),
        [
            "true s1 : w1: schema t s1 d.x",
            "false s2 w2: no answer",
            "false s3 : source s3 relevant worker-client not found",
        ]
    );
    let nobody = pb::OperateSchemaRequest::default();
    let answer = cluster
        .client
        .operate_schema(nobody)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.result, answer.msg.as_str()),
        (false, "must specify at least one source")
    );
}

#[tokio::test]
async fn an_error_is_handled_by_the_workers_of_all_sources_of_the_task() {
    let (mut cluster, _w1) = cluster().await;
    let request = pb::HandleErrorRequest {
        op: pb::ErrorOp::Skip.into(),
        task: "t".into(),
        binlog_pos: "bin.1:4".into(),
        ..Default::default()
    };
    let answer = cluster
        .client
        .handle_error(request)
        .await
        .unwrap()
        .into_inner();
    assert!(answer.result);
    assert_eq!(
        texts(&answer.sources),
        [
            "true s1 : w1: error t bin.1:4 []",
            "false s2 w2: no answer",
            "false s3 : source s3 relevant worker-client not found",
        ]
    );
    let unknown = pb::HandleErrorRequest {
        task: "x".into(),
        ..Default::default()
    };
    let answer = cluster
        .client
        .handle_error(unknown)
        .await
        .unwrap()
        .into_inner();
    let text = "task x has no source or not exist, please check the task name and status";
    assert_eq!((answer.result, answer.msg.as_str()), (false, text));
}

#[tokio::test]
async fn relay_logs_are_purged_by_the_bound_worker_and_the_relay_workers() {
    let (mut cluster, _w1) = cluster().await;
    let _w4 = cluster.worker("w4").await;
    cluster.bounds("w1-s1 w2-s2 w4-s3").await;
    let _w5 = cluster.worker("w5").await;
    cluster.relay("w5", "s1");
    let request = pb::PurgeWorkerRelayRequest {
        sources: vec!["s1".into(), "s2".into(), "s9".into()],
        filename: "f".into(),
        ..Default::default()
    };
    let expected = [
        "true s1 : w1: purge false f",
        "true s1 : w5: purge false f",
        "false s2 w2: no answer",
        "false s9 : relay worker for source s9 not found, please `start-relay` first",
    ];
    // The relay key may not be folded yet.
    let both = || {
        let (mut client, request) = (cluster.client.clone(), request.clone());
        async move {
            let answer = client
                .purge_worker_relay(request)
                .await
                .unwrap()
                .into_inner();
            answer.result && texts(&answer.sources) == expected
        }
    };
    dm_testkit::wait_until(LIMIT, "the answers of both workers", both)
        .await
        .unwrap();
    let answer = cluster
        .client
        .purge_worker_relay(pb::PurgeWorkerRelayRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(answer.result && answer.sources.is_empty());
}
