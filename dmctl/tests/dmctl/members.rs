//! list-member, operate-leader, transfer-leader, shard-ddl-lock.

use dm_proto::{election, member, pb, pessimist};
use pb::members::Member;
use prost::Message;
use tonic::Status;

use crate::server::Master;

const MEMBERS: &str = r#"{
    "result": true,
    "msg": "",
    "members": [
        {
            "leader": {
                "msg": "",
                "name": "master-1",
                "addr": "10.0.0.1:8261"
            }
        },
        {
            "master": {
                "msg": "",
                "masters": [
                    {
                        "name": "master-1",
                        "memberID": "1234567890123456789",
                        "alive": true,
                        "peerURLs": [
                            "http://10.0.0.1:8291"
                        ],
                        "clientURLs": [
                            "http://10.0.0.1:8261"
                        ]
                    }
                ]
            }
        },
        {
            "worker": {
                "msg": "",
                "workers": [
                    {
                        "name": "worker-1",
                        "addr": "10.0.0.2:8262",
                        "stage": "bound",
                        "source": "mysql-a"
                    }
                ]
            }
        }
    ]
}
"#;

fn members() -> pb::ListMemberResponse {
    let of = |member| pb::Members {
        member: Some(member),
    };
    pb::ListMemberResponse {
        result: true,
        msg: String::new(),
        members: vec![
            of(Member::Leader(pb::ListLeaderMember {
                name: "master-1".into(),
                addr: "10.0.0.1:8261".into(),
                ..Default::default()
            })),
            of(Member::Master(pb::ListMasterMember {
                masters: vec![pb::MasterInfo {
                    name: "master-1".into(),
                    member_id: 1_234_567_890_123_456_789,
                    alive: true,
                    peer_ur_ls: vec!["http://10.0.0.1:8291".into()],
                    client_ur_ls: vec!["http://10.0.0.1:8261".into()],
                }],
                ..Default::default()
            })),
            of(Member::Worker(pb::ListWorkerMember {
                workers: vec![pb::WorkerInfo {
                    name: "worker-1".into(),
                    addr: "10.0.0.2:8262".into(),
                    stage: "bound".into(),
                    source: "mysql-a".into(),
                }],
                ..Default::default()
            })),
        ],
    }
}

