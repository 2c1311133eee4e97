//! What our own transactions leave in the feed, so that one whose reply was lost is settled by reading. Pure.
//!
//! A transaction takes effect at one revision, and the feed shows all of that revision: it is ours if
//! it shows exactly what we sent, after we sent it, and if no other transaction of ours is known, or may
//! turn out, to have made that revision. Only a transaction with a lost reply is ever looked at this way; for
//! all others etcd's answer is the whole truth. What cannot be decided (a snapshot has swallowed the
//! events) is said to be unknown, and never guessed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dm_store::{Batch, Event, Guard, KeyRange, Revision, Snapshot, Txn};

use crate::commit::{Flight, Landed, Outcome};
use crate::line::Term;

/// One transaction on its way.
#[derive(Debug)]
struct Trail {
    /// The term that fences it: when the feed has passed its end, nothing of it can commit any more.
    term: Term,
    /// What the fold had reached when it was sent first: it takes effect later than that, if ever.
    since: Revision,
    puts: BTreeMap<Bytes, Bytes>,
    deletes: Vec<KeyRange>,
    /// Keys that it deletes and whose existence it guards, so that their deletion must show.
    must_go: BTreeSet<Bytes>,
    /// Revisions at which the feed has shown exactly this.
    seen: BTreeSet<Revision>,
    /// A snapshot may have swallowed its events.
    is_blurred: bool,
    /// It has landed without a definite end.
    doubt: Option<Landed>,
}

/// All transactions on their way, those in doubt included, and the revisions that the others have made.
#[derive(Debug, Default)]
pub(super) struct Trails {
    trails: BTreeMap<Flight, Trail>,
    made: BTreeMap<Revision, Flight>,
    last: Flight,
}

impl Trails {
    /// Notes a transaction that is about to be sent, by a fold that has reached `applied`.
    pub(super) fn take_off(&mut self, txn: &Txn, term: &Term, applied: Revision) -> Flight {
        self.last += 1;
        let trail = Trail {
            term: term.clone(),
            since: applied,
            puts: txn
                .puts
                .iter()
                .map(|put| (put.key.clone(), put.value.clone()))
                .collect(),
            deletes: txn.deletes.clone(),
            must_go: guarded_deletions(txn),
            seen: BTreeSet::new(),
            is_blurred: false,
            doubt: None,
        };
        self.trails.insert(self.last, trail);
        self.last
    }

    /// Looks for what is on its way in what the feed has brought.
    pub(super) fn see(&mut self, batch: &Batch) {
        if self.trails.is_empty() {
            return;
        }
        for events in batch
            .events
            .chunk_by(|one, other| one.revision() == other.revision())
        {
            self.trails
                .values_mut()
                .for_each(|trail| trail.look_at(events));
        }
    }

    /// A snapshot shows what became of the puts, unless they were overwritten, and nothing of the deletions.
    pub(super) fn see_snapshot(&mut self, snapshot: &Snapshot) {
        self.trails
            .values_mut()
            .for_each(|trail| trail.look_at_all(snapshot));
    }

    /// Takes the end of a flight; gives it back if it is definite, and keeps it in doubt if not.
    pub(super) fn land(&mut self, mut landed: Landed) -> Option<Landed> {
        let was_lost = landed.lost_replies > 0;
        match &landed.outcome {
            Outcome::Committed(revision) => self.claim(*revision, landed.flight),
            Outcome::GuardFailed(_) if !was_lost => {}
            Outcome::Refused(_) if !was_lost => {}
            // It says nothing about the attempts before, nor about when to look for them.
            Outcome::Refused(_) | Outcome::Unknown => landed.outcome = Outcome::Unknown,
            Outcome::GuardFailed(_) | Outcome::Lost => {
                if let Some(trail) = self.trails.get_mut(&landed.flight) {
                    trail.doubt = Some(landed);
                }
                return None;
            }
        }
        self.forget(landed.flight);
        Some(landed)
    }

    /// Those in doubt that are settled now, by a fold that has reached `applied`, with this term at the head of the line.
    pub(super) fn settled(&mut self, applied: Revision, present: Option<&Term>) -> Vec<Landed> {
        let doubtful: Vec<Flight> = self
            .trails
            .iter()
            .filter_map(|(flight, trail)| trail.doubt.is_some().then_some(*flight))
            .collect();
        let mut settled = Vec::new();
        for flight in doubtful {
            let Some(outcome) = self.end(flight, applied, present) else {
                continue;
            };
            if let Outcome::Committed(revision) = &outcome {
                self.made.insert(*revision, flight);
            }
            if let Some(landed) = self.forget(flight) {
                settled.push(Landed { outcome, ..landed });
            }
        }
        settled
    }

