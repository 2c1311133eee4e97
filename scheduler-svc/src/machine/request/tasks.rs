//! Starting tasks, changing their stages, stopping them.

use bytes::Bytes;
use dm_errors::{Code, DmError, List};
use dm_keyspace::{
    Lightning, LightningKey, SourceConfigKey, SourceId, Stage, StageRecord, SubtaskKey,
    SubtaskStageKey, TaskCliArgs, TaskCliArgsKey, TaskName, ValidatorStageKey,
};
use dm_replica::{Plan, Proposal};
use dm_store::{Guard, KeyRange};

use super::{about, about_list};
use crate::machine::Scheduler;
use crate::machine::decide::bound_key;
use crate::machine::fold::config_key;
use crate::machine::starts::Part;

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

    /// The task in parts that each fit into one transaction of `max_operations`. What belongs to the task as a
    /// whole, the removal of old records, is in the first one.
    #[must_use]
    pub fn parts(self, max_operations: usize) -> Vec<Self> {
        let size = (max_operations.saturating_sub(Self::ONCE) / Self::PER_SUBTASK).max(1);
        let count = self.subtasks.len().div_ceil(size);
        let part = |(at, subtasks): (usize, &[NewSubtask])| Self {
            subtasks: subtasks.to_vec(),
            removes_meta: self.removes_meta && at == 0,
            part: match at {
                0 if count == 1 => Part::Only,
                0 => Part::First { max_operations },
                at if at + 1 == count => Part::Last,
                _ => Part::Next,
            },
            ..self.clone()
        };
        self.subtasks.chunks(size).enumerate().map(part).collect()
    }
}

/// Sources in groups whose stages can be written or removed in one transaction of `max_operations`.
#[must_use]
pub fn groups(sources: &[SourceId], max_operations: usize) -> Vec<Vec<SourceId>> {
    // Configuration, stage and validator stage of each.
    let size = (max_operations.saturating_sub(2) / 3).max(1);
    sources.chunks(size).map(<[SourceId]>::to_vec).collect()
}

/// The stages that a request may give a subtask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SubtaskStage {
    /// Go on.
    Running,
    /// Stand still, keep everything.
    Paused,
}

impl From<SubtaskStage> for Stage {
    fn from(stage: SubtaskStage) -> Self {
        match stage {
            SubtaskStage::Running => Self::Running,
            SubtaskStage::Paused => Self::Paused,
        }
    }
}

impl Scheduler {
    /// Adds the subtasks that are not there yet, running, all in one transaction with the task's arguments. A task
    /// of more sources than fit is started in [`NewTask::parts`].
    ///
    /// # Errors
    /// 46014 when all of them exist (or any, with a physical import or `removes_meta`), 46009 when a source has
    /// no worker, 46024 while another start of the task is under way.
    pub fn start_task(&self, task: &NewTask) -> Result<Plan<()>, DmError> {
        let existing = self.sources_of_task(&task.name);
        let (old, new): (Vec<_>, Vec<_>) = task
            .subtasks
            .iter()
            .partition(|s| existing.contains(&s.source));
        if task.removes_meta {
            self.check_task_absent(&task.name)?;
        }
        if !old.is_empty() && (new.is_empty() || task.is_physical_import) {
            let mut names: Vec<&SourceId> = old.iter().map(|s| &s.source).collect();
            names.sort();
            return Err(about_list(
                Code::SCHEDULER_SUB_TASK_EXIST,
                &task.name,
                &names,
            ));
        }
        let unbound: Vec<&SourceId> = new
            .iter()
            .map(|s| &s.source)
            .filter(|id| self.bound_worker(id).is_none())
            .collect();
        if !unbound.is_empty() {
            return Err(DmError::new(
                Code::SCHEDULER_SOURCES_UNBOUND,
                &[&List(&unbound)],
            ));
        }
        let proposal = self.put_start(Proposal::new("start_task"), &task.name, task.part)?;
        let mut proposal = args(proposal, task);
        if task.removes_meta {
            proposal = proposal.delete(KeyRange::prefix(dm_keyspace::LoadTaskKey::prefix_of_task(
                &task.name,
            )));
        }
        proposal = import_status(proposal, task);
        for subtask in new {
            proposal = self.add_subtask(proposal, &task.name, subtask);
        }
        Ok(Plan::Commit(proposal, ()))
    }

    /// Whether metadata of the task may be removed.
    ///
    /// # Errors
    /// 46014 while any subtask of it exists.
    pub fn check_task_absent(&self, task: &TaskName) -> Result<(), DmError> {
        let existing: Vec<SourceId> = self.sources_of_task(task).into_iter().collect();
        if existing.is_empty() {
            return Ok(());
        }
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
    /// 46016 for an unknown task, 46017 for sources without a stage in it.
    pub fn set_stage(
        &self,
        stage: SubtaskStage,
        task: &TaskName,
        sources: &[SourceId],
    ) -> Result<Plan<()>, DmError> {
        self.check_members(task, sources)?;
        let mut proposal = Proposal::new(match stage {
            SubtaskStage::Running => "resume_task",
            SubtaskStage::Paused => "pause_task",
        });
        for id in distinct(sources) {
            let seen = self
                .subtask_of(id, task)
                .and_then(|s| s.stage)
                .map(|s| s.revision);
            let key = SubtaskStageKey {
                source: id.clone(),
                task: task.clone(),
            }
            .encode();
            let record = StageRecord::subtask(stage.into(), id.clone(), task.clone()).to_bytes();
            proposal = proposal
                .guard(Guard::unchanged(key.clone(), seen))
                .put(key, record);
        }
        Ok(Plan::Commit(proposal, ()))
    }

    /// Removes subtasks with their stages, all or none. Workers stop them when they see the stage go.
    ///
    /// # Errors
    /// As [`Scheduler::set_stage`].
    pub fn remove_subtasks(
        &self,
        task: &TaskName,
        sources: &[SourceId],
    ) -> Result<Plan<()>, DmError> {
        self.check_members(task, sources)?;
        let mut proposal = Proposal::new("stop_task");
        for id in distinct(sources) {
            let (source, task) = (id.clone(), task.clone());
            let seen = self
                .subtask_of(id, &task)
                .and_then(|s| s.stage)
                .map(|s| s.revision);
            let stage = SubtaskStageKey {
                source: source.clone(),
                task: task.clone(),
            }
            .encode();
            proposal = proposal
                .guard(Guard::unchanged(stage.clone(), seen))
                .delete(KeyRange::key(
                    SubtaskKey {
                        source: source.clone(),
                        task: task.clone(),
                    }
                    .encode(),
                ))
                .delete(KeyRange::key(stage))
                .delete(KeyRange::key(ValidatorStageKey { source, task }.encode()));
        }
        Ok(Plan::Commit(proposal, ()))
    }

    fn check_members(&self, task: &TaskName, sources: &[SourceId]) -> Result<(), DmError> {
        if !self.tasks.contains_key(task) {
            return Err(about(Code::SCHEDULER_SUB_TASK_OP_TASK_NOT_EXIST, task));
        }
        let is_member =
            |id: &&SourceId| self.subtask_of(id, task).is_some_and(|s| s.stage.is_some());
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
    if !task.is_physical_import {
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
