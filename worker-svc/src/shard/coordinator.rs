//! The worker's half of pessimistic shard DDL in etcd: report, wait for the order, say done.
//!
//! The rules that a Go master imposes: an order counts only if it was put after our info; while a fulfilled order of this source lies there, the round
//! before is not over and nothing may be reported. What DM gets wrong and this does not: a round that ends between two reads, a lost reply, a compacted watch
//! and an order for another lock are all answered by starting over from what etcd says now.

use std::time::Duration;

use dm_keyspace::pessimism::{Info, Operation};
use dm_keyspace::{KeepAliveKey, WorkerName};
use dm_store::{CommitError, Event, FeedItem, Guard, KeyRange, Put, Revision, Store, Txn};

use crate::error::{Error, Result};

/// Speaks for one worker while it holds its lease.
#[derive(Clone, Debug)]
pub struct Coordinator {
    store: Store,
    alive: String,
    alive_since: Revision,
}

/// Between two tries of a transaction whose outcome is not known.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

impl Coordinator {
    /// Every transaction is refused once the worker's key is no longer the one that was put at that revision.
    pub fn new(store: Store, worker: &WorkerName, alive_since: Revision) -> Self {
        let alive = KeepAliveKey {
            worker: worker.clone(),
        };
        Self {
            store,
            alive: alive.encode(),
            alive_since,
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn fence(&self) -> Guard {
        Guard::ModRevision(self.alive.clone().into(), self.alive_since)
    }

    pub(super) async fn check_alive(&self) -> Result<()> {
        match self.store.get(self.alive.clone()).await? {
            Some(kv) if kv.mod_revision == self.alive_since => Ok(()),
            _ => Err(Error::LeaseEnded),
        }
    }

    /// Reports a DDL and waits, as long as it takes, for the order that answers it.
    pub async fn report(&self, info: &Info) -> Result<Operation> {
        loop {
            let reported = self.put_info(info).await?;
            tracing::info!(lock = info.lock_id(), revision = %reported, "shard DDL reported");
            if let Some(operation) = self.wait_for_order(info, reported).await? {
                return Ok(operation);
            }
        }
    }

    /// Puts the info when the round before is over.
    async fn put_info(&self, info: &Info) -> Result<Revision> {
        let key = dm_keyspace::pessimism::OperationKey {
            task: info.task.clone(),
            source: info.source.clone(),
        }
        .encode();
        loop {
            let held = self.store.get(key.clone()).await?;
            if let Some(kv) = &held
                && Operation::from_bytes(&kv.value).is_ok_and(|o| o.done)
            {
                tracing::info!(
                    lock = info.lock_id(),
                    "the order of the round before is still there"
                );
                self.wait_for_change(&key, kv.mod_revision).await;
                continue;
            }
            let seen = held.map(|kv| kv.mod_revision);
            let txn = Txn {
                guards: vec![Guard::unchanged(key.clone(), seen), self.fence()],
                puts: vec![Put {
                    key: info.key().encode().into(),
                    value: info.to_bytes().into(),
                    lease: None,
                }],
                deletes: Vec::new(),
            };
            match self.store.commit(&txn).await {
                Ok(revision) => return Ok(revision),
                Err(CommitError::GuardFailed { .. }) => self.check_alive().await?,
                Err(error) if error_is_retryable(&error) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(refused(error)),
            }
        }
    }

    async fn wait_for_change(&self, key: &str, since: Revision) {
        let mut feed = self.store.feed_from(KeyRange::key(key), since);
        loop {
            match feed.next().await {
                FeedItem::Batch(batch) if batch.events.is_empty() => {}
                _ => return,
            }
        }
    }

    /// The first order for our lock that was put after the report; none when the report must be repeated: the history between is lost, or somebody has
    /// removed the info.
    async fn wait_for_order(&self, info: &Info, reported: Revision) -> Result<Option<Operation>> {
        let key = dm_keyspace::pessimism::OperationKey {
            task: info.task.clone(),
            source: info.source.clone(),
        };
        let mut orders = self.store.feed_from(KeyRange::key(key.encode()), reported);
        let own = KeyRange::key(info.key().encode());
        let mut infos = self.store.feed_from(own, reported);
        loop {
            let batch = tokio::select! {
                biased;
                item = orders.next() => match item {
                    FeedItem::Reset(_) => return Ok(None),
                    FeedItem::Batch(batch) => batch,
                },
                item = infos.next() => {
                    if !removes(&item) {
                        continue;
                    }
                    tracing::warn!(lock = info.lock_id(), "the report was removed while it waited for an order");
                    // An order may have come before that, and lie there still.
                    let held = self.store.get(key.encode()).await?;
                    let held = held.filter(|kv| kv.mod_revision > reported);
                    return Ok(held.and_then(|kv| order_in(&kv.value, info)));
                }
            };
            for event in batch.events {
                let Event::Put(kv) = event else { continue };
                if let Some(operation) = order_in(&kv.value, info) {
                    return Ok(Some(operation));
                }
            }
        }
    }

    /// Says that the order was followed. It has been once the info is gone, whoever removed it: a lost reply, or an unlock by hand.
    pub async fn done(&self, operation: &Operation) -> Result<()> {
        let info_key = dm_keyspace::pessimism::InfoKey {
            task: operation.task.clone(),
            source: operation.source.clone(),
        }
        .encode();
        let key = operation.key().encode();
        let done = operation.clone().into_done();
        let txn = Txn {
            guards: vec![Guard::Exists(info_key.clone().into()), self.fence()],
            puts: vec![Put {
                key: key.into(),
                value: done.to_bytes().into(),
                lease: None,
            }],
            deletes: vec![KeyRange::key(info_key)],
        };
        loop {
            match self.store.commit(&txn).await {
                Ok(_) => return Ok(()),
                Err(CommitError::GuardFailed { .. }) => {
                    self.check_alive().await?;
                    tracing::info!(
                        lock = operation.id,
                        "the info is gone: the round is over for this source"
                    );
                    return Ok(());
                }
                Err(error) if error_is_retryable(&error) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(refused(error)),
            }
        }
    }
}

fn removes(item: &FeedItem) -> bool {
    match item {
        FeedItem::Reset(snapshot) => snapshot.entries.is_empty(),
        FeedItem::Batch(batch) => {
            let last = batch.events.last();
            matches!(last, Some(Event::Delete { .. }))
        }
    }
}

/// The order in a record, if it answers this report and was not followed yet.
fn order_in(value: &[u8], info: &Info) -> Option<Operation> {
    match Operation::from_bytes(value) {
        Ok(operation) if operation.done => None,
        Ok(operation) if operation.id == info.lock_id() => Some(operation),
        Ok(operation) => {
            tracing::warn!(
                id = operation.id,
                lock = info.lock_id(),
                "order for another lock passed over"
            );
            None
        }
        Err(error) => {
            tracing::warn!(%error, "order that cannot be read passed over");
            None
        }
    }
}

pub(super) fn error_is_retryable(error: &CommitError) -> bool {
    match error {
        CommitError::GuardFailed { .. } => false,
        CommitError::Unknown(_) => true,
        CommitError::Refused(error) => error.is_retryable(),
    }
}

pub(super) fn refused(error: CommitError) -> Error {
    match error {
        CommitError::Refused(error) | CommitError::Unknown(error) => Error::Store(error),
        CommitError::GuardFailed { .. } => Error::LeaseEnded,
    }
}
