//! Indexes as tuples (spec schemacmp 3, rules E4 and E5).

use std::fmt;

use super::incompatible::Incompatible;
use super::kinds::{Compared, Elements, Lattice, Maximum, Singleton, joined};
use crate::table_info::{ColumnInfo, IndexColumn, IndexInfo};

/// Columns of an index in lower case, each with how many characters count.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Parts(pub(super) Vec<(String, i64)>);

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(c, n)| format!("{{{c} {n}}}")).collect();
        write!(f, "[{}]", parts.join(" "))
    }
}

/// An index as rule E4 sees it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Index {
    pub(super) columns: Singleton<Parts>,
    pub(super) not_unique: Maximum<bool>,
    pub(super) not_primary: Maximum<bool>,
    pub(super) index_type: Singleton<i64>,
}

impl Index {
    pub(super) fn of(info: &IndexInfo) -> Self {
        let part = |c: &IndexColumn| (c.name.lower.clone(), c.length);
        Self {
            columns: Singleton(Parts(info.columns.iter().map(part).collect())),
            not_unique: Maximum(!info.unique),
            not_primary: Maximum(!info.primary),
            index_type: Singleton(info.index_type),
        }
    }

    /// Rule E5: the primary key of a column that says it is one, in a table that lists none.
    pub(super) fn implied_primary(column: &ColumnInfo) -> Self {
        let part = (column.name.lower.clone(), IndexColumn::WHOLE);
        Self {
            columns: Singleton(Parts(vec![part])),
            not_unique: Maximum(false),
            not_primary: Maximum(false),
            index_type: Singleton(IndexInfo::BTREE),
        }
    }
}

impl Lattice for Index {
    fn compare(&self, other: &Self) -> Compared {
        let elements = Elements::new()
            .and(&self.columns, &other.columns)?
            .and(&self.not_unique, &other.not_unique)?
            .and(&self.not_primary, &other.not_primary)?
            .and(&self.index_type, &other.index_type)?;
        Ok(elements.order())
    }

    fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        Ok(Self {
            columns: joined(0, &self.columns, &other.columns)?,
            not_unique: joined(1, &self.not_unique, &other.not_unique)?,
            not_primary: joined(2, &self.not_primary, &other.not_primary)?,
            index_type: joined(3, &self.index_type, &other.index_type)?,
        })
    }
}
