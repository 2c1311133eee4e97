//! Operations that take several transactions, and what becomes of one whose leader is gone.
//!
//! The first transaction puts the record, which names all sources; the last one deletes it:
//!
//! | the record | what happens |
//! |---|---|
//! | a start, of the present leader | its request goes on with it: the subtasks' texts are in no record |
//! | a start, of a leader that is gone, or given up | every subtask of it that is younger than the record is removed, then the record |
//! | a stop, pause, resume, or one of validators or relays | whoever leads carries it on to its end |
//!
//! While the record is there, nobody else changes the task, so younger subtasks are all of that start. How far an
//! operation is follows from the subtasks' own records: what is younger than its record is done.

use std::fmt;

use bytes::Bytes;
use dm_errors::{Code, DmError};
use dm_keyspace::{
    OperationKind, RelayOperationKey, SourceId, Stage, TaskName, TaskStart, TaskStartKey,
};
use dm_replica::{Decision, Plan, Proposal, Subject};
use dm_store::{Guard, KeyRange, KeyValue, Revision};

use super::Scheduler;
use super::record::{StageSeen, Subtask};

/// Operations that the removal of a subtask takes: configuration, two stages, who holds its files, argument, import
/// status.
const PER_UNDO: usize = 6;
/// Without the argument and the import status, which a stop leaves.
const PER_STOP: usize = 4;
/// Conditions of a validator's change: configuration and two stages as they were.
const PER_VALIDATOR: usize = 3;
/// The record and the fence.
const ONCE: usize = 2;
/// What a transaction may carry, well within etcd's limit of 1.5 MiB for a request.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// What an operation in several transactions is about; there is one at a time of each.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum OperationId {
    /// One task.
    Task(TaskName),
    /// The relays of sources.
    Relays,
}

impl OperationId {
    /// The operation whose record lies there.
    pub(super) fn parse(key: &[u8]) -> Option<Self> {
        if RelayOperationKey::parse(key).is_ok() {
            return Some(Self::Relays);
        }
        let TaskStartKey { task } = TaskStartKey::parse(key).ok()?;
        Some(Self::Task(task))
    }

    /// Where its record lies.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Task(task) => TaskStartKey { task: task.clone() }.encode(),
            Self::Relays => RelayOperationKey::KEY.to_owned(),
        }
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => write!(f, "task/{task}"),
            Self::Relays => f.write_str("relays"),
        }
    }
}

/// A record as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct OperationSeen {
    created: Revision,
    revision: Revision,
    record: TaskStart,
    batch: usize,
    /// So many sources are known to be done with.
    passed: usize,
}

impl OperationSeen {
    pub(super) fn from_kv(kv: &KeyValue) -> Result<Self, String> {
        let record = TaskStart::from_bytes(&kv.value).map_err(|error| error.to_string())?;
        Ok(Self {
            created: kv.create_revision,
            revision: kv.mod_revision,
            batch: usize::try_from(record.batch).unwrap_or(1).max(1),
            record,
            passed: 0,
        })
    }
}

/// Which part of a start a transaction is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// All of it.
    Only,
    /// The first of several: it puts the record and adds nothing yet.
    First {
        /// Operations of one transaction, which the undo must keep to.
        max_operations: usize,
        /// All sources that the start adds.
        sources: Vec<SourceId>,
    },
    /// One in between.
    Next,
    /// The last of several.
    Last,
}

/// Sources of which one transaction of `max_operations` can change the stages, remove the subtasks, and so on.
pub(super) fn batch(kind: OperationKind, max_operations: usize) -> usize {
    let room = max_operations.saturating_sub(ONCE);
    let size = match kind {
        OperationKind::Start => room / PER_UNDO,
        OperationKind::Stop => room / PER_STOP,
        OperationKind::Pause | OperationKind::Resume => room,
        OperationKind::StartValidation | OperationKind::StopValidation => room / PER_VALIDATOR,
    };
    size.max(1)
}

/// The stage that an operation is to bring about.
pub(super) fn stage_of(kind: OperationKind) -> Stage {
    match kind {
        OperationKind::Pause => Stage::Paused,
        OperationKind::Resume | OperationKind::Start | OperationKind::StartValidation => {
            Stage::Running
        }
        OperationKind::Stop | OperationKind::StopValidation => Stage::Stopped,
    }
}

