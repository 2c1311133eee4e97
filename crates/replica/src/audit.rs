//! Looking, now and then, whether the fold has seen everything.
//!
//! Watches of old etcd versions have lost events without a word. So a replica keeps a fingerprint of every
//! key and its revision, and on a slow timer compares it with a fresh list *at the same revision*. A
//! difference is an error to be counted, and is healed by loading the list.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use dm_store::{Batch, Event, KeyRange, Revision, Snapshot, Store};
use futures::future::BoxFuture;
use tokio::sync::Notify;

use crate::status::Stats;

/// What the fold must contain, in a few bytes per key.
#[derive(Debug, Default)]
pub(crate) struct Fingerprint {
    keys: HashMap<Bytes, Revision>,
    /// All pairs of key and revision, hashed and combined without regard to order.
    sum: u64,
}

impl Fingerprint {
    /// The fingerprint of a whole snapshot.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut fingerprint = Self::default();
        for kv in &snapshot.entries {
            fingerprint.put(kv.key.clone(), kv.mod_revision);
        }
        fingerprint
    }

    /// Folds changes in.
    pub(crate) fn apply(&mut self, batch: &Batch) {
        for event in &batch.events {
            match event {
                Event::Put(kv) => self.put(kv.key.clone(), kv.mod_revision),
                Event::Delete { key, .. } => self.remove(key),
            }
        }
    }

    /// Two fingerprints of the same keys at the same revisions agree.
    pub(crate) fn digest(&self) -> (usize, u64) {
        (self.keys.len(), self.sum)
    }

    fn put(&mut self, key: Bytes, revision: Revision) {
        self.sum ^= hash(&key, revision);
        if let Some(before) = self.keys.get_mut(&key) {
            self.sum ^= hash(&key, *before);
            *before = revision;
        } else {
            self.keys.insert(key, revision);
        }
    }

    fn remove(&mut self, key: &Bytes) {
        if let Some(before) = self.keys.remove(key) {
            self.sum ^= hash(key, before);
        }
    }
}

fn hash(key: &Bytes, revision: Revision) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, revision).hash(&mut hasher);
    hasher.finish()
}

/// What an audit says: what the fold had, and what was listed.
type Listed = ((usize, u64), Result<Snapshot, dm_store::Error>);

/// A list under way, and what the fold had at that revision.
struct UnderWay {
    digest: (usize, u64),
    list: BoxFuture<'static, Result<Snapshot, dm_store::Error>>,
}

/// Compares the fold with a list, one at a time, beside the loop.
pub(crate) struct Auditor {
    under_way: Option<UnderWay>,
    /// Tells the feed to start again with a list.
    relist: Arc<Notify>,
}

impl Auditor {
    pub(crate) fn new(relist: Arc<Notify>) -> Self {
        Self {
            under_way: None,
            relist,
        }
    }

    /// Starts a list at the revision that the fold has reached.
    pub(crate) fn start(&mut self, store: &Store, at: Revision, fingerprint: &Fingerprint) {
        if self.under_way.is_some() || at == Revision::ZERO {
            return;
        }
        let store = store.clone();
        let list = async move { store.snapshot_at(&KeyRange::dm(), at).await };
        self.under_way = Some(UnderWay {
            digest: fingerprint.digest(),
            list: Box::pin(list),
        });
    }

    /// The end of the list under way; never, if there is none.
    pub(crate) async fn listed(&mut self) -> Listed {
        match &mut self.under_way {
            Some(under_way) => {
                let listed = (&mut under_way.list).await;
                let digest = under_way.digest;
                self.under_way = None;
                (digest, listed)
            }
            None => std::future::pending().await,
        }
    }

    /// Counts the comparison, and heals a difference.
    pub(crate) fn judge(&self, (digest, listed): Listed, stats: &mut Stats) {
        match listed {
            Ok(snapshot) => {
                stats.audits += 1;
                if Fingerprint::of(&snapshot).digest() != digest {
                    stats.audit_differences += 1;
                    tracing::error!(revision = %snapshot.revision, "the fold differs from a fresh list: loading the list");
                    self.relist.notify_one();
                }
            }
            // A compacted revision or an etcd that is away: the next one will do.
            Err(e) => tracing::debug!(error = %e, "the fold could not be compared"),
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_keyspace::LeaseId;
    use dm_store::KeyValue;

    use super::*;

    fn kv(key: &str, revision: i64) -> KeyValue {
        KeyValue {
            key: Bytes::from(key.to_owned()),
            value: Bytes::new(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: LeaseId(0),
        }
    }

    fn snapshot(keys: &[(&str, i64)]) -> Snapshot {
        Snapshot {
            revision: Revision(99),
            entries: keys.iter().map(|(k, r)| kv(k, *r)).collect(),
        }
    }

    #[test]
    fn fold_of_changes_and_a_list_of_the_end_agree() {
        let mut folded = Fingerprint::of(&snapshot(&[("a", 1), ("b", 2)]));
        let gone = Event::Delete {
            key: Bytes::from_static(b"a"),
            revision: Revision(5),
        };
        folded.apply(&Batch {
            revision: Revision(5),
            events: vec![Event::Put(kv("b", 3)), Event::Put(kv("c", 4)), gone],
        });
        assert_eq!(
            folded.digest(),
            Fingerprint::of(&snapshot(&[("c", 4), ("b", 3)])).digest()
        );
    }

    #[test]
    fn missed_change_shows() {
        let folded = Fingerprint::of(&snapshot(&[("a", 1)]));
        for listed in [&[("a", 2)][..], &[], &[("b", 1)], &[("a", 1), ("b", 2)]] {
            assert_ne!(folded.digest(), Fingerprint::of(&snapshot(listed)).digest());
        }
    }
}
