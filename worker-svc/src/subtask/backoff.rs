//! When a subtask that failed is tried again: after one second, then twice as long each time, up to five minutes.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// A run that lasted so long was a healthy one.
const HEALTHY: Duration = Duration::from_secs(300);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    started: Option<Instant>,
    resumable: bool,
}

impl Backoff {
    /// A run begins.
    pub fn started(&mut self) {
        self.started = Some(Instant::now());
        self.resumable = false;
    }

    /// It has ended; trying again may help, or not.
    pub fn failed(&mut self, resumable: bool) {
        let lasted = self.started.take().map(|s| s.elapsed());
        self.failures = match lasted {
            Some(lasted) if lasted >= HEALTHY => 1,
            Some(_) => self.failures.saturating_add(1),
            None => self.failures.max(1),
        };
        self.resumable = resumable;
    }

    /// How long to wait before the next try; nothing when only a person can help.
    pub fn wait(&self) -> Option<Duration> {
        let doublings = self.failures.saturating_sub(1).min(16);
        let wait = FIRST.saturating_mul(1 << doublings).min(LONGEST);
        self.resumable.then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_and_shrink_after_a_healthy_run() {
        let mut backoff = Backoff::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            backoff.started();
            backoff.failed(true);
            waits.push(backoff.wait().unwrap().as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        backoff.started();
        tokio::time::advance(HEALTHY).await;
        backoff.failed(true);
        assert_eq!(backoff.wait(), Some(FIRST));
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_a_person_can_mend_is_not_tried_again() {
        let mut backoff = Backoff::default();
        backoff.started();
        backoff.failed(false);
        assert_eq!(backoff.wait(), None);
    }
}
