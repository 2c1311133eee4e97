//! Starts of tasks that take several transactions, and what becomes of one whose leader is gone.
//!
//! The first transaction puts the record, the last one deletes it:
//!
//! | the record | what happens |
//! |---|---|
//! | of the present leader | its request goes on with it |
//! | of a leader that is gone, or given up | every subtask that is younger than the record is removed, then the record |
//!
//! While the record is there, nobody else starts the task, so younger subtasks are all of that start.

use bytes::Bytes;
use dm_errors::{Code, DmError};
use dm_keyspace::{
    LightningKey, SourceId, SubtaskKey, SubtaskStageKey, TaskCliArgsKey, TaskName, TaskStart,
    TaskStartKey, ValidatorStageKey,
};
use dm_replica::{Decision, Plan, Proposal, Subject};
use dm_store::{Guard, KeyRange, KeyValue, Revision};

use super::Scheduler;
use super::record::Text;

/// Operations that the removal of a subtask takes: configuration, two stages, argument, import status.
const PER_SUBTASK: usize = 5;
/// What is written besides, with room for the fence.
const ONCE: usize = 4;

/// A record as it was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartSeen {
    created: Revision,
    revision: Revision,
    term: i64,
    batch: usize,
}

impl StartSeen {
    pub(super) fn from_kv(kv: &KeyValue) -> Result<Self, String> {
        let record = TaskStart::from_bytes(&kv.value).map_err(|error| error.to_string())?;
        Ok(Self {
            created: kv.create_revision,
            revision: kv.mod_revision,
            term: record.term,
            batch: usize::try_from(record.batch).unwrap_or(1).max(1),
        })
    }
}

/// Which part of a start a transaction is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// All of it.
    Only,
    /// The first of several, with the limit of operations that its undo must keep to.
    First {
        /// Operations of one transaction.
        max_operations: usize,
    },
    /// One in between.
    Next,
    /// The last of several.
    Last,
}

impl Scheduler {
    /// Whether a start of the task is under way or being undone.
    #[must_use]
    pub fn is_starting(&self, task: &TaskName) -> bool {
        self.starts.contains_key(task)
    }

    /// Adds what a part of a start does to the record.
    ///
    /// # Errors
    /// 46024 when another start of the task is under way, or this one has been given up.
    pub(super) fn put_start(
        &self,
        proposal: Proposal,
        task: &TaskName,
        part: Part,
    ) -> Result<Proposal, DmError> {
        let key = key_of(task);
        let in_use = || DmError::new(Code::SCHEDULER_LATCH_IN_USE, &[&"AddSubTasks", task]);
        let term = self.term().unwrap_or(Revision::ZERO).0;
        match (part, self.starts.get(task)) {
            (Part::Only, None) => Ok(proposal.guard(Guard::Missing(key.into()))),
            (Part::First { max_operations }, None) => {
                let batch = (max_operations.saturating_sub(ONCE) / PER_SUBTASK).max(1);
                let record = TaskStart {
                    term,
                    batch: i64::try_from(batch).unwrap_or(1),
                    ..TaskStart::default()
                };
                let missing = Guard::Missing(key.clone().into());
                Ok(proposal.guard(missing).put(key, record.to_bytes()))
            }
            (Part::Next | Part::Last, Some(seen)) if seen.term == term => {
                let as_seen = Guard::ModRevision(key.clone().into(), seen.revision);
                let proposal = proposal.guard(as_seen);
                Ok(match part {
                    Part::Last => proposal.delete(KeyRange::key(key)),
                    _ => proposal,
                })
            }
            _ => Err(in_use()),
        }
    }

    /// Gives a start up: what it has added is removed, by this leader or the next.
    ///
    /// # Errors
    /// None; the type is that of all requests.
    pub fn abandon_start(&self, task: &TaskName) -> Result<Plan<()>, DmError> {
        let Some(seen) = self.starts.get(task) else {
            return Ok(Plan::Done(()));
        };
        let record = TaskStart {
            term: 0,
            batch: i64::try_from(seen.batch).unwrap_or(1),
            ..TaskStart::default()
        };
        let key = key_of(task);
        let proposal = Proposal::new("abandon_start")
            .guard(Guard::ModRevision(key.clone().into(), seen.revision))
            .put(key, record.to_bytes());
        Ok(Plan::Commit(proposal, ()))
    }

    /// What a start calls for.
    pub(super) fn decide_start(&self, task: &TaskName) -> Decision {
        Decision {
            subject: Subject::from(format!("task/{task}")),
            proposals: self.undo_start(task).into_iter().collect(),
        }
    }

    fn undo_start(&self, task: &TaskName) -> Option<Proposal> {
        let seen = self.starts.get(task)?;
        if self.term()? == Revision(seen.term) {
            return None;
        }
        let added = self.added_since(task, seen.created);
        let key = key_of(task);
        let proposal = Proposal::new("undo_start")
            .guard(Guard::ModRevision(key.clone().into(), seen.revision));
        let now = &added[..added.len().min(seen.batch)];
        let proposal = now.iter().fold(proposal, |proposal, (id, config)| {
            remove(proposal, task, id, config)
        });
        Some(match now.len() == added.len() {
            true => proposal.delete(KeyRange::key(key)),
            false => proposal,
        })
    }

    fn added_since(&self, task: &TaskName, revision: Revision) -> Vec<(&SourceId, &Text)> {
        let members = self.tasks.get(task).into_iter().flatten();
        let young = members.filter_map(|id| {
            let config = self.subtask_of(id, task)?.config.as_ref()?;
            (config.created >= revision).then_some((id, config))
        });
        young.collect()
    }
}

fn remove(proposal: Proposal, task: &TaskName, id: &SourceId, config: &Text) -> Proposal {
    let (source, task) = (id.clone(), task.clone());
    let key = SubtaskKey {
        source: source.clone(),
        task: task.clone(),
    }
    .encode();
    let others = [
        SubtaskStageKey {
            source: source.clone(),
            task: task.clone(),
        }
        .encode(),
        ValidatorStageKey {
            source: source.clone(),
            task: task.clone(),
        }
        .encode(),
        TaskCliArgsKey {
            task: task.clone(),
            source: source.clone(),
        }
        .encode(),
        LightningKey { task, source }.encode(),
    ];
    let as_seen = Guard::ModRevision(Bytes::from(key.clone()), config.revision);
    let proposal = proposal.guard(as_seen).delete(KeyRange::key(key));
    others.into_iter().fold(proposal, |proposal, key| {
        proposal.delete(KeyRange::key(key))
    })
}

fn key_of(task: &TaskName) -> String {
    TaskStartKey { task: task.clone() }.encode()
}
