//! Requests that write: validated, sent, and answered when the fold has seen them.
//!
//! What a client is told has happened is in etcd; what it is told has failed has left nothing; and when
//! nobody can find out, it is told that. Which of the three it is, [`Trails`](super::trails::Trails) has settled
//! before a flight's end gets here.

use std::collections::{BTreeMap, BTreeSet};

use dm_store::Revision;

use crate::commit::{Origin, Outcome};
use crate::handle::{Refused, Verdict, WriteError, WriteJob};
use crate::machine::{Machine, Proposal};

/// How often a request is validated again because the state has moved.
const MAX_ATTEMPTS: u32 = 16;

pub(super) struct Requests<M> {
    pending: BTreeMap<u64, Pending<M>>,
    ready: BTreeSet<u64>,
    last_id: u64,
}

impl<M> Default for Requests<M> {
    fn default() -> Self {
        Self {
            pending: BTreeMap::new(),
            ready: BTreeSet::new(),
            last_id: 0,
        }
    }
}

struct Pending<M> {
    job: Box<dyn WriteJob<M>>,
    proposal: Proposal,
    attempts: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Validated, not sent.
    Ready,
    /// In the air, in doubt, or waiting for a place in the air.
    Sent,
    /// Committed; answered when the fold gets there.
    Committed(Revision),
    /// Refused by a guard; looked at again when the fold gets there.
    Refused(Revision),
}

impl<M: Machine> Requests<M> {
    /// Takes a new request: validates it, or refuses it.
    pub(super) fn ask(
        &mut self,
        mut job: Box<dyn WriteJob<M>>,
        refusal: Option<Refused>,
        machine: &M,
    ) {
        if let Some(refused) = refusal {
            return job.failed(WriteError::Refused(refused));
        }
        self.plan(job, 0, machine);
    }

    fn plan(&mut self, mut job: Box<dyn WriteJob<M>>, attempts: u32, machine: &M) {
        if let Verdict::Commit(mut proposal) = job.plan(machine) {
            proposal.trace = proposal.trace.or_else(|| job.traceparent());
            self.last_id += 1;
            self.ready.insert(self.last_id);
            let pending = Pending {
                job,
                proposal,
                attempts,
                stage: Stage::Ready,
            };
            self.pending.insert(self.last_id, pending);
        }
    }

    /// Hands out what may be sent now.
    pub(super) fn take_ready(&mut self, mut send: impl FnMut(Origin, &Proposal)) {
        for id in std::mem::take(&mut self.ready) {
            let Some(pending) = self.pending.get_mut(&id) else {
                continue;
            };
            pending.stage = Stage::Sent;
            send(Origin::Request(id), &pending.proposal);
        }
    }

    pub(super) fn landed(&mut self, id: u64, outcome: &Outcome) {
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        match outcome {
            Outcome::Committed(revision) => pending.stage = Stage::Committed(*revision),
            Outcome::GuardFailed(revision) => pending.stage = Stage::Refused(*revision),
            Outcome::Lost | Outcome::Unknown => {
                self.finish(id, |job| job.failed(WriteError::Unknown));
            }
            Outcome::Refused(why) => {
                let why = why.clone();
                self.finish(id, |job| job.failed(WriteError::Unacceptable(why)));
            }
        }
    }

    /// The fold has moved: answers what can be answered, validates anew what a guard has refused.
    pub(super) fn caught_up(&mut self, applied: Revision, leads: bool, machine: &M) {
        let due: Vec<(u64, End)> = self
            .pending
            .iter()
            .filter_map(|(id, p)| Some((*id, p.end(applied, leads)?)))
            .collect();
        for (id, end) in due {
            match end {
                End::Committed(revision) => self.finish(id, |job| job.committed(revision)),
                End::NotLeader => self.finish(id, |job| {
                    job.failed(WriteError::Refused(Refused::NotLeader))
                }),
                End::Contended => self.finish(id, |job| job.failed(WriteError::Contended)),
                End::Again => {
                    if let Some(pending) = self.pending.remove(&id) {
                        self.plan(pending.job, pending.attempts + 1, machine);
                    }
                }
            }
        }
    }

    /// Whether somebody waits for an answer.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The end of the loop: every request gets the answer that is true of it now.
    pub(super) fn stop(&mut self) {
        for (_, mut pending) in std::mem::take(&mut self.pending) {
            match pending.stage {
                Stage::Committed(revision) => pending.job.committed(revision),
                Stage::Sent => pending.job.failed(WriteError::Unknown),
                Stage::Ready | Stage::Refused(_) => {
                    pending.job.failed(WriteError::Refused(Refused::Stopping));
                }
            }
        }
        self.ready.clear();
    }

    /// Sent to the queue but never into the air.
    pub(super) fn grounded(&mut self, id: u64, why: Refused) {
        self.finish(id, |job| job.failed(WriteError::Refused(why)));
    }

    /// Refuses what has not been sent.
    pub(super) fn refuse_queued(&mut self, why: &Refused) {
        for id in std::mem::take(&mut self.ready) {
            self.grounded(id, why.clone());
        }
    }

    fn finish(&mut self, id: u64, end: impl FnOnce(&mut dyn WriteJob<M>)) {
        if let Some(mut pending) = self.pending.remove(&id) {
            end(pending.job.as_mut());
        }
    }
}

enum End {
    Committed(Revision),
    NotLeader,
    Contended,
    Again,
}

impl<M> Pending<M> {
    /// How this request ends, given what the fold has reached; none while it must wait.
    fn end(&self, applied: Revision, leads: bool) -> Option<End> {
        match self.stage {
            Stage::Ready | Stage::Sent => None,
            Stage::Committed(revision) => (applied >= revision).then_some(End::Committed(revision)),
            Stage::Refused(revision) if applied < revision => None,
            Stage::Refused(_) if !leads => Some(End::NotLeader),
            Stage::Refused(_) if self.attempts >= MAX_ATTEMPTS => Some(End::Contended),
            Stage::Refused(_) => Some(End::Again),
        }
    }
}
