//! operate-source.

use dm_proto::pb;

use crate::server::{Files, Master, done};

const SOURCE: &str = r#"# the first shop
source-id: mysql-a
from:
  host: 127.0.0.1
  port: 3306
  user: root
  password: secret-password
"#;

fn sources_done() -> pb::OperateSourceResponse {
    pb::OperateSourceResponse {
        result: true,
        sources: vec![done("mysql-a", "w1")],
        ..Default::default()
    }
}

#[tokio::test]
async fn sources_are_created_from_files() {
    let (master, files) = (Master::start().await, Files::new());
    master.answers("OperateSource", &sources_done());
    let a = files.with("a.yaml", SOURCE);
    let relay = format!("relay-dir: /r\n{}", SOURCE.replace("mysql-a", "mysql-b"));
    let b = files.with("b.yaml", &relay);
    let ended = master
        .run(&["operate-source", "create", &a, "-w", "w1"])
        .await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(
        ended.out.starts_with("{\n    \"result\": true,"),
        "{}",
        ended.out
    );
    let sent: pb::OperateSourceRequest = master.only_call().message();
    assert_eq!(sent.op(), pb::SourceOp::StartSource);
    assert_eq!(
        (sent.config.as_slice(), sent.worker_name.as_str()),
        (&[SOURCE.to_owned()][..], "w1")
    );

    let ended = master
        .run(&["operate-source", "create", &a, &b, "-w", "w1"])
        .await;
    assert!(ended.out.starts_with(
        "`relay-dir` in source config will be deprecated soon, please use `relay-dir` in worker config instead\n\
         operate-source create can't create multiple sources when specify worker\n"
    ), "{}", ended.out);
    let sent: pb::OperateSourceRequest = master.calls()[1].message();
    assert_eq!(sent.config, [SOURCE, relay.as_str()]);
}

#[tokio::test]
async fn sources_are_stopped_and_shown_by_id_or_file() {
    let (master, files) = (Master::start().await, Files::new());
    master.answers("OperateSource", &sources_done());
    let a = files.with("a.yaml", SOURCE);
    master
        .run(&["operate-source", "stop", &a, "mysql-b", "-s", "mysql-c"])
        .await;
    let sent: pb::OperateSourceRequest = master.calls()[0].message();
    assert_eq!(sent.op(), pb::SourceOp::StopSource);
    assert_eq!(
        (sent.config.len(), sent.source_id),
        (1, vec!["mysql-c".to_owned(), "mysql-b".to_owned()])
    );
    master.run(&["operate-source", "show"]).await;
    let sent: pb::OperateSourceRequest = master.calls()[1].message();
    let wanted = pb::OperateSourceRequest {
        op: pb::SourceOp::ShowSource.into(),
        ..Default::default()
    };
    assert_eq!(sent, wanted);
}

#[tokio::test]
async fn operate_source_says_what_is_wrong() {
    let (master, files) = (Master::start().await, Files::new());
    let bad = files.with("bad.yaml", &format!("{SOURCE}sorce: 1\n"));
    for (args, text) in [
        (
            &["operate-source", "make"][..],
            "invalid operate 'make' on worker, expected create, update, stop or show",
        ),
        (
            &["operate-source", "stop", "-s", "a"],
            "operate-source create/stop should specify config-file(s)",
        ),
        (
            &["operate-source", "create", "/no/such"],
            "error in get file content: /no/such: ",
        ),
        (&["operate-source", "create", &bad], "sorce"),
        (&["operate-source"], "please check output to see error"),
    ] {
        let ended = master.run(args).await;
        assert_eq!(ended.code, 1, "{args:?}");
        assert!(ended.err.contains(text), "{args:?}: {}", ended.err);
        assert!(!ended.err.contains("secret-password"), "{}", ended.err);
    }
    assert!(master.calls().is_empty());
}

#[tokio::test]
async fn the_sample_is_a_good_source() {
    let master = Master::start().await;
    let ended = master.run(&["operate-source", "-p"]).await;
    let config = dm_task::SourceConfig::from_yaml("sample", &ended.out).unwrap();
    assert_eq!(config.source_id, "mysql-replica-01");
}

#[tokio::test]
async fn a_source_is_transferred_to_a_worker() {
    let master = Master::start().await;
    let refused = pb::TransferSourceResponse {
        result: false,
        msg: "no".into(),
    };
    master.answers("TransferSource", &refused);
    let ended = master.run(&["transfer-source", "mysql-a", "w2"]).await;
    let wanted = "{\n    \"result\": false,\n    \"msg\": \"no\"\n}\n";
    assert_eq!((ended.code, ended.out.as_str()), (0, wanted));
    let sent: pb::TransferSourceRequest = master.only_call().message();
    assert_eq!(
        (sent.source.as_str(), sent.worker.as_str()),
        ("mysql-a", "w2")
    );
    let strict = ["--strict", "transfer-source", "mysql-a", "w2"];
    assert_eq!(master.run(&strict).await.code, 3);

    let ended = master.run(&["transfer-source", "mysql-a"]).await;
    assert_eq!(ended.code, 1);
    let line = "Usage:\n  dmctl transfer-source <source-id> <worker-id> [flags]\n";
    assert!(ended.out.starts_with(line), "{}", ended.out);
}
