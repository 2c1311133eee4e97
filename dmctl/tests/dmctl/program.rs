//! The program as a whole: the interactive mode, version and help, and the trace of a command.

use std::process::Stdio;
use std::time::Duration;

use dm_proto::pb;
use dm_testkit::otlp::Collector;
use tokio::process::Command;

use crate::server::{Master, run};

const LIMIT: Duration = Duration::from_secs(20);

fn no_members() -> pb::ListMemberResponse {
    pb::ListMemberResponse {
        result: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn lines_are_run_until_exit_and_errors_do_not_end_them() {
    let master = Master::start().await;
    master.answers("ListMember", &no_members());
    let input = "list-member -l\n\nnonsense 'a b'\nlist-member x\nlist-member --name 'a b'\nexit\nlist-member\n";
    let ended = run(&["--master-addr", &master.addr], input).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(master.calls().len(), 2);
    assert_eq!(ended.out.matches("\"result\": true").count(), 2);
    assert!(
        ended.out.contains(
            "fail to run: [nonsense a b]\nError: unknown command \"nonsense\" for \"dmctl\"\n"
        ),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("Usage:\n  dmctl list-member "));
    let sent: pb::ListMemberRequest = master.calls()[1].message();
    assert_eq!(sent.names, ["a b"]);
}

#[tokio::test]
async fn the_end_of_the_input_ends_the_lines() {
    let master = Master::start().await;
    master.answers("ListMember", &no_members());
    let ended = run(&["--master-addr", &master.addr], "list-member").await;
    assert_eq!(ended.code, 0);
    assert_eq!(master.calls().len(), 1);
}

#[tokio::test]
async fn version_and_help_need_no_master() {
    let ended = run(&["-V"], "").await;
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
    assert_eq!(ended.err.lines().count(), 6);
    assert!(ended.err.starts_with("Release Version: v"));
    let ended = run(&["start-task", "--help"], "").await;
    assert_eq!(ended.code, 0);
    assert!(ended.out.contains("--remove-meta"), "{}", ended.out);
}

#[tokio::test]
async fn an_unknown_command_is_refused_with_a_hint() {
    let ended = run(&["no-such"], "").await;
    assert_eq!(ended.code, 1);
    let wanted =
        "Error: unknown command \"no-such\" for \"dmctl\"\nRun 'dmctl --help' for usage.\n";
    assert_eq!(ended.err, wanted);
}

#[tokio::test]
async fn a_wrong_collector_is_named() {
    let args = [
        "--master-addr",
        "127.0.0.1:1",
        "list-member",
        "--otlp-endpoint",
        "nowhere",
    ];
    let ended = run(&args, "").await;
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .err
            .starts_with("Error: otlp-endpoint \"nowhere\" is no address"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn the_trace_of_a_command_begins_with_it_and_goes_on_in_the_master() {
    let (master, collector) = (Master::start().await, Collector::start().await.unwrap());
    master.answers("ListMember", &no_members());
    let mut program = Command::new(env!("CARGO_BIN_EXE_dmctl"))
        .args(["list-member", "--master-addr", &master.addr])
        .env("DM_OTLP_ENDPOINT", collector.endpoint())
        .env_remove("TRACEPARENT")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let status = tokio::time::timeout(LIMIT, program.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success());

    // The last thing the program does is to wait until its spans have arrived.
    let ids = collector.trace_ids();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let tree = collector.tree(&ids[0]);
    assert_eq!(tree.len(), 1);
    let root = &tree[0];
    assert_eq!(
        (root.span.name.as_str(), root.span.service.as_str()),
        ("dmctl list-member", "dmctl")
    );
    assert_eq!(root.span.parent, None);
    let call = &root.children[0].span;
    assert_eq!(call.name, "pb.Master/ListMember");
    let sent = master.only_call().headers["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(sent, format!("00-{}-{}-01", ids[0], call.span_id));
}

#[tokio::test]
async fn without_a_collector_no_trace_is_begun() {
    let master = Master::start().await;
    master.answers("ListMember", &no_members());
    master.run(&["list-member"]).await;
    assert!(!master.only_call().headers.contains_key("traceparent"));
}
