//! A world for the pessimist's machine: a small etcd, workers that follow DM's protocol, leaders that come and go.

#![expect(dead_code, reason = "each test program uses its own part of the world")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dm_keyspace::pessimism::{Info, InfoKey, Operation, OperationKey};
use dm_keyspace::{LeaseId, SourceId, SubtaskKey, TaskName, TaskStartKey};
use dm_replica::{Machine, Plan, Proposal, Subject};
use dm_store::{Batch, Event, Guard, KeyValue, Revision, Snapshot};
use pessimist_svc::machine::{Limits, Pessimist, UnlockOutcome, UnlockRefusal, UnlockRequest};

/// How long an unlock waits in these tests, by the world's own clock.
pub(crate) const UNLOCK_WAIT: Duration = Duration::from_secs(10);

/// `ErrWorkerDDLLockInfoNotFound`.
pub(crate) const INFO_NOT_FOUND: u32 = 40061;

/// Keys with revisions and a log of all changes.
#[derive(Default)]
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

    fn delete(&mut self, at: Revision, key: &Bytes) {
        if self.keys.remove(key).is_some() {
            self.log.push(Event::Delete {
                key: key.clone(),
                revision: at,
            });
        }
    }

    /// Everything that a transaction writes, at one revision.
    pub(crate) fn write(&mut self, puts: Vec<(String, Vec<u8>)>, deletes: &[String]) {
        let before = self.log.len();
        let at = self.revision.next();
        for (key, value) in puts {
            self.put(at, key.into(), value.into());
        }
        for key in deletes {
            self.delete(at, &Bytes::from(key.clone()));
        }
        if self.log.len() > before {
            self.revision = at;
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key.as_bytes())
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

    pub(crate) fn info(&self, task: &str, source: &str) -> Option<(Info, Revision)> {
        let kv = self.get(&info_key(task, source))?;
        Some((Info::from_bytes(&kv.value).ok()?, kv.mod_revision))
    }

    pub(crate) fn operation(&self, task: &str, source: &str) -> Option<(Operation, Revision)> {
        let kv = self.get(&operation_key(task, source))?;
        Some((Operation::from_bytes(&kv.value).ok()?, kv.mod_revision))
    }

    pub(crate) fn infos(&self) -> Vec<Info> {
        self.values(InfoKey::PREFIX)
            .filter_map(|value| Info::from_bytes(value).ok())
            .collect()
    }

    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.values(OperationKey::PREFIX)
            .filter_map(|value| Operation::from_bytes(value).ok())
            .collect()
    }

    fn values(&self, prefix: &'static str) -> impl Iterator<Item = &Bytes> {
        self.keys
            .iter()
            .filter(move |(key, _)| key.starts_with(prefix.as_bytes()))
            .map(|(_, kv)| &kv.value)
    }
}

pub(crate) fn info_key(task: &str, source: &str) -> String {
    InfoKey {
        task: task.into(),
        source: source.into(),
    }
    .encode()
}

pub(crate) fn operation_key(task: &str, source: &str) -> String {
    OperationKey {
        task: task.into(),
        source: source.into(),
    }
    .encode()
}

/// A machine that leads: what it wants is committed.
pub(crate) struct Leader {
    pub(crate) machine: Pessimist,
    wanted: BTreeMap<Subject, Vec<Proposal>>,
    failed: BTreeMap<Subject, Vec<Proposal>>,
    seen: usize,
}

/// Which part of a start or stop of a task a transaction is.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    /// All of it.
    Only,
    /// The first one, with the record that names all sources.
    First(&'a [&'a str]),
    /// One in between.
    Next,
    /// The last one: the record goes.
    Last,
}

/// etcd, at most one leader, and what the leader has put.
pub(crate) struct World {
    pub(crate) etcd: Etcd,
    pub(crate) leader: Option<Leader>,
    pub(crate) put: Vec<Operation>,
    /// Every deletion by the leader fails.
    pub(crate) deletes_fail: bool,
    /// Every put by the leader fails.
    pub(crate) puts_fail: bool,
    now: Duration,
}

impl Default for World {
    fn default() -> Self {
        Self {
            etcd: Etcd {
                revision: Revision(1),
                ..Etcd::default()
            },
            leader: None,
            put: Vec::new(),
            deletes_fail: false,
            puts_fail: false,
            now: Duration::ZERO,
        }
    }
}

impl World {
    /// A world with a leader and these subtasks.
    pub(crate) fn running(tasks: &[(&str, &[&str])]) -> Self {
        let mut world = Self::default();
        for (task, sources) in tasks {
            world.set_sources(task, sources, &[]);
        }
        world.start();
        world
    }

    pub(crate) fn set_sources(&mut self, task: &str, added: &[&str], removed: &[&str]) {
        self.set_part_of_sources(task, added, removed, Part::Only);
    }

