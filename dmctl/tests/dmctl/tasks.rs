//! start-task, check-task, stop-task, pause-task, resume-task, query-status.

use dm_proto::pb;
use pb::{Stage, SubTaskStatus, UnitType};
use tonic::Status;

use crate::server::{Files, Master, done};

const TASK: &str = r#"# orders of both shops
name: orders
task-mode: all
shard-mode: pessimistic
target-database:
  host: 127.0.0.1
  port: 4000
  user: root
  password: ""
mysql-instances:
  - source-id: mysql-a
  - source-id: mysql-b
"#;

fn started() -> pb::StartTaskResponse {
    pb::StartTaskResponse {
        result: true,
        sources: vec![done("mysql-a", "w1")],
        check_result: "pre-check is passed.".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn start_task_sends_the_text_as_it_was_written() {
    let (master, files) = (Master::start().await, Files::new());
    master.answers("StartTask", &started());
    let path = files.with("t.yaml", TASK);
    let args = [
        "start-task",
        &path,
        "-s",
        "mysql-a",
        "--remove-meta",
        "--start-time",
        "2026-01-02 03:04:05",
    ];
    let ended = master.run(&args).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
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
    ],
    "checkResult": "pre-check is passed."
}
"#;
    assert_eq!(ended.out, wanted);
    let sent: pb::StartTaskRequest = master.only_call().message();
    assert_eq!(sent.task, TASK);
    assert_eq!(sent.sources, ["mysql-a"]);
    assert!(sent.remove_meta);
    assert_eq!(sent.start_time, "2026-01-02 03:04:05");
}

#[tokio::test]
async fn check_task_sends_the_text_with_its_limits_and_prints_the_details_as_they_are() {
    let (master, files) = (Master::start().await, Files::new());
    let msg = "fail to check synchronization configuration with type: no errors but some warnings\n detail: {\n\t\t\"results\": [],\n\t}";
    let answer = pb::CheckTaskResponse {
        result: true,
        msg: msg.into(),
    };
    master.answers("CheckTask", &answer);
    let path = files.with("t.yaml", TASK);
    let args = [
        "check-task",
        &path,
        "-e",
        "3",
        "--warn",
        "-1",
        "--start-time",
        "2026-01-02 03:04:05",
    ];
    let ended = master.run(&args).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let wanted = "{\n    \"result\": true,\n    \"msg\": \"fail to check synchronization configuration with type: no errors \
                  but some warnings\n    \tdetail: {\n\t\t\"results\": [],\n\t}\"\n}\n";
    assert_eq!(ended.out, wanted);
    let call = master.only_call();
    let sent: pb::CheckTaskRequest = call.message();
    assert_eq!(sent.task, TASK);
    assert_eq!((sent.err_cnt, sent.warn_cnt), (3, -1));
    assert_eq!(sent.start_time, "2026-01-02 03:04:05");
    assert!(call.headers.contains_key("dm-file-bin"));
}

#[tokio::test]
async fn check_task_leaves_mistakes_in_the_file_to_the_master_and_shows_ten_of_each_kind() {
    let (master, files) = (Master::start().await, Files::new());
    master.answers("CheckTask", &pb::CheckTaskResponse::default());
    let path = files.with("t.yaml", "nonsense: 1\n");
    let ended = master.run(&["--strict", "check-task", &path]).await;
    assert_eq!(ended.code, 3);
    let sent: pb::CheckTaskRequest = master.only_call().message();
    assert_eq!(
        (sent.task.as_str(), sent.err_cnt, sent.warn_cnt),
        ("nonsense: 1\n", 10, 10)
    );
    let ended = master.run(&["check-task"]).await;
    assert!(
        ended.code != 0
            && ended
                .out
                .contains("dmctl check-task <config-file> [--error count] [--warn count]"),
        "{}",
        ended.out
    );
}

#[tokio::test]
async fn start_task_adds_the_content_of_tls_files() {
    let (master, files) = (Master::start().await, Files::new());
    master.answers("StartTask", &started());
    let ca = files.with("ca.pem", "ab");
    let security = format!("  security:\n    ssl-ca: {ca}\nmysql-instances:");
    let path = files.with("t.yaml", &TASK.replace("mysql-instances:", &security));
    let ended = master.run(&["start-task", &path]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let sent: pb::StartTaskRequest = master.only_call().message();
    let config = dm_task::TaskConfig::from_yaml("", &sent.task).unwrap();
    let security = config.target_database.security.unwrap();
    assert_eq!(security.ssl_ca_bytes.as_deref(), Some(&b"ab"[..]));
    assert!(sent.task.starts_with("# orders of both shops\n"));
}

#[tokio::test]
async fn start_task_refuses_bad_files_before_anything_is_sent() {
    let (master, files) = (Master::start().await, Files::new());
    let unknown = files.with("unknown.yaml", &format!("{TASK}shard-moode: x\n"));
    let ended = master.run(&["start-task", &unknown]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with("Error: [code="), "{}", ended.err);
    assert!(
        ended.err.contains("shard-moode") && ended.err.contains("line 13"),
        "{}",
        ended.err
    );

    let both = files.with("both.yaml", &format!("{TASK}is-sharding: false\n"));
    let ended = master.run(&["start-task", &both]).await;
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.out,
        "The behaviour of `is-sharding` and `shard-mode` is conflicting. `is-sharding` is deprecated, please use `shard-mode` only.\n"
    );

    let ended = master.run(&["start-task", "/no/such.yaml"]).await;
    assert!(
        ended
            .err
            .starts_with("Error: error in get file content: /no/such.yaml: ")
    );
    let ended = master.run(&["start-task"]).await;
    assert!(ended.out.starts_with(
        "Usage:\n  dmctl start-task [-s source ...] [--remove-meta] <config-file> [flags]\n"
    ));
    assert_eq!(ended.err, "Error: please check output to see error\n");
    assert!(master.calls().is_empty());
}

