//! What others can rely on: who commits, when, and what a caller is told.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "replica/etcd_members.rs"]
mod etcd_members;
#[path = "replica/outcomes.rs"]
mod outcomes;
#[path = "replica/watchdog.rs"]
mod watchdog;

use std::time::Duration;

use common::{ANSWER, ASK, Echo, LIMIT, Running, answered};
use dm_keyspace::{EvictionKey, Role, Transfer, TransferKey};
use dm_replica::{Plan, Proposal, Refused, WriteError};
use dm_store::Guard;
use dm_testkit::memory::MemoryEtcd;

/// An address that accepts connections but belongs to nobody, so that no probe finds it refused.
struct Alive(
    #[expect(dead_code, reason = "held for its port")] std::net::TcpListener,
    String,
);

impl Alive {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        Self(listener, addr)
    }

    fn addr(&self) -> String {
        self.1.clone()
    }
}

/// Waits until so many candidates have a key.
async fn stand_in_line(etcd: &MemoryEtcd, members: usize) {
    let all = async || etcd.dump("/dm-master/leader/pessimist/").len() == members;
    dm_testkit::wait_until(LIMIT, "all stand in line", all)
        .await
        .unwrap();
}

/// Two replicas: the first leads, the second stands behind it.
async fn two(etcd: &MemoryEtcd, first: &Alive, second: &Alive) -> (Running, Running) {
    let mut a = Running::start(&etcd.endpoint(), "a", &first.addr()).await;
    a.leads().await;
    let mut b = Running::start(&etcd.endpoint(), "b", &second.addr()).await;
    b.follows("a").await;
    stand_in_line(etcd, 2).await;
    (a, b)
}

fn put_answer(
    name: &str,
    value: &str,
) -> impl Fn(&Echo) -> Result<Plan<()>, String> + Send + 'static + use<> {
    let (key, value) = (format!("{ANSWER}{name}"), value.to_owned());
    move |_| {
        Ok(Plan::Commit(
            Proposal::new("test")
                .guard(Guard::Missing(key.clone().into()))
                .put(key.clone(), value.clone()),
            (),
        ))
    }
}

#[tokio::test]
async fn only_the_leader_commits_what_both_have_decided() {
    let (etcd, x, y) = (
        MemoryEtcd::start().await.unwrap(),
        Alive::new(),
        Alive::new(),
    );
    let (mut a, b) = two(&etcd, &x, &y).await;
    etcd.put(format!("{ASK}1"), "one");
    assert_eq!(answered(&a.handle, "1").await, b"one");
    assert_eq!(answered(&b.handle, "1").await, b"one");
    a.until("its commit is counted", |s| {
        s.stats.committed_proposals == 1
    })
    .await;
    assert_eq!(b.status.borrow().stats.committed_proposals, 0);
}

#[tokio::test]
async fn takeover_after_a_graceful_stop_reads_nothing_again() {
    let (etcd, x, y) = (
        MemoryEtcd::start().await.unwrap(),
        Alive::new(),
        Alive::new(),
    );
    let (a, mut b) = two(&etcd, &x, &y).await;
    let lists = etcd.count("Range");
    a.stop().await;
    etcd.put(format!("{ASK}1"), "one");
    b.leads().await;
    assert_eq!(answered(&b.handle, "1").await, b"one");
    assert_eq!(etcd.count("Range"), lists, "a takeover must not list");
    assert_eq!(b.status.borrow().stats.loads, 1);
}

#[tokio::test]
async fn what_a_dead_leader_left_undone_is_done_by_the_next() {
    let (etcd, x, y) = (
        MemoryEtcd::start().await.unwrap(),
        Alive::new(),
        Alive::new(),
    );
    let (a, mut b) = two(&etcd, &x, &y).await;
    a.kill();
    etcd.put(format!("{ASK}1"), "one");
    b.until("it has decided", |s| s.stats.wanted == 1).await;
    assert!(b.status.borrow().leads.is_none());
    // The port refuses from now on, so the lease need not run out.
    drop(x);
    b.leads().await;
    assert_eq!(answered(&b.handle, "1").await, b"one");
}

