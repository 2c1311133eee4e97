//! Signs of life of workers.

use std::{fmt, time::Duration};

use serde_json::value::RawValue;

use crate::{
    WorkerName,
    json::{Field, Mismatch, push_string},
    macros::{key_family, record},
};

key_family! {
    /// `/dm-worker/a/<worker>` -> since when it is there. Written by the worker under its lease; the key's
    /// existence means that the worker is online.
    KeepAliveKey = "/dm-worker/a/", "WorkerKeepAliveKeyAdapter", Hex {
        /// The worker that is alive.
        worker: WorkerName,
    }
}

record! {
    /// Which worker is online since when. Put again with the same value when the lease changes.
    KeepAlive as "keepalive" {
        /// The same name as in the key.
        worker: WorkerName = "worker-name",
        /// When this life of the worker began; for logs only.
        join_time: JoinTime = "join-time",
    }
}

impl KeepAlive {
    /// A record without members of others.
    pub fn new(worker: impl Into<WorkerName>, join_time: JoinTime) -> Self {
        Self {
            worker: worker.into(),
            join_time,
            ..Self::default()
        }
    }
}

/// A time in RFC 3339 with up to nine digits of fraction, kept as text since nobody computes with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JoinTime(String);

impl JoinTime {
    /// The time that lies so long after the beginning of 1970, in UTC. Trailing zeros of the fraction are cut.
    pub fn since_epoch(elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs();
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if elapsed.subsec_nanos() > 0 {
            let fraction = format!(".{:09}", elapsed.subsec_nanos());
            text.push_str(fraction.trim_end_matches('0'));
        }
        text.push('Z');
        Self(text)
    }

    /// The time as it stands in the record.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for JoinTime {
    /// Go's zero time, which is what a missing member reads as.
    fn default() -> Self {
        Self("0001-01-01T00:00:00Z".to_owned())
    }
}

impl fmt::Display for JoinTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Field for JoinTime {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        self.0
            .read(json)
            .map_err(|_| Mismatch("a time in RFC 3339"))
    }

    fn write(&self, out: &mut String) {
        push_string(out, &self.0);
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years begin in March here,
/// so that the leap day is the last day of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let from_march_0 = days + 719_468;
    let (era, day) = (
        from_march_0 / DAYS_OF_400_YEARS,
        from_march_0 % DAYS_OF_400_YEARS,
    );
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let march_based = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 {
        march_based + 3
    } else {
        march_based - 9
    };
    (
        era * 400 + year + u64::from(month <= 2),
        month,
        day_of_month,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_times_are_written_as_go_writes_them() {
        let cases = [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_785_556_800, 0, "2026-08-01T04:00:00Z"),
            (1_785_556_800, 123_456_789, "2026-08-01T04:00:00.123456789Z"),
            (4_107_542_399, 500_000_000, "2100-02-28T23:59:59.5Z"),
            (4_107_542_400, 1, "2100-03-01T00:00:00.000000001Z"),
        ];
        for (seconds, nanos, expected) in cases {
            assert_eq!(
                JoinTime::since_epoch(Duration::new(seconds, nanos)).as_str(),
                expected
            );
        }
    }

    #[test]
    fn a_missing_join_time_is_the_zero_time() {
        let keepalive = KeepAlive::from_bytes(br#"{"worker-name":"w"}"#).unwrap();
        assert_eq!(
            keepalive.to_bytes(),
            br#"{"worker-name":"w","join-time":"0001-01-01T00:00:00Z"}"#
        );
    }
}
