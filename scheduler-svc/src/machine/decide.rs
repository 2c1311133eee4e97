//! From what was touched to what is called for.

use bytes::Bytes;
use dm_keyspace::{
    Bound, BoundKey, KeepAliveKey, LastBoundKey, RelayStageKey, RelayWorker, RelayWorkerKey,
    SourceId, Stage, StageRecord, WorkerInfoKey, WorkerName,
};
use dm_replica::{Decision, Proposal, Subject};
use dm_store::{Guard, KeyRange, Revision};

use super::Scheduler;
use super::fold::config_key;
use super::record::Source;

impl Scheduler {
    pub(super) fn decide_touched(&mut self) -> Vec<Decision> {
        let mut workers = std::mem::take(&mut self.touched_workers);
        let mut sources = std::mem::take(&mut self.touched_sources);
        for name in &workers {
            let worker = self.workers.get(name);
            if let Some(worker) = worker {
                // Whether a worker lives is a matter of the source that it serves.
                let bound = worker.bound.as_ref();
                sources.extend(bound.and_then(|b| b.source.clone()));
                // A worker that holds dumped files of a source may be better for it than the one it has.
                sources.extend(worker.loads.iter().map(|(source, _)| source.clone()));
            }
            sources.extend(self.placement.touch_worker(name, worker));
        }
        for id in &sources {
            let needs_worker = self.needs_worker(id);
            if let Some(freed) = self.placement.touch_source(id, needs_worker) {
                self.placement
                    .touch_worker(&freed, self.workers.get(&freed));
                workers.insert(freed);
            }
        }
        let paired = self
            .placement
            .pair(&self.sources, &self.workers, &workers, &sources);
        sources.extend(paired);
        let mut decisions: Vec<Decision> =
            sources.iter().map(|id| self.decide_source(id)).collect();
        decisions.extend(
            workers
                .iter()
                .filter_map(|name| self.decide_unreadable_bound(name)),
        );
        let operations = std::mem::take(&mut self.touched_operations);
        decisions.extend(operations.iter().map(|id| self.decide_operation(id)));
        self.tell_orphans(&sources);
        self.count(&sources, &workers);
        self.tidy(&sources, &workers);
        decisions
    }

    fn needs_worker(&self, id: &SourceId) -> bool {
        self.sources
            .get(id)
            .is_some_and(|source| source.is_placeable() && self.keeper(source).is_none())
    }