#[tokio::test]
async fn list_member_prints_the_members() {
    let master = Master::start().await;
    master.answers("ListMember", &members());
    let ended = master.run(&["list-member", "-w", "-n", "a,b"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(ended.out, MEMBERS);
    let sent: pb::ListMemberRequest = master.only_call().message();
    assert!(sent.worker && !sent.master && !sent.leader);
    assert_eq!(sent.names, ["a", "b"]);
}

#[tokio::test]
async fn arguments_where_there_are_none_show_the_usage() {
    let master = Master::start().await;
    let ended = master.run(&["list-member", "worker"]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .out
            .starts_with("Usage:\n  dmctl list-member [--leader]")
    );
    assert_eq!(ended.err, "Error: please check output to see error\n");
    assert!(master.calls().is_empty());
}

#[tokio::test]
async fn operate_leader_takes_dms_words() {
    let master = Master::start().await;
    let good = pb::OperateLeaderResponse {
        result: true,
        ..Default::default()
    };
    master.answers("OperateLeader", &good);
    for (word, op) in [
        ("evict", pb::LeaderOp::EvictLeaderOp),
        ("cancel-evict", pb::LeaderOp::CancelEvictLeaderOp),
    ] {
        let ended = master.run(&["operate-leader", word]).await;
        assert_eq!(
            ended.out,
            "{\n    \"result\": true,\n    \"msg\": \"\"\n}\n"
        );
        let sent: pb::OperateLeaderRequest = master.calls().last().unwrap().message();
        assert_eq!(sent.op(), op);
    }
    let ended = master.run(&["operate-leader", "kick"]).await;
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.err,
        "Error: invalid operate 'kick' on leader, expected evict or cancel-evict\n"
    );
}

#[tokio::test]
async fn transfer_leader_says_who_leads() {
    let path = "/dm.election.v1.Election/TransferLeader";
    let master = Master::start().await;
    let answer = election::TransferLeaderResponse {
        leader: Some(member::Leader {
            role: member::Role::Pessimist.into(),
            name: "p2".into(),
            addr: "127.0.0.1:8282".into(),
            term: None,
        }),
    };
    master.answer(path, Ok(answer.encode_to_vec()));
    let ended = master.run(&["transfer-leader", "pessimist", "p2"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let wanted = r#"{
    "result": true,
    "msg": "",
    "leader": {
        "role": "pessimist",
        "name": "p2",
        "addr": "127.0.0.1:8282"
    }
}
"#;
    assert_eq!(ended.out, wanted);
    let call = master.only_call();
    assert_eq!(call.path, path);
    let sent: election::TransferLeaderRequest = call.message();
    assert_eq!(
        (sent.role(), sent.to.as_str()),
        (member::Role::Pessimist, "p2")
    );
}

#[tokio::test]
async fn transfer_leader_names_the_roles_and_hands_on_refusals() {
    let master = Master::start().await;
    let ended = master.run(&["transfer-leader", "boss", "p2"]).await;
    assert_eq!(
        ended.err,
        "Error: invalid role 'boss', expected election, scheduler, pessimist or optimist\n"
    );
    master.answer(
        "/dm.election.v1.Election/TransferLeader",
        Err(Status::not_found("no member p9")),
    );
    let ended = master.run(&["transfer-leader", "election", "p9"]).await;
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.err,
        "Error: rpc error: code = NotFound desc = no member p9\n"
    );
    let ended = master.run(&["transfer-leader", "election"]).await;
    assert!(
        ended
            .out
            .contains("  dmctl transfer-leader <role> <member-name> [flags]\n")
    );
}

#[tokio::test]
async fn locks_are_shown_for_a_task_or_for_all() {
    let master = Master::start().await;
    let locks = pb::ShowDdlLocksResponse {
        result: true,
        msg: "no DDL lock exists".into(),
        locks: vec![pb::DdlLock {
            id: "t-`db`.`tbl`".into(),
            task: "t".into(),
            mode: "pessimistic".into(),
            owner: "s1".into(),
            dd_ls: vec!["ALTER TABLE `db`.`tbl` ADD COLUMN `c` INT".into()],
            synced: vec!["s1".into()],
            unsynced: vec![],
        }],
    };
    master.answers("ShowDDLLocks", &locks);
    let wanted = r#"{
    "result": true,
    "msg": "no DDL lock exists",
    "locks": [
        {
            "ID": "t-`db`.`tbl`",
            "task": "t",
            "mode": "pessimistic",
            "owner": "s1",
            "DDLs": [
                "ALTER TABLE `db`.`tbl` ADD COLUMN `c` INT"
            ],
            "synced": [
                "s1"
            ],
            "unsynced": [
            ]
        }
    ]
}
"#;
    for args in [
        &["shard-ddl-lock", "t", "-s", "s1"],
        &["show-ddl-locks", "t", "-s", "s1"],
    ] {
        let ended = master.run(args).await;
        assert_eq!(ended.out, wanted, "{}", ended.err);
        let sent: pb::ShowDdlLocksRequest = master.calls().last().unwrap().message();
        assert_eq!(
            (sent.task.as_str(), sent.sources),
            ("t", vec!["s1".to_owned()])
        );
    }
    master.run(&["shard-ddl-lock"]).await;
    let sent: pb::ShowDdlLocksRequest = master.calls().last().unwrap().message();
    assert_eq!(sent, pb::ShowDdlLocksRequest::default());
}

#[tokio::test]
async fn details_of_locks_are_shown_when_they_are_asked_for() {
    let master = Master::start().await;
    let detail = pessimist::LockDetail {
        id: "t-`db`.`tbl`".to_owned(),
        phase: pessimist::Phase::Collecting.into(),
        reasons: vec!["Source s2 has not reported the statements.".to_owned()],
        ..Default::default()
    };
    let shown = election::ShowDdlLocksResponse {
        result: true,
        pessimistic: vec![detail],
        ..Default::default()
    };
    master.answers("ShowDDLLocks", &shown);
    for (args, has_details) in [
        (&["shard-ddl-lock", "--detail"] as &[&str], true),
        (&["show-ddl-locks", "t", "--detail"], true),
        (&["shard-ddl-lock"], false),
    ] {
        let ended = master.run(args).await;
        let said = ["PHASE_COLLECTING", "Source s2 has not reported"];
        let is_said = |text: &&str| ended.out.contains(*text);
        let said = said.iter().filter(|text| is_said(text)).count();
        assert_eq!(said, if has_details { 2 } else { 0 }, "{}", ended.out);
    }
}

