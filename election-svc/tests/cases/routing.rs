//! Cases 45 to 49: requests on their way from a door to the leader of a role.

use std::time::{Duration, Instant};

use dm_keyspace::Role;
use dm_testkit::memory::MemoryEtcd;
use prost::Message;
use tonic::{Code, Status};

use crate::support::stub::{Seen, Stub};
use crate::support::{Plan, doors, leaderless, leaders_key, leads, line_has, one_door, raw, until};

/// Methods that doors answer themselves, or that concern two coordinators; they have tests of their own.
const MERGED: [&str; 7] = [
    "ShowDDLLocks",
    "UnlockDDLLock",
    "ListMember",
    "OfflineMember",
    "OperateLeader",
    "GetMasterCfg",
    "GetCfg",
];

/// Methods of `pb.Master`, from its description.
fn methods_of_master() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(dm_proto::FILE_DESCRIPTOR_SET).unwrap();
    let master = set
        .file
        .iter()
        .filter(|file| file.package() == "pb")
        .flat_map(|file| &file.service)
        .find(|service| service.name() == "Master")
        .expect("pb.Master is described");
    master.method.iter().map(|m| m.name().to_owned()).collect()
}

/// No message of any type: what passes here is not decoded on its way.
const BYTES: &[u8] = b"\xff\xff not a message \x00\x01";

fn echo(seen: &Seen) -> Result<Vec<u8>, Status> {
    if seen.headers.contains_key("x-fail") {
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("x-reason", "because".parse().unwrap());
        let details = bytes::Bytes::from_static(b"\x08\x01");
        return Err(Status::with_details_and_metadata(
            Code::DataLoss,
            "[code=1:class=x] \u{fc}ber: no",
            details,
            metadata,
        ));
    }
    Ok([b"answer to ", seen.path.as_bytes()].concat())
}

#[tokio::test]
async fn case_45_each_method_reaches_the_leader_once_with_its_bytes_untouched() {
    let (etcd, [_first, follower]) = doors().await;
    let stub = Stub::new(echo);
    let leader = stub
        .start(Role::Scheduler, &Plan::new("scheduler-1", &etcd.endpoint()))
        .await;
    leads(&follower, "scheduler", "scheduler-1").await;
    let methods = methods_of_master();
    assert!(methods.len() > 20, "{methods:?}");
    for method in methods.iter().filter(|m| !MERGED.contains(&m.as_str())) {
        let before = stub.seen().len();
        let metadata = [("x-custom", "kept"), ("grpc-timeout", "30S")];
        let answer = raw(
            &follower.addr,
            &format!("/pb.Master/{method}"),
            &metadata,
            BYTES,
        )
        .await;
        assert_eq!(answer.status().code(), Code::Ok, "{method}: {answer:?}");
        let seen = stub.seen();
        assert_eq!(seen.len(), before + 1, "{method}");
        let seen = &seen[before];
        let native = format!("/dm.scheduler.v1.Scheduler/{method}");
        assert_eq!(seen.path, native);
        assert_eq!(&seen.frames[5..], BYTES);
        assert_eq!(seen.headers["x-custom"], "kept");
        assert_eq!(seen.headers["dm-hop"], "1");
        assert!(seen.headers.contains_key("grpc-timeout"));

        let direct = raw(&leader.addr, &native, &metadata, BYTES).await;
        assert_eq!(answer.frames, direct.frames);
        assert_eq!(answer.trailers, direct.trailers);
        assert_eq!(answer.headers["x-header"], direct.headers["x-header"]);
        assert_eq!(answer.trailers["x-trailer"], "kept");
    }
}

#[tokio::test]
async fn case_45_an_error_of_the_leader_comes_back_as_it_is() {
    let (etcd, [_first, follower]) = doors().await;
    let leader = Stub::new(echo)
        .start(Role::Scheduler, &Plan::new("scheduler-1", &etcd.endpoint()))
        .await;
    leads(&follower, "scheduler", "scheduler-1").await;
    let fail = [("x-fail", "1")];
    let through = raw(&follower.addr, "/pb.Master/StartTask", &fail, BYTES)
        .await
        .status();
    let direct = raw(
        &leader.addr,
        "/dm.scheduler.v1.Scheduler/StartTask",
        &fail,
        BYTES,
    )
    .await;
    let direct = direct.status();
    assert_eq!(through.code(), Code::DataLoss);
    assert_eq!(
        (through.code(), through.message(), through.details()),
        (direct.code(), direct.message(), direct.details())
    );
    assert_eq!(through.metadata().get("x-reason").unwrap(), "because");
}

