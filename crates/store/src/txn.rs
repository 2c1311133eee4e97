//! Guarded transactions.
//!
//! A guard speaks of revisions or of existence. Values are never compared: JSON written by Go and by
//! Rust differs in bytes for the same record.

use bytes::Bytes;
use dm_keyspace::LeaseId;
use etcd_client::{Compare, CompareOp, DeleteOptions, PutOptions, TxnOp};

use crate::connect::{PAUSE, Store, TRIES};
use crate::error::{CommitError, Error};
use crate::types::{KeyRange, Revision};

/// A condition under which a transaction is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Missing(Bytes),
    /// The key exists.
    Exists(Bytes),
    /// The key came into being at exactly this revision: it is the same key, not one put anew.
    CreateRevision(Bytes, Revision),
    /// The key was last put at exactly this revision: nothing has happened to it since.
    ModRevision(Bytes, Revision),
}

impl Guard {
    /// The key that it speaks of.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Missing(key)
            | Self::Exists(key)
            | Self::CreateRevision(key, _)
            | Self::ModRevision(key, _) => key,
        }
    }

    /// The guard that the key is still as it was seen: last put at `seen`, or absent.
    #[must_use]
    pub fn unchanged(key: impl Into<Bytes>, seen: Option<Revision>) -> Self {
        match seen {
            Some(revision) => Self::ModRevision(key.into(), revision),
            None => Self::Missing(key.into()),
        }
    }

    fn compare(&self) -> Compare {
        match self {
            Self::Missing(key) => Compare::create_revision(key.to_vec(), CompareOp::Equal, 0),
            Self::Exists(key) => Compare::create_revision(key.to_vec(), CompareOp::Greater, 0),
            Self::CreateRevision(key, r) => {
                Compare::create_revision(key.to_vec(), CompareOp::Equal, r.0)
            }
            Self::ModRevision(key, r) => Compare::mod_revision(key.to_vec(), CompareOp::Equal, r.0),
        }
    }
}

/// One key to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: Bytes,
    /// Its new value.
    pub value: Bytes,
    /// The lease it shall hang on, if any.
    pub lease: Option<LeaseId>,
}

/// Writes that take effect together, if all guards hold, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub guards: Vec<Guard>,
    /// Keys to write. etcd refuses a transaction that writes a key twice or writes what it deletes.
    pub puts: Vec<Put>,
    /// Ranges to delete.
    pub deletes: Vec<KeyRange>,
}

impl Txn {
    /// Operations that count toward the limit (guards count separately, against the same limit).
    #[must_use]
    pub fn operations(&self) -> usize {
        (self.puts.len() + self.deletes.len()).max(self.guards.len())
    }

    fn request(&self) -> etcd_client::Txn {
        let puts = self.puts.iter().map(|p| {
            let options = p.lease.map(|l| PutOptions::new().with_lease(l.0));
            TxnOp::put(p.key.to_vec(), p.value.to_vec(), options)
        });
        let deletes = self.deletes.iter().map(|range| {
            let options = range.end().map(|end| DeleteOptions::new().with_range(end));
            TxnOp::delete(range.start().to_vec(), options)
        });
        etcd_client::Txn::new()
            .when(self.guards.iter().map(Guard::compare).collect::<Vec<_>>())
            .and_then(puts.chain(deletes).collect::<Vec<_>>())
    }
}

impl Store {
    /// Applies a transaction and returns the revision at which it took effect.
    ///
    /// # Errors
    /// [`CommitError::GuardFailed`] and [`CommitError::Refused`] mean that nothing was written;
    /// [`CommitError::Unknown`] means that nobody knows, and the caller must find out by reading.
    pub async fn commit(&self, txn: &Txn) -> Result<Revision, CommitError> {
        let mut kv = self.kv.clone();
        let answer = self
            .call("Txn", kv.txn(txn.request()))
            .await
            .map_err(|e| match e {
                Error::Refused { .. } | Error::Settings(_) => CommitError::Refused(e),
                // A put on a lease that is gone is refused as a whole.
                Error::LeaseGone => CommitError::Refused(e),
                other => CommitError::Unknown(other),
            })?;
        let revision = Revision(
            answer
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision),
        );
        if answer.succeeded() {
            Ok(revision)
        } else {
            Err(CommitError::GuardFailed { revision })
        }
    }

    /// Writes one key without a guard. A lost reply is answered by repeating it, a few times.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        lease: Option<LeaseId>,
    ) -> Result<Revision, CommitError> {
        let put = Put {
            key: key.into(),
            value: value.into(),
            lease,
        };
        self.commit_plain(&Txn {
            puts: vec![put],
            ..Txn::default()
        })
        .await
    }

    /// Deletes a range without a guard. A lost reply is answered by repeating it, a few times.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn delete(&self, range: KeyRange) -> Result<Revision, CommitError> {
        self.commit_plain(&Txn {
            deletes: vec![range],
            ..Txn::default()
        })
        .await
    }

    /// What has no guard may be done twice.
    async fn commit_plain(&self, txn: &Txn) -> Result<Revision, CommitError> {
        for _ in 1..TRIES {
            match self.commit(txn).await {
                Err(CommitError::Unknown(e)) => tracing::debug!(error = %e, "repeated"),
                outcome => return outcome,
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.commit(txn).await
    }
}
