//! What the store promises, on the etcd in memory and on a real one alike.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use dm_keyspace::LeaseId;
use dm_store::{
    CommitError, Error, Event, FeedItem, Guard, KeyRange, Options, Put, Revision, Store, Txn,
};
use dm_testkit::etcd::RealEtcd;
use dm_testkit::memory::MemoryEtcd;

const LIMIT: Duration = Duration::from_secs(20);

/// Runs one test on both kinds of etcd.
macro_rules! on_both {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        mod in_memory {
            $(#[tokio::test] async fn $name() {
                let etcd = super::MemoryEtcd::start().await.unwrap();
                super::$name(super::connect(&etcd.endpoint()).await).await;
            })*
        }
        mod real {
            $(#[tokio::test] async fn $name() {
                let etcd = super::RealEtcd::start_temp().await.unwrap();
                super::$name(super::connect(&etcd.endpoint()).await).await;
            })*
        }
    };
}

on_both! {
    snapshot_shows_one_revision_over_many_pages;
    guards_hold_or_refuse_the_whole_transaction;
    transaction_beyond_the_limit_is_refused_with_nothing_written;
    old_state_is_read_at_its_revision;
    key_goes_with_its_lease;
    feed_brings_each_change_once_and_in_order;
    transaction_arrives_in_one_batch;
    feed_that_fell_behind_a_compaction_starts_again;
}

async fn connect(endpoint: &str) -> Store {
    let options = Options {
        endpoints: vec![endpoint.to_owned()],
        page: 7,
        ..Options::default()
    };
    Store::connect(&options).await.unwrap()
}

fn put(key: &str, value: &str) -> Put {
    Put {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value.to_owned()),
        lease: None,
    }
}

async fn next(feed: &mut dm_store::Feed) -> FeedItem {
    tokio::time::timeout(LIMIT, feed.next())
        .await
        .expect("the feed brings nothing")
}

async fn snapshot_shows_one_revision_over_many_pages(store: Store) {
    for n in 0..40 {
        store
            .put(format!("/dm-x/{n:02}"), "old", None)
            .await
            .unwrap();
    }
    store.put("/other", "x", None).await.unwrap();
    let snapshot = store.snapshot(&KeyRange::prefix("/dm-x/")).await.unwrap();
    assert_eq!(snapshot.entries.len(), 40);
    assert!(snapshot.entries.is_sorted_by(|a, b| a.key < b.key));
    assert!(
        snapshot
            .entries
            .iter()
            .all(|kv| kv.mod_revision <= snapshot.revision && kv.version == 1)
    );
}

async fn guards_hold_or_refuse_the_whole_transaction(store: Store) {
    let first = store.put("a", "1", None).await.unwrap();
    let with = |guard: Guard| Txn {
        guards: vec![guard],
        puts: vec![put("b", "x"), put("c", "x")],
        deletes: vec![],
    };
    let refused = [
        Guard::Missing("a".into()),
        Guard::Exists("z".into()),
        Guard::CreateRevision("a".into(), first.next()),
        Guard::ModRevision("a".into(), Revision(first.0 - 1)),
    ];
    for guard in refused {
        let outcome = store.commit(&with(guard.clone())).await;
        assert!(
            matches!(outcome, Err(CommitError::GuardFailed { revision }) if revision == first),
            "{guard:?}: {outcome:?}"
        );
    }
    assert!(store.get("b").await.unwrap().is_none());
    let held = [
        Guard::Missing("z".into()),
        Guard::Exists("a".into()),
        Guard::CreateRevision("a".into(), first),
        Guard::ModRevision("a".into(), first),
        Guard::unchanged("a", Some(first)),
        Guard::unchanged("z", None),
    ];
    for guard in held {
        store.commit(&with(guard)).await.unwrap();
    }
    let (b, c) = (
        store.get("b").await.unwrap().unwrap(),
        store.get("c").await.unwrap().unwrap(),
    );
    assert_eq!((b.mod_revision, b.version), (c.mod_revision, 6));
}

async fn transaction_beyond_the_limit_is_refused_with_nothing_written(store: Store) {
    let puts = (0..129).map(|n| put(&format!("k{n}"), "x")).collect();
    let outcome = store
        .commit(&Txn {
            puts,
            ..Txn::default()
        })
        .await;
    assert!(
        matches!(outcome, Err(CommitError::Refused(_))),
        "{outcome:?}"
    );
    let twice = Txn {
        puts: vec![put("k", "1"), put("k", "2")],
        ..Txn::default()
    };
    assert!(matches!(
        store.commit(&twice).await,
        Err(CommitError::Refused(_))
    ));
    assert!(
        store
            .snapshot(&KeyRange::prefix("k"))
            .await
            .unwrap()
            .entries
            .is_empty()
    );
}

async fn old_state_is_read_at_its_revision(store: Store) {
    let first = store.put("a", "1", None).await.unwrap();
    store.put("a", "2", None).await.unwrap();
    assert_eq!(store.get_at("a", first).await.unwrap().unwrap().value, "1");
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "2");
}

