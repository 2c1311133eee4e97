//! Cases 1 to 20, 28, 32, 34, 38 to 40: who leads, and when somebody else does.

use std::time::Duration;

use dm_keyspace::Role;
use dm_proto::election::{GetLeadersRequest, TransferLeaderRequest};
use dm_proto::member::member_client::MemberClient;
use dm_proto::member::{Leader, ResignRequest};
use dm_testkit::memory::{Clock, MemoryEtcd, Options};

use crate::support::client::{channel, describe, role};
use crate::support::stub::Stub;
use crate::support::{
    LIMIT, Plan, Running, acts, doors, elections, leaders_key, leads, line_has, one_door, page,
    raw, until,
};

const LINE: &str = "/dm-master/leader/election/";

async fn leaders_of_all(door: &Running) -> Vec<Leader> {
    let request = GetLeadersRequest::default();
    let answer = elections(door).get_leaders(request).await.unwrap();
    answer.into_inner().leaders
}

#[tokio::test]
async fn case_01_first_member_leads_with_its_name_and_address() {
    let (etcd, door) = one_door().await;
    acts(&door, true).await;
    let leaders = leaders_of_all(&door).await;
    assert_eq!(leaders.len(), 1, "{leaders:?}");
    assert_eq!(
        (leaders[0].name.as_str(), leaders[0].addr.as_str()),
        ("door-1", door.addr.as_str())
    );
    let key = leaders_key(&etcd, "election");
    let term = leaders[0].term.as_ref().unwrap();
    assert_eq!(
        (term.key.as_bytes(), term.create_revision),
        (key.key.as_slice(), key.create_revision)
    );
}

#[tokio::test]
async fn case_02_second_member_follows_the_first() {
    let (_etcd, [first, second]) = doors().await;
    let said = describe(&second).await.unwrap();
    assert!(!said.is_leader);
    assert_eq!(
        (said.leader.unwrap().name.as_str(), said.position),
        ("door-1", 2)
    );
    acts(&first, true).await;
}

#[tokio::test]
async fn case_03_graceful_stop_hands_the_lead_on_at_once_and_leaves_one_key() {
    // No time passes for leases here: the lease must have been given back.
    let (etcd, [first, second]) = doors().await;
    first.stop().await;
    acts(&second, true).await;
    line_has(&etcd, "election", 1).await;
    assert_eq!(etcd.dump("/dm-master/member/election/").len(), 1);
}

#[tokio::test]
async fn case_05_killed_leader_is_followed_within_the_ttl() {
    // No time passes for leases here, so only the refused port can have told.
    let (_etcd, [first, second]) = doors().await;
    first.kill().await;
    acts(&second, true).await;
}

#[tokio::test]
async fn case_05_leader_that_is_dead_to_all_but_its_port_is_followed_when_its_lease_has_run_out() {
    let time = Options {
        clock: Clock::Tokio,
        ..Options::default()
    };
    let etcd = MemoryEtcd::start_with(&time).await.unwrap();
    let plan = |name| Plan::new(name, &etcd.endpoint()).arg("--lease-ttl", "2s");
    let first = plan("door-1").door().await;
    acts(&first, true).await;
    let second = plan("door-2").door().await;
    line_has(&etcd, "election", 2).await;
    let theirs = describe(&second).await.unwrap().lease;
    let _frozen = first.freeze().await;
    acts(&second, true).await;
    line_has(&etcd, "election", 1).await;
    assert_eq!(leaders_key(&etcd, "election").lease, theirs);
}

#[tokio::test]
async fn case_08_follower_that_leaves_changes_nothing_for_the_leader() {
    let (etcd, [first, second]) = doors().await;
    let key = leaders_key(&etcd, "election").key;
    second.stop().await;
    line_has(&etcd, "election", 1).await;
    acts(&first, true).await;
    assert_eq!(leaders_key(&etcd, "election").key, key);
    assert_eq!(
        describe(&first)
            .await
            .unwrap()
            .term
            .unwrap()
            .key
            .into_bytes(),
        key
    );
}

#[tokio::test]
async fn case_09_leader_key_deleted_by_hand_moves_the_lead_and_the_member_queues_again() {
    let (etcd, [first, second]) = doors().await;
    etcd.delete(leaders_key(&etcd, "election").key);
    acts(&second, true).await;
    acts(&first, false).await;
    line_has(&etcd, "election", 2).await;
    leads(&first, "election", "door-2").await;
}

#[tokio::test]
async fn case_10_campaign_whose_reply_was_lost_leaves_one_key_and_one_term() {
    let etcd = MemoryEtcd::start().await.unwrap();
    etcd.drop_reply_of_next_txn();
    let door = Plan::new("door-1", &etcd.endpoint()).door().await;
    // One after the other: the registration, the place in the line, what it does as leader.
    until("it leads", async || {
        etcd.drop_reply_of_next_txn();
        describe(&door).await.is_ok_and(|said| said.is_leader)
    })
    .await;
    assert_eq!(etcd.dump(LINE).len(), 1);
    assert_eq!(etcd.dump("/dm-master/member/election/").len(), 1);
}

