//! The optimist's machine: locks derived from what etcd shows, and what they call for. Pure.
//!
//! ```text
//! feed ──▶ evidence (source tables, subtasks, infos, operations, dropped columns of each task)
//!              │ end of each revision
//!              ▼
//!          each touched lock: who takes part, what is answered already, what each new info gets
//!              │
//!              ▼
//!          steps: answers, redirects, marks of dropped columns, records to delete
//! ```
//!
//! What must stay true, whatever happens and whoever leads:
//! - each info gets one answer, guarded by the revision that was judged; an answer that is in etcd is taken over and never given again;
//! - redirects, marks and the answer of one judgement are one transaction, or as many as etcd's limit makes it: marks first, the
//!   answer last, and repeatable;
//! - a table is not told to go back before it has been told to wait;
//! - folding never fails: a record that does not decode becomes a named fault, and still counts as a record of its task.

mod answers;
mod awaited;
mod evidence;
mod fold;
mod judge;
mod lock;
mod marks;
mod owing;
mod removal;
mod settle;
mod shapes;
mod steps;
mod unlock;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_keyspace::TaskName;
use dm_keyspace::optimism::{DroppedColumnKey, InfoKey, OperationKey, SourceTablesKey};
use dm_replica::{Decision, Machine, Plan, Proposal, Subject};
use dm_store::{Batch, Event, KeyRange, Revision, Snapshot};

pub use awaited::{Attempt, Found, Wanted};
pub use evidence::TableId;
pub use unlock::{UnlockRefusal, UnlockRequest};
pub use view::{LockStates, LockView, Phase, TableState, TableView};

use awaited::Awaited;
use evidence::Task;
use settle::Touch;
use steps::Room;

/// A record that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong with it; never its content.
    pub what: String,
    /// Revision at which it was seen.
    pub revision: Revision,
}

/// How many records there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Groups of tables that are under way.
    pub locks: usize,
    /// Schema changes that tables have met.
    pub infos: usize,
    /// Answers to them.
    pub operations: usize,
    /// Lists of the tables of a source.
    pub source_tables: usize,
    /// Columns that may not be added again yet.
    pub dropped_columns: usize,
    /// Locks that wait until schemas have been read from the downstream's checkpoint.
    pub waiting_locks: usize,
    /// Records that could not be used, since the start of the process.
    pub faults_seen: u64,
}

/// What has gone wrong in a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// Infos that were judged to be in error, a mere conflict apart.
    pub infos: u64,
    /// Resolved locks that were not removed, because something new was reported first.
    pub removals: u64,
}

/// Identity of a lock. The id alone would do, were it not for task names that look like one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LockKey {
    pub(crate) task: TaskName,
    pub(crate) id: String,
}

/// All optimistic locks, as one replica sees them.
#[derive(Debug, Default)]
pub struct Optimist {
    awaited: Awaited,
    tasks: BTreeMap<TaskName, Task>,
    faults: BTreeMap<String, Fault>,
    faults_seen: u64,
    /// What has gone wrong in each task.
    errors: BTreeMap<TaskName, Errors>,
    /// How much one proposal may ask for.
    room: Room,
    /// Changed since the last revision was settled.
    touched: BTreeMap<LockKey, Touch>,
    /// Changed since the last decision.
    dirty: BTreeSet<LockKey>,
    /// Gone since the last decision, though there may be another one of the same id.
    ended: BTreeSet<LockKey>,
    /// Judgements whose operations were asked for, and may still be on their way.
    asked: BTreeMap<LockKey, BTreeSet<Revision>>,
    applied: Revision,
    /// What the timer said last.
    now: Duration,
    /// What each subject called for last, for comparison.
    #[cfg(test)]
    standing: BTreeMap<String, String>,
}

impl Optimist {
    /// Records that cannot be used, by key.
    pub fn faults(&self) -> impl Iterator<Item = (&str, &Fault)> {
        self.faults.iter().map(|(key, fault)| (key.as_str(), fault))
    }

