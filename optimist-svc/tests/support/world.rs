//! A world for the optimist's machine: a small etcd, a downstream checkpoint, leaders that come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dm_keyspace::LeaseId;
use dm_keyspace::optimism::{Operation, OperationKey};
use dm_replica::{Machine, Proposal, Subject};
use dm_store::{Batch, Event, Guard, KeyValue, Revision, Snapshot};
use optimist_svc::machine::{Found, Optimist, TableId};

/// Keys with revisions and a log of all changes.
pub(crate) struct Etcd {
    pub(crate) revision: Revision,
    pub(crate) keys: BTreeMap<Bytes, KeyValue>,
    log: Vec<Event>,
}

impl Etcd {
    fn put(&mut self, at: Revision, key: Bytes, value: Bytes) {
        let old = self.keys.get(&key);
        let kv = KeyValue {
            create_revision: old.map_or(at, |kv| kv.create_revision),
            version: old.map_or(1, |kv| kv.version + 1),
            mod_revision: at,
            lease: LeaseId(0),
            key: key.clone(),
            value,
        };
        self.log.push(Event::Put(kv.clone()));
        self.keys.insert(key, kv);
    }

    /// Everything that a transaction writes, at one revision.
    pub(crate) fn write(&mut self, puts: Vec<(String, Vec<u8>)>, deletes: &[String]) {
        let before = self.log.len();
        let at = self.revision.next();
        for (key, value) in puts {
            self.put(at, key.into(), value.into());
        }
        for key in deletes {
            let key = Bytes::from(key.clone());
            if self.keys.remove(&key).is_some() {
                self.log.push(Event::Delete { key, revision: at });
            }
        }
        if self.log.len() > before {
            self.revision = at;
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key.as_bytes())
    }

    /// Keys and values under a prefix.
    pub(crate) fn under(&self, prefix: &'static str) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let of_prefix = self
            .keys
            .iter()
            .filter(move |(key, _)| key.starts_with(prefix.as_bytes()));
        of_prefix.map(|(key, kv)| (key, &kv.value))
    }

    fn holds(&self, guard: &Guard) -> bool {
        let found = |key: &Bytes| self.keys.get(key);
        match guard {
            Guard::Missing(key) => found(key).is_none(),
            Guard::Exists(key) => found(key).is_some(),
            Guard::CreateRevision(key, at) => {
                found(key).is_some_and(|kv| kv.create_revision == *at)
            }
            Guard::ModRevision(key, at) => found(key).is_some_and(|kv| kv.mod_revision == *at),
        }
    }

    /// Applies a proposal, or not. Answers the operations that it put.
    pub(crate) fn commit(&mut self, proposal: &Proposal) -> Option<Vec<Operation>> {
        if !proposal.guards.iter().all(|guard| self.holds(guard)) {
            return None;
        }
        let puts: Vec<_> = proposal
            .puts
            .iter()
            .map(|put| (put.key.clone(), put.value.bytes(proposal.trace.as_deref())))
            .collect();
        let in_ranges = |key: &Bytes| proposal.deletes.iter().any(|range| range.contains(key));
        let deletes: Vec<_> = self
            .keys
            .keys()
            .filter(|key| in_ranges(key))
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect();
        let operations = puts
            .iter()
            .filter(|(key, _)| key.starts_with(OperationKey::PREFIX));
        let operations = operations
            .map(|(_, value)| Operation::from_bytes(value).expect("operations decode"))
            .collect();
        self.write(puts, &deletes);
        Some(operations)
    }
}

struct Leader {
    machine: Optimist,
    seen: usize,
}

/// etcd, the checkpoint downstream, at most one leader, and what the leader has put.
pub(crate) struct World {
    pub(crate) etcd: Etcd,
    /// JSON of the schemas that the downstream's checkpoint holds.
    pub(crate) checkpoint: BTreeMap<TableId, String>,
    leader: Option<Leader>,
    pub(crate) put: Vec<Operation>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            etcd: Etcd {
                revision: Revision(1),
                keys: BTreeMap::new(),
                log: Vec::new(),
            },
            checkpoint: BTreeMap::new(),
            leader: None,
            put: Vec::new(),
        }
    }
}

impl World {
    pub(crate) fn stop(&mut self) {
        self.leader = None;
    }

    /// A leader that has seen nothing reads everything.
    pub(crate) fn start(&mut self) {
        let mut machine = Optimist::reading_schemas(Duration::from_secs(60));
        machine.load(&Snapshot {
            revision: self.etcd.revision,
            entries: self.etcd.keys.values().cloned().collect(),
        });
        let seen = self.etcd.log.len();
        self.leader = Some(Leader { machine, seen });
    }

    pub(crate) fn machine(&self) -> Option<&Optimist> {
        self.leader.as_ref().map(|leader| &leader.machine)
    }

    /// Goes on until nothing happens any more.
    pub(crate) fn quiet(&mut self) {
        for _ in 0..1_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the coordinator never comes to rest");
    }

    /// The leader folds what is new, reads schemas that it wants, decides, and commits. Whether anything happened.
    fn step(&mut self) -> bool {
        let Some(leader) = &mut self.leader else {
            return false;
        };
        let news = self.etcd.log[leader.seen..].to_vec();
        leader.seen += news.len();
        let is_news = !news.is_empty();
        if let Some(last) = news.last().map(Event::revision) {
            leader.machine.apply(&Batch {
                revision: last,
                events: news,
            });
        }
        for wanted in leader.machine.wanted() {
            let found = wanted
                .tables
                .into_iter()
                .map(|table| (table.clone(), self.checkpoint.get(&table).cloned()));
            let found = Found {
                schemas: found.collect(),
                task: wanted.task,
                lock: wanted.lock,
            };
            leader.machine.input(found.into());
        }
        let decisions = leader.machine.decide();
        let wanted: BTreeMap<Subject, Vec<Proposal>> = decisions
            .into_iter()
            .map(|decision| (decision.subject, decision.proposals))
            .collect();
        let has_wanted = wanted.values().any(|proposals| !proposals.is_empty());
        for proposal in wanted.values().flatten() {
            self.put
                .extend(self.etcd.commit(proposal).into_iter().flatten());
        }
        is_news || has_wanted
    }
}
