//! A task from start to stop: real databases, workers that follow etcd.

use dm_keyspace::{
    Campaign, LeaderKey, LeaseId, LoadTaskKey, Role, SourceConfigKey, SubtaskKey, SubtaskStageKey,
    TaskCliArgsKey,
};
use dm_proto::pb::{self, TaskOp};
use dm_task::SubtaskConfig;
use dm_testkit::mariadb::{self, MariaDb};

use crate::kit::{Cluster, Fake, database};
use crate::roles::Leaders;

fn task(name: &str, sources: &[&str], db: &MariaDb) -> String {
    let (port, user, password) = (db.port(), mariadb::USER, db.password());
    let instances: String = sources
        .iter()
        .map(|id| format!("  - source-id: {id}\n"))
        .collect();
    format!(
        "name: {name}\ntask-mode: all\nmeta-schema: dm_meta\n\
         target-database: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}}}\n\
         mysql-instances:\n{instances}"
    )
}

async fn start(cluster: &mut Cluster, request: pb::StartTaskRequest) -> pb::StartTaskResponse {
    cluster
        .client
        .start_task(request)
        .await
        .unwrap()
        .into_inner()
}

async fn operate(
    cluster: &mut Cluster,
    op: TaskOp,
    name: &str,
    sources: &[&str],
) -> pb::OperateTaskResponse {
    let sources = sources.iter().map(|s| (*s).to_owned()).collect();
    let request = pb::OperateTaskRequest {
        op: op.into(),
        name: name.into(),
        sources,
    };
    cluster
        .client
        .operate_task(request)
        .await
        .unwrap()
        .into_inner()
}

fn rows(result: bool, msg: &str, sources: &[pb::CommonWorkerResponse]) -> Vec<String> {
    assert!(result, "{msg}");
    sources
        .iter()
        .map(|s| {
            format!("{} {} {} {}", s.result, s.source, s.worker, s.msg)
                .trim()
                .to_owned()
        })
        .collect()
}

/// Two bound sources on one server, which is the target as well.
async fn two_sources() -> (Cluster, MariaDb, [Fake; 2]) {
    let db = database("task").await;
    let mut cluster = Cluster::start().await;
    let workers = [cluster.worker("w1").await, cluster.worker("w2").await];
    let (port, user, password) = (db.port(), mariadb::USER, db.password());
    let from =
        format!("from: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}}}\n");
    let config = ["s1", "s2"].map(|id| format!("source-id: {id}\n{from}"));
    let op = pb::SourceOp::StartSource.into();
    let request = pb::OperateSourceRequest {
        op,
        config: config.into(),
        ..Default::default()
    };
    let answer = cluster
        .client
        .operate_source(request)
        .await
        .unwrap()
        .into_inner();
    assert!(answer.result, "{}", answer.msg);
    cluster.bounds("w1-s1 w2-s2").await;
    (cluster, db, workers)
}

#[tokio::test]
async fn a_task_is_started_paused_resumed_and_stopped() {
    let (mut cluster, db, _workers) = two_sources().await;
    let text = task("t", &["s2", "s1"], &db);
    let request = pb::StartTaskRequest {
        task: text.clone(),
        ..Default::default()
    };
    let started = start(&mut cluster, request.clone()).await;
    assert_eq!(
        rows(started.result, &started.msg, &started.sources),
        ["true s1 w1", "true s2 w2"]
    );
    let key = SubtaskKey {
        source: "s1".into(),
        task: "t".into(),
    }
    .encode();
    let stored = String::from_utf8(cluster.etcd.dump(&key).remove(0).value).unwrap();
    let stored = SubtaskConfig::from_toml(&stored).unwrap();
    assert_eq!(
        (
            stored.source_id.as_str(),
            stored.mode.as_str(),
            stored.from.port
        ),
        ("s1", "all", db.port().into())
    );

    let again = start(&mut cluster, request).await;
    assert!(
        !again.result && again.msg.starts_with("[code=46014:"),
        "{}",
        again.msg
    );
    for op in [TaskOp::Pause, TaskOp::Pause, TaskOp::Resume, TaskOp::Resume] {
        let answer = operate(&mut cluster, op, "t", &[]).await;
        assert_eq!(
            rows(answer.result, &answer.msg, &answer.sources),
            ["true s1 w1", "true s2 w2"]
        );
        assert_eq!(answer.op(), op);
    }
    let answer = operate(&mut cluster, TaskOp::Delete, "t", &["s2"]).await;
    assert_eq!(
        rows(answer.result, &answer.msg, &answer.sources),
        ["true s2 w2"]
    );
    assert_eq!(cluster.keys(SubtaskStageKey::PREFIX), 1);
    let answer = operate(&mut cluster, TaskOp::Delete, "t", &[]).await;
    assert_eq!(
        rows(answer.result, &answer.msg, &answer.sources),
        ["true s1 w1"]
    );
    let answer = operate(&mut cluster, TaskOp::Delete, "t", &[]).await;
    assert_eq!(
        answer.msg,
        "task t has no source or not exist, please check the task name and status"
    );
    assert_eq!(cluster.keys(SubtaskKey::PREFIX), 0);
}

