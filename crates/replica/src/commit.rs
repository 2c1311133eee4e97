//! Sending transactions: one flight per transaction, several in the air, each with a definite end.
//!
//! A lost reply is not an end. The same transaction is sent again for as long as its lease is ours:
//! the fence and its guards make that harmless, and the answer to a later attempt is definite about
//! all of them, except that a failed guard may be the mark of our own first attempt. The loop settles
//! that by reading: the feed has shown our write by then, or never will.

use std::time::Duration;

use bytes::Bytes;
use dm_store::{CommitError, Put, Revision, Store, Txn};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Span;

use crate::machine::{Proposal, Subject};
use crate::session::Session;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The number of a flight, in the order in which they take off.
pub(crate) type Flight = u64;

/// On whose behalf something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The machine's decision of this generation about a subject.
    Subject(Subject, u64),
    /// A request.
    Request(u64),
}

/// One proposal, ready to be sent.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) origin: Origin,
    pub(crate) txn: Txn,
    /// It was refused in company: send it by itself to learn whose guard it was.
    pub(crate) alone: bool,
    span: Span,
}

impl Item {
    /// Gives the proposal its span and its final bytes.
    pub(crate) fn new(origin: Origin, proposal: &Proposal) -> Self {
        let span = dm_trace::span_under!(
            proposal.trace.as_deref(),
            "commit",
            otel.name = proposal.name,
            dm.operation = proposal.name
        );
        let traceparent = dm_trace::traceparent_of(&span);
        let puts = proposal.puts.iter().map(|put| Put {
            key: Bytes::from(put.key.clone()),
            value: Bytes::from(put.value.bytes(traceparent.as_deref())),
            lease: None,
        });
        let txn = Txn {
            guards: proposal.guards.clone(),
            puts: puts.collect(),
            deletes: proposal.deletes.clone(),
        };
        Self {
            origin,
            txn,
            alone: false,
            span,
        }
    }
}

impl Item {
    /// The same item, to be sent alone.
    pub(crate) fn by_itself(mut self) -> Self {
        self.alone = true;
        self
    }
}

/// How a flight ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Applied at this revision.
    Committed(Revision),
    /// A guard did not hold when etcd was at this revision; maybe since an attempt of ours had been applied.
    GuardFailed(Revision),
    /// etcd does not take it.
    Refused(String),
    /// The session ended before there was an answer.
    Lost,
    /// It was sent and maybe applied, and nobody can find out any more.
    Unknown,
}

/// A flight that has landed.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) flight: Flight,
    pub(crate) items: Vec<Item>,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    pub(crate) lost_replies: u64,
}

/// Sends one transaction until its outcome is definite or the session is over.
pub(crate) async fn fly(
    flight: Flight,
    store: Store,
    txn: Txn,
    items: Vec<Item>,
    session: watch::Receiver<Option<Session>>,
) -> Landed {
    let started = Instant::now();
    let lease_now = || session.borrow().map(|s| s.lease);
    let lease = lease_now();
    let mut lost_replies = 0;
    let mut pause = FIRST_PAUSE;
    let outcome = loop {
        match store.commit(&txn).await {
            Ok(revision) => break Outcome::Committed(revision),
            Err(CommitError::GuardFailed { revision }) => break Outcome::GuardFailed(revision),
            Err(CommitError::Refused(e)) => break Outcome::Refused(e.to_string()),
            Err(CommitError::Unknown(e)) => {
                lost_replies += 1;
                if lost_replies == 1 {
                    tracing::warn!(error = %e, "the reply to a transaction was lost; asking again");
                }
                // A lease that we only distrust for a while may still be good; the fence knows.
                if lease_now() != lease {
                    break Outcome::Lost;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    };
    for item in &items {
        if let Outcome::Refused(why) = &outcome {
            dm_trace::mark_failed(&item.span, why.clone());
        }
    }
    Landed {
        flight,
        items,
        outcome,
        took: started.elapsed(),
        lost_replies,
    }
}
