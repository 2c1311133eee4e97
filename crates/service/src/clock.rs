//! The only place that reads a clock. Machines get the time as a value; everything else takes it from here.
//!
//! Monotonic time is that of the tokio runtime, which a test or a simulation may pause and advance.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Monotonic time since it was made, and wall-clock time. Clones share one origin.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// The system's clock; [`elapsed`](Self::elapsed) starts now.
    pub fn system() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Monotonic time since the clock was made. Never goes back, and says nothing about the date.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Wall-clock time since 1970 in UTC. May jump; only for what people or records are shown.
    pub fn unix(&self) -> Duration {
        system_time().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that everything else takes its time from"
)]
fn system_time() -> SystemTime {
    SystemTime::now()
}

/// How long something takes, by the runtime's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts at nought.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A point in time by which something has to be done; crosses function boundaries where a `Duration` would start anew.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Deadline(Instant);

impl Deadline {
    /// `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// What is left; nought when it has passed.
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The runtime's form, for `tokio::time::timeout_at`.
    pub fn instant(&self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn copies_of_a_clock_show_the_runtimes_time() {
        let clock = Clock::system();
        let copy = clock.clone();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(
            (clock.elapsed(), copy.elapsed()),
            (Duration::from_secs(3), Duration::from_secs(3))
        );
    }

    #[test]
    fn a_deadline_runs_down_and_stays_at_nought() {
        let limit = Duration::from_secs(100);
        let left = Deadline::after(limit).remaining();
        assert!(left <= limit && left > limit / 2, "{left:?}");
        assert_eq!(Deadline::after(Duration::ZERO).remaining(), Duration::ZERO);
    }
}
