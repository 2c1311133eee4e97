//! The pessimist's machine: locks derived from what etcd shows, and what they call for. Pure.
//!
//! ```text
//! feed ──▶ evidence (sources, infos, operations, unlock requests of each task)
//!              │ end of each revision
//!              ▼
//!          round of each touched lock ──▶ steps: operations to put, records to delete
//! ```
//!
//! What must stay true, whatever happens and whoever leads:
//! - an operation is put only for a source that waits for exactly this round, and guarded by the info it answers;
//! - a done operation is never overwritten by one of the same round;
//! - nobody skips before somebody has executed, and nobody executes before all members have reported,
//!   unless an operator asks for it;
//! - a mismatch or an undecodable value touches its own source and nothing else.

mod evidence;
mod round;
mod steps;
mod unlock;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Display;
use std::time::Duration;

use dm_keyspace::pessimism::{Info, InfoKey, Operation, OperationKey};
use dm_keyspace::{SubtaskKey, TaskName};
use dm_replica::{Decision, Machine, Plan, Proposal, Subject};
use dm_store::{Batch, Event, Guard, KeyRange, KeyValue, Revision, Snapshot};

pub use evidence::same_ddls;
pub use round::Phase;
pub use unlock::{UnlockOutcome, UnlockRefusal, UnlockRequest};
pub use view::{LockView, SourceState, SourceView};

use evidence::Task;
use round::Scene;
use unlock::{Order, Outcomes, Unlock};

/// Times that an operator may set.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an unlock waits for the owner, and then for the others.
    pub unlock_wait: Duration,
}

impl Default for Limits {
    /// As long as DM waits.
    fn default() -> Self {
        Self { unlock_wait: Duration::from_secs(10) }
    }
}

/// A record that cannot be used. It is skipped; everything else goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong with it; never its content.
    pub what: String,
    /// Revision at which it was seen.
    pub revision: Revision,
}

/// Totals since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Infos whose statements differ from their lock's (DM's error 38016), each counted once.
    pub rejected_infos: u64,
    /// Records that could not be used.
    pub faults: u64,
    /// Rounds that have ended.
    pub ended_rounds: u64,
}

/// Identity of a lock. The id alone would do, were it not for task names that look like one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LockKey {
    pub(crate) task: TaskName,
    pub(crate) id: String,
}

impl LockKey {
    fn subject(&self) -> Subject {
        Subject(format!("{}/{}", self.task, self.id))
    }
}

/// All pessimistic locks, as one replica sees them.
#[derive(Debug, Default)]
pub struct Pessimist {
    limits: Limits,
    tasks: BTreeMap<TaskName, Task>,
    faults: BTreeMap<String, Fault>,
    counts: Counts,
    outcomes: Outcomes,
    loaded: Revision,
    applied: Revision,
    /// What the timer said last.
    now: Option<Duration>,
    unlocking: BTreeSet<LockKey>,
    /// Changed since the last revision was settled.
    touched: BTreeSet<LockKey>,
    resourced: BTreeSet<TaskName>,
    /// Requests to unlock that went away in this revision.
    withdrawn: BTreeMap<LockKey, Unlock>,
    /// Changed since the last decision.
    dirty: BTreeSet<LockKey>,
}

impl Pessimist {
    /// A machine that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Records that cannot be used, by key.
    pub fn faults(&self) -> impl Iterator<Item = (&str, &Fault)> {
        self.faults.iter().map(|(key, fault)| (key.as_str(), fault))
    }

    /// Totals for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The revision that the fold has reached.
    #[must_use]
    pub fn applied(&self) -> Revision {
        self.applied
    }

