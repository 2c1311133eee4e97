//! validation start, stop, update, status, show-error, ignore-error, resolve-error, clear-error.

use dm_proto::pb;
use pb::start_validation_request::{Mode, StartTime};

use crate::server::{Master, done};

const ANSWER: &str = r#"{
    "result": true,
    "msg": "success",
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

#[tokio::test]
async fn validators_start_with_what_was_given() {
    let master = Master::start().await;
    let answer = pb::StartValidationResponse {
        result: true,
        msg: "success".into(),
        sources: vec![done("a", "w1")],
    };
    master.answers("StartValidation", &answer);
    let one = pb::StartValidationRequest {
        task_name: "t".into(),
        sources: vec!["a".into()],
        ..Default::default()
    };
    let explicit = pb::StartValidationRequest {
        mode: Some(Mode::ModeValue("fast".into())),
        start_time: Some(StartTime::StartTimeValue("2026-01-02 03:04:05".into())),
        ..Default::default()
    };
    let time = "--start-time=2026-01-02 03:04:05";
    for (args, wanted) in [
        (&["validation", "start", "t", "-s", "a"][..], one),
        (
            &["validation", "start", "--all-task", "--mode", "fast", time],
            explicit,
        ),
    ] {
        let ended = master.run(args).await;
        assert_eq!((ended.code, ended.out.as_str()), (0, ANSWER), "{ended:?}");
        let sent: pb::StartValidationRequest = master.calls().last().unwrap().message();
        assert_eq!(sent, wanted);
    }
}

#[tokio::test]
async fn validators_are_stopped() {
    let master = Master::start().await;
    let answer = pb::StopValidationResponse {
        result: true,
        msg: "success".into(),
        sources: vec![done("a", "w1")],
    };
    master.answers("StopValidation", &answer);
    for (args, task) in [
        (&["validation", "stop", "t", "-s", "a"][..], "t"),
        (&["validation", "stop", "--all-task", "-s", "a"], ""),
    ] {
        assert_eq!(master.run(args).await.out, ANSWER);
        let sent: pb::StopValidationRequest = master.calls().last().unwrap().message();
        assert_eq!((sent.task_name.as_str(), sent.sources.len()), (task, 1));
    }
}

#[tokio::test]
async fn the_cutover_of_validators_is_updated() {
    let master = Master::start().await;
    let answer = pb::UpdateValidationResponse {
        result: true,
        msg: "success".into(),
        sources: vec![done("a", "w1")],
    };
    master.answers("UpdateValidation", &answer);
    for (flag, value) in [
        ("--cutover-binlog-pos", "(mysql-bin.000001, 2345)"),
        ("--cutover-binlog-gtid", "0-1-2"),
    ] {
        let args = ["validation", "update", "t", "-s", "a", flag, value];
        assert_eq!(master.run(&args).await.out, ANSWER);
        let sent: pb::UpdateValidationRequest = master.calls().last().unwrap().message();
        assert_eq!((sent.task_name.as_str(), sent.sources.len()), ("t", 1));
        assert_eq!(format!("{}{}", sent.binlog_pos, sent.binlog_gtid), value);
        assert_eq!(sent.binlog_pos.is_empty(), flag.ends_with("gtid"));
    }
}

#[tokio::test]
async fn the_status_of_validators_is_shown() {
    let master = Master::start().await;
    let answer = pb::GetValidationStatusResponse {
        result: true,
        ..Default::default()
    };
    master.answers("GetValidationStatus", &answer);
    for (args, stage) in [
        (&["validation", "status", "t"][..], pb::Stage::InvalidStage),
        (
            &["validation", "status", "t", "--table-stage", "running"],
            pb::Stage::Running,
        ),
        (
            &["validation", "status", "t", "--table-stage", "stopped"],
            pb::Stage::Stopped,
        ),
    ] {
        let ended = master.run(args).await;
        let wanted = "{\n    \"result\": true,\n    \"msg\": \"\",\n    \"validators\": [\n    ],\n    \"tableStatuses\": [\n    ]\n}\n";
        assert_eq!((ended.code, ended.out.as_str()), (0, wanted));
        let sent: pb::GetValidationStatusRequest = master.calls().last().unwrap().message();
        assert_eq!(
            (sent.task_name.as_str(), sent.filter_status()),
            ("t", stage)
        );
    }
}

