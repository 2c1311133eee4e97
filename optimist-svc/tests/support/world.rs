//! A world for the optimist's machine: a small etcd, a downstream checkpoint, leaders that come and go.

#![expect(dead_code, reason = "each test program uses its own part of the world")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dm_keyspace::optimism::{Operation, OperationKey};
use dm_keyspace::{LeaseId, TaskName};
use dm_replica::{Machine, Plan, Proposal, Subject};
use dm_store::{Batch, Event, Guard, KeyValue, Revision, Snapshot};
use optimist_svc::machine::{Found, Optimist, TableId, UnlockRefusal, UnlockRequest};

/// Keys with revisions and a log of all changes.
pub(crate) struct Etcd {
    pub(crate) revision: Revision,
    pub(crate) keys: BTreeMap<Bytes, KeyValue>,
    pub(crate) log: Vec<Event>,
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
        let deletes = proposal.deletes.iter().flat_map(|range| {
            let from = self.keys.range(Bytes::copy_from_slice(range.start())..);
            from.take_while(|(key, _)| range.contains(key))
        });
        let deletes: Vec<_> = deletes
            .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
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
    wanted: BTreeMap<Subject, Vec<Proposal>>,
    seen: usize,
}

/// etcd, the checkpoint downstream, at most one leader, and what the leader has put.
pub(crate) struct World {
    pub(crate) etcd: Etcd,
    /// JSON of the schemas that the downstream's checkpoint holds.
    pub(crate) checkpoint: BTreeMap<TableId, String>,
    leader: Option<Leader>,
    pub(crate) put: Vec<Operation>,
    /// Proposals that the leader has tried to commit: the name of each, and how large it is.
    pub(crate) committed: Vec<(&'static str, usize)>,
    /// Operations that etcd takes in one transaction.
    pub(crate) max_txn_ops: usize,
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
            committed: Vec::new(),
            max_txn_ops: 128,
        }
    }
}

impl World {
    pub(crate) fn stop(&mut self) {
        self.leader = None;
    }

    /// A leader that has seen nothing reads everything.
    pub(crate) fn start(&mut self) {
        let machine = Optimist::reading_schemas(Duration::from_secs(60));
        let mut machine = machine.with_max_txn_ops(self.max_txn_ops);
        machine.load(&Snapshot {
            revision: self.etcd.revision,
            entries: self.etcd.keys.values().cloned().collect(),
        });
        let seen = self.etcd.log.len();
        self.leader = Some(Leader {
            machine,
            wanted: BTreeMap::new(),
            seen,
        });
    }

    pub(crate) fn machine(&self) -> Option<&Optimist> {
        self.leader.as_ref().map(|leader| &leader.machine)
    }

    /// Puts what an operator decides into etcd, if the machine takes it.
    pub(crate) fn unlock(
        &mut self,
        task: &TaskName,
        request: &UnlockRequest,
    ) -> Result<(), UnlockRefusal> {
        let machine = self.machine().expect("somebody leads");
        if let Plan::Commit(proposal, ()) = machine.plan_unlock(task, request)? {
            let put = self.etcd.commit(&proposal).expect("nobody else writes");
            self.put.extend(put);
        }
        Ok(())
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
    pub(crate) fn step(&mut self) -> bool {
        self.step_behind(usize::MAX)
    }

    /// As [`World::step`], but the leader has not seen more than `events` new events, whole revisions only.
    pub(crate) fn step_behind(&mut self, events: usize) -> bool {
        let Some(leader) = &mut self.leader else {
            return false;
        };
        let mut news = self.etcd.log[leader.seen..].to_vec();
        while news.len() > events {
            let last = news.last().map(Event::revision);
            news.retain(|event| Some(event.revision()) != last);
        }
        leader.seen += news.len();
        let is_news = !news.is_empty();
        if let Some(last) = news.last().map(Event::revision) {
            leader.machine.apply(&Batch {
                revision: last,
                events: news,
            });
        }
        hand_over(&mut leader.machine, &self.checkpoint);
        for decision in leader.machine.decide() {
            leader.wanted.insert(decision.subject, decision.proposals);
        }
        let wanted = std::mem::take(&mut leader.wanted);
        let has_wanted = wanted.values().any(|proposals| !proposals.is_empty());
        for proposal in wanted.values().flatten() {
            self.committed.push((proposal.name, weight(proposal)));
            self.put
                .extend(self.etcd.commit(proposal).into_iter().flatten());
        }
        is_news || has_wanted
    }

    /// What the leader decides when it is asked once more; nothing has happened.
    pub(crate) fn decide_again(&mut self) -> usize {
        let leader = self.leader.as_mut();
        leader.map_or(0, |leader| leader.machine.decide().len())
    }

    /// A machine that has just read everything.
    pub(crate) fn loaded(&self) -> Optimist {
        let mut machine = Optimist::reading_schemas(Duration::from_secs(60));
        machine.load(&Snapshot {
            revision: self.etcd.revision,
            entries: self.etcd.keys.values().cloned().collect(),
        });
        hand_over(&mut machine, &self.checkpoint);
        machine
    }
}

/// Gives a machine what it wants of the checkpoint.
fn hand_over(machine: &mut Optimist, checkpoint: &BTreeMap<TableId, String>) {
    for wanted in machine.wanted() {
        let tables = wanted.tables.into_iter();
        let found = Found {
            schemas: tables
                .map(|table| (table.clone(), checkpoint.get(&table).cloned()))
                .collect(),
            task: wanted.task,
            lock: wanted.lock,
        };
        machine.input(found.into());
    }
}

/// What etcd counts of a proposal, the fence apart.
fn weight(proposal: &Proposal) -> usize {
    let writes = proposal.puts.len() + proposal.deletes.len();
    writes.max(proposal.guards.len())
}
