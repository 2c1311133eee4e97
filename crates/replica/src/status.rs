//! What a replica tells of itself: for health, `/status`, metrics and routing.

use std::time::Duration;

use dm_keyspace::{Campaign, LeaseId, MemberName, Role};
use dm_store::Revision;

use crate::line::{LineFault, Term};

/// A replica's own view, published when it has changed, and only then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The role that it stands for.
    pub role: Role,
    /// Its name.
    pub name: MemberName,
    /// Where it is reached.
    pub addr: String,
    /// Its term, while it leads and may act on it.
    pub leads: Option<Term>,
    /// The leader according to the feed; may be itself.
    pub leader: Option<Campaign>,
    /// All in line, the leader first.
    pub line: Vec<Campaign>,
    /// The lease of its keys, while it has one.
    pub lease: Option<LeaseId>,
    /// Keys of the election that do not say what they should.
    pub faults: Vec<LineFault>,
    /// Whether it is kept out of the line.
    pub is_evicted: bool,
    /// What the fold has reached; zero before the first snapshot.
    pub applied: Revision,
    /// Why it is not ready or not well, in sentences; empty when all is well.
    pub troubles: Vec<String>,
    /// Counters since the start.
    pub stats: Stats,
}

impl Status {
    /// Whether the state has been loaded and the feed flows.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.applied > Revision::ZERO && self.troubles.is_empty()
    }
}

/// Hears of what sums would blur, as it happens. Called within the loop, so it must not wait.
pub trait Observer: Send + 'static {
    /// A transaction that carried so many proposals was committed this long after it was sent.
    fn committed(&self, took: Duration, proposals: usize);
}

/// Nobody listens.
impl Observer for () {
    fn committed(&self, _: Duration, _: usize) {}
}

/// Counters and gauges of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Snapshots loaded: one at the start, then one per compaction survived.
    pub loads: u64,
    /// Batches folded.
    pub batches: u64,
    /// Events folded.
    pub events: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Proposals that those transactions carried.
    pub committed_proposals: u64,
    /// Transactions that a guard refused.
    pub guard_failures: u64,
    /// Transactions that etcd refused for what they are.
    pub refused: u64,
    /// Replies that were lost and had to be resolved.
    pub lost_replies: u64,
    /// Transactions of which nobody could find out whether they took effect.
    pub unknown: u64,
    /// From the arrival of the last feed item to the end of its fold.
    pub feed_lag: Duration,
    /// Subjects that call for something at the moment.
    pub wanted: usize,
    /// Transactions on their way at the moment.
    pub in_flight: usize,
    /// Events that came again and were dropped.
    pub stale_events: u64,
    /// Comparisons of the fold with a fresh list.
    pub audits: u64,
    /// Comparisons that found a difference, each healed by loading the list.
    pub audit_differences: u64,
    /// Terms this replica has led.
    pub terms: u64,
}
