//! What `QueryStatus` shows when workers answer, do not answer, or are not there.

use dm_keyspace::{StageRecord, SubtaskKey, SubtaskStageKey};
use dm_proto::pb;

use crate::kit::{Cluster, subtask};
use crate::roles::Leaders;

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
async fn a_shard_group_that_only_others_have_met_is_shown_by_its_lock() {
    let mut cluster = Cluster::start().await;
    cluster.source("s1");
    let _w1 = cluster.worker("w1").await;
    cluster.bounds("w1-s1").await;
    cluster.subtask("plain", "s1");
    let key = SubtaskKey {
        source: "s1".into(),
        task: "merged".into(),
    };
    add_subtask(&cluster, "s1", "merged");
    let mut config = subtask("merged", "s1");
    config.shard_mode = "pessimistic".into();
    cluster.etcd.put(key.encode(), config.to_toml().unwrap());
    // Nobody coordinates: the answer goes without.
    let known = || async {
        let mut client = cluster.client.clone();
        let request = pb::QueryStatusListRequest {
            name: "merged".into(),
            ..Default::default()
        };
        groups(client.query_status(request).await.ok()?.get_ref())
    };
    let first = dm_testkit::wait_for(crate::kit::LIMIT, "the subtask", known);
    assert!(first.await.unwrap().is_empty());
    let leaders = Leaders::start(&cluster.etcd).await;
    let shown = dm_testkit::wait_for(crate::kit::LIMIT, "the group", || {
        let mut client = cluster.client.clone();
        async move {
            let request = pb::QueryStatusListRequest {
                name: "merged".into(),
                ..Default::default()
            };
            let answer = client.query_status(request).await.ok()?.into_inner();
            groups(&answer)?.pop()
        }
    })
    .await
    .unwrap();
    assert_eq!(shown.target, "`shop`.`orders`");
    assert_eq!(
        shown.unsynced,
        ["this DM-worker doesn't receive any shard DDL of this group"]
    );
    // Nobody is asked about tasks without shards.
    let asked = leaders.asked().len();
    let plain = query(&mut cluster, "plain", &[]).await;
    assert!(groups(&plain).unwrap().is_empty());
    assert_eq!(leaders.asked().len(), asked);
}

/// The groups of the first subtask, if there is one.
fn groups(answer: &pb::QueryStatusListResponse) -> Option<Vec<pb::ShardingGroup>> {
    let status = answer.sources.first()?.sub_task_status.first()?;
    match status.status.clone()? {
        pb::sub_task_status::Status::Sync(sync) => Some(sync.unresolved_groups),
        _ => None,
    }
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