impl Scheduler {
    /// Whether an operation on the task in several transactions is under way or being undone.
    #[must_use]
    pub fn is_in_operation(&self, task: &TaskName) -> bool {
        self.operations
            .contains_key(&OperationId::Task(task.clone()))
    }

    /// Whether relays are being told to pause or run, in several transactions.
    #[must_use]
    pub fn are_relays_in_operation(&self) -> bool {
        self.operations.contains_key(&OperationId::Relays)
    }

    /// Adds what a part of a start does to the record.
    ///
    /// # Errors
    /// 46024 when another operation on the task is under way, or this one has been given up.
    pub(super) fn put_start(
        &self,
        proposal: Proposal,
        task: &TaskName,
        part: &Part,
    ) -> Result<Proposal, DmError> {
        let id = OperationId::Task(task.clone());
        let key = id.key();
        let term = self.term().unwrap_or(Revision::ZERO).0;
        match (part, self.operations.get(&id)) {
            (Part::Only, None) => Ok(proposal.guard(Guard::Missing(key.into()))),
            (
                Part::First {
                    max_operations,
                    sources,
                },
                None,
            ) => {
                let record = self.record(OperationKind::Start, *max_operations, sources);
                let missing = Guard::Missing(key.clone().into());
                Ok(proposal.guard(missing).put(key, record.to_bytes()))
            }
            (Part::Next | Part::Last, Some(seen))
                if seen.record.term == term && seen.record.kind == OperationKind::Start =>
            {
                let as_seen = Guard::ModRevision(key.clone().into(), seen.revision);
                let proposal = proposal.guard(as_seen);
                Ok(match part {
                    Part::Last => proposal.delete(KeyRange::key(key)),
                    _ => proposal,
                })
            }
            _ => Err(in_use("AddSubTasks", task)),
        }
    }

    /// The record of an operation that the present leader begins.
    pub(super) fn record(
        &self,
        kind: OperationKind,
        max_operations: usize,
        sources: &[SourceId],
    ) -> TaskStart {
        TaskStart {
            term: self.term().unwrap_or(Revision::ZERO).0,
            batch: i64::try_from(batch(kind, max_operations)).unwrap_or(1),
            kind,
            sources: sources.to_vec(),
            ..TaskStart::default()
        }
    }

    /// Adds that no other operation is under way.
    ///
    /// # Errors
    /// 46024 when there is one.
    pub(super) fn alone(
        &self,
        proposal: Proposal,
        id: &OperationId,
        operation: &str,
    ) -> Result<Proposal, DmError> {
        if self.operations.contains_key(id) {
            return Err(match id {
                OperationId::Task(task) => in_use(operation, task),
                OperationId::Relays => in_use(operation, &"relays"),
            });
        }
        Ok(proposal.guard(Guard::Missing(id.key().into())))
    }

    /// Gives a start up: what it has added is removed, by this leader or the next.
    ///
    /// # Errors
    /// None; the type is that of all requests.
    pub fn abandon_start(&self, task: &TaskName) -> Result<Plan<()>, DmError> {
        let id = OperationId::Task(task.clone());
        let started = self.operations.get(&id);
        let Some(seen) = started.filter(|seen| seen.record.kind == OperationKind::Start) else {
            return Ok(Plan::Done(()));
        };
        let record = TaskStart {
            term: 0,
            ..seen.record.clone()
        };
        let key = id.key();
        let proposal = Proposal::new("abandon_start")
            .guard(Guard::ModRevision(key.clone().into(), seen.revision))
            .put(key, record.to_bytes());
        Ok(Plan::Commit(proposal, ()))
    }

    /// What an operation calls for. Looks at each of its sources once, and at those that are not done again.
    pub(super) fn decide_operation(&mut self, id: &OperationId) -> Decision {
        let proposals = match self.operations.remove(id) {
            Some(mut seen) => {
                let proposal = self.next_step(id, &mut seen);
                self.operations.insert(id.clone(), seen);
                proposal.into_iter().collect()
            }
            None => Vec::new(),
        };
        Decision {
            subject: Subject::from(id.to_string()),
            proposals,
        }
    }

