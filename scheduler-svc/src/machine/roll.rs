//! How many there are of what, and which workers have changed: brought up to date with each decision, so that those who
//! show it every second look at what has changed and not at everything.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use dm_keyspace::{SourceId, WorkerName};

use super::Scheduler;
use super::record::WorkerStage;

/// Numbers of what there is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Registered workers.
    pub workers: usize,
    /// Sources that have a configuration.
    pub sources: usize,
    /// Sources that have a worker.
    pub bound: usize,
    /// Subtasks that have a configuration.
    pub subtasks: usize,
}

/// How far somebody has looked at the changes of workers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    change: u64,
    departures: u64,
}

/// What is counted of one source.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct OfSource {
    is_source: bool,
    is_bound: bool,
    subtasks: usize,
}

/// The counts, and the changes of workers in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roll {
    stages: BTreeMap<WorkerName, (WorkerStage, u64)>,
    /// Each worker under the number of its last change.
    changes: BTreeMap<u64, WorkerName>,
    change: u64,
    /// So many times a worker was taken out, or everything was read anew.
    departures: u64,
    of_sources: BTreeMap<SourceId, OfSource>,
    counts: Counts,
}

impl Roll {
    /// An empty one, in place of one that marks have been taken from.
    pub(super) fn after(before: &Self) -> Self {
        Self {
            change: before.change,
            departures: before.departures + 1,
            ..Self::default()
        }
    }

    fn set_worker(&mut self, name: &WorkerName, stage: Option<WorkerStage>) {
        let known = self.stages.get(name);
        if known.map(|(stage, _)| *stage) == stage {
            return;
        }
        if let Some((_, change)) = known {
            self.changes.remove(change);
        }
        match stage {
            Some(stage) => {
                self.change += 1;
                self.changes.insert(self.change, name.clone());
                self.stages.insert(name.clone(), (stage, self.change));
            }
            None => {
                self.departures += 1;
                self.stages.remove(name);
            }
        }
        self.counts.workers = self.stages.len();
    }

    fn set_source(&mut self, id: &SourceId, now: OfSource) {
        let before = match now == OfSource::default() {
            true => self.of_sources.remove(id),
            false => self.of_sources.insert(id.clone(), now),
        };
        let before = before.unwrap_or_default();
        let moved = |count: usize, before: usize, now: usize| (count + now).saturating_sub(before);
        let counts = &mut self.counts;
        counts.sources = moved(
            counts.sources,
            before.is_source.into(),
            now.is_source.into(),
        );
        counts.bound = moved(counts.bound, before.is_bound.into(), now.is_bound.into());
        counts.subtasks = moved(counts.subtasks, before.subtasks, now.subtasks);
    }
}

impl Scheduler {
    /// Counts what was touched anew.
    pub(super) fn count(&mut self, sources: &BTreeSet<SourceId>, workers: &BTreeSet<WorkerName>) {
        for id in sources {
            let of_source = self
                .sources
                .get(id)
                .map_or_else(OfSource::default, |source| {
                    let subtasks = source.subtasks.values();
                    OfSource {
                        is_source: source.config.is_some(),
                        is_bound: self.keeper(source).is_some(),
                        subtasks: subtasks.filter(|s| s.config.is_some()).count(),
                    }
                });
            self.roll.set_source(id, of_source);
        }
        for name in workers {
            let stage = self.worker_stage(name);
            self.roll.set_worker(name, stage);
        }
    }

    /// How many there are of what, as last decided on.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.roll.counts
    }

    /// The present end of the changes of workers.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            change: self.roll.change,
            departures: self.roll.departures,
        }
    }

    /// The workers whose stage has changed since a mark. None when workers have been taken out: then who is there is
    /// to be looked at anew.
    pub fn changed_since(
        &self,
        mark: Mark,
    ) -> Option<impl Iterator<Item = (&WorkerName, WorkerStage)>> {
        if mark.departures != self.roll.departures {
            return None;
        }
        let later = (Bound::Excluded(mark.change), Bound::Unbounded);
        let later = self.roll.changes.range(later).map(|(_, name)| name);
        Some(later.filter_map(|name| Some((name, self.roll.stages.get(name)?.0))))
    }
}
