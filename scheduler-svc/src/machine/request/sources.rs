//! Adding and removing sources.

use std::collections::BTreeSet;

use dm_errors::{Code, DmError};
use dm_keyspace::{
    BoundKey, LastBoundKey, RelayStageKey, SourceConfigKey, SourceId, TaskName, WorkerName,
};
use dm_replica::{Plan, Proposal};
use dm_store::{Guard, KeyRange};

use super::{about, about_list};
use crate::machine::Scheduler;
use crate::machine::decide::{alive_key, bound_key, put_bound, put_relay_stage};
use crate::machine::fold::config_key;
use crate::machine::query::BoundWorker;
use crate::machine::record::{Source, WorkerStage};

/// A source to be added, its configuration complete and checked.
#[derive(Clone)]
pub struct NewSource {
    /// Its id.
    pub id: SourceId,
    /// The configuration as workers read it. Holds a password.
    pub toml: String,
    /// Whether its worker pulls relay log.
    pub enable_relay: bool,
}

impl std::fmt::Debug for NewSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSource")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What is left to say of a source that was removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceRemoved {
    /// The worker that served it until then.
    pub worker: Option<BoundWorker>,
}

impl Scheduler {
    /// Adds sources, all or none. With a worker's name the source is bound to it in the same transaction; else
    /// placement finds a worker once the source is there.
    ///
    /// # Errors
    /// 46004 and 46033 about the worker, 46007 for an id in use.
    pub fn add_sources(
        &self,
        new: &[NewSource],
        worker: Option<&WorkerName>,
    ) -> Result<Plan<()>, DmError> {
        if new.is_empty() {
            return Ok(Plan::Done(()));
        }
        let mut proposal = Proposal::new("add_source");
        let mut taken: BTreeSet<&SourceId> = BTreeSet::new();
        for source in new {
            if let Some(name) = worker {
                self.check_free(name, !taken.is_empty())?;
            }
            let is_known = self
                .sources
                .get(&source.id)
                .is_some_and(|s| s.config.is_some());
            if is_known || !taken.insert(&source.id) {
                return Err(about(Code::SCHEDULER_SOURCE_CFG_EXIST, &source.id));
            }
            proposal = proposal.guard(Guard::Missing(config_key(&source.id))).put(
                SourceConfigKey {
                    source: source.id.clone(),
                }
                .encode(),
                source.toml.clone(),
            );
            if let Some(name) = worker {
                proposal = self.bind_new(proposal, name, source);
            }
        }
        Ok(Plan::Commit(proposal, ()))
    }

    fn check_free(&self, name: &WorkerName, is_used_up: bool) -> Result<(), DmError> {
        match self.worker_stage(name) {
            None => Err(about(Code::SCHEDULER_WORKER_NOT_EXIST, name)),
            Some(WorkerStage::Free) if !is_used_up => Ok(()),
            Some(_) => Err(about(Code::SCHEDULER_WORKER_NOT_FREE, name)),
        }
    }

    fn bind_new(&self, proposal: Proposal, name: &WorkerName, source: &NewSource) -> Proposal {
        let alive = self.workers.get(name).and_then(|w| w.alive.as_ref());
        let created = alive.map_or(dm_store::Revision::ZERO, |a| a.created);
        let proposal = proposal
            .guard(Guard::Missing(bound_key(name)))
            .guard(Guard::CreateRevision(alive_key(name), created));
        let proposal = put_bound(proposal, name, &source.id);
        let has_stage = self
            .sources
            .get(&source.id)
            .is_some_and(|s| s.relay_stage.is_some());
        if source.enable_relay && !has_stage {
            put_relay_stage(proposal, &source.id)
        } else {
            proposal
        }
    }

    /// Removes a source with its bound and relay stage, in one transaction.
    ///
    /// # Errors
    /// 46008 for an unknown id, 46010 while it has subtasks, 46023 while workers relay it by name.
    pub fn remove_source(&self, id: &SourceId) -> Result<Plan<SourceRemoved>, DmError> {
        let found = self
            .sources
            .get(id)
            .and_then(|s| Some((s, s.config.as_ref()?)));
        let Some((source, config)) = found else {
            return Err(about(Code::SCHEDULER_SOURCE_CFG_NOT_EXIST, id));
        };
        check_unused(id, source)?;
        let mut proposal = Proposal::new("remove_source")
            .guard(Guard::ModRevision(config_key(id), config.text.revision))
            .delete(KeyRange::key(config_key(id).to_vec()))
            .delete(KeyRange::key(RelayStageKey { source: id.clone() }.encode()));
        for name in &source.bounds {
            proposal = self.unbind_removed(proposal, name);
        }
        Ok(Plan::Commit(
            proposal,
            SourceRemoved {
                worker: self.bound_worker(id),
            },
        ))
    }

    fn unbind_removed(&self, proposal: Proposal, name: &WorkerName) -> Proposal {
        let Some(worker) = self.workers.get(name) else {
            return proposal;
        };
        let bound = worker.bound.as_ref().map(|b| b.revision);
        proposal
            .guard(Guard::unchanged(bound_key(name), bound))
            .delete(KeyRange::key(
                BoundKey {
                    worker: name.clone(),
                }
                .encode(),
            ))
            .delete(KeyRange::key(
                LastBoundKey {
                    worker: name.clone(),
                }
                .encode(),
            ))
    }
}

fn check_unused(id: &SourceId, source: &Source) -> Result<(), DmError> {
    let tasks: Vec<&TaskName> = source
        .subtasks
        .iter()
        .filter(|(_, subtask)| subtask.config.is_some())
        .map(|(task, _)| task)
        .collect();
    if !tasks.is_empty() {
        return Err(about_list(Code::SCHEDULER_SOURCE_OP_TASK_EXIST, id, &tasks));
    }
    let relays: Vec<&WorkerName> = source.relays.iter().collect();
    if !relays.is_empty() {
        return Err(about_list(
            Code::SCHEDULER_SOURCE_OP_RELAY_EXIST,
            id,
            &relays,
        ));
    }
    Ok(())
}
