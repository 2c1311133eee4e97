//! `OperateSource` with a real database, and with one that is not there.

use dm_keyspace::SourceConfigKey;
use dm_proto::pb::{self, SourceOp};
use dm_task::SourceConfig;
use dm_testkit::mariadb::{self, MariaDb};

use crate::kit::{Cluster, database};

fn config(id: &str, db: &MariaDb) -> String {
    let (port, user, password) = (db.port(), mariadb::USER, db.password());
    format!(
        "source-id: {id}\nfrom: {{host: 127.0.0.1, port: {port}, user: {user}, password: {password}}}\n"
    )
}

async fn operate(
    cluster: &mut Cluster,
    request: pb::OperateSourceRequest,
) -> pb::OperateSourceResponse {
    cluster
        .client
        .operate_source(request)
        .await
        .unwrap()
        .into_inner()
}

fn create(configs: Vec<String>, worker: &str) -> pb::OperateSourceRequest {
    let op = SourceOp::StartSource.into();
    pb::OperateSourceRequest {
        op,
        config: configs,
        worker_name: worker.into(),
        ..Default::default()
    }
}

fn by_id(op: SourceOp, ids: &[&str]) -> pb::OperateSourceRequest {
    let source_id = ids.iter().map(|id| (*id).to_owned()).collect();
    pb::OperateSourceRequest {
        op: op.into(),
        source_id,
        ..Default::default()
    }
}

