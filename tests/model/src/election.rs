//! Members of one role in line for its lead, each with the line as the services fold it, and writes with the fence of a
//! term.
//!
//! A member may pause between any two of its steps for as long as the world goes on without it: what it has prepared
//! arrives late, its lease has run out meanwhile, others have led and written.

use std::hash::{Hash, Hasher};

use dm_keyspace::{Campaign, LeaderKey, LeaseId, Role};
use dm_replica::{Line, Term};
use dm_store::{Batch, Guard, KeyRange, Revision};
use stateright::{Model, Property};

use crate::digest::digest;
use crate::etcd::{Etcd, Write};

const ROLE: Role = Role::Pessimist;
/// What leaders write.
const STATE: &str = "/dm-master/state";

/// How large a world is explored.
#[derive(Clone, Debug)]
pub struct World {
    /// Number of members.
    pub members: usize,
    /// Whether all stand in line, and know it, when the exploration begins.
    pub in_line: bool,
    /// How often each may join the line.
    pub joins: u8,
    /// Writes that leaders prepare, all together.
    pub writes: u8,
}

#[derive(Clone, Debug)]
struct Member {
    line: Line,
    /// What its feed has not delivered yet.
    feed: Vec<Batch>,
    /// Present lease; those before have ended.
    lease: i64,
    /// The lease has run out, and no other has been taken yet.
    is_expired: bool,
    joins_left: u8,
    /// The last write of a leader that it has folded.
    folded: Revision,
    /// Prepared and not answered.
    flight: Option<(Term, Write)>,
}

/// One state of the world.
#[derive(Clone, Debug)]
pub struct State {
    etcd: Etcd,
    members: Vec<Member>,
    /// Term of the last write that was committed.
    term: Revision,
    writes_left: u8,
    has_changed_hands: bool,
    broken: Option<&'static str>,
    digest: u64,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A member puts its key at the end of the line.
    Join(usize),
    /// A member folds the next revision.
    Fold(usize),
    /// A member that leads, as far as it knows, prepares a write.
    Prepare(usize),
    /// What it has prepared arrives.
    Arrive(usize),
    /// It arrives, and so it will once more: the reply is lost.
    LoseReply(usize),
    /// A member's lease runs out, whatever the member is at.
    Expire(usize),
    /// A member that knows that its place is gone takes a new lease.
    Renew(usize),
    /// A member gives its place up.
    Leave(usize),
}

fn key(lease: i64) -> LeaderKey {
    LeaderKey {
        role: ROLE,
        lease: LeaseId(lease),
    }
}

impl Member {
    fn knows_its_place(&self) -> bool {
        self.line.candidates().any(|c| c.lease.0 == self.lease)
    }

    /// Whether its feed is about to tell it of this key.
    fn tells(&self, key: &[u8]) -> bool {
        self.feed
            .iter()
            .flat_map(|batch| &batch.events)
            .any(|event| event.key() == key)
    }

    fn leads(&self) -> bool {
        self.line.leader().is_some_and(|c| c.lease.0 == self.lease)
    }
}

/// Leases of a member count up from here, and are different from those of the others.
fn first_lease(member: usize) -> i64 {
    i64::try_from(member).unwrap_or_default() * 16 + 1
}

impl World {
    fn join(state: &mut State, member: usize) {
        state.members[member].joins_left -= 1;
        let lease = state.members[member].lease;
        let key = key(lease).encode();
        let campaign = Campaign {
            id: format!("m{member}").into(),
            ..Campaign::default()
        };
        state.write(&Write {
            guards: vec![Guard::Missing(key.clone().into())],
            puts: vec![(key, campaign.to_bytes(), lease)],
            deletes: Vec::new(),
        });
    }

    fn prepare(state: &mut State, member: usize) {
        let last = state.etcd.get(STATE).map(|kv| kv.mod_revision);
        let member = &mut state.members[member];
        let Some(term) = member.line.term() else {
            return;
        };
        if term.create_revision > state.term && Some(member.folded) < last {
            state.broken = Some("it leads without all that leaders before it have written");
        }
        let write = Write {
            guards: vec![term.fence()],
            puts: vec![(STATE.to_owned(), Vec::new(), 0)],
            deletes: Vec::new(),
        };
        member.flight = Some((term, write));
        state.writes_left -= 1;
    }

