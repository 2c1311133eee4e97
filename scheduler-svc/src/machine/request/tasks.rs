//! Starting tasks, changing their stages, stopping them.

use bytes::Bytes;
use dm_errors::{Code, DmError, List};
use dm_keyspace::{
    Lightning, LightningKey, LoadTaskKey, OperationKind, SourceConfigKey, SourceId, Stage,
    StageRecord, SubtaskKey, SubtaskStageKey, TaskCliArgs, TaskCliArgsKey, TaskName,
    ValidatorStageKey,
};
use dm_replica::{Plan, Proposal};
use dm_store::{Guard, KeyRange};

use super::{about, about_list};
use crate::machine::Scheduler;
use crate::machine::decide::bound_key;
use crate::machine::fold::config_key;
use crate::machine::record::Subtask;
use crate::machine::starts::{MOST_BYTES, OperationId, Part, batch, stage_of};

/// A subtask to be added, its configuration complete and checked.
#[derive(Clone)]
pub struct NewSubtask {
    /// Its source.
    pub source: SourceId,
    /// The configuration as workers read it. Holds a password.
    pub toml: String,
    /// Whether the rows are to be compared while they are replicated.
    pub validates: bool,
}

impl std::fmt::Debug for NewSubtask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSubtask")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Arguments of `start-task` that the worker uses up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CliArgs {
    /// The time to start from; none forgets those of earlier starts.
    pub start_time: Option<String>,
}

/// A task to be started.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Its name.
    pub name: TaskName,
    /// One per source.
    pub subtasks: Vec<NewSubtask>,
    /// What goes with it.
    pub args: CliArgs,
    /// The load is a physical import, which the workers of all sources coordinate.
    pub is_physical_import: bool,
    /// Load and import records of an earlier run are deleted first.
    pub removes_meta: bool,
    /// Which part of the start this is.
    pub part: Part,
}

impl NewTask {
    /// Operations that every subtask takes at most: configuration, stage, validator stage, the source's
    /// configuration, argument, import status.
    const PER_SUBTASK: usize = 6;
    /// What is written once, with room for the fence.
    const ONCE: usize = 6;

    /// All that is said of the task as a whole, without its subtasks.
    #[must_use]
    pub fn head(&self) -> Self {
        Self {
            name: self.name.clone(),
            subtasks: Vec::new(),
            args: self.args.clone(),
            part: self.part.clone(),
            ..*self
        }
    }

    /// The task in parts that each fit into one transaction of `max_operations`, and etcd's limit of bytes. If there
    /// are several, the first one adds nothing yet: it puts the record of the start, and removes old records. So
    /// there always are when old import records go and new ones come: etcd takes no key twice in one transaction.
    #[must_use]
    pub fn parts(mut self, max_operations: usize) -> Vec<Self> {
        let size = (max_operations.saturating_sub(Self::ONCE) / Self::PER_SUBTASK).max(1);
        let mut subtasks = std::mem::take(&mut self.subtasks);
        let sources: Vec<SourceId> = subtasks.iter().map(|s| s.source.clone()).collect();
        let mut groups = Vec::new();
        while !subtasks.is_empty() {
            let rest = subtasks.split_off(fitting(&subtasks, size));
            groups.push(std::mem::replace(&mut subtasks, rest));
        }
        let replaces_imports = self.is_physical_import && self.removes_meta;
        if groups.is_empty() || (groups.len() == 1 && !replaces_imports) {
            self.subtasks = groups.pop().unwrap_or_default();
            return vec![self];
        }
        let last = groups.len() - 1;
        let next = |(at, subtasks)| Self {
            subtasks,
            removes_meta: false,
            part: if at == last { Part::Last } else { Part::Next },
            ..self.clone()
        };
        let mut parts: Vec<Self> = groups.into_iter().enumerate().map(next).collect();
        let first = Self {
            part: Part::First {
                max_operations,
                sources,
            },
            ..self
        };
        parts.insert(0, first);
        parts
    }
}

