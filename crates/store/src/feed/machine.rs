//! The states of the feed and the step from one to the next.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

use super::port::{Message, Port, Watch};
use super::{FeedHealth, FeedItem};
use crate::error::Error;
use crate::types::{Batch, Event, KeyRange, Revision, Snapshot};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where the feed stands; the arrows are drawn in the module above.
enum State<W> {
    /// Nothing is known: read the whole range.
    Listing,
    /// Everything up to the revision is known, no watch is open.
    Opening(Revision),
    /// A watch is open; everything up to the revision was yielded.
    Watching(Revision, W),
}

/// A feed over any [`Port`].
pub(super) struct FeedMachine<P: Port> {
    port: P,
    range: KeyRange,
    quiet: Duration,
    state: State<P::Watch>,
    health: watch::Sender<FeedHealth>,
    jitter: SmallRng,
}

impl<P: Port> std::fmt::Debug for FeedMachine<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("range", &self.range)
            .field("health", &*self.health.borrow())
            .finish_non_exhaustive()
    }
}

impl<P: Port> FeedMachine<P> {
    pub(super) fn listing(port: P, range: KeyRange, quiet: Duration) -> Self {
        Self::new(port, range, quiet, State::Listing)
    }

    pub(super) fn resuming(port: P, range: KeyRange, applied: Revision, quiet: Duration) -> Self {
        Self::new(port, range, quiet, State::Opening(applied))
    }

    fn new(port: P, range: KeyRange, quiet: Duration, state: State<P::Watch>) -> Self {
        // Only the length of pauses depends on it; replicas need not agree, and need not differ much.
        let seed = u64::from(std::process::id());
        Self {
            port,
            range,
            quiet,
            state,
            health: watch::Sender::new(FeedHealth::default()),
            jitter: SmallRng::seed_from_u64(seed),
        }
    }

    pub(super) fn restart(&mut self) {
        self.state = State::Listing;
    }

    pub(super) fn health(&self) -> watch::Receiver<FeedHealth> {
        self.health.subscribe()
    }

    /// Steps until there is something to yield. The state is changed only when a step has its
    /// answer, so a caller that stops waiting loses nothing.
    pub(super) async fn next(&mut self) -> FeedItem {
        loop {
            if let Some(item) = self.step().await {
                return item;
            }
        }
    }

    async fn step(&mut self) -> Option<FeedItem> {
        self.pause().await;
        match &mut self.state {
            State::Listing => {
                let listed = self.port.list(&self.range).await;
                self.listed(listed)
            }
            State::Opening(applied) => {
                let applied = *applied;
                let opened = self.port.open(&self.range, applied.next()).await;
                self.opened(applied, opened);
                None
            }
            State::Watching(_, watch) => {
                match tokio::time::timeout(self.quiet, watch.message()).await {
                    Ok(message) => self.told(message),
                    Err(_) => {
                        self.reopen();
                        None
                    }
                }
            }
        }
    }

    fn listed(&mut self, listed: Result<Snapshot, Error>) -> Option<FeedItem> {
        self.health.send_modify(|h| h.stats.lists += 1);
        match listed {
            Ok(snapshot) => {
                self.flows();
                self.state = State::Opening(snapshot.revision);
                Some(FeedItem::Reset(snapshot))
            }
            Err(e) => {
                self.failed(&e.to_string());
                None
            }
        }
    }

    fn opened(&mut self, applied: Revision, opened: Result<P::Watch, Error>) {
        self.health.send_modify(|h| h.stats.watches += 1);
        match opened {
            Ok(watch) => self.state = State::Watching(applied, watch),
            Err(Error::Compacted { .. }) => self.state = State::Listing,
            Err(e) => self.failed(&e.to_string()),
        }
    }

    fn told(&mut self, message: Message) -> Option<FeedItem> {
        match message {
            Message::Events(batch) => {
                self.flows();
                self.fresh(batch).map(FeedItem::Batch)
            }
            Message::Alive => {
                self.flows();
                None
            }
            Message::Compacted => {
                self.state = State::Listing;
                None
            }
            Message::Broken(why) => {
                self.failed(&why);
                self.reopen();
                None
            }
        }
    }

    /// What of a batch is new, and the state after it.
    fn fresh(&mut self, mut batch: Batch) -> Option<Batch> {
        let State::Watching(applied, _) = &mut self.state else {
            return None;
        };
        let before = batch.events.len();
        batch.events.retain(|event| event.revision() > *applied);
        let stale = (before - batch.events.len()) as u64;
        let last = batch.events.last().map(Event::revision);
        *applied = last.unwrap_or(*applied);
        if stale > 0 {
            self.health.send_modify(|h| h.stats.stale_events += stale);
        }
        batch.revision = last?;
        Some(batch)
    }

    fn reopen(&mut self) {
        if let State::Watching(applied, _) = self.state {
            self.state = State::Opening(applied);
        }
    }

    fn flows(&mut self) {
        let flowed = self.health.send_if_modified(|h| {
            let was_stuck = h.trouble.take().is_some();
            h.stats.failures = 0;
            was_stuck
        });
        if flowed {
            tracing::info!(range = %self.range, "feed flows again");
        }
    }

    fn failed(&mut self, why: &str) {
        if self.failures() == 0 {
            tracing::warn!(range = %self.range, cause = why, "feed interrupted");
        }
        self.health.send_modify(|h| {
            h.stats.failures = h.stats.failures.saturating_add(1);
            h.trouble = Some(why.to_owned());
        });
    }

    fn failures(&self) -> u32 {
        self.health.borrow().stats.failures
    }

    async fn pause(&mut self) {
        // A first failure is often a connection that a restarted server has closed: try again at once.
        let failures = self.failures();
        if failures < 2 {
            return;
        }
        let doubled = FIRST_PAUSE * 2_u32.saturating_pow(failures.min(10));
        let longest = doubled.min(LONGEST_PAUSE);
        let part = self.jitter.random_range(0.5..=1.0);
        tokio::time::sleep(longest.mul_f64(part)).await;
    }
}

#[cfg(test)]
mod tests;
