//! What etcd says about one task: which sources it has, what each has reported, what each was told.
//!
//! A source reports one DDL at a time and is told one thing at a time, so there are at most as many
//! infos, operations and locks as sources.

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::SourceId;
use dm_keyspace::pessimism::{Info, Operation};
use dm_store::Revision;
use serde_json::Value;

use super::own::texts;
use super::round::Lock;

/// An info as it stands in etcd: the source waits.
#[derive(Clone, Debug)]
pub(crate) struct Reported {
    pub(crate) info: Info,
    /// Lock that the info belongs to.
    pub(crate) lock: String,
    /// The last put: the worker watches for operations after it.
    pub(crate) revision: Revision,
    /// Since when the source stands at these statements; a repeated report does not change it.
    pub(crate) since: Revision,
}

/// An operation key as it stands in etcd.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// None when the value does not decode; the key is there nevertheless.
    pub(crate) operation: Option<Operation>,
    pub(crate) revision: Revision,
    /// Done, by a source that was no source of the task and had no order; it proves nothing.
    pub(crate) by_stranger: bool,
}

/// What else may be done to a task in several transactions under the same key: its sources stay what they are.
const KEEP_SOURCES: [&str; 4] = ["pause", "resume", "start-validation", "stop-validation"];

/// A start or stop of a task that takes several transactions.
#[derive(Clone, Debug)]
pub(crate) struct Transition {
    /// All sources that it concerns, as far as its record names them.
    pub(crate) named: BTreeSet<SourceId>,
}

impl Transition {
    /// What its record says, if it is of that kind: a record that does not decode or names nobody holds everything back, too.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let kind = value.get("kind").and_then(Value::as_str);
        if kind.is_some_and(|kind| KEEP_SOURCES.contains(&kind)) {
            return None;
        }
        let named = texts(&value, "sources").unwrap_or_default();
        Some(Self {
            named: named.into_iter().map(SourceId::from).collect(),
        })
    }
}

/// All evidence about a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    /// Sources with a subtask in etcd now.
    subtasks: BTreeSet<SourceId>,
    /// A start or stop that takes several transactions is under way: how many subtasks there are just now means nothing.
    pub(crate) transition: Option<Transition>,
    /// Sources of the task; none while it is stopped. They stand still during a transition.
    pub(crate) sources: BTreeSet<SourceId>,
    /// The last sources that were not none: a stopped task keeps its locks as they are.
    pub(crate) members: BTreeSet<SourceId>,
    pub(crate) infos: BTreeMap<SourceId, Reported>,
    pub(crate) operations: BTreeMap<SourceId, Answered>,
    pub(crate) locks: BTreeMap<String, Lock>,
    /// Grows with every change of what is shown of it.
    pub(crate) changes: u64,
}