/// How many of the subtasks go into one transaction: `size` of them, or fewer when their texts are long.
fn fitting(subtasks: &[NewSubtask], size: usize) -> usize {
    // The source's configuration is put as well; it says less than the subtask's, which repeats its connection.
    let cost = |s: &NewSubtask| 2 * s.toml.len() + 1024;
    let mut bytes = 0;
    let fits = subtasks.iter().take(size).take_while(|s| {
        bytes += cost(s);
        bytes <= MOST_BYTES
    });
    fits.count().max(1)
}

/// The stages that a request may give a subtask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SubtaskStage {
    /// Go on.
    Running,
    /// Stand still, keep everything.
    Paused,
}

impl From<SubtaskStage> for OperationKind {
    fn from(stage: SubtaskStage) -> Self {
        match stage {
            SubtaskStage::Running => Self::Resume,
            SubtaskStage::Paused => Self::Pause,
        }
    }
}

/// How much of a change one transaction makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// It puts a record; the loop goes on from there, here or at the next leader, until the record is gone.
    InParts,
}

impl Scheduler {
    /// Adds the subtasks that are not there yet, running, all in one transaction with the task's arguments. A task
    /// of more sources than fit is started in [`NewTask::parts`], after a look by [`Scheduler::check_start`].
    ///
    /// # Errors
    /// Those of [`Scheduler::check_start`], and 46024 while another operation on the task is under way.
    pub fn start_task(&self, task: &NewTask) -> Result<Plan<()>, DmError> {
        let is_new = |s: &&NewSubtask| !self.has_subtask(&s.source, &task.name);
        let sources: Vec<&SourceId> = task.subtasks.iter().map(|s| &s.source).collect();
        self.check_start(task, &sources)?;
        let proposal = self.put_start(Proposal::new("start_task"), &task.name, &task.part)?;
        let mut proposal = args(proposal, task);
        if task.removes_meta {
            proposal = proposal.delete(KeyRange::prefix(dm_keyspace::LoadTaskKey::prefix_of_task(
                &task.name,
            )));
        }
        proposal = import_status(proposal, task);
        for subtask in task.subtasks.iter().filter(is_new) {
            proposal = self.add_subtask(proposal, &task.name, subtask);
        }
        Ok(Plan::Commit(proposal, ()))
    }

    /// Whether a task can be started, or such a part of it, for these sources. The subtasks of `task` do not matter.
    ///
    /// # Errors
    /// 46014 when all subtasks exist (or any, with a physical import or `removes_meta`), 46009 when a source has no
    /// worker.
    pub fn check_start(&self, task: &NewTask, sources: &[&SourceId]) -> Result<(), DmError> {
        let is_old = |id: &&SourceId| self.has_subtask(id, &task.name);
        let (mut old, new): (Vec<&SourceId>, Vec<&SourceId>) =
            sources.iter().copied().partition(is_old);
        if task.removes_meta {
            self.check_task_absent(&task.name)?;
        }
        if !old.is_empty() && (new.is_empty() || task.is_physical_import) {
            old.sort();
            return Err(about_list(Code::SCHEDULER_SUB_TASK_EXIST, &task.name, &old));
        }
        let unbound: Vec<&SourceId> = new
            .into_iter()
            .filter(|id| self.bound_worker(id).is_none())
            .collect();
        if !unbound.is_empty() {
            return Err(DmError::new(
                Code::SCHEDULER_SOURCES_UNBOUND,
                &[&List(&unbound)],
            ));
        }
        Ok(())
    }

    /// Whether metadata of the task may be removed.
    ///
    /// # Errors
    /// 46014 while any subtask of it exists.
    pub fn check_task_absent(&self, task: &TaskName) -> Result<(), DmError> {
        if !self.has_task(task) {
            return Ok(());
        }
        let existing: Vec<SourceId> = self.sources_of_task(task).into_iter().collect();
        Err(about_list(Code::SCHEDULER_SUB_TASK_EXIST, task, &existing)
            .annotate("while remove-meta is true"))
    }

