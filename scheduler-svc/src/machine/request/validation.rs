//! Validators: which subtasks a request means, starting them with another mode or time, stopping them.

use std::collections::BTreeMap;

use dm_errors::DmError;
use dm_keyspace::{
    OperationKind, SourceId, Stage, StageRecord, SubtaskKey, SubtaskStageKey, TaskName, TaskStart,
    ValidatorStageKey,
};
use dm_replica::{Plan, Proposal};
use dm_store::Guard;
use dm_task::SubtaskConfig;

use crate::machine::Scheduler;
use crate::machine::starts::{MOST_BYTES, OperationId, batch, stage_of};

/// A subtask, by the names of its task and its source.
pub type Target = (TaskName, SourceId);

/// How validators are to be started. Nothing given resumes them as they are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NewValidation {
    /// `full` or `fast`.
    pub mode: Option<String>,
    /// Where in time to begin.
    pub start_time: Option<String>,
}

impl NewValidation {
    fn is_explicit(&self) -> bool {
        self.mode.is_some() || self.start_time.is_some()
    }
}

impl Scheduler {
    /// The subtasks of a task, or of all tasks without its name; with sources only those.
    #[must_use]
    pub fn validation_targets(&self, task: &TaskName, sources: &[SourceId]) -> Vec<Target> {
        let is_meant = |(id, name): &(&SourceId, &TaskName)| {
            (task.is_empty() || *name == task) && (sources.is_empty() || sources.contains(id))
        };
        let mut targets: Vec<Target> = self
            .subtasks()
            .filter(is_meant)
            .map(|(id, name)| (name.clone(), id.clone()))
            .collect();
        targets.sort();
        targets
    }

    /// Starts or resumes the validators of subtasks, all or none. Answers the tasks whose loop is to be waited for.
    ///
    /// # Errors
    /// In DM's words, without a code, when some are enabled already and the request does not allow for it, when a
    /// subtask is gone or cannot be read, or another operation on its task is under way.
    pub fn start_validation(
        &self,
        targets: &[Target],
        new: &NewValidation,
        max_operations: usize,
    ) -> Result<Plan<Vec<TaskName>>, DmError> {
        self.check_readable(targets)?;
        let enabled = targets.iter().find(|target| self.is_enabled(target));
        let is_any_disabled = targets.iter().any(|target| !self.is_enabled(target));
        let refusal = match (enabled, is_any_disabled, new.is_explicit()) {
            (Some((task, id)), true, true) => Some(format!(
                "some of target validator({task} with source {id}) has already enabled, so we can't enable them in \
                 one command"
            )),
            (Some(_), false, true) => Some(
                "all target validator has enabled, cannot do 'validation start' with explicit mode or start-time"
                    .to_owned(),
            ),
            (Some((task, id)), true, false) => Some(format!(
                "some of target validator({task} with source {id}) has already enabled, so we can't enable or start \
                 them in one command"
            )),
            _ => None,
        };
        if let Some(text) = refusal {
            return Err(DmError::uncoded(text));
        }
        self.change_validators(OperationKind::StartValidation, targets, new, max_operations)
    }

    /// Stops the validators of subtasks, all or none; again is no failure. Answers as a start does.
    ///
    /// # Errors
    /// In DM's words, without a code, when one is not enabled or another operation on its task is under way.
    pub fn stop_validation(
        &self,
        targets: &[Target],
        max_operations: usize,
    ) -> Result<Plan<Vec<TaskName>>, DmError> {
        if let Some((task, id)) = targets.iter().find(|target| !self.is_enabled(target)) {
            return Err(DmError::uncoded(format!(
                "some target validator({task} with source {id}) is not enabled"
            )));
        }
        let new = NewValidation::default();
        self.change_validators(OperationKind::StopValidation, targets, &new, max_operations)
    }

    fn check_readable(&self, targets: &[Target]) -> Result<(), DmError> {
        let is_bad = |(task, id): &&Target| {
            let subtask = self.subtask_of(id, task);
            subtask.is_none_or(|s| !s.has_readable_config())
        };
        match targets.iter().find(is_bad) {
            None => Ok(()),
            Some((task, id)) => Err(DmError::uncoded(format!(
                "the configuration of task {task} for source {id} is gone or cannot be read"
            ))),
        }
    }

