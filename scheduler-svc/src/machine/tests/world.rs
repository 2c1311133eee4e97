//! A store of keys with revisions and guards, and a machine that follows it.

use std::collections::BTreeMap;

use bytes::Bytes;
use dm_errors::DmError;
use dm_keyspace::{
    Bound, BoundKey, KeepAliveKey, LastBoundKey, LeaderKey, LeaseId, LoadTask, LoadTaskKey,
    RelayWorkerKey, SourceConfigKey, SourceId, WorkerInfo, WorkerInfoKey, WorkerName,
};
use dm_replica::{Machine, Plan, Proposal, Subject};
use dm_store::{Batch, Event, Guard, KeyRange, KeyValue, Revision, Snapshot};

use crate::machine::Scheduler;
use crate::machine::request::{CliArgs, NewSource, NewSubtask, NewTask};
use crate::machine::starts::Part;

/// Rounds after which a state that still changes is taken for one that never settles.
const ROUNDS: usize = 1_000;
/// Operations of one transaction.
pub(super) const LIMIT: usize = 128;

#[derive(Default)]
pub(super) struct Store {
    pub(super) keys: BTreeMap<Bytes, KeyValue>,
    pub(super) revision: Revision,
    pub(super) log: Vec<Batch>,
}

impl Store {
    pub(super) fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Missing(key) => !self.keys.contains_key(key),
            Guard::Exists(key) => self.keys.contains_key(key),
            Guard::CreateRevision(key, r) => self
                .keys
                .get(key)
                .is_some_and(|kv| kv.create_revision == *r),
            Guard::ModRevision(key, r) => {
                self.keys.get(key).is_some_and(|kv| kv.mod_revision == *r)
            }
        }
    }

    /// Applies a proposal whole or not at all; etcd's rule that a key is written once is a failed test.
    pub(super) fn commit(&mut self, proposal: &Proposal) -> bool {
        if !proposal.guards.iter().all(|g| self.holds(g)) {
            return false;
        }
        let puts: Vec<(Bytes, Vec<u8>)> = proposal
            .puts
            .iter()
            .map(|p| (Bytes::from(p.key.clone()), p.value.bytes(None)))
            .collect();
        for (at, (key, _)) in puts.iter().enumerate() {
            assert!(
                puts[..at].iter().all(|(other, _)| other != key),
                "{key:?} is put twice"
            );
            assert!(
                proposal.deletes.iter().all(|range| !range.contains(key)),
                "{key:?} is put and deleted"
            );
        }
        let mut events = Vec::new();
        let revision = self.revision.next();
        for range in &proposal.deletes {
            let gone: Vec<Bytes> = self
                .keys
                .keys()
                .filter(|key| range.contains(key))
                .cloned()
                .collect();
            for key in gone {
                self.keys.remove(&key);
                events.push(Event::Delete { key, revision });
            }
        }
        for (key, value) in puts {
            let before = self.keys.get(&key);
            let kv = KeyValue {
                key: key.clone(),
                value: value.into(),
                create_revision: before.map_or(revision, |b| b.create_revision),
                mod_revision: revision,
                version: before.map_or(1, |b| b.version + 1),
                // A leader's key hangs on the lease that it names.
                lease: LeaderKey::parse(&key).map_or(LeaseId::default(), |key| key.lease),
            };
            self.keys.insert(key, kv.clone());
            events.push(Event::Put(kv));
        }
        if !events.is_empty() {
            self.revision = revision;
            self.log.push(Batch { revision, events });
        }
        true
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            revision: self.revision,
            entries: self.keys.values().cloned().collect(),
        }
    }

    pub(super) fn put(&mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) {
        assert!(self.commit(&Proposal::new("outside").put(key, value)));
    }

    pub(super) fn delete(&mut self, key: impl Into<String>) {
        assert!(self.commit(&Proposal::new("outside").delete(KeyRange::key(key.into()))));
    }

    /// Which worker each bound key binds to which source.
    pub(super) fn bounds(&self) -> Vec<(String, String)> {
        let values = self
            .keys
            .iter()
            .filter(|(key, _)| key.starts_with(BoundKey::PREFIX.as_bytes()));
        values
            .map(|(_, kv)| {
                let bound = Bound::from_bytes(&kv.value).unwrap();
                (bound.worker.to_string(), bound.source.to_string())
            })
            .collect()
    }
}

