//! Durations of one kind: percentiles, to three digits.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Significant digits of what is kept.
const DIGITS: u8 = 3;

/// Many durations. Empty until the first is recorded, and then all answers are zero.
#[derive(Clone, Debug, Default)]
pub struct Times(Option<Histogram<u64>>);

impl Times {
    /// Adds one.
    pub fn record(&mut self, time: Duration) {
        if self.0.is_none() {
            self.0 = Histogram::new(DIGITS).ok();
        }
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(histogram) = &mut self.0
            && histogram.record(nanos).is_err()
        {
            // It grows as needed; only a time of centuries does not fit, and counts as the longest that does.
            histogram.saturating_record(nanos);
        }
    }

    /// Adds all of another collection.
    pub fn add(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            // Both grow as needed, so nothing is out of range.
            (Some(mine), Some(theirs)) => drop(mine.add(theirs)),
            (mine @ None, theirs) => mine.clone_from(theirs),
            (Some(_), None) => {}
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The time that `part` of all do not exceed: 0.5 for the median.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let nanos = self.0.as_ref().map_or(0, |h| h.value_at_quantile(part));
        Duration::from_nanos(nanos)
    }

    /// The median.
    #[must_use]
    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// What one of a hundred exceeds.
    #[must_use]
    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.as_ref().map_or(0, Histogram::max))
    }
}

impl Extend<Duration> for Times {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, times: I) {
        times.into_iter().for_each(|time| self.record(time));
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut all = Self::default();
        all.extend(times);
        all
    }
}

/// How many times as long; `None` when there is nothing to compare with.
#[must_use]
pub fn ratio(time: Duration, to: Duration) -> Option<f64> {
    (!to.is_zero() && !time.is_zero()).then(|| time.as_secs_f64() / to.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn near(measured: Duration, expected: Duration) -> bool {
        measured.abs_diff(expected) * 1_000 <= expected
    }

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let times: Times = (1..=1_000).map(millis).collect();
        assert_eq!(times.count(), 1_000);
        assert!(near(times.p50(), millis(500)), "{:?}", times.p50());
        assert!(near(times.p99(), millis(990)), "{:?}", times.p99());
        assert!(near(times.max(), millis(1_000)), "{:?}", times.max());
    }

    #[test]
    fn one_outlier_shows_in_the_maximum_only() {
        let mut times: Times = std::iter::repeat_n(millis(2), 999).collect();
        times.record(Duration::from_secs(9));
        assert!(near(times.p99(), millis(2)));
        assert!(near(times.max(), Duration::from_secs(9)));
    }

    #[test]
    fn collections_add_up() {
        let mut all = Times::default();
        for millis_each in [1, 5_000] {
            all.add(&[millis(millis_each), millis(2)].into_iter().collect());
        }
        all.add(&Times::default());
        assert_eq!(all.count(), 4);
        assert!(near(all.p50(), millis(2)) && near(all.max(), millis(5_000)));
    }

    #[test]
    fn nothing_recorded_is_zero_and_has_no_ratio() {
        let none = Times::default();
        assert_eq!(
            (none.count(), none.p50(), none.max()),
            (0, Duration::ZERO, Duration::ZERO)
        );
        assert_eq!(ratio(none.p50(), millis(1)), None);
        assert_eq!(ratio(millis(1), none.p50()), None);
    }

    #[test]
    fn a_ratio_says_how_many_times_as_long() {
        assert_eq!(ratio(millis(3), millis(2)), Some(1.5));
    }
}
