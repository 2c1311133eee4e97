//! The line of candidates of one role, as the feed shows it, and what one member should do about it.
//!
//! The lowest create-revision under the role's election prefix leads (DESIGN section 3). Everything
//! here is folded from the same feed as the machine's state, so a replica that sees its predecessor
//! go has already folded whatever that predecessor managed to commit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dm_keyspace::{
    Campaign, Eviction, EvictionKey, Key, LeaderKey, LeaseId, Member, MemberKey, MemberName, Role,
    Transfer, TransferKey,
};
use dm_store::{Batch, Event, Guard, KeyValue, Revision, Snapshot};

/// The right to write for a role: the leadership key, and the revision at which it came into being.
///
/// Every transaction of a leader compares both, so nothing of it commits once the key is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The leadership key.
    pub key: Bytes,
    /// Its create-revision: grows with each term of the role.
    pub create_revision: Revision,
}

impl Term {
    /// The guard that makes a transaction void once this term is over.
    #[must_use]
    pub fn fence(&self) -> Guard {
        Guard::CreateRevision(self.key.clone(), self.create_revision)
    }
}

/// A member that stands in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its leadership key.
    pub key: Bytes,
    /// The lease that the key hangs on.
    pub lease: LeaseId,
    /// Its name and advertised address.
    pub campaign: Campaign,
}

/// A member of the role, in line or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEntry {
    /// What it says of itself.
    pub member: Member,
    /// Its lease.
    pub lease: LeaseId,
    /// Revision of its last registration.
    pub registered: Revision,
}

/// A key of the election that does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    /// The key, as text.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Who stands in line for one role, who is registered, who is evicted, whom the lead is to go to.
#[derive(Clone, Debug)]
pub struct Line {
    role: Role,
    candidates: BTreeMap<Revision, Candidate>,
    places: BTreeMap<Bytes, Revision>,
    members: BTreeMap<MemberName, MemberEntry>,
    evicted: BTreeSet<MemberName>,
    transfer: Option<(MemberName, Revision)>,
    faults: BTreeMap<Bytes, LineFault>,
    changes: u64,
}

impl Line {
    /// An empty line.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            candidates: BTreeMap::new(),
            places: BTreeMap::new(),
            members: BTreeMap::new(),
            evicted: BTreeSet::new(),
            transfer: None,
            faults: BTreeMap::new(),
            changes: 0,
        }
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Replaces everything by what a snapshot says.
    pub fn load(&mut self, snapshot: &Snapshot) {
        let changes = self.changes;
        *self = Self::new(self.role);
        self.changes = changes + 1;
        for entry in &snapshot.entries {
            self.put(entry);
        }
    }

    /// Folds changes in.
    pub fn apply(&mut self, batch: &Batch) {
        for event in &batch.events {
            match event {
                Event::Put(kv) => self.put(kv),
                Event::Delete { key, .. } => self.delete(key),
            }
        }
    }

    /// The one that leads.
    #[must_use]
    pub fn leader(&self) -> Option<&Candidate> {
        self.candidates.values().next()
    }

    /// The leader's term.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        let (create_revision, candidate) = self.candidates.iter().next()?;
        Some(Term {
            key: candidate.key.clone(),
            create_revision: *create_revision,
        })
    }

    /// All in line, the leader first.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.values()
    }

    /// All registered members, by name.
    pub fn members(&self) -> impl Iterator<Item = (&MemberName, &MemberEntry)> {
        self.members.iter()
    }

    /// Those that may not lead until their eviction is cancelled.
    #[must_use]
    pub fn evicted(&self) -> &BTreeSet<MemberName> {
        &self.evicted
    }

    /// Keys under the election's prefixes that do not decode; they count for nothing.
    pub fn faults(&self) -> impl Iterator<Item = &LineFault> {
        self.faults.values()
    }

    /// Grows whenever anything here may have changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// The one right before `lease` in the line.
    pub(crate) fn before(&self, lease: LeaseId) -> Option<&Candidate> {
        let place = self.place_of(lease)?;
        self.candidates.range(..place).next_back().map(|(_, c)| c)
    }

    /// The create-revision of the key that hangs on `lease`.
    pub(crate) fn place_of(&self, lease: LeaseId) -> Option<Revision> {
        self.places
            .get(leader_key(self.role, lease).as_bytes())
            .copied()
    }

    fn put(&mut self, kv: &KeyValue) {
        if !concerns_election(&kv.key) {
            return;
        }
        self.changes += 1;
        self.faults.remove(&kv.key);
        match Key::parse(&kv.key) {
            Ok(Key::Leader(key)) if key.role == self.role => self.put_candidate(&key, kv),
            Ok(Key::Member(key)) if key.role == self.role => match Member::from_bytes(&kv.value) {
                Ok(member) => {
                    let entry = MemberEntry {
                        member,
                        lease: kv.lease,
                        registered: kv.mod_revision,
                    };
                    self.members.insert(key.name, entry);
                }
                Err(e) => self.fault(&kv.key, &e),
            },
            Ok(Key::Eviction(key)) if key.role == self.role => {
                // Whatever the value says, the key's being there evicts.
                self.evicted.insert(key.name);
                if let Err(e) = Eviction::from_bytes(&kv.value) {
                    self.fault(&kv.key, &e);
                }
            }
            Ok(Key::Transfer(key)) if key.role == self.role => {
                match Transfer::from_bytes(&kv.value) {
                    Ok(transfer) => self.transfer = Some((transfer.to, kv.mod_revision)),
                    Err(e) => self.fault(&kv.key, &e),
                }
            }
            _ => {}
        }
    }

    fn put_candidate(&mut self, key: &LeaderKey, kv: &KeyValue) {
        // A key that does not hang on the lease it names proves nothing about anyone being alive.
        if kv.lease != key.lease {
            return self.fault(&kv.key, &"the key does not hang on the lease that it names");
        }
        match Campaign::from_bytes(&kv.value) {
            Ok(campaign) => {
                let candidate = Candidate {
                    key: kv.key.clone(),
                    lease: kv.lease,
                    campaign,
                };
                self.places.insert(kv.key.clone(), kv.create_revision);
                self.candidates.insert(kv.create_revision, candidate);
            }
            Err(e) => self.fault(&kv.key, &e),
        }
    }

    fn delete(&mut self, key: &Bytes) {
        if !concerns_election(key) {
            return;
        }
        self.changes += 1;
        self.faults.remove(key);
        if let Some(place) = self.places.remove(key) {
            self.candidates.remove(&place);
            return;
        }
        match Key::parse(key) {
            Ok(Key::Member(key)) if key.role == self.role => {
                self.members.remove(&key.name);
            }
            Ok(Key::Eviction(key)) if key.role == self.role => {
                self.evicted.remove(&key.name);
            }
            Ok(Key::Transfer(key)) if key.role == self.role => self.transfer = None,
            _ => {}
        }
    }

    fn fault(&mut self, key: &Bytes, reason: &dyn std::fmt::Display) {
        let fault = LineFault {
            key: String::from_utf8_lossy(key).into_owned(),
            reason: reason.to_string(),
        };
        self.faults.insert(key.clone(), fault);
    }
}