#[tokio::test]
async fn deposed_leader_that_has_not_noticed_cannot_commit() {
    let (etcd, x, y) = (
        MemoryEtcd::start().await.unwrap(),
        Alive::new(),
        Alive::new(),
    );
    let (a, mut b) = two(&etcd, &x, &y).await;
    // From here on nobody's feed moves: both still see `a` at the head of the line.
    etcd.hold_watch();
    let sent = etcd.count("Txn");
    let line = etcd.dump("/dm-master/leader/pessimist/");
    let leader = line.iter().min_by_key(|kv| kv.create_revision).unwrap();
    etcd.revoke(leader.lease).unwrap();
    let refused = tokio::spawn({
        let handle = a.handle.clone();
        async move { handle.write(put_answer("x", "from a")).await }
    });
    dm_testkit::wait_until(LIMIT, "the write has reached etcd", async || {
        etcd.count("Txn") > sent
    })
    .await
    .unwrap();
    assert!(etcd.dump(ANSWER).is_empty(), "the fence must hold");
    etcd.release_watch();
    assert!(matches!(
        refused.await.unwrap(),
        Err(WriteError::Refused(Refused::NotLeader))
    ));
    b.leads().await;
    b.handle.write(put_answer("x", "from b")).await.unwrap();
    assert_eq!(etcd.dump(ANSWER)[0].value, b"from b");
}

#[tokio::test]
async fn writes_are_answered_after_they_are_in_the_fold() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    a.leads().await;
    a.handle.write(put_answer("x", "1")).await.unwrap();
    let seen = a
        .handle
        .read(|m, _| m.answered.get("x").map(|(_, v)| v.clone()))
        .await
        .unwrap();
    assert_eq!(seen.as_deref(), Some(b"1".as_slice()));
}

#[tokio::test]
async fn lost_reply_of_a_commit_is_resolved_by_reading() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    a.leads().await;
    etcd.drop_reply_of_next_txn();
    a.handle.write(put_answer("x", "1")).await.unwrap();
    assert_eq!(etcd.dump(ANSWER)[0].version, 1, "it was applied once");
    a.until("the lost reply is counted", |s| s.stats.lost_replies > 0)
        .await;
}

#[tokio::test]
async fn request_that_collides_is_validated_again_on_the_new_state() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    a.leads().await;
    etcd.hold_watch();
    let sent = etcd.count("Txn");
    etcd.put(format!("{ANSWER}x"), "theirs");
    let write = tokio::spawn({
        let handle = a.handle.clone();
        async move {
            let plan = |m: &Echo| match m.answered.contains_key("x") {
                true => Err("there is one already".to_owned()),
                false => put_answer("x", "ours")(m),
            };
            handle.write(plan).await
        }
    });
    dm_testkit::wait_until(LIMIT, "the write was refused", async || {
        etcd.count("Txn") > sent
    })
    .await
    .unwrap();
    etcd.release_watch();
    let refusal = write.await.unwrap();
    assert!(matches!(refusal, Err(WriteError::Rejected(why)) if why == "there is one already"));
}

#[tokio::test]
async fn standby_refuses_and_still_reads_its_own_fold() {
    let (etcd, x, y) = (
        MemoryEtcd::start().await.unwrap(),
        Alive::new(),
        Alive::new(),
    );
    let (_a, b) = two(&etcd, &x, &y).await;
    assert!(matches!(
        b.handle.read(|_, at| at).await,
        Err(Refused::NotLeader)
    ));
    assert!(matches!(
        b.handle.write(put_answer("x", "1")).await,
        Err(WriteError::Refused(Refused::NotLeader))
    ));
    assert!(b.handle.read_stale(|_, at| at).await.is_ok());
}

