//! What a caller is told of its write, whatever became of the reply.

use std::time::Duration;

use dm_replica::{Plan, Proposal, Refused, Settings, WriteError};
use dm_store::{Guard, KeyRange, Revision};
use dm_testkit::memory::MemoryEtcd;
use tokio::task::JoinHandle;

use super::{ANSWER, Alive, Echo, LIMIT, Running};

type Told = Result<(), WriteError<String>>;

async fn leader() -> (MemoryEtcd, Alive, Running) {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let mut a = Running::start(&etcd.endpoint(), "a", &x.addr()).await;
    a.leads().await;
    (etcd, x, a)
}

fn spawn(
    a: &Running,
    plan: impl Fn(&Echo) -> Result<Plan<()>, String> + Send + 'static,
) -> JoinHandle<Told> {
    let handle = a.handle.clone();
    tokio::spawn(async move { handle.write(plan).await })
}

/// Waits until etcd has had this many transactions since.
async fn sent(etcd: &MemoryEtcd, before: u64, transactions: u64) {
    let arrived = async || etcd.count("Txn") >= before + transactions;
    dm_testkit::wait_until(LIMIT, "the transactions have reached etcd", arrived)
        .await
        .unwrap();
}

fn seen_at(echo: &Echo, name: &str) -> Option<Revision> {
    echo.answered.get(name).map(|(at, _)| *at)
}

/// Creates an answer that must not exist yet.
fn create(name: &'static str, value: &'static str) -> impl Fn(&Echo) -> Result<Plan<()>, String> {
    move |echo| {
        if echo.answered.contains_key(name) {
            return Err("there is one already".to_owned());
        }
        let key = format!("{ANSWER}{name}");
        let proposal = Proposal::new("create").guard(Guard::Missing(key.clone().into()));
        Ok(Plan::Commit(proposal.put(key, value), ()))
    }
}

/// Writes the first answer as it is, and a second one.
fn rewrite_and_put(second: &'static str) -> impl Fn(&Echo) -> Result<Plan<()>, String> {
    move |echo| {
        let key = format!("{ANSWER}shared");
        let proposal = Proposal::new("rewrite")
            .guard(Guard::unchanged(key.clone(), seen_at(echo, "shared")))
            .put(key, "same")
            .put(format!("{ANSWER}{second}"), second);
        Ok(Plan::Commit(proposal, ()))
    }
}

/// Deletes an answer that must exist.
fn remove(name: &'static str) -> impl Fn(&Echo) -> Result<Plan<()>, String> {
    move |echo| {
        let seen = seen_at(echo, name).ok_or("there is none")?;
        let key = format!("{ANSWER}{name}");
        let proposal = Proposal::new("remove").guard(Guard::ModRevision(key.clone().into(), seen));
        Ok(Plan::Commit(proposal.delete(KeyRange::key(key)), ()))
    }
}

#[tokio::test]
async fn of_two_equal_requests_at_a_time_one_succeeds_and_one_is_refused() {
    let (etcd, _x, a) = leader().await;
    // Both are validated on a state without the other.
    etcd.hold_watch();
    let before = etcd.count("Txn");
    let (one, two) = (spawn(&a, create("x", "1")), spawn(&a, create("x", "1")));
    sent(&etcd, before, 2).await;
    etcd.release_watch();
    let told = [one.await.unwrap(), two.await.unwrap()];
    let succeeded = told.iter().filter(|told| told.is_ok()).count();
    let rejected = |told: &Told| matches!(told, Err(WriteError::Rejected(_)));
    assert_eq!(
        (succeeded, told.iter().filter(|t| rejected(t)).count()),
        (1, 1),
        "{told:?}"
    );
    assert_eq!(etcd.dump(ANSWER)[0].version, 1);
}

#[tokio::test]
async fn a_shared_first_key_makes_nobody_believe_in_what_was_not_written() {
    let (etcd, _x, a) = leader().await;
    etcd.hold_watch();
    let before = etcd.count("Txn");
    let one = spawn(&a, rewrite_and_put("one"));
    let two = spawn(&a, rewrite_and_put("two"));
    sent(&etcd, before, 2).await;
    etcd.release_watch();
    one.await.unwrap().unwrap();
    two.await.unwrap().unwrap();
    assert_eq!(
        etcd.dump(ANSWER).len(),
        3,
        "who was told success has written"
    );
}

