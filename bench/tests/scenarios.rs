//! The scenarios against a real etcd and a pessimist inside the test, and against masters that are wrong.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panic, like the tests"
)]

use std::path::PathBuf;
use std::time::Duration;

use bench::cluster::Wanted;
use bench::names::Run;
use bench::optimism::{self, Sizes};
use bench::placement::{self, Often};
use bench::throughput::{self, Load, Shape};
use bench::{Error, World, latency};
use dm_keyspace::pessimism::{Info, InfoKey, Operation};
use dm_keyspace::{Member, Role, SourceId};
use dm_replica::{Machine, Replica, Settings};
use dm_store::{Event, FeedItem, KeyRange, Options, Store};
use dm_testkit::etcd::RealEtcd;
use optimist_svc::Optimist;
use pessimist_svc::machine::{Limits, Pessimist};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

async fn world(etcd: &RealEtcd) -> (World, Vec<SourceId>) {
    let world = World::new(Run::new("bench"), vec![etcd.endpoint()], None)
        .await
        .unwrap();
    let sources = (0..4).map(|number| world.run().source(number)).collect();
    (world, sources)
}

async fn store(etcd: &RealEtcd) -> Store {
    let endpoints = vec![etcd.endpoint()];
    Store::connect(&Options {
        endpoints,
        ..Options::default()
    })
    .await
    .unwrap()
}

async fn pessimist(etcd: &RealEtcd) -> JoinHandle<()> {
    replica(etcd, Role::Pessimist, Pessimist::new(Limits::default())).await
}

async fn replica(etcd: &RealEtcd, role: Role, machine: impl Machine) -> JoinHandle<()> {
    let member = Member::new("p1", "127.0.0.1:9", "test");
    let replica = Replica::new(Settings::new(role, member), store(etcd).await, machine);
    tokio::spawn(replica.run(CancellationToken::new()))
}

#[tokio::test]
async fn a_right_master_is_measured() {
    let etcd = RealEtcd::start_temp().await.unwrap();
    let pessimist = pessimist(&etcd).await;
    let (world, sources) = world(&etcd).await;
    let measured = latency::measure(&world, &sources[..2], 2, 20)
        .await
        .unwrap();
    assert_eq!(
        (
            measured.ddl.from_sent.count(),
            measured.bare.from_ack.count()
        ),
        (20, 20)
    );
    assert!(measured.bare.from_sent.p50() > Duration::ZERO);
    assert!(measured.ddl.from_sent.max() >= measured.ddl.from_sent.p50());
    for (shape, ddls) in [(Shape::OneLock, 5), (Shape::Pairs, 10)] {
        let load = Load {
            shape,
            warm: 1,
            timed: 5,
            series: 0,
        };
        let measured = throughput::measure(&world, &sources, load, &[])
            .await
            .unwrap();
        assert_eq!((measured.sources, measured.ddls), (4, ddls));
    }
    world.clean_up().await.unwrap();
    let left = store(&etcd)
        .await
        .snapshot(&KeyRange::prefix("/dm-master/upstream/"))
        .await
        .unwrap();
    assert_eq!(left.entries, []);
    pessimist.abort();
}

/// Where the services' programs are: beside the folder of this one, or where the environment says.
fn programs() -> PathBuf {
    let beside = || {
        let me = std::env::current_exe().unwrap();
        me.ancestors().nth(2).unwrap().to_owned()
    };
    std::env::var_os("PLAYGROUND_BIN_DIR").map_or_else(beside, PathBuf::from)
}