    /// The same machine for an etcd that takes so many operations in one transaction.
    #[must_use]
    pub fn with_max_txn_ops(self, max_txn_ops: usize) -> Self {
        Self {
            room: Room::of(max_txn_ops),
            ..self
        }
    }

    /// What has gone wrong in each task since the start of the process.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<TaskName, Errors> {
        &self.errors
    }

    /// Totals over all tasks.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let start = Counts {
            faults_seen: self.faults_seen,
            waiting_locks: self.awaited.locks.len(),
            ..Counts::default()
        };
        self.tasks.values().fold(start, |sum, task| Counts {
            locks: sum.locks + task.locks.len(),
            infos: sum.infos + task.infos.len(),
            operations: sum.operations + task.operations.len(),
            source_tables: sum.source_tables + task.lists(),
            dropped_columns: sum.dropped_columns
                + task.marks.values().map(BTreeMap::len).sum::<usize>(),
            ..sum
        })
    }

    /// What removes every record of a task, and how many that are.
    #[must_use]
    pub fn plan_remove_meta(&self, task: &TaskName) -> Plan<usize> {
        let Some(records) = self.tasks.get(task).filter(|task| task.records() > 0) else {
            return Plan::Done(0);
        };
        let whole_task = Proposal::new("remove_meta")
            .delete(KeyRange::prefix(InfoKey::prefix_of_task(task)))
            .delete(KeyRange::prefix(OperationKey::prefix_of_task(task)))
            .delete(KeyRange::prefix(SourceTablesKey::prefix_of_task(task)))
            .delete(KeyRange::prefix(removal::prefix_of_task(task)));
        let marks = self.marks_of(task, records).into_iter();
        let all = marks.fold(whole_task, Proposal::delete);
        Plan::Commit(all, records.records())
    }

    /// Where the dropped columns of a task lie. They lie by lock, and ids of locks begin with their task: one range, unless
    /// there is a task whose name begins like an id of this one's.
    fn marks_of(&self, name: &TaskName, task: &Task) -> Vec<KeyRange> {
        let begin = format!("{name}-`");
        let is_alone = !self.tasks.iter().any(|(other, records)| {
            other.as_str().starts_with(&begin)
                && (!records.marks.is_empty() || !records.unreadable.is_empty())
        });
        if is_alone {
            let prefix = DroppedColumnKey::prefix_of_lock(&begin);
            return vec![KeyRange::prefix(prefix.trim_end_matches('/'))];
        }
        let unreadable = task.unreadable.iter();
        let unreadable = unreadable.filter_map(|key| {
            DroppedColumnKey::parse(key.as_bytes())
                .ok()
                .map(|key| key.lock)
        });
        let locks: BTreeSet<String> = task.marks.keys().cloned().chain(unreadable).collect();
        let prefixes = locks
            .iter()
            .map(|lock| DroppedColumnKey::prefix_of_lock(lock));
        prefixes.map(KeyRange::prefix).collect()
    }

    /// What a lock calls for. Each judgement's operations are a subject of their own: they are put without regard to others of the
    /// lock that are on their way, and cost nothing when something else of the lock changes.
    fn decide_on(&mut self, key: &LockKey, decisions: &mut Vec<Decision>) {
        let task = self.tasks.get(&key.task);
        decisions.push(Decision {
            subject: Subject(format!("{}/{}", key.task, key.id)),
            proposals: task
                .map(|task| steps::steps(task, key, self.room))
                .unwrap_or_default(),
        });
        for group in self.changed_groups(key) {
            let task = self.tasks.get(&key.task);
            let proposals = task
                .map(|task| steps::answers(task, key, group, self.room))
                .unwrap_or_default();
            let asked = self.asked.entry(key.clone()).or_default();
            let is_news = match proposals.is_empty() {
                true => asked.remove(&group),
                false => {
                    asked.insert(group);
                    true
                }
            };
            if is_news {
                decisions.push(Decision {
                    subject: Subject(format!("{}/{}/{group}", key.task, key.id)),
                    proposals,
                });
            }
        }
        if self.asked.get(key).is_some_and(BTreeSet::is_empty) {
            self.asked.remove(key);
        }
    }

    fn changed_groups(&mut self, key: &LockKey) -> BTreeSet<Revision> {
        let task = self.tasks.get_mut(&key.task);
        let lock = task.and_then(|task| task.locks.get_mut(&key.id));
        let is_anew = self.ended.remove(key) || lock.is_none();
        let mut groups = lock.map(|l| l.owed.take_changed()).unwrap_or_default();
        if is_anew {
            groups.extend(self.asked.get(key).into_iter().flatten());
        }
        groups
    }
}