#[tokio::test]
async fn case_90_a_source_that_the_task_does_not_name_stops_the_start() {
    let (mut cluster, db, _workers) = two_sources().await;
    let sources = vec!["s1".to_owned(), "s9".to_owned()];
    let request = pb::StartTaskRequest {
        task: task("t", &["s1"], &db),
        sources,
        ..Default::default()
    };
    let answer = start(&mut cluster, request).await;
    assert!(!answer.result && answer.msg.is_empty());
    assert_eq!(answer.sources[0].msg, "source not found in task's config");
    assert_eq!(cluster.keys(SubtaskKey::PREFIX), 0);
}

#[tokio::test]
async fn bad_tasks_are_refused_and_nothing_is_written() {
    let (mut cluster, db, _workers) = two_sources().await;
    let wrong_time = pb::StartTaskRequest {
        start_time: "soon".into(),
        ..Default::default()
    };
    let unreachable = task("t", &["s1"], &db).replace(&format!("port: {}", db.port()), "port: 1");
    for (request, expected) in [
        (
            wrong_time,
            "error while parse start-time, expected in the format like ",
        ),
        (
            pb::StartTaskRequest {
                task: "name: t\nwrong: 1\n".into(),
                ..Default::default()
            },
            "[code=20003:class=dm-master:",
        ),
        (
            pb::StartTaskRequest {
                task: task("t", &["s9"], &db),
                ..Default::default()
            },
            "[code=20031:class=dm-master:",
        ),
        (
            pb::StartTaskRequest {
                task: unreachable,
                ..Default::default()
            },
            "[code=10001:class=dm-master:scope=downstream:",
        ),
    ] {
        let answer = start(&mut cluster, request).await;
        assert!(
            !answer.result && answer.msg.starts_with(expected),
            "{}",
            answer.msg
        );
    }
    assert_eq!(cluster.keys(SubtaskKey::PREFIX), 0);
}

#[tokio::test]
async fn an_operation_that_tasks_do_not_have_is_refused_once_its_sources_are_known() {
    let mut cluster = Cluster::start().await;
    let unknown = operate(&mut cluster, TaskOp::InvalidOp, "t", &[]).await;
    assert_eq!(
        (unknown.result, unknown.msg.as_str()),
        (
            false,
            "task t has no source or not exist, please check the task name and status"
        )
    );
    let invalid = operate(&mut cluster, TaskOp::InvalidOp, "t", &["s1"]).await;
    assert_eq!(
        (invalid.result, invalid.msg.as_str()),
        (
            false,
            "[code=38041:class=dm-master:scope=internal:level=medium], Message: invalid op InvalidOp on task"
        )
    );
}

#[tokio::test]
async fn a_worker_that_never_gets_there_is_reported_and_the_stage_stays() {
    let (mut cluster, db, workers) = two_sources().await;
    let [w1, w2] = workers;
    drop((w1, w2));
    let request = pb::StartTaskRequest {
        task: task("t", &["s1"], &db),
        ..Default::default()
    };
    let answer = start(&mut cluster, request).await;
    let expected = "false s1 w1 [code=38045:class=dm-master:scope=internal:level=medium], Message: fail to get expected result";
    assert_eq!(
        rows(answer.result, &answer.msg, &answer.sources),
        [expected]
    );
    assert_eq!(cluster.keys(SubtaskStageKey::PREFIX), 1);
}

#[tokio::test]
async fn remove_meta_needs_the_other_roles_and_touches_nothing_without_them() {
    let (mut cluster, db, _workers) = two_sources().await;
    let request = pb::StartTaskRequest {
        task: task("t", &["s1"], &db),
        remove_meta: true,
        ..Default::default()
    };
    let answer = start(&mut cluster, request.clone()).await;
    assert!(
        !answer.result
            && answer
                .msg
                .starts_with("while removing metadata: [code=38046:"),
        "{}",
        answer.msg
    );
    let lease = cluster.etcd.put("/lease-of-nobody", "");
    assert!(lease > 0);
    // A key that does not hang on its lease leads nobody.
    let key = LeaderKey {
        role: Role::Pessimist,
        lease: LeaseId(7),
    }
    .encode();
    cluster
        .etcd
        .put(key, Campaign::new("p", "127.0.0.1:1").to_bytes());
    let answer = start(&mut cluster, request).await;
    assert!(
        answer
            .msg
            .starts_with("while removing metadata: [code=38046:"),
        "{}",
        answer.msg
    );
    assert_eq!(cluster.keys(SubtaskKey::PREFIX), 0);
}

