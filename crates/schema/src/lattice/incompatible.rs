//! Why two schemas cannot be compared or joined.

use std::cmp::Ordering;
use std::fmt::Display;

/// The attribute at fault, from outside in, and what is wrong with it (spec schemacmp 7). The texts are those that DM reports.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Incompatible {
    /// In the attribute of that number.
    #[error("at tuple index {index}: {inner}")]
    AtIndex {
        /// Number of the attribute.
        index: usize,
        /// What is wrong there.
        inner: Box<Incompatible>,
    },
    /// In the column or index of that name.
    #[error("at map key {key:?}: {inner}")]
    AtKey {
        /// The name in lower case.
        key: String,
        /// What is wrong there.
        inner: Box<Incompatible>,
    },
    /// Two sizes of different kinds; hidden by the difference of the types that they belong to.
    #[error("type mismatch ({0} vs {1})")]
    Kind(&'static str, &'static str),
    /// Two values of which neither is above the other.
    #[error("distinct singletons ({0} vs {1})")]
    Distinct(String, String),
    /// Two type codes that are not on one ladder.
    #[error("incompatible mysql type ({0} vs {1})")]
    FieldType(u8, u8),
    /// Two character sets of which neither is above the other.
    #[error("incompatible charset ({0} vs {1})")]
    Charset(String, String),
    /// Two collations of which neither is above the other.
    #[error("incompatible collation ({0} vs {1})")]
    Collation(String, String),
    /// One attribute says larger, another says smaller: −1 for smaller, 1 for larger.
    #[error("combining contradicting orders ({0} && {1})")]
    Contradicting(i8, i8),
    /// Two lists of values that differ before the shorter one ends.
    #[error("at string list index {index}: distinct values ({left:?} vs {right:?})")]
    ListItem {
        /// Where they differ.
        index: usize,
        /// The value of the one.
        left: String,
        /// The value of the other.
        right: String,
    },
    /// A table lacks a column that an INSERT must name.
    #[error("column with no default value cannot be missing")]
    NoDefault,
    /// The joined table would have an AUTO_INCREMENT column outside of its keys.
    #[error("auto type but not defined as a key")]
    AutoWithoutKey,
}

impl Incompatible {
    pub(super) fn distinct(left: &impl Display, right: &impl Display) -> Self {
        Self::Distinct(left.to_string(), right.to_string())
    }

    pub(super) fn contradicting(so_far: Ordering, new: Ordering) -> Self {
        Self::Contradicting(so_far as i8, new as i8)
    }

    pub(super) fn at_index(self, index: usize) -> Self {
        Self::AtIndex {
            index,
            inner: Box::new(self),
        }
    }

    pub(super) fn at_key(self, key: &str) -> Self {
        Self::AtKey {
            key: key.to_owned(),
            inner: Box::new(self),
        }
    }
}
