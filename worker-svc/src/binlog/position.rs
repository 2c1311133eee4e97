//! Places in the binlog of one server.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A file and an offset in it. Files are ordered by the number at the end of their names; an empty file name is before everything.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Position {
    /// Name of the file, such as `mariadb-bin.000002`.
    pub file: String,
    /// Offset of the next event.
    pub pos: u64,
}

impl Position {
    /// A place in a file.
    pub fn new(file: impl Into<String>, pos: u64) -> Self {
        Self {
            file: file.into(),
            pos,
        }
    }

    /// Nothing was ever read.
    pub fn is_zero(&self) -> bool {
        self.file.is_empty()
    }

    fn sequence(&self) -> (u64, &str) {
        let number = self.file.rsplit('.').next().unwrap_or_default();
        match number.parse() {
            Ok(number) => (number, ""),
            Err(_) => (0, &self.file),
        }
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sequence()
            .cmp(&other.sequence())
            .then(self.pos.cmp(&other.pos))
            .then_with(|| self.file.cmp(&other.file))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As clients know it: `(mariadb-bin.000002, 2276)`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.file, self.pos)
    }
}

/// A position together with the GTID set that was reached there.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Location {
    /// File and offset, by which reading starts.
    #[serde(flatten)]
    pub position: Position,
    /// GTID set as text, for display and for whoever continues by GTID.
    #[serde(default)]
    pub gtid: String,
}

impl Location {
    /// A location of which only the position is known.
    pub fn at(position: Position) -> Self {
        Self {
            position,
            gtid: String::new(),
        }
    }
}

/// In the form of DM's own status texts.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position: {}, gtid-set: {}", self.position, self.gtid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_ordered_by_number_not_by_text() {
        let early = Position::new("mariadb-bin.999999", 900);
        let late = Position::new("mariadb-bin.1000000", 4);
        assert!(early < late);
        assert!(Position::default() < early);
        assert!(Position::new("b.000001", 4) < Position::new("b.000001", 5));
    }
}
