//! Why a lock stands still, in sentences for its operator.

use std::fmt::Display;

use dm_keyspace::pessimism::{InfoKey, OperationKey};
use dm_keyspace::{SourceId, TaskName};

use super::Pessimist;
use super::crossing::Crossing;
use super::record::Stage;
use super::round::{Phase, Round, Scene};
use super::unlock::Step;

/// A lock, and what is known around it.
pub(super) struct Reasons<'a> {
    pub(super) machine: &'a Pessimist,
    pub(super) name: &'a TaskName,
    pub(super) scene: &'a Scene<'a>,
    pub(super) round: &'a Round,
}

impl Reasons<'_> {
    pub(super) fn sentences(&self, crossing: Option<&Crossing>) -> Vec<String> {
        let (round, task) = (self.round, self.scene.task);
        let mut reasons = Vec::new();
        if !task.is_settled() {
            reasons.push("The task is being started or stopped in several steps; until that is over nobody is told anything.".to_owned());
        } else if !task.is_running() {
            reasons
                .push("The task has no subtask now, so nothing is executed or skipped.".to_owned());
        }
        reasons.extend(round.unsynced().map(|source| self.why_unsynced(source)));
        reasons.extend(crossing.map(Crossing::sentence));
        let rejected = round.rejected.keys();
        let strangers = rejected.filter(|source| !round.members.contains(*source));
        reasons.extend(strangers.map(|source| self.mismatch(source)));
        reasons.extend(self.repetition());
        match round.phase {
            Phase::Collecting => {}
            Phase::OwnerExecuting => reasons.push(format!(
                "Owner {} was told to execute and is not done.",
                round.owner
            )),
            Phase::OthersSkipping => {
                let waiting = list(round.members.difference(&round.done));
                reasons.push(format!("Told to skip and not done: {waiting}."));
            }
            Phase::Resolved => {
                reasons.push("All are done; the operations are being deleted.".to_owned());
            }
        }
        reasons.extend(self.unlock());
        let not_done = round.members.difference(&round.done);
        for source in not_done.filter(|_| round.phase != Phase::Resolved) {
            reasons.extend(self.offline(source));
            reasons.extend(self.unreadable(source));
        }
        reasons
    }

    fn unlock(&self) -> Option<String> {
        let unlock = self.scene.lock.unlock.as_ref()?;
        let step = match unlock.step {
            Step::Executing => format!("waits for {} to execute", unlock.order.owner),
            Step::Skipping => "waits for the others to skip".to_owned(),
            Step::Removing => "removes the records".to_owned(),
            Step::GivingUp => "gives up".to_owned(),
        };
        Some(format!("It is being unlocked by hand: {step}."))
    }

    fn why_unsynced(&self, source: &SourceId) -> String {
        match self.scene.task.infos.get(source) {
            Some(_) if self.round.rejected.contains_key(source) => self.mismatch(source),
            Some(reported) if reported.lock != self.scene.id => {
                format!("Source {source} waits for lock {} instead.", reported.lock)
            }
            _ => format!("Source {source} has not reported the statements."),
        }
    }

    fn mismatch(&self, source: &SourceId) -> String {
        let info = self.scene.task.infos.get(source);
        let ddls = info
            .map(|reported| reported.info.ddls().join("; "))
            .unwrap_or_default();
        format!("Source {source} reports other statements: {ddls}")
    }

    /// Sources that have already done these statements in the round before, if nobody else has reported them since.
    ///
    /// A worker that dies between its done and its checkpoint meets the statements again. So does one whose upstream has
    /// issued them a second time, and nothing in etcd tells one from the other. Told to skip, each source of a genuine
    /// second round would pass before the next one reports, and nobody would execute it. So it is said, and an operator decides.
    fn repetition(&self) -> Option<String> {
        let round = self.round;
        let recorded = self.scene.lock.record.as_ref().filter(|recorded| {
            !round.has_begun && recorded.record.is_of(Stage::Finished, &round.ddls)
        })?;
        let done_before = &recorded.record.members;
        if round.is_synced() || !round.reported.is_subset(done_before) {
            return None;
        }
        Some(format!(
            "The last round of this lock had the same statements, and {} was done in it (revision {}). If it repeats them because its \
             worker ended before it had saved how far it is, nobody else will report them: unlock the lock, and it executes them once \
             more. If they were issued a second time, the others will report them too: wait.",
            list(&round.reported),
            recorded.revision.0
        ))
    }

    fn offline(&self, source: &SourceId) -> Option<String> {
        match self.machine.workers.of(source) {
            Some((_, true)) => None,
            Some((worker, false)) => {
                Some(format!("Worker {worker} of source {source} is offline."))
            }
            None => Some(format!("No worker serves source {source}.")),
        }
    }

    fn unreadable(&self, source: &SourceId) -> Vec<String> {
        let (task, source) = (self.name.clone(), source.clone());
        let info = InfoKey {
            task: task.clone(),
            source: source.clone(),
        };
        let operation = OperationKey { task, source };
        let source = &operation.source;
        let keys = [("info", info.encode()), ("operation", operation.encode())];
        let faults = keys.into_iter().filter_map(|(what, key)| {
            let fault = self.machine.faults.get(&key)?;
            Some(format!(
                "The {what} of source {source} cannot be read and is passed over: {}.",
                fault.what
            ))
        });
        faults.collect()
    }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}