    /// One transaction of a start or stop of a task.
    pub(crate) fn set_part_of_sources(
        &mut self,
        task: &str,
        added: &[&str],
        removed: &[&str],
        part: Part<'_>,
    ) {
        let record = TaskStartKey { task: task.into() }.encode();
        let key = |source: &&str| {
            SubtaskKey {
                source: (*source).into(),
                task: task.into(),
            }
            .encode()
        };
        let mut puts: Vec<_> = added
            .iter()
            .map(|source| (key(source), b"name = \"t\"".to_vec()))
            .collect();
        let mut deletes: Vec<_> = removed.iter().map(key).collect();
        match part {
            Part::Only | Part::Next => {}
            Part::First(named) => {
                let value = serde_json::json!({ "term": 1, "batch": 1, "sources": named });
                puts.push((record, value.to_string().into_bytes()));
            }
            Part::Last => deletes.push(record),
        }
        self.etcd.write(puts, &deletes);
    }

    pub(crate) fn stop(&mut self) {
        self.leader = None;
    }

    /// A leader that has seen nothing reads everything.
    pub(crate) fn start(&mut self) {
        let mut machine = Pessimist::new(Limits {
            unlock_wait: UNLOCK_WAIT,
            ..Limits::default()
        });
        machine.tick(self.now);
        let mut leader = Leader {
            machine,
            wanted: BTreeMap::new(),
            failed: BTreeMap::new(),
            seen: 0,
        };
        leader.load(&self.etcd);
        self.leader = Some(leader);
    }

    /// The watch is compacted under the leader.
    pub(crate) fn lose_watch(&mut self) {
        if let Some(leader) = &mut self.leader {
            leader.load(&self.etcd);
        }
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

    /// The leader folds what is new, decides, and commits. Whether anything happened.
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
        for decision in leader.machine.decide() {
            leader.failed.remove(&decision.subject);
            leader.wanted.insert(decision.subject, decision.proposals);
        }
        let wanted = std::mem::take(&mut leader.wanted);
        let has_wanted = wanted.values().any(|proposals| !proposals.is_empty());
        for (subject, proposals) in wanted {
            for proposal in proposals {
                let is_refused = self.deletes_fail && !proposal.deletes.is_empty()
                    || self.puts_fail && !proposal.puts.is_empty();
                if is_refused {
                    leader
                        .failed
                        .entry(subject.clone())
                        .or_default()
                        .push(proposal);
                } else if let Some(put) = self.etcd.commit(&proposal) {
                    self.put.extend(put);
                }
            }
        }
        is_news || has_wanted
    }

    /// What failed is tried again, and time passes.
    pub(crate) fn tick(&mut self, passed: Duration) {
        self.now += passed;
        if let Some(leader) = &mut self.leader {
            leader.wanted.append(&mut leader.failed);
            leader.machine.tick(self.now);
        }
    }

    pub(crate) fn machine(&self) -> &Pessimist {
        &self.leader.as_ref().expect("somebody leads").machine
    }

    /// A worker's plain put of its info.
    pub(crate) fn report(&mut self, info: &Info) {
        self.etcd
            .write(vec![(info.key().encode(), info.to_bytes())], &[]);
    }

    /// A worker's guarded put of its info: not over a done operation.
    pub(crate) fn try_report(&mut self, info: &Info) -> bool {
        let may = self
            .etcd
            .operation(info.task.as_str(), info.source.as_str())
            .is_none_or(|(operation, _)| !operation.done);
        if may {
            self.report(info);
        }
        may
    }

    /// A worker's transaction at the end: done, and the info gone. DM's code, zero for success.
    pub(crate) fn done(&mut self, task: &str, source: &str, remembered: Option<Operation>) -> u32 {
        let present = self
            .etcd
            .operation(task, source)
            .map(|(operation, _)| operation);
        let Some(operation) = remembered.or_else(|| present.clone()) else {
            return INFO_NOT_FOUND;
        };
        let done = operation.into_done();
        if self.etcd.info(task, source).is_some() {
            self.etcd.write(
                vec![(operation_key(task, source), done.to_bytes())],
                &[info_key(task, source)],
            );
            return 0;
        }
        let is_repeat = present.is_some_and(|present| present.to_bytes() == done.to_bytes());
        if is_repeat { 0 } else { INFO_NOT_FOUND }
    }

    /// Puts the request to unlock into etcd, if the machine takes it.
    pub(crate) fn begin_unlock(
        &mut self,
        task: &TaskName,
        request: &UnlockRequest,
    ) -> Result<Revision, UnlockRefusal> {
        match self.machine().plan_unlock(task, request)? {
            Plan::Done(since) => Ok(since),
            Plan::Commit(proposal, since) => {
                self.etcd.commit(&proposal).expect("nobody else writes");
                self.quiet();
                Ok(since)
            }
        }
    }

    pub(crate) fn unlock_outcome(
        &self,
        task: &TaskName,
        id: &str,
        since: Revision,
    ) -> Option<UnlockOutcome> {
        self.machine().unlock_outcome(task, id, since)
    }

    /// Removes every record of a task.
    pub(crate) fn remove_meta(&mut self, task: &TaskName) {
        if let Plan::Commit(proposal, _) = self.machine().plan_remove_meta(task) {
            self.etcd.commit(&proposal).expect("it has no guard");
        }
    }
}

impl Leader {
    pub(crate) fn load(&mut self, etcd: &Etcd) {
        self.machine.load(&Snapshot {
            revision: etcd.revision,
            entries: etcd.keys.values().cloned().collect(),
        });
        self.seen = etcd.log.len();
    }
}

/// Names as text.
pub(crate) fn names(sources: &[SourceId]) -> Vec<String> {
    sources.iter().map(ToString::to_string).collect()
}