    /// What removes every record of a task, and how many that are; none when there is none.
    #[must_use]
    pub fn plan_remove_meta(&self, task: &TaskName) -> Plan<usize> {
        let Some(known) = self.tasks.get(task) else { return Plan::Done(0) };
        let count = known.infos.len() + known.operations.len() + known.locks.values().filter(|l| l.unlock.is_some()).count();
        if count == 0 {
            return Plan::Done(0);
        }
        let proposal = Proposal::new("remove_meta")
            .delete(KeyRange::prefix(InfoKey::prefix_of_task(task)))
            .delete(KeyRange::prefix(OperationKey::prefix_of_task(task)))
            .delete(KeyRange::prefix(unlock::prefix_of_task(task)));
        Plan::Commit(proposal, count)
    }

    /// Begins an unlock. Answers the revision after which [`Pessimist::unlock_outcome`] finds how it ended.
    ///
    /// # Errors
    /// When there is nothing to unlock, or the owner to be does not wait.
    pub fn plan_unlock(&self, task: &TaskName, request: &UnlockRequest) -> Result<Plan<Revision>, UnlockRefusal> {
        let id = &request.id;
        let unknown = || UnlockRefusal::UnknownLock(id.clone());
        let lock = self.tasks.get(task).and_then(|task| task.locks.get(id)).ok_or_else(unknown)?;
        let round = lock.round.as_ref().ok_or_else(unknown)?;
        if round.phase == Phase::Resolved {
            return Err(UnlockRefusal::Resolved(id.clone()));
        }
        let owner = request.replace_owner.clone().unwrap_or_else(|| round.owner.clone());
        if !round.reported.contains(&owner) {
            return Err(UnlockRefusal::NotWaiting { owner, synced: round.reported.iter().cloned().collect() });
        }
        let order = Order { owner, force: request.force_remove, ddls: round.ddls.clone() };
        let key = unlock::encode(&LockKey { task: task.clone(), id: id.clone() });
        let seen = lock.unlock.as_ref().map(|unlock| unlock.revision);
        let guard = Guard::unchanged(key.clone(), seen);
        let proposal = Proposal::new("unlock").guard(guard).put(key, order.to_bytes()).trace(round.trace.clone());
        Ok(Plan::Commit(proposal, self.applied))
    }

    /// How the unlock ended that was planned at revision `since`; none while it goes on.
    #[must_use]
    pub fn unlock_outcome(&self, task: &TaskName, id: &str, since: Revision) -> Option<UnlockOutcome> {
        self.outcomes.after(&LockKey { task: task.clone(), id: id.to_owned() }, since).cloned()
    }

    /// Whether the task has a subtask now. An unlock of a lock whose task is stopped is always forced.
    #[must_use]
    pub fn is_running(&self, task: &TaskName) -> bool {
        self.tasks.get(task).is_some_and(Task::is_running)
    }

    fn fold(&mut self, event: &Event, is_load: bool) {
        let key = event.key();
        if key.starts_with(InfoKey::PREFIX.as_bytes()) {
            self.fold_info(event);
        } else if key.starts_with(OperationKey::PREFIX.as_bytes()) {
            self.fold_operation(event, is_load);
        } else if key.starts_with(SubtaskKey::PREFIX.as_bytes()) {
            self.fold_subtask(event);
        } else if key.starts_with(unlock::PREFIX.as_bytes()) {
            self.fold_unlock(event);
        }
    }

    fn fold_info(&mut self, event: &Event) {
        let Some(key) = self.readable(event, InfoKey::parse(event.key())) else { return };
        let info = value(event).and_then(|kv| {
            let info = self.readable(event, Info::from_bytes(&kv.value))?;
            let is_own = info.task == key.task && info.source == key.source;
            let info = self.readable(event, is_own.then_some(info).ok_or("the value names another task or source than the key"))?;
            Some((info, kv.mod_revision))
        });
        let loaded = self.loaded;
        let touched = self.task(&key.task).set_info(&key.source, info, loaded);
        self.touch(&key.task, touched);
    }

