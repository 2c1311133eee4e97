//! An etcd that is a value: keys with revisions, guarded transactions, and the batch of events that each one gives.

use std::collections::BTreeMap;

use bytes::Bytes;
use dm_keyspace::LeaseId;
use dm_replica::Proposal;
use dm_store::{Batch, Event, Guard, KeyRange, KeyValue, Revision, Snapshot};

/// All keys.
#[derive(Clone, Debug, Default)]
pub struct Etcd {
    revision: Revision,
    keys: BTreeMap<Bytes, KeyValue>,
}

/// A transaction, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// All must hold.
    pub guards: Vec<Guard>,
    /// Keys, values, and leases or zero.
    pub puts: Vec<(String, Vec<u8>, i64)>,
    /// What is deleted.
    pub deletes: Vec<KeyRange>,
}

impl From<&Proposal> for Write {
    fn from(proposal: &Proposal) -> Self {
        let puts = proposal.puts.iter();
        Self {
            guards: proposal.guards.clone(),
            puts: puts
                .map(|put| {
                    let value = put.value.bytes(proposal.trace.as_deref());
                    (put.key.clone(), value, 0)
                })
                .collect(),
            deletes: proposal.deletes.clone(),
        }
    }
}

impl Etcd {
    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The present record of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key.as_bytes())
    }

    /// Whether a key begins with this.
    #[must_use]
    pub fn has_any(&self, prefix: &str) -> bool {
        self.keys
            .keys()
            .any(|key| key.starts_with(prefix.as_bytes()))
    }

    /// Everything, as a list gives it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            revision: self.revision,
            entries: self.keys.values().cloned().collect(),
        }
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Missing(key) => !self.keys.contains_key(key),
            Guard::Exists(key) => self.keys.contains_key(key),
            Guard::CreateRevision(key, at) => self
                .keys
                .get(key)
                .is_some_and(|kv| kv.create_revision == *at),
            Guard::ModRevision(key, at) => {
                self.keys.get(key).is_some_and(|kv| kv.mod_revision == *at)
            }
        }
    }

    /// Applies a transaction if its guards hold. None when they do not; an empty batch when nothing changes.
    pub fn commit(&mut self, write: &Write) -> Option<Batch> {
        if !write.guards.iter().all(|guard| self.holds(guard)) {
            return None;
        }
        let at = self.revision.next();
        let mut events = Vec::new();
        for (key, value, lease) in &write.puts {
            let key = Bytes::from(key.clone());
            let old = self.keys.get(&key);
            let kv = KeyValue {
                create_revision: old.map_or(at, |kv| kv.create_revision),
                version: old.map_or(1, |kv| kv.version + 1),
                mod_revision: at,
                lease: LeaseId(*lease),
                key: key.clone(),
                value: value.clone().into(),
            };
            self.keys.insert(key, kv.clone());
            events.push(Event::Put(kv));
        }
        let is_deleted = |key: &Bytes| write.deletes.iter().any(|range| range.contains(key));
        let deleted: Vec<Bytes> = self
            .keys
            .keys()
            .filter(|key| is_deleted(key))
            .cloned()
            .collect();
        for key in deleted {
            self.keys.remove(&key);
            events.push(Event::Delete { key, revision: at });
        }
        if !events.is_empty() {
            self.revision = at;
        }
        Some(Batch {
            revision: self.revision,
            events,
        })
    }

    /// A lease runs out, and its keys go with it.
    pub fn expire(&mut self, lease: i64) -> Option<Batch> {
        let of_lease = self.keys.values().filter(|kv| kv.lease.0 == lease);
        let deletes = of_lease.map(|kv| KeyRange::key(kv.key.to_vec())).collect();
        self.commit(&Write {
            guards: Vec::new(),
            puts: Vec::new(),
            deletes,
        })
    }
}
