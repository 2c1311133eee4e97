//! The validation methods.

use dm_keyspace::{StageRecord, ValidatorStageKey};
use dm_proto::pb;
use dm_proto::pb::start_validation_request::{Mode, StartTime};
use dm_task::SubtaskConfig;

use crate::kit::{Cluster, Fake};

/// Task t on s1 with w1, and on s2 without a worker.
async fn cluster() -> (Cluster, Fake) {
    let cluster = Cluster::start().await;
    for id in ["s1", "s2"] {
        cluster.source(id);
        cluster.subtask("t", id);
    }
    let w1 = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    (cluster, w1)
}

async fn start(cluster: &mut Cluster, mode: &str, time: &str, sources: &[&str]) -> String {
    let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    let request = pb::StartValidationRequest {
        mode: some(mode).map(Mode::ModeValue),
        start_time: some(time).map(StartTime::StartTimeValue),
        sources: sources.iter().map(|s| (*s).to_owned()).collect(),
        task_name: "t".into(),
    };
    let answer = cluster
        .client
        .start_validation(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.result, answer.msg == "success");
    answer.msg
}

async fn stop(cluster: &mut Cluster, task: &str, sources: &[&str]) -> String {
    let request = pb::StopValidationRequest {
        sources: sources.iter().map(|s| (*s).to_owned()).collect(),
        task_name: task.into(),
    };
    let answer = cluster
        .client
        .stop_validation(request)
        .await
        .unwrap()
        .into_inner();
    answer.msg
}

fn stages(cluster: &Cluster) -> Vec<i32> {
    let keys = cluster.etcd.dump(ValidatorStageKey::PREFIX);
    let stage = |value: &[u8]| StageRecord::from_bytes(value).unwrap().expect.number();
    keys.iter().map(|kv| stage(&kv.value)).collect()
}

#[tokio::test]
async fn cases_109_to_112_validators_are_started_resumed_and_stopped() {
    let (mut cluster, _w1) = cluster().await;
    assert_eq!(
        start(&mut cluster, "slow", "", &[]).await,
        "validation mode should be either `full` or `fast`"
    );
    let text = start(&mut cluster, "", "now", &[]).await;
    assert!(text.starts_with("start-time should be in the format like '2006-01-02 15:04:05', "));
    assert_eq!(
        start(&mut cluster, "fast", "2026-01-01 00:00:00", &["s1"]).await,
        "success"
    );
    let cfgs = cluster
        .client
        .get_sub_task_cfg(pb::GetSubTaskCfgRequest { name: "t".into() })
        .await
        .unwrap()
        .into_inner()
        .cfgs;
    let config = SubtaskConfig::from_toml(&cfgs[0]).unwrap();
    assert_eq!(
        (
            config.validator.mode.as_str(),
            config.validator.start_time.as_str()
        ),
        ("fast", "2026-01-01 00:00:00")
    );
    assert_eq!(
        start(&mut cluster, "full", "", &[]).await,
        "some of target validator(t with source s1) has already enabled, so we can't enable them in one command"
    );
    assert_eq!(
        start(&mut cluster, "", "", &[]).await,
        "some of target validator(t with source s1) has already enabled, so we can't enable or start them in one command"
    );
    assert_eq!(
        start(&mut cluster, "full", "", &["s1"]).await,
        "all target validator has enabled, cannot do 'validation start' with explicit mode or start-time"
    );
    assert_eq!(
        stop(&mut cluster, "t", &[]).await,
        "some target validator(t with source s2) is not enabled"
    );
    for _ in 0..2 {
        assert_eq!(stop(&mut cluster, "t", &["s1"]).await, "success");
        assert_eq!(stages(&cluster), [4]);
    }
    assert_eq!(start(&mut cluster, "", "", &["s1"]).await, "success");
    assert_eq!(stages(&cluster), [2]);
    assert_eq!(start(&mut cluster, "", "", &["s2"]).await, "success");
    assert_eq!(stop(&mut cluster, "", &[]).await, "success");
    assert_eq!(stages(&cluster), [4, 4]);
    // By task alone, by sources alone.
    assert_eq!(start(&mut cluster, "", "", &[]).await, "success");
    assert_eq!(stages(&cluster), [2, 2]);
    assert_eq!(stop(&mut cluster, "", &["s2"]).await, "success");
    assert_eq!(stages(&cluster), [2, 4]);
}

