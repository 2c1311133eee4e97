//! The scheduler's pure part: sources, workers, bounds, tasks and stages, folded from the feed, and what they call for.
//!
//! One [`dm_replica::Subject`] per source. What a source calls for follows from its state alone:
//!
//! | state of the source | proposal |
//! |---|---|
//! | a worker is bound, alive, and has not restarted since | none |
//! | a worker is bound, alive, and has restarted since | put the same bound again |
//! | no living worker is bound, one is to be had | in one transaction: delete the dead bounds, put the new one |
//! | no living worker is bound, none is to be had | delete the dead bounds; wait |
//! | several living workers are bound | keep the first, delete the others |
//! | the bound worker is told to pull another source's relay log | as if it were dead |
//! | `enable-relay`, and workers told to relay by name | delete what tells them |
//! | there is no configuration | delete every bound |
//!
//! So a source has at most one worker as of any revision that a leader has decided on, and there is no bound
//! to a worker that has been seen offline since. Nothing here does I/O, knows the time, or draws lots.

mod decide;
mod fold;
mod intent;
mod moves;
mod orphans;
pub mod placement;
mod query;
pub mod record;
pub mod request;
mod roll;
pub mod starts;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use dm_keyspace::{Role, SourceId, TaskName, WorkerName};
use dm_replica::{Decision, Line, Machine};
use dm_store::{Batch, Event, Snapshot};

pub use fold::Fault;
pub use orphans::{Orphan, OrphanKind};
pub use query::{BoundWorker, WorkerRow};
pub use roll::{Counts, Mark};

use orphans::Orphans;
use placement::Placement;
use record::{Source, Subtask, Worker};
use roll::Roll;
use starts::{OperationId, OperationSeen};

/// The state of the scheduler, as of what the feed has brought.
#[derive(Debug)]
pub struct Scheduler {
    sources: BTreeMap<SourceId, Source>,
    workers: BTreeMap<WorkerName, Worker>,
    /// Which sources have records of a task.
    tasks: BTreeMap<TaskName, BTreeSet<SourceId>>,
    pessimists: Line,
    optimists: Line,
    /// Who leads this role: an intent of a leader that is gone is undone.
    schedulers: Line,
    faults: BTreeMap<Bytes, Fault>,
    placement: Placement,
    /// Records that refer to what is gone.
    orphans: Orphans,
    /// What is counted.
    roll: Roll,
    /// Workers that are told to pull a relay log.
    relaying: BTreeSet<WorkerName>,
    /// Operations that take several transactions, see [`starts`].
    operations: BTreeMap<OperationId, OperationSeen>,
    touched_sources: BTreeSet<SourceId>,
    touched_workers: BTreeSet<WorkerName>,
    /// Operations that may call for something.
    touched_operations: BTreeSet<OperationId>,
    /// Workers with a bound key that cannot be read, as last decided.
    unreadable_bounds: BTreeSet<WorkerName>,
    /// The last of the waiting sources that the timer has looked at.
    looked_at: Option<SourceId>,
    /// When the timer looks again.
    next_look: Duration,
}

/// How often the timer looks at some of the sources that wait.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            sources: BTreeMap::new(),
            workers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            pessimists: Line::new(Role::Pessimist),
            optimists: Line::new(Role::Optimist),
            schedulers: Line::new(Role::Scheduler),
            faults: BTreeMap::new(),
            placement: Placement::default(),
            orphans: Orphans::default(),
            roll: Roll::default(),
            relaying: BTreeSet::new(),
            operations: BTreeMap::new(),
            touched_sources: BTreeSet::new(),
            touched_workers: BTreeSet::new(),
            touched_operations: BTreeSet::new(),
            unreadable_bounds: BTreeSet::new(),
            looked_at: None,
            next_look: Duration::ZERO,
        }
    }
}

impl Machine for Scheduler {
    type Input = Infallible;

    fn load(&mut self, snapshot: &Snapshot) {
        let before = std::mem::take(self);
        self.roll = Roll::after(&before.roll);
        // A snapshot has no history: when a worker started is carried over from what was folded before.
        for (name, worker) in before.workers {
            if worker.alive.is_some() {
                self.workers.insert(
                    name,
                    Worker {
                        alive: worker.alive,
                        ..Worker::default()
                    },
                );
            }
        }
        let remembered: BTreeSet<WorkerName> = self.workers.keys().cloned().collect();
        for entry in &snapshot.entries {
            self.put(entry);
        }
        self.forget_the_dead(&remembered, snapshot);
        // What was decided on before and is gone now has to be decided on again.
        self.touched_sources.extend(before.sources.into_keys());
        self.touched_operations
            .extend(before.operations.into_keys());
        self.touched_workers
            .extend(before.unreadable_bounds.iter().cloned());
        self.unreadable_bounds = before.unreadable_bounds;
        self.pessimists.load(snapshot);
        self.optimists.load(snapshot);
        self.schedulers.load(snapshot);
    }

