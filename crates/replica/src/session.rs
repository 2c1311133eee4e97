//! The lease behind a member's keys: granted, renewed, and distrusted in time.
//!
//! An answer to a renewal is no proof (old etcd versions answer for revoked leases), and no answer is
//! no reprieve: what counts is [`Session::valid_until`], the moment of *sending* the last renewal that
//! was answered plus the TTL minus a margin, by our own monotonic clock. After it the replica neither
//! writes nor answers as leader, even if it still stands first in the feed.
//!
//! The renewals stop when the loop has made no progress for a TTL: a hung leader deposes itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dm_keyspace::LeaseId;
use dm_store::{Error, Store};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long before the lease's end we stop trusting it: a part of the TTL.
const MARGIN_DIVISOR: u32 = 8;
/// Renewals per TTL.
const RENEWALS: u32 = 4;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A lease and how long it may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) lease: LeaseId,
    pub(crate) valid_until: Instant,
}

impl Session {
    pub(crate) fn is_valid(&self) -> bool {
        Instant::now() < self.valid_until
    }
}

/// The loop's sign of life, looked at by the renewals.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    started: Instant,
    beat: Arc<AtomicU64>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            beat: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The loop has gone round.
    pub(crate) fn beat(&self) {
        self.beat.store(self.millis(), Ordering::Relaxed);
    }

    /// The time since this replica was made.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn silence(&self) -> Duration {
        Duration::from_millis(
            self.millis()
                .saturating_sub(self.beat.load(Ordering::Relaxed)),
        )
    }
}

/// Keeps a session alive until told to stop; then revokes it.
pub(crate) struct SessionKeeper {
    pub(crate) store: Store,
    pub(crate) ttl: Duration,
    pub(crate) pulse: Pulse,
    pub(crate) session: watch::Sender<Option<Session>>,
    pub(crate) stop: CancellationToken,
}

impl SessionKeeper {
    /// Runs until stopped. Each round of the loop is the life of one lease.
    pub(crate) async fn run(self) {
        while !self.stop.is_cancelled() {
            let asked = Instant::now();
            let granted = tokio::select! {
                granted = self.store.grant(self.ttl) => granted,
                () = self.stop.cancelled() => return,
            };
            match granted {
                Ok(lease) => {
                    self.publish(lease.id, asked, lease.ttl);
                    self.live(lease.id, lease.ttl).await;
                }
                Err(e) => {
                    tracing::debug!(error = %e, "no lease yet");
                    self.pause(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// One lease, from grant to loss or revocation.
    async fn live(&self, lease: LeaseId, ttl: Duration) {
        loop {
            self.pause(ttl / RENEWALS).await;
            if self.stop.is_cancelled() {
                self.session.send_replace(None);
                if let Err(e) = self.store.revoke(lease).await {
                    tracing::warn!(error = %e, "the lease could not be revoked and will run out");
                }
                return;
            }
            if self.pulse.silence() > ttl {
                tracing::error!(silent_for = ?self.pulse.silence(), "the loop is stuck: letting the lease run out");
                continue;
            }
            let sent = Instant::now();
            match self.store.renew(lease, ttl / RENEWALS / 2).await {
                Ok(()) => self.publish(lease, sent, ttl),
                Err(Error::LeaseGone) => {
                    tracing::warn!(%lease, "the lease is gone");
                    self.session.send_replace(None);
                    return;
                }
                Err(e) => tracing::debug!(error = %e, "renewal not answered"),
            }
        }
    }

    fn publish(&self, lease: LeaseId, sent: Instant, ttl: Duration) {
        let valid_until = sent + ttl - ttl / MARGIN_DIVISOR;
        self.session
            .send_replace(Some(Session { lease, valid_until }));
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stop.cancelled() => {}
        }
    }
}
