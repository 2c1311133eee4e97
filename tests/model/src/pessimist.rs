//! The pessimist's machine among its workers.
//!
//! Every source meets the same statements in the same order. Steps of workers: report, be told, execute or skip, say that
//! it is done. Steps of the coordinator: fold one revision and decide, commit one transaction. What may go wrong, as often
//! as a setting says: a worker starts anew from its checkpoint, the coordinator is replaced by one that loads everything,
//! its watch is lost, a transaction comes late, or its reply is lost and it comes a second time.

mod coordinator;

use std::hash::{Hash, Hasher};

use dm_keyspace::SubtaskKey;
use dm_keyspace::pessimism::{Info, InfoKey, Operation, OperationKey};
use dm_replica::{Machine as _, Subject};
use dm_store::{Event, Guard, KeyRange};
use stateright::{Model, Property};

use coordinator::{Coordinator, Sent, Wish};

use crate::digest::digest;
use crate::etcd::{Etcd, Write};

const TASK: &str = "t";

/// How large a world is explored.
#[derive(Clone, Debug)]
pub struct World {
    /// Number of sources.
    pub sources: usize,
    /// Table and statement, in the order in which each source meets them.
    pub plan: Vec<(&'static str, &'static str)>,
    /// How often something may go wrong.
    pub faults: u8,
}

/// What a worker is at.
#[derive(Clone, Debug)]
enum At {
    /// On its way to its next statement.
    Running,
    /// Has reported it.
    Waiting,
    /// Has received this answer.
    Told(Operation),
    /// Has executed or skipped.
    Did(Operation),
}

#[derive(Clone, Debug)]
struct Worker {
    /// Statements behind its checkpoint.
    passed: usize,
    at: At,
}

/// One state of the world.
#[derive(Clone, Debug)]
pub struct State {
    etcd: Etcd,
    coordinator: Coordinator,
    workers: Vec<Worker>,
    /// Who has executed each statement downstream.
    executed: Vec<Vec<usize>>,
    faults_left: u8,
    /// What must never happen, and has.
    broken: Option<&'static str>,
    digest: u64,
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

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A worker puts its info.
    Report(usize),
    /// A worker does as it was told.
    Do(usize),
    /// A worker says that it is done.
    Done(usize),
    /// The coordinator folds the next revision, and decides.
    Fold,
    /// The coordinator commits one of the things that it wants.
    Commit(usize),
    /// A transaction that was under way arrives.
    Arrive(usize),
    /// Fault: a worker starts anew.
    Restart(usize),
    /// Fault: a transaction stays under way.
    Delay(usize),
    /// Fault: a transaction is committed, its reply is lost, it is under way once more.
    LoseReply(usize),
    /// Fault: another coordinator takes over, and loads.
    Replace,
    /// Fault: the watch has fallen behind what etcd keeps.
    LoseWatch,
}

impl World {
    fn source(worker: usize) -> String {
        format!("s{worker}")
    }

    fn info(&self, worker: usize, number: usize) -> Info {
        let (table, ddl) = self.plan[number];
        Info::new(TASK, Self::source(worker), "d", table, vec![ddl.to_owned()])
    }

    /// Whether a source has reached a statement and said so.
    fn has_reported(&self, state: &State, worker: usize, number: usize) -> bool {
        let passed = state.workers[worker].passed;
        let is_waiting = || state.etcd.get(&info_key(worker)).is_some();
        passed > number || passed == number && is_waiting()
    }

    fn obey(&self, state: &mut State, worker: usize, order: Operation) {
        let number = state.workers[worker].passed;
        let info = self.info(worker, number);
        let is_executed = !state.executed[number].is_empty();
        let all_reported = (0..self.sources).all(|other| self.has_reported(state, other, number));
        let wrong = if order.id != info.lock_id() || order.ddls() != info.ddls() {
            Some("an order for another round")
        } else if order.done {
            Some("an order that is done already")
        } else if order.exec && !all_reported {
            Some("executed before all have reported")
        } else if !order.exec && !is_executed {
            Some("skipped before it is executed")
        } else {
            None
        };
        state.broken = state.broken.or(wrong);
        if order.exec {
            let by = &mut state.executed[number];
            by.push(worker);
            by.sort_unstable();
            by.dedup();
            if by.len() > 1 {
                state.broken = state.broken.or(Some("executed by two sources"));
            }
        }
        state.workers[worker].at = At::Did(order);
    }