#[tokio::test]
async fn a_start_time_is_stored_with_the_task() {
    let (mut cluster, db, _workers) = two_sources().await;
    let start_time = "2026-01-01 00:00:00".to_owned();
    let request = pb::StartTaskRequest {
        task: task("t", &["s1"], &db),
        start_time,
        ..Default::default()
    };
    let answer = start(&mut cluster, request).await;
    assert!(answer.result, "{}", answer.msg);
    let key = TaskCliArgsKey {
        task: "t".into(),
        source: "s1".into(),
    }
    .encode();
    let stored = cluster.etcd.dump(&key).remove(0).value;
    assert!(
        String::from_utf8(stored)
            .unwrap()
            .contains("2026-01-01 00:00:00")
    );
    let stop = pb::OperateSourceRequest {
        op: pb::SourceOp::StopSource.into(),
        source_id: vec!["s1".into()],
        ..Default::default()
    };
    let answer = cluster
        .client
        .operate_source(stop)
        .await
        .unwrap()
        .into_inner();
    assert!(
        !answer.result && answer.msg.starts_with("[code=46010:"),
        "{}",
        answer.msg
    );
    assert_eq!(cluster.keys(SourceConfigKey::PREFIX), 2);
}

#[tokio::test]
async fn a_task_of_more_sources_than_fit_into_one_transaction_is_started_and_stopped_whole() {
    let db = database("many").await;
    let mut cluster = Cluster::start().await;
    let mut workers = Vec::new();
    let names: Vec<String> = (100..200).map(|n| format!("s{n}")).collect();
    for name in &names {
        cluster.source(name);
        workers.push(cluster.worker(&name.replace('s', "w")).await);
    }
    let bounds: Vec<String> = names
        .iter()
        .map(|name| format!("{}-{name}", name.replace('s', "w")))
        .collect();
    cluster.bounds(&bounds.join(" ")).await;
    let sources: Vec<&str> = names.iter().map(String::as_str).collect();
    // No database stands behind the sources.
    let request = pb::StartTaskRequest {
        task: task("t", &sources, &db) + "ignore-checking-items: [all]\n",
        ..Default::default()
    };
    let answer = start(&mut cluster, request).await;
    assert!(answer.result, "{}", answer.msg);
    assert_eq!(answer.check_result, "");
    assert!(
        answer.sources.iter().all(|s| s.result) && answer.sources.len() == 100,
        "{:?}",
        answer.sources
    );
    for op in [TaskOp::Pause, TaskOp::Delete] {
        let answer = operate(&mut cluster, op, "t", &[]).await;
        assert!(
            answer.sources.iter().all(|s| s.result) && answer.sources.len() == 100,
            "{:?}",
            answer.sources
        );
    }
    assert_eq!(cluster.keys(SubtaskStageKey::PREFIX), 0);
}

#[tokio::test]
async fn remove_meta_leaves_nothing_of_an_earlier_run() {
    let (mut cluster, db, _workers) = two_sources().await;
    let leaders = Leaders::start(&cluster.etcd).await;
    db.exec("CREATE DATABASE dm_meta").await.unwrap();
    for table in ["t_syncer_checkpoint", "t_onlineddl", "u_syncer_checkpoint"] {
        db.exec(&format!("CREATE TABLE dm_meta.{table} (id INT)"))
            .await
            .unwrap();
    }
    let load = LoadTaskKey {
        task: "t".into(),
        source: "s1".into(),
    }
    .encode();
    cluster.etcd.put(load.clone(), r#""w1""#);
    let request = pb::StartTaskRequest {
        task: task("t", &["s1"], &db),
        remove_meta: true,
        ..Default::default()
    };
    let answer = start(&mut cluster, request.clone()).await;
    assert_eq!(
        rows(answer.result, &answer.msg, &answer.sources),
        ["true s1 w1"]
    );
    assert_eq!(leaders.asked(), ["pessimist t", "optimist t"]);
    assert_eq!(cluster.keys(&load), 0);
    let left = db
        .query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'dm_meta'")
        .await;
    assert_eq!(left.unwrap(), [[Some("u_syncer_checkpoint".to_owned())]]);

    let again = start(&mut cluster, request).await;
    assert!(
        !again.result && again.msg.contains("while remove-meta is true: "),
        "{}",
        again.msg
    );
    assert_eq!(leaders.asked().len(), 2);
    let stopped = operate(&mut cluster, TaskOp::Delete, "t", &[]).await;
    assert!(stopped.result, "{}", stopped.msg);
    assert_eq!(leaders.asked()[2..], ["optimist t"]);
}