#[tokio::test]
async fn case_11_revoked_lease_costs_the_term_and_a_new_one_is_campaigned_for() {
    let (etcd, [first, second]) = doors().await;
    let old = leaders_key(&etcd, "election");
    etcd.revoke(old.lease).unwrap();
    acts(&second, true).await;
    line_has(&etcd, "election", 2).await;
    acts(&first, false).await;
    assert_ne!(leaders_key(&etcd, "election").lease, old.lease);
}

#[tokio::test]
async fn case_12_etcd_away_for_longer_than_the_ttl_ends_the_term_and_one_leader_comes_back() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let plan = |name| Plan::new(name, &etcd.endpoint()).arg("--lease-ttl", "2s");
    let first = plan("door-1").door().await;
    acts(&first, true).await;
    let second = plan("door-2").door().await;
    line_has(&etcd, "election", 2).await;

    etcd.refuse(true);
    // By its own clock, before etcd has let the lease go.
    acts(&first, false).await;
    acts(&second, false).await;
    etcd.advance(Duration::from_secs(60));
    etcd.refuse(false);

    line_has(&etcd, "election", 2).await;
    let acting = async || {
        let mut leading = Vec::new();
        for door in [&first, &second] {
            if describe(door).await.is_ok_and(|said| said.is_leader) {
                leading.push(door.name.clone());
            }
        }
        leading
    };
    until("somebody leads again", async || !acting().await.is_empty()).await;
    assert_eq!(acting().await.len(), 1);
}

#[tokio::test]
async fn case_13_restart_within_the_ttl_leads_by_a_key_of_its_own_lease() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let plan = Plan::new("door-1", &etcd.endpoint()).on_port_of_its_own();
    let door = plan.door().await;
    acts(&door, true).await;
    let former = leaders_key(&etcd, "election");
    door.kill().await;
    assert_eq!(
        leaders_key(&etcd, "election").key,
        former.key,
        "it was left behind"
    );
    let again = plan.door().await;
    acts(&again, true).await;
    let own = describe(&again).await.unwrap();
    assert_eq!(own.lease, leaders_key(&etcd, "election").lease);
    assert_ne!(own.lease, former.lease);
}

#[tokio::test]
async fn case_14_second_process_of_the_same_name_reports_the_conflict_and_never_leads() {
    let (etcd, door) = one_door().await;
    let twin = Plan::new("door-1", &etcd.endpoint()).door().await;
    until("the twin says why it is not ready", async || {
        let (code, reasons) = page(&twin.addr, "GET", "/readyz", "").await;
        code == 503 && reasons.contains("the name door-1 is in use by the member at")
    })
    .await;
    assert!(!describe(&twin).await.unwrap().is_leader);
    acts(&door, true).await;
    assert_eq!(etcd.dump(LINE).len(), 1);
    door.stop().await;
    acts(&twin, true).await;
}

#[tokio::test]
async fn case_15_leader_with_the_same_name_at_a_new_address_is_found_there() {
    let (etcd, door) = one_door().await;
    let plan = Plan::new("scheduler-1", &etcd.endpoint());
    let path = "/pb.Master/StartTask";
    let old = Stub::saying("old");
    let first = old.start(Role::Scheduler, &plan).await;
    leads(&door, "scheduler", "scheduler-1").await;
    assert_eq!(raw(&door.addr, path, &[], b"").await.message(), b"old");
    first.stop().await;
    let new = Stub::saying("new");
    let second = new.start(Role::Scheduler, &plan).await;
    until("the new address is called", async || {
        let answer = raw(&door.addr, path, &[], b"").await;
        answer.status().code() == tonic::Code::Ok && answer.message() == b"new"
    })
    .await;
    drop(second);
}

#[tokio::test]
async fn case_16_foreign_keys_beside_the_election_are_shown_and_count_for_nothing() {
    let etcd = MemoryEtcd::start().await.unwrap();
    etcd.put(format!("{LINE}0000000000000001"), "not a campaign");
    etcd.put(
        "/dm-master/leader/7fffffff",
        r#"{"id":"dm","addr":"old:8261"}"#,
    );
    etcd.put("/dm-master/leaders", "x");
    let door = Plan::new("door-1", &etcd.endpoint()).door().await;
    acts(&door, true).await;
    let faults = describe(&door).await.unwrap().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].key, format!("{LINE}0000000000000001"));
}

#[tokio::test]
async fn case_17_each_role_has_one_leader_of_its_own() {
    let (etcd, door) = one_door().await;
    let mut replicas = Vec::new();
    for role in [Role::Scheduler, Role::Pessimist, Role::Optimist] {
        for n in 1..=2 {
            let plan = Plan::new(&format!("{role}-{n}"), &etcd.endpoint());
            replicas.push(Stub::saying("").start(role, &plan).await);
            line_has(&etcd, role.as_str(), n).await;
        }
    }
    etcd.delete(leaders_key(&etcd, "pessimist").key);
    leads(&door, "pessimist", "pessimist-2").await;
    line_has(&etcd, "pessimist", 2).await;
    let leaders = leaders_of_all(&door).await;
    let mut leaders: Vec<String> = leaders.into_iter().map(|l| l.name).collect();
    leaders.sort();
    assert_eq!(
        leaders,
        ["door-1", "optimist-1", "pessimist-2", "scheduler-1"]
    );
}

