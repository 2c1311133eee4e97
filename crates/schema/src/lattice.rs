//! Comparing and joining the schemas of the tables of one shard group.
//!
//! `a ≤ b` means that whatever fits into `a` fits into `b`: more columns, wider types, fewer keys, more nullable and more defaults are larger.
//! The join of some schemas is the least one above all of them; it is what the downstream table has to look like while they differ.
//! Neither need exist, and then [`Incompatible`] says which attribute is at fault.
//!
//! [`Schema`] holds the attributes that count (spec schemacmp 3), normalised, so that two schemas compare as equal exactly if they are `==`:
//! equal ones can be counted instead of kept.

mod charset;
mod column;
mod incompatible;
mod index;
mod join;
mod kinds;
#[cfg(test)]
mod tests;
mod text;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use charset::{Charset, Collation};
use column::Column;
use index::Index;
use kinds::{Compared, Elements, Lattice, Maximum, Singleton, combined};

pub use incompatible::Incompatible;

use crate::table_info::{TableInfo, flag};

/// The attributes of a table that count for the comparison (spec schemacmp 3, rule E1).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Schema {
    charset: Charset,
    collate: Collation,
    /// By name in lower case.
    columns: BTreeMap<String, Column>,
    /// By name in lower case.
    indexes: BTreeMap<String, Index>,
    auto_inc_id: Maximum<i64>,
    shard_row_id_bits: Singleton<u64>,
    auto_random_bits: Singleton<u64>,
    pre_split_regions: Singleton<u64>,
    compression: Option<Singleton<String>>,
}

impl Schema {
    /// The encoding of a table info (spec schemacmp 3).
    pub fn of(info: &TableInfo) -> Self {
        let indexes = info.indexes.iter();
        let mut indexes: BTreeMap<_, _> = indexes
            .map(|index| (index.name.lower.clone(), Index::of(index)))
            .collect();
        // Rule E5; of several such columns the last one wins.
        if !info.indexes.iter().any(|index| index.primary)
            && let Some(key) = info
                .columns
                .iter()
                .rfind(|c| c.field_type.has(flag::PRIMARY))
        {
            indexes.insert("primary".to_owned(), Index::implied_primary(key));
        }
        let columns = info.columns.iter();
        Self {
            charset: Charset::new(&info.charset),
            collate: Collation::new(&info.collate),
            columns: columns
                .map(|column| (column.name.lower.clone(), Column::of(column)))
                .collect(),
            indexes,
            auto_inc_id: Maximum(info.auto_inc_id),
            shard_row_id_bits: Singleton(info.shard_row_id_bits),
            auto_random_bits: Singleton(info.auto_random_bits),
            pre_split_regions: Singleton(info.pre_split_regions),
            compression: (!info.compression.is_empty())
                .then(|| Singleton(info.compression.clone())),
        }
    }

    /// The same without the AUTO_INCREMENT base, which differs between shards that are otherwise equal (spec optimist Q3).
    #[must_use]
    pub fn without_auto_increment_base(mut self) -> Self {
        self.auto_inc_id = Maximum(0);
        self
    }

    /// How the schema relates to another one (spec schemacmp 4). Of several reasons why it does not, the first by name is reported.
    ///
    /// `a.compare(&b)` is the reverse of `b.compare(&a)`, and both fail or neither.
    pub fn compare(&self, other: &Self) -> Result<Ordering, Incompatible> {
        let elements = Elements::new()
            .and(&self.charset, &other.charset)?
            .and(&self.collate, &other.collate)?
            .and_compared(self.compare_columns(other))?
            .and_compared(self.compare_indexes(other))?
            .and(&self.auto_inc_id, &other.auto_inc_id)?
            .and(&self.shard_row_id_bits, &other.shard_row_id_bits)?
            .and(&self.auto_random_bits, &other.auto_random_bits)?
            .and(&self.pre_split_regions, &other.pre_split_regions)?
            .and(&self.compression, &other.compression)?;
        Ok(elements.order())
    }

    /// The least schema above both (spec schemacmp 5); the same from either side.
    pub fn join(&self, other: &Self) -> Result<Self, Incompatible> {
        join::of_all(self, [other])
    }

    /// The least schema above all of them, whatever their order and however often each is there (rule J5); `None` of none.
    ///
    /// The cost is that of looking at each schema once: callers with many tables pass each distinct schema once.
    pub fn join_all<'a>(
        schemas: impl IntoIterator<Item = &'a Self>,
    ) -> Result<Option<Self>, Incompatible> {
        let mut schemas = schemas.into_iter();
        let first = schemas.next();
        first.map(|first| join::of_all(first, schemas)).transpose()
    }

    /// Whether there is a column of that name, whatever the case of its letters (spec optimist Q2).
    pub fn has_column(&self, name: &str) -> bool {
        self.columns.contains_key(&name.to_lowercase())
    }

    /// The length of a column's type, by which adding the same column twice is checked (spec optimist P3).
    pub fn column_length(&self, name: &str) -> Option<i64> {
        let column = self.columns.get(&name.to_lowercase())?;
        Some(column.field_type.flen.value())
    }

    /// Names of the columns in lower case, sorted.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// Rule C3: a column of one table only makes that one larger, if the other can do without it.
    fn compare_columns(&self, other: &Self) -> Compared {
        compare_maps(&self.columns, &other.columns, |column| {
            if column.has_default() {
                Ok(Ordering::Greater)
            } else {
                Err(Incompatible::NoDefault)
            }
        })
    }

    /// Rule C3: an index of one table only makes that one smaller.
    fn compare_indexes(&self, other: &Self) -> Compared {
        compare_maps(&self.indexes, &other.indexes, |_| Ok(Ordering::Less))
    }
}

/// Compares what both have, and takes what only one has as `alone` says: `Greater` if that makes the table larger that has it.
/// Keys of both maps are visited in one ascending walk, so that the first error is the first by name from either side.
fn compare_maps<L: Lattice>(
    left: &BTreeMap<String, L>,
    right: &BTreeMap<String, L>,
    alone: impl Fn(&L) -> Compared,
) -> Compared {
    let only_right = right.keys().filter(|key| !left.contains_key(*key));
    let mut keys: Vec<&String> = left.keys().chain(only_right).collect();
    keys.sort_unstable();
    let mut order = Ordering::Equal;
    for key in keys {
        let compared = match (left.get(key), right.get(key)) {
            (Some(a), Some(b)) => a.compare(b),
            (Some(a), None) => alone(a),
            (None, Some(b)) => alone(b).map(Ordering::reverse),
            (None, None) => Ok(Ordering::Equal),
        };
        order = compared
            .and_then(|new| combined(order, new))
            .map_err(|e| e.at_key(key))?;
    }
    Ok(order)
}
