//! Workers that register, keep alive and take what they are bound to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dm_keyspace::{
    Bound, BoundKey, JoinTime, KeepAlive, KeepAliveKey, LeaseId, SourceId, WorkerName,
};
use dm_proto::pb;
use dm_store::{Event, FeedItem, KeyRange, Store};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinHandle;

use crate::error::within;
use crate::world::{World, source_config};
use crate::{Error, Result};

/// DM's default.
const TTL: Duration = Duration::from_secs(60);
/// How long all of them may take to be bound.
const BIND_LIMIT: Duration = Duration::from_secs(120);
/// Leases renewed at the same time.
const RENEWING: usize = 4;
/// Workers that start at the same time.
const STARTING: usize = 64;

/// Workers that live as long as this value; they let their leases run out unless [`Fleet::leave`] is called.
#[derive(Debug)]
pub struct Fleet {
    world: World,
    workers: Vec<Worker>,
    sources: Vec<SourceId>,
    leases: Arc<Mutex<Vec<(Store, LeaseId)>>>,
    renewal: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Worker {
    name: WorkerName,
    source: SourceId,
    store: Store,
    lease: LeaseId,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Fleet {
    /// No workers yet.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let leases = Arc::default();
        Self {
            world: world.clone(),
            workers: Vec::new(),
            sources: Vec::new(),
            renewal: tokio::spawn(renew(Arc::clone(&leases))),
            leases,
        }
    }

    /// The sources that are served.
    #[must_use]
    pub fn sources(&self) -> &[SourceId] {
        &self.sources
    }

    /// Adds sources and workers until there are `count` of each, and waits until each worker is bound to a source of its
    /// own; gives how long that took. Without a master the sources are only named.
    ///
    /// # Errors
    /// When the master refuses a worker or binds wrongly.
    pub async fn grow(&mut self, count: usize) -> Result<Duration> {
        let began = Instant::now();
        let numbers = self.sources.len()..count.max(self.sources.len());
        if !self.world.has_master() {
            self.sources
                .extend(numbers.map(|n| self.world.run().source(n)));
            return Ok(began.elapsed());
        }
        let sources: Vec<SourceId> = numbers
            .clone()
            .map(|n| self.world.run().source(n))
            .collect();
        let records: Vec<_> = sources.iter().map(source_config).collect::<Result<_>>()?;
        self.world.load(records).await?;
        let starting = stream::iter(numbers.clone().map(|n| start(self.world.clone(), n)));
        let starting = starting.buffer_unordered(STARTING).try_collect::<Vec<_>>();
        let what = || format!("workers {numbers:?} are bound");
        let joined = within(BIND_LIMIT, what, starting).await?;
        let bound: BTreeSet<_> = joined.iter().map(|w| w.source.clone()).collect();
        if bound != sources.iter().cloned().collect() {
            return Err(Error::Wrong(format!(
                "workers were bound to {bound:?}, sources are {sources:?}"
            )));
        }
        let leases = joined.iter().map(|w| (w.store.clone(), w.lease));
        lock(&self.leases).extend(leases);
        self.workers.extend(joined);
        self.sources.extend(sources);
        Ok(began.elapsed())
    }

    /// Takes all workers and sources away again.
    ///
    /// # Errors
    /// When the master keeps one of them.
    pub async fn leave(self) -> Result<()> {
        self.renewal.abort();
        lock(&self.leases).clear();
        let leaving = self.workers.iter().map(|worker| async move {
            let revoked = worker.store.revoke(worker.lease).await;
            revoked.map_err(Error::etcd(format!("end {}", worker.name)))
        });
        stream::iter(leaving)
            .buffer_unordered(STARTING)
            .try_collect::<()>()
            .await?;
        self.world.clean_up().await?;
        let offline = self
            .workers
            .iter()
            .map(|worker| offline(&self.world, worker));
        within(BIND_LIMIT, || "the workers are offline".to_owned(), async {
            stream::iter(offline)
                .buffer_unordered(STARTING)
                .try_collect::<()>()
                .await
        })
        .await
    }
}

/// Registers, comes alive, and waits for its bound.
async fn start(world: World, number: usize) -> Result<Worker> {
    let name = world.run().worker(number);
    let request = pb::RegisterWorkerRequest {
        name: name.as_str().to_owned(),
        address: nowhere(number),
    };
    let what = format!("register {name}");
    let answer = world.master()?.register_worker(request).await;
    let answer = answer.map_err(Error::call(what.clone()))?.into_inner();
    if !answer.result {
        return Err(Error::call(what)(answer.msg));
    }
    let store = world.store(number).clone();
    let lease = store
        .grant(TTL)
        .await
        .map_err(Error::etcd("grant a lease"))?;
    let key = KeepAliveKey {
        worker: name.clone(),
    };
    let value = KeepAlive::new(name.clone(), JoinTime::default()).to_bytes();
    let alive = store.put(key.encode(), value, Some(lease.id)).await;
    alive.map_err(Error::commit(format!("{name} comes alive")))?;
    let source = bound(&store, &name).await?;
    Ok(Worker {
        name,
        source,
        store,
        lease: lease.id,
    })
}

/// Waits for the worker's bound, as workers do: on its own key.
async fn bound(store: &Store, name: &WorkerName) -> Result<SourceId> {
    let key = BoundKey {
        worker: name.clone(),
    };
    let mut feed = store.feed(KeyRange::key(key.encode()));
    loop {
        let last = match feed.next().await {
            FeedItem::Reset(snapshot) => snapshot.entries.last().cloned(),
            FeedItem::Batch(batch) => {
                batch
                    .events
                    .into_iter()
                    .rev()
                    .find_map(|event| match event {
                        Event::Put(kv) => Some(kv),
                        Event::Delete { .. } => None,
                    })
            }
        };
        let Some(kv) = last else { continue };
        let bound = Bound::from_bytes(&kv.value)
            .map_err(|e| Error::Wrong(format!("the bound of {name}: {e}")))?;
        if bound.worker != *name {
            return Err(Error::Wrong(format!(
                "the bound of {name} names {}",
                bound.worker
            )));
        }
        return Ok(bound.source);
    }
}

/// Asks until the master has seen that the worker is gone.
async fn offline(world: &World, worker: &Worker) -> Result<()> {
    let mut master = world.master()?;
    loop {
        let request = pb::OfflineMemberRequest {
            r#type: "worker".to_owned(),
            name: worker.name.as_str().to_owned(),
        };
        let what = format!("take {} offline", worker.name);
        let answer = master.offline_member(request).await;
        if answer.map_err(Error::call(what))?.into_inner().result {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Keeps all leases alive, three times in each TTL as DM's workers do.
async fn renew(leases: Arc<Mutex<Vec<(Store, LeaseId)>>>) {
    let mut tick = tokio::time::interval(TTL / 3);
    loop {
        tick.tick().await;
        let due = lock(&leases).clone();
        let renewals = due.into_iter().map(|(store, lease)| async move {
            if let Err(error) = store.keep_alive_once(lease).await {
                tracing::warn!(%error, "a worker's lease was not renewed");
            }
        });
        stream::iter(renewals)
            .buffer_unordered(RENEWING)
            .collect::<()>()
            .await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address of its own at which nobody listens, so that a master that calls is refused at once.
fn nowhere(number: usize) -> String {
    format!("127.77.{}.{}:9", number / 250, number % 250 + 1)
}
