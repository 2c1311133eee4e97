//! What a lock calls for: operations to put, records to delete. Each write is guarded by the revisions that it was decided on.

use std::collections::BTreeSet;

use dm_keyspace::pessimism::{InfoKey, Operation, OperationKey};
use dm_keyspace::{SourceId, TaskName};
use dm_replica::Proposal;
use dm_store::{Guard, KeyRange, Revision};

use super::round::{Phase, Round, Scene};
use super::unlock::{self, Step, Unlock};
use super::{LockKey, evidence::Answered};

/// Keys deleted in one transaction at most; etcd takes 128 operations, and the loop adds its fence.
const DELETES_PER_PROPOSAL: usize = 100;

/// Writes down what a lock calls for now.
pub(crate) struct Writer<'a> {
    scene: &'a Scene<'a>,
    key: &'a LockKey,
    task: &'a TaskName,
    /// Revision of the snapshot.
    loaded: Revision,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(scene: &'a Scene<'a>, key: &'a LockKey, loaded: Revision) -> Self {
        Self {
            scene,
            key,
            task: &key.task,
            loaded,
        }
    }

    /// What is done for the lock as a whole, one after the other: the order to execute, so that no two of them are ever under
    /// way, and the deletions.
    pub(crate) fn of_lock(&self) -> Vec<Proposal> {
        let lock = self.scene.lock;
        let mut proposals = self.delete_left_over();
        match (&lock.unlock, &lock.round) {
            (Some(unlock), round) => self.unlock(&mut proposals, unlock, round.as_ref()),
            (None, Some(round)) => match round.phase {
                // A stopped task executes nothing; what is over may be tidied up.
                Phase::OwnerExecuting if self.scene.task.is_running() => {
                    proposals.extend(self.tell(round, &round.owner, true));
                }
                Phase::Resolved => proposals.extend(self.resolve(round)),
                Phase::Collecting | Phase::OwnerExecuting | Phase::OthersSkipping => {}
            },
            (None, None) => {}
        }
        proposals
    }

    /// Sources that are told to skip now, unless they know it.
    pub(crate) fn skipping(&self) -> BTreeSet<SourceId> {
        let round = self.scene.lock.round.as_ref();
        let waiting = round.into_iter().flat_map(|round| &round.tally.waiting);
        waiting
            .filter(|source| self.skips(source).is_some())
            .cloned()
            .collect()
    }

    /// The order to skip, if it is time for that and the source does not know it.
    pub(crate) fn of_source(&self, source: &SourceId) -> Option<Proposal> {
        self.tell(self.skips(source)?, source, false)
    }

    /// The round that the source is to skip now, if any.
    fn skips(&self, source: &SourceId) -> Option<&'a Round> {
        let lock = self.scene.lock;
        let round = lock.round.as_ref()?;
        let is_time = match &lock.unlock {
            Some(unlock) => {
                unlock.is_for(Some(round))
                    && unlock.step == Step::Skipping
                    && *source != unlock.order.owner
            }
            None => round.phase == Phase::OthersSkipping && self.scene.task.is_running(),
        };
        (is_time && round.members.contains(source)).then_some(round)
    }

    /// Tells a source what to do, if it waits for exactly this round and has not been told since it said so.
    fn tell(&self, round: &Round, source: &SourceId, exec: bool) -> Option<Proposal> {
        // An answer from before is given again once, in case nobody heard it.
        let unlock = self.scene.lock.unlock.as_ref();
        let stale = unlock.map_or(self.loaded, |unlock| self.loaded.max(unlock.revision));
        let reported = self
            .scene
            .waiting(source, &round.ddls)
            .filter(|_| !round.done.contains(source))?;
        let answered = self.scene.task.operations.get(source);
        let is_told = answered.is_some_and(|answered| {
            let is_right = self
                .scene
                .operation(source, &round.ddls)
                .is_some_and(|o| o.exec == exec);
            is_right && answered.revision > reported.revision.max(stale)
        });
        if is_told {
            return None;
        }
        let operation = Operation::new(
            self.scene.id,
            self.task.clone(),
            source.clone(),
            round.ddls.clone(),
            exec,
        );
        let key = operation.key().encode();
        let value = move |traceparent: Option<&str>| {
            Operation {
                traceparent: traceparent.map(str::to_owned),
                ..operation.clone()
            }
            .to_bytes()
        };
        let name = if exec {
            "order_execution"
        } else {
            "order_skip"
        };
        let proposal = Proposal::new(name)
            .guard(Guard::ModRevision(
                reported.info.key().encode().into(),
                reported.revision,
            ))
            .guard(Guard::unchanged(
                key.clone(),
                answered.map(|answered| answered.revision),
            ));
        Some(proposal.put_traced(key, value).trace(round.trace.clone()))
    }

    fn resolve(&self, round: &Round) -> Vec<Proposal> {
        let sources = self.scene.lock.operations.iter();
        let of_round = sources.filter(|source| self.scene.operation(source, &round.ddls).is_some());
        self.delete(
            "resolve_lock",
            of_round.filter_map(|s| self.operation_of(s)).collect(),
            round.trace.as_ref(),
        )
    }

    fn delete_left_over(&self) -> Vec<Proposal> {
        let sources = self.scene.left_over();
        self.delete(
            "delete_left_over_operations",
            sources
                .into_iter()
                .filter_map(|s| self.operation_of(s))
                .collect(),
            None,
        )
    }

    fn unlock(&self, proposals: &mut Vec<Proposal>, unlock: &Unlock, round: Option<&Round>) {
        let request = (unlock::encode(self.key), unlock.revision);
        match (unlock.step, round.filter(|_| unlock.is_for(round))) {
            (Step::Executing, Some(round)) => {
                proposals.extend(self.tell(round, &unlock.order.owner, true));
            }
            (Step::Skipping, Some(_)) => {}
            (Step::Removing, Some(round)) => {
                let mut keys = self.records_of(unlock, round);
                keys.push(request);
                let trace = round.trace.as_ref();
                // The request goes last, so that what is left of a large lock is not forgotten.
                let mut removal = self.delete("remove_lock", keys, trace);
                removal.truncate(1);
                proposals.append(&mut removal);
            }
            (_, None) | (Step::GivingUp, _) => {
                proposals.append(&mut self.delete("end_unlock", vec![request], None));
            }
        }
    }

    fn records_of(&self, unlock: &Unlock, round: &Round) -> Vec<(String, Revision)> {
        let lock = self.scene.lock;
        let infos = lock
            .infos
            .iter()
            .filter(|source| unlock.concerns(source))
            .filter_map(|source| {
                let reported = self.scene.waiting(source, &round.ddls)?;
                Some((
                    InfoKey {
                        task: self.task.clone(),
                        source: source.clone(),
                    }
                    .encode(),
                    reported.revision,
                ))
            });
        let of_round = lock
            .operations
            .iter()
            .filter(|source| self.scene.operation(source, &round.ddls).is_some());
        infos
            .chain(of_round.filter_map(|source| self.operation_of(source)))
            .collect()
    }

    fn operation_of(&self, source: &SourceId) -> Option<(String, Revision)> {
        let Answered { revision, .. } = self.scene.task.operations.get(source)?;
        Some((
            OperationKey {
                task: self.task.clone(),
                source: source.clone(),
            }
            .encode(),
            *revision,
        ))
    }

    fn delete(
        &self,
        name: &'static str,
        keys: Vec<(String, Revision)>,
        trace: Option<&String>,
    ) -> Vec<Proposal> {
        let proposal = |keys: &[(String, Revision)]| {
            let empty = Proposal::new(name).trace(trace.cloned());
            keys.iter().fold(empty, |proposal, (key, revision)| {
                proposal
                    .guard(Guard::ModRevision(key.clone().into(), *revision))
                    .delete(KeyRange::key(key.as_str()))
            })
        };
        keys.chunks(DELETES_PER_PROPOSAL).map(proposal).collect()
    }
}
