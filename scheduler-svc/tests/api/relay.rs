//! `OperateRelay` and `OperateWorkerRelayTask`.

use dm_proto::pb::{self, RelayOp, RelayOpV2};

use crate::kit::Cluster;

async fn operate(
    cluster: &mut Cluster,
    op: RelayOpV2,
    worker: &[&str],
) -> pb::OperateRelayResponse {
    let request = pb::OperateRelayRequest {
        op: op.into(),
        source: "s1".into(),
        worker: worker.iter().map(|w| (*w).to_owned()).collect(),
    };
    cluster
        .client
        .operate_relay(request)
        .await
        .unwrap()
        .into_inner()
}

fn rows(entries: &[pb::CommonWorkerResponse]) -> Vec<String> {
    let row =
        |e: &pb::CommonWorkerResponse| format!("{} {} {} {}", e.result, e.source, e.worker, e.msg);
    entries.iter().map(row).collect()
}

#[tokio::test]
async fn relay_is_started_paused_resumed_and_stopped_on_named_workers() {
    let mut cluster = Cluster::start().await;
    cluster.source("s1");
    let _w1 = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    let request = pb::RegisterWorkerRequest {
        name: "w2".into(),
        address: "127.0.0.1:1".into(),
    };
    cluster.client.register_worker(request).await.unwrap();
    let answer = operate(&mut cluster, RelayOpV2::StartRelayV2, &["w1", "w2"]).await;
    assert!(answer.result, "{}", answer.msg);
    assert_eq!(
        rows(&answer.sources),
        [
            "true s1 w1 ",
            "true s1 w2 source relay is operated but the bound worker is offline"
        ]
    );
    for op in [RelayOp::PauseRelay, RelayOp::ResumeRelay] {
        let request = pb::OperateWorkerRelayRequest {
            op: op.into(),
            sources: vec!["s1".into()],
        };
        let answer = cluster.client.operate_worker_relay_task(request).await;
        assert_eq!(rows(&answer.unwrap().into_inner().sources), ["true s1 w1 "]);
    }
    let answer = operate(&mut cluster, RelayOpV2::StopRelayV2, &["w1", "w2"]).await;
    assert!(answer.result, "{}", answer.msg);
    assert_eq!(rows(&answer.sources)[0], "true s1 w1 ");
    assert_eq!(cluster.keys(dm_keyspace::RelayStageKey::PREFIX), 0);
    let request = pb::OperateWorkerRelayRequest {
        op: RelayOp::PauseRelay.into(),
        sources: vec!["s1".into()],
    };
    let answer = cluster.client.operate_worker_relay_task(request).await;
    let entry = &answer.unwrap().into_inner().sources[0];
    assert!(
        !entry.result && entry.msg.contains("relay is disabled for this source"),
        "{}",
        entry.msg
    );
}

#[tokio::test]
async fn wrong_operations_are_refused_by_name() {
    let mut cluster = Cluster::start().await;
    let request = pb::OperateRelayRequest::default();
    let status = cluster.client.operate_relay(request).await.unwrap_err();
    assert_eq!(
        status.message(),
        "only support start-relay or stop-relay, op: InvalidRelayOpV2"
    );
    let request = pb::OperateWorkerRelayRequest {
        op: RelayOp::StopRelay.into(),
        sources: vec![],
    };
    let answer = cluster.client.operate_worker_relay_task(request).await;
    let msg = answer.unwrap().into_inner().msg;
    assert!(msg.contains("invalid op StopRelay on relay"), "{msg}");
    let answer = operate(&mut cluster, RelayOpV2::StartRelayV2, &[]).await;
    assert!(!answer.result && answer.msg.starts_with("[code=46008:"));
}

#[tokio::test]
async fn more_workers_than_one_command_takes_are_refused_at_once() {
    let mut cluster = Cluster::start().await;
    cluster.source("s1");
    let names: Vec<String> = (0..63).map(|n| format!("w{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for op in [RelayOpV2::StartRelayV2, RelayOpV2::StopRelayV2] {
        let answer = operate(&mut cluster, op, &names).await;
        assert_eq!(
            (answer.result, answer.msg.as_str()),
            (
                false,
                "63 workers are named, and one command can take 62; please use several"
            )
        );
    }
}
