//! Cases 4, 6, 7, 18, 31, 33, 51, 52, 55 and 58: members that come, go, and lose what they need.

use dm_keyspace::Role;
use dm_proto::election::GetClusterRequest;
use dm_proto::member::ResignRequest;
use dm_proto::member::member_client::MemberClient;
use dm_proto::pb;
use dm_testkit::memory::{Clock, MemoryEtcd, Options};
use dm_testkit::proxy::TcpProxy;
use tonic::Code;

use crate::evictions::set;
use crate::members::offline;
use crate::support::client::{channel, describe, list_member};
use crate::support::stub::Stub;
use crate::support::{
    Plan, Running, acts, doors, elections, leaderless, leaders_key, leads, line_has, one_door,
    page, until,
};

/// Waits until `/readyz` says that it is not ready, with this among the reasons.
async fn not_ready(door: &Running, reason: &str) {
    until(
        &format!("{} is not ready: {reason}", door.name),
        async || {
            let (code, reasons) = page(&door.addr, "GET", "/readyz", "").await;
            code == 503 && reasons.contains(reason)
        },
    )
    .await;
}

async fn ready(door: &Running) {
    until(&format!("{} is ready", door.name), async || {
        page(&door.addr, "GET", "/readyz", "").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn case_04_55_killed_member_is_cleared_by_its_name_and_a_stopped_one_has_left_nothing() {
    let (etcd, [first, second, third]) = doors().await;
    // Nobody stands behind it, so nobody else ends its lease.
    third.kill().await;
    assert_eq!(etcd.dump("/dm-master/member/election/").len(), 3);
    let answer = offline(&first, "master", "door-3").await;
    assert!(answer.result, "{}", answer.msg);
    line_has(&etcd, "election", 2).await;
    assert_eq!(etcd.dump("/dm-master/member/election/").len(), 2);
    second.stop().await;
    line_has(&etcd, "election", 1).await;
    until("the leader has seen it go", async || {
        let listed = list_member(&first, pb::ListMemberRequest::default()).await;
        listed.unwrap().master.unwrap().masters.len() == 1
    })
    .await;
    let left = etcd.dump("/dm-master/");
    let answer = offline(&first, "master", "door-2").await;
    assert!(answer.msg.starts_with("[code=38048:"), "{answer:?}");
    assert_eq!(etcd.dump("/dm-master/"), left);
    acts(&first, true).await;
}

#[tokio::test]
async fn case_06_member_that_has_given_up_its_place_may_give_it_up_again() {
    let (etcd, [first, second]) = doors().await;
    let mut member = MemberClient::new(channel(&first.addr));
    for was_leader in [true, false] {
        let answer = member.resign(ResignRequest {}).await.unwrap();
        assert_eq!(answer.into_inner().was_leader, was_leader);
        acts(&second, true).await;
        line_has(&etcd, "election", 2).await;
    }
    first.stop().await;
    line_has(&etcd, "election", 1).await;
    acts(&second, true).await;
}

#[tokio::test]
async fn case_07_etcd_that_is_away_at_the_start_and_later_is_named_and_waited_for() {
    let etcd = MemoryEtcd::start().await.unwrap();
    etcd.refuse(true);
    let plan = Plan::new("door-1", &etcd.endpoint()).arg("--lease-ttl", "2s");
    let door = plan.door().await;
    not_ready(&door, "replica: etcd: ").await;
    assert!(!describe(&door).await.unwrap().is_leader);
    etcd.refuse(false);
    ready(&door).await;
    acts(&door, true).await;
    etcd.refuse(true);
    not_ready(&door, "replica: etcd: ").await;
    acts(&door, false).await;
    etcd.refuse(false);
    ready(&door).await;
    acts(&door, true).await;
}

#[tokio::test]
async fn case_18_history_compacted_under_the_watch_costs_nobody_the_lead() {
    let (etcd, [first, second]) = doors().await;
    let term = describe(&first).await.unwrap().term;
    etcd.refuse(true);
    for n in 0..10 {
        etcd.put("/dm-master/something", n.to_string());
    }
    etcd.compact(etcd.revision()).unwrap();
    etcd.refuse(false);
    for door in [&first, &second] {
        until("the state is loaded again", async || {
            let (_, status) = page(&door.addr, "GET", "/status", "").await;
            let status: serde_json::Value = serde_json::from_str(&status).unwrap();
            status["state"]["loop"]["loads"] == 2
        })
        .await;
    }
    acts(&first, true).await;
    assert_eq!(describe(&first).await.unwrap().term, term);
}

#[tokio::test]
async fn case_31_first_the_lead_then_the_cluster_id_then_requests_are_served() {
    let (etcd, door) = one_door().await;
    until("the cluster has an id", async || {
        etcd.dump("/dm-cluster/id").len() == 1
    })
    .await;
    let id = etcd.dump("/dm-cluster/id").remove(0);
    assert!(id.create_revision > leaders_key(&etcd, "election").create_revision);
    until("it is told to clients", async || {
        let answer = elections(&door).get_cluster(GetClusterRequest {}).await;
        answer.is_ok_and(|a| a.into_inner().cluster_id.to_be_bytes().as_slice() == id.value)
    })
    .await;
}

#[tokio::test]
async fn case_33_member_that_cannot_work_loses_the_lead_and_may_have_it_back() {
    let time = Options {
        clock: Clock::Tokio,
        ..Options::default()
    };
    let etcd = MemoryEtcd::start_with(&time).await.unwrap();
    let target = etcd.endpoint().replace("http://", "");
    let proxy = TcpProxy::start(target).await.unwrap();
    let plan = |name, endpoint: &str| Plan::new(name, endpoint).arg("--lease-ttl", "2s");
    let first = plan("door-1", &proxy.endpoint()).door().await;
    acts(&first, true).await;
    let second = plan("door-2", &etcd.endpoint()).door().await;
    line_has(&etcd, "election", 2).await;
    proxy.refuse(true);
    proxy.cut();
    not_ready(&first, "etcd: ").await;
    acts(&first, false).await;
    acts(&second, true).await;
    proxy.refuse(false);
    ready(&first).await;
    leads(&first, "election", "door-2").await;
    line_has(&etcd, "election", 2).await;
    second.stop().await;
    acts(&first, true).await;
}

#[tokio::test]
async fn case_51_no_door_serves_the_openapi_whoever_leads() {
    let (_etcd, [first, second]) = doors().await;
    let pinned = async |door: &Running| {
        for (method, path) in [
            ("GET", "/api/v1/tasks"),
            ("POST", "/api/v1/sources"),
            ("GET", "/api/v1/docs"),
        ] {
            let (code, text) = page(&door.addr, method, path, "").await;
            assert_eq!(code, 404, "{path}: {text}");
            assert!(
                text.starts_with(&format!("{path} is not served here")),
                "{text}"
            );
        }
    };
    pinned(&first).await;
    pinned(&second).await;
    for name in ["door-1", "door-2"] {
        set(&first, "election", name, true).await.unwrap();
    }
    leaderless(&second, "election").await;
    pinned(&second).await;
}

#[tokio::test]
async fn case_52_with_the_first_master_killed_the_next_one_answers_the_same_question() {
    let (_etcd, [first, second]) = doors().await;
    let ask = async |door: &Running| {
        let listed = list_member(door, pb::ListMemberRequest::default()).await;
        listed.unwrap().leader.unwrap().name
    };
    assert_eq!(ask(&first).await, "door-1");
    first.kill().await;
    acts(&second, true).await;
    assert_eq!(ask(&second).await, "door-2");
}

#[tokio::test]
async fn case_58_dead_addresses_among_those_of_etcd_are_passed_over() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let dead = |port: u16| format!("http://127.0.0.1:{port}");
    let endpoints = [
        dead(dm_testkit::free_port().unwrap()),
        etcd.endpoint(),
        dead(dm_testkit::free_port().unwrap()),
    ];
    let door = Plan::new("door-1", &endpoints.join(",")).door().await;
    ready(&door).await;
    acts(&door, true).await;
}

#[tokio::test]
async fn name_that_nobody_has_is_not_evicted() {
    let (etcd, [first, second]) = doors().await;
    let refusal = set(&second, "election", "nobody", true).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    assert!(refusal.message().contains("door-1, door-2"), "{refusal:?}");
    assert!(etcd.dump("/dm-master/evicted/").is_empty());
    assert!(!set(&second, "election", "nobody", false).await.unwrap());
    acts(&first, true).await;
}

/// The port of a member that is on its way out must not look dead: the next in line would end its lease.
#[tokio::test]
async fn member_on_its_way_out_answers_what_it_has_in_hand_before_the_lead_goes_on() {
    let etcd = MemoryEtcd::start().await.unwrap();
    // A question waits until somebody leads the scheduler, which the test decides.
    let plan = Plan::new("door-1", &etcd.endpoint()).arg("--leader-wait", "60s");
    let plan = plan.arg("--drain-timeout", "60s");
    let door = plan.arg("--shutdown-timeout", "60s").door().await;
    acts(&door, true).await;
    let next = Plan::new("door-2", &etcd.endpoint()).door().await;
    line_has(&etcd, "election", 2).await;
    let lease = leaders_key(&etcd, "election").lease;
    let asked = etcd.count("LeaseRevoke");
    let addr = door.addr.clone();
    let waiting =
        tokio::spawn(
            async move { crate::support::raw(&addr, "/pb.Master/StartTask", &[], b"").await },
        );
    until("the question is in hand", async || {
        let (_, text) = page(&door.addr, "GET", "/metrics", "").await;
        // This one and the other.
        text.lines().any(|line| line == "dm_requests_in_flight 2")
    })
    .await;
    let addr = door.addr.clone();
    let stopping = tokio::spawn(door.stop());
    until("the port turns away", || turns_away(&addr)).await;
    assert_eq!(
        (
            leaders_key(&etcd, "election").lease,
            etcd.count("LeaseRevoke")
        ),
        (lease, asked),
        "nobody may have ended the lease before the answer"
    );
    let plan = Plan::new("scheduler-1", &etcd.endpoint());
    let _scheduler = Stub::saying("started").start(Role::Scheduler, &plan).await;
    assert_eq!(waiting.await.unwrap().message(), b"started");
    stopping.await.unwrap();
    acts(&next, true).await;
}

/// Whether a port takes a connection and closes it at once. One that refuses is that of a dead process.
async fn turns_away(addr: &str) -> bool {
    use tokio::io::AsyncReadExt;
    let connected = tokio::net::TcpStream::connect(addr).await;
    let mut stream = connected.expect("a port that is not refused");
    let read = tokio::time::timeout(SHORT, stream.read_u8()).await;
    matches!(read, Ok(Err(_)))
}

/// A server that serves says nothing by itself, however long one waits.
const SHORT: std::time::Duration = std::time::Duration::from_millis(100);
