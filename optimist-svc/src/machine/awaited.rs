//! Schemas of tables that have not reported, which the downstream's checkpoint may know. Infos of a lock wait until they
//! have come, or until it has taken too long; nothing else waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_keyspace::TaskName;
use dm_store::Revision;

use super::evidence::{TableId, Task};
use super::settle::use_init;
use super::{LockKey, Optimist};

/// Schemas that a lock waits for: what the downstream's checkpoint says of these tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The task.
    pub task: TaskName,
    /// The lock that waits.
    pub lock: String,
    /// The tables.
    pub tables: Vec<TableId>,
}

/// What was found of schemas that were wanted.
#[derive(Clone, Debug)]
pub struct Found {
    /// The task.
    pub task: TaskName,
    /// The lock that waits.
    pub lock: String,
    /// JSON of each table's schema; none where there is none. Tables that are missing go on being wanted.
    pub schemas: BTreeMap<TableId, Option<String>>,
}

/// How an attempt to read schemas that were wanted ended.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// The checkpoint answered.
    Read(Found),
    /// It could not be read, and will be asked again.
    Failed {
        /// The task.
        task: TaskName,
        /// Why, for users.
        reason: String,
    },
}

impl From<Found> for Attempt {
    fn from(found: Found) -> Self {
        Self::Read(found)
    }
}

/// Locks with tables of unknown schema, and how long one of them may wait for it.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// None for a machine that never reads them.
    pub(super) limit: Option<Duration>,
    pub(super) locks: BTreeSet<LockKey>,
    /// Why the last attempt of a task failed.
    failures: BTreeMap<TaskName, String>,
}

impl Awaited {
    fn of<'a>(&'a self, task: &'a TaskName) -> impl Iterator<Item = &'a LockKey> {
        let first = LockKey {
            task: task.clone(),
            id: String::new(),
        };
        self.locks
            .range(first..)
            .take_while(move |key| key.task == *task)
    }
}

impl Optimist {
    /// A machine whose infos wait for the schemas that it names in [`Optimist::wanted`], until they are put in, until their tables
    /// have reported, or until the timer says that `limit` has passed. Any other machine takes the first schema that it sees of a lock for that of all
    /// tables which have not reported; so does this one of what has not come in time.
    #[must_use]
    pub fn reading_schemas(limit: Duration) -> Self {
        Self {
            awaited: Awaited {
                limit: Some(limit),
                ..Awaited::default()
            },
            ..Self::default()
        }
    }

    /// Tasks with infos that wait for schemas.
    #[must_use]
    pub fn wanting(&self) -> BTreeSet<TaskName> {
        let locks = self.awaited.locks.iter();
        locks.map(|key| key.task.clone()).collect()
    }