/// A store with a leader that has folded all of it and commits whatever its machine wants.
#[derive(Default)]
pub(super) struct World {
    pub(super) store: Store,
    pub(super) machine: Scheduler,
    pub(super) wanted: BTreeMap<Subject, Vec<Proposal>>,
    fed: usize,
    joins: usize,
}

impl World {
    /// A world with registered workers that are online.
    pub(super) fn with_workers(names: &[&str]) -> Self {
        let mut world = Self::default();
        for name in names {
            world.register(name).unwrap();
            world.online(name);
        }
        world.settle();
        world
    }

    /// s1 on w1, s2 on w2, and task t on both.
    pub(super) fn with_a_pair() -> Self {
        let mut world = Self::with_workers(&["w1", "w2"]);
        world.add_on(&["s1"], Some("w1")).unwrap();
        world.add_on(&["s2"], Some("w2")).unwrap();
        world.settle();
        world.start("t", &["s1", "s2"]).unwrap();
        world.settle();
        world
    }

    /// Feeds everything and asks.
    pub(super) fn fold(&mut self) {
        for batch in &self.store.log[self.fed..] {
            self.machine.apply(batch);
        }
        self.fed = self.store.log.len();
        for decision in self.machine.decide() {
            self.wanted.insert(decision.subject, decision.proposals);
        }
    }

    /// Commits what is wanted until nothing is wanted any more; returns the names of what was committed.
    pub(super) fn settle(&mut self) -> Vec<&'static str> {
        let mut done = Vec::new();
        for _ in 0..ROUNDS {
            self.fold();
            let next = self.wanted.values().flatten().next().cloned();
            let Some(proposal) = next else { return done };
            // One condition more is the fence.
            let size = proposal.puts.len() + proposal.deletes.len();
            assert!(
                size <= LIMIT && proposal.guards.len() < LIMIT,
                "{} is too large for a transaction",
                proposal.name
            );
            assert!(
                self.store.commit(&proposal),
                "{} does not apply to the state it was made on",
                proposal.name
            );
            done.push(proposal.name);
        }
        panic!("the state does not settle: {done:?}");
    }

    /// A replica that starts now: nothing but a snapshot.
    pub(super) fn restart(&mut self) -> Vec<&'static str> {
        self.machine = Scheduler::default();
        self.wanted.clear();
        self.machine.load(&self.store.snapshot());
        self.fed = self.store.log.len();
        self.settle()
    }

    pub(super) fn request<T>(&mut self, plan: Result<Plan<T>, DmError>) -> Result<T, DmError> {
        match plan? {
            Plan::Done(answer) => Ok(answer),
            Plan::Commit(proposal, answer) => {
                assert!(
                    self.store.commit(&proposal),
                    "{} does not apply",
                    proposal.name
                );
                self.fold();
                Ok(answer)
            }
        }
    }

    pub(super) fn register(&mut self, name: &str) -> Result<(), DmError> {
        self.fold();
        let plan = self.machine.register_worker(&name.into(), &addr(name));
        self.request(plan)
    }

    pub(super) fn online(&mut self, name: &str) {
        self.joins += 1;
        self.store.put(alive_key(name), join(name, self.joins));
    }

    pub(super) fn offline(&mut self, name: &str) {
        self.store.delete(alive_key(name));
    }

    pub(super) fn add(&mut self, ids: &[&str]) -> Result<(), DmError> {
        self.add_on(ids, None)
    }

    pub(super) fn add_on(&mut self, ids: &[&str], worker: Option<&str>) -> Result<(), DmError> {
        self.fold();
        let new: Vec<NewSource> = ids.iter().map(|id| source(id, false)).collect();
        let worker = worker.map(WorkerName::from);
        let plan = self.machine.add_sources(&new, worker.as_ref());
        self.request(plan)
    }

    pub(super) fn start(&mut self, task: &str, sources: &[&str]) -> Result<(), DmError> {
        self.fold();
        let plan = self.machine.start_task(&new_task(task, sources));
        self.request(plan)
    }

    pub(super) fn load_task(&mut self, task: &str, source: &str, worker: &str) {
        let key = LoadTaskKey {
            task: task.into(),
            source: source.into(),
        }
        .encode();
        self.store.put(
            key,
            LoadTask {
                worker: worker.into(),
            }
            .to_bytes(),
        );
    }

    pub(super) fn relay(&mut self, worker: &str, source: &str) {
        self.store.put(
            RelayWorkerKey {
                worker: worker.into(),
            }
            .encode(),
            source,
        );
    }

    pub(super) fn bounds(&self) -> String {
        let pairs: Vec<String> = self
            .store
            .bounds()
            .iter()
            .map(|(w, s)| format!("{w}-{s}"))
            .collect();
        pairs.join(" ")
    }

    pub(super) fn stage(&self, worker: &str) -> &'static str {
        self.machine
            .worker_stage(&worker.into())
            .map_or("unknown", |s| s.as_str())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.store.keys.contains_key(key.as_bytes())
    }
}