#[tokio::test]
async fn a_task_is_named_by_its_name_or_its_file() {
    let (master, files) = (Master::start().await, Files::new());
    let answer = pb::OperateTaskResponse {
        op: pb::TaskOp::Pause.into(),
        result: true,
        ..Default::default()
    };
    master.answers("OperateTask", &answer);
    let path = files.with("t.yaml", TASK);
    for (command, op) in [
        ("pause-task", pb::TaskOp::Pause),
        ("resume-task", pb::TaskOp::Resume),
        ("stop-task", pb::TaskOp::Delete),
    ] {
        for task in ["orders", path.as_str()] {
            let ended = master.run(&[command, task, "-s", "mysql-a"]).await;
            let wanted = "{\n    \"op\": \"Pause\",\n    \"result\": true,\n    \"msg\": \"\",\n    \"sources\": [\n    ]\n}\n";
            assert_eq!(ended.out, wanted);
            let sent: pb::OperateTaskRequest = master.calls().last().unwrap().message();
            assert_eq!((sent.op(), sent.name.as_str()), (op, "orders"));
            assert_eq!(sent.sources, ["mysql-a"]);
        }
    }
}

#[tokio::test]
async fn a_refused_operation_is_told_beside_its_error() {
    let master = Master::start().await;
    master.answer("/pb.Master/OperateTask", Err(Status::unknown("no")));
    for (command, verb) in [
        ("pause-task", "pause"),
        ("resume-task", "resume"),
        ("stop-task", "delete"),
    ] {
        let ended = master.run(&[command, "orders"]).await;
        assert_eq!(ended.code, 1);
        assert_eq!(ended.out, format!("can not {verb} task orders\n"));
        assert_eq!(ended.err, "Error: rpc error: code = Unknown desc = no\n");
    }
}

#[tokio::test]
async fn a_result_of_false_is_a_failure_only_when_strict() {
    let master = Master::start().await;
    let bad = pb::OperateTaskResponse {
        msg: "task not exist".into(),
        ..Default::default()
    };
    master.answers("OperateTask", &bad);
    let ended = master.run(&["pause-task", "orders"]).await;
    assert_eq!(ended.code, 0);
    let strict = master.run(&["pause-task", "orders", "--strict"]).await;
    assert_eq!((strict.code, strict.out), (3, ended.out));
}

#[tokio::test]
async fn strict_looks_at_the_sources_of_what_was_to_be_changed() {
    let master = Master::start().await;
    let half = pb::OperateTaskResponse {
        result: true,
        sources: vec![done("a", "w"), pb::CommonWorkerResponse::default()],
        ..Default::default()
    };
    master.answers("OperateTask", &half);
    assert_eq!(master.run(&["--strict", "stop-task", "t"]).await.code, 3);
}

fn subtask(name: &str, stage: Stage) -> SubTaskStatus {
    SubTaskStatus {
        name: name.into(),
        stage: stage.into(),
        unit: UnitType::Sync.into(),
        ..Default::default()
    }
}

fn source(id: &str, subtasks: Vec<SubTaskStatus>) -> pb::QueryStatusResponse {
    pb::QueryStatusResponse {
        result: true,
        source_status: Some(pb::SourceStatus {
            source: id.into(),
            worker: format!("worker-of-{id}"),
            ..Default::default()
        }),
        sub_task_status: subtasks,
        ..Default::default()
    }
}

fn two_sources() -> pb::QueryStatusListResponse {
    pb::QueryStatusListResponse {
        result: true,
        sources: vec![
            source(
                "mysql-a",
                vec![
                    subtask("orders", Stage::Running),
                    subtask("<b>", Stage::Paused),
                ],
            ),
            source("mysql-b", vec![subtask("orders", Stage::Running)]),
        ],
        ..Default::default()
    }
}

#[tokio::test]
async fn query_status_of_all_is_a_summary() {
    let master = Master::start().await;
    master.answers("QueryStatus", &two_sources());
    let ended = master.run(&["query-status"]).await;
    let wanted = r#"{
    "result": true,
    "msg": "",
    "tasks": [
        {
            "taskName": "orders",
            "taskStatus": "Running",
            "sources": [
                "mysql-a",
                "mysql-b"
            ]
        },
        {
            "taskName": "\u003cb\u003e",
            "taskStatus": "Paused",
            "sources": [
                "mysql-a"
            ]
        }
    ]
}
"#;
    assert_eq!((ended.code, ended.out.as_str()), (0, wanted));
}

