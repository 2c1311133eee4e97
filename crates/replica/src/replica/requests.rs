//! Requests that write: validated, sent, and answered when the fold has seen them.
//!
//! What a client is told has happened is in etcd; what it is told has failed has left nothing. So a
//! request whose reply was lost is settled by reading: either the feed has brought exactly its write,
//! or the guards refused a repetition and the feed has passed that revision without it, or our term has
//! ended and with it every chance of its write to commit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dm_store::{Batch, Event, KeyValue, Revision, Snapshot};

use crate::commit::{Origin, Outcome};
use crate::handle::{Refused, Verdict, WriteError, WriteJob};
use crate::line::{Line, Term};
use crate::machine::{Machine, Proposal};

/// How often a request is validated again because the state has moved.
const MAX_ATTEMPTS: u32 = 16;

pub(super) struct Requests<M> {
    pending: BTreeMap<u64, Pending<M>>,
    ready: BTreeSet<u64>,
    /// First key written -> the request that writes it, while it is in the air.
    marks: BTreeMap<Bytes, u64>,
    last_id: u64,
}

impl<M> Default for Requests<M> {
    fn default() -> Self {
        Self {
            pending: BTreeMap::new(),
            ready: BTreeSet::new(),
            marks: BTreeMap::new(),
            last_id: 0,
        }
    }
}

struct Pending<M> {
    job: Box<dyn WriteJob<M>>,
    proposal: Proposal,
    attempts: u32,
    /// Where the feed has shown our own write.
    seen: Option<Revision>,
    stage: Stage,
    /// The term under which it was sent.
    term: Option<Term>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Validated, not sent.
    Ready,
    /// In the air.
    Sent,
    /// Committed; answered when the fold gets there.
    Committed(Revision),
    /// Refused by a guard; looked at again when the fold gets there.
    Refused(Revision),
    /// Nobody has answered, and our session is over.
    Unknown,
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
                seen: None,
                stage: Stage::Ready,
                term: None,
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
            if let Some(first) = pending.proposal.puts.first() {
                self.marks.insert(Bytes::from(first.key.clone()), id);
            }
            send(Origin::Request(id), &pending.proposal);
        }
    }

    /// Looks for our own writes in what the feed has brought.
    pub(super) fn seen(&mut self, batch: &Batch) {
        if self.marks.is_empty() {
            return;
        }
        for event in &batch.events {
            if let Event::Put(kv) = event {
                self.seen_put(kv);
            }
        }
    }

    pub(super) fn seen_snapshot(&mut self, snapshot: &Snapshot) {
        if !self.marks.is_empty() {
            snapshot.entries.iter().for_each(|kv| self.seen_put(kv));
        }
    }

    fn seen_put(&mut self, kv: &KeyValue) {
        let Some(pending) = self
            .marks
            .get(&kv.key)
            .and_then(|id| self.pending.get_mut(id))
        else {
            return;
        };
        let is_ours = pending
            .proposal
            .puts
            .first()
            .is_some_and(|put| match &put.value {
                crate::ProposedValue::Plain(bytes) => *bytes == kv.value,
                crate::ProposedValue::Traced(_) => false,
            });
        if is_ours && pending.stage != Stage::Ready {
            pending.seen = Some(kv.mod_revision);
        }
    }

    pub(super) fn landed(&mut self, id: u64, outcome: &Outcome) {
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        match outcome {
            Outcome::Committed(revision) => pending.stage = Stage::Committed(*revision),
            Outcome::GuardFailed(revision) => pending.stage = Stage::Refused(*revision),
            Outcome::Lost => pending.stage = Stage::Unknown,
            Outcome::Refused(why) => {
                let why = why.clone();
                self.finish(id, |job| job.failed(WriteError::Unacceptable(why)));
            }
        }
    }

    /// The fold has moved: answers what can be answered, validates anew what a guard has refused.
    pub(super) fn caught_up(
        &mut self,
        applied: Revision,
        leads: Option<&Term>,
        line: &Line,
        machine: &M,
    ) {
        if self.pending.is_empty() {
            return;
        }
        if let Some(term) = leads {
            for pending in self.pending.values_mut() {
                pending.term.get_or_insert_with(|| term.clone());
            }
        }
        let present = line.term();
        let due: Vec<(u64, End)> = self
            .pending
            .iter()
            .filter_map(|(id, p)| Some((*id, p.end(applied, leads, present.as_ref())?)))
            .collect();
        for (id, end) in due {
            match end {
                End::Committed(revision) => self.finish(id, |job| job.committed(revision)),
                End::NotLeader => self.finish(id, |job| {
                    job.failed(WriteError::Refused(Refused::NotLeader))
                }),
                End::Contended => self.finish(id, |job| job.failed(WriteError::Contended)),
                End::Again => {
                    if let Some(pending) = self.remove(id) {
                        self.plan(pending.job, pending.attempts + 1, machine);
                    }
                }
            }
        }
    }

    /// Sent to the queue but never into the air.
    pub(super) fn grounded(&mut self, id: u64) {
        self.finish(id, |job| {
            job.failed(WriteError::Refused(Refused::NotLeader))
        });
    }

    /// Refuses what has not been sent, since we do not lead.
    pub(super) fn refuse_queued(&mut self) {
        for id in std::mem::take(&mut self.ready) {
            self.grounded(id);
        }
    }

    fn finish(&mut self, id: u64, end: impl FnOnce(&mut dyn WriteJob<M>)) {
        if let Some(mut pending) = self.remove(id) {
            end(pending.job.as_mut());
        }
    }

    fn remove(&mut self, id: u64) -> Option<Pending<M>> {
        let pending = self.pending.remove(&id)?;
        if let Some(first) = pending.proposal.puts.first()
            && self.marks.get(first.key.as_bytes()) == Some(&id)
        {
            self.marks.remove(first.key.as_bytes());
        }
        Some(pending)
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
    fn end(&self, applied: Revision, leads: Option<&Term>, present: Option<&Term>) -> Option<End> {
        match self.stage {
            Stage::Ready | Stage::Sent => None,
            Stage::Committed(revision) => (applied >= revision).then_some(End::Committed(revision)),
            Stage::Refused(revision) if applied < revision => None,
            Stage::Refused(_) => Some(match (self.seen, leads) {
                (Some(revision), _) => End::Committed(revision),
                (None, None) => End::NotLeader,
                (None, Some(_)) if self.attempts >= MAX_ATTEMPTS => End::Contended,
                (None, Some(_)) => End::Again,
            }),
            Stage::Unknown => match self.seen {
                Some(revision) => Some(End::Committed(revision)),
                None => (present != self.term.as_ref()).then_some(End::NotLeader),
            },
        }
    }
}