    fn done(state: &mut State, worker: usize, order: Operation) {
        let done = Write {
            guards: vec![Guard::Exists(info_key(worker).into())],
            puts: vec![(operation_key(worker), order.into_done().to_bytes(), 0)],
            deletes: vec![KeyRange::key(info_key(worker))],
        };
        if state.write(&done) {
            let worker = &mut state.workers[worker];
            worker.passed += 1;
            worker.at = At::Running;
        } else {
            state.broken = state.broken.or(Some("done is refused"));
        }
        // What all have passed is of no interest any more.
        let passed = state.workers.iter().map(|worker| worker.passed).min();
        for number in 0..passed.unwrap_or_default() {
            state.executed[number].clear();
        }
    }

    /// Whether all have passed everything, and nothing is left of it.
    fn is_finished(&self, state: &State) -> bool {
        let all = |worker: &Worker| worker.passed == self.plan.len();
        state.workers.iter().all(all)
            && !state.etcd.has_any(InfoKey::PREFIX)
            && !state.etcd.has_any(OperationKey::PREFIX)
            && state.coordinator.machine.locks("", &[]).is_empty()
    }

    fn steps(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, worker) in state.workers.iter().enumerate() {
            match worker.at {
                At::Running if worker.passed < self.plan.len() && !is_held(state, number) => {
                    actions.push(Action::Report(number));
                }
                At::Running | At::Waiting => {}
                At::Told(_) => actions.push(Action::Do(number)),
                At::Did(_) => actions.push(Action::Done(number)),
            }
        }
        if !state.coordinator.feed.is_empty() {
            actions.push(Action::Fold);
        }
        actions.extend(state.coordinator.free().map(Action::Commit));
        actions.extend(state.coordinator.under_way().map(Action::Arrive));
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        if state.faults_left == 0 || state.broken.is_some() {
            return;
        }
        for (number, worker) in state.workers.iter().enumerate() {
            if !matches!(worker.at, At::Running) {
                actions.push(Action::Restart(number));
            }
        }
        actions.extend(state.coordinator.free().map(Action::Delay));
        actions.extend(state.coordinator.free().map(Action::LoseReply));
        actions.extend([Action::Replace, Action::LoseWatch]);
    }

    fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Report(worker) => {
                let info = self.info(worker, state.workers[worker].passed);
                state.workers[worker].at = At::Waiting;
                state.write(&Write {
                    guards: Vec::new(),
                    puts: vec![(info_key(worker), info.to_bytes(), 0)],
                    deletes: Vec::new(),
                });
            }
            Action::Do(worker) => {
                if let At::Told(order) = state.workers[worker].at.clone() {
                    self.obey(state, worker, order);
                }
            }
            Action::Done(worker) => {
                if let At::Did(order) = state.workers[worker].at.clone() {
                    Self::done(state, worker, order);
                }
            }
            Action::Fold => {
                let batch = state.coordinator.feed.remove(0);
                state.coordinator.machine.apply(&batch);
                state.coordinator.decide();
            }
            Action::Commit(number) => {
                let Wish { subject, write, .. } = state.coordinator.wanted.remove(number);
                state.write(&write);
                state.land(subject, None);
            }
            Action::Arrive(number) => {
                let Sent { subject, late, .. } = state.coordinator.sent.remove(number);
                if let Some(write) = late {
                    state.write(&write);
                }
                state.land(subject, None);
            }
            fault => {
                state.faults_left -= 1;
                Self::fault(state, fault);
            }
        }
    }

    fn fault(state: &mut State, fault: Action) {
        match fault {
            Action::Restart(worker) => state.workers[worker].at = At::Running,
            Action::Delay(number) => {
                let Wish { subject, write, .. } = state.coordinator.wanted.remove(number);
                state.land(subject, Some(write));
            }
            Action::LoseReply(number) => {
                let Wish { subject, write, .. } = state.coordinator.wanted.remove(number);
                state.write(&write);
                state.land(subject, Some(write));
            }
            // What the old one had under way is void: its term is over.
            Action::Replace => state.coordinator = Coordinator::new(&state.etcd),
            Action::LoseWatch => {
                state.coordinator.feed.clear();
                state.coordinator.machine.load(&state.etcd.snapshot());
                state.coordinator.decide();
            }
            _ => {}
        }
    }

    /// Whether everything ends from here, if nothing goes wrong any more.
    fn ends(&self, from: &State) -> bool {
        let mut state = from.clone();
        for _ in 0..STEPS_TO_THE_END {
            let mut actions = Vec::new();
            self.steps(&state, &mut actions);
            match actions.last() {
                Some(action) => self.step(&mut state, *action),
                None => break,
            }
        }
        state.broken.is_none() && self.is_finished(&state)
    }
}