    /// All in one transaction, or the records, one of each task, by which it is done in several.
    fn change_validators(
        &self,
        kind: OperationKind,
        targets: &[Target],
        new: &NewValidation,
        max_operations: usize,
    ) -> Result<Plan<Vec<TaskName>>, DmError> {
        let mut by_task: BTreeMap<&TaskName, Vec<SourceId>> = BTreeMap::new();
        for (task, id) in targets {
            by_task.entry(task).or_default().push(id.clone());
        }
        let name = match kind {
            OperationKind::StopValidation => "stop_validation",
            _ => "start_validation",
        };
        let mut proposal = Proposal::new(name);
        for task in by_task.keys() {
            let in_use = |_| DmError::uncoded(format!("latch {task} is in use by other client"));
            let id = OperationId::Task((*task).clone());
            proposal = self.alone(proposal, &id, name).map_err(in_use)?;
        }
        // Each task takes a condition beside those of its subtasks.
        if targets.len() + by_task.len() <= batch(kind, max_operations) {
            let written = self.write_validators(proposal.clone(), kind, targets, new)?;
            let bytes = written.puts.iter().map(|put| put.value.bytes(None).len());
            if bytes.sum::<usize>() <= MOST_BYTES {
                return Ok(Plan::Commit(written, Vec::new()));
            }
        }
        if by_task.len() + 2 > max_operations {
            return Err(DmError::uncoded(format!(
                "the validators of {} tasks cannot be changed in one command; please name a task",
                by_task.len()
            )));
        }
        let tasks = by_task.keys().map(|task| (*task).clone()).collect();
        for (task, sources) in by_task {
            let record = TaskStart {
                mode: new.mode.clone(),
                start_time: new.start_time.clone(),
                ..self.record(kind, max_operations, &sources)
            };
            proposal = proposal.put(OperationId::Task(task.clone()).key(), record.to_bytes());
        }
        Ok(Plan::Commit(proposal, tasks))
    }

    fn write_validators(
        &self,
        proposal: Proposal,
        kind: OperationKind,
        targets: &[Target],
        new: &NewValidation,
    ) -> Result<Proposal, DmError> {
        targets.iter().try_fold(proposal, |proposal, target| {
            let is_new = kind == OperationKind::StartValidation && !self.is_enabled(target);
            let proposal = match is_new {
                true => self.put_validator_config(proposal, target, new)?,
                false => proposal,
            };
            Ok(self.put_validator_stage(proposal, target, stage_of(kind)))
        })
    }

    /// Adds one validator's change, as the record of an operation says.
    pub(in crate::machine) fn step_of_validator(
        &self,
        proposal: Proposal,
        task: &TaskName,
        source: &SourceId,
        record: &TaskStart,
    ) -> Proposal {
        let target = (task.clone(), source.clone());
        let new = NewValidation {
            mode: record.mode.clone(),
            start_time: record.start_time.clone(),
        };
        let before = proposal.clone();
        // A configuration that was readable when the operation began is left out when it no longer is.
        self.write_validators(proposal, record.kind, &[target], &new)
            .unwrap_or(before)
    }

    fn is_enabled(&self, (task, id): &Target) -> bool {
        self.subtask_of(id, task)
            .is_some_and(|s| s.validator.is_some())
    }

    fn put_validator_config(
        &self,
        proposal: Proposal,
        (task, id): &Target,
        new: &NewValidation,
    ) -> Result<Proposal, DmError> {
        let text = self.subtask_config(id, task).unwrap_or_default();
        let mut config = SubtaskConfig::from_toml(&String::from_utf8_lossy(&text))?;
        config.validator.mode = new.mode.clone().unwrap_or_else(|| "full".to_owned());
        config.validator.start_time = new.start_time.clone().unwrap_or_default();
        let key = SubtaskKey {
            source: id.clone(),
            task: task.clone(),
        };
        Ok(proposal.put(key.encode(), config.to_toml()?))
    }

    /// Relies on the subtask being there as it was seen: a stop in between must not bring half of it back.
    fn put_validator_stage(
        &self,
        proposal: Proposal,
        (task, id): &Target,
        stage: Stage,
    ) -> Proposal {
        let seen = self.subtask_of(id, task);
        let (source, name) = (id.clone(), task.clone());
        let config = SubtaskKey {
            source: source.clone(),
            task: name.clone(),
        };
        let subtask_stage = SubtaskStageKey {
            source: source.clone(),
            task: name.clone(),
        };
        let validator = ValidatorStageKey { source, task: name }.encode();
        proposal
            .guard(Guard::unchanged(
                config.encode(),
                seen.and_then(|s| s.config.as_ref()).map(|c| c.revision),
            ))
            .guard(Guard::unchanged(
                subtask_stage.encode(),
                seen.and_then(|s| s.stage).map(|s| s.revision),
            ))
            .guard(Guard::unchanged(
                validator.clone(),
                seen.and_then(|s| s.validator).map(|s| s.revision),
            ))
            .put(
                validator,
                StageRecord::subtask(stage, id.clone(), task.clone()).to_bytes(),
            )
    }
}