#[tokio::test]
async fn an_unlock_sends_what_the_flags_say() {
    let master = Master::start().await;
    master.answers(
        "UnlockDDLLock",
        &pb::UnlockDdlLockResponse {
            result: true,
            ..Default::default()
        },
    );
    let id = "t-`db`.`tbl`";
    let args = [
        "-o", "s2", "-f", "-a", "exec", "-d", "db", "-t", "t1", "-s", "s1",
    ];
    let ended = master
        .run(&[&["shard-ddl-lock", "unlock", id][..], &args].concat())
        .await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let sent: pb::UnlockDdlLockRequest = master.only_call().message();
    let wanted = pb::UnlockDdlLockRequest {
        id: id.into(),
        replace_owner: "s2".into(),
        force_remove: true,
        op: pb::UnlockDdlLockOp::ExecLock.into(),
        sources: vec!["s1".into()],
        database: "db".into(),
        table: "t1".into(),
    };
    assert_eq!(sent, wanted);
    let ended = master.run(&["unlock-ddl-lock", id, "-a", "drop"]).await;
    assert_eq!(
        ended.err,
        "Error: please check --action argument, only exec/skip are acceptable\n"
    );
}

#[tokio::test]
async fn a_refused_call_is_told_beside_its_error() {
    let master = Master::start().await;
    for method in ["ShowDDLLocks", "UnlockDDLLock"] {
        let path = format!("/pb.Master/{method}");
        master.answer(&path, Err(Status::unknown("[code=1:...] no")));
    }
    let ended = master
        .run(&["shard-ddl-lock", "t", "-s", "a", "-s", "b"])
        .await;
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.out,
        "can not show DDL locks for task t and sources [a b]\n"
    );
    assert_eq!(
        ended.err,
        "Error: rpc error: code = Unknown desc = [code=1:...] no\n"
    );
    let ended = master.run(&["shard-ddl-lock", "unlock", "x"]).await;
    assert_eq!(ended.out, "can not unlock DDL lock x\n");
}

#[tokio::test]
async fn a_member_is_taken_off_by_kind_and_name() {
    let master = Master::start().await;
    let good = pb::OfflineMemberResponse {
        result: true,
        ..Default::default()
    };
    master.answers("OfflineMember", &good);
    for (args, kind) in [
        (["offline-member", "-m", "-n", "m1"], "master"),
        (["offline-member", "--worker", "--name", "m1"], "worker"),
    ] {
        let ended = master.run(&args).await;
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (0, "{\n    \"result\": true,\n    \"msg\": \"\"\n}\n")
        );
        let sent: pb::OfflineMemberRequest = master.calls().last().unwrap().message();
        assert_eq!((sent.r#type.as_str(), sent.name.as_str()), (kind, "m1"));
    }
}

#[tokio::test]
async fn a_member_that_cannot_be_taken_off_is_an_error() {
    let master = Master::start().await;
    let bad = pb::OfflineMemberResponse {
        result: false,
        msg: "it is online".into(),
    };
    master.answers("OfflineMember", &bad);
    let ended = master.run(&["offline-member", "-w", "-n", "w1"]).await;
    assert_eq!(ended.code, 1);
    assert_eq!(ended.out, "offline member failed:\nit is online\n");
    for (args, text) in [
        (
            &["-n", "w1"][..],
            "should specify either --master or --worker",
        ),
        (
            &["-m", "-w", "-n", "w1"],
            "should specify either --master or --worker",
        ),
        (&["-w"], "a member name must be specified"),
        (&["-w", "w1"], "please check output to see error"),
    ] {
        let ended = master.run(&[&["offline-member"], args].concat()).await;
        assert_eq!((ended.code, ended.err), (1, format!("Error: {text}\n")));
    }
    master.only_call();
}
