//! A lock and the round that it is in: one list of statements, brought to all members.
//!
//! ```text
//! state            means                                                leaves it when
//! Collecting       a member has not reported these statements           all members have reported   -> OwnerExecuting
//!                                                                       somebody has executed them  -> OthersSkipping
//! OwnerExecuting   the owner is told to execute                         it is done                  -> OthersSkipping
//! OthersSkipping   each member that waits is told to skip               all members are done        -> Resolved
//! Resolved         operations are being deleted                         none is left: the round ends
//! ```
//!
//! The state is derived from the evidence at the end of each revision. What the evidence does not show is
//! in a record of our own (see [`super::record`]): who was a member when the first operation appeared, and
//! that all were done. Who has reported since then and who owns is remembered, and found anew after a load.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_keyspace::SourceId;
use dm_keyspace::pessimism::Operation;
use dm_store::Revision;

use super::evidence::{Reported, Task, same_ddls};
pub use super::lock::Phase;
pub(crate) use super::lock::{Lock, Round};
use super::record::{Record, Recorded, Stage};
use super::tally::{Tally, first_with};

/// Operations of one list of statements.
pub(crate) struct Group<'a> {
    ddls: &'a [String],
    pub(crate) sources: Vec<&'a SourceId>,
    /// Who was told to execute, if anybody is known.
    owner: Option<&'a SourceId>,
    /// How much the strongest operation of the group proves: 3 executed, 2 skipped, 1 being executed, 0 nothing.
    proof: u8,
}

impl Group<'_> {
    /// The record of it while it is being deleted. Since when the lock was known nobody knows any more.
    pub(crate) fn record(&self) -> Record {
        Record {
            stage: Stage::Resolving,
            ddls: self.ddls.to_vec(),
            owner: self.owner.cloned().unwrap_or_default(),
            members: self.sources.iter().copied().cloned().collect(),
            first_seen: Duration::ZERO,
        }
    }
}

/// The evidence about one lock, to be asked.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) task: &'a Task,
    pub(crate) id: &'a str,
    pub(crate) lock: &'a Lock,
}

impl<'a> Scene<'a> {
    pub(crate) fn of(task: &'a Task, id: &'a str) -> Option<Self> {
        task.locks.get(id).map(|lock| Self { task, id, lock })
    }