#[tokio::test]
async fn errors_of_validators_are_shown() {
    let master = Master::start().await;
    let answer = pb::GetValidationErrorResponse {
        result: true,
        ..Default::default()
    };
    master.answers("GetValidationError", &answer);
    use pb::ValidateErrorState::{IgnoredErr, InvalidErr, NewErr};
    for (args, state) in [
        (&["validation", "show-error", "t"][..], NewErr),
        (
            &["validation", "show-error", "t", "--error", "unprocessed"],
            NewErr,
        ),
        (
            &["validation", "show-error", "t", "--error", "ignored"],
            IgnoredErr,
        ),
        (
            &["validation", "show-error", "t", "--error", "all"],
            InvalidErr,
        ),
    ] {
        let ended = master.run(args).await;
        let wanted = "{\n    \"result\": true,\n    \"msg\": \"\",\n    \"error\": [\n    ]\n}\n";
        assert_eq!((ended.code, ended.out.as_str()), (0, wanted));
        let sent: pb::GetValidationErrorRequest = master.calls().last().unwrap().message();
        assert_eq!((sent.task_name.as_str(), sent.err_state()), ("t", state));
    }
}

#[tokio::test]
async fn errors_of_validators_are_marked_by_number_or_all() {
    let master = Master::start().await;
    let answer = pb::OperateValidationErrorResponse {
        result: false,
        msg: "no".into(),
    };
    master.answers("OperateValidationError", &answer);
    for (word, op) in [
        ("ignore-error", pb::ValidationErrOp::IgnoreErrOp),
        ("resolve-error", pb::ValidationErrOp::ResolveErrOp),
        ("clear-error", pb::ValidationErrOp::ClearErrOp),
    ] {
        for (last, id, is_all) in [("12", 12, false), ("--all", 0, true)] {
            let ended = master.run(&["validation", word, "t", last]).await;
            let wanted = "{\n    \"result\": false,\n    \"msg\": \"no\"\n}\n";
            assert_eq!((ended.code, ended.out.as_str()), (0, wanted));
            let sent: pb::OperateValidationErrorRequest = master.calls().last().unwrap().message();
            let wanted = pb::OperateValidationErrorRequest {
                op: op.into(),
                is_all_error: is_all,
                task_name: "t".into(),
                err_id: id,
            };
            assert_eq!(sent, wanted);
        }
    }
    let strict = ["--strict", "validation", "clear-error", "t", "--all"];
    assert_eq!(master.run(&strict).await.code, 3);
}

const TIME: &str = "start-time should be in the format like '2006-01-02 15:04:05', '2006-01-02T15:04:05', \
    '2006-01-02 15:04:05+08:00', '2006-01-02T15:04:05+08:00', '2006-01-02 15:04:05+0800', or \
    '2006-01-02T15:04:05+0800'";

#[tokio::test]
async fn wrong_arguments_show_the_usage_and_say_what_is_wrong() {
    const EITHER: &str = "either `task-name` or `all-task` should be set";
    const MANY: &str = "too many arguments are specified";
    const CUTOVER: &str =
        "you must specify either one of '--cutover-binlog-pos' or '--cutover-binlog-pos'";
    const BY_NUMBER: &str = "either `--all` or `error-id` should be set";
    let master = Master::start().await;
    for (line, text) in [
        ("start", EITHER),
        ("start t --all-task", EITHER),
        ("start t u", MANY),
        (
            "start t --mode slow",
            "mode should be either `full` or `fast`, current is `slow`",
        ),
        ("start t --start-time yesterday", TIME),
        ("stop", EITHER),
        ("stop t u", MANY),
        ("update t", CUTOVER),
        (
            "update t --cutover-binlog-pos x --cutover-binlog-gtid y",
            CUTOVER,
        ),
        (
            "update t --cutover-binlog-pos bin.1:4",
            "[code=22003:class=binlog-op:scope=internal:level=high], Message: invalid binlog pos, should be like (mysql-bin.000001, 2345), got bin.1:4",
        ),
        (
            "update --cutover-binlog-gtid y",
            "`task-name` should be set",
        ),
        (
            "update t u --cutover-binlog-gtid y",
            "should specify only one `task-name`",
        ),
        ("status", "task name should be specified"),
        (
            "status t --table-stage new",
            "stage should be either `running` or `stopped`",
        ),
        (
            "show-error t --error new",
            "error flag should be either `all`, `ignored`, or `unprocessed`",
        ),
        ("ignore-error", "task name should be specified"),
        ("resolve-error t 1 2", MANY),
        ("clear-error t", BY_NUMBER),
        ("clear-error t 1 --all", BY_NUMBER),
        (
            "clear-error t x",
            "`error-id` should be integer when `--all` is not set",
        ),
    ] {
        let args: Vec<&str> = std::iter::once("validation")
            .chain(line.split(' '))
            .collect();
        let ended = master.run(&args).await;
        let usage = format!("Usage:\n  dmctl {} {} ", args[0], args[1]);
        assert!(ended.out.starts_with(&usage), "{line}: {}", ended.out);
        assert_eq!(
            (ended.code, ended.err),
            (1, format!("Error: {text}\n")),
            "{line}"
        );
    }
    let ended = master.run(&["validation", "show-error"]).await;
    assert_eq!(ended.err, "Error: task name should be specified\n");
    assert_eq!(ended.out, "");
    assert!(master.calls().is_empty());
}