    fn fold_operation(&mut self, event: &Event, is_load: bool) {
        let Some(key) = self.readable(event, OperationKey::parse(event.key())) else { return };
        let operation = value(event).map(|kv| {
            let operation = self.readable(event, Operation::from_bytes(&kv.value));
            let own = operation.and_then(|operation| {
                let is_own = operation.task == key.task && operation.source == key.source;
                self.readable(event, is_own.then_some(operation).ok_or("the value names another task or source than the key"))
            });
            (own, kv.mod_revision)
        });
        let touched = self.task(&key.task).set_operation(&key.source, operation, is_load);
        self.touch(&key.task, touched);
    }

    fn fold_subtask(&mut self, event: &Event) {
        let Some(key) = self.readable(event, SubtaskKey::parse(event.key())) else { return };
        let has_subtask = value(event).is_some();
        if self.task(&key.task).set_source(&key.source, has_subtask, event.revision()) {
            self.resourced.insert(key.task);
        }
    }

    fn fold_unlock(&mut self, event: &Event) {
        let Some(key) = self.readable(event, unlock::parse(event.key()).ok_or("the key names no lock")) else { return };
        let order = value(event).and_then(|kv| Some((self.readable(event, Order::from_bytes(&kv.value))?, kv.mod_revision)));
        let lock = self.task(&key.task).locks.entry(key.id.clone()).or_default();
        match order {
            Some((order, revision)) => {
                lock.unlock = Some(Unlock::new(order, revision));
                self.unlocking.insert(key.clone());
            }
            None => {
                let unlock = lock.unlock.take();
                self.unlocking.remove(&key);
                self.withdrawn.extend(unlock.map(|unlock| (key.clone(), unlock)));
            }
        }
        self.touched.insert(key);
    }

    /// The outcome of decoding, or none and a fault in the state.
    fn readable<T, E: Display>(&mut self, event: &Event, decoded: Result<T, E>) -> Option<T> {
        let key = String::from_utf8_lossy(event.key()).into_owned();
        match decoded {
            Ok(decoded) => {
                self.faults.remove(&key);
                Some(decoded)
            }
            Err(e) if value(event).is_some() => {
                self.counts.faults += 1;
                tracing::warn!(key, error = %e, "record skipped");
                self.faults.insert(key, Fault { what: e.to_string(), revision: event.revision() });
                None
            }
            Err(_) => {
                self.faults.remove(&key);
                None
            }
        }
    }

    fn task(&mut self, name: &TaskName) -> &mut Task {
        self.tasks.entry(name.clone()).or_default()
    }

    fn touch(&mut self, task: &TaskName, ids: Vec<String>) {
        self.touched.extend(ids.into_iter().map(|id| LockKey { task: task.clone(), id }));
    }

    /// The end of a revision: what it touched is derived anew.
    fn settle(&mut self, revision: Revision) {
        for name in std::mem::take(&mut self.resourced) {
            let Some(task) = self.tasks.get_mut(&name) else { continue };
            task.sources_changed();
            let ids = task.locks.keys().cloned().collect();
            self.touch(&name, ids);
        }
        let mut tasks = BTreeSet::new();
        for key in std::mem::take(&mut self.touched) {
            self.settle_lock(&key, revision);
            tasks.insert(key.task.clone());
            self.dirty.insert(key);
        }
        for task in tasks {
            if self.tasks.get(&task).is_some_and(Task::is_empty) {
                self.tasks.remove(&task);
            }
        }
    }

