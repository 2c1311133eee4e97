//! What requests ask of the state.

use std::collections::BTreeSet;

use dm_keyspace::{SourceId, Stage, TaskName, WorkerName};

use super::Scheduler;
use super::record::{Subtask, WorkerStage};

/// A worker as `list-member` shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkerRow {
    /// Its name.
    pub name: WorkerName,
    /// Where it listens.
    pub addr: String,
    /// How it stands.
    pub stage: WorkerStage,
    /// The source that it serves.
    pub source: Option<SourceId>,
}

/// The worker that serves a source, and where to call it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BoundWorker {
    /// The source.
    pub source: SourceId,
    /// The worker's name.
    pub worker: WorkerName,
    /// Where it listens.
    pub addr: String,
}

impl Scheduler {
    /// All registered workers, by name.
    pub fn worker_rows(&self) -> impl Iterator<Item = WorkerRow> {
        self.workers.iter().filter_map(|(name, worker)| {
            let addr = worker.registered.as_ref()?.addr.clone();
            let stage = worker.stage();
            let bound = worker
                .bound
                .as_ref()
                .filter(|_| stage == WorkerStage::Bound);
            Some(WorkerRow {
                name: name.clone(),
                addr,
                stage,
                source: bound.and_then(|b| b.source.clone()),
            })
        })
    }

    /// How a worker stands; none if it is not registered.
    #[must_use]
    pub fn worker_stage(&self, name: &WorkerName) -> Option<WorkerStage> {
        self.workers
            .get(name)
            .filter(|w| w.registered.is_some())
            .map(super::record::Worker::stage)
    }

    /// Where a registered worker listens.
    #[must_use]
    pub fn worker_addr(&self, name: &WorkerName) -> Option<String> {
        let registered = self.workers.get(name)?.registered.as_ref()?;
        Some(registered.addr.clone())
    }

    /// What keeps workers from sources that they are told to serve, in words for operators.
    pub fn conflicts(&self) -> impl Iterator<Item = String> {
        let relaying = self.relaying.iter().filter_map(|name| {
            let worker = self.workers.get(name)?;
            Some((name, worker, worker.relay.as_ref()?))
        });
        relaying.flat_map(move |(name, worker, relay)| {
            let hindered = move |(id, task): &&(SourceId, TaskName)| {
                id != relay
                    && self
                        .subtask_of(id, task)
                        .is_some_and(|s| s.config.is_some())
            };
            let files = worker.loads.iter().filter(hindered);
            files.map(move |(id, task)| {
                format!(
                    "worker {name} has dumped files of source {id} for task {task}, which it cannot serve while it \
                     pulls the relay log of {relay}"
                )
            })
        })
    }

    /// Tasks that have subtasks, by name.
    pub fn task_names(&self) -> impl Iterator<Item = &TaskName> {
        self.tasks.keys().filter(|task| self.has_task(task))
    }

    pub(super) fn has_task(&self, task: &TaskName) -> bool {
        let mut members = self.tasks.get(task).into_iter().flatten();
        members.any(|id| self.has_subtask(id, task))
    }

    /// The worker that serves a source.
    #[must_use]
    pub fn bound_worker(&self, id: &SourceId) -> Option<BoundWorker> {
        let worker = self.keeper(self.sources.get(id)?)?;
        let addr = self.workers.get(worker)?.registered.as_ref()?.addr.clone();
        Some(BoundWorker {
            source: id.clone(),
            worker: worker.clone(),
            addr,
        })
    }

    /// The bound worker first, then those that pull the source's relay log by name.
    #[must_use]
    pub fn workers_of_source(&self, id: &SourceId) -> Vec<BoundWorker> {
        let mut found: Vec<BoundWorker> = self.bound_worker(id).into_iter().collect();
        let relays = self.sources.get(id).into_iter().flat_map(|s| &s.relays);
        for name in relays
            .filter(|name| found.first().is_none_or(|b| b.worker != **name))
            .collect::<Vec<_>>()
        {
            if let Some(info) = self.workers.get(name).and_then(|w| w.registered.as_ref()) {
                found.push(BoundWorker {
                    source: id.clone(),
                    worker: name.clone(),
                    addr: info.addr.clone(),
                });
            }
        }
        found
    }