#[tokio::test]
async fn case_19_20_after_ten_changes_everybody_sees_the_present_leader() {
    let (etcd, [first, second, watcher]) = doors().await;
    for turn in 0..10 {
        let to = if turn % 2 == 0 { &second } else { &first };
        let request = TransferLeaderRequest {
            role: role("election").into(),
            to: to.name.clone(),
        };
        let answer = elections(&watcher).transfer_leader(request).await.unwrap();
        assert_eq!(answer.into_inner().leader.unwrap().name, to.name);
        line_has(&etcd, "election", 3).await;
    }
    let present = leaders_key(&etcd, "election");
    assert!(String::from_utf8_lossy(&present.value).contains("door-1"));
    for door in [&first, &second, &watcher] {
        leads(door, "election", "door-1").await;
    }
    acts(&first, true).await;
}

#[tokio::test]
async fn case_28_resigning_twice_and_being_evicted_meanwhile_does_no_harm() {
    let (etcd, [first, second]) = doors().await;
    let resign = async || {
        let mut member = MemberClient::new(channel(&first.addr));
        member.resign(ResignRequest {}).await
    };
    let evict = crate::evictions::set(&second, "election", "door-1", true);
    let (once, twice, evicted) = tokio::join!(resign(), resign(), evict);
    once.unwrap();
    twice.unwrap();
    evicted.unwrap();
    acts(&second, true).await;
    line_has(&etcd, "election", 1).await;
    assert!(!describe(&first).await.unwrap().is_leader);
}

#[tokio::test]
async fn case_32_member_that_does_not_lead_any_more_says_so_and_follows() {
    let (etcd, [first, second]) = doors().await;
    let mut member = MemberClient::new(channel(&first.addr));
    let answer = member.resign(ResignRequest {}).await.unwrap();
    assert!(answer.into_inner().was_leader);
    acts(&second, true).await;
    line_has(&etcd, "election", 2).await;
    leads(&first, "election", "door-2").await;
    assert!(!describe(&first).await.unwrap().is_leader);
}

#[tokio::test]
async fn case_32_write_to_one_that_has_retired_is_forwarded_once_and_otherwise_refused() {
    let (etcd, door) = one_door().await;
    let start = async |name: &str, word| {
        let plan = Plan::new(name, &etcd.endpoint());
        Stub::saying(word).start(Role::Scheduler, &plan).await
    };
    let retired = start("scheduler-1", "written by the first").await;
    line_has(&etcd, "scheduler", 1).await;
    let _present = start("scheduler-2", "written by the second").await;
    line_has(&etcd, "scheduler", 2).await;
    let mut member = MemberClient::new(channel(&retired.addr));
    member.resign(ResignRequest {}).await.unwrap();
    leads(&door, "scheduler", "scheduler-2").await;
    acts(&retired, false).await;
    let write = "/dm.scheduler.v1.Scheduler/StartTask";
    until("the retired one forwards", async || {
        let answer = raw(&retired.addr, write, &[], b"").await;
        answer.status().code() == tonic::Code::Ok && answer.message() == b"written by the second"
    })
    .await;
    let refusal = raw(&retired.addr, write, &[("dm-hop", "1")], b"").await;
    assert_eq!(refusal.status().code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn case_39_leader_frozen_past_its_lease_writes_nothing_and_follows() {
    let (etcd, [first, second]) = doors().await;
    let old = leaders_key(&etcd, "election");
    // What it will decide on first when it wakes up: in its feed the id goes before its own key does.
    etcd.hold_watch();
    etcd.delete("/dm-cluster/id");
    let frozen = first.freeze().await;
    etcd.revoke(old.lease).unwrap();
    etcd.release_watch();
    acts(&second, true).await;
    until("the new leader has made an id", async || {
        etcd.dump("/dm-cluster/id").len() == 1
    })
    .await;
    let id = etcd.dump("/dm-cluster/id");
    drop(frozen);
    line_has(&etcd, "election", 2).await;
    acts(&first, false).await;
    assert_eq!(etcd.dump("/dm-cluster/id"), id);
    leads(&first, "election", "door-2").await;
}

#[tokio::test]
async fn case_40_lead_and_terms_are_among_the_metrics() {
    let (etcd, [first, second]) = doors().await;
    let shows = async |door: &Running, line: &str| {
        let found = async || {
            page(&door.addr, "GET", "/metrics", "")
                .await
                .1
                .lines()
                .any(|l| l == line)
        };
        dm_testkit::wait_until(LIMIT, line, found).await.unwrap();
    };
    shows(&first, "dm_replica_leads 1").await;
    shows(&second, "dm_replica_leads 0").await;
    etcd.delete(leaders_key(&etcd, "election").key);
    shows(&first, "dm_replica_leads 0").await;
    shows(&second, "dm_replica_leads 1").await;
    shows(&second, "dm_replica_loop_total{what=\"terms\"} 1").await;
}
