//! The end of the loop: what was sent lands, what has landed is answered.

use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;

use super::{Arrived, Loop};
use crate::commit::Origin;
use crate::handle::Refused;
use crate::machine::Machine;

impl<M: Machine> Loop<M> {
    /// Sends nothing more; waits, up to a limit, until all that was sent has landed and the fold has shown it; then answers
    /// every request as is true of it.
    pub(super) async fn wind_up(&mut self, feed: &mut mpsc::Receiver<Arrived>, limit: Duration) {
        if tokio::time::timeout(limit, self.finish(feed))
            .await
            .is_err()
        {
            tracing::warn!(
                in_the_air = self.flights.len(),
                "stopped before all that was sent was settled"
            );
        }
        self.requests.stop();
    }

    async fn finish(&mut self, feed: &mut mpsc::Receiver<Arrived>) {
        loop {
            self.stay();
            self.settle();
            let is_idle = self.flights.is_empty() && !self.trails.is_in_doubt();
            if is_idle && self.requests.is_empty() {
                return;
            }
            tokio::select! {
                Some(landed) = self.flights.next() => self.land(landed),
                Some(arrived) = feed.recv() => self.fold(arrived),
                else => return,
            }
        }
    }

    /// What is not in the air stays: others will decide the same, and requests may ask them.
    fn stay(&mut self) {
        for item in self.queue.drain(..) {
            if let Origin::Request(id) = item.origin {
                self.requests.grounded(id, Refused::Stopping);
            }
        }
        self.requests.refuse_queued(&Refused::Stopping);
    }
}
