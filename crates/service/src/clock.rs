//! The only place that reads a clock. Machines get the time as a value; everything else takes it from here, so that tests can set it.
//!
//! Monotonic time is that of the tokio runtime, which a test or a simulation may pause and advance.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Monotonic time since it was made, and wall-clock time. Clones share one origin.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { origin: Instant },
    Manual(Arc<Mutex<Manual>>),
}

#[derive(Debug)]
struct Manual {
    elapsed: Duration,
    unix: Duration,
}

impl Clock {
    /// The system's clock; [`elapsed`](Self::elapsed) starts now.
    pub fn system() -> Self {
        Self(Source::System {
            origin: Instant::now(),
        })
    }

    /// A clock that stands still at `unix` until [`advance`](Self::advance) moves it; for tests.
    pub fn manual(unix: Duration) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(Manual {
            elapsed: Duration::ZERO,
            unix,
        }))))
    }

    /// Monotonic time since the clock was made. Never goes back, and says nothing about the date.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System { origin } => origin.elapsed(),
            Source::Manual(m) => m.lock().unwrap_or_else(PoisonError::into_inner).elapsed,
        }
    }

    /// Wall-clock time since 1970 in UTC. May jump; only for what people or records are shown.
    pub fn unix(&self) -> Duration {
        match &self.0 {
            Source::System { .. } => system_time().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Source::Manual(m) => m.lock().unwrap_or_else(PoisonError::into_inner).unix,
        }
    }

    /// Moves a manual clock on. The system's clock does not listen.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(m) = &self.0 {
            let mut m = m.lock().unwrap_or_else(PoisonError::into_inner);
            m.elapsed += by;
            m.unix += by;
        }
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

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Duration::from_secs(100));
        let copy = clock.clone();
        assert_eq!(clock.elapsed(), Duration::ZERO);
        copy.advance(Duration::from_secs(3));
        assert_eq!(clock.elapsed(), Duration::from_secs(3));
        assert_eq!(clock.unix(), Duration::from_secs(103));
    }

    #[test]
    fn a_deadline_runs_down_and_stays_at_nought() {
        let limit = Duration::from_secs(100);
        let left = Deadline::after(limit).remaining();
        assert!(left <= limit && left > limit / 2, "{left:?}");
        assert_eq!(Deadline::after(Duration::ZERO).remaining(), Duration::ZERO);
    }
}
