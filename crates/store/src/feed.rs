//! The feed: a snapshot of a range, then every change after it, once each, in etcd's order.
//!
//! ```text
//! Listing ──list at R──▶ Opening(R) ──watch from R+1──▶ Watching(R) ──events──▶ Watching(R')
//!    ▲                      ▲                              │
//!    │                      └── broken, quiet, refused ────┤   resume from applied + 1
//!    └────────────────────────── compacted ────────────────┘   start again with a list
//! ```
//!
//! It trusts nothing: events at or below what was applied are dropped and counted, a watch that is
//! quiet for long is opened again (a black-holed connection never reports itself), and errors are
//! never the end: it tries again with growing, jittered pauses for as long as it is asked.

mod machine;
mod port;

use std::time::Duration;

use tokio::sync::watch;

use crate::connect::Store;
use crate::types::{Batch, KeyRange, Revision, Snapshot};

use machine::FeedMachine;

/// What the feed yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedItem {
    /// Forget everything and start from this: the first item, and again after a compaction.
    Reset(Snapshot),
    /// Changes since the last item.
    Batch(Batch),
}

impl FeedItem {
    /// The revision that a fold has reached with this item.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Reset(snapshot) => snapshot.revision,
            Self::Batch(batch) => batch.revision,
        }
    }
}

/// How a feed has fared; all counts since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedStats {
    /// Ranges listed.
    pub lists: u64,
    /// Watches opened.
    pub watches: u64,
    /// Events that came again and were dropped.
    pub stale_events: u64,
    /// Failures in a row; zero while the feed flows.
    pub failures: u32,
}

/// The feed's own view of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedHealth {
    /// Counters.
    pub stats: FeedStats,
    /// Why the feed does not flow at the moment, if it does not.
    pub trouble: Option<String>,
}

/// An endless, self-healing stream of [`FeedItem`]s.
#[derive(Debug)]
pub struct Feed {
    machine: FeedMachine<Store>,
}

impl Feed {
    /// The next item; waits for as long as it takes. Dropping the future loses nothing.
    pub async fn next(&mut self) -> FeedItem {
        self.machine.next().await
    }

    /// Starts again with a snapshot, because what was yielded is not to be trusted.
    pub fn restart(&mut self) {
        self.machine.restart();
    }

    /// How the feed fares, as it changes; readable while somebody else waits for the next item.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<FeedHealth> {
        self.machine.health()
    }
}

impl Store {
    /// A feed of `range`, starting with a snapshot.
    #[must_use]
    pub fn feed(&self, range: KeyRange) -> Feed {
        Feed {
            machine: FeedMachine::listing(self.clone(), range, self.quiet()),
        }
    }

    /// A feed of the changes of `range` after `applied`, without a snapshot unless that history is gone.
    #[must_use]
    pub fn feed_from(&self, range: KeyRange, applied: Revision) -> Feed {
        Feed {
            machine: FeedMachine::resuming(self.clone(), range, applied, self.quiet()),
        }
    }

    fn quiet(&self) -> Duration {
        self.options.quiet_watch
    }
}
