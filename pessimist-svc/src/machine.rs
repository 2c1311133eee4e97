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

mod crossing;
mod evidence;
mod fold;
mod lock;
mod news;
mod own;
mod reasons;
mod record;
mod requests;
mod round;
mod steps;
mod tally;
mod touch;
mod unlock;
mod view;
mod workers;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use dm_keyspace::{SourceId, TaskName};
use dm_replica::{Decision, Machine, Subject};
use dm_store::{Batch, Event, Revision, Snapshot};

pub use crossing::Crossing;
pub use evidence::same_ddls;
pub use news::{Seen, TaskLocks};
pub use round::Phase;
pub use unlock::{OwnerState, UnlockOutcome, UnlockRefusal, UnlockRequest};
pub use view::{LockStates, LockView, SourceState, SourceView};

use evidence::Task;
use round::Scene;
use steps::Writer;
use touch::Touch;
use unlock::{Outcomes, Withdrawn};
use workers::Workers;

/// What an operator may set.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an unlock waits for the owner, and then for the others.
    pub unlock_wait: Duration,
    /// Operations that etcd accepts in one transaction.
    pub max_operations: usize,
    /// When the process started, as time since the beginning of 1970: ages are told across processes by it.
    pub started: Duration,
}

impl Default for Limits {
    /// As long as DM waits, and etcd's own limit.
    fn default() -> Self {
        Self {
            unlock_wait: Duration::from_secs(10),
            max_operations: 128,
            started: Duration::ZERO,
        }
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

/// Errors of one task, under the names that DM gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskErrors {
    /// Infos whose statements differ from their lock's.
    pub rejected_infos: u64,
    /// Infos that could not be read.
    pub unreadable_infos: u64,
}

impl TaskErrors {
    /// Each kind of error with its name in DM's `dm_master_shard_ddl_error`.
    #[must_use]
    pub fn by_type(self) -> [(&'static str, u64); 2] {
        [
            ("InfoPut - SyncLockError", self.rejected_infos),
            ("InfoPut - HandleLockError", self.unreadable_infos),
        ]
    }
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

    fn subject_of(&self, source: &SourceId) -> Subject {
        Subject(format!("{}/{}@{source}", self.task, self.id))
    }
}

/// All pessimistic locks, as one replica sees them.
#[derive(Clone, Debug, Default)]
pub struct Pessimist {
    limits: Limits,
    tasks: BTreeMap<TaskName, Task>,
    workers: Workers,
    faults: BTreeMap<String, Fault>,
    counts: Counts,
    /// Infos that were rejected or could not be read, by task, since the start of the process.
    errors: BTreeMap<TaskName, TaskErrors>,
    /// How often anything has changed that is shown.
    changes: u64,
    outcomes: Outcomes,
    loaded: Revision,
    applied: Revision,
    /// What the timer said last.
    now: Option<Duration>,
    unlocking: BTreeSet<LockKey>,
    /// Changed since the last revision was settled.
    touched: BTreeMap<LockKey, Touch>,
    resourced: BTreeSet<TaskName>,
    /// Requests to unlock that went away in this revision.
    withdrawn: BTreeMap<LockKey, Withdrawn>,
    /// Statements of the locks that were known before a snapshot, and since when they were.
    known_since: BTreeMap<LockKey, (Vec<String>, Duration)>,
    /// Changed since the last decision.
    dirty: BTreeMap<LockKey, Touch>,
    /// Sources that something was decided for which they have not been seen to be told.
    ordered: BTreeMap<LockKey, BTreeSet<SourceId>>,
}

impl Pessimist {
    /// A machine that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
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

    /// Errors by task, for metrics.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<TaskName, TaskErrors> {
        &self.errors
    }

    /// The revision that the fold has reached.
    #[must_use]
    pub fn applied(&self) -> Revision {
        self.applied
    }

    /// Whether the task has a subtask now. An unlock of a lock whose task is stopped is always forced.
    #[must_use]
    pub fn is_running(&self, task: &TaskName) -> bool {
        self.tasks.get(task).is_some_and(Task::is_running)
    }

    /// The time since the beginning of 1970; none until the timer has told the time.
    fn clock(&self) -> Option<Duration> {
        self.now.map(|now| self.limits.started + now)
    }