    /// Schemas that infos wait for.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        let locks = self.awaited.locks.iter();
        locks
            .filter_map(|key| self.wanted_by(key, usize::MAX))
            .collect()
    }

    /// Schemas that infos of one task wait for: of one lock, and of so many tables at most.
    #[must_use]
    pub fn next_wanted(&self, task: &TaskName, tables: usize) -> Option<Wanted> {
        let key = self.awaited.of(task).next()?;
        self.wanted_by(key, tables)
    }

    fn wanted_by(&self, key: &LockKey, tables: usize) -> Option<Wanted> {
        let lock = self.tasks.get(&key.task)?.locks.get(&key.id)?;
        Some(Wanted {
            task: lock.task.clone(),
            lock: lock.id.clone(),
            tables: lock.awaited.iter().take(tables).cloned().collect(),
        })
    }

    /// Why schemas of the task could not be read when that was tried last.
    pub(super) fn failure(&self, task: &TaskName) -> Option<&str> {
        self.awaited.failures.get(task).map(String::as_str)
    }

    pub(super) fn attempted(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::Failed { task, reason } => {
                if self.awaited.of(&task).next().is_some() {
                    self.awaited.failures.insert(task, reason);
                }
            }
            Attempt::Read(found) => {
                self.awaited.failures.remove(&found.task);
                let key = LockKey {
                    task: found.task,
                    id: found.lock,
                };
                self.learn(&key, &found.schemas);
            }
        }
    }

    fn learn(&mut self, key: &LockKey, schemas: &BTreeMap<TableId, Option<String>>) {
        let applied = self.applied;
        let task = self.tasks.get_mut(&key.task);
        if task.is_some_and(|task| task.found(&key.id, schemas, applied)) {
            self.dirty.insert(key.clone());
        }
        self.take_stock(key);
    }

    /// Keeps account of what the lock has met, and of whether it waits, and since when.
    pub(super) fn take_stock(&mut self, key: &LockKey) {
        let task = self.tasks.get_mut(&key.task);
        let is_waiting = task
            .and_then(|task| task.locks.get_mut(&key.id))
            .is_some_and(|lock| {
                let (infos, removals) = (
                    std::mem::take(&mut lock.errors),
                    std::mem::take(&mut lock.outrun),
                );
                if infos + removals > 0 {
                    let errors = self.errors.entry(key.task.clone()).or_default();
                    errors.infos += infos;
                    errors.removals += removals;
                }
                lock.awaited_since = match lock.awaited.is_empty() {
                    true => None,
                    false => lock.awaited_since.or(Some(self.now)),
                };
                lock.awaited_since.is_some()
            });
        if is_waiting {
            self.awaited.locks.insert(key.clone());
        } else if self.awaited.locks.remove(key) && self.awaited.of(&key.task).next().is_none() {
            self.awaited.failures.remove(&key.task);
        }
    }

    /// Locks that have waited long enough go on without what they wait for.
    pub(super) fn stop_waiting(&mut self) {
        let Some(limit) = self.awaited.limit else {
            return;
        };
        let is_over = |key: &&LockKey| {
            let lock = self.tasks.get(&key.task)?.locks.get(&key.id)?;
            let waited = self.now.saturating_sub(lock.awaited_since?);
            Some(waited >= limit)
        };
        let locks = self.awaited.locks.iter();
        let over: Vec<LockKey> = locks
            .filter(|key| is_over(key).unwrap_or(true))
            .cloned()
            .collect();
        for key in over {
            let reason = self.failure(&key.task).unwrap_or("no answer");
            tracing::warn!(
                lock = key.id,
                reason,
                "schemas were not read in time; unreported tables count as the first that reported"
            );
            let applied = self.applied;
            let task = self.tasks.get_mut(&key.task);
            if task.is_some_and(|task| task.go_on(&key.id, applied)) {
                self.dirty.insert(key.clone());
            }
            self.take_stock(&key);
        }
    }
}

impl Task {
    /// Schemas that were wanted have come. Whether a lock goes on.
    fn found(
        &mut self,
        id: &str,
        schemas: &BTreeMap<TableId, Option<String>>,
        at: Revision,
    ) -> bool {
        let Some(mut lock) = self.locks.remove(id) else {
            return false;
        };
        for (table, json) in schemas {
            if !lock.awaited.contains(table) {
                continue;
            }
            let read = json
                .as_deref()
                .map(|json| self.shapes.read(json))
                .transpose();
            if let Err(error) = &read {
                tracing::warn!(lock = id, %table, error, "schema in the checkpoint cannot be read");
            }
            let known = read.ok().flatten().or_else(|| lock.init.clone());
            if let Some(known) = known {
                lock.set_normal(table, &known);
            }
        }
        self.proceed(&mut lock, at);
        self.locks.insert(id.to_owned(), lock);
        true
    }

    /// What was wanted has not come. Whether a lock goes on.
    fn go_on(&mut self, id: &str, at: Revision) -> bool {
        let Some(mut lock) = self.locks.remove(id) else {
            return false;
        };
        use_init(&mut lock);
        self.proceed(&mut lock, at);
        self.locks.insert(id.to_owned(), lock);
        true
    }
}
