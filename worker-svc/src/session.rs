//! One life of the worker in the cluster: its lease and the key that says it is alive.
//!
//! The permit that a session grants ends, by this process's own clock, before etcd can let the lease run out, and at once when the key is seen to be gone:
//! an answer to a renewal alone proves nothing. Nothing here starts or stops work; that is for whoever holds the permit.

use std::time::Duration;

use dm_keyspace::{JoinTime, KeepAlive, KeepAliveKey, LeaseId, WorkerName};
use dm_store::{CommitError, Error, Event, FeedItem, KeyRange, Revision, Store};
use tokio::time::Instant;

use crate::permit::{self, Grantor, Permit};

/// An open session.
#[derive(Debug)]
pub struct Session {
    store: Store,
    lease: LeaseId,
    ttl: Duration,
    key: String,
    grantor: Grantor,
    /// The right to act while it lasts.
    pub permit: Permit,
    /// When the key was put; nobody puts it again under this session, so guards compare it.
    pub alive_since: Revision,
}

/// Renewals within one TTL.
const RENEWALS: u32 = 3;
/// After a renewal that failed.
const RETRY: Duration = Duration::from_millis(500);

impl Session {
    /// Asks for a lease and says that the worker is alive.
    pub async fn open(
        store: &Store,
        worker: &WorkerName,
        joined: JoinTime,
        ttl: Duration,
    ) -> Result<Self, Error> {
        let sent = Instant::now();
        let lease = store.grant(ttl).await?;
        let (grantor, permit) = permit::grant(sent, lease.ttl);
        let key = KeepAliveKey {
            worker: worker.clone(),
        }
        .encode();
        let value = KeepAlive::new(worker.clone(), joined).to_bytes();
        let alive_since = store
            .put(key.clone(), value, Some(lease.id))
            .await
            .map_err(|e| match e {
                CommitError::Unknown(e) | CommitError::Refused(e) => e,
                CommitError::GuardFailed { revision } => {
                    Error::Settings(format!("a put was guarded at {revision}"))
                }
            })?;
        Ok(Self {
            store: store.clone(),
            lease: lease.id,
            ttl: lease.ttl,
            key,
            grantor,
            permit,
            alive_since,
        })
    }

    /// Renews the lease until it is lost, and says how. The permit has ended when this returns.
    pub async fn keep(&self) -> &'static str {
        let why = tokio::select! {
            () = self.renew() => "the lease is gone",
            () = self.seen_gone() => "the key of this worker is gone",
            () = self.permit.ended() => "the lease was not renewed in time",
        };
        self.grantor.revoke();
        why
    }

    async fn renew(&self) {
        loop {
            tokio::time::sleep(self.ttl / RENEWALS).await;
            let mut is_late = false;
            loop {
                let sent = Instant::now();
                let patience = self.ttl / RENEWALS / 2;
                match self.store.renew(self.lease, patience).await {
                    Ok(()) => {
                        self.grantor.renewed(sent, self.ttl);
                        if is_late {
                            tracing::info!("lease renewed again");
                        }
                        break;
                    }
                    Err(Error::LeaseGone) => return,
                    Err(error) => {
                        if !is_late {
                            tracing::warn!(%error, "lease not renewed; trying on");
                        }
                        is_late = true;
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        }
    }

    /// Returns when our key is no longer there, or no longer ours.
    async fn seen_gone(&self) {
        let range = KeyRange::key(self.key.clone());
        let mut feed = self.store.feed(range);
        loop {
            match feed.next().await {
                FeedItem::Reset(snapshot) => {
                    let ours = snapshot.entries.iter().any(|kv| kv.lease == self.lease);
                    if !ours {
                        return;
                    }
                }
                FeedItem::Batch(batch) => {
                    let lost = batch.events.iter().any(|e| match e {
                        Event::Put(kv) => kv.lease != self.lease,
                        Event::Delete { .. } => true,
                    });
                    if lost {
                        return;
                    }
                }
            }
        }
    }

    /// Gives the lease back, so that nobody has to wait for its end. Only when all work has stopped.
    pub async fn close(self) {
        self.grantor.revoke();
        if let Err(error) = self.store.revoke(self.lease).await {
            tracing::warn!(%error, "lease not given back; it runs out by itself");
        }
    }
}