    /// The info with which `source` waits for this round, if it does.
    pub(crate) fn waiting(&self, source: &SourceId, ddls: &[String]) -> Option<&'a Reported> {
        self.task
            .infos
            .get(source)
            .filter(|r| r.lock == self.id && same_ddls(r.info.ddls(), ddls))
    }

    /// The operation that `source` has in this round, if it counts.
    pub(crate) fn operation(&self, source: &SourceId, ddls: &[String]) -> Option<&'a Operation> {
        self.operation_of_lock(source)
            .filter(|o| same_ddls(o.ddls(), ddls))
    }

    /// The operation that `source` has of this lock, if it counts.
    pub(crate) fn operation_of_lock(&self, source: &SourceId) -> Option<&'a Operation> {
        let answered = self
            .task
            .operations
            .get(source)
            .filter(|answered| !answered.by_stranger)?;
        answered.operation.as_ref().filter(|o| o.id == self.id)
    }

    /// Whether the operation of a source is younger than its info: its worker takes no other for an answer.
    pub(crate) fn is_answer_younger(&self, source: &SourceId) -> bool {
        let asked = self.task.infos.get(source).map(|r| r.revision);
        let answered = self.task.operations.get(source).map(|a| a.revision);
        answered > asked
    }

    pub(crate) fn is_done(&self, source: &SourceId, ddls: &[String]) -> bool {
        self.operation(source, ddls).is_some_and(|o| o.done)
    }

    /// What the present or last round has left.
    pub(crate) fn record(&self) -> Option<&'a Record> {
        self.lock.record.as_ref().map(|recorded| &recorded.record)
    }

    /// Whether the operations of these statements are being deleted.
    pub(crate) fn is_resolving(&self, ddls: &[String]) -> bool {
        self.record()
            .is_some_and(|record| record.is_of(Stage::Resolving, ddls))
    }

    /// Whether a round of these statements has come to its end, and all operations of them are from before that.
    fn has_ended(&self, ddls: &[String]) -> bool {
        let recorded = self.lock.record.as_ref();
        let is_of = |recorded: &&Recorded| recorded.record.is_of(Stage::Finished, ddls);
        let is_older = |source: &SourceId, end: Revision| {
            let answered = self.task.operations.get(source);
            self.operation(source, ddls).is_none() || answered.is_none_or(|a| a.revision < end)
        };
        recorded.filter(is_of).is_some_and(|recorded| {
            let mut sources = self.lock.operations.iter();
            sources.all(|source| is_older(source, recorded.revision))
        })
    }

    /// Told to execute, not done yet, still waiting for it, and still a source of the task.
    pub(crate) fn is_executing(&self, source: &SourceId, ddls: &[String]) -> bool {
        let is_told = self
            .operation(source, ddls)
            .is_some_and(|o| o.exec && !o.done);
        is_told && self.present().contains(source) && self.waiting(source, ddls).is_some()
    }

    /// Operations of this lock that count, by statements.
    fn groups(&self) -> Vec<Group<'a>> {
        let mut groups: Vec<Group<'a>> = Vec::new();
        for source in &self.lock.operations {
            let Some(o) = self.operation_of_lock(source) else {
                continue;
            };
            let proof = match (o.exec, o.done) {
                (true, true) => 3,
                (false, true) => 2,
                (true, false) if self.is_executing(source, o.ddls()) => 1,
                _ => 0,
            };
            match groups
                .iter_mut()
                .find(|group| same_ddls(o.ddls(), group.ddls))
            {
                Some(group) => {
                    group.owner = group.owner.or(o.exec.then_some(source));
                    group.sources.push(source);
                    group.proof = group.proof.max(proof);
                }
                None => groups.push(Group {
                    ddls: o.ddls(),
                    sources: vec![source],
                    owner: o.exec.then_some(source),
                    proof,
                }),
            }
        }
        groups
    }

    /// Whether a round is over although nobody saw its end: all its operations are done, nobody waits for it, and
    /// each source of the task is either done in it or stands at other statements of the same lock. What comes from a source
    /// that had left, when the round has come to its end already, is over too.
    fn is_left_over(&self, ddls: &[String]) -> bool {
        let has_passed = |source: &SourceId| {
            self.is_done(source, ddls)
                || self
                    .task
                    .infos
                    .get(source)
                    .is_some_and(|r| r.lock == self.id && !same_ddls(r.info.ddls(), ddls))
        };
        let is_finished = self
            .record()
            .is_some_and(|r| r.is_of(Stage::Finished, ddls));
        let mut operations = self.lock.operations.iter();
        let mut sources = self.task.sources.iter();
        self.task.is_running()
            && operations.all(|source| self.operation(source, ddls).is_none_or(|o| o.done))
            && sources.all(|source| {
                self.waiting(source, ddls).is_none() && (is_finished || has_passed(source))
            })
    }

    /// Operations that belong to rounds that are over, apart from the present one.
    pub(crate) fn left_over(&self) -> Vec<Group<'a>> {
        let round = self.lock.round.as_ref();
        if round.is_some_and(|round| !round.tally.has_left_over(round.has_begun)) {
            return Vec::new();
        }
        let present = round.filter(|round| round.has_begun);
        self.groups()
            .into_iter()
            .filter(|group| {
                present.is_none_or(|round| !same_ddls(group.ddls, &round.ddls))
                    && self.is_left_over(group.ddls)
            })
            .collect()
    }

    /// The sources that a new round needs: those of the task; for a task that was never seen running, those that report.
    pub(crate) fn present(&self) -> &'a BTreeSet<SourceId> {
        if self.task.members.is_empty() {
            &self.lock.infos
        } else {
            &self.task.members
        }
    }

    /// The round that the evidence shows now, all of it looked at.
    pub(crate) fn next_round(&self, previous: Option<Round>, now: Duration) -> Option<Round> {
        let mut round = self.same_round(previous, now)?;
        round.tally = Tally::of(self, &round.ddls);
        round.done.clear();
        for source in self.lock.infos.union(&self.lock.operations) {
            self.count(&mut round, source);
        }
        if self.task.is_running() {
            let Round { members, done, .. } = &mut round;
            members.retain(|source| self.task.sources.contains(source) || done.contains(source));
        }
        let Round {
            members, reported, ..
        } = &mut round;
        reported.retain(|source| members.contains(source));
        let mut round = self.conclude(round)?;
        if round.trace.is_none() {
            round.trace = self.trace_of_anybody(&round);
        }
        Some(round)
    }

    /// The previous round while it goes on, else the next one, not yet counted.
    fn same_round(&self, previous: Option<Round>, now: Duration) -> Option<Round> {
        let is_alive = |ddls: &[String]| !Tally::of(self, ddls).alive.is_empty();
        let record = self.record();
        if let Some(record) = record.filter(|record| record.stage == Stage::Resolving) {
            // Nothing else begins before the last of its operations is gone.
            return Some(Round::recorded(record, previous));
        }
        if let Some(round) = previous
            .as_ref()
            .filter(|round| round.has_begun && is_alive(&round.ddls))
            .filter(|round| !self.has_ended(&round.ddls))
        {
            return Some(round.clone());
        }
        match record.filter(|record| record.stage == Stage::Begun && is_alive(&record.ddls)) {
            Some(record) => Some(Round::recorded(record, previous)),
            None => self.new_round(previous, now),
        }
    }

    /// The round that the evidence shows now, if nothing but that of some sources has changed. None when all of it has to be
    /// looked at: a round begins or ends, or the first to report is another one.
    pub(crate) fn round_after(
        &self,
        previous: &mut Option<Round>,
        touched: &BTreeSet<SourceId>,
    ) -> Option<Round> {
        let mut round = previous
            .take_if(|round| round.phase != Phase::Resolved && !self.task.members.is_empty())?;
        for source in touched {
            round.tally.sort(self, &round.ddls, source);
        }
        let tally = &round.tally;
        let goes_on = match round.has_begun {
            true => !tally.alive.is_empty() && !self.has_ended(&round.ddls),
            false => {
                tally.answered.is_empty()
                    && tally.strays.is_empty()
                    && tally
                        .first()
                        .is_some_and(|first| tally.waiting.contains(first))
            }
        };
        if !goes_on {
            *previous = Some(round);
            return None;
        }
        for source in touched {
            self.count(&mut round, source);
        }
        self.conclude(round)
    }

    /// What follows for the round from who is a member, has reported and is done.
    fn conclude(&self, mut round: Round) -> Option<Round> {
        round.owner = self.owner(&round)?;
        round.phase = self.phase(&round);
        if round.trace.is_none() {
            round.trace = self.trace(&round);
        }
        Some(round)
    }

    fn new_round(&self, previous: Option<Round>, now: Duration) -> Option<Round> {
        let present = self.present();
        let first = self.first_waiting(|source| present.contains(source))?;
        // Operations that prove something tell the statements; else the first report does.
        let lead = self
            .groups()
            .into_iter()
            .filter(|group| group.proof > 0 && !self.is_left_over(group.ddls))
            .filter(|group| !self.has_ended(group.ddls))
            .reduce(|best, group| {
                if group.proof > best.proof {
                    group
                } else {
                    best
                }
            });
        let ddls = lead
            .as_ref()
            .map_or_else(|| first.info.ddls(), |group| group.ddls)
            .to_vec();
        let kept = previous.filter(|round| !round.has_begun && same_ddls(&ddls, &round.ddls));
        let fresh = Round {
            owner: SourceId::default(),
            members: present.clone(),
            reported: BTreeSet::new(),
            done: BTreeSet::new(),
            rejected: BTreeMap::new(),
            phase: Phase::Collecting,
            has_begun: lead.is_some(),
            trace: None,
            first_seen: now,
            tally: Tally::default(),
            ddls,
        };
        Some(match kept {
            Some(old) => Round {
                owner: old.owner,
                rejected: old.rejected,
                trace: old.trace,
                first_seen: old.first_seen,
                ..fresh
            },
            None => fresh,
        })
    }

    /// The one who came first, of those that wait for the lock at all.
    fn first_waiting(&self, counts: impl Fn(&SourceId) -> bool) -> Option<&'a Reported> {
        let waiting = self
            .lock
            .infos
            .iter()
            .filter(|source| counts(source))
            .filter_map(|source| self.task.infos.get(source));
        waiting.min_by_key(|reported| reported.since)
    }

    /// Whether a source belongs to the round, has reported, is done.
    fn count(&self, round: &mut Round, source: &SourceId) {
        let is_done = round.tally.answered.contains(source) && !round.tally.undone.contains(source);
        let is_waiting = round.tally.waiting.contains(source) && self.present().contains(source);
        // A source that was done before it left is still proof; one that waited is not.
        if is_done || is_waiting {
            round.members.insert(source.clone());
            round.reported.insert(source.clone());
        } else if !round.has_begun {
            round.reported.remove(source);
        }
        if is_done {
            round.done.insert(source.clone());
        } else {
            round.done.remove(source);
        }
        let has_left = self.task.is_running() && !self.task.sources.contains(source);
        if has_left && !is_done {
            round.members.remove(source);
            round.reported.remove(source);
        }
    }

    fn owner(&self, round: &Round) -> Option<SourceId> {
        let tally = &round.tally;
        let executed = || first_with(&tally.executed, &round.owner);
        // Who was told to execute has done so, or will: nobody else may be told. The last one, if one has left and come back.
        let told_at = |source: &&SourceId| self.task.operations.get(*source).map(|a| a.revision);
        let executing = || tally.executing.iter().max_by_key(told_at);
        let kept = || round.reported.get(&round.owner).filter(|_| round.has_begun);
        let waits =
            |source: &SourceId| round.members.contains(source) && tally.waiting.contains(source);
        let smallest = || tally.waiting.iter().find(|source| waits(source));
        let found = if round.is_synced() {
            executed().or_else(executing).or_else(kept)
        } else {
            executed().or_else(kept).or_else(executing)
        };
        let next = match round.has_begun {
            true => found.or_else(smallest),
            false => found.or_else(|| tally.first_of(waits)),
        };
        next.or_else(|| round.members.first()).cloned()
    }

    fn phase(&self, round: &Round) -> Phase {
        let tally = &round.tally;
        let is_known = !self.task.members.is_empty();
        // Nobody is done who is no member.
        let is_all_done = !round.members.is_empty() && round.members.len() == round.done.len();
        // Deleted in several transactions, the operations no longer show that all were done.
        let is_being_deleted = self.is_resolving(&round.ddls);
        let is_over = || {
            let mut waiting = tally.waiting.iter();
            round.has_begun
                && tally.undone.is_empty()
                && !waiting.any(|source| self.task.sources.contains(source))
                && self.is_left_over(&round.ddls)
        };
        if is_all_done || is_being_deleted || is_over() {
            Phase::Resolved
        } else if !tally.executed.is_empty() {
            Phase::OthersSkipping
        } else if is_known && round.is_synced() {
            Phase::OwnerExecuting
        } else {
            Phase::Collecting
        }
    }

    /// The trace of the owner's report; after a load perhaps that of its operation.
    fn trace(&self, round: &Round) -> Option<String> {
        let owner = &round.owner;
        self.trace_of_info(round, owner)
            .or_else(|| self.trace_of_operation(round, owner))
    }

    fn trace_of_anybody(&self, round: &Round) -> Option<String> {
        let mut answered = round.tally.answered.iter();
        let mut members = round.members.iter();
        answered
            .find_map(|source| self.trace_of_operation(round, source))
            .or_else(|| members.find_map(|source| self.trace_of_info(round, source)))
    }

    fn trace_of_info(&self, round: &Round, source: &SourceId) -> Option<String> {
        let reported = self.waiting(source, &round.ddls)?;
        reported.info.traceparent.clone()
    }

    fn trace_of_operation(&self, round: &Round, source: &SourceId) -> Option<String> {
        let operation = self.operation(source, &round.ddls)?;
        operation.traceparent.clone()
    }
}