    /// Whether something has landed whose end is not known yet.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.trails.values().any(|trail| trail.doubt.is_some())
    }

    /// How one in doubt ended; none while that must wait.
    fn end(&self, flight: Flight, applied: Revision, present: Option<&Term>) -> Option<Outcome> {
        let trail = self.trails.get(&flight)?;
        let refused_at = match trail.doubt.as_ref()?.outcome {
            Outcome::GuardFailed(revision) if applied < revision => return None,
            Outcome::GuardFailed(revision) => Some(revision),
            _ if present != Some(&trail.term) => Some(applied),
            _ => None,
        };
        let ours = trail.seen.iter().find(|at| !self.made.contains_key(at));
        match (ours, refused_at) {
            (Some(at), _) if self.may_be_of_another(flight, *at) => None,
            (Some(at), _) => Some(Outcome::Committed(*at)),
            (None, None) => None,
            (None, Some(_)) if trail.is_blurred => Some(Outcome::Unknown),
            (None, Some(at)) => Some(Outcome::GuardFailed(at)),
        }
    }

    /// Whether another one that writes the same is still in the air: its answer will tell.
    fn may_be_of_another(&self, flight: Flight, at: Revision) -> bool {
        self.trails.iter().any(|(other, trail)| {
            *other != flight && trail.doubt.is_none() && trail.seen.contains(&at)
        })
    }

    /// What deletes whatever there may be is answered with a revision of others if there was nothing.
    fn claim(&mut self, revision: Revision, flight: Flight) {
        let trail = self.trails.get(&flight);
        if trail.is_some_and(|trail| !(trail.puts.is_empty() && trail.must_go.is_empty())) {
            self.made.insert(revision, flight);
        }
    }

    fn forget(&mut self, flight: Flight) -> Option<Landed> {
        let landed = self.trails.remove(&flight).and_then(|trail| trail.doubt);
        // Flights take off in the order of their numbers, so the first one looks back the farthest.
        self.made = match self.trails.values().next() {
            Some(first) => self.made.split_off(&first.since),
            None => BTreeMap::new(),
        };
        landed
    }
}

impl Trail {
    /// Looks at all events of one revision.
    fn look_at(&mut self, events: &[Event]) {
        let Some(at) = events.first().map(Event::revision) else {
            return;
        };
        if at > self.since && self.is_exactly(events) {
            self.seen.insert(at);
        }
    }

    fn is_exactly(&self, events: &[Event]) -> bool {
        let (mut put, mut gone) = (0, 0);
        for event in events {
            match event {
                Event::Put(kv) if self.puts.get(&kv.key) == Some(&kv.value) => put += 1,
                Event::Delete { key, .. } if self.deletes.iter().any(|d| d.contains(key)) => {
                    gone += usize::from(self.must_go.contains(key));
                }
                _ => return false,
            }
        }
        put == self.puts.len() && gone == self.must_go.len()
    }

    fn look_at_all(&mut self, snapshot: &Snapshot) {
        let find = |key: &Bytes| {
            let found = snapshot.entries.binary_search_by(|kv| kv.key.cmp(key));
            found.ok().map(|at| &snapshot.entries[at])
        };
        let touched = self.puts.keys().chain(&self.must_go);
        if touched
            .filter_map(find)
            .any(|kv| kv.mod_revision <= self.since)
        {
            // A key that it would have changed is as it was: it has not taken effect yet.
            return;
        }
        self.is_blurred = true;
        let mut at = BTreeSet::new();
        for (key, value) in &self.puts {
            match find(key) {
                Some(kv) if kv.value == *value => at.insert(kv.mod_revision),
                _ => return,
            };
        }
        if at.len() == 1 {
            self.seen.append(&mut at);
        }
    }
}

/// The keys that a transaction deletes and says must exist.
fn guarded_deletions(txn: &Txn) -> BTreeSet<Bytes> {
    let existing = txn.guards.iter().filter_map(|guard| match guard {
        Guard::Exists(key) | Guard::CreateRevision(key, _) | Guard::ModRevision(key, _) => {
            Some(key)
        }
        Guard::Missing(_) => None,
    });
    existing
        .filter(|key| txn.deletes.iter().any(|range| range.contains(key)))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