#[tokio::test]
async fn every_method_of_a_master_is_served_and_no_other() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let plan = Plan::new("door-1", &etcd.endpoint()).arg("--leader-wait", "100ms");
    let door = plan.door().await;
    leads(&door, "election", "door-1").await;
    for method in methods_of_master() {
        let answer = raw(&door.addr, &format!("/pb.Master/{method}"), &[], b"").await;
        assert_ne!(answer.status().code(), Code::Unimplemented, "{method}");
    }
    for path in ["/pb.Master/Nothing", "/etcdserverpb.Auth/AuthEnable"] {
        let answer = raw(&door.addr, path, &[], b"").await;
        assert_eq!(answer.status().code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn case_46_request_waits_for_a_leader_that_is_about_to_come() {
    let (etcd, door) = one_door().await;
    let stub = Stub::saying("served");
    let plan = Plan::new("scheduler-1", &etcd.endpoint());
    let (answer, _scheduler) = tokio::join!(
        raw(&door.addr, "/pb.Master/StartTask", &[], b""),
        stub.start(Role::Scheduler, &plan)
    );
    assert_eq!(answer.message(), b"served");
}

#[tokio::test]
async fn case_46_47_without_a_leader_a_request_is_refused_after_the_wait() {
    let (etcd, _door) = one_door().await;
    let plan = Plan::new("door-2", &etcd.endpoint()).arg("--leader-wait", "300ms");
    let follower = plan.door().await;
    leads(&follower, "election", "door-1").await;
    let asked = Instant::now();
    let refusal = raw(&follower.addr, "/pb.Master/StartTask", &[], b"")
        .await
        .status();
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert_eq!(refusal.code(), Code::Unavailable);
    assert!(
        refusal.message().starts_with(
            "[code=38043:class=dm-master:scope=internal:level=high], Message: master is not leader, and can't forward request to leader"
        ),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn case_48_leader_that_has_died_is_unavailable_at_once_and_then_unknown() {
    let (etcd, _door) = one_door().await;
    let plan = Plan::new("door-2", &etcd.endpoint()).arg("--leader-wait", "300ms");
    let door = plan.door().await;
    let scheduler = Stub::saying("")
        .start(Role::Scheduler, &Plan::new("scheduler-1", &etcd.endpoint()))
        .await;
    leads(&door, "scheduler", "scheduler-1").await;
    assert_eq!(
        raw(&door.addr, "/pb.Master/StartTask", &[], b"")
            .await
            .status()
            .code(),
        Code::Ok
    );
    scheduler.kill().await;
    // Its key lives on with its lease, so the door still takes it for the leader.
    let refusal = raw(&door.addr, "/pb.Master/StartTask", &[], b"")
        .await
        .status();
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
    assert!(
        !refusal.message().starts_with("[code=38043:"),
        "it was not waited for another leader: {refusal:?}"
    );
    etcd.revoke(leaders_key(&etcd, "scheduler").lease).unwrap();
    leaderless(&door, "scheduler").await;
    let refusal = raw(&door.addr, "/pb.Master/StartTask", &[], b"")
        .await
        .status();
    assert!(refusal.message().starts_with("[code=38043:"), "{refusal:?}");
}

#[tokio::test]
async fn case_48_standby_takes_over_and_the_door_follows_without_a_restart() {
    let (etcd, door) = one_door().await;
    let start = async |name: &str, word| {
        let plan = Plan::new(name, &etcd.endpoint());
        Stub::saying(word).start(Role::Scheduler, &plan).await
    };
    let first = start("scheduler-1", "first").await;
    line_has(&etcd, "scheduler", 1).await;
    let _second = start("scheduler-2", "second").await;
    line_has(&etcd, "scheduler", 2).await;
    assert_eq!(
        raw(&door.addr, "/pb.Master/StartTask", &[], b"")
            .await
            .message(),
        b"first"
    );
    first.kill().await;
    until("the second answers", async || {
        let answer = raw(&door.addr, "/pb.Master/StartTask", &[], b"").await;
        answer.status().code() == Code::Ok && answer.message() == b"second"
    })
    .await;
}

#[tokio::test]
async fn case_49_request_that_has_been_forwarded_is_not_forwarded_again() {
    let (etcd, door) = one_door().await;
    let (first, second) = (Stub::saying("1"), Stub::saying("2"));
    let plan = |name| Plan::new(name, &etcd.endpoint());
    let _leader = first.start(Role::Scheduler, &plan("scheduler-1")).await;
    line_has(&etcd, "scheduler", 1).await;
    let standby = second.start(Role::Scheduler, &plan("scheduler-2")).await;
    line_has(&etcd, "scheduler", 2).await;
    leads(&door, "scheduler", "scheduler-1").await;
    let hop = [("dm-hop", "1")];
    let native = "/dm.scheduler.v1.Scheduler/StartTask";
    for (addr, path) in [
        (&standby.addr, native),
        (&door.addr, "/pb.Master/StartTask"),
    ] {
        let refusal = raw(addr, path, &hop, b"").await.status();
        assert_eq!(refusal.code(), Code::Unavailable);
        assert!(refusal.message().starts_with("[code=38043:"), "{refusal:?}");
    }
    assert!(first.seen().is_empty() && second.seen().is_empty());
    // Without the mark, a standby passes it on.
    until("the standby has seen the leader", async || {
        raw(&standby.addr, native, &[], b"").await.status().code() == Code::Ok
    })
    .await;
    assert!(second.seen().is_empty());
}

#[tokio::test]
async fn stale_read_through_a_door_is_answered_also_without_a_leader() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let door = Plan::new("door-1", &etcd.endpoint()).arg("--leader-wait", "300ms");
    let door = door.door().await;
    let scheduler = Stub::saying("whatever I know")
        .start(Role::Scheduler, &Plan::new("scheduler-1", &etcd.endpoint()))
        .await;
    leads(&door, "scheduler", "scheduler-1").await;
    let stale = [("dm-stale-read", "true")];
    let answer = raw(&door.addr, "/pb.Master/QueryStatus", &stale, b"").await;
    assert_eq!(answer.message(), b"whatever I know");
    crate::evictions::set(&door, "scheduler", "scheduler-1", true)
        .await
        .unwrap();
    leaderless(&door, "scheduler").await;
    until("the standby answers for itself", async || {
        let answer = raw(&door.addr, "/pb.Master/QueryStatus", &stale, b"").await;
        answer.status().code() == Code::Ok
    })
    .await;
    drop(scheduler);
}