pub(super) fn addr(name: &str) -> String {
    format!("{name}:8262")
}

pub(super) fn join(name: &str, at: usize) -> String {
    format!(r#"{{"worker-name":"{name}","join-time":"2026-01-01T00:00:00.{at:09}Z"}}"#)
}

pub(super) fn source(id: &str, enable_relay: bool) -> NewSource {
    let toml = format!(
        "enable-relay = {enable_relay}\nsource-id = \"{id}\"\n[from]\npassword = \"s3cret\"\n"
    );
    NewSource {
        id: id.into(),
        toml,
        enable_relay,
    }
}

pub(super) fn new_task(task: &str, sources: &[&str]) -> NewTask {
    let subtask = |id: &&str| NewSubtask {
        source: (*id).into(),
        toml: format!("name = \"{task}\"\nsource-id = \"{id}\"\n"),
        validates: false,
    };
    NewTask {
        name: task.into(),
        subtasks: sources.iter().map(subtask).collect(),
        args: CliArgs::default(),
        is_physical_import: false,
        removes_meta: false,
        part: Part::Only,
    }
}

pub(super) fn ids(names: &[&str]) -> Vec<SourceId> {
    names.iter().map(|name| SourceId::from(*name)).collect()
}

pub(super) fn alive_key(name: &str) -> String {
    KeepAliveKey {
        worker: name.into(),
    }
    .encode()
}

pub(super) fn bound_key(name: &str) -> String {
    BoundKey {
        worker: name.into(),
    }
    .encode()
}

pub(super) fn last_bound_key(name: &str) -> String {
    LastBoundKey {
        worker: name.into(),
    }
    .encode()
}

pub(super) fn config_key(id: &str) -> String {
    SourceConfigKey { source: id.into() }.encode()
}

pub(super) fn registration(name: &str) -> (String, Vec<u8>) {
    (
        WorkerInfoKey {
            worker: name.into(),
        }
        .encode(),
        WorkerInfo::new(name, addr(name)).to_bytes(),
    )
}

pub(super) fn bound(worker: &str, source: &str) -> Vec<u8> {
    Bound::new(source, worker).to_bytes()
}

pub(super) fn code<T>(outcome: Result<T, DmError>) -> u32 {
    outcome.err().map_or(0, |e| e.code().number())
}

/// What a request would commit.
pub(super) fn planned<T>(plan: Result<Plan<T>, dm_errors::DmError>) -> Proposal {
    match plan {
        Ok(Plan::Commit(proposal, _)) => proposal,
        Ok(Plan::Done(_)) => panic!("nothing is planned"),
        Err(e) => panic!("{e}"),
    }
}