    fn add_subtask(&self, proposal: Proposal, task: &TaskName, new: &NewSubtask) -> Proposal {
        let source = self.sources.get(&new.source);
        let keeper = source.and_then(|s| self.keeper(s));
        let config = source.and_then(|s| s.config.as_ref());
        let (Some(keeper), Some(config)) = (keeper, config) else {
            return proposal;
        };
        let bound = self
            .workers
            .get(keeper)
            .and_then(|w| w.bound.as_ref())
            .map(|b| b.revision);
        let (source, task) = (new.source.clone(), task.clone());
        let config_of_subtask = SubtaskKey {
            source: source.clone(),
            task: task.clone(),
        }
        .encode();
        let stage = StageRecord::subtask(Stage::Running, source.clone(), task.clone()).to_bytes();
        let proposal = proposal
            .guard(Guard::Missing(Bytes::from(config_of_subtask.clone())))
            .guard(Guard::unchanged(bound_key(keeper), bound))
            .guard(Guard::ModRevision(
                config_key(&source),
                config.text.revision,
            ))
            .put(config_of_subtask, new.toml.clone())
            .put(
                SubtaskStageKey {
                    source: source.clone(),
                    task: task.clone(),
                }
                .encode(),
                stage.clone(),
            )
            .put(
                SourceConfigKey {
                    source: source.clone(),
                }
                .encode(),
                config.text.bytes.to_vec(),
            );
        if new.validates {
            proposal.put(ValidatorStageKey { source, task }.encode(), stage)
        } else {
            proposal
        }
    }

    /// Sets the stage of subtasks, all or none. The stage that they have already is written again, so that a
    /// worker hears it again.
    ///
    /// # Errors
    /// 46016 for an unknown task, 46017 for sources without a stage in it, 46024 while another operation on the task
    /// is under way.
    pub fn set_stage(
        &self,
        stage: SubtaskStage,
        task: &TaskName,
        sources: &[SourceId],
        max_operations: usize,
    ) -> Result<Plan<Extent>, DmError> {
        let has_stage = |s: &Subtask| s.stage.is_some();
        self.check_members(task, sources, has_stage)?;
        self.change(stage.into(), task, sources, max_operations)
    }

    /// Removes subtasks with their stages and with the word of who holds their files, all or none. Workers stop them
    /// when they see the stage go. One that has any record can be removed, whatever is in it.
    ///
    /// # Errors
    /// As [`Scheduler::set_stage`].
    pub fn remove_subtasks(
        &self,
        task: &TaskName,
        sources: &[SourceId],
        max_operations: usize,
    ) -> Result<Plan<Extent>, DmError> {
        self.check_members(task, sources, |s| !s.is_empty())?;
        self.change(OperationKind::Stop, task, sources, max_operations)
    }

    /// All of it in one transaction, or the record by which it is done in several.
    fn change(
        &self,
        kind: OperationKind,
        task: &TaskName,
        sources: &[SourceId],
        max_operations: usize,
    ) -> Result<Plan<Extent>, DmError> {
        let (name, latch) = match kind {
            OperationKind::Stop => ("stop_task", "RemoveSubTasks"),
            OperationKind::Pause => ("pause_task", "UpdateExpectSubTaskStage"),
            _ => ("resume_task", "UpdateExpectSubTaskStage"),
        };
        let id = OperationId::Task(task.clone());
        let proposal = self.alone(Proposal::new(name), &id, latch)?;
        let sources = distinct(sources);
        if sources.len() > batch(kind, max_operations) {
            let sources: Vec<SourceId> = sources.into_iter().cloned().collect();
            let record = self.record(kind, max_operations, &sources);
            let proposal = proposal.put(id.key(), record.to_bytes());
            return Ok(Plan::Commit(proposal, Extent::InParts));
        }
        let written = sources
            .into_iter()
            .fold(proposal, |proposal, source| match kind {
                OperationKind::Stop => self.remove_subtask(proposal, task, source),
                _ => self.put_stage(proposal, task, source, stage_of(kind)),
            });
        Ok(Plan::Commit(written, Extent::Whole))
    }