impl Task {
    /// Whether anything is known of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.subtasks.is_empty()
            && self.transition.is_none()
            && self.sources.is_empty()
            && self.infos.is_empty()
            && self.operations.is_empty()
            && self.locks.is_empty()
    }

    /// Whether it has a source, and so workers that answer.
    pub(crate) fn is_running(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Whether it is certain which sources the task has: what is decided for all of them may be carried out.
    pub(crate) fn is_settled(&self) -> bool {
        self.transition.is_none()
    }

    /// Whether its DDLs may be executed and skipped.
    pub(crate) fn is_active(&self) -> bool {
        self.is_running() && self.is_settled()
    }

    /// The info of a source changed, or is gone. Answers the locks that it touches.
    pub(crate) fn set_info(
        &mut self,
        source: &SourceId,
        info: Option<(Info, Revision)>,
        since_load: Revision,
    ) -> Vec<String> {
        let before = self.infos.remove(source);
        let mut touched = Vec::new();
        if let Some(old) = &before {
            if let Some(lock) = self.locks.get_mut(&old.lock) {
                lock.infos.remove(source);
            }
            touched.push(old.lock.clone());
        }
        if let Some((info, revision)) = info {
            let lock = info.lock_id();
            let is_same = before
                .as_ref()
                .is_some_and(|old| old.lock == lock && same_ddls(info.ddls(), old.info.ddls()));
            let since = match before {
                Some(old) if is_same => old.since,
                _ => revision.max(since_load),
            };
            self.locks
                .entry(lock.clone())
                .or_default()
                .infos
                .insert(source.clone());
            touched.push(lock.clone());
            self.infos.insert(
                source.clone(),
                Reported {
                    info,
                    lock,
                    revision,
                    since,
                },
            );
        }
        // An operation counts as long as its source has not gone on.
        touched.extend(self.lock_of_operation(source));
        touched
    }

    fn lock_of_operation(&self, source: &SourceId) -> Option<String> {
        let answered = self.operations.get(source)?;
        Some(answered.operation.as_ref()?.id.clone())
    }

    /// The operation of a source changed (`None` inside: it does not decode), or is gone. Answers the locks that it touches.
    pub(crate) fn set_operation(
        &mut self,
        source: &SourceId,
        operation: Option<(Option<Operation>, Revision)>,
        is_load: bool,
    ) -> Vec<String> {
        let before = self.operations.remove(source);
        let mut touched = Vec::new();
        if let Some(old) = before.as_ref().and_then(|old| old.operation.as_ref()) {
            if let Some(lock) = self.locks.get_mut(&old.id) {
                lock.operations.remove(source);
            }
            touched.push(old.id.clone());
        }
        if let Some((operation, revision)) = operation {
            if let Some(new) = &operation {
                self.locks
                    .entry(new.id.clone())
                    .or_default()
                    .operations
                    .insert(source.clone());
                touched.push(new.id.clone());
            }
            // An order proves that its source was one of the task when it was given, even if it has left since then.
            let had_order = before.is_some_and(|old| !old.by_stranger);
            let is_done = operation.as_ref().is_some_and(|operation| operation.done);
            let by_stranger = is_done && !is_load && !had_order && !self.members.contains(source);
            self.operations.insert(
                source.clone(),
                Answered {
                    operation,
                    revision,
                    by_stranger,
                },
            );
        }
        // What the source waits for may now be answered.
        touched.extend(self.infos.get(source).map(|reported| reported.lock.clone()));
        touched
    }

    /// A subtask came or went. Whether that changes the set of sources.
    pub(crate) fn set_source(
        &mut self,
        source: &SourceId,
        has_subtask: bool,
        revision: Revision,
    ) -> bool {
        if !has_subtask {
            return self.subtasks.remove(source);
        }
        if !self.subtasks.insert(source.clone()) {
            return false;
        }
        if !self.members.contains(source)
            && let Some(reported) = self.infos.get_mut(source)
        {
            // It counts from now on: what a stranger said earlier gives it no place before the others.
            reported.since = revision;
        }
        if let Some(answered) = self.operations.get_mut(source) {
            answered.by_stranger = false;
        }
        true
    }

    /// The end of a revision that changed the set of sources.
    pub(crate) fn sources_changed(&mut self) {
        match &self.transition {
            None => self.sources.clone_from(&self.subtasks),
            // Nothing is known from before it: all that it may be about.
            Some(transition) if self.members.is_empty() => {
                self.sources = self.subtasks.union(&transition.named).cloned().collect();
            }
            Some(_) => {}
        }
        if self.is_running() {
            self.members.clone_from(&self.sources);
        }
    }
}

/// Whether a reported list is taken for a lock's list: as many statements, and each of the lock's among
/// the reported ones. DM's rule; order does not count, nor does how often a statement occurs.
#[must_use]
pub fn same_ddls(reported: &[String], lock: &[String]) -> bool {
    reported.len() == lock.len()
        && (reported == lock || lock.iter().all(|statement| reported.contains(statement)))
}
