//! etcd through a door, as workers use it: a stock client that is given nothing but doors.

use std::time::Duration;

use dm_store::{FeedItem, Guard, KeyRange, Options, Put, Store, Txn};
use dm_testkit::etcd::RealEtcd;
use dm_testkit::memory::MemoryEtcd;

use crate::support::{LIMIT, Plan, Running, acts, doors, line_has};

async fn through(doors: &[&Running]) -> Store {
    let options = Options {
        endpoints: doors
            .iter()
            .map(|door| format!("http://{}", door.addr))
            .collect(),
        // As a worker does.
        follow_members: true,
        ..Options::default()
    };
    Store::connect(&options).await.unwrap()
}

/// The next item in which `key` is there, or has gone.
async fn brings(feed: &mut dm_store::Feed, key: &str, value: Option<&str>) {
    let seen = async {
        loop {
            let found = match feed.next().await {
                FeedItem::Reset(all) => all
                    .entries
                    .iter()
                    .any(|kv| kv.key == key && value.is_some_and(|value| kv.value == value)),
                FeedItem::Batch(batch) => batch.events.iter().any(|event| match event {
                    dm_store::Event::Put(kv) => {
                        kv.key == key && value.is_some_and(|value| kv.value == value)
                    }
                    dm_store::Event::Delete { key: gone, .. } => gone == key && value.is_none(),
                }),
            };
            if found {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, seen)
        .await
        .unwrap_or_else(|_| panic!("the watch must bring {key}"));
}

/// Everything that a worker does with etcd.
async fn works_as_etcd(door: &Running) {
    let store = through(&[door]).await;
    let mut feed = store.feed(KeyRange::prefix("/dm-worker/"));
    let revision = store
        .put("/dm-worker/r/w1", "registered", None)
        .await
        .unwrap();
    brings(&mut feed, "/dm-worker/r/w1", Some("registered")).await;
    let read = store.get("/dm-worker/r/w1").await.unwrap().unwrap();
    assert_eq!(
        (read.value.as_ref(), read.mod_revision),
        (b"registered".as_slice(), revision)
    );

    let guarded = Txn {
        guards: vec![Guard::Missing("/dm-worker/r/w1".into())],
        puts: vec![Put {
            key: "/dm-worker/r/w1".into(),
            value: "again".into(),
            lease: None,
        }],
        deletes: Vec::new(),
    };
    let refusal = store.commit(&guarded).await.unwrap_err();
    assert!(
        matches!(refusal, dm_store::CommitError::GuardFailed { .. }),
        "{refusal:?}"
    );

    let lease = store.grant(Duration::from_secs(30)).await.unwrap();
    store
        .put("/dm-worker/a/w1", "alive", Some(lease.id))
        .await
        .unwrap();
    brings(&mut feed, "/dm-worker/a/w1", Some("alive")).await;
    store.keep_alive_once(lease.id).await.unwrap();
    store.revoke(lease.id).await.unwrap();
    brings(&mut feed, "/dm-worker/a/w1", None).await;
    store.delete(KeyRange::prefix("/dm-worker/")).await.unwrap();
    brings(&mut feed, "/dm-worker/r/w1", None).await;
}

#[tokio::test]
async fn worker_finds_keys_watches_and_leases_behind_a_door() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let door = Plan::new("door-1", &etcd.endpoint()).door().await;
    works_as_etcd(&door).await;
}

#[tokio::test]
async fn worker_finds_a_real_etcd_behind_a_door() {
    let etcd = RealEtcd::start_temp().await.unwrap();
    let door = Plan::new("door-1", &etcd.endpoint()).door().await;
    acts(&door, true).await;
    works_as_etcd(&door).await;
}

#[tokio::test]
async fn standby_door_passes_as_well_as_the_leading_one() {
    let (_etcd, [_first, second]) = doors().await;
    works_as_etcd(&second).await;
}

#[tokio::test]
async fn case_60_open_watch_does_not_hold_up_a_stopping_door_and_goes_on_at_another() {
    let (etcd, [first, second]) = doors().await;
    let store = through(&[&first, &second]).await;
    let mut feed = store.feed(KeyRange::prefix("/dm-worker/"));
    etcd.put("/dm-worker/r/w1", "1");
    brings(&mut feed, "/dm-worker/r/w1", Some("1")).await;
    first.stop().await;
    line_has(&etcd, "election", 1).await;
    etcd.put("/dm-worker/r/w1", "2");
    brings(&mut feed, "/dm-worker/r/w1", Some("2")).await;
}

#[tokio::test]
async fn case_60_worker_that_was_given_one_door_stays_online_when_that_door_is_gone_for_good() {
    let (etcd, [first, second]) = doors().await;
    let store = through(&[&first]).await;
    let mut feed = store.feed(KeyRange::prefix("/dm-worker/"));
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let mut used = store.endpoints();
    let learnt = format!("http://{}", second.addr);
    used.wait_for(|used| used.contains(&learnt)).await.unwrap();
    first.stop().await;
    used.wait_for(|used| used.len() == 1).await.unwrap();
    etcd.put("/dm-worker/r/w1", "1");
    brings(&mut feed, "/dm-worker/r/w1", Some("1")).await;
    store.keep_alive_once(lease.id).await.unwrap();
}

#[tokio::test]
async fn etcd_that_is_away_is_unavailable_behind_the_door_as_well() {
    let (etcd, [door]) = doors().await;
    let store = through(&[&door]).await;
    store.put("/dm-worker/r/w1", "1", None).await.unwrap();
    etcd.refuse(true);
    let refusal = store.get("/dm-worker/r/w1").await.unwrap_err();
    assert!(refusal.is_retryable(), "{refusal:?}");
    etcd.refuse(false);
    let read = async || {
        store
            .get("/dm-worker/r/w1")
            .await
            .is_ok_and(|kv| kv.is_some())
    };
    dm_testkit::wait_until(LIMIT, "it answers again", read)
        .await
        .unwrap();
}