impl Machine for Optimist {
    type Input = Attempt;

    fn load(&mut self, snapshot: &Snapshot) {
        // What was wanted before is decided again, also where nothing is left of it.
        let known = self.tasks.iter().flat_map(|(task, known)| {
            known.locks.keys().map(|id| LockKey {
                task: task.clone(),
                id: id.clone(),
            })
        });
        let known: BTreeSet<LockKey> = known.chain(self.asked.keys().cloned()).collect();
        self.ended.extend(known.iter().cloned());
        self.dirty.extend(known);
        self.tasks.clear();
        self.awaited.locks.clear();
        self.faults.clear();
        self.touched.clear();
        for entry in &snapshot.entries {
            self.fold(&Event::Put(entry.clone()));
        }
        for touch in self.touched.values_mut() {
            touch.is_load = true;
        }
        self.applied = snapshot.revision;
        self.settle(snapshot.revision);
    }

    fn apply(&mut self, batch: &Batch) {
        // What one transaction wrote is seen together.
        for revision in batch.events.chunk_by(|a, b| a.revision() == b.revision()) {
            for event in revision {
                self.fold(event);
            }
            if let Some(last) = revision.last() {
                self.applied = last.revision();
                self.settle(last.revision());
            }
        }
        self.applied = self.applied.max(batch.revision);
    }

    fn input(&mut self, attempt: Attempt) {
        self.attempted(attempt);
    }

    fn tick(&mut self, now: Duration) {
        self.now = now;
        self.stop_waiting();
    }

    fn decide(&mut self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            self.decide_on(&key, &mut decisions);
        }
        #[cfg(test)]
        for decision in &decisions {
            let wanted = format!("{:?}", decision.proposals);
            self.standing.insert(decision.subject.to_string(), wanted);
        }
        #[cfg(test)]
        assert!(
            self.standing_is_right(),
            "what was asked for is not what is owed: {:?}",
            self.standing
        );
        decisions
    }
}

#[cfg(test)]
impl Optimist {
    /// How much was looked at so far for the locks that are there.
    fn work(&self) -> u64 {
        let locks = self.tasks.values().flat_map(|task| task.locks.values());
        locks.map(lock::Lock::work).sum()
    }

    /// Whether what was asked for of each judgement, and not withdrawn, is what looking at everything gives.
    fn standing_is_right(&self) -> bool {
        let mut owed = BTreeMap::new();
        for (name, task) in &self.tasks {
            for (id, lock) in &task.locks {
                let key = LockKey {
                    task: name.clone(),
                    id: id.clone(),
                };
                for group in lock.owed.groups() {
                    let proposals = steps::answers(task, &key, group, self.room);
                    owed.insert(format!("{name}/{id}/{group}"), format!("{proposals:?}"));
                }
            }
        }
        let of_groups = |subject: &str| !subject.ends_with(['`', '/']);
        let mut standing = self.standing.clone();
        standing.retain(|subject, wanted| of_groups(subject) && wanted != "[]");
        owed.retain(|_, wanted| wanted != "[]");
        standing == owed
    }

    /// Whether all that is kept up to date is what looking at everything gives.
    fn is_as_derived_anew(&self) -> bool {
        let none = evidence::Marks::new();
        self.tasks.values().all(|task| {
            let mut locks = task.locks.values();
            task.indexes_are_right()
                && locks.all(|lock| {
                    let marks = task.marks.get(&lock.id).unwrap_or(&none);
                    lock.is_as_derived_anew() && lock.columns.is_as_derived_anew(marks)
                })
        })
    }
}

#[cfg(test)]
mod tests;