    fn apply(&mut self, batch: &Batch) {
        for event in &batch.events {
            match event {
                Event::Put(kv) => self.put(kv),
                Event::Delete { key, .. } => self.delete(key),
            }
        }
        self.pessimists.apply(batch);
        self.optimists.apply(batch);
        let led = self.term();
        self.schedulers.apply(batch);
        if self.term() != led {
            let moving = self.sources.iter().filter(|(_, s)| s.intent.is_some());
            let moving: Vec<SourceId> = moving.map(|(id, _)| id.clone()).collect();
            self.touched_sources.extend(moving);
            self.touched_operations
                .extend(self.operations.keys().cloned());
        }
    }

    fn input(&mut self, input: Infallible) {
        match input {}
    }

    /// Looks again at some of the sources that wait for a worker, in turn: what waits is not forgotten, whatever a fold
    /// may have missed.
    fn tick(&mut self, now: Duration) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        let next: Vec<SourceId> = self.placement.waiting_after(self.looked_at.as_ref());
        self.looked_at = next.last().cloned();
        self.touched_sources.extend(next);
    }

    fn decide(&mut self) -> Vec<Decision> {
        self.decide_touched()
    }
}

impl Scheduler {
    /// Records that cannot be used, by key.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.values()
    }

    /// Records that can be read and refer to what is gone, by source.
    pub fn orphans(&self) -> impl Iterator<Item = &Orphan> {
        self.orphans.iter()
    }

    /// How many of these there are of each kind; kinds that had some are told at zero.
    pub fn orphan_counts(&self) -> impl Iterator<Item = (OrphanKind, usize)> {
        self.orphans.counts()
    }

    /// The lines of the roles that the scheduler calls, for their leaders' addresses.
    #[must_use]
    pub fn line(&self, role: Role) -> Option<&Line> {
        match role {
            Role::Pessimist => Some(&self.pessimists),
            Role::Optimist => Some(&self.optimists),
            Role::Scheduler => Some(&self.schedulers),
            Role::Election => None,
        }
    }

    /// The revision that the present leader of this role came with; it differs from that of every other leader.
    fn term(&self) -> Option<dm_store::Revision> {
        self.schedulers.term().map(|term| term.create_revision)
    }

    /// Drops the remembered keepalives that the snapshot does not have.
    fn forget_the_dead(&mut self, remembered: &BTreeSet<WorkerName>, snapshot: &Snapshot) {
        for name in remembered {
            let key = dm_keyspace::KeepAliveKey {
                worker: name.clone(),
            }
            .encode();
            let found = snapshot
                .entries
                .binary_search_by(|kv| kv.key.as_ref().cmp(key.as_bytes()));
            if found.is_err() {
                self.worker(name.clone()).alive = None;
            }
        }
    }

    /// A worker's records, to be changed.
    fn worker(&mut self, name: WorkerName) -> &mut Worker {
        self.touched_workers.insert(name.clone());
        self.workers.entry(name).or_default()
    }

    /// A source's records, to be changed.
    fn source(&mut self, id: SourceId) -> &mut Source {
        self.touched_sources.insert(id.clone());
        self.sources.entry(id).or_default()
    }

    /// A subtask's records, to be changed.
    fn subtask(&mut self, source: SourceId, task: TaskName) -> &mut Subtask {
        self.tasks
            .entry(task.clone())
            .or_default()
            .insert(source.clone());
        if !self.operations.is_empty() {
            self.touch_operation(&OperationId::Task(task.clone()));
        }
        self.source(source).subtasks.entry(task).or_default()
    }

    /// Something has changed that an operation under way may have waited for.
    fn touch_operation(&mut self, id: &OperationId) {
        if self.operations.contains_key(id) {
            self.touched_operations.insert(id.clone());
        }
    }

    /// Drops what is empty by now. `tasks` is pruned only through the sources that were touched.
    fn tidy(&mut self, sources: &BTreeSet<SourceId>, workers: &BTreeSet<WorkerName>) {
        for id in sources {
            let Some(source) = self.sources.get_mut(id) else {
                continue;
            };
            let tasks = &mut self.tasks;
            source.subtasks.retain(|task, subtask| {
                if subtask.is_empty() {
                    drop_member(tasks, task, id);
                }
                !subtask.is_empty()
            });
            if source.is_empty() {
                self.sources.remove(id);
            }
        }
        for name in workers {
            if self.workers.get(name).is_some_and(Worker::is_empty) {
                self.workers.remove(name);
            }
        }
    }
}

fn drop_member(tasks: &mut BTreeMap<TaskName, BTreeSet<SourceId>>, task: &TaskName, id: &SourceId) {
    let Some(members) = tasks.get_mut(task) else {
        return;
    };
    members.remove(id);
    if members.is_empty() {
        tasks.remove(task);
    }
}
