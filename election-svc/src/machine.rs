//! The cluster as the election service knows it: the line of each role, the cluster's id and its version.
//!
//! | subject | calls for | until |
//! |---|---|---|
//! | `cluster id` | an id, made when this process started | there is one; a broken one is a fault, and is left alone |
//! | `v1 key …` | the record under its present key, and the old key gone | no key of the old layout is left |
//! | `cluster version` | version 4 | it says 4 or more, and no old key is left |

mod unread;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use bytes::Bytes;
use dm_keyspace::{ClusterId, ClusterIdKey, ClusterVersion, ClusterVersionKey, Key, Role};
use dm_replica::{Decision, Line, Machine, Proposal};
use dm_store::{Batch, Event, Guard, KeyValue, Revision, Snapshot};
use serde_json::{Value, json};

use unread::Unread;
use upgrade::OldKeys;

const ID: &str = "cluster id";
const VERSION: &str = "cluster version";

/// A record that is there but can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, as text.
    pub key: String,
    /// What is wrong.
    pub reason: String,
}

/// What stands under a key that holds one record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot<T> {
    Missing,
    Broken(String),
    Present(T, Revision),
}

/// The folded state.
#[derive(Debug)]
pub struct Cluster {
    lines: BTreeMap<Role, Line>,
    id: Slot<ClusterId>,
    version: Slot<ClusterVersion>,
    old: OldKeys,
    unread: Unread,
    dirty: BTreeSet<String>,
    fresh_id: ClusterId,
    release: &'static str,
}

impl Cluster {
    /// An empty state; `fresh_id` is put if the cluster has none, `release` goes into the version record.
    #[must_use]
    pub fn new(fresh_id: ClusterId, release: &'static str) -> Self {
        Self {
            lines: Role::ALL
                .into_iter()
                .map(|role| (role, Line::new(role)))
                .collect(),
            id: Slot::Missing,
            version: Slot::Missing,
            old: OldKeys::default(),
            unread: Unread::default(),
            dirty: BTreeSet::new(),
            fresh_id,
            release,
        }
    }

    /// The line of a role.
    #[must_use]
    pub fn line(&self, role: Role) -> Option<&Line> {
        self.lines.get(&role)
    }

