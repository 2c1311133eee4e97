//! Validators: which subtasks a request means, starting them with another mode or time, stopping them.

use dm_errors::DmError;
use dm_keyspace::{
    SourceId, Stage, StageRecord, SubtaskKey, SubtaskStageKey, TaskName, ValidatorStageKey,
};
use dm_replica::{Plan, Proposal};
use dm_store::Guard;
use dm_task::SubtaskConfig;

use crate::machine::Scheduler;

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

    /// Starts or resumes the validators of subtasks, all or none.
    ///
    /// # Errors
    /// In DM's words, without a code, when some are enabled already and the request does not allow for it.
    pub fn start_validation(
        &self,
        targets: &[Target],
        new: &NewValidation,
    ) -> Result<Plan<()>, DmError> {
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
        let mut proposal = Proposal::new("start_validation");
        for target in targets {
            if !self.is_enabled(target) {
                proposal = self.put_validator_config(proposal, target, new)?;
            }
            proposal = self.put_validator_stage(proposal, target, Stage::Running);
        }
        Ok(Plan::Commit(proposal, ()))
    }

    /// Stops the validators of subtasks, all or none; again is no failure.
    ///
    /// # Errors
    /// In DM's words, without a code, when one is not enabled.
    pub fn stop_validation(&self, targets: &[Target]) -> Result<Plan<()>, DmError> {
        if let Some((task, id)) = targets.iter().find(|target| !self.is_enabled(target)) {
            return Err(DmError::uncoded(format!(
                "some target validator({task} with source {id}) is not enabled"
            )));
        }
        let proposal = targets
            .iter()
            .fold(Proposal::new("stop_validation"), |proposal, target| {
                self.put_validator_stage(proposal, target, Stage::Stopped)
            });
        Ok(Plan::Commit(proposal, ()))
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