/// The member on whose behalf a [`Move`] is sought.
#[derive(Clone, Debug)]
pub(crate) struct Me {
    pub(crate) member: Member,
    pub(crate) lease: LeaseId,
    /// It was asked to give up its place once; cleared when it has.
    pub(crate) resigning: bool,
}

/// What a member does next about its place; one at a time, each seen in the feed before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// Put the member record.
    Register,
    /// The record of an earlier life of ours is in the way: end its lease.
    EndFormerLease(LeaseId),
    /// Another process uses our name.
    NameTaken {
        /// Where it says it listens.
        addr: String,
    },
    /// Put our key at the end of the line.
    Join,
    /// Delete our key, which came into being at this revision.
    Leave(Revision),
    /// The transfer is done or can't be done: delete its key as last put at this revision.
    EndTransfer(Revision),
}

impl Line {
    /// What `me` has to do; nothing when all is as it should be.
    pub(crate) fn next_move(&self, me: &Me) -> Option<Move> {
        let place = self.place_of(me.lease);
        match self.members.get(&me.member.name) {
            None => return Some(Move::Register),
            // Only one process can listen at our address, and that is this one.
            Some(entry) if entry.lease != me.lease && entry.member.addr == me.member.addr => {
                return Some(Move::EndFormerLease(entry.lease));
            }
            Some(entry) if entry.lease != me.lease => {
                return Some(Move::NameTaken {
                    addr: entry.member.addr.clone(),
                });
            }
            Some(_) => {}
        }
        let Some(place) = place else {
            return (!self.evicted.contains(&me.member.name)).then_some(Move::Join);
        };
        if me.resigning
            || self.evicted.contains(&me.member.name)
            || self.stands_before_the_chosen(me, place)
        {
            return Some(Move::Leave(place));
        }
        self.ended_transfer(me).map(Move::EndTransfer)
    }

    /// In a transfer everybody before the chosen one goes to the end of the line.
    fn stands_before_the_chosen(&self, me: &Me, place: Revision) -> bool {
        let Some((to, _)) = &self.transfer else {
            return false;
        };
        *to != me.member.name
            && self
                .place_of_member(to)
                .is_some_and(|chosen| place < chosen)
    }

    /// The leader ends a transfer that has reached it, or whose target is not there.
    fn ended_transfer(&self, me: &Me) -> Option<Revision> {
        let (to, revision) = self.transfer.as_ref()?;
        let leads = self.leader().is_some_and(|l| l.lease == me.lease);
        let reachable = self.members.contains_key(to) && !self.evicted.contains(to);
        (leads && (*to == me.member.name || !reachable)).then_some(*revision)
    }

    fn place_of_member(&self, name: &MemberName) -> Option<Revision> {
        self.candidates
            .iter()
            .find(|(_, c)| c.campaign.id == *name)
            .map(|(place, _)| *place)
    }

    /// The keys that this member writes.
    pub(crate) fn keys(&self, me: &Me) -> (String, String) {
        (
            MemberKey {
                role: self.role,
                name: me.member.name.clone(),
            }
            .encode(),
            leader_key(self.role, me.lease),
        )
    }

    /// The range to delete when a transfer ends.
    pub(crate) fn transfer_key(&self) -> String {
        TransferKey { role: self.role }.encode()
    }
}

/// A look at the first bytes spares the others' keys, nearly all of the feed, their parsing.
fn concerns_election(key: &[u8]) -> bool {
    [
        LeaderKey::PREFIX,
        MemberKey::PREFIX,
        EvictionKey::PREFIX,
        TransferKey::PREFIX,
    ]
    .iter()
    .any(|prefix| key.starts_with(prefix.as_bytes()))
}

fn leader_key(role: Role, lease: LeaseId) -> String {
    LeaderKey { role, lease }.encode()
}

#[cfg(test)]
mod tests;