/// No world here needs as many.
const STEPS_TO_THE_END: usize = 500;
/// One state in so many is followed to its end: chosen by its digest, so always the same ones.
pub const FOLLOWED: u64 = 64;

/// Whether a worker must wait until its last operation is deleted.
fn is_held(state: &State, worker: usize) -> bool {
    let operation = state.etcd.get(&operation_key(worker));
    operation
        .and_then(|kv| Operation::from_bytes(&kv.value).ok())
        .is_some_and(|operation| operation.done)
}

fn info_key(worker: usize) -> String {
    let (task, source) = (TASK.into(), World::source(worker).into());
    InfoKey { task, source }.encode()
}

fn operation_key(worker: usize) -> String {
    let (task, source) = (TASK.into(), World::source(worker).into());
    OperationKey { task, source }.encode()
}

impl State {
    /// Something for a subject has landed, or is still under way.
    fn land(&mut self, subject: Subject, late: Option<Write>) {
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
    fn write(&mut self, write: &Write) -> bool {
        let Some(batch) = self.etcd.commit(write) else {
            return false;
        };
        for event in &batch.events {
            let Event::Put(kv) = event else { continue };
            let told = |worker: usize| kv.key == operation_key(worker).as_bytes();
            let worker = (0..self.workers.len()).find(|worker| told(*worker));
            let Some(worker) = worker.map(|worker| &mut self.workers[worker]) else {
                continue;
            };
            // The first put after its info is the answer, whatever is in it.
            if let (At::Waiting, Ok(order)) = (&worker.at, Operation::from_bytes(&kv.value)) {
                worker.at = At::Told(order);
            }
        }
        if !batch.events.is_empty() {
            self.coordinator.feed.push(batch);
        }
        true
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut etcd = Etcd::default();
        let subtask = |worker| {
            let (source, task) = (Self::source(worker).into(), TASK.into());
            (SubtaskKey { source, task }.encode(), Vec::new(), 0)
        };
        let subtasks = Write {
            guards: Vec::new(),
            puts: (0..self.sources).map(subtask).collect(),
            deletes: Vec::new(),
        };
        etcd.commit(&subtasks);
        let worker = Worker {
            passed: 0,
            at: At::Running,
        };
        let coordinator = Coordinator::new(&etcd);
        let mut state = State {
            etcd,
            coordinator,
            workers: vec![worker; self.sources],
            executed: vec![Vec::new(); self.plan.len()],
            faults_left: self.faults,
            broken: None,
            digest: 0,
        };
        state.digest = digest(&state);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.steps(state, actions);
        self.faults(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action);
        state.digest = 0;
        state.digest = digest(&state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "invariant 3: executed once, skipped after that, after all have reported",
                |_, state: &State| state.broken.is_none(),
            ),
            Property::always(
                "invariant 4: what has nothing left to do is finished",
                |world: &Self, state: &State| {
                    let mut actions = Vec::new();
                    world.steps(state, &mut actions);
                    !actions.is_empty() || world.is_finished(state)
                },
            ),
            Property::always(
                "invariant 4: without further faults everything ends (looked at from one state in 64)",
                |world: &Self, state: &State| {
                    !state.digest.is_multiple_of(FOLLOWED) || world.ends(state)
                },
            ),
            Property::sometimes("everything ends", |world: &Self, state: &State| {
                world.is_finished(state)
            }),
        ]
    }
}