#[tokio::test]
async fn resigning_twice_moves_the_lead_once() {
    let (etcd, x, y) = (
        MemoryEtcd::start().await.unwrap(),
        Alive::new(),
        Alive::new(),
    );
    let (mut a, mut b) = two(&etcd, &x, &y).await;
    a.handle.resign().await.unwrap();
    a.handle.resign().await.unwrap();
    b.leads().await;
    a.follows("b").await;
    stand_in_line(&etcd, 2).await;
    a.follows("b").await;
    assert_eq!(b.status.borrow().stats.terms, 1);
}

#[tokio::test]
async fn evicted_member_leads_again_only_when_the_eviction_is_cancelled() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    a.leads().await;
    let key = EvictionKey {
        role: Role::Pessimist,
        name: "a".into(),
    }
    .encode();
    etcd.put(key.clone(), r#"{"name":"a"}"#);
    a.until("it is out of the line", |s| {
        s.is_evicted && s.leader.is_none()
    })
    .await;
    etcd.delete(key);
    a.leads().await;
}

#[tokio::test]
async fn lead_goes_to_the_named_member_past_others_in_the_line() {
    let (etcd, x, y, z) = (
        MemoryEtcd::start().await.unwrap(),
        Alive::new(),
        Alive::new(),
        Alive::new(),
    );
    let (a, b) = two(&etcd, &x, &y).await;
    let mut c = Running::start(&etcd.endpoint(), "c", &z.addr()).await;
    stand_in_line(&etcd, 3).await;
    c.follows("a").await;
    let key = TransferKey {
        role: Role::Pessimist,
    };
    etcd.put(key.encode(), Transfer::new("c").to_bytes());
    c.leads().await;
    dm_testkit::wait_until(LIMIT, "the order has been taken back", async || {
        etcd.dump("/dm-master/transfer/").is_empty()
    })
    .await
    .unwrap();
    drop((a, b));
}

#[tokio::test]
async fn second_process_with_the_same_name_never_leads() {
    let (etcd, x, y) = (
        MemoryEtcd::start().await.unwrap(),
        Alive::new(),
        Alive::new(),
    );
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    a.leads().await;
    let mut twin = Running::start(&etcd.endpoint(), "a", &y.addr()).await;
    let status = twin
        .until("it reports the conflict", |s| {
            s.troubles.iter().any(|t| t.contains("in use"))
        })
        .await;
    assert!(status.leads.is_none());
    a.stop().await;
    twin.leads().await;
}

#[tokio::test]
async fn restarted_process_replaces_its_former_life_at_once() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    let first = a.leads().await.leads.unwrap();
    a.kill();
    let mut again = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    let second = again
        .until("it leads by a key of its own", |s| {
            s.leads.as_ref().is_some_and(|t| *t != first)
        })
        .await;
    assert!(second.leads.unwrap().create_revision > first.create_revision);
}

#[tokio::test]
async fn lost_lease_costs_one_term_and_a_new_one_follows() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    let first = a.leads().await.leads.unwrap();
    etcd.revoke(etcd.dump("/dm-master/leader/pessimist/")[0].lease)
        .unwrap();
    a.until("it leads anew", |s| {
        s.leads.as_ref().is_some_and(|t| *t != first)
    })
    .await;
}

#[tokio::test]
async fn foreign_keys_beside_the_election_change_nothing() {
    let etcd = MemoryEtcd::start().await.unwrap();
    etcd.put("/dm-master/leader/pessimist/zz", "not a campaign");
    etcd.put(
        "/dm-master/leader/0000000000000001",
        r#"{"id":"old","addr":"x"}"#,
    );
    etcd.put("/dm-master/leaderless", "x");
    let x = Alive::new();
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    a.leads().await;
}

#[tokio::test]
async fn compaction_under_the_watch_does_not_cost_the_lead() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    let term = a.leads().await.leads;
    etcd.cut_connections();
    etcd.refuse(true);
    for n in 0..10 {
        etcd.put(format!("{ASK}{n}"), "x");
    }
    etcd.compact(etcd.revision()).unwrap();
    etcd.refuse(false);
    assert_eq!(answered(&a.handle, "9").await, b"x");
    assert_eq!(a.status.borrow().leads, term);
    assert!(
        a.until("the state was loaded again", |s| s.stats.loads == 2)
            .await
            .leads
            .is_some()
    );
}

