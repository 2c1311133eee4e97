//! start-relay, stop-relay, pause-relay, resume-relay, purge-relay.

use dm_proto::pb;

use crate::server::{Master, done};

const ANSWER: &str = r#"{
    "result": true,
    "msg": "",
    "sources": [
        {
            "result": true,
            "msg": "",
            "source": "a",
            "worker": "w1"
        }
    ]
}
"#;

const WITH_WORKERS: &str = "start-relay/stop-relay with worker name will be deprecated soon. You can try stopping relay first and use start-relay without worker name instead\n";

#[tokio::test]
async fn a_relay_is_switched_for_a_source_or_for_workers() {
    let master = Master::start().await;
    let answer = pb::OperateRelayResponse {
        result: true,
        sources: vec![done("a", "w1")],
        ..Default::default()
    };
    master.answers("OperateRelay", &answer);
    for (command, op) in [
        ("start-relay", pb::RelayOpV2::StartRelayV2),
        ("stop-relay", pb::RelayOpV2::StopRelayV2),
    ] {
        let ended = master.run(&[command, "-s", "a"]).await;
        assert_eq!((ended.code, ended.out.as_str()), (0, ANSWER));
        let sent: pb::OperateRelayRequest = master.calls().last().unwrap().message();
        assert_eq!((sent.op(), sent.source.as_str()), (op, "a"));
        assert!(sent.worker.is_empty());

        let ended = master.run(&[command, "w1", "w2", "-s", "a"]).await;
        assert_eq!(ended.out, format!("{WITH_WORKERS}{ANSWER}"));
        let sent: pb::OperateRelayRequest = master.calls().last().unwrap().message();
        assert_eq!(sent.worker, ["w1", "w2"]);
    }
}

#[tokio::test]
async fn relays_are_paused_and_resumed() {
    let master = Master::start().await;
    let answer = pb::OperateWorkerRelayResponse {
        op: pb::RelayOp::PauseRelay.into(),
        result: true,
        sources: vec![done("a", "w1"), pb::CommonWorkerResponse::default()],
        ..Default::default()
    };
    master.answers("OperateWorkerRelayTask", &answer);
    for (command, op) in [
        ("pause-relay", pb::RelayOp::PauseRelay),
        ("resume-relay", pb::RelayOp::ResumeRelay),
    ] {
        let ended = master.run(&[command, "-s", "a,b"]).await;
        assert_eq!(ended.code, 0);
        let start = "{\n    \"op\": \"PauseRelay\",\n    \"result\": true,\n    \"msg\": \"\",\n    \"sources\": [\n";
        assert!(ended.out.starts_with(start), "{}", ended.out);
        let sent: pb::OperateWorkerRelayRequest = master.calls().last().unwrap().message();
        assert_eq!((sent.op(), sent.sources.len()), (op, 2));
    }
    // One of the sources has not done it.
    let strict = master.run(&["--strict", "pause-relay", "-s", "a,b"]).await;
    assert_eq!(strict.code, 3);
}

#[tokio::test]
async fn relay_logs_are_purged_before_a_file() {
    let master = Master::start().await;
    let answer = pb::PurgeWorkerRelayResponse {
        result: true,
        sources: vec![done("a", "w1")],
        ..Default::default()
    };
    master.answers("PurgeWorkerRelay", &answer);
    let purge = ["purge-relay", "-s", "a", "-f", "\"bin.000003\""];
    let ended = master.run(&purge).await;
    assert_eq!(
        ended.out,
        format!(
            "[warn] no --sub-dir specify for --filename, the latest one will be used\n{ANSWER}"
        )
    );
    let below = ["--sub-dir", "\"x.000001\""];
    let ended = master.run(&[&purge[..], &below].concat()).await;
    assert_eq!(ended.out, ANSWER);
    let sent: pb::PurgeWorkerRelayRequest = master.calls()[1].message();
    let wanted = pb::PurgeWorkerRelayRequest {
        sources: vec!["a".into()],
        filename: "bin.000003".into(),
        sub_dir: "x.000001".into(),
        ..Default::default()
    };
    assert_eq!(sent, wanted);
}

#[tokio::test]
async fn what_is_missing_is_named() {
    const NO_SOURCE: &str = "must specify at least one source (`-s` / `--source`)";
    const NOT_ONE: &str = "must specify one source (`-s` / `--source`)";
    let master = Master::start().await;
    for (args, text) in [
        (&["start-relay"][..], "please check output to see error"),
        (&["start-relay", "w1"], NOT_ONE),
        (&["stop-relay", "-s", "a,b"], NOT_ONE),
        (&["pause-relay"], NO_SOURCE),
        (&["resume-relay", "a"], "please check output to see error"),
        (&["purge-relay", "-f", "bin.1"], NO_SOURCE),
        (
            &["purge-relay", "-s", "a"],
            "must specify the name of the terminal file before which to purge relay log files. (`-f` / `--filename`)",
        ),
        (
            &["purge-relay", "-s", "a,b", "-f", "bin.1"],
            "for --filename, can only specify one source per time",
        ),
    ] {
        let ended = master.run(args).await;
        let wanted = format!("Error: {text}\n");
        assert_eq!((ended.code, ended.err), (1, wanted), "{args:?}");
        let has_usage = ended.out.starts_with("Usage:\n  dmctl ");
        assert_eq!(has_usage, text.starts_with("please"), "{}", ended.out);
    }
    assert!(master.calls().is_empty());
}
