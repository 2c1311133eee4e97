//! binlog skip, replace, inject, revert and list, and handle-error.

use dm_proto::pb;
use pb::ErrorOp;

use crate::server::{Master, done};

const DDL: &str = "alter table d.t add column a int";

fn handled() -> pb::HandleErrorResponse {
    pb::HandleErrorResponse {
        result: true,
        sources: vec![done("mysql-a", "w1")],
        ..Default::default()
    }
}

#[tokio::test]
async fn events_are_handled_by_task_source_and_position() {
    let master = Master::start().await;
    master.answers("HandleError", &handled());
    let wanted = r#"{
    "result": true,
    "msg": "",
    "sources": [
        {
            "result": true,
            "msg": "",
            "source": "mysql-a",
            "worker": "w1"
        }
    ]
}
"#;
    for (args, op, sqls) in [
        (&["binlog", "skip", "t"][..], ErrorOp::Skip, &[][..]),
        (&["binlog", "revert", "t"], ErrorOp::Revert, &[]),
        (&["binlog", "list", "t"], ErrorOp::List, &[]),
        (
            &["binlog", "replace", "t", DDL, ";", "drop table d.u;"],
            ErrorOp::Replace,
            &[DDL, "drop table d.u"],
        ),
        (&["binlog", "inject", "t", DDL], ErrorOp::Inject, &[DDL]),
        (&["handle-error", "t", "skip"], ErrorOp::Skip, &[]),
        (&["handle-error", "t", "revert"], ErrorOp::Revert, &[]),
        (
            &["handle-error", "t", "replace", DDL],
            ErrorOp::Replace,
            &[DDL],
        ),
    ] {
        let where_to = ["-s", "a,b", "-b", "\"mysql-bin.000003:120\""];
        let ended = master.run(&[args, &where_to].concat()).await;
        assert_eq!((ended.code, ended.out.as_str()), (0, wanted), "{ended:?}");
        let sent: pb::HandleErrorRequest = master.calls().last().unwrap().message();
        assert_eq!((sent.op(), sent.task.as_str()), (op, "t"), "{args:?}");
        assert_eq!(sent.binlog_pos, "mysql-bin.000003:120");
        assert_eq!(sent.sources, ["a", "b"]);
        assert_eq!(sent.sqls, sqls);
    }
}

#[tokio::test]
async fn the_position_may_stand_before_the_action_and_may_be_missing() {
    let master = Master::start().await;
    master.answers("HandleError", &handled());
    for (args, position) in [
        (&["binlog", "-b", "bin.1:4", "skip", "t"][..], "bin.1:4"),
        (&["binlog", "skip", "t"], ""),
    ] {
        assert_eq!(master.run(args).await.code, 0);
        let sent: pb::HandleErrorRequest = master.calls().last().unwrap().message();
        assert_eq!(
            (sent.binlog_pos.as_str(), sent.sources.len()),
            (position, 0)
        );
    }
}

#[tokio::test]
async fn a_wrong_number_of_arguments_is_answered_with_the_help() {
    let master = Master::start().await;
    for (args, line) in [
        (&["binlog"][..], "  dmctl binlog [command]\n"),
        (
            &["binlog", "skip"],
            "  dmctl binlog skip <task-name> [flags]\n",
        ),
        (&["binlog", "skip", "t", "u"], "  dmctl binlog skip "),
        (&["binlog", "list", "t", "u"], "  dmctl binlog list "),
        (&["binlog", "revert"], "  dmctl binlog revert "),
        (&["binlog", "replace", "t"], "  dmctl binlog replace "),
        (&["binlog", "inject", "t"], "  dmctl binlog inject "),
    ] {
        let ended = master.run(args).await;
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{args:?}");
        assert!(
            ended.out.contains(&format!("\nUsage:\n{line}")),
            "{}",
            ended.out
        );
        // Nothing has been done.
        assert_eq!(master.run(&[&["--strict"], args].concat()).await.code, 3);
    }
    assert!(master.calls().is_empty());
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused() {
    let master = Master::start().await;
    for (args, text) in [
        (
            &["binlog", "skip", "t", "-b", "bin.1"][..],
            "Error: [code=11118:class=functional:scope=internal:level=low], Message: invalid --binlog-pos bin.1 in handle-error operation: ",
        ),
        (
            &["binlog", "replace", "t", "altr table t"],
            "Error: invalid sql 'altr table t': ",
        ),
        (&["binlog", "inject", "t", ";"], "Error: no valid SQLs\n"),
        (
            &["handle-error", "t", "skip", DDL],
            "Error: replace-sqls can not be used for 'skip/revert' operation\n",
        ),
        (
            &["handle-error", "t", "replace"],
            "Error: must specify the replace-sqls for replace operation\n",
        ),
        (
            &["handle-error", "t", "kick"],
            "Error: invalid operation 'kick', please use `skip`, `replace` or `revert`\n",
        ),
        (
            &["handle-error", "t"],
            "Error: please check output to see error\n",
        ),
    ] {
        let ended = master.run(args).await;
        assert_eq!(ended.code, 1, "{args:?}");
        assert!(ended.err.starts_with(text), "{args:?}: {}", ended.err);
    }
    assert!(master.calls().is_empty());
}

#[tokio::test]
async fn a_source_that_failed_is_a_failure_when_strict() {
    let master = Master::start().await;
    let mut half = handled();
    half.sources.push(pb::CommonWorkerResponse::default());
    master.answers("HandleError", &half);
    assert_eq!(master.run(&["binlog", "skip", "t"]).await.code, 0);
    assert_eq!(
        master.run(&["binlog", "skip", "t", "--strict"]).await.code,
        3
    );
}
