//! Cases 21 to 25, 27, 29, 30: members that must not lead.

use dm_keyspace::Role;
use dm_proto::election::{
    CancelEvictRequest, EvictRequest, ListMembersRequest, MemberStatus, TransferLeaderRequest,
};
use dm_proto::pb;
use dm_testkit::memory::MemoryEtcd;
use tonic::{Code, Status};

use crate::support::client::{describe, role};
use crate::support::stub::Stub;
use crate::support::{
    Plan, Running, acts, doors, elections, leaderless, leads, line_has, master, one_door, raw,
    until,
};

/// Orders or cancels an eviction through a door; answers whether that changed anything.
pub(crate) async fn set(door: &Running, of: &str, name: &str, evict: bool) -> Result<bool, Status> {
    let (role, name) = (role(of).into(), name.to_owned());
    if evict {
        let answer = elections(door).evict(EvictRequest { role, name }).await?;
        Ok(answer.into_inner().changed)
    } else {
        let answer = elections(door)
            .cancel_evict(CancelEvictRequest { role, name })
            .await?;
        Ok(answer.into_inner().changed)
    }
}

async fn operate(door: &Running, op: i32) -> pb::OperateLeaderResponse {
    let request = pb::OperateLeaderRequest { op };
    let answer = master(door).operate_leader(request).await;
    answer.unwrap().into_inner()
}

async fn listed(door: &Running) -> Vec<MemberStatus> {
    let request = ListMembersRequest {
        roles: vec![role("election").into()],
        ..Default::default()
    };
    let answer = elections(door).list_members(request).await.unwrap();
    answer.into_inner().members
}

#[tokio::test]
async fn case_21_evicted_leader_follows_and_leads_only_after_the_eviction_is_cancelled() {
    let (etcd, [first, second]) = doors().await;
    assert!(set(&first, "election", "door-1", true).await.unwrap());
    acts(&second, true).await;
    assert!(!describe(&first).await.unwrap().is_leader);
    // Nobody else is left, and it still does not lead.
    second.stop().await;
    leaderless(&first, "election").await;
    assert!(set(&first, "election", "door-1", false).await.unwrap());
    acts(&first, true).await;
    line_has(&etcd, "election", 1).await;
}

#[tokio::test]
async fn case_22_27_eviction_of_a_follower_concerns_that_follower_only() {
    let (etcd, [first, second, third]) = doors().await;
    set(&first, "election", "door-2", true).await.unwrap();
    acts(&first, true).await;
    line_has(&etcd, "election", 2).await;
    first.stop().await;
    acts(&third, true).await;
    leads(&second, "election", "door-3").await;
}

#[tokio::test]
async fn case_23_evicting_and_cancelling_twice_is_doing_it_once() {
    let (_etcd, [first, second]) = doors().await;
    assert!(set(&second, "election", "door-1", true).await.unwrap());
    assert!(!set(&second, "election", "door-1", true).await.unwrap());
    acts(&second, true).await;
    assert!(set(&second, "election", "door-1", false).await.unwrap());
    assert!(!set(&second, "election", "door-1", false).await.unwrap());
    acts(&second, true).await;
    acts(&first, false).await;
}

#[tokio::test]
async fn case_24_with_all_evicted_requests_are_refused_until_one_may_lead_again() {
    let (etcd, door) = one_door().await;
    let mut replicas = Vec::new();
    for n in 1..=2 {
        let plan = Plan::new(&format!("scheduler-{n}"), &etcd.endpoint());
        replicas.push(Stub::saying("done").start(Role::Scheduler, &plan).await);
        line_has(&etcd, "scheduler", n).await;
    }
    let impatient = Plan::new("door-2", &etcd.endpoint()).arg("--leader-wait", "200ms");
    let impatient = impatient.door().await;
    for n in 1..=2 {
        set(&door, "scheduler", &format!("scheduler-{n}"), true)
            .await
            .unwrap();
    }
    leaderless(&impatient, "scheduler").await;
    let refused = raw(&impatient.addr, "/pb.Master/QueryStatus", &[], b"").await;
    assert_eq!(refused.status().code(), Code::Unavailable);
    assert!(
        refused.status().message().starts_with("[code=38043:"),
        "{:?}",
        refused.status()
    );
    set(&door, "scheduler", "scheduler-2", false).await.unwrap();
    leads(&impatient, "scheduler", "scheduler-2").await;
    let served = raw(&impatient.addr, "/pb.Master/QueryStatus", &[], b"").await;
    assert_eq!(served.message(), b"done");
}

