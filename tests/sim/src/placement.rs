//! Workers that come and go, and serve the sources that they are bound to; in other runs also users, who make requests.

pub mod cases;
mod orders;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use dm_keyspace::{
    Bound, BoundKey, JoinTime, KeepAlive, KeepAliveKey, RelayWorkerKey, Role, SourceConfigKey,
    WorkerInfo, WorkerInfoKey,
};
use dm_store::{Event, FeedItem, KeyRange, Store};
use dm_testkit::memory::MemoryEtcd;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use scheduler_svc::Scheduler;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::network;

use orders::Users;

const FAULTS: Duration = Duration::from_secs(120);
/// Far longer than any lease, timeout and pause taken together.
const PATIENCE: Duration = Duration::from_secs(600);
const LEASE: Duration = Duration::from_secs(4);
/// A worker stops serving so long after the renewal that was answered last was sent.
const TRUST: Duration = Duration::from_millis(3_500);

/// What a worker serves, and until when it does so without word from etcd.
type Serving = Rc<RefCell<BTreeMap<String, (String, Duration)>>>;

/// One run: workers, replicas and faults, and then the end that must come.
///
/// # Panics
/// When an invariant does not hold.
pub fn run(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (workers, sources) = (rng.random_range(1..6), rng.random_range(1..6));
    let mut cluster = Cluster::new(seed, Role::Scheduler, Scheduler::default);
    let serving = populate(&mut cluster, workers, sources);
    let served = Rc::clone(&serving);
    let look = |now: Duration| is_served_once(&served, now);
    cluster.suffer(FAULTS, look);
    settle(&mut cluster, workers.min(sources), &serving, look);
}

/// The same with users. In the end nothing that they have begun is half done, and what they were told is in etcd.
///
/// A source that is taken from a living worker, by a transfer or for its files, may be served by both until the news
/// reaches the first one; so of these runs only the bounds are looked at all the time.
///
/// # Panics
/// When an invariant does not hold.
pub fn run_with_users(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let sources = rng.random_range(2..5);
    // Else there is hardly a moment at which every source has a worker, and no task starts.
    let workers = sources + rng.random_range(1..3);
    let users = Users::new(Cluster::etcd(), seed, workers, sources);
    let driven = users.clone();
    let drive = move |handle| driven.clone().drive(handle);
    let (etcd, role) = (users.etcd.clone(), Role::Scheduler);
    let mut cluster = Cluster::with_users(seed, role, Scheduler::default, etcd, drive);
    let serving = populate(&mut cluster, workers, sources);
    let look = |_| drop(bounds(&users.etcd));
    cluster.suffer(FAULTS, look);
    users.are_quiet.set(true);
    let is_whole = cluster.settle(PATIENCE, look, |etcd| {
        orders::check(etcd, &users.told).is_ok()
    });
    let wrong = orders::check(&users.etcd, &users.told);
    assert!(is_whole, "{wrong:?}");
    let answers = users.told.answers();
    assert!(answers > 5, "users have had {answers} answers");
    // A worker that pulls a relay log serves no other source.
    for kv in users.etcd.dump(RelayWorkerKey::PREFIX) {
        users.etcd.delete(kv.key);
    }
    settle(&mut cluster, workers.min(sources), &serving, look);
}

/// Sources, and workers that serve them.
fn populate(cluster: &mut Cluster, workers: usize, sources: usize) -> Serving {
    let serving = Serving::default();
    for number in 0..sources {
        let source = format!("s{number}");
        let config = format!(
            "source-id = \"{source}\"\n[from]\nhost = \"127.0.0.1\"\nport = 3306\nuser = \"root\"\n"
        );
        let key = SourceConfigKey {
            source: source.into(),
        };
        cluster.etcd.put(key.encode(), config);
    }
    for number in 0..workers {
        let name = format!("worker-{number}");
        let serving = Rc::clone(&serving);
        cluster.host(name.clone(), move || {
            serving.borrow_mut().remove(&name);
            work(name.clone(), Rc::clone(&serving))
        });
    }
    serving
}