    fn next_step(&self, id: &OperationId, seen: &mut OperationSeen) -> Option<Proposal> {
        let is_start = seen.record.kind == OperationKind::Start;
        if is_start && self.term()? == Revision(seen.record.term) {
            return None;
        }
        let is_open = |source: &&SourceId| self.is_open(id, source, seen);
        let rest = seen.record.sources.get(seen.passed..).unwrap_or_default();
        let open = rest.iter().position(|source| is_open(&source));
        let passed = seen.passed + open.unwrap_or(rest.len());
        let key = id.key();
        let mut proposal = Proposal::new(name_of(seen.record.kind))
            .guard(Guard::ModRevision(key.clone().into(), seen.revision));
        let rest = seen.record.sources.get(passed..).unwrap_or_default();
        let mut open = rest.iter().filter(is_open).peekable();
        let mut bytes = 0;
        for _ in 0..seen.batch {
            if bytes >= MOST_BYTES / 2 {
                break;
            }
            let Some(source) = open.next() else { break };
            let before = proposal.puts.len();
            proposal = self.step(proposal, id, source, &seen.record);
            let added = proposal.puts.iter().skip(before);
            bytes += added.map(|put| put.value.bytes(None).len()).sum::<usize>();
        }
        let is_last = open.peek().is_none();
        seen.passed = passed;
        Some(match is_last {
            true => proposal.delete(KeyRange::key(key)),
            false => proposal,
        })
    }

    /// Whether something is left to do for a source.
    fn is_open(&self, id: &OperationId, source: &SourceId, seen: &OperationSeen) -> bool {
        let is_older = |stage: Option<StageSeen>| stage.is_some_and(|s| s.revision < seen.created);
        let OperationId::Task(task) = id else {
            let source = self.sources.get(source);
            return source.is_some_and(|s| {
                s.config.is_some() && s.relay_stage.is_none_or(|r| r.revision < seen.created)
            });
        };
        let Some(subtask) = self.subtask_of(source, task).filter(|s| !s.is_empty()) else {
            return false;
        };
        match seen.record.kind {
            // The first part of a start adds nothing, so that whatever is of the start is younger.
            OperationKind::Start => {
                let config = subtask.config.as_ref();
                config.is_some_and(|config| config.created > seen.created)
            }
            OperationKind::Stop => true,
            OperationKind::Pause | OperationKind::Resume => is_older(subtask.stage),
            OperationKind::StartValidation => {
                subtask.has_readable_config()
                    && subtask.validator.is_none_or(|v| v.revision < seen.created)
            }
            OperationKind::StopValidation => is_older(subtask.validator),
        }
    }

    /// Adds what is to be done for a source.
    fn step(
        &self,
        proposal: Proposal,
        id: &OperationId,
        source: &SourceId,
        record: &TaskStart,
    ) -> Proposal {
        let OperationId::Task(task) = id else {
            return self.put_relay_stage_of(proposal, source, stage_of(record.kind));
        };
        match record.kind {
            OperationKind::Start => self.take_back(proposal, task, source),
            OperationKind::Stop => self.remove_subtask(proposal, task, source),
            OperationKind::Pause | OperationKind::Resume => {
                self.put_stage(proposal, task, source, stage_of(record.kind))
            }
            OperationKind::StartValidation | OperationKind::StopValidation => {
                self.step_of_validator(proposal, task, source, record)
            }
        }
    }

    /// Adds the removal of a subtask of a start, with what the start has written besides.
    fn take_back(&self, proposal: Proposal, task: &TaskName, source: &SourceId) -> Proposal {
        use dm_keyspace::{LightningKey, SubtaskKey, TaskCliArgsKey};

        let (id, task) = (source.clone(), task.clone());
        let config = SubtaskKey {
            source: id.clone(),
            task: task.clone(),
        };
        let seen = self.subtask_of(source, &task);
        let seen = seen.and_then(|s: &Subtask| s.config.as_ref());
        let as_seen = Guard::unchanged(Bytes::from(config.encode()), seen.map(|c| c.revision));
        let args = TaskCliArgsKey {
            task: task.clone(),
            source: id.clone(),
        };
        let proposal = self.remove_subtask(proposal.guard(as_seen), &task, source);
        let import = LightningKey { task, source: id };
        proposal
            .delete(KeyRange::key(args.encode()))
            .delete(KeyRange::key(import.encode()))
    }
}

fn name_of(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Start => "undo_start",
        OperationKind::Stop => "stop_task",
        OperationKind::Pause => "pause",
        OperationKind::Resume => "resume",
        OperationKind::StartValidation => "start_validation",
        OperationKind::StopValidation => "stop_validation",
    }
}

/// 46024: somebody else is at it.
fn in_use(operation: &str, resource: &dyn fmt::Display) -> DmError {
    DmError::new(Code::SCHEDULER_LATCH_IN_USE, &[&operation, &resource])
}