#[tokio::test]
async fn case_24_operate_leader_evicts_the_leader_of_every_role_and_cancel_brings_all_back() {
    let (etcd, door) = one_door().await;
    let plan = Plan::new("scheduler-1", &etcd.endpoint());
    let _scheduler = Stub::saying("").start(Role::Scheduler, &plan).await;
    leads(&door, "scheduler", "scheduler-1").await;
    let answer = operate(&door, pb::LeaderOp::EvictLeaderOp.into()).await;
    assert!(answer.result, "{}", answer.msg);
    leaderless(&door, "election").await;
    leaderless(&door, "scheduler").await;
    let answer = operate(&door, pb::LeaderOp::CancelEvictLeaderOp.into()).await;
    assert!(answer.result, "{}", answer.msg);
    leads(&door, "election", "door-1").await;
    leads(&door, "scheduler", "scheduler-1").await;
    // There is nothing left to cancel, and that is no failure.
    assert!(
        operate(&door, pb::LeaderOp::CancelEvictLeaderOp.into())
            .await
            .result
    );
}

#[tokio::test]
async fn case_24_other_leader_operations_are_refused_by_name() {
    let (_etcd, door) = one_door().await;
    for op in [0, 7] {
        let answer = operate(&door, op).await;
        assert!(!answer.result);
        assert!(answer.msg.contains("is not supported"), "{}", answer.msg);
    }
    acts(&door, true).await;
}

#[tokio::test]
async fn case_25_lead_goes_to_the_one_whose_eviction_was_cancelled() {
    let (_etcd, [first, second]) = doors().await;
    set(&second, "election", "door-1", true).await.unwrap();
    acts(&second, true).await;
    set(&second, "election", "door-1", false).await.unwrap();
    set(&second, "election", "door-2", true).await.unwrap();
    acts(&first, true).await;
    leads(&second, "election", "door-1").await;
}

#[tokio::test]
async fn case_29_eviction_whose_delete_fails_is_tried_again_and_costs_one_term() {
    let (etcd, [first, second]) = doors().await;
    for _ in 0..6 {
        etcd.fail_next("Txn", Status::unavailable("not now"));
    }
    etcd.put("/dm-master/evicted/election/door-1", r#"{"name":"door-1"}"#);
    acts(&second, true).await;
    line_has(&etcd, "election", 1).await;
    let (_, status) = crate::support::page(&first.addr, "GET", "/status", "").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["state"]["loop"]["terms"], 1, "{status}");
}

#[tokio::test]
async fn case_30_eviction_is_listed_and_outlives_the_process() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let plan = Plan::new("door-1", &etcd.endpoint());
    let door = plan.door().await;
    acts(&door, true).await;
    set(&door, "election", "door-1", true).await.unwrap();
    assert!(listed(&door).await[0].evicted);
    door.stop().await;
    let again = plan.door().await;
    until("it is registered again", async || {
        listed_or_none(&again)
            .await
            .is_some_and(|m| !m.addr.is_empty())
    })
    .await;
    let member = listed_or_none(&again).await.unwrap();
    assert!(
        member.evicted && !member.is_leader && member.position == 0,
        "{member:?}"
    );
    leaderless(&again, "election").await;
}

async fn listed_or_none(door: &Running) -> Option<MemberStatus> {
    let request = ListMembersRequest::default();
    let answer = elections(door).list_members(request).await.ok()?;
    answer.into_inner().members.into_iter().next()
}

#[tokio::test]
async fn lead_is_not_transferred_to_somebody_who_is_not_in_the_line() {
    let (_etcd, [first, second]) = doors().await;
    let request = TransferLeaderRequest {
        role: role("election").into(),
        to: "nobody".to_owned(),
    };
    let refusal = elections(&second)
        .transfer_leader(request)
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    assert!(refusal.message().contains("door-1, door-2"), "{refusal:?}");
    acts(&first, true).await;
}

#[tokio::test]
async fn role_that_does_not_exist_is_named_with_those_that_do() {
    let (_etcd, door) = one_door().await;
    let request = EvictRequest {
        role: 9,
        name: "x".to_owned(),
    };
    let refusal = elections(&door).evict(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().contains("role 9"), "{refusal:?}");
    assert!(refusal.message().contains("scheduler"), "{refusal:?}");
}