    /// Whether workers are told by name to pull the source's relay log.
    #[must_use]
    pub fn has_relay_workers(&self, id: &SourceId) -> bool {
        self.sources.get(id).is_some_and(|s| !s.relays.is_empty())
    }

    /// Sources that have a configuration, by id.
    pub fn source_ids(&self) -> impl Iterator<Item = &SourceId> {
        self.sources
            .iter()
            .filter(|(_, s)| s.config.is_some())
            .map(|(id, _)| id)
    }

    /// The text of a source's configuration.
    #[must_use]
    pub fn source_config(&self, id: &SourceId) -> Option<bytes::Bytes> {
        Some(self.sources.get(id)?.config.as_ref()?.text.bytes.clone())
    }

    /// Sources that have a worker, by id.
    pub fn bound_sources(&self) -> impl Iterator<Item = &SourceId> {
        self.sources
            .iter()
            .filter(|(_, s)| self.keeper(s).is_some())
            .map(|(id, _)| id)
    }

    /// Whether nothing more is to come for a source by itself: it has a worker, or there is none to be had.
    #[must_use]
    pub fn is_settled(&self, id: &SourceId) -> bool {
        self.bound_worker(id).is_some() || self.placement.is_waiting(id)
    }

    /// The number of sources for which there is no worker to be had.
    #[must_use]
    pub fn waiting_sources(&self) -> usize {
        self.placement.waiting()
    }

    /// The sources that have a subtask of the task.
    #[must_use]
    pub fn sources_of_task(&self, task: &TaskName) -> BTreeSet<SourceId> {
        let members = self.tasks.get(task).into_iter().flatten();
        members
            .filter(|id| {
                self.subtask_of(id, task)
                    .is_some_and(|s| s.config.is_some())
            })
            .cloned()
            .collect()
    }

    /// The sources that have any record of a subtask of the task, be it one that cannot be read.
    #[must_use]
    pub fn members_of_task(&self, task: &TaskName) -> BTreeSet<SourceId> {
        let members = self.tasks.get(task).into_iter().flatten();
        members
            .filter(|id| self.subtask_of(id, task).is_some_and(|s| !s.is_empty()))
            .cloned()
            .collect()
    }

    /// Whether a subtask has a configuration.
    #[must_use]
    pub fn has_subtask(&self, id: &SourceId, task: &TaskName) -> bool {
        self.subtask_of(id, task)
            .is_some_and(|s| s.config.is_some())
    }

    /// Every subtask that has a configuration, by source.
    pub fn subtasks(&self) -> impl Iterator<Item = (&SourceId, &TaskName)> {
        self.sources.iter().flat_map(|(id, source)| {
            source
                .subtasks
                .iter()
                .filter(|(_, s)| s.config.is_some())
                .map(move |(task, _)| (id, task))
        })
    }

    /// The text of a subtask's configuration.
    #[must_use]
    pub fn subtask_config(&self, id: &SourceId, task: &TaskName) -> Option<bytes::Bytes> {
        Some(self.subtask_of(id, task)?.config.as_ref()?.bytes.clone())
    }

    /// What a subtask is expected to do.
    #[must_use]
    pub fn subtask_stage(&self, id: &SourceId, task: &TaskName) -> Option<Stage> {
        Some(self.subtask_of(id, task)?.stage?.stage)
    }

    pub(super) fn subtask_of(&self, id: &SourceId, task: &TaskName) -> Option<&Subtask> {
        self.sources.get(id)?.subtasks.get(task)
    }
}