#[tokio::test]
async fn sources_are_placed_and_workers_that_go_are_replaced() {
    let wanted = Wanted {
        roles: Role::ALL.to_vec(),
        replicas: 2,
        bin_dir: programs(),
        etcd_dir: None,
        flags: Vec::new(),
    };
    let often = Often {
        losses: 2,
        kills: 1,
        events: 20,
        restarts: 7,
    };
    let target = placement::target().await.unwrap();
    let placed = placement::measure(&wanted, &target, 3, often)
        .await
        .unwrap();
    assert_eq!((placed.sources, placed.events), (3, 20));
    assert_eq!((placed.lost.count(), placed.takeover.count()), (2, 1));
    for time in [placed.cold, placed.started, placed.folded] {
        assert!(time > Duration::ZERO, "{placed:?}");
    }
    assert!(placed.takeover.max() > Duration::ZERO && placed.resident_kib > 0);
    assert_eq!(
        placement::aims(std::slice::from_ref(&placed)),
        [],
        "one size has no growth"
    );
    let more = placement::Placed {
        sources: 30,
        ..placed.clone()
    };
    let aims = placement::aims(&[more, placed]);
    let aims: Vec<&str> = aims.iter().map(|aim| aim.what.as_str()).collect();
    assert_eq!(
        aims,
        [
            "processor time of the schedulers for an event, 30 sources : 3 sources",
            "processor time of the schedulers for a restart, 30 sources : 3 sources",
        ]
    );
}

#[tokio::test]
async fn optimistic_ddls_are_measured() {
    let etcd = RealEtcd::start_temp().await.unwrap();
    let optimist = replica(&etcd, Role::Optimist, Optimist::default()).await;
    let (world, _) = world(&etcd).await;
    let sizes = Sizes {
        samples: 9,
        tables: vec![3, 8],
        infos: 5,
        conflict: 4,
        ..Sizes::default()
    };
    let measured = optimism::measure(&world, None, &[], &sizes).await.unwrap();
    let [ddl, bare] = measured.latency.as_ref().unwrap();
    assert!(ddl.from_sent.count() >= 9 && bare.from_sent.count() >= 9);
    let rates: Vec<_> = measured
        .rates
        .iter()
        .map(|rate| (rate.tables, rate.infos))
        .collect();
    assert_eq!(rates, [(3, 4), (8, 5)], "two locks of three, one of eight");
    let conflict = measured.conflict.unwrap();
    assert!(conflict.tables == 4 && conflict.resolved > Duration::ZERO);
    assert_eq!(optimism::tables(&measured).len(), 3);
    world.clean_up().await.unwrap();
    let left = store(&etcd)
        .await
        .snapshot(&KeyRange::prefix("/dm-master/shardddl-optimism/"))
        .await
        .unwrap();
    assert_eq!(left.entries, []);
    optimist.abort();
}

/// Tells everybody at once to do what `exec` says, whether others have reported or not.
async fn hasty_master(etcd: &RealEtcd, exec: bool) -> JoinHandle<()> {
    let store = store(etcd).await;
    let mut feed = store.feed(KeyRange::prefix(InfoKey::PREFIX));
    feed.next().await;
    tokio::spawn(async move {
        loop {
            let FeedItem::Batch(batch) = feed.next().await else {
                continue;
            };
            for event in batch.events {
                let Event::Put(kv) = event else { continue };
                let info = Info::from_bytes(&kv.value).unwrap();
                let ddls = info.ddls().to_vec();
                let order = Operation::new(info.lock_id(), info.task, info.source, ddls, exec);
                store
                    .put(order.key().encode(), order.to_bytes(), None)
                    .await
                    .unwrap();
            }
        }
    })
}

#[tokio::test]
async fn a_master_that_lets_two_sources_execute_gets_no_figures() {
    let etcd = RealEtcd::start_temp().await.unwrap();
    let master = hasty_master(&etcd, true).await;
    let (world, sources) = world(&etcd).await;
    let refused = latency::measure(&world, &sources[..2], 0, 1)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, Error::Wrong(why) if why.contains("both")),
        "{}",
        refused.chain()
    );
    master.abort();
}

#[tokio::test]
async fn a_master_that_lets_nobody_execute_gets_no_figures() {
    let etcd = RealEtcd::start_temp().await.unwrap();
    let master = hasty_master(&etcd, false).await;
    let (world, sources) = world(&etcd).await;
    let refused = latency::measure(&world, &sources[..2], 0, 1)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, Error::Wrong(why) if why.contains("told to skip")),
        "{}",
        refused.chain()
    );
    master.abort();
}
