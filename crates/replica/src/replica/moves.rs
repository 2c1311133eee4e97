//! Carrying out a member's moves in the line: one at a time, each seen in the feed before the next.

use bytes::Bytes;
use dm_keyspace::{Campaign, LeaseId};
use dm_store::{CommitError, Guard, KeyRange, Put, Revision, Store, Txn};
use futures::future::BoxFuture;

use super::Settings;
use crate::line::{Line, Me, Move};
use crate::session::Session;

/// The moves of one member.
pub(super) struct Moves {
    settings: Settings,
    under_way: Option<BoxFuture<'static, Result<Revision, String>>>,
    /// The fold must have seen our last move before the next one is thought of.
    after: Revision,
    failure: Option<String>,
    /// We have asked to leave the line while standing at this place.
    resigning: Option<Resignation>,
    name_taken_by: Option<String>,
}

/// A resignation is done once the place it was asked for at is ours no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resignation {
    Asked,
    From(Revision),
}

impl Moves {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            under_way: None,
            after: Revision::ZERO,
            failure: None,
            resigning: None,
            name_taken_by: None,
        }
    }

    /// Gives up the present place, if there is one. Asking twice is asking once.
    pub(super) fn resign(&mut self) {
        self.resigning.get_or_insert(Resignation::Asked);
    }

    pub(super) fn is_resigning(&self) -> bool {
        self.resigning.is_some()
    }

    /// What keeps this member from its place.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.name_taken_by.as_deref()
    }

    /// The end of the move under way; never, if there is none.
    pub(super) async fn landed(&mut self) -> Result<Revision, String> {
        match &mut self.under_way {
            Some(moving) => moving.await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn settle(&mut self, moved: Result<Revision, String>) {
        self.under_way = None;
        match moved {
            Ok(revision) => self.after = revision,
            Err(why) => {
                tracing::debug!(cause = why, "a move in the line failed");
                self.failure = Some(why);
            }
        }
    }

    /// The slow timer: what failed may be tried again.
    pub(super) fn retry_failed(&mut self) {
        self.failure = None;
    }

    /// Starts the next move, if one is due.
    pub(super) fn next(
        &mut self,
        store: &Store,
        line: &Line,
        session: Option<Session>,
        applied: Revision,
    ) {
        let Some(session) = session else {
            // Whatever we meant to give up went with the lease.
            self.resigning = None;
            return;
        };
        self.watch_resignation(line, session.lease);
        if self.under_way.is_some()
            || self.failure.is_some()
            || applied == Revision::ZERO
            || applied < self.after
        {
            return;
        }
        let me = Me {
            member: self.settings.member.clone(),
            lease: session.lease,
            resigning: self.is_resigning(),
        };
        let next = line.next_move(&me);
        self.note_name(next.as_ref());
        let Some(next) = next else { return };
        self.under_way = self.perform(store.clone(), line, &me, next);
    }

    fn watch_resignation(&mut self, line: &Line, lease: LeaseId) {
        let place = line.place_of(lease);
        self.resigning = match (self.resigning, place) {
            (None, _) | (_, None) => None,
            (Some(Resignation::Asked), Some(place)) => Some(Resignation::From(place)),
            (Some(Resignation::From(left)), Some(place)) if left == place => {
                Some(Resignation::From(left))
            }
            (Some(Resignation::From(_)), Some(_)) => None,
        };
    }

    fn note_name(&mut self, next: Option<&Move>) {
        let taken = match next {
            Some(Move::NameTaken { addr }) => Some(format!(
                "the name {} is in use by the member at {addr}",
                self.settings.member.name
            )),
            _ => None,
        };
        if taken != self.name_taken_by {
            match &taken {
                Some(trouble) => tracing::error!(trouble, "cannot join the line"),
                None => tracing::info!("the name is free now"),
            }
            self.name_taken_by = taken;
        }
    }

    fn perform(
        &self,
        store: Store,
        line: &Line,
        me: &Me,
        next: Move,
    ) -> Option<BoxFuture<'static, Result<Revision, String>>> {
        let (member_key, leader_key) = line.keys(me);
        let put = |key: String, value: Vec<u8>| Txn {
            guards: vec![Guard::Missing(Bytes::from(key.clone()))],
            puts: vec![Put {
                key: Bytes::from(key),
                value: Bytes::from(value),
                lease: Some(me.lease),
            }],
            deletes: Vec::new(),
        };
        let delete = |key: String, guard: Guard| Txn {
            guards: vec![guard],
            puts: Vec::new(),
            deletes: vec![KeyRange::key(key)],
        };
        let txn = match next {
            Move::Register => put(member_key, me.member.to_bytes()),
            Move::Join => put(
                leader_key,
                Campaign::new(me.member.name.clone(), &me.member.addr).to_bytes(),
            ),
            Move::Leave(place) => delete(
                leader_key.clone(),
                Guard::CreateRevision(Bytes::from(leader_key), place),
            ),
            Move::EndTransfer(seen) => {
                let key = line.transfer_key();
                delete(key.clone(), Guard::ModRevision(Bytes::from(key), seen))
            }
            Move::EndFormerLease(lease) => return Some(Box::pin(end_lease(store, lease))),
            Move::NameTaken { .. } => return None,
        };
        Some(Box::pin(commit(store, txn)))
    }
}

async fn commit(store: Store, txn: Txn) -> Result<Revision, String> {
    match store.commit(&txn).await {
        Ok(revision) => Ok(revision),
        // The feed will show what is different from what we thought.
        Err(CommitError::GuardFailed { revision }) => Ok(revision),
        Err(e) => Err(e.to_string()),
    }
}

async fn end_lease(store: Store, lease: LeaseId) -> Result<Revision, String> {
    tracing::info!(%lease, "ending the lease of our former life");
    // The deletion of the keys comes by the feed; until then the same move is due again, and harmless.
    store
        .revoke(lease)
        .await
        .map(|()| Revision::ZERO)
        .map_err(|e| e.to_string())
}
