//! Durations as Go writes them (`5m0s`), in which form they lie in etcd and in users' files.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A signed duration of nanoseconds with Go's text form.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct GoDuration(i64);

const SECOND: i64 = 1_000_000_000;
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];

impl GoDuration {
    /// That many seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(SECOND))
    }

    /// Whether it lasts no time at all.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The same length for timers; a negative one is zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid =
            || format!("time: invalid duration {text:?}, expected a form such as 10s, 5m0s or 1h");
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1.0, rest),
            None => (1.0, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total = 0.0;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
            let tail = &rest[digits..];
            let unit_end = tail
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(tail.len());
            let unit = &tail[..unit_end];
            if unit.is_empty() {
                return Err(format!(
                    "time: missing unit in duration {text:?}, expected a form such as 10s, 5m0s or 1h"
                ));
            }
            let (_, nanos) = UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(invalid)?;
            total += number * (*nanos as f64);
            rest = &tail[unit_end..];
        }
        if total >= 9.2e18 {
            Err(invalid())
        } else {
            Ok(Self((sign * total).round() as i64))
        }
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        let second = SECOND.unsigned_abs();
        let with_fraction =
            |f: &mut fmt::Formatter<'_>, value: u64, unit: u64, digits: usize, name: &str| {
                let (whole, part) = (value / unit, value % unit);
                let fraction = format!("{part:0digits$}");
                match fraction.trim_end_matches('0') {
                    "" => write!(f, "{whole}{name}"),
                    fraction => write!(f, "{whole}.{fraction}{name}"),
                }
            };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => with_fraction(f, nanos, 1_000, 3, "µs"),
            1_000_000..1_000_000_000 => with_fraction(f, nanos, 1_000_000, 6, "ms"),
            _ => {
                let secs = nanos / second;
                let (hours, minutes) = (secs / 3600, secs / 60 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if secs >= 60 {
                    write!(f, "{minutes}m")?;
                }
                with_fraction(f, nanos % (60 * second), second, 9, "s")
            }
        }
    }
}

impl TryFrom<String> for GoDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<GoDuration> for String {
    fn from(duration: GoDuration) -> Self {
        duration.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_are_those_of_go() {
        let cases = [
            ("5m", "5m0s"),
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5s", "1.5s"),
            ("100ms", "100ms"),
            ("0", "0s"),
            ("-3s", "-3s"),
            ("1500us", "1.5ms"),
        ];
        for (text, written) in cases {
            assert_eq!(text.parse::<GoDuration>().unwrap().to_string(), written);
        }
        assert!(
            "5".parse::<GoDuration>()
                .unwrap_err()
                .contains("missing unit in duration \"5\"")
        );
        assert!("x".parse::<GoDuration>().is_err() && "".parse::<GoDuration>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0_i64..10_000_000_000) {
            let duration = GoDuration(millis * 1_000_000);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
