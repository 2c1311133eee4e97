//! The kinds of attributes: each a partial order with joins where they exist (spec schemacmp 2).

use std::cmp::Ordering;
use std::fmt::Display;

use super::incompatible::Incompatible;
use crate::table_info::code;

/// Result of a comparison, or why there is none.
pub(super) type Compared = Result<Ordering, Incompatible>;

/// A partial order with least upper bounds, both of which can fail with a reason.
pub(super) trait Lattice: Sized {
    fn compare(&self, other: &Self) -> Compared;
    fn join(&self, other: &Self) -> Result<Self, Incompatible>;
}

/// Comparison of a tuple, element by element from left to right (rule C1).
pub(super) struct Elements {
    order: Ordering,
    next: usize,
}

impl Elements {
    pub(super) fn new() -> Self {
        Self {
            order: Ordering::Equal,
            next: 0,
        }
    }

    /// Takes the next element into account.
    pub(super) fn and<L: Lattice>(self, left: &L, right: &L) -> Result<Self, Incompatible> {
        self.and_compared(left.compare(right))
    }

    /// Takes the next element into account, which has been compared already.
    pub(super) fn and_compared(self, compared: Compared) -> Result<Self, Incompatible> {
        let order = compared
            .and_then(|new| combined(self.order, new))
            .map_err(|e| e.at_index(self.next))?;
        Ok(Self {
            order,
            next: self.next + 1,
        })
    }

    pub(super) fn order(self) -> Ordering {
        self.order
    }
}

/// Equal is neutral, equal signs stay, opposite signs contradict (rule C1).
pub(super) fn combined(so_far: Ordering, new: Ordering) -> Compared {
    match (so_far, new) {
        (_, Ordering::Equal) => Ok(so_far),
        (Ordering::Equal, _) => Ok(new),
        (a, b) if a == b => Ok(a),
        (a, b) => Err(Incompatible::contradicting(a, b)),
    }
}

/// The joined element of a tuple, or the error with its place.
pub(super) fn joined<L: Lattice>(index: usize, left: &L, right: &L) -> Result<L, Incompatible> {
    left.join(right).map_err(|e| e.at_index(index))
}

/// A value that compares with its like only.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Singleton<T>(pub(super) T);

impl<T: Clone + Eq + Display> Lattice for Singleton<T> {
    fn compare(&self, other: &Self) -> Compared {
        if self == other {
            Ok(Ordering::Equal)
        } else {
            Err(Incompatible::distinct(&self.0, &other.0))
        }
    }

    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        self.compare(other).map(|_| self.clone())
    }
}

/// A value in its own total order, joined to the maximum; for booleans that is "or".
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Maximum<T>(pub(super) T);

impl<T: Copy + Ord> Lattice for Maximum<T> {
    fn compare(&self, other: &Self) -> Compared {
        Ok(self.0.cmp(&other.0))
    }

    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        Ok(Self(self.0.max(other.0)))
    }
}

/// Nothing is below everything.
impl<L: Lattice + Clone> Lattice for Option<L> {
    fn compare(&self, other: &Self) -> Compared {
        match (self, other) {
            (Some(a), Some(b)) => a.compare(b),
            (a, b) => Ok(a.is_some().cmp(&b.is_some())),
        }
    }

    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        match (self, other) {
            (Some(a), Some(b)) => a.join(b).map(Some),
            (a, b) => Ok(a.as_ref().or(b.as_ref()).cloned()),
        }
    }
}

/// Length or number of digits: of DECIMAL it must be equal, of all other types it may grow (attributes 1 and 2 of rule E3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Size {
    Exact(i64),
    Growing(i64),
}

impl Size {
    pub(super) fn value(self) -> i64 {
        let (Self::Exact(value) | Self::Growing(value)) = self;
        value
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Exact(_) => "schemacmp.singleton",
            Self::Growing(_) => "schemacmp.Int",
        }
    }
}

impl Lattice for Size {
    fn compare(&self, other: &Self) -> Compared {
        match (*self, *other) {
            (Self::Exact(a), Self::Exact(b)) => Singleton(a).compare(&Singleton(b)),
            (Self::Growing(a), Self::Growing(b)) => Ok(a.cmp(&b)),
            (a, b) => Err(Incompatible::Kind(a.kind(), b.kind())),
        }
    }

    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        let order = self.compare(other)?;
        Ok(if order.is_lt() { *other } else { *self })
    }
}

/// A type code; integers and texts each form a ladder (rule L1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct TypeCode(pub(super) u8);

impl TypeCode {
    /// From the smallest to the largest; on different ladders nothing compares.
    const LADDERS: [&'static [u8]; 2] = [
        &[
            code::TINYINT,
            code::SMALLINT,
            code::MEDIUMINT,
            code::INT,
            code::BIGINT,
        ],
        &[code::TINYTEXT, code::TEXT, code::MEDIUMTEXT, code::LONGTEXT],
    ];
}

impl Lattice for TypeCode {
    fn compare(&self, other: &Self) -> Compared {
        if self == other {
            return Ok(Ordering::Equal);
        }
        let steps = |ladder: &[u8]| {
            let step = |code: u8| ladder.iter().position(|c| *c == code);
            Some(step(self.0)?.cmp(&step(other.0)?))
        };
        Self::LADDERS
            .into_iter()
            .find_map(steps)
            .ok_or(Incompatible::FieldType(self.0, other.0))
    }

    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        let order = self.compare(other)?;
        Ok(if order.is_lt() { *other } else { *self })
    }
}

/// A list that is below those it is the beginning of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Beginning(pub(super) Vec<String>);

impl Lattice for Beginning {
    fn compare(&self, other: &Self) -> Compared {
        let pairs = self.0.iter().zip(&other.0);
        if let Some((index, (left, right))) = pairs.enumerate().find(|(_, (a, b))| a != b) {
            return Err(Incompatible::ListItem {
                index,
                left: left.clone(),
                right: right.clone(),
            });
        }
        Ok(self.0.len().cmp(&other.0.len()))
    }

    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        let order = self.compare(other)?;
        Ok(if order.is_lt() { other } else { self }.clone())
    }
}
