//! What a lock calls for: operations to put, records to delete. Each write is guarded by the revisions that it was decided on.

use std::collections::BTreeSet;

use dm_keyspace::pessimism::{InfoKey, Operation, OperationKey};
use dm_keyspace::{SourceId, TaskName};
use dm_replica::Proposal;
use dm_store::{Guard, KeyRange, Revision};

use super::own::Family;
use super::record::{Record, Stage};
use super::round::{Phase, Round, Scene};
use super::unlock::{Step, Unlock};
use super::{LockKey, evidence::Answered};

/// Operations and conditions of a transaction that are not the sources': the loop's fence, and our own records.
const RESERVED: usize = 4;

/// Writes down what a lock calls for now.
pub(crate) struct Writer<'a> {
    scene: &'a Scene<'a>,
    key: &'a LockKey,
    task: &'a TaskName,
    /// Revision of the snapshot.
    loaded: Revision,
    /// Operations that etcd accepts in one transaction.
    max_operations: usize,
}

/// Whether somebody else has executed before the chosen owner was told to, or before it came back to be told again.
fn is_overtaken(round: &Round, owner: &SourceId) -> bool {
    !round.tally.executed.is_empty() && round.tally.untold.contains(owner)
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        scene: &'a Scene<'a>,
        key: &'a LockKey,
        loaded: Revision,
        max_operations: usize,
    ) -> Self {
        Self {
            scene,
            key,
            task: &key.task,
            loaded,
            max_operations,
        }
    }

    /// How many sources may be concerned by one transaction that has so many conditions for each.
    fn room(&self, conditions: usize) -> usize {
        (self.max_operations.saturating_sub(RESERVED) / conditions).max(1)
    }

    /// What is done for the lock as a whole, one after the other: the order to execute, so that no two of them are ever under
    /// way, and the deletions.
    pub(crate) fn of_lock(&self) -> Vec<Proposal> {
        let lock = self.scene.lock;
        // While a start or stop is under way, who is missing may only be not there yet.
        let is_settled = self.scene.task.is_settled();
        let mut proposals = match is_settled {
            true => self.delete_left_over(),
            false => Vec::new(),
        };
        match (&lock.unlock, &lock.round) {
            (Some(unlock), round) => {
                proposals.extend(self.unlock(unlock, round.as_ref()));
                return proposals;
            }
            (None, Some(round)) => match round.phase {
                // A stopped task executes nothing; what is over may be tidied up.
                Phase::OwnerExecuting if self.scene.task.is_active() => {
                    proposals.extend(self.tell(round, &round.owner, true));
                }
                Phase::Resolved if is_settled => proposals.extend(self.resolve(round)),
                Phase::Collecting
                | Phase::OwnerExecuting
                | Phase::OthersSkipping
                | Phase::Resolved => {}
            },
            (None, None) => {}
        }
        if is_settled && proposals.is_empty() {
            proposals.extend(self.forget());
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
                    && (*source != unlock.order.owner || is_overtaken(round, source))
            }
            None => round.phase == Phase::OthersSkipping && self.scene.task.is_active(),
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
        let key = OperationKey {
            task: self.task.clone(),
            source: source.clone(),
        };
        let key = key.encode();
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
        let proposal = match exec {
            true => self.while_nobody_is_done(round, source, proposal),
            false => proposal,
        };
        let proposal = proposal
            .put_traced(key, self.order(round, source, exec, reported.revision))
            .trace(round.trace.clone());
        let is_recorded = |record: &Record| record.is_of(Stage::Begun, &round.ddls);
        if exec && !self.scene.record().is_some_and(is_recorded) {
            return Some(self.put_record(proposal, &round.record(Stage::Begun)));
        }
        // A round that has come to its end meanwhile tells nobody anything.
        let (key, seen) = self.record_seen();
        Some(proposal.guard(Guard::unchanged(key, seen)))
    }

    /// What is put on a source's key. One that stands already, and is put again only in case nobody heard it, stays as it is
    /// to the byte: a worker of DM's that has just read it reports only if it is unchanged.
    fn order(
        &self,
        round: &Round,
        source: &SourceId,
        exec: bool,
        reported: Revision,
    ) -> impl Fn(Option<&str>) -> Vec<u8> + Send + Sync + 'static {
        let answered = self.scene.task.operations.get(source);
        let is_younger = answered.is_some_and(|answered| answered.revision > reported);
        let standing = self
            .scene
            .operation(source, &round.ddls)
            .filter(|o| is_younger && o.exec == exec && !o.done)
            .map(Operation::to_bytes);
        let new = Operation::new(
            self.scene.id,
            self.task.clone(),
            source.clone(),
            round.ddls.clone(),
            exec,
        );
        move |traceparent| {
            let traced = || Operation {
                traceparent: traceparent.map(str::to_owned),
                ..new.clone()
            };
            standing.clone().unwrap_or_else(|| traced().to_bytes())
        }
    }

    /// An order to execute: whoever else was told to, and may still do so, has not said meanwhile that it did.
    fn while_nobody_is_done(&self, round: &Round, owner: &SourceId, order: Proposal) -> Proposal {
        let told = round.tally.answered.iter().filter(|source| {
            let operation = self.scene.operation(source, &round.ddls);
            *source != owner && operation.is_some_and(|o| o.exec)
        });
        told.filter_map(|source| self.operation_of(source))
            .take(self.room(1))
            .fold(order, |order, (key, seen)| {
                order.guard(Guard::ModRevision(key.into(), seen))
            })
    }

    fn put_record(&self, proposal: Proposal, record: &Record) -> Proposal {
        let (key, seen) = self.record_seen();
        proposal
            .guard(Guard::unchanged(key.clone(), seen))
            .put(key, record.to_bytes())
    }

    fn record_seen(&self) -> (String, Option<Revision>) {
        let seen = self.scene.lock.record.as_ref();
        (
            Family::ROUND.encode(self.key),
            seen.map(|recorded| recorded.revision),
        )
    }

    fn resolve(&self, round: &Round) -> Vec<Proposal> {
        let record = match self.scene.record() {
            Some(record) if record.is_of(Stage::Resolving, &round.ddls) => record.clone(),
            _ => round.record(Stage::Resolving),
        };
        self.end_round("resolve_lock", record, round.trace.as_ref())
    }

    /// Deletes the operations of a round that is over. If they are more than one transaction takes, the first one leaves a
    /// mark, so that whoever comes next goes on with it; the last one leaves what the round has been.
    fn end_round(
        &self,
        name: &'static str,
        record: Record,
        trace: Option<&String>,
    ) -> Vec<Proposal> {
        let sources = self.scene.lock.operations.iter();
        let of_round = sources.filter(|s| self.scene.operation(s, &record.ddls).is_some());
        let keys: Vec<_> = of_round.filter_map(|s| self.operation_of(s)).collect();
        let mut parts = self.delete(name, &keys, trace);
        let empty = || Proposal::new(name).trace(trace.cloned());
        if parts.len() <= 1 {
            let last = parts.pop().unwrap_or_else(empty);
            let last = self.while_nobody_is_told(&record.ddls, last);
            let finished = Record {
                stage: Stage::Finished,
                ..record
            };
            return vec![self.put_record(last, &finished)];
        }
        if !self.scene.is_resolving(&record.ddls) {
            parts.truncate(1);
            let first = parts.pop().unwrap_or_else(empty);
            return vec![self.put_record(first, &record)];
        }
        parts
    }

    /// Operations of rounds that nobody saw the end of.
    fn delete_left_over(&self) -> Vec<Proposal> {
        let name = "delete_left_over_operations";
        let groups = self.scene.left_over();
        let lock = self.scene.lock;
        let is_free = lock.unlock.is_none() && lock.round.as_ref().is_none_or(|r| !r.has_begun);
        match groups.as_slice() {
            [group] if is_free => self.end_round(name, group.record(), None),
            groups => {
                let sources = groups.iter().flat_map(|group| &group.sources);
                let keys: Vec<_> = sources.filter_map(|s| self.operation_of(s)).collect();
                self.delete(name, &keys, None)
            }
        }
    }

    /// Deletes a record whose round is gone without having been brought to its end here.
    fn forget(&self) -> Option<Proposal> {
        let record = self.scene.record()?;
        let round = self.scene.lock.round.as_ref();
        let is_present = round.is_some_and(|r| r.has_begun && record.is_of(record.stage, &r.ddls));
        match record.stage {
            Stage::Begun if !is_present => {
                let (key, seen) = self.record_seen();
                let proposal = Proposal::new("delete_record_of_a_round");
                let proposal = proposal.guard(Guard::unchanged(key.clone(), seen));
                Some(proposal.delete(KeyRange::key(key)))
            }
            Stage::Resolving if !is_present => self
                .end_round("resolve_lock", record.clone(), None)
                .into_iter()
                .next(),
            Stage::Begun | Stage::Resolving | Stage::Finished => None,
        }
    }

    fn unlock(&self, unlock: &Unlock, round: Option<&Round>) -> Vec<Proposal> {
        let ddls = &unlock.order.ddls;
        match (unlock.step, round.filter(|_| unlock.is_for(round))) {
            // What is over is not begun anew.
            (Step::Executing, Some(_)) if self.scene.is_resolving(ddls) => Vec::new(),
            (Step::Executing, Some(round)) => {
                let owner = &unlock.order.owner;
                self.tell(round, owner, true).into_iter().collect()
            }
            // An owner that is passed over by force may come back meanwhile, and must not wait in vain.
            (Step::Skipping, Some(round)) if round.tally.executed.is_empty() => {
                let owner = &unlock.order.owner;
                self.tell(round, owner, true).into_iter().collect()
            }
            (Step::Skipping, Some(_)) => Vec::new(),
            (Step::Removing, Some(round)) => vec![self.remove(unlock, round.trace.as_ref())],
            (Step::Removing, None) if unlock.order.is_removing => vec![self.remove(unlock, None)],
            (_, None) | (Step::GivingUp, _) => {
                let key = Family::UNLOCK.encode(self.key);
                vec![
                    Proposal::new("end_unlock")
                        .guard(Guard::ModRevision(key.clone().into(), unlock.revision))
                        .delete(KeyRange::key(key)),
                ]
            }
        }
    }

    /// Removes what belongs to the round, and at last the record of it and the request. Of more than one transaction takes,
    /// the first part, with a mark that the rest goes too.
    fn remove(&self, unlock: &Unlock, trace: Option<&String>) -> Proposal {
        let lock = self.scene.lock;
        let sources = lock.infos.union(&lock.operations);
        let parts: Vec<_> = sources.filter_map(|s| self.removal_of(unlock, s)).collect();
        let now = &parts[..parts.len().min(self.room(2))];
        let empty = Proposal::new("remove_lock").trace(trace.cloned());
        let proposal = now.iter().fold(empty, |mut proposal, part| {
            proposal.guards.extend(part.guards.iter().cloned());
            proposal.deletes.extend(part.deletes.iter().cloned());
            proposal
        });
        let request = Family::UNLOCK.encode(self.key);
        let as_seen = Guard::ModRevision(request.clone().into(), unlock.revision);
        if now.len() < parts.len() {
            return match unlock.order.is_removing {
                true => proposal,
                false => proposal
                    .guard(as_seen)
                    .put(request, unlock.removing().to_bytes()),
            };
        }
        let ddls = &unlock.order.ddls;
        let proposal = self.while_nobody_is_told(ddls, proposal);
        let proposal = proposal.guard(as_seen).delete(KeyRange::key(request));
        match self.record_seen() {
            (key, Some(seen)) => proposal
                .guard(Guard::ModRevision(key.clone().into(), seen))
                .delete(KeyRange::key(key)),
            (_, None) => proposal,
        }
    }

    /// What is removed of one source: its info and its operation together or not at all, so that nobody is left with an
    /// order for something that is gone.
    fn removal_of(&self, unlock: &Unlock, source: &SourceId) -> Option<Proposal> {
        let ddls = &unlock.order.ddls;
        let is_waiting = self.scene.waiting(source, ddls).is_some();
        let has_operation = self.scene.operation(source, ddls).is_some();
        // One that has left the task is not waited for, and what it was told goes with the rest.
        let is_concerned = unlock.concerns(source) || !self.scene.present().contains(source);
        // One that has been told nothing since its report keeps it, and waits in the next round.
        let takes_info =
            is_waiting && is_concerned && has_operation && self.scene.is_answer_younger(source);
        // One that has reported meanwhile and was told something by somebody else goes on by itself.
        let takes_operation = has_operation && (is_concerned || !is_waiting);
        if !takes_info && !takes_operation {
            return None;
        }
        let (task, source) = (self.task.clone(), source.clone());
        let info = self.scene.task.infos.get(&source);
        let operation = self.scene.task.operations.get(&source);
        let info_seen = info.map(|reported| reported.revision);
        let operation_seen = operation.map(|answered| answered.revision);
        let (of_task, of_source) = (task.clone(), source.clone());
        let operation = OperationKey { task, source }.encode();
        let info = InfoKey {
            task: of_task,
            source: of_source,
        }
        .encode();
        let mut part = Proposal::new("remove_lock")
            .guard(Guard::unchanged(info.clone(), info_seen))
            .guard(Guard::unchanged(operation.clone(), operation_seen));
        if takes_info {
            part = part.delete(KeyRange::key(info));
        }
        if takes_operation {
            part = part.delete(KeyRange::key(operation));
        }
        Some(part)
    }

    /// The end of a round: whoever waits for it and is passed over, since its source has left the task, has been told nothing
    /// meanwhile. Else it goes on with the round, and must not find it gone. As many as there is room for are looked at.
    fn while_nobody_is_told(&self, ddls: &[String], end: Proposal) -> Proposal {
        let untold = self.scene.lock.infos.iter().filter(|source| {
            let is_waiting = self.scene.waiting(source, ddls).is_some();
            is_waiting && self.scene.operation(source, ddls).is_none()
        });
        let room = self
            .max_operations
            .saturating_sub(RESERVED + end.guards.len());
        untold.take(room).fold(end, |end, source| {
            let answered = self.scene.task.operations.get(source);
            let (task, source) = (self.task.clone(), source.clone());
            let key = OperationKey { task, source }.encode();
            end.guard(Guard::unchanged(
                key,
                answered.map(|answered| answered.revision),
            ))
        })
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
        keys: &[(String, Revision)],
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
        keys.chunks(self.room(1)).map(proposal).collect()
    }
}