fn is_served_once(serving: &Serving, now: Duration) {
    let mut served = BTreeSet::new();
    for (worker, (source, until)) in &*serving.borrow() {
        let is_first = *until < now || served.insert(source.clone());
        assert!(
            is_first,
            "{worker} serves {source}, and it is not the only one"
        );
    }
}

/// Mends everything, and waits until so many sources are bound and served.
fn settle(cluster: &mut Cluster, expected: usize, serving: &Serving, look: impl Fn(Duration)) {
    let mended = cluster.settle(PATIENCE, look, |etcd| {
        bounds(etcd).len() == expected && serving.borrow().len() == expected
    });
    assert!(
        mended,
        "{expected} sources should be bound and served; bound are {:?}, and served {:?}",
        bounds(&cluster.etcd),
        serving.borrow()
    );
}

fn bounds(etcd: &MemoryEtcd) -> Vec<Bound> {
    let bounds = etcd.dump(BoundKey::PREFIX);
    let bounds: Vec<Bound> = bounds
        .iter()
        .filter_map(|kv| Bound::from_bytes(&kv.value).ok())
        .collect();
    let sources: BTreeSet<_> = bounds.iter().map(|bound| &bound.source).collect();
    assert_eq!(sources.len(), bounds.len(), "bound twice: {bounds:?}");
    bounds
}

/// Sessions, one after the other.
async fn work(name: String, serving: Serving) -> turmoil::Result {
    let store = network::store().await?;
    let info = WorkerInfo::new(name.as_str(), format!("{name}:8262"));
    let key = WorkerInfoKey {
        worker: name.as_str().into(),
    };
    while store
        .put(key.encode(), info.to_bytes(), None)
        .await
        .is_err()
    {}
    loop {
        let _ended = session(&store, &name, &serving).await;
        serving.borrow_mut().remove(&name);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Until the lease cannot be relied on any more.
async fn session(store: &Store, name: &str, serving: &Serving) -> Result<(), dm_store::Error> {
    let asked = Instant::now();
    let lease = store.grant(LEASE).await?;
    let mut trusted = asked + TRUST;
    let key = KeepAliveKey {
        worker: name.into(),
    };
    let since = turmoil::sim_elapsed().unwrap_or_default();
    let alive = KeepAlive::new(name, JoinTime::since_epoch(since));
    if store
        .put(key.encode(), alive.to_bytes(), Some(lease.id))
        .await
        .is_err()
    {
        return Ok(());
    }
    let bound = BoundKey {
        worker: name.into(),
    };
    let mut feed = store.feed(KeyRange::key(bound.encode()));
    let mut renewal = tokio::time::interval(LEASE / 4);
    let mut source = None;
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(trusted) => return Ok(()),
            item = feed.next() => source = next_source(source, item),
            _ = renewal.tick() => {
                let sent = Instant::now();
                let answer = tokio::time::timeout_at(trusted, store.keep_alive_once(lease.id)).await;
                match answer {
                    Ok(Ok(())) => trusted = sent + TRUST,
                    Ok(Err(dm_store::Error::LeaseGone)) | Err(_) => return Ok(()),
                    Ok(Err(_)) => {}
                }
            }
        }
        let until = turmoil::sim_elapsed().unwrap_or_default()
            + trusted.saturating_duration_since(Instant::now());
        let mut serving = serving.borrow_mut();
        match &source {
            Some(source) => serving.insert(name.to_owned(), (source.clone(), until)),
            None => serving.remove(name),
        };
    }
}

fn next_source(source: Option<String>, item: FeedItem) -> Option<String> {
    let decode = |value: &[u8]| {
        Bound::from_bytes(value)
            .ok()
            .map(|bound| bound.source.as_str().to_owned())
    };
    match item {
        FeedItem::Reset(snapshot) => snapshot.entries.first().and_then(|kv| decode(&kv.value)),
        FeedItem::Batch(batch) => batch.events.iter().fold(source, |_, event| match event {
            Event::Put(kv) => decode(&kv.value),
            Event::Delete { .. } => None,
        }),
    }
}
