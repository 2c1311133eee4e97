//! Moving a source to a named worker.
//!
//! Three steps, each one transaction that checks everything again: `begin` pauses what runs and leaves a record of
//! it, `complete` moves and lets it run again, `abandon` lets it run again where it is. See [`crate::machine`] for
//! what becomes of the record when the leader goes away in between.

use dm_errors::{Code, DmError, List};
use dm_keyspace::{SourceId, Stage, StageRecord, SubtaskStageKey, TaskName, WorkerName};
use dm_replica::{Plan, Proposal};
use dm_store::{Guard, Revision};

use super::about;
use crate::machine::Scheduler;
use crate::machine::decide::{alive_key, bound_key};
use crate::machine::intent::{Intent, key_of};
use crate::machine::query::BoundWorker;
use crate::machine::record::{Source, WorkerStage};

/// Where a transfer stands after it has begun.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Begun {
    /// The source is where it is wanted.
    Done,
    /// These tasks have been told to pause on the worker, and are to be waited for.
    Waiting {
        /// Who serves the source now.
        from: BoundWorker,
        /// What is to be paused there.
        paused: Vec<TaskName>,
    },
}

/// What a transfer would do, before it does anything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outlook {
    /// Who serves the source now.
    pub from: Option<BoundWorker>,
    /// The tasks that would have to be paused.
    pub running: Vec<TaskName>,
}

impl Scheduler {
    /// Whether a transfer is possible, and what there is to ask first. None when the source is there already.
    ///
    /// # Errors
    /// 46008 and 46004 for unknown names, 46006 when the worker is offline or bound, 46027 when it pulls the relay
    /// log of another source, 46019 while the source's dumped files are being loaded.
    pub fn transfer_outlook(
        &self,
        id: &SourceId,
        to: &WorkerName,
    ) -> Result<Option<Outlook>, DmError> {
        let source = self.transferable(id)?;
        let Some(stage) = self.worker_stage(to) else {
            return Err(about(Code::SCHEDULER_WORKER_NOT_EXIST, to));
        };
        let from = self.bound_worker(id);
        if from.as_ref().is_some_and(|b| b.worker == *to) {
            return Ok(None);
        }
        self.check_may_take(id, to, stage)?;
        let running = source
            .subtasks
            .iter()
            .filter(|(_, subtask)| subtask.stage.is_some_and(|s| s.stage == Stage::Running));
        let running: Vec<TaskName> = running.map(|(task, _)| task.clone()).collect();
        let loading: Vec<&TaskName> = source
            .loads
            .iter()
            .filter(|(task, worker)| {
                let is_live = source
                    .subtasks
                    .get(*task)
                    .is_some_and(|s| s.config.is_some());
                is_live && from.as_ref().is_some_and(|b| b.worker == **worker)
            })
            .map(|(task, _)| task)
            .collect();
        if !loading.is_empty() {
            return Err(not_in_sync(&loading, id));
        }
        Ok(Some(Outlook { from, running }))
    }

    fn transferable(&self, id: &SourceId) -> Result<&Source, DmError> {
        let known = self.sources.get(id).filter(|s| s.config.is_some());
        known.ok_or_else(|| about(Code::SCHEDULER_SOURCE_CFG_NOT_EXIST, id))
    }

    fn check_may_take(
        &self,
        id: &SourceId,
        to: &WorkerName,
        stage: WorkerStage,
    ) -> Result<(), DmError> {
        let relay = self.workers.get(to).and_then(|w| w.relay.as_ref());
        match (stage, relay) {
            (WorkerStage::Offline | WorkerStage::Bound, _) => Err(DmError::new(
                Code::SCHEDULER_WORKER_INVALID_TRANS,
                &[to, &stage.as_str(), &WorkerStage::Bound.as_str()],
            )),
            (_, Some(relay)) if relay != id => Err(DmError::new(
                Code::SCHEDULER_BOUND_DIFF_WITH_STARTED_RELAY,
                &[to, id, relay],
            )),
            _ => Ok(()),
        }
    }

    /// Begins a transfer; without running tasks it is done at once. One transaction of at most `max_operations`.
    ///
    /// # Errors
    /// Those of [`Scheduler::transfer_outlook`]; 46024 while another transfer of the source is under way; a text
    /// without a code for more running tasks than fit.
    pub fn begin_transfer(
        &self,
        id: &SourceId,
        to: &WorkerName,
        max_operations: usize,
    ) -> Result<Plan<Begun>, DmError> {
        let Some(outlook) = self.transfer_outlook(id, to)? else {
            return Ok(Plan::Done(Begun::Done));
        };
        let source = self.transferable(id)?;
        if source.intent.is_some() {
            let resource = format!("source {id}");
            return Err(DmError::new(
                Code::SCHEDULER_LATCH_IN_USE,
                &[&"TransferSource", &resource],
            ));
        }
        // The record, and what the end of the transfer adds to it: bounds, relay stage, the fence.
        if outlook.running.len() + 8 > max_operations {
            return Err(DmError::uncoded(format!(
                "source {id} has {} running tasks, and a transfer can pause {} of them by itself; please pause some \
                 with `pause-task`",
                outlook.running.len(),
                max_operations.saturating_sub(8)
            )));
        }
        let unmoved = Guard::Missing(key_of(id).into());
        let Some(from) = outlook.from.filter(|_| !outlook.running.is_empty()) else {
            let proposal = self.moved(Proposal::new("transfer_source"), id, source, to)?;
            return Ok(Plan::Commit(proposal.guard(unmoved), Begun::Done));
        };
        let term = self.term().unwrap_or(Revision::ZERO);
        let intent = Intent {
            to: to.to_string(),
            from: from.worker.to_string(),
            paused: outlook.running.iter().map(ToString::to_string).collect(),
            term: term.0,
        };
        let proposal = Proposal::new("begin_transfer")
            .guard(unmoved)
            .guard(Guard::ModRevision(
                bound_key(&from.worker),
                self.bound_revision(&from.worker),
            ))
            .put(key_of(id), intent.to_bytes());
        let proposal = outlook
            .running
            .iter()
            .fold(proposal, |proposal, task| pause(proposal, id, source, task));
        let paused = outlook.running;
        Ok(Plan::Commit(proposal, Begun::Waiting { from, paused }))
    }