#[tokio::test]
async fn query_status_without_tasks_says_so() {
    let master = Master::start().await;
    let nothing = pb::QueryStatusListResponse {
        result: true,
        ..Default::default()
    };
    master.answers("QueryStatus", &nothing);
    let ended = master.run(&["query-status"]).await;
    assert_eq!(
        ended.out,
        "{\n    \"result\": true,\n    \"msg\": \"\",\n    \"tasks\": []\n}\n"
    );
}

#[tokio::test]
async fn query_status_of_something_is_the_whole_answer() {
    let master = Master::start().await;
    let mut answer = two_sources();
    answer.sources.truncate(1);
    answer.sources[0].sub_task_status.truncate(1);
    master.answers("QueryStatus", &answer);
    let wanted = r#"{
    "result": true,
    "msg": "",
    "sources": [
        {
            "result": true,
            "msg": "",
            "sourceStatus": {
                "source": "mysql-a",
                "worker": "worker-of-mysql-a",
                "result": null,
                "relayStatus": null
            },
            "subTaskStatus": [
                {
                    "name": "orders",
                    "stage": "Running",
                    "unit": "Sync",
                    "result": null,
                    "unresolvedDDLLockID": "",
                    "validation": null
                }
            ]
        }
    ]
}
"#;
    for args in [
        &["query-status", "orders"][..],
        &["query-status", "-s", "mysql-a"],
        &["query-status", "--more"],
    ] {
        assert_eq!(master.run(args).await.out, wanted, "{args:?}");
    }
}

#[tokio::test]
async fn an_unbound_source_makes_the_answer_whole() {
    let master = Master::start().await;
    let mut answer = two_sources();
    answer.sources[1].result = false;
    master.answers("QueryStatus", &answer);
    let ended = master.run(&["query-status", "--strict"]).await;
    assert!(ended.out.contains("\"subTaskStatus\""), "{}", ended.out);
    // The question was answered.
    assert_eq!(ended.code, 0);
}

#[tokio::test]
async fn a_refused_query_is_told_beside_its_error() {
    let master = Master::start().await;
    master.answer("/pb.Master/QueryStatus", Err(Status::unknown("no")));
    let ended = master.run(&["query-status", "orders", "-s", "a,b"]).await;
    assert_eq!(
        ended.out,
        "can not query orders task's status(in sources [a b])\n"
    );
    assert_eq!(ended.err, "Error: rpc error: code = Unknown desc = no\n");
}

#[tokio::test]
async fn all_tasks_of_one_source_are_operated_and_sorted() {
    let master = Master::start().await;
    master.answers("QueryStatus", &two_sources());
    let answer = pb::OperateTaskResponse {
        result: true,
        sources: vec![done("mysql-a", "w1")],
        ..Default::default()
    };
    master.answers("OperateTask", &answer);
    let ended = master
        .run(&["pause-task", "-s", "mysql-a", "--batch-size", "2"])
        .await;
    let task = |name: &str| {
        format!(
            r#"        {{
            "task": "{name}",
            "op": "Pause",
            "result": true,
            "msg": "",
            "sources": [
                {{
                    "result": true,
                    "source": "mysql-a",
                    "worker": "w1"
                }}
            ]
        }}"#
        )
    };
    let tasks = [task("\\u003cb\\u003e"), task("orders")].join(",\n");
    let wanted = format!(
        "{{\n    \"result\": true,\n    \"msg\": \"\",\n    \"tasks\": [\n{tasks}\n    ]\n}}\n"
    );
    assert_eq!((ended.code, ended.out), (0, wanted));
    let query: pb::QueryStatusListRequest = master.calls()[0].message();
    assert_eq!(query.sources, ["mysql-a"]);
}

#[tokio::test]
async fn a_failed_call_fills_the_message_of_its_task() {
    let master = Master::start().await;
    master.answers("QueryStatus", &two_sources());
    master.answer("/pb.Master/OperateTask", Err(Status::unknown("no")));
    let ended = master
        .run(&["stop-task", "-s", "mysql-a", "--strict"])
        .await;
    assert_eq!(ended.code, 3);
    assert!(ended.out.contains("\"op\": \"Delete\""), "{}", ended.out);
    assert!(
        ended
            .out
            .contains("\"msg\": \"rpc error: code = Unknown desc = no\"")
    );
    assert!(ended.out.contains("\"sources\": null"));
}

#[tokio::test]
async fn without_a_task_exactly_one_source_is_wanted() {
    let master = Master::start().await;
    for (args, text) in [
        (
            &["resume-task"][..],
            "must give one source-name when task-name/task-conf is not specified",
        ),
        (
            &["resume-task", "-s", "a,b"],
            "can give only one source-name when task-name/task-conf is not specified",
        ),
    ] {
        let ended = master.run(args).await;
        assert_eq!(ended.code, 1);
        let start = format!("{text}\nUsage:\n  dmctl resume-task ");
        assert!(ended.out.starts_with(&start), "{}", ended.out);
    }
    assert!(master.calls().is_empty());
}
