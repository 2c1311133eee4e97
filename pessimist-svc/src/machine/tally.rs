//! What a round keeps of each source's evidence, so that one source's event costs the same however many sources there are.
//!
//! A tally is nothing but evidence, sorted: [`Tally::of`] makes it anew, [`Tally::sort`] brings one source up to date. Whoever
//! has sorted all sources that were touched has the same as whoever made it anew.

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::SourceId;
use dm_store::Revision;

use super::evidence::same_ddls;
use super::round::Scene;

/// Sources of one lock by what their records say about one list of statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Sources of the task that wait for the lock with whatever statements: who came first is first.
    queue: BTreeSet<(Revision, SourceId)>,
    since: BTreeMap<SourceId, Revision>,
    /// Wait for exactly this round.
    pub(crate) waiting: BTreeSet<SourceId>,
    /// Wait with other statements.
    pub(crate) mismatched: BTreeMap<SourceId, Revision>,
    /// Have an operation of this round.
    pub(crate) answered: BTreeSet<SourceId>,
    /// Have one that is done, or may still be.
    pub(crate) alive: BTreeSet<SourceId>,
    /// Have one that is not done.
    pub(crate) undone: BTreeSet<SourceId>,
    /// Wait, and have no operation of this round that is younger than their report: they have not been told yet.
    pub(crate) untold: BTreeSet<SourceId>,
    /// Have executed.
    pub(crate) executed: BTreeSet<SourceId>,
    /// Were told to execute, and will.
    pub(crate) executing: BTreeSet<SourceId>,
    /// Have an operation of another round of the lock.
    pub(crate) strays: BTreeSet<SourceId>,
}

impl Tally {
    /// That of all sources.
    pub(crate) fn of(scene: &Scene<'_>, ddls: &[String]) -> Self {
        let mut tally = Self::default();
        for source in scene.lock.infos.union(&scene.lock.operations) {
            tally.sort(scene, ddls, source);
        }
        tally
    }

    /// Brings one source up to date.
    pub(crate) fn sort(&mut self, scene: &Scene<'_>, ddls: &[String], source: &SourceId) {
        let info = scene.task.infos.get(source).filter(|r| r.lock == scene.id);
        let is_present = scene.present().contains(source);
        let (is_waiting, is_mismatched) = match info {
            Some(reported) => {
                let is_same = same_ddls(reported.info.ddls(), ddls);
                (is_same, !is_same && is_present)
            }
            None => (false, false),
        };
        if let Some(since) = self.since.remove(source) {
            self.queue.remove(&(since, source.clone()));
        }
        if let Some(reported) = info.filter(|_| is_present) {
            self.since.insert(source.clone(), reported.since);
            self.queue.insert((reported.since, source.clone()));
        }
        keep(&mut self.waiting, source, is_waiting);
        match info.filter(|_| is_mismatched) {
            Some(reported) => self.mismatched.insert(source.clone(), reported.revision),
            None => self.mismatched.remove(source),
        };

        let of_lock = scene.operation_of_lock(source);
        let operation = of_lock.filter(|o| same_ddls(o.ddls(), ddls));
        let has_gone_on = !is_waiting && scene.task.infos.contains_key(source);
        let is_done = operation.is_some_and(|o| o.done);
        let is_exec = operation.is_some_and(|o| o.exec);
        let is_undone = operation.is_some() && !is_done;
        let is_told = operation.is_some() && scene.is_answer_younger(source);
        keep(&mut self.untold, source, is_waiting && !is_done && !is_told);
        keep(&mut self.answered, source, operation.is_some());
        keep(
            &mut self.alive,
            source,
            is_done || (is_undone && !has_gone_on),
        );
        keep(&mut self.undone, source, is_undone);
        keep(&mut self.executed, source, is_exec && is_done);
        keep(
            &mut self.executing,
            source,
            is_exec && is_undone && is_present && is_waiting,
        );
        keep(
            &mut self.strays,
            source,
            of_lock.is_some() && operation.is_none(),
        );
    }

    /// Who waits for the lock and came first.
    pub(crate) fn first(&self) -> Option<&SourceId> {
        self.queue.first().map(|(_, source)| source)
    }

    /// Who came first of those that `counts`.
    pub(crate) fn first_of(&self, counts: impl Fn(&SourceId) -> bool) -> Option<&SourceId> {
        let mut queue = self.queue.iter().map(|(_, source)| source);
        queue.find(|source| counts(source))
    }

    /// Whether there are operations of the lock that belong to no round that has begun.
    pub(crate) fn has_left_over(&self, has_begun: bool) -> bool {
        !self.strays.is_empty() || (!has_begun && !self.answered.is_empty())
    }
}

/// `preferred` if it is one of them, else the smallest.
pub(crate) fn first_with<'a>(
    sources: &'a BTreeSet<SourceId>,
    preferred: &SourceId,
) -> Option<&'a SourceId> {
    sources.get(preferred).or_else(|| sources.first())
}

fn keep(sources: &mut BTreeSet<SourceId>, source: &SourceId, is_one: bool) {
    if !is_one {
        sources.remove(source);
    } else if !sources.contains(source) {
        sources.insert(source.clone());
    }
}
