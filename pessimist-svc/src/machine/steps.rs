//! What a lock calls for: operations to put, records to delete. Each write is guarded by the revisions that it was decided on.

use dm_keyspace::pessimism::{InfoKey, Operation, OperationKey};
use dm_keyspace::{SourceId, TaskName};
use dm_replica::Proposal;
use dm_store::{Guard, KeyRange, Revision};

use super::round::{Phase, Round, Scene};
use super::unlock::{self, Step, Unlock};
use super::{LockKey, evidence::Answered};

/// Keys deleted in one transaction at most; etcd takes 128 operations, and the loop adds its fence.
const DELETES_PER_PROPOSAL: usize = 100;

/// Everything that the lock calls for now. `loaded` is the revision of the snapshot: an answer from before
/// it is given again once, in case nobody heard it.
pub(crate) fn steps(scene: &Scene<'_>, key: &LockKey, loaded: Revision) -> Vec<Proposal> {
    let writer = Writer {
        scene,
        task: &key.task,
        loaded,
    };
    let mut proposals = writer.delete_left_over();
    match (&scene.lock.unlock, &scene.lock.round) {
        (Some(unlock), round) => writer.unlock(&mut proposals, key, unlock, round.as_ref()),
        (None, Some(round)) => writer.go_on(&mut proposals, round),
        (None, None) => {}
    }
    proposals
}

struct Writer<'a> {
    scene: &'a Scene<'a>,
    task: &'a TaskName,
    loaded: Revision,
}

impl Writer<'_> {
    fn go_on(&self, proposals: &mut Vec<Proposal>, round: &Round) {
        match round.phase {
            Phase::Collecting => {}
            // A stopped task executes nothing; what is over may be tidied up.
            Phase::OwnerExecuting | Phase::OthersSkipping if !self.scene.task.is_running() => {}
            Phase::OwnerExecuting => {
                proposals.extend(self.tell(round, &round.owner, true, self.loaded))
            }
            Phase::OthersSkipping => self.skip(proposals, round, self.loaded),
            Phase::Resolved => proposals.extend(self.resolve(round)),
        }
    }

    fn skip(&self, proposals: &mut Vec<Proposal>, round: &Round, stale: Revision) {
        proposals.extend(
            round
                .members
                .iter()
                .filter_map(|source| self.tell(round, source, false, stale)),
        );
    }

    /// Tells a source what to do, if it waits for exactly this round and has not been told since it said so.
    fn tell(
        &self,
        round: &Round,
        source: &SourceId,
        exec: bool,
        stale: Revision,
    ) -> Option<Proposal> {
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

    fn unlock(
        &self,
        proposals: &mut Vec<Proposal>,
        key: &LockKey,
        unlock: &Unlock,
        round: Option<&Round>,
    ) {
        let stale = self.loaded.max(unlock.revision);
        let request = (unlock::encode(key), unlock.revision);
        match (unlock.step, round.filter(|_| unlock.is_for(round))) {
            (Step::Executing, Some(round)) => {
                proposals.extend(self.tell(round, &unlock.order.owner, true, stale))
            }
            (Step::Skipping, Some(round)) => {
                let others = round
                    .members
                    .iter()
                    .filter(|source| **source != unlock.order.owner);
                proposals
                    .extend(others.filter_map(|source| self.tell(round, source, false, stale)));
            }
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
                proposals.append(&mut self.delete("end_unlock", vec![request], None))
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