    fn settle_lock(&mut self, key: &LockKey, revision: Revision) {
        let withdrawn = self.withdrawn.remove(key);
        let now = self.now.unwrap_or_default();
        let Some(task) = self.tasks.get_mut(&key.task) else { return };
        let Some(lock) = task.locks.get_mut(&key.id) else { return };
        let (previous, mut unlock) = (lock.round.take(), lock.unlock.take());
        let unfinished = withdrawn.as_ref().map(|unlock| unlock.unfinished(previous.as_ref())).unwrap_or_default();
        let had_begun = previous.as_ref().is_some_and(|round| round.has_begun);
        let Some(scene) = Scene::of(task, &key.id) else { return };
        let mut round = scene.next_round(previous, now);
        if had_begun && round.as_ref().is_none_or(|round| !round.has_begun) {
            self.counts.ended_rounds += 1;
        }
        if let Some(round) = &mut round {
            let mismatched = scene.mismatched(round);
            for (source, at) in &mismatched {
                if round.rejected.get(source) != Some(at) {
                    self.counts.rejected_infos += 1;
                    tracing::warn!(lock = key.id, %source, "statements differ from those of the lock");
                }
            }
            round.rejected = mismatched;
        }
        if let Some(unlock) = &mut unlock {
            unlock.advance(&scene, round.as_ref(), self.now, self.limits.unlock_wait);
        }
        if let Some(unlock) = withdrawn {
            let is_kept = unlock.step == unlock::Step::GivingUp || scene.is_begun(&unlock.order.ddls);
            let outcome = match is_kept {
                true => UnlockOutcome::OwnerSilent(unlock.order.owner),
                false => UnlockOutcome::Removed { unfinished },
            };
            self.outcomes.add(key.clone(), revision, outcome);
        }
        if let Some(lock) = task.locks.get_mut(&key.id) {
            (lock.round, lock.unlock) = (round, unlock);
            if lock.is_gone() {
                task.locks.remove(&key.id);
            }
        }
    }

    fn decision(&self, key: &LockKey) -> Decision {
        let scene = self.tasks.get(&key.task).and_then(|task| Scene::of(task, &key.id));
        let proposals = scene.map(|scene| steps::steps(&scene, key, self.loaded)).unwrap_or_default();
        Decision { subject: key.subject(), proposals }
    }
}

impl Machine for Pessimist {
    type Input = Infallible;

    fn load(&mut self, snapshot: &Snapshot) {
        // What was wanted before is decided again, also where nothing is left of it.
        let known = self.tasks.iter().flat_map(|(task, known)| known.locks.keys().map(|id| LockKey { task: task.clone(), id: id.clone() }));
        self.dirty.extend(known.collect::<Vec<_>>());
        self.tasks.clear();
        self.faults.clear();
        self.unlocking.clear();
        (self.loaded, self.applied) = (snapshot.revision, snapshot.revision);
        for entry in &snapshot.entries {
            self.fold(&Event::Put(entry.clone()), true);
        }
        self.settle(snapshot.revision);
    }

    fn apply(&mut self, batch: &Batch) {
        // What one transaction wrote is seen together: half of a stop-task would look like a smaller task.
        for revision in batch.events.chunk_by(|a, b| a.revision() == b.revision()) {
            for event in revision {
                self.fold(event, false);
            }
            if let Some(last) = revision.last() {
                self.applied = last.revision();
                self.settle(last.revision());
            }
        }
        self.applied = self.applied.max(batch.revision);
    }

    fn input(&mut self, input: Infallible) {
        match input {}
    }

    fn tick(&mut self, now: Duration) {
        self.now = Some(now);
        for key in self.unlocking.clone() {
            let Some(task) = self.tasks.get_mut(&key.task) else { continue };
            let Some(mut unlock) = task.locks.get_mut(&key.id).and_then(|lock| lock.unlock.take()) else { continue };
            let Some(scene) = Scene::of(task, &key.id) else { continue };
            let has_changed = unlock.advance(&scene, scene.lock.round.as_ref(), self.now, self.limits.unlock_wait);
            if let Some(lock) = task.locks.get_mut(&key.id) {
                lock.unlock = Some(unlock);
            }
            if has_changed {
                self.dirty.insert(key);
            }
        }
    }

    fn decide(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.dirty).iter().map(|key| self.decision(key)).collect()
    }
}

fn value(event: &Event) -> Option<&KeyValue> {
    match event {
        Event::Put(kv) => Some(kv),
        Event::Delete { .. } => None,
    }
}
