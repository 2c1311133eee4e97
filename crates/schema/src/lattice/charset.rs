//! Character sets and collations: `utf8` and `latin1` below `utf8mb4` (spec schemacmp 2, rules L2 and L3).

use std::cmp::Ordering;
use std::fmt;

use super::incompatible::Incompatible;
use super::kinds::{Compared, Lattice};

const MB4: &str = "utf8mb4";

/// A character set in lower case; `utf8mb3` is read as `utf8`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Charset(String);

impl Charset {
    pub(super) fn new(name: &str) -> Self {
        let lower = name.to_lowercase();
        Self(match lower.as_str() {
            "utf8mb3" => "utf8".to_owned(),
            _ => lower,
        })
    }

    /// Whether it can be written in `utf8mb4` without becoming something else.
    fn is_below_mb4(&self) -> bool {
        matches!(self.0.as_str(), "utf8" | "latin1")
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        if self == other {
            Some(Ordering::Equal)
        } else if self.is_below_mb4() && other.0 == MB4 {
            Some(Ordering::Less)
        } else if self.0 == MB4 && other.is_below_mb4() {
            Some(Ordering::Greater)
        } else {
            None
        }
    }

    fn upper_bound(&self, other: &Self) -> Option<Self> {
        match self.order(other) {
            Some(Ordering::Less) => Some(other.clone()),
            Some(_) => Some(self.clone()),
            None => (self.is_below_mb4() && other.is_below_mb4()).then(|| Self(MB4.to_owned())),
        }
    }

    fn incompatible(&self, other: &Self) -> Incompatible {
        Incompatible::Charset(self.0.clone(), other.0.clone())
    }
}

impl fmt::Display for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Lattice for Charset {
    fn compare(&self, other: &Self) -> Compared {
        self.order(other).ok_or_else(|| self.incompatible(other))
    }

    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        self.upper_bound(other)
            .ok_or_else(|| self.incompatible(other))
    }
}

/// A collation: the character set it is named for, and the rest of the name if there is one. Only collations with equal rests compare.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Collation {
    charset: Charset,
    suffix: Option<String>,
}

impl Collation {
    pub(super) fn new(name: &str) -> Self {
        let (charset, suffix) = match name.split_once('_') {
            Some((charset, suffix)) => (charset, Some(suffix.to_lowercase())),
            None => (name, None),
        };
        Self {
            charset: Charset::new(charset),
            suffix,
        }
    }

    fn incompatible(&self, other: &Self) -> Incompatible {
        Incompatible::Collation(self.to_string(), other.to_string())
    }
}

impl fmt::Display for Collation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.suffix {
            Some(suffix) => write!(f, "{}_{suffix}", self.charset),
            None => self.charset.fmt(f),
        }
    }
}

impl Lattice for Collation {
    fn compare(&self, other: &Self) -> Compared {
        (self.suffix == other.suffix)
            .then(|| self.charset.order(&other.charset))
            .flatten()
            .ok_or_else(|| self.incompatible(other))
    }

    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        let charset = (self.suffix == other.suffix)
            .then(|| self.charset.upper_bound(&other.charset))
            .flatten()
            .ok_or_else(|| self.incompatible(other))?;
        Ok(Self {
            charset,
            suffix: self.suffix.clone(),
        })
    }
}