#[tokio::test]
async fn unreachable_etcd_is_told_and_waited_for() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    etcd.refuse(true);
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    let status = a
        .until("the trouble is told", |s| {
            s.troubles.iter().any(|t| t.starts_with("etcd"))
        })
        .await;
    assert!(!status.is_ready());
    etcd.refuse(false);
    assert!(a.leads().await.is_ready());
}

#[tokio::test]
async fn many_decisions_share_few_transactions() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    for n in 0..500 {
        etcd.put(format!("{ASK}{n}"), "x");
    }
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    a.leads().await;
    for n in 0..500 {
        answered(&a.handle, &n.to_string()).await;
    }
    let stats = a
        .until("all have landed", |s| s.stats.committed_proposals == 500)
        .await
        .stats;
    assert!(
        stats.commits < 20,
        "{} transactions for 500 proposals",
        stats.commits
    );
}

#[tokio::test]
async fn write_fails_as_a_whole_when_etcd_does_not_take_it() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    a.leads().await;
    let huge = |_: &Echo| {
        let all = (0..200).fold(Proposal::new("huge"), |p, n| {
            p.put(format!("{ANSWER}{n}"), "x")
        });
        Ok::<_, String>(Plan::Commit(all, ()))
    };
    assert!(matches!(
        a.handle.write(huge).await,
        Err(WriteError::Unacceptable(_))
    ));
    assert!(etcd.dump(ANSWER).is_empty());
    tokio::time::timeout(Duration::from_secs(5), a.handle.write(put_answer("x", "1")))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn event_that_the_watch_has_lost_is_found_and_healed() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a =
        Running::start_auditing(&etcd.endpoint(), "a", &x.addr(), Duration::from_millis(300)).await;
    a.leads().await;
    etcd.hold_watch();
    etcd.put(format!("{ASK}1"), "one");
    etcd.lose_held();
    etcd.release_watch();
    etcd.put(format!("{ASK}2"), "two");
    assert_eq!(answered(&a.handle, "2").await, b"two");
    assert_eq!(answered(&a.handle, "1").await, b"one");
    a.until("the difference is counted", |s| {
        s.stats.audit_differences > 0
    })
    .await;
}

#[tokio::test]
async fn reading_is_no_change_of_the_status() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    a.leads().await;
    a.until("its own keys are folded", |s| s.stats.in_flight == 0)
        .await;
    let revision = etcd.revision();
    a.until("the fold is idle", |s| s.applied.0 == revision)
        .await;
    // One read to be sure that the loop has told what it had to tell.
    a.handle.read_stale(|_, _| ()).await.unwrap();
    a.handle.read_stale(|_, _| ()).await.unwrap();
    a.status.borrow_and_update();
    for _ in 0..10 {
        a.handle.read_stale(|_, _| ()).await.unwrap();
    }
    assert!(!a.status.has_changed().unwrap());
}

#[tokio::test]
async fn evicted_leader_does_not_act_while_its_key_cannot_be_deleted() {
    let (etcd, x, y) = (
        MemoryEtcd::start().await.unwrap(),
        Alive::new(),
        Alive::new(),
    );
    let (mut a, mut b) = two(&etcd, &x, &y).await;
    for _ in 0..4 {
        etcd.fail_next("Txn", tonic::Status::unavailable("not now"));
    }
    let key = EvictionKey {
        role: Role::Pessimist,
        name: "a".into(),
    };
    etcd.put(key.encode(), r#"{"name":"a"}"#);
    let status = a.until("it has seen the eviction", |s| s.is_evicted).await;
    assert!(status.leads.is_none());
    b.leads().await;
    assert_eq!(a.status.borrow().stats.terms, 1);
}
