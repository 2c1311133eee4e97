//! The expression filters of a subtask, by their tables.

use std::collections::BTreeMap;

use dm_errors::DmError;
use dm_task::subtask::ExpressionFilter;

use super::Condition;
use crate::names::TableName;

/// One filter: a row for which its conditions hold is left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// On inserted rows.
    pub insert: Option<Condition>,
    /// On rows before an update.
    pub old: Option<Condition>,
    /// On rows after an update; with one on those before, both have to hold.
    pub new: Option<Condition>,
    /// On deleted rows.
    pub delete: Option<Condition>,
}

impl Filter {
    /// All conditions in it.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        [&self.insert, &self.old, &self.new, &self.delete]
            .into_iter()
            .flatten()
    }
}

/// All filters. Names of schemas and tables are taken as they are.
#[derive(Clone, Debug, Default)]
pub struct Filters(BTreeMap<TableName, Vec<Filter>>);

impl Filters {
    /// Reads all expressions; the error names the one that is not supported.
    pub fn new(filters: &[ExpressionFilter]) -> Result<Self, DmError> {
        let mut all: BTreeMap<TableName, Vec<Filter>> = BTreeMap::new();
        for given in filters {
            let table = TableName::new(given.schema.as_str(), given.table.as_str());
            let read = |expression: &str| match expression {
                "" => Ok(None),
                expression => Condition::parse(expression)
                    .map(Some)
                    .map_err(|error| refused(&table, expression, &error)),
            };
            let filter = Filter {
                insert: read(&given.insert_value_expr)?,
                old: read(&given.update_old_value_expr)?,
                new: read(&given.update_new_value_expr)?,
                delete: read(&given.delete_value_expr)?,
            };
            all.entry(table).or_default().push(filter);
        }
        Ok(Self(all))
    }

    /// The filters of a source table.
    pub fn of(&self, table: &TableName) -> &[Filter] {
        self.0.get(table).map_or(&[], Vec::as_slice)
    }

    /// The tables that have filters.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.0.keys()
    }
}

/// An expression that this worker cannot judge rows by.
pub(crate) fn refused(table: &TableName, expression: &str, why: &dyn std::fmt::Display) -> DmError {
    DmError::uncoded(format!(
        "expression-filter of {table}: `{expression}` is not supported by this worker: {why}"
    ))
    .workaround("Change it in the task's configuration, or remove it.")
}
