//! What makes two states the same: everything in them, with revisions by their order and not by their number.
//!
//! The machines only compare revisions, and a new one is greater than all before; so states whose revisions stand in the
//! same order behave alike, however many writes led to each of them.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hasher};

/// How a revision shows in debug output.
const REVISION: &str = "Revision(";
/// Totals that grow and that nothing depends on.
const TOTALS: [&str; 2] = ["ended_rounds: ", "changes: "];

/// A number for the debug text of a state, the same for states whose revisions differ in number only.
#[must_use]
pub fn digest(state: &impl Debug) -> u64 {
    let text = format!("{state:?}");
    let mut parts: Vec<(&str, Option<i64>)> = Vec::new();
    for (text, _) in pieces(&text, TOTALS[0]) {
        for (text, _) in pieces(text, TOTALS[1]) {
            parts.extend(pieces(text, REVISION));
        }
    }
    let mut revisions: Vec<i64> = parts.iter().filter_map(|(_, number)| *number).collect();
    revisions.sort_unstable();
    revisions.dedup();
    let mut hasher = DefaultHasher::new();
    for (before, number) in parts {
        hasher.write(before.as_bytes());
        let rank = number.map_or(0, |number| revisions.partition_point(|r| *r < number) + 1);
        hasher.write_usize(rank);
    }
    hasher.finish()
}

/// The text cut at each number that follows `mark`.
fn pieces<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = (&'a str, Option<i64>)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some((before, after)) = text.split_once(mark) else {
            return Some((text, None));
        };
        let digits = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        rest = Some(&after[digits..]);
        Some((before, after[..digits].parse().ok()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dm_store::Revision;

    #[test]
    fn revisions_count_by_their_order_only() {
        let state = |a, b| digest(&("x", Revision(a), Revision(b)));
        assert_eq!(state(1, 2), state(7, 9));
        assert_ne!(state(1, 2), state(2, 1));
        let line = |total: i32| digest(&format_args!("changes: {total}, ended_rounds: {total} x"));
        assert_eq!(line(1), line(2));
        assert_ne!(state(1, 2), state(1, 1));
        assert_ne!(digest(&("x", Revision(1))), digest(&("y", Revision(1))));
    }
}
