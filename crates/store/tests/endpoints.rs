//! A connection over several endpoints: those that answer are used, and a cluster in trouble says so.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_store::{Event, FeedItem, KeyRange, Options, Store};
use dm_testkit::etcd::{self, RealEtcd};
use dm_testkit::proxy::TcpProxy;
use dm_testkit::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

async fn connect(endpoints: &[String], follow_members: bool) -> Store {
    let options = Options {
        endpoints: endpoints.to_vec(),
        follow_members,
        ..Options::default()
    };
    Store::connect(&options)
        .await
        .expect("the settings are good")
}

async fn uses(store: &Store, endpoints: &[&String]) {
    let wanted: BTreeSet<String> = endpoints.iter().map(|&e| e.clone()).collect();
    let mut in_use = store.endpoints();
    let reached = tokio::time::timeout(LIMIT, in_use.wait_for(|now| *now == wanted)).await;
    assert!(
        reached.is_ok(),
        "{wanted:?} is not reached, but {:?}",
        store.endpoints().borrow()
    );
}

/// Puts a key into a cluster that may have to elect its leader first: until then it refuses, and says so.
async fn put(store: &Store, key: &str) {
    let put = || async { store.put(key.to_owned(), "x", None).await.ok() };
    let put = wait_for(LIMIT, "the key to be put", put).await;
    put.expect("a cluster with a quorum takes it");
}

async fn bring(feed: &mut dm_store::Feed, key: &str) {
    let brought = async {
        loop {
            let item = feed.next().await;
            let FeedItem::Batch(batch) = item else {
                continue;
            };
            let is_it = |event: &Event| event.key() == key.as_bytes();
            if batch.events.iter().any(is_it) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, brought)
        .await
        .expect("the feed brings the key");
}

#[tokio::test]
async fn an_endpoint_that_swallows_everything_is_left_alone_until_it_answers() {
    let etcd = RealEtcd::start_temp().await.unwrap();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", etcd.port()))
        .await
        .unwrap();
    let (direct, detour) = (etcd.endpoint(), proxy.endpoint());
    let store = connect(&[direct.clone(), detour.clone()], false).await;
    store.put("/dm-x", "1", None).await.unwrap();
    proxy.black_hole_both();
    uses(&store, &[&direct]).await;
    for _ in 0..20 {
        store.put("/dm-x", "2", None).await.unwrap();
    }
    proxy.heal();
    uses(&store, &[&direct, &detour]).await;
}

#[tokio::test]
async fn endpoints_that_the_cluster_lists_outlive_those_that_were_given() {
    let etcd = RealEtcd::start_temp().await.unwrap();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", etcd.port()))
        .await
        .unwrap();
    let (listed, given) = (etcd.endpoint(), proxy.endpoint());
    let store = connect(std::slice::from_ref(&given), true).await;
    uses(&store, &[&given, &listed]).await;
    proxy.refuse(true);
    proxy.cut();
    uses(&store, &[&listed]).await;
    store.put("/dm-x", "1", None).await.unwrap();
}

#[tokio::test]
async fn of_three_members_one_may_stop_and_a_lost_quorum_shows_in_the_feed() {
    let options = etcd::Options {
        election_timeout: Duration::from_millis(1_000),
        ..etcd::Options::default()
    };
    let mut cluster = RealEtcd::start_cluster(3, &options).await.unwrap();
    let all: Vec<String> = cluster.iter().map(RealEtcd::endpoint).collect();
    let store = connect(&all, false).await;
    let mut feed = store.feed(KeyRange::prefix("/dm-"));
    feed.next().await;

    cluster[0].process().pause().unwrap();
    uses(&store, &[&all[1], &all[2]]).await;
    put(&store, "/dm-with-two").await;
    bring(&mut feed, "/dm-with-two").await;

    // A watch on the member that is left would be quiet for ever if it did not ask for a leader.
    cluster[1].process().pause().unwrap();
    let mut health = feed.health();
    let trouble = async {
        tokio::select! {
            () = async { loop { feed.next().await; } } => {}
            told = health.wait_for(|health| health.trouble.is_some()) => { told.unwrap(); }
        }
    };
    tokio::time::timeout(LIMIT, trouble)
        .await
        .expect("the feed tells its trouble");

    for member in &mut cluster[..2] {
        member.process().resume().unwrap();
    }
    uses(&store, &[&all[0], &all[1], &all[2]]).await;
    put(&store, "/dm-again").await;
    bring(&mut feed, "/dm-again").await;
}