    fn arrive(state: &mut State, member: usize) {
        let Some((term, write)) = state.members[member].flight.clone() else {
            return;
        };
        let mut present = Line::new(ROLE);
        present.load(&state.etcd.snapshot());
        if !state.write(&write) {
            return;
        }
        if present.term() != Some(term.clone()) {
            state.broken = Some("one that does not lead has written");
        }
        if term.create_revision < state.term {
            state.broken = Some("a former leader has written after its successor");
        }
        state.has_changed_hands |= state.term > Revision::ZERO && term.create_revision > state.term;
        state.term = term.create_revision;
    }

    fn step(state: &mut State, action: Action) {
        match action {
            Action::Join(member) => Self::join(state, member),
            Action::Fold(member) => state.members[member].fold(),
            Action::Prepare(member) => Self::prepare(state, member),
            Action::Arrive(member) => {
                Self::arrive(state, member);
                state.members[member].flight = None;
            }
            Action::LoseReply(member) => {
                state.writes_left -= 1;
                Self::arrive(state, member);
            }
            Action::Expire(member) => {
                let gone = state.etcd.expire(state.members[member].lease);
                state.members[member].is_expired = true;
                state.publish(gone.as_ref());
            }
            Action::Renew(member) => {
                let member = &mut state.members[member];
                member.lease += 1;
                member.is_expired = false;
            }
            Action::Leave(member) => {
                let key = key(state.members[member].lease).encode();
                state.write(&Write {
                    guards: Vec::new(),
                    puts: Vec::new(),
                    deletes: vec![KeyRange::key(key)],
                });
            }
        }
    }
}

impl Member {
    fn fold(&mut self) {
        let batch = self.feed.remove(0);
        self.line.apply(&batch);
        for event in &batch.events {
            if event.key() == STATE.as_bytes() {
                self.folded = event.revision();
            }
        }
    }
}

impl State {
    fn write(&mut self, write: &Write) -> bool {
        let batch = self.etcd.commit(write);
        self.publish(batch.as_ref());
        batch.is_some()
    }

    fn publish(&mut self, batch: Option<&Batch>) {
        let Some(batch) = batch.filter(|batch| !batch.events.is_empty()) else {
            return;
        };
        for member in &mut self.members {
            member.feed.push(batch.clone());
        }
    }

    fn stands(&self, lease: i64) -> bool {
        self.etcd.get(&key(lease).encode()).is_some()
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let member = |number| Member {
            line: Line::new(ROLE),
            feed: Vec::new(),
            lease: first_lease(number),
            is_expired: false,
            joins_left: self.joins,
            folded: Revision::ZERO,
            flight: None,
        };
        let mut state = State {
            etcd: Etcd::default(),
            members: (0..self.members).map(member).collect(),
            term: Revision::ZERO,
            writes_left: self.writes,
            has_changed_hands: false,
            broken: None,
            digest: 0,
        };
        if self.in_line {
            (0..self.members).for_each(|member| Self::join(&mut state, member));
            for member in &mut state.members {
                while !member.feed.is_empty() {
                    member.fold();
                }
            }
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, member) in state.members.iter().enumerate() {
            let stands = state.stands(member.lease);
            let own = key(member.lease).encode();
            let is_told_soon = member.tells(own.as_bytes());
            let is_out = !stands && !is_told_soon && !member.knows_its_place();
            let may = [
                (Action::Fold(number), !member.feed.is_empty()),
                (Action::Arrive(number), member.flight.is_some()),
                (
                    Action::LoseReply(number),
                    member.flight.is_some() && state.writes_left > 0,
                ),
                (
                    Action::Prepare(number),
                    member.leads() && member.flight.is_none() && state.writes_left > 0,
                ),
                (Action::Expire(number), stands),
                (Action::Leave(number), stands && member.knows_its_place()),
                (
                    Action::Join(number),
                    is_out && !member.is_expired && member.joins_left > 0,
                ),
                (
                    Action::Renew(number),
                    is_out && member.is_expired && member.joins_left > 0,
                ),
            ];
            actions.extend(
                may.into_iter()
                    .filter(|(_, may)| *may)
                    .map(|(action, _)| action),
            );
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        Self::step(&mut state, action);
        state.digest = 0;
        state.digest = digest(&state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("invariant 1: only the leader writes", |_, state: &State| {
                state.broken.is_none()
            }),
            Property::sometimes(
                "the lead changes hands between writes",
                |_, state: &State| state.has_changed_hands,
            ),
        ]
    }
}
