//! The machine's decisions on their way: wanted, sent, waited for.
//!
//! ```text
//! decided ──▶ ready ──taken──▶ sent ──landed at R──▶ settling ──fold reaches R──▶ ready, if something is still wanted
//! ```
//!
//! A subject has one decision in the air at a time. What replaces it meanwhile waits until the fold
//! has seen the end of the one before, so no decision is ever made, or kept, on a state older than its own writes.

use std::collections::{BTreeMap, BTreeSet};

use dm_store::Revision;

use crate::commit::{Origin, Outcome};
use crate::machine::{Decision, Proposal, Subject};

#[derive(Debug, Default)]
pub(super) struct Subjects {
    wanted: BTreeMap<Subject, Wanted>,
    sent: BTreeMap<Subject, Sent>,
    /// Landed, by the revision that the fold must reach.
    settling: BTreeMap<Revision, Vec<Subject>>,
    ready: BTreeSet<Subject>,
    /// Refused without a reason in sight: tried again on the slow timer.
    failed: BTreeSet<Subject>,
    generation: u64,
}

#[derive(Debug)]
struct Wanted {
    generation: u64,
    proposals: Vec<Proposal>,
}

#[derive(Debug)]
struct Sent {
    generation: u64,
    outstanding: usize,
    is_committed: bool,
    fold_must_reach: Revision,
}

impl Subjects {
    /// How many subjects call for something.
    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Takes a decision in place of the last one of its subject.
    pub(super) fn decided(&mut self, decision: Decision) {
        let Decision { subject, proposals } = decision;
        self.failed.remove(&subject);
        if proposals.is_empty() {
            self.wanted.remove(&subject);
            self.ready.remove(&subject);
            return;
        }
        self.generation += 1;
        if !self.sent.contains_key(&subject) {
            self.ready.insert(subject.clone());
        }
        self.wanted.insert(
            subject,
            Wanted {
                generation: self.generation,
                proposals,
            },
        );
    }

    /// Hands out everything that may be sent now.
    pub(super) fn take_ready(&mut self, mut send: impl FnMut(Origin, &Proposal)) {
        for subject in std::mem::take(&mut self.ready) {
            let Some(wanted) = self.wanted.get(&subject) else {
                continue;
            };
            for proposal in &wanted.proposals {
                send(
                    Origin::Subject(subject.clone(), wanted.generation),
                    proposal,
                );
            }
            let sent = Sent {
                generation: wanted.generation,
                outstanding: wanted.proposals.len(),
                is_committed: true,
                fold_must_reach: Revision::ZERO,
            };
            self.sent.insert(subject, sent);
        }
    }

    /// One proposal of a subject has come to its end.
    pub(super) fn landed(&mut self, subject: &Subject, generation: u64, outcome: &Outcome) {
        let Some(sent) = self
            .sent
            .get_mut(subject)
            .filter(|sent| sent.generation == generation)
        else {
            return;
        };
        sent.outstanding = sent.outstanding.saturating_sub(1);
        match outcome {
            Outcome::Committed(revision) => {
                sent.fold_must_reach = sent.fold_must_reach.max(*revision)
            }
            Outcome::GuardFailed(revision) => {
                sent.is_committed = false;
                sent.fold_must_reach = sent.fold_must_reach.max(*revision);
            }
            Outcome::Refused(_) | Outcome::Lost | Outcome::Unknown => sent.is_committed = false,
        }
        if sent.outstanding == 0 {
            self.settling
                .entry(sent.fold_must_reach)
                .or_default()
                .push(subject.clone());
        }
    }

    /// A proposal was taken but never sent, because the term ended.
    pub(super) fn grounded(&mut self, subject: &Subject) {
        let generation = self.sent.get(subject).map_or(0, |sent| sent.generation);
        self.landed(subject, generation, &Outcome::Lost);
    }

    /// The fold has reached `applied`: what waited for it is free again. `decide` has been asked by now.
    pub(super) fn caught_up(&mut self, applied: Revision) {
        while let Some(entry) = self
            .settling
            .first_entry()
            .filter(|entry| *entry.key() <= applied)
        {
            for subject in entry.remove() {
                self.settle(subject);
            }
        }
    }

    fn settle(&mut self, subject: Subject) {
        let Some(sent) = self.sent.remove(&subject) else {
            return;
        };
        let Some(wanted) = self.wanted.get(&subject) else {
            return;
        };
        let is_same = wanted.generation == sent.generation;
        match (is_same, sent.is_committed) {
            (true, true) => {
                self.wanted.remove(&subject);
            }
            // The state does not show why it was refused; trying at once could spin.
            (true, false) => {
                self.failed.insert(subject);
            }
            (false, _) => {
                self.ready.insert(subject);
            }
        }
    }

    /// The slow timer: what failed is ready again.
    pub(super) fn retry_failed(&mut self) {
        self.ready.append(&mut self.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(subject: &str, proposals: usize) -> Decision {
        Decision {
            subject: subject.into(),
            proposals: vec![Proposal::new("test").put("k", "v"); proposals],
        }
    }

    fn taken(subjects: &mut Subjects) -> Vec<(String, u64)> {
        let mut taken = Vec::new();
        subjects.take_ready(|origin, _| {
            if let Origin::Subject(subject, generation) = origin {
                taken.push((subject.0, generation));
            }
        });
        taken
    }

    #[test]
    fn committed_decision_is_forgotten_once_the_fold_has_seen_it() {
        let mut subjects = Subjects::default();
        subjects.decided(decision("a", 1));
        assert_eq!(taken(&mut subjects), [("a".to_owned(), 1)]);
        subjects.landed(&"a".into(), 1, &Outcome::Committed(Revision(5)));
        subjects.caught_up(Revision(4));
        assert_eq!(subjects.len(), 1);
        subjects.caught_up(Revision(5));
        assert_eq!((subjects.len(), taken(&mut subjects).len()), (0, 0));
    }

    #[test]
    fn newer_decision_waits_for_the_end_of_the_one_in_the_air() {
        let mut subjects = Subjects::default();
        subjects.decided(decision("a", 1));
        taken(&mut subjects);
        subjects.decided(decision("a", 2));
        assert!(taken(&mut subjects).is_empty());
        subjects.landed(&"a".into(), 1, &Outcome::Committed(Revision(5)));
        subjects.caught_up(Revision(9));
        assert_eq!(
            taken(&mut subjects),
            [("a".to_owned(), 2), ("a".to_owned(), 2)]
        );
    }

    #[test]
    fn refused_decision_is_tried_again_by_the_timer_only() {
        let mut subjects = Subjects::default();
        subjects.decided(decision("a", 1));
        taken(&mut subjects);
        subjects.landed(&"a".into(), 1, &Outcome::GuardFailed(Revision(5)));
        subjects.caught_up(Revision(5));
        assert!(taken(&mut subjects).is_empty());
        subjects.retry_failed();
        assert_eq!(taken(&mut subjects).len(), 1);
    }

    #[test]
    fn grounded_decision_is_ready_for_the_next_term() {
        let mut subjects = Subjects::default();
        subjects.decided(decision("a", 1));
        taken(&mut subjects);
        subjects.grounded(&"a".into());
        subjects.caught_up(Revision(1));
        subjects.retry_failed();
        assert_eq!(taken(&mut subjects).len(), 1);
    }

    #[test]
    fn withdrawn_decision_is_not_sent() {
        let mut subjects = Subjects::default();
        subjects.decided(decision("a", 1));
        subjects.decided(decision("a", 0));
        assert!(taken(&mut subjects).is_empty() && subjects.len() == 0);
    }
}