fn rows(answer: &pb::OperateSourceResponse) -> Vec<String> {
    assert!(answer.result, "{}", answer.msg);
    answer
        .sources
        .iter()
        .map(|s| {
            format!("{} {} {} {}", s.result, s.source, s.worker, s.msg)
                .trim()
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn case_67_a_source_is_created_completed_from_its_server_bound_shown_and_stopped_up_to_an_unknown_one()
 {
    let db = database("source").await;
    let mut cluster = Cluster::start().await;
    let unbound = operate(&mut cluster, create(vec![config("s0", &db)], "")).await;
    let no_worker = "true s0  source is added but there is no free worker to bound";
    assert_eq!(rows(&unbound), [no_worker]);
    let _w2 = cluster.worker("w2").await;
    cluster.bounds("w2-s0").await;
    let _w1 = cluster.worker("w1").await;

    assert_eq!(
        rows(&operate(&mut cluster, create(vec![config("s1", &db)], "")).await),
        ["true s1 w1"]
    );
    let key = SourceConfigKey {
        source: "s1".into(),
    }
    .encode();
    let stored = cluster.etcd.dump(&key).remove(0);
    let stored = SourceConfig::from_toml(&String::from_utf8(stored.value).unwrap()).unwrap();
    assert_eq!(stored.flavor, "mariadb");
    assert!(stored.server_id >= 429_496_729);

    let again = operate(
        &mut cluster,
        create(vec![config("s2", &db), config("s1", &db)], ""),
    )
    .await;
    assert!(
        !again.result && again.msg.starts_with("[code=46007:"),
        "{}",
        again.msg
    );
    assert_eq!(cluster.keys(SourceConfigKey::PREFIX), 2);

    let shown = operate(&mut cluster, by_id(SourceOp::ShowSource, &[])).await;
    assert_eq!(rows(&shown), ["true s0 w2", "true s1 w1"]);
    let stopped = operate(
        &mut cluster,
        by_id(SourceOp::StopSource, &["s1", "unknown"]),
    )
    .await;
    assert!(
        !stopped.result && stopped.msg.starts_with("[code=46008:"),
        "{}",
        stopped.msg
    );
    cluster.bounds("w2-s0").await;
    let stopped = operate(&mut cluster, by_id(SourceOp::StopSource, &["s0"])).await;
    assert_eq!(rows(&stopped), ["true s0 w2"]);
    assert_eq!(cluster.keys(SourceConfigKey::PREFIX), 0);
}

#[tokio::test]
async fn a_source_that_cannot_be_reached_is_not_added() {
    let mut cluster = Cluster::start().await;
    let config =
        "source-id: s1\nfrom: {host: 127.0.0.1, port: 1, user: u, password: s3cret}\n".to_owned();
    let answer = operate(&mut cluster, create(vec![config], "")).await;
    assert!(!answer.result, "{answer:?}");
    assert!(
        answer.msg.starts_with(
            "[code=10001:class=database:scope=upstream:level=high], Message: source s1: "
        ),
        "{}",
        answer.msg
    );
    assert!(!answer.msg.contains("s3cret"), "{}", answer.msg);
    assert_eq!(cluster.keys(SourceConfigKey::PREFIX), 0);
}

#[tokio::test]
async fn a_source_by_gtid_needs_a_server_that_writes_them() {
    let db = database("gtid").await;
    let mut cluster = Cluster::start().await;
    let by_gtid = |flavor: &str| format!("{}enable-gtid: true\n{flavor}", config("s1", &db));
    let answer = operate(&mut cluster, create(vec![by_gtid("flavor: mysql\n")], "")).await;
    assert!(
        !answer.result
            && answer.msg.starts_with("[code=26007:")
            && answer.msg.contains("s1 has GTID_MODE =  instead of ON"),
        "{}",
        answer.msg
    );
    assert_eq!(cluster.keys(SourceConfigKey::PREFIX), 0);
    // MariaDB always does, and is known by its version.
    let answer = operate(&mut cluster, create(vec![by_gtid("")], "")).await;
    assert!(answer.result, "{}", answer.msg);
}

#[tokio::test]
async fn the_session_of_a_source_is_set_and_bad_certificates_are_no_plain_text() {
    let db = database("session").await;
    let mut cluster = Cluster::start().await;
    let with = |more: &str| {
        config("s1", &db)
            .replace("}}\n", "}\n")
            .replacen("}\n", more, 1)
    };
    let answer = operate(
        &mut cluster,
        create(vec![with(", session: {no_such_variable: 1}}\n")], ""),
    )
    .await;
    assert!(
        !answer.result && answer.msg.contains("no_such_variable"),
        "{}",
        answer.msg
    );
    let answer = operate(
        &mut cluster,
        create(vec![with(", security: {ssl-ca-base64: bm8=}}\n")], ""),
    )
    .await;
    assert!(
        !answer.result && answer.msg.starts_with("[code=48003:"),
        "{}",
        answer.msg
    );
    assert_eq!(cluster.keys(SourceConfigKey::PREFIX), 0);
}

#[tokio::test]
async fn more_sources_than_one_command_takes_are_refused_at_once() {
    let mut cluster = Cluster::start().await;
    let configs = (0..128)
        .map(|n| format!("source-id: s{n}\nfrom: {{host: 127.0.0.1, port: 1, user: u}}\n"))
        .collect();
    let answer = operate(&mut cluster, create(configs, "")).await;
    assert_eq!(
        (answer.result, answer.msg.as_str()),
        (
            false,
            "128 sources are to be added, and one command can take 127; please use several"
        )
    );
    assert_eq!(cluster.keys(SourceConfigKey::PREFIX), 0);
}

#[tokio::test]
async fn bad_files_and_operations_are_refused_with_a_reason() {
    let mut cluster = Cluster::start().await;
    let answer = operate(
        &mut cluster,
        create(vec!["source-id: s1\nwrong-key: 1\n".to_owned()], ""),
    )
    .await;
    assert!(
        !answer.result && answer.msg.starts_with("[code=20003:"),
        "{}",
        answer.msg
    );
    assert!(answer.msg.contains("wrong-key"), "{}", answer.msg);
    let answer = operate(&mut cluster, by_id(SourceOp::UpdateSource, &["s1"])).await;
    assert_eq!(
        (answer.result, answer.msg.as_str()),
        (false, "Update worker config is not supported by dm-ha now")
    );
    let answer = operate(&mut cluster, by_id(SourceOp::InvalidSourceOp, &[])).await;
    assert!(
        !answer.result && answer.msg.starts_with("[code=38041:"),
        "{}",
        answer.msg
    );
}