async fn key_goes_with_its_lease(store: Store) {
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    store.put("a", "1", Some(lease.id)).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().lease, lease.id);
    store.keep_alive_once(lease.id).await.unwrap();
    store.revoke(lease.id).await.unwrap();
    assert!(store.get("a").await.unwrap().is_none());
    assert!(matches!(
        store.keep_alive_once(lease.id).await,
        Err(Error::LeaseGone)
    ));
    store.revoke(lease.id).await.unwrap();
    assert!(matches!(
        store.put("a", "1", Some(lease.id)).await,
        Err(CommitError::Refused(Error::LeaseGone))
    ));
    assert!(matches!(
        store.keep_alive_once(LeaseId(4711)).await,
        Err(Error::LeaseGone)
    ));
}

async fn feed_brings_each_change_once_and_in_order(store: Store) {
    store.put("/dm-x/a", "1", None).await.unwrap();
    let mut feed = store.feed(KeyRange::dm());
    assert!(matches!(next(&mut feed).await, FeedItem::Reset(s) if s.entries.len() == 1));
    let mut written = Vec::new();
    for n in 0..20 {
        written.push(store.put(format!("/dm-x/{n}"), "x", None).await.unwrap());
        store.put("/elsewhere", "x", None).await.unwrap();
    }
    written.push(store.delete(KeyRange::prefix("/dm-x/a")).await.unwrap());
    let mut seen = Vec::new();
    while seen.len() < written.len() {
        let FeedItem::Batch(batch) = next(&mut feed).await else {
            panic!("reset without a reason")
        };
        assert_eq!(batch.revision, batch.events.last().unwrap().revision());
        seen.extend(batch.events.iter().map(Event::revision));
    }
    assert_eq!(seen, written);
}

async fn transaction_arrives_in_one_batch(store: Store) {
    let mut feed = store.feed(KeyRange::dm());
    next(&mut feed).await;
    let puts = (0..100).map(|n| put(&format!("/dm-x/{n}"), "x")).collect();
    let at = store
        .commit(&Txn {
            puts,
            ..Txn::default()
        })
        .await
        .unwrap();
    let FeedItem::Batch(batch) = next(&mut feed).await else {
        panic!("reset without a reason")
    };
    assert_eq!((batch.revision, batch.events.len()), (at, 100));
}

async fn feed_that_fell_behind_a_compaction_starts_again(store: Store) {
    let first = store.put("/dm-x/a", "1", None).await.unwrap();
    let last = store.put("/dm-x/a", "2", None).await.unwrap();
    store.compact(last).await.unwrap();
    assert!(matches!(
        store.get_at("/dm-x/a", first).await,
        Err(Error::Compacted { .. })
    ));
    let mut feed = store.feed_from(KeyRange::dm(), Revision(first.0 - 1));
    let FeedItem::Reset(snapshot) = next(&mut feed).await else {
        panic!("a gap in the feed")
    };
    assert_eq!(
        (snapshot.revision, &snapshot.entries[0].value[..]),
        (last, b"2".as_slice())
    );
}

#[tokio::test]
async fn etcd_that_is_away_is_waited_for_and_nothing_is_missed() {
    let mut etcd = RealEtcd::start_temp().await.unwrap();
    let store = connect(&etcd.endpoint()).await;
    let mut feed = store.feed(KeyRange::dm());
    next(&mut feed).await;
    etcd.stop().await.unwrap();
    assert!(store.get("/dm-x/a").await.is_err_and(|e| e.is_retryable()));
    etcd.restart().await.unwrap();
    let at = dm_testkit::wait_for(LIMIT, "etcd takes a write again", async || {
        store.put("/dm-x/a", "1", None).await.ok()
    })
    .await
    .unwrap();
    assert!(
        matches!(next(&mut feed).await, FeedItem::Batch(batch) if batch.events[0].revision() <= at)
    );
}

#[tokio::test]
async fn unusable_settings_are_named() {
    let options = Options {
        endpoints: vec!["http://[bad".to_owned()],
        ..Options::default()
    };
    assert!(matches!(
        Store::connect(&options).await,
        Err(Error::Settings(_))
    ));
    let missing = std::path::PathBuf::from("/does/not/exist.pem");
    let tls = dm_store::TlsFiles {
        ca: missing.clone(),
        cert: missing.clone(),
        key: missing,
    };
    let options = Options {
        tls: Some(tls),
        ..Options::default()
    };
    assert!(
        matches!(Store::connect(&options).await, Err(Error::Settings(why)) if why.contains("exist.pem"))
    );
}

#[tokio::test]
async fn a_renewal_that_fails_once_is_asked_for_again_and_a_lease_that_is_gone_is_not() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let store = connect(&etcd.endpoint()).await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    etcd.fail_next(
        "LeaseKeepAlive",
        tonic::Status::unavailable("etcdserver: request timed out"),
    );
    store.renew(lease.id, LIMIT).await.unwrap();
    assert_eq!(etcd.count("LeaseKeepAlive"), 2);
    store.revoke(lease.id).await.unwrap();
    let gone = store.renew(lease.id, LIMIT).await;
    assert!(matches!(gone, Err(Error::LeaseGone)), "{gone:?}");
    assert_eq!(etcd.count("LeaseKeepAlive"), 3);
}