    /// As [`Self::clock`], or when the process started.
    fn time(&self) -> Duration {
        self.clock().unwrap_or(self.limits.started)
    }

    /// Keeps what a snapshot does not show: how far unlocks are, how they have ended meanwhile, how old locks are.
    fn keep(&mut self, before: BTreeMap<TaskName, Task>) {
        for (task, known) in before {
            for (id, lock) in known.locks {
                let key = LockKey {
                    task: task.clone(),
                    id,
                };
                self.dirty.insert(key.clone(), Touch::Whole);
                if let Some(unlock) = lock.unlock {
                    self.keep_unlock(&key, Withdrawn::new(unlock, lock.round.as_ref()));
                }
                if let Some(round) = lock.round {
                    self.known_since.insert(key, (round.ddls, round.first_seen));
                }
            }
        }
    }

    fn keep_unlock(&mut self, key: &LockKey, before: Withdrawn) {
        let task = self.tasks.entry(key.task.clone()).or_default();
        let lock = task.locks.entry(key.id.clone()).or_default();
        match &mut lock.unlock {
            Some(now) if now.revision == before.unlock.revision => *now = before.unlock,
            Some(_) => {}
            None => {
                self.withdrawn.insert(key.clone(), before);
                self.touched.insert(key.clone(), Touch::Whole);
            }
        }
    }

    /// What the lock calls for, and which sources are to skip: a subject each, since many are told at once and each of them
    /// moves on by itself. Who is to execute is the lock's own matter: the loop never has two orders of one subject under way.
    fn decide_lock(&mut self, key: &LockKey, due: Touch, decisions: &mut Vec<Decision>) {
        let scene = self
            .tasks
            .get(&key.task)
            .and_then(|task| Scene::of(task, &key.id));
        let writer = scene
            .as_ref()
            .map(|scene| Writer::new(scene, key, self.loaded, self.limits.max_operations));
        decisions.push(Decision {
            subject: key.subject(),
            proposals: writer.as_ref().map(Writer::of_lock).unwrap_or_default(),
        });
        let mut ordered = self.ordered.remove(key).unwrap_or_default();
        let concerned = match due {
            Touch::Sources(sources) => sources,
            Touch::Whole => {
                let told = writer.as_ref().map(Writer::skipping).unwrap_or_default();
                told.union(&ordered).cloned().collect()
            }
        };
        for source in concerned {
            let order = writer.as_ref().and_then(|writer| writer.of_source(&source));
            let was_ordered = match order {
                Some(_) => !ordered.insert(source.clone()),
                None => ordered.remove(&source),
            };
            if was_ordered || order.is_some() {
                decisions.push(Decision {
                    subject: key.subject_of(&source),
                    proposals: order.into_iter().collect(),
                });
            }
        }
        if !ordered.is_empty() {
            self.ordered.insert(key.clone(), ordered);
        }
    }
}

impl Machine for Pessimist {
    type Input = Infallible;

    fn load(&mut self, snapshot: &Snapshot) {
        let before = std::mem::take(&mut self.tasks);
        self.faults.clear();
        self.workers = Workers::default();
        self.unlocking.clear();
        (self.loaded, self.applied) = (snapshot.revision, snapshot.revision);
        for entry in &snapshot.entries {
            self.fold(&Event::Put(entry.clone()), true);
        }
        // What was wanted before is decided again, also where nothing is left of it.
        self.keep(before);
        self.settle(snapshot.revision);
        self.known_since.clear();
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
        let clock = self.clock();
        for key in self.unlocking.clone() {
            let Some(task) = self.tasks.get_mut(&key.task) else {
                continue;
            };
            let Some(mut unlock) = task
                .locks
                .get_mut(&key.id)
                .and_then(|lock| lock.unlock.take())
            else {
                continue;
            };
            let Some(lock) = task.locks.get_mut(&key.id) else {
                continue;
            };
            let has_changed = unlock.advance(lock.round.as_ref(), clock, self.limits.unlock_wait);
            lock.unlock = Some(unlock);
            if has_changed {
                self.has_changed(&key.task);
                self.dirty.insert(key, Touch::Whole);
            }
        }
    }

    fn decide(&mut self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for (key, due) in std::mem::take(&mut self.dirty) {
            self.decide_lock(&key, due, &mut decisions);
        }
        decisions
    }
}
