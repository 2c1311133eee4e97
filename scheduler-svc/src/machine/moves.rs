//! Sources follow their dumped files: a worker that holds files of a source which its present worker has not is the
//! one to load them.
//!
//! A worker refuses a bound that overwrites another, so a busy worker is first released, by a delete; that it is
//! then the first choice for the source that it has the files of is the rule of [`super::placement`], and the same
//! for every leader. So there is no state in between that would have to be remembered.

use dm_keyspace::{SourceId, WorkerName};
use dm_replica::Proposal;
use dm_store::{Guard, KeyRange};

use super::Scheduler;
use super::decide::bound_key;
use super::fold::config_key;
use super::record::Source;

impl Scheduler {
    /// The move that a source's files call for.
    pub(super) fn follow_files(
        &self,
        id: &SourceId,
        source: &Source,
        keeper: Option<&WorkerName>,
    ) -> Option<Proposal> {
        let has_files = |name: &WorkerName| source.loaders().any(|loader| loader == name);
        if source.intent.is_some() || !source.is_placeable() || keeper.is_some_and(has_files) {
            return None;
        }
        let idle = source
            .loaders()
            .filter(|name| self.is_unused(name, id))
            .min();
        if let Some(to) = idle {
            // Without a present worker this is a matter of placement.
            let moved = self.release(Proposal::new("follow_files"), keeper?);
            return self.bind(moved, to, id, source);
        }
        let busy = source
            .loaders()
            .filter(|name| self.may_release(name, id))
            .min()?;
        let config = source.config.as_ref()?;
        let proposal = self
            .release(Proposal::new("release_for_files"), busy)
            .guard(Guard::ModRevision(config_key(id), config.text.revision));
        Some(match keeper {
            Some(from) => self.release(proposal, from),
            None => proposal,
        })
    }

    /// Whether a worker is idle and may take the source.
    fn is_unused(&self, name: &WorkerName, id: &SourceId) -> bool {
        self.workers
            .get(name)
            .is_some_and(|w| w.is_idle() && w.relay.as_ref().is_none_or(|relay| relay == id))
    }

    /// Whether a worker serves another source that it has no files of and that is not being transferred.
    fn may_release(&self, name: &WorkerName, id: &SourceId) -> bool {
        let Some(worker) = self.workers.get(name).filter(|w| w.is_online()) else {
            return false;
        };
        let served = worker.bound.as_ref().and_then(|b| b.source.as_ref());
        let other = served
            .filter(|other| *other != id)
            .and_then(|o| self.sources.get(o));
        worker.relay.as_ref().is_none_or(|relay| relay == id)
            && other.is_some_and(|other| {
                other.intent.is_none() && other.loaders().all(|loader| loader != name)
            })
    }

    /// Adds the delete of a bound as it was seen.
    pub(super) fn release(&self, proposal: Proposal, name: &WorkerName) -> Proposal {
        let bound = self.workers.get(name).and_then(|w| w.bound.as_ref());
        let Some(bound) = bound else {
            return proposal;
        };
        proposal
            .guard(Guard::ModRevision(bound_key(name), bound.revision))
            .delete(KeyRange::key(bound_key(name).to_vec()))
    }
}
