//! The right to act: it ends with the worker's lease, by the worker's own clock, before anybody else can see the lease as ended.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// Held by everything that writes, and asked before each step whose effect lasts.
#[derive(Clone, Debug)]
pub struct Permit {
    until: watch::Receiver<Option<Instant>>,
    ended: CancellationToken,
}

/// The other end: whoever renews the lease says how long the permit holds.
#[derive(Debug)]
pub struct Grantor {
    until: watch::Sender<Option<Instant>>,
    ended: CancellationToken,
}

/// A permit that lasts until `ttl`, less a margin, after `sent`, the moment in which the lease was granted or renewed at the earliest.
pub fn grant(sent: Instant, ttl: Duration) -> (Grantor, Permit) {
    let (sender, until) = watch::channel(Some(deadline(sent, ttl)));
    let ended = CancellationToken::new();
    let grantor = Grantor {
        until: sender,
        ended: ended.clone(),
    };
    (grantor, Permit { until, ended })
}

/// A permit that nothing ends, for work that hangs on no lease.
pub fn unlimited() -> Permit {
    let (_, until) = watch::channel(None);
    Permit {
        until,
        ended: CancellationToken::new(),
    }
}

/// A tenth of the time to live, one second at most, is left for what is on its way when the time is over.
fn deadline(sent: Instant, ttl: Duration) -> Instant {
    sent + ttl.saturating_sub((ttl / 10).min(Duration::from_secs(1)))
}

impl Permit {
    /// Whether it still holds.
    pub fn holds(&self) -> bool {
        let in_time = self
            .until
            .borrow()
            .is_none_or(|until| Instant::now() < until);
        in_time && !self.ended.is_cancelled()
    }

    /// The same as a result.
    pub fn check(&self) -> Result<()> {
        if self.holds() {
            Ok(())
        } else {
            Err(Error::LeaseEnded)
        }
    }

    /// Waits until it ends.
    pub async fn ended(&self) {
        let mut until = self.until.clone();
        loop {
            let deadline = *until.borrow_and_update();
            let over = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.ended.cancelled() => return,
                () = over => return,
                changed = until.changed() => if changed.is_err() {
                    // Nobody renews any more; what was granted still holds.
                    match deadline {
                        Some(deadline) => tokio::time::sleep_until(deadline).await,
                        None => self.ended.cancelled().await,
                    }
                    return;
                },
            }
        }
    }
}

impl Grantor {
    /// A renewal that was sent at `sent` was answered.
    pub fn renewed(&self, sent: Instant, ttl: Duration) {
        self.until.send_replace(Some(deadline(sent, ttl)));
    }

    /// The lease is known to be gone.
    pub fn revoke(&self) {
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_permit_ends_before_its_lease_unless_it_is_renewed() {
        let ttl = Duration::from_secs(10);
        let (grantor, permit) = grant(Instant::now(), ttl);
        tokio::time::advance(Duration::from_secs(8)).await;
        assert!(permit.holds());
        grantor.renewed(Instant::now(), ttl);
        tokio::time::advance(Duration::from_secs(8)).await;
        assert!(permit.holds());
        permit.ended().await;
        assert!(!permit.holds());
        assert!(permit.check().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_permit_ends_at_once() {
        let (grantor, permit) = grant(Instant::now(), Duration::from_secs(10));
        grantor.revoke();
        permit.ended().await;
        assert!(!permit.holds());
        assert!(unlimited().holds());
    }
}