    /// All lines, by role.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.values()
    }

    /// The cluster's id, or what is wrong with it.
    ///
    /// # Errors
    /// The reason, when there is none or a broken one.
    pub fn id(&self) -> Result<ClusterId, String> {
        match &self.id {
            Slot::Present(id, _) => Ok(*id),
            Slot::Missing => Err("the cluster has no id yet".to_owned()),
            Slot::Broken(reason) => Err(reason.clone()),
        }
    }

    /// The layout version, while it is known.
    #[must_use]
    pub fn version(&self) -> Option<&ClusterVersion> {
        match &self.version {
            Slot::Present(version, _) => Some(version),
            Slot::Missing | Slot::Broken(_) => None,
        }
    }

    /// Records that can't be used, by key.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self
            .lines()
            .flat_map(Line::faults)
            .map(|f| Fault {
                key: f.key.clone(),
                reason: f.reason.clone(),
            })
            .collect();
        if let Slot::Broken(reason) = &self.id {
            faults.push(Fault {
                key: ClusterIdKey.encode(),
                reason: reason.clone(),
            });
        }
        if let Slot::Broken(reason) = &self.version {
            faults.push(Fault {
                key: ClusterVersionKey.encode(),
                reason: reason.clone(),
            });
        }
        faults.extend(self.unread.faults());
        faults
    }

    /// What `/status` shows.
    #[must_use]
    pub fn summary(&self) -> Value {
        let lines = self.lines.iter().map(|(role, line)| {
            let line = json!({
                "line": line.candidates().map(|c| c.campaign.id.as_str()).collect::<Vec<_>>(),
                "members": line.members().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
                "evicted": line.evicted().iter().map(|name| name.as_str()).collect::<Vec<_>>(),
            });
            (role.as_str().to_owned(), line)
        });
        json!({
            "roles": lines.collect::<serde_json::Map<_, _>>(),
            "cluster-id": self.id().ok().map(|id| id.0.to_string()),
            "cluster-version": self.version().map(|v| v.internal_no),
            "faults": self.faults().iter().map(|f| json!({ "key": f.key, "reason": f.reason })).collect::<Vec<_>>(),
        })
    }

    fn put(&mut self, kv: &KeyValue) {
        match Key::parse(&kv.key) {
            Ok(Key::ClusterId(_)) => {
                self.id = slot(ClusterId::from_bytes(&kv.value), kv.mod_revision);
                self.dirty.insert(ID.to_owned());
            }
            Ok(Key::ClusterVersion(_)) => {
                self.version = slot(ClusterVersion::from_bytes(&kv.value), kv.mod_revision);
                self.dirty.insert(VERSION.to_owned());
            }
            Ok(key) => {
                self.unread.put(&key, kv);
                let old = self.old.put(&key, kv);
                self.touched(&old);
            }
            Err(_) => {}
        }
    }

    fn delete(&mut self, key: &Bytes) {
        match Key::parse(key) {
            Ok(Key::ClusterId(_)) => {
                self.id = Slot::Missing;
                self.dirty.insert(ID.to_owned());
            }
            Ok(Key::ClusterVersion(_)) => {
                self.version = Slot::Missing;
                self.dirty.insert(VERSION.to_owned());
            }
            Ok(parsed) => {
                self.unread.delete(key);
                let old = self.old.delete(&parsed, key);
                self.touched(&old);
            }
            Err(_) => {}
        }
    }

    /// A change of the old layout may also be what the version waits for.
    fn touched(&mut self, old: &[String]) {
        if !old.is_empty() {
            self.dirty.extend(upgrade::subjects(old));
            self.dirty.insert(VERSION.to_owned());
        }
    }

    fn call_for(&self, subject: &str) -> Vec<Proposal> {
        let proposal = match subject {
            ID => self.missing_id(),
            VERSION => self.due_version(),
            old => self.old.due_move(old),
        };
        proposal.into_iter().collect()
    }

    fn missing_id(&self) -> Option<Proposal> {
        let key = ClusterIdKey.encode();
        let absent = Guard::Missing(key.clone().into());
        (self.id == Slot::Missing).then(|| {
            Proposal::new("create_cluster_id")
                .guard(absent)
                .put(key, self.fresh_id.to_bytes())
        })
    }

    fn due_version(&self) -> Option<Proposal> {
        let (present, seen) = match &self.version {
            Slot::Missing => (0, None),
            Slot::Present(version, at) => (version.internal_no, Some(*at)),
            Slot::Broken(_) => return None,
        };
        let wanted = ClusterVersion::current(self.release);
        if present >= wanted.internal_no || !self.old.is_empty() {
            return None;
        }
        let key = ClusterVersionKey.encode();
        let unchanged = Guard::unchanged(key.clone(), seen);
        Some(
            Proposal::new("raise_cluster_version")
                .guard(unchanged)
                .put(key, wanted.to_bytes()),
        )
    }
}

fn slot<T, E: std::fmt::Display>(read: Result<T, E>, at: Revision) -> Slot<T> {
    match read {
        Ok(value) => Slot::Present(value, at),
        Err(e) => Slot::Broken(e.to_string()),
    }
}

impl Machine for Cluster {
    type Input = Infallible;

    fn load(&mut self, snapshot: &Snapshot) {
        *self = Self::new(self.fresh_id, self.release);
        self.lines.values_mut().for_each(|line| line.load(snapshot));
        snapshot.entries.iter().for_each(|kv| self.put(kv));
        self.dirty.extend([ID.to_owned(), VERSION.to_owned()]);
    }

    fn apply(&mut self, batch: &Batch) {
        self.lines.values_mut().for_each(|line| line.apply(batch));
        for event in &batch.events {
            match event {
                Event::Put(kv) => self.put(kv),
                Event::Delete { key, .. } => self.delete(key),
            }
        }
    }

    fn input(&mut self, input: Infallible) {
        match input {}
    }

    fn decide(&mut self) -> Vec<Decision> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty
            .into_iter()
            .map(|subject| Decision {
                proposals: self.call_for(&subject),
                subject: subject.into(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