    /// Moves the source of a transfer that has begun, and lets what was paused run again.
    ///
    /// # Errors
    /// Those of [`Scheduler::transfer_outlook`]; 46026 when the source has left its worker in the meantime.
    pub fn complete_transfer(&self, id: &SourceId) -> Result<Plan<()>, DmError> {
        let source = self.transferable(id)?;
        let Some(seen) = &source.intent else {
            return Err(about(
                Code::SCHEDULER_SOURCE_CFG_NOT_EXIST,
                format!("{id} (in transfer)"),
            ));
        };
        let (from, to) = (seen.from(), seen.to());
        let now = self.bound_worker(id);
        if now.as_ref().is_none_or(|b| b.worker != from) {
            let bound = self.workers.get(&from).and_then(|w| w.bound.as_ref());
            let bound = bound.and_then(|b| b.source.clone());
            let bound = bound.map(String::from).unwrap_or_default();
            return Err(DmError::new(
                Code::SCHEDULER_WRONG_WORKER_INPUT,
                &[&from, id, &bound],
            ));
        }
        self.transfer_outlook(id, &to)?;
        let proposal = self.moved(Proposal::new("transfer_source"), id, source, &to)?;
        let proposal = self.end_transfer(proposal, id, source, seen);
        Ok(Plan::Commit(proposal, ()))
    }

    /// Ends a transfer without a move: what it has paused runs again. Nothing to do is no failure.
    ///
    /// # Errors
    /// None; the type is that of all requests.
    pub fn abandon_transfer(&self, id: &SourceId) -> Result<Plan<()>, DmError> {
        let found = self
            .sources
            .get(id)
            .and_then(|s| Some((s, s.intent.as_ref()?)));
        Ok(match found {
            None => Plan::Done(()),
            Some((source, seen)) => {
                let undo = Proposal::new("abandon_transfer");
                Plan::Commit(self.end_transfer(undo, id, source, seen), ())
            }
        })
    }

    /// Adds the delete of all bounds of the source and the put of the new one.
    fn moved(
        &self,
        proposal: Proposal,
        id: &SourceId,
        source: &Source,
        to: &WorkerName,
    ) -> Result<Proposal, DmError> {
        // A worker that the loop may be binding right now.
        let paired = self.placement.worker_of(id).filter(|name| *name != to);
        let proposal = match paired {
            Some(name) => proposal.guard(Guard::Missing(bound_key(name))),
            None => proposal,
        };
        let released = source
            .bounds
            .iter()
            .fold(proposal, |proposal, name| self.release(proposal, name));
        // A bind of the loop that is under way relies on the configuration being as it was.
        let text = source.config.as_ref().map(|c| c.text.bytes.to_vec());
        self.bind(released, to, id, source)
            .map(|proposal| {
                let key = dm_keyspace::SourceConfigKey { source: id.clone() };
                proposal
                    .guard(Guard::Exists(alive_key(to)))
                    .put(key.encode(), text.unwrap_or_default())
            })
            .ok_or_else(|| about(Code::SCHEDULER_WORKER_NOT_EXIST, to))
    }
}

fn pause(proposal: Proposal, id: &SourceId, source: &Source, task: &TaskName) -> Proposal {
    let seen = source.subtasks.get(task).and_then(|s| s.stage);
    let key = SubtaskStageKey {
        source: id.clone(),
        task: task.clone(),
    }
    .encode();
    let paused = StageRecord::subtask(Stage::Paused, id.clone(), task.clone());
    proposal
        .guard(Guard::unchanged(key.clone(), seen.map(|s| s.revision)))
        .put(key, paused.to_bytes())
}

/// 46019: only what is replicated can be moved.
#[must_use]
pub fn not_in_sync<T: std::fmt::Display>(tasks: &[T], id: &SourceId) -> DmError {
    DmError::new(
        Code::SCHEDULER_REQUIRE_RUNNING_TASK_IN_SYNC_UNIT,
        &[&List(tasks), id],
    )
}

/// 46032: tasks that do not pause cannot be moved.
#[must_use]
pub fn cannot_pause(tasks: &[TaskName]) -> DmError {
    DmError::new(
        Code::SCHEDULER_PAUSE_TASK_FOR_TRANSFER_SOURCE,
        &[&List(tasks)],
    )
}