#[tokio::test]
async fn deletion_whose_reply_is_lost_is_known_by_its_event() {
    let (etcd, _x, mut a) = leader().await;
    a.handle.write(create("x", "1")).await.unwrap();
    etcd.drop_reply_of_next_txn();
    a.handle.write(remove("x")).await.unwrap();
    assert!(etcd.dump(ANSWER).is_empty());
    a.until("the lost reply is counted", |s| s.stats.lost_replies > 0)
        .await;
}

#[tokio::test]
async fn traced_write_whose_reply_is_lost_is_known_by_its_bytes() {
    let (etcd, _x, a) = leader().await;
    etcd.drop_reply_of_next_txn();
    let key = format!("{ANSWER}x");
    let told = a
        .handle
        .write(move |echo: &Echo| {
            if echo.answered.contains_key("x") {
                return Err("there is one already".to_owned());
            }
            let proposal = Proposal::new("traced").guard(Guard::Missing(key.clone().into()));
            let value = |trace: Option<&str>| trace.unwrap_or("none").into();
            Ok(Plan::Commit(proposal.put_traced(key.clone(), value), ()))
        })
        .await;
    assert!(told.is_ok(), "{told:?}");
    assert_eq!(etcd.dump(ANSWER)[0].version, 1);
}

#[tokio::test]
async fn lost_reply_of_one_of_two_equal_requests_still_means_one_success() {
    let (etcd, _x, a) = leader().await;
    etcd.hold_watch();
    let before = etcd.count("Txn");
    etcd.drop_reply_of_next_txn();
    let (one, two) = (spawn(&a, create("x", "1")), spawn(&a, create("x", "1")));
    // Two attempts, and the repetition of the one whose reply was lost.
    sent(&etcd, before, 3).await;
    etcd.release_watch();
    let told = [one.await.unwrap(), two.await.unwrap()];
    let succeeded = told.iter().filter(|told| told.is_ok()).count();
    assert_eq!(succeeded, 1, "{told:?}");
    assert_eq!(etcd.dump(ANSWER)[0].version, 1);
}

#[tokio::test]
async fn requests_that_shared_a_transaction_whose_reply_is_lost_are_written_once() {
    let (etcd, _x, a) = leader().await;
    etcd.hold_watch();
    let before = etcd.count("Txn");
    etcd.drop_reply_of_next_txn();
    let names = ["a", "b", "c"];
    let told = names.map(|name| spawn(&a, create(name, "1")));
    sent(&etcd, before, 2).await;
    etcd.release_watch();
    for told in told {
        told.await.unwrap().unwrap();
    }
    let versions: Vec<i64> = etcd.dump(ANSWER).iter().map(|kv| kv.version).collect();
    assert_eq!(versions, [1, 1, 1]);
}

#[tokio::test]
async fn what_is_committed_is_told_so_even_by_a_replica_that_stops() {
    let (etcd, _x, a) = leader().await;
    etcd.hold_watch();
    let before = etcd.count("Txn");
    let told = spawn(&a, create("x", "1"));
    sent(&etcd, before, 1).await;
    a.stop().await;
    told.await.unwrap().unwrap();
    assert_eq!(etcd.dump(ANSWER).len(), 1);
}

#[tokio::test]
async fn what_a_stopping_replica_cannot_find_out_is_told_as_unknown() {
    let (etcd, x) = (MemoryEtcd::start().await.unwrap(), Alive::new());
    let brief = |settings| Settings {
        drain: Duration::from_millis(200),
        ..settings
    };
    let mut a = Running::start_with(&etcd.endpoint(), "a", &x.addr(), brief).await;
    a.leads().await;
    let before = etcd.count("Txn");
    etcd.drop_reply_of_next_txn();
    for _ in 0..100 {
        etcd.fail_next("Txn", tonic::Status::unavailable("not now"));
    }
    let told = spawn(&a, create("x", "1"));
    sent(&etcd, before, 2).await;
    a.stop().await;
    let told = told.await.unwrap();
    assert!(matches!(told, Err(WriteError::Unknown)), "{told:?}");
}

#[tokio::test]
async fn replica_that_is_stopped_twice_ends_once_and_leaves_no_key() {
    let (etcd, _x, a) = leader().await;
    let handle = a.handle.clone();
    a.stop().await;
    assert!(etcd.dump("/dm-master/").is_empty());
    assert_eq!(handle.resign().await, Err(Refused::Stopping));
    assert!(matches!(
        handle.write(create("x", "1")).await,
        Err(WriteError::Refused(Refused::Stopping))
    ));
}
