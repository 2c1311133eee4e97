//! Which idle worker is meant for which source that waits for one.
//!
//! A pairing lives from the moment it is made until the feed shows the bound, or shows that one of the two is
//! no longer to be had. It is a plan, not a fact: the guards of the bind decide. Both sides are kept in ordered
//! sets, so one event costs the logarithm of their number, whatever the size of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use dm_keyspace::{SourceId, WorkerName};

use super::record::{Source, Worker};

/// The pairs, and who is still without one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placement {
    /// Sources that need a worker and have no pair.
    waiting: BTreeSet<SourceId>,
    /// Idle workers without a pair that may take any source.
    free: BTreeSet<WorkerName>,
    /// Idle workers without a pair that pull the relay log of a source and may take only that one.
    relay: BTreeSet<WorkerName>,
    worker_of: BTreeMap<SourceId, WorkerName>,
    source_of: BTreeMap<WorkerName, SourceId>,
}

/// Waiting sources that the timer looks at in one go.
const LOOKED_AT: usize = 100;

type Sources = BTreeMap<SourceId, Source>;
type Workers = BTreeMap<WorkerName, Worker>;

impl Placement {
    /// The worker meant for a source.
    pub(crate) fn worker_of(&self, source: &SourceId) -> Option<&WorkerName> {
        self.worker_of.get(source)
    }

    /// Whether no worker can take the source.
    pub(crate) fn is_waiting(&self, source: &SourceId) -> bool {
        self.waiting.contains(source)
    }

    /// The number of sources that no worker can take.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Some of the sources that wait, those after `last` first; from the beginning when there are none.
    pub(crate) fn waiting_after(&self, last: Option<&SourceId>) -> Vec<SourceId> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.waiting.range::<SourceId, _>((from, Bound::Unbounded));
        let next: Vec<SourceId> = next.take(LOOKED_AT).cloned().collect();
        match next.is_empty() {
            true => self.waiting.iter().take(LOOKED_AT).cloned().collect(),
            false => next,
        }
    }

    /// Brings a worker's place up to date. Returns the source that it was paired with: either the pair is gone,
    /// or the bind must be made out anew, for a worker that has changed.
    pub(crate) fn touch_worker(
        &mut self,
        name: &WorkerName,
        worker: Option<&Worker>,
    ) -> Option<SourceId> {
        let idle = worker.filter(|w| w.is_idle());
        self.free.remove(name);
        self.relay.remove(name);
        let paired = self.source_of.get(name).cloned();
        match (idle, paired) {
            (None, None) => None,
            (None, Some(source)) => self.part(&source),
            (Some(worker), Some(source)) if may_take(worker, &source) => Some(source),
            (Some(worker), paired) => {
                let parted = paired.and_then(|source| self.part(&source));
                self.offer(name, worker);
                parted
            }
        }
    }

    /// Brings a source's place up to date. Returns the worker that has lost its pair by it.
    pub(crate) fn touch_source(&mut self, id: &SourceId, needs_worker: bool) -> Option<WorkerName> {
        if !needs_worker {
            self.waiting.remove(id);
            let worker = self.worker_of.remove(id)?;
            self.source_of.remove(&worker);
            return Some(worker);
        }
        if !self.worker_of.contains_key(id) {
            self.waiting.insert(id.clone());
        }
        None
    }

    /// Pairs what can be paired, and returns the sources that got a worker.
    ///
    /// First every source looks for a worker that holds its files, then for one that knows it, then the rest is
    /// paired by name. Only the touched sources, and those that the touched workers know, can find anything new
    /// in the first two rounds.
    pub(crate) fn pair(
        &mut self,
        sources: &Sources,
        workers: &Workers,
        workers_touched: &BTreeSet<WorkerName>,
        sources_touched: &BTreeSet<SourceId>,
    ) -> Vec<SourceId> {
        let known = workers_touched
            .iter()
            .filter_map(|name| workers.get(name))
            .flat_map(known_sources);
        let looking: BTreeSet<&SourceId> = known
            .chain(sources_touched)
            .filter(|id| self.waiting.contains(*id))
            .collect();
        let mut paired = Vec::new();
        for claim in [Claim::Files, Claim::Knowledge] {
            for id in &looking {
                let Some(worker) = self.claimant(claim, id, sources.get(*id), workers) else {
                    continue;
                };
                self.join(id, &worker);
                paired.push((*id).clone());
            }
        }
        while let (Some(source), Some(worker)) =
            (self.waiting.first().cloned(), self.free.first().cloned())
        {
            self.join(&source, &worker);
            paired.push(source);
        }
        paired
    }

    /// The worker with the best claim on a source; the first by name of equal ones.
    fn claimant(
        &self,
        claim: Claim,
        id: &SourceId,
        source: Option<&Source>,
        workers: &Workers,
    ) -> Option<WorkerName> {
        if !self.waiting.contains(id) {
            return None;
        }
        let source = source?;
        let may = |name: &&WorkerName| {
            self.free.contains(*name)
                || (self.relay.contains(*name)
                    && workers.get(*name).is_some_and(|w| may_take(w, id)))
        };
        match claim {
            Claim::Files => source.loaders().filter(may).min(),
            Claim::Knowledge => source
                .relays
                .intersection(&source.last_bounds)
                .find(may)
                .or_else(|| source.relays.iter().find(may))
                .or_else(|| source.last_bounds.iter().find(may)),
        }
        .cloned()
    }

    fn join(&mut self, source: &SourceId, worker: &WorkerName) {
        self.waiting.remove(source);
        self.free.remove(worker);
        self.relay.remove(worker);
        self.worker_of.insert(source.clone(), worker.clone());
        self.source_of.insert(worker.clone(), source.clone());
    }

    fn part(&mut self, source: &SourceId) -> Option<SourceId> {
        let worker = self.worker_of.remove(source)?;
        self.source_of.remove(&worker);
        Some(source.clone())
    }

    fn offer(&mut self, name: &WorkerName, worker: &Worker) {
        match worker.relay {
            None => self.free.insert(name.clone()),
            Some(_) => self.relay.insert(name.clone()),
        };
    }
}

/// Why a worker is better for a source than another one.
#[derive(Clone, Copy)]
enum Claim {
    /// It holds dumped files of a subtask of the source.
    Files,
    /// It pulls the source's relay log and served it last, or pulls it, or served it last.
    Knowledge,
}

/// The sources on which a worker may have a claim.
fn known_sources(worker: &Worker) -> impl Iterator<Item = &SourceId> {
    worker
        .loads
        .iter()
        .map(|(source, _)| source)
        .chain(&worker.relay)
        .chain(&worker.last_bound)
}

/// A worker that pulls the relay log of one source serves no other.
fn may_take(worker: &Worker, source: &SourceId) -> bool {
    worker.relay.as_ref().is_none_or(|relay| relay == source)
}