#[tokio::test]
async fn case_113_a_selection_without_subtasks_is_refused_in_dms_words() {
    let (mut cluster, _w1) = cluster().await;
    assert_eq!(
        stop(&mut cluster, "", &["a", "b"]).await,
        "cannot get subtask by sources `[a b]`"
    );
    assert_eq!(
        stop(&mut cluster, "x", &["a"]).await,
        "cannot get subtask by task name `x` and sources `[a]`"
    );
    let mut request = pb::GetValidationStatusRequest::default();
    let answer = cluster
        .client
        .get_validation_status(request.clone())
        .await
        .unwrap();
    assert_eq!(answer.into_inner().msg, "task name should be specified");
    request.task_name = "x".into();
    let answer = cluster
        .client
        .get_validation_status(request.clone())
        .await
        .unwrap();
    assert_eq!(
        answer.into_inner().msg,
        "cannot get subtask by task name `x`"
    );
    request.task_name = "t".into();
    request.filter_status = pb::Stage::Paused.into();
    let answer = cluster.client.get_validation_status(request).await.unwrap();
    assert_eq!(
        answer.into_inner().msg,
        "filtering stage should be either `running`, `stopped`, or empty"
    );
}

#[tokio::test]
async fn answers_of_workers_are_merged_and_one_that_is_missing_is_told() {
    let (mut cluster, _w1) = cluster().await;
    let missing = "[code=38029:class=dm-master:scope=internal:level=high], Message: s2 relevant worker-client not \
                   found, Workaround: Please use list-member command to see if the some workers are offline.; ";
    let request = pb::GetValidationStatusRequest {
        task_name: "t".into(),
        ..Default::default()
    };
    let status = cluster
        .client
        .get_validation_status(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (status.result, status.msg.as_str(), status.validators.len()),
        (false, missing, 1)
    );
    let request = pb::GetValidationErrorRequest {
        task_name: "t".into(),
        ..Default::default()
    };
    let errors = cluster
        .client
        .get_validation_error(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (errors.result, errors.msg.as_str(), errors.error.len()),
        (false, missing, 1)
    );
    let request = pb::OperateValidationErrorRequest {
        task_name: "t".into(),
        err_id: 2,
        ..Default::default()
    };
    let settled = cluster
        .client
        .operate_validation_error(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (settled.result, settled.msg),
        (false, format!("no such error; {missing}"))
    );
}

#[tokio::test]
async fn a_cutover_is_passed_on_if_it_is_of_the_sources_kind() {
    let (mut cluster, _w1) = cluster().await;
    let request = pb::UpdateValidationRequest {
        task_name: "t".into(),
        binlog_gtid: "g".into(),
        ..Default::default()
    };
    let updated = cluster
        .client
        .update_validation(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(updated.result);
    assert_eq!(
        updated.sources[0].msg,
        "source s1 didn't specify cutover-binlog-pos when enableGTID is false"
    );
    let request = pb::UpdateValidationRequest {
        binlog_pos: "(a, 4)".into(),
        ..request
    };
    let updated = cluster
        .client
        .update_validation(request)
        .await
        .unwrap()
        .into_inner();
    let texts: Vec<&str> = updated.sources.iter().map(|e| e.msg.as_str()).collect();
    assert_eq!(
        texts,
        [
            "w1: update t g",
            "source s2 relevant worker-client not found"
        ]
    );
}
