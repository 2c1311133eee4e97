//! Leases: time-limited claims that vanish with their keys unless renewed.

use std::time::Duration;

use dm_keyspace::LeaseId;

use crate::connect::Store;
use crate::error::Error;

/// A lease as granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// How long it lives without a renewal; etcd may have raised what was asked for.
    pub ttl: Duration,
}

impl Store {
    /// Asks for a lease of `ttl` (whole seconds; 2 s is the least that etcd grants by default).
    ///
    /// # Errors
    /// When etcd does not answer. A lease whose grant was lost runs out by itself.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let mut lease = self.lease.clone();
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let answer = self.call("LeaseGrant", lease.grant(seconds, None)).await?;
        Ok(Lease {
            id: LeaseId(answer.id()),
            ttl: seconds_of(answer.ttl()),
        })
    }

    /// Renews a lease once.
    ///
    /// # Errors
    /// [`Error::LeaseGone`] when it has run out or was revoked. A good answer is no proof that keys
    /// still hang on it: old etcd versions answer for revoked leases too.
    pub async fn keep_alive_once(&self, id: LeaseId) -> Result<(), Error> {
        let mut lease = self.lease.clone();
        // The client sends the first renewal itself and waits for its answer.
        match self.call("LeaseKeepAlive", lease.keep_alive(id.0)).await {
            Ok(_) => Ok(()),
            // The client's own word for an answer with a TTL of zero.
            Err(Error::Unavailable { message, .. }) if message.contains("lease not found") => {
                Err(Error::LeaseGone)
            }
            Err(e) => Err(e),
        }
    }

    /// Renews a lease, and asks a second time when the first answer is an error that may pass, or has not come within `patience`: one lost
    /// packet, or one member of etcd that keeps silent, does not cost the lease.
    ///
    /// # Errors
    /// As [`Store::keep_alive_once`], of the second try.
    pub async fn renew(&self, id: LeaseId, patience: Duration) -> Result<(), Error> {
        match tokio::time::timeout(patience, self.keep_alive_once(id)).await {
            Ok(Err(e)) if e.is_retryable() => self.keep_alive_once(id).await,
            Ok(answer) => answer,
            Err(_) => self.keep_alive_once(id).await,
        }
    }

    /// Ends a lease, and every key on it, now. A lease that is gone already is no error.
    ///
    /// # Errors
    /// When etcd does not answer.
    pub async fn revoke(&self, id: LeaseId) -> Result<(), Error> {
        let mut lease = self.lease.clone();
        match self.call("LeaseRevoke", lease.revoke(id.0)).await {
            Ok(_) | Err(Error::LeaseGone) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