    /// The one of the bound workers that serves the source: online, not told to pull the relay log of another
    /// source, not restarted if there is a choice, then the one bound first.
    pub(super) fn keeper<'a>(&self, source: &'a Source) -> Option<&'a WorkerName> {
        source.config.as_ref()?;
        let order = |name: &&'a WorkerName| {
            let bound = self.workers.get(*name).and_then(|w| w.bound.as_ref());
            (self.has_restarted(name), bound.map(|b| b.created), *name)
        };
        let serves = |name: &&WorkerName| {
            let worker = self.workers.get(*name);
            worker.is_some_and(|worker| worker.is_online() && !worker.relays_elsewhere())
        };
        source.bounds.iter().filter(serves).min_by_key(order)
    }

    /// Whether the worker's process, or its keepalive, is younger than its bound.
    fn has_restarted(&self, name: &WorkerName) -> bool {
        let Some(worker) = self.workers.get(name) else {
            return false;
        };
        match (&worker.alive, &worker.bound) {
            (Some(alive), Some(bound)) => alive.started > bound.revision,
            _ => false,
        }
    }

    fn decide_source(&self, id: &SourceId) -> Decision {
        let proposals = self
            .sources
            .get(id)
            .map_or_else(Vec::new, |source| self.proposals(id, source));
        Decision {
            subject: Subject::from(format!("source/{id}")),
            proposals,
        }
    }

    fn proposals(&self, id: &SourceId, source: &Source) -> Vec<Proposal> {
        let keeper = self.keeper(source);
        let stale = source.bounds.iter().filter(|name| Some(*name) != keeper);
        if let (None, Some(worker)) = (keeper, self.placement.worker_of(id)) {
            let name = if source.bounds.is_empty() {
                "bind_source"
            } else {
                "failover_source"
            };
            let moved = stale.fold(Proposal::new(name), |p, dead| {
                self.unbind(p, dead, id, keeper)
            });
            let bind = self.bind(moved, worker, id, source);
            return bind
                .into_iter()
                .chain(self.undo_orphan(id, source))
                .collect();
        }
        let mut proposals: Vec<Proposal> = self.undo_orphan(id, source).into_iter().collect();
        proposals.extend(self.follow_files(id, source, keeper));
        proposals.extend(
            stale.map(|dead| self.unbind(Proposal::new("unbind_source"), dead, id, keeper)),
        );
        let restarted = keeper.filter(|name| self.has_restarted(name));
        proposals.extend(restarted.and_then(|name| self.rebind(name, id, source)));
        proposals.extend(self.forget_relay_workers(id, source));
        proposals
    }

    /// A source whose bound worker pulls the relay log has no workers that are told so by name: such records are
    /// from before that was kept apart.
    fn forget_relay_workers(&self, id: &SourceId, source: &Source) -> Option<Proposal> {
        let config = source.config.as_ref().filter(|c| c.enable_relay)?;
        if source.relays.is_empty() {
            return None;
        }
        let proposal = Proposal::new("forget_relay_workers")
            .guard(Guard::ModRevision(config_key(id), config.text.revision));
        let keys = source.relays.iter().map(|name| {
            let worker = name.clone();
            RelayWorkerKey { worker }.encode()
        });
        Some(keys.fold(proposal, |proposal, key| {
            proposal.delete(KeyRange::key(key))
        }))
    }

    /// Adds the delete of a bound, with the reason for it as a guard.
    fn unbind(
        &self,
        proposal: Proposal,
        name: &WorkerName,
        id: &SourceId,
        keeper: Option<&WorkerName>,
    ) -> Proposal {
        let Some(worker) = self.workers.get(name) else {
            return proposal;
        };
        let Some(bound) = &worker.bound else {
            return proposal;
        };
        let reason = if worker.alive.is_none() {
            Guard::Missing(alive_key(name))
        } else if worker.registered.is_none() {
            Guard::Missing(registration_key(name))
        } else if worker.relays_elsewhere() {
            self.relay_guard(name)
        } else if let Some(kept) = keeper {
            Guard::ModRevision(bound_key(kept), self.bound_revision(kept))
        } else {
            Guard::Missing(config_key(id))
        };
        proposal
            .guard(Guard::ModRevision(bound_key(name), bound.revision))
            .guard(reason)
            .delete(KeyRange::key(bound_key(name).to_vec()))
    }

    pub(super) fn bound_revision(&self, name: &WorkerName) -> Revision {
        let bound = self.workers.get(name).and_then(|w| w.bound.as_ref());
        bound.map_or(Revision::ZERO, |b| b.revision)
    }

    pub(super) fn bind(
        &self,
        proposal: Proposal,
        name: &WorkerName,
        id: &SourceId,
        source: &Source,
    ) -> Option<Proposal> {
        let config = source.config.as_ref()?;
        let alive = self.workers.get(name)?.alive.as_ref()?;
        let proposal = proposal
            .guard(Guard::Missing(bound_key(name)))
            .guard(Guard::CreateRevision(alive_key(name), alive.created))
            .guard(Guard::ModRevision(config_key(id), config.text.revision))
            .guard(self.relay_guard(name));
        let proposal = put_bound(proposal, name, id);
        // A relay that was paused stays so: its stage is only written where there is none.
        Some(match source.relay_stage {
            None if config.enable_relay => put_relay_stage(proposal, id),
            _ => proposal,
        })
    }

    /// That a worker is told to pull a relay log, or none, as it was seen.
    pub(super) fn relay_guard(&self, name: &WorkerName) -> Guard {
        let key = RelayWorkerKey {
            worker: name.clone(),
        };
        let relay = self.workers.get(name).and_then(|w| w.relay.as_ref());
        match relay {
            Some(_) => Guard::Exists(key.encode().into()),
            None => Guard::Missing(key.encode().into()),
        }
    }

    /// A worker that has stopped its source, or come back without it, takes it up again at a new put.
    fn rebind(&self, name: &WorkerName, id: &SourceId, source: &Source) -> Option<Proposal> {
        let config = source.config.as_ref()?;
        let worker = self.workers.get(name)?;
        let (alive, bound) = (worker.alive.as_ref()?, worker.bound.as_ref()?);
        let proposal = Proposal::new("rebind_source")
            .guard(Guard::ModRevision(bound_key(name), bound.revision))
            .guard(Guard::CreateRevision(alive_key(name), alive.created))
            .guard(Guard::ModRevision(config_key(id), config.text.revision));
        let proposal = match &worker.relay {
            Some(relay) => proposal.put(
                RelayWorkerKey {
                    worker: name.clone(),
                }
                .encode(),
                RelayWorker {
                    source: relay.clone(),
                }
                .to_bytes(),
            ),
            None => proposal,
        };
        Some(put_bound(proposal, name, id))
    }

    /// A bound that cannot be read keeps a worker from work, and no worker can act on it.
    fn decide_unreadable_bound(&mut self, name: &WorkerName) -> Option<Decision> {
        let bound = self
            .workers
            .get(name)
            .and_then(|w| w.bound.as_ref())
            .filter(|b| b.source.is_none());
        let proposals: Vec<Proposal> = bound
            .map(|bound| {
                Proposal::new("delete_unreadable_bound")
                    .guard(Guard::ModRevision(bound_key(name), bound.revision))
                    .delete(KeyRange::key(bound_key(name).to_vec()))
            })
            .into_iter()
            .collect();
        let was_there = match proposals.is_empty() {
            true => self.unreadable_bounds.remove(name),
            false => !self.unreadable_bounds.insert(name.clone()),
        };
        (was_there || !proposals.is_empty()).then(|| Decision {
            subject: Subject::from(format!("worker/{name}")),
            proposals,
        })
    }
}

/// Adds a bound and its trace for later, the last bound.
pub(super) fn put_bound(proposal: Proposal, name: &WorkerName, id: &SourceId) -> Proposal {
    let value = Bound::new(id.clone(), name.clone()).to_bytes();
    proposal
        .put(
            BoundKey {
                worker: name.clone(),
            }
            .encode(),
            value.clone(),
        )
        .put(
            LastBoundKey {
                worker: name.clone(),
            }
            .encode(),
            value,
        )
}

/// Adds the relay stage that a source with `enable-relay` needs before its first bound.
pub(super) fn put_relay_stage(proposal: Proposal, id: &SourceId) -> Proposal {
    let key = RelayStageKey { source: id.clone() }.encode();
    proposal
        .guard(Guard::Missing(Bytes::from(key.clone())))
        .put(
            key,
            StageRecord::relay(Stage::Running, id.clone()).to_bytes(),
        )
}

pub(super) fn bound_key(name: &WorkerName) -> Bytes {
    BoundKey {
        worker: name.clone(),
    }
    .encode()
    .into()
}

pub(super) fn alive_key(name: &WorkerName) -> Bytes {
    KeepAliveKey {
        worker: name.clone(),
    }
    .encode()
    .into()
}

pub(super) fn registration_key(name: &WorkerName) -> Bytes {
    WorkerInfoKey {
        worker: name.clone(),
    }
    .encode()
    .into()
}
