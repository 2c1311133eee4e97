//! One state of the world: etcd, the coordinator, the workers, and what has truly happened.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use dm_keyspace::SubtaskKey;
use dm_keyspace::pessimism::{Info, InfoKey, Operation, OperationKey};
use dm_replica::Subject;
use dm_store::{Event, KeyRange};

use super::coordinator::{Coordinator, Sent};
use super::truth::Truth;
use super::workers::{At, Worker};
use super::{TASK, World};
use crate::etcd::{Etcd, Write};

/// Names of sources.
pub(super) type Sources = BTreeSet<String>;

/// Where requests to unlock lie.
pub(super) const UNLOCKS: &str = "/dm-master/pessimist/unlock/";
/// How often an unlock may need time to pass: until the owner is late, and until the others are.
const TICKS: u8 = 2;

/// One state of the world.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) etcd: Etcd,
    pub(super) coordinator: Coordinator,
    pub(super) workers: Vec<Worker>,
    /// What has truly happened about each statement.
    pub(super) truth: Vec<Truth>,
    pub(super) faults_left: u8,
    pub(super) moves_left: u8,
    pub(super) unlocks_left: u8,
    pub(super) ticks_left: u8,
    /// What must never happen, and has.
    pub(super) broken: Option<&'static str>,
    pub(super) digest: u64,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

impl State {
    pub(super) fn new(world: &World) -> Self {
        let inside = world.sources - world.outside;
        let mut etcd = Etcd::default();
        for worker in 0..inside {
            etcd.commit(&subtask(worker, true));
        }
        let worker = |number| Worker {
            passed: 0,
            at: At::Running,
            has_begun: number < inside,
            is_void: false,
        };
        let coordinator = Coordinator::new(&etcd);
        Self {
            etcd,
            coordinator,
            workers: (0..world.sources).map(worker).collect(),
            truth: vec![Truth::default(); world.plan.len()],
            faults_left: world.faults,
            moves_left: world.moves,
            unlocks_left: world.unlocks,
            ticks_left: TICKS * world.unlocks,
            broken: None,
            digest: 0,
        }
    }

    pub(super) fn is_in_task(&self, who: usize) -> bool {
        self.etcd.get(&subtask_key(who)).is_some()
    }

    /// Statements that the slowest and the fastest source of the task have passed.
    pub(super) fn progress(&self) -> (usize, usize) {
        let workers = self.workers.iter().enumerate();
        let present = workers.filter(|(who, _)| self.is_in_task(*who));
        let passed: BTreeSet<usize> = present.map(|(_, worker)| worker.passed).collect();
        let (slowest, fastest) = (passed.first(), passed.last());
        (
            slowest.copied().unwrap_or_default(),
            fastest.copied().unwrap_or_default(),
        )
    }

    pub(super) fn info_of(&self, who: usize) -> Option<Info> {
        info_in(&self.etcd, who)
    }

    pub(super) fn operation(&self, who: usize) -> Option<Operation> {
        let kv = self.etcd.get(&operation_key(who))?;
        Operation::from_bytes(&kv.value).ok()
    }

    /// Whether etcd shows that a source waits for a statement or is done with it.
    pub(super) fn has_evidence(&self, world: &World, who: usize, number: usize) -> bool {
        let wanted = world.info(who, number);
        let is_waiting = || self.info_of(who).is_some_and(|info| info == wanted);
        let is_done = || {
            let operation = self.operation(who).filter(|operation| operation.done);
            operation.is_some_and(|o| o.id == wanted.lock_id() && o.ddls() == wanted.ddls())
        };
        is_waiting() || is_done()
    }

    /// Something for a subject has landed, or is still under way.
    pub(super) fn land(&mut self, subject: Subject, late: Option<(Write, Sources)>) {
        let landed = self.etcd.revision();
        self.coordinator.sent.push(Sent {
            subject,
            late,
            landed,
        });
        // A guard may have failed by what the feed has shown already.
        self.coordinator.decide();
    }

    /// A transaction of anybody. Whether it was applied.
    pub(super) fn write(&mut self, write: &Write) -> bool {
        let Some(batch) = self.etcd.commit(write) else {
            return false;
        };
        for event in &batch.events {
            let of = |who: &usize| event.key() == operation_key(*who).as_bytes();
            let Some(who) = (0..self.workers.len()).find(of) else {
                continue;
            };
            let is_in_task = self.is_in_task(who);
            self.workers[who].sees(event, is_in_task);
        }
        if !batch.events.is_empty() {
            self.coordinator.feed.push(batch);
        }
        true
    }
}

impl Worker {
    /// What it watches its operation key for.
    fn sees(&mut self, event: &Event, is_in_task: bool) {
        match (event, &self.at) {
            // The first put after its info is the answer, whatever is in it.
            (Event::Put(kv), At::Waiting) => {
                if let Ok(order) = Operation::from_bytes(&kv.value) {
                    self.at = At::Told(order);
                    self.is_void = !is_in_task;
                }
            }
            (Event::Delete { .. }, At::Held) => self.at = At::Free,
            _ => {}
        }
    }
}

pub(super) fn source(worker: usize) -> String {
    format!("s{worker}")
}

pub(super) fn info_key(worker: usize) -> String {
    let (task, source) = (TASK.into(), source(worker).into());
    InfoKey { task, source }.encode()
}

pub(super) fn operation_key(worker: usize) -> String {
    let (task, source) = (TASK.into(), source(worker).into());
    OperationKey { task, source }.encode()
}

pub(super) fn unlock_key(lock: &str) -> String {
    format!("{UNLOCKS}{}/{}", hex(TASK), hex(lock))
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn info_in(etcd: &Etcd, who: usize) -> Option<Info> {
    let kv = etcd.get(&info_key(who))?;
    Info::from_bytes(&kv.value).ok()
}

fn subtask_key(worker: usize) -> String {
    let (source, task) = (source(worker).into(), TASK.into());
    SubtaskKey { source, task }.encode()
}

/// What adds a source to the task, or takes it away.
pub(super) fn subtask(worker: usize, is_in: bool) -> Write {
    let key = subtask_key(worker);
    let (puts, deletes) = match is_in {
        true => (vec![(key, Vec::new(), 0)], Vec::new()),
        false => (Vec::new(), vec![KeyRange::key(key)]),
    };
    Write {
        guards: Vec::new(),
        puts,
        deletes,
    }
}