    /// Adds a subtask's stage.
    pub(in crate::machine) fn put_stage(
        &self,
        proposal: Proposal,
        task: &TaskName,
        id: &SourceId,
        stage: Stage,
    ) -> Proposal {
        let key = SubtaskStageKey {
            source: id.clone(),
            task: task.clone(),
        }
        .encode();
        let record = StageRecord::subtask(stage, id.clone(), task.clone()).to_bytes();
        proposal
            .guard(self.stage_as_seen(task, id, &key))
            .put(key, record)
    }

    /// Adds the removal of a subtask.
    pub(in crate::machine) fn remove_subtask(
        &self,
        proposal: Proposal,
        task: &TaskName,
        id: &SourceId,
    ) -> Proposal {
        let (source, name) = (id.clone(), task.clone());
        let stage = SubtaskStageKey {
            source: source.clone(),
            task: name.clone(),
        }
        .encode();
        let config = SubtaskKey {
            source: source.clone(),
            task: name.clone(),
        };
        let validator = ValidatorStageKey {
            source: source.clone(),
            task: name.clone(),
        };
        // Else the next task of that name would go where the files of this one are.
        let files = LoadTaskKey { task: name, source };
        proposal
            .guard(self.stage_as_seen(task, id, &stage))
            .delete(KeyRange::key(config.encode()))
            .delete(KeyRange::key(stage))
            .delete(KeyRange::key(validator.encode()))
            .delete(KeyRange::key(files.encode()))
    }

    fn stage_as_seen(&self, task: &TaskName, id: &SourceId, key: &str) -> Guard {
        let seen = self.subtask_of(id, task).and_then(|s| s.stage);
        Guard::unchanged(key.to_owned(), seen.map(|s| s.revision))
    }

    fn check_members(
        &self,
        task: &TaskName,
        sources: &[SourceId],
        is_member: impl Fn(&Subtask) -> bool,
    ) -> Result<(), DmError> {
        if !self.tasks.contains_key(task) {
            return Err(about(Code::SCHEDULER_SUB_TASK_OP_TASK_NOT_EXIST, task));
        }
        let is_member = |id: &&SourceId| self.subtask_of(id, task).is_some_and(&is_member);
        let missing: Vec<&SourceId> = sources.iter().filter(|id| !is_member(id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(DmError::new(
            Code::SCHEDULER_SUB_TASK_OP_SOURCE_NOT_EXIST,
            &[&List(&missing)],
        ))
    }
}

/// etcd refuses to write a key twice in one transaction.
fn distinct(sources: &[SourceId]) -> std::collections::BTreeSet<&SourceId> {
    sources.iter().collect()
}

fn args(proposal: Proposal, task: &NewTask) -> Proposal {
    let Some(start_time) = &task.args.start_time else {
        if matches!(task.part, Part::Next | Part::Last) {
            return proposal;
        }
        return proposal.delete(KeyRange::prefix(TaskCliArgsKey::prefix_of_task(&task.name)));
    };
    let value = TaskCliArgs {
        start_time: start_time.clone(),
        ..TaskCliArgs::default()
    }
    .to_bytes();
    task.subtasks.iter().fold(proposal, |proposal, subtask| {
        let key = TaskCliArgsKey {
            task: task.name.clone(),
            source: subtask.source.clone(),
        };
        proposal.put(key.encode(), value.clone())
    })
}

/// With a physical import every source starts as not ready; records of another run that stay would mislead it.
fn import_status(proposal: Proposal, task: &NewTask) -> Proposal {
    let is_first = matches!(task.part, Part::First { .. });
    if is_first || !task.is_physical_import {
        let old = KeyRange::prefix(LightningKey::prefix_of_task(&task.name));
        return if task.removes_meta {
            proposal.delete(old)
        } else {
            proposal
        };
    }
    let value = Lightning::NotReady.to_bytes();
    task.subtasks.iter().fold(proposal, |proposal, subtask| {
        let key = LightningKey {
            task: task.name.clone(),
            source: subtask.source.clone(),
        };
        proposal.put(key.encode(), value.clone())
    })
}
