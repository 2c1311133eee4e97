//! The join of any number of schemas, the same in any order (spec schemacmp 5, rule J5).
//!
//! DM joins pair by pair, which gives another answer for another order, since a column that one table lacks gets an invented default before
//! the default that a third table has for it is seen. Here every column is first joined over all tables that have it.

use std::collections::BTreeMap;

use super::Schema;
use super::column::Column;
use super::incompatible::Incompatible;
use super::index::Index;
use super::kinds::{Lattice, joined};
use crate::table_info::flag;

/// Number of the columns among the attributes of a table.
const COLUMNS: usize = 2;

/// A single schema is its own join, as it stands.
pub(super) fn of_all<'a>(
    first: &Schema,
    others: impl IntoIterator<Item = &'a Schema>,
) -> Result<Schema, Incompatible> {
    let mut fold = Fold::new(first);
    for schema in others {
        fold.add(schema)?;
    }
    fold.finish()
}

/// What the schemas seen so far join to, before the rules that concern all of them.
struct Fold {
    /// Columns: each joined over the tables that have it. Indexes: those that all tables have and that agree.
    schema: Schema,
    /// How many tables have each column.
    holders: BTreeMap<String, usize>,
    tables: usize,
}

impl Fold {
    fn new(first: &Schema) -> Self {
        Self {
            schema: first.clone(),
            holders: first.columns.keys().map(|c| (c.clone(), 1)).collect(),
            tables: 1,
        }
    }

    /// Rules J1 and J2, apart from what is missing in some table.
    fn add(&mut self, other: &Schema) -> Result<(), Incompatible> {
        let schema = &mut self.schema;
        schema.charset = joined(0, &schema.charset, &other.charset)?;
        schema.collate = joined(1, &schema.collate, &other.collate)?;
        for (name, column) in &other.columns {
            let column = match schema.columns.get(name) {
                Some(present) => present
                    .join(column)
                    .map_err(|e| e.at_key(name).at_index(COLUMNS))?,
                None => column.clone(),
            };
            schema.columns.insert(name.clone(), column);
            *self.holders.entry(name.clone()).or_default() += 1;
        }
        let in_both = |(name, index): (&String, &Index)| {
            let index = index.join(other.indexes.get(name)?).ok()?;
            Some((name.clone(), index))
        };
        schema.indexes = schema.indexes.iter().filter_map(in_both).collect();
        schema.auto_inc_id = joined(4, &schema.auto_inc_id, &other.auto_inc_id)?;
        schema.shard_row_id_bits = joined(5, &schema.shard_row_id_bits, &other.shard_row_id_bits)?;
        schema.auto_random_bits = joined(6, &schema.auto_random_bits, &other.auto_random_bits)?;
        schema.pre_split_regions = joined(7, &schema.pre_split_regions, &other.pre_split_regions)?;
        schema.compression = joined(8, &schema.compression, &other.compression)?;
        self.tables += 1;
        Ok(())
    }

    /// Rule J3 for columns that some table lacks, then rule J4 for all.
    fn finish(self) -> Result<Schema, Incompatible> {
        let Self {
            mut schema,
            holders,
            tables,
        } = self;
        if tables == 1 {
            return Ok(schema);
        }
        let keys = key_flags(&schema.indexes);
        let columns = std::mem::take(&mut schema.columns);
        for (name, mut column) in columns {
            if holders.get(&name).is_some_and(|held| *held < tables) {
                column = Column::missing_elsewhere(column);
            }
            let flags = keys.get(name.as_str()).copied();
            if flags.is_none() && column.field_type.is_auto_increment() {
                return Err(Incompatible::AutoWithoutKey.at_key(&name));
            }
            column.field_type.set_key_flags(flags.unwrap_or(0));
            schema.columns.insert(name, column);
        }
        Ok(schema)
    }
}

/// Rule J4: columns of the primary key, the column of a unique index of its own, the first column of any other index; bits add up.
fn key_flags(indexes: &BTreeMap<String, Index>) -> BTreeMap<&str, u64> {
    let mut flags = BTreeMap::<&str, u64>::new();
    for index in indexes.values() {
        let columns = &index.columns.0.0;
        let (counted, flag) = if !index.not_primary.0 {
            (columns.len(), flag::PRIMARY)
        } else if !index.not_unique.0 && columns.len() == 1 {
            (1, flag::UNIQUE)
        } else {
            (1, flag::MULTIPLE)
        };
        for (column, _) in columns.iter().take(counted) {
            *flags.entry(column).or_default() |= flag;
        }
    }
    flags
}
