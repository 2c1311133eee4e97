//! What `QueryStatus` shows when workers answer, do not answer, or are not there.

use dm_keyspace::{StageRecord, SubtaskKey, SubtaskStageKey};
use dm_proto::pb;

use crate::kit::Cluster;

fn add_subtask(cluster: &Cluster, source: &str, task: &str) {
    cluster.etcd.put(
        SubtaskKey {
            source: source.into(),
            task: task.into(),
        }
        .encode(),
        "name = \"t\"\n",
    );
    let stage = StageRecord::subtask(dm_keyspace::Stage::Running, source, task).to_bytes();
    cluster.etcd.put(
        SubtaskStageKey {
            source: source.into(),
            task: task.into(),
        }
        .encode(),
        stage,
    );
}

async fn query(cluster: &mut Cluster, name: &str, sources: &[&str]) -> pb::QueryStatusListResponse {
    let sources = sources.iter().map(|s| (*s).to_owned()).collect();
    let request = pb::QueryStatusListRequest {
        name: name.into(),
        sources,
    };
    cluster
        .client
        .query_status(request)
        .await
        .unwrap()
        .into_inner()
}

fn row(answer: &pb::QueryStatusResponse) -> String {
    let status = answer.source_status.clone().unwrap_or_default();
    let tasks: Vec<&str> = answer
        .sub_task_status
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    format!(
        "{} {} {} [{}]",
        answer.result,
        status.source,
        status.worker,
        tasks.join(" ")
    )
}

#[tokio::test]
async fn each_worker_has_its_row_and_one_that_does_not_answer_costs_only_its_own() {
    let mut cluster = Cluster::start().await;
    for source in ["s1", "s2", "s3"] {
        cluster.source(source);
        add_subtask(&cluster, source, "t");
    }
    let _w1 = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    cluster.register("w2", "127.0.0.1:1");
    cluster.online("w2");
    cluster.bounds("w1-s1 w2-s2").await;
    let answer = query(&mut cluster, "", &[]).await;
    assert!(answer.result);
    let rows: Vec<String> = answer.sources.iter().map(row).collect();
    assert_eq!(
        rows,
        [
            "true s1 w1 [t]",
            "false s2 w2 []",
            "false s3 source not bound [t]"
        ]
    );
    let unreachable = "[code=38008:class=dm-master:scope=internal:level=high], Message: grpc request error, \
                       RawCause: rpc error: code = Unavailable desc = ";
    assert!(
        answer.sources[1].msg.starts_with(unreachable),
        "{}",
        answer.sources[1].msg
    );
    let answer = query(&mut cluster, "t", &[]).await;
    assert_eq!(
        answer.sources[2].msg,
        "[code=38029:class=dm-master:scope=internal:level=high], Message: s3 relevant worker-client not found, \
         Workaround: Please use list-member command to see if the some workers are offline."
    );
}

#[tokio::test]
async fn unknown_names_are_answered_in_dms_words() {
    let mut cluster = Cluster::start().await;
    let answer = query(&mut cluster, "t", &[]).await;
    assert_eq!(
        (answer.result, answer.msg.as_str()),
        (false, "task t has no source or not exist")
    );
    let answer = query(&mut cluster, "", &["s2", "s1"]).await;
    assert_eq!(
        (answer.result, answer.msg.as_str()),
        (false, "sources [s2 s1] haven't been added")
    );
}

#[tokio::test]
async fn a_stale_read_is_answered_by_any_replica() {
    let mut cluster = Cluster::start().await;
    let mut standby = cluster.add_replica().await;
    cluster.source("s1");
    let _w1 = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    let seen = || {
        let mut standby = standby.clone();
        async move {
            let mut request = tonic::Request::new(pb::QueryStatusListRequest::default());
            request
                .metadata_mut()
                .insert("dm-stale-read", "true".parse().unwrap());
            let answer = standby.query_status(request).await.unwrap().into_inner();
            answer.sources.iter().map(row).collect::<Vec<_>>() == ["true s1 w1 []"]
        }
    };
    dm_testkit::wait_until(
        crate::kit::LIMIT,
        "the standby to have folded the bound",
        seen,
    )
    .await
    .unwrap();
    let answer = standby
        .query_status(pb::QueryStatusListRequest::default())
        .await
        .unwrap();
    assert!(answer.metadata().contains_key("dm-revision"));
}
