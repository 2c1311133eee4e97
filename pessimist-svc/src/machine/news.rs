//! Which tasks' locks have changed since somebody looked, so that who watches looks at no others.

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::{SourceId, TaskName};

use super::{LockView, Pessimist};

/// What a watcher has seen: how often the locks of each task had changed by then.
pub type Seen = BTreeMap<TaskName, u64>;

/// The locks of one task that has changed.
#[derive(Clone, Debug)]
pub struct TaskLocks {
    /// The task.
    pub task: TaskName,
    /// How often its locks have changed; for [`Seen`]. None when it is gone.
    pub changes: Option<u64>,
    /// All of its locks, by id.
    pub locks: Vec<LockView>,
}

impl Pessimist {
    /// The locks of the tasks that have changed since `seen`; of one task only, unless `task` is empty.
    #[must_use]
    pub fn news(&self, seen: &Seen, task: &str) -> Vec<TaskLocks> {
        let wanted = |name: &&TaskName| task.is_empty() || name.as_str() == task;
        let names: BTreeSet<&TaskName> = self.tasks.keys().chain(seen.keys()).collect();
        let names = names.into_iter().filter(wanted);
        let news = names.filter_map(|name| {
            let changes = self.tasks.get(name).map(|task| task.changes);
            (seen.get(name).copied() != changes).then(|| TaskLocks {
                task: name.clone(),
                changes,
                locks: self.locks(name.as_str(), &[]),
            })
        });
        news.collect()
    }

    pub(super) fn has_changed(&mut self, task: &TaskName) {
        self.changes += 1;
        if let Some(task) = self.tasks.get_mut(task) {
            task.changes = self.changes;
        }
    }

    /// Something about a source has changed that every lock shows.
    pub(super) fn source_has_changed(&mut self, source: &SourceId) {
        self.changes += 1;
        for task in self.tasks.values_mut() {
            if task.members.contains(source) {
                task.changes = self.changes;
            }
        }
    }
}
