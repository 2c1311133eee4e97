//! The structures of the source's tables at the place that replication has come to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dm_errors::{Code, DmError};
use dm_schema::{Action, Change, Table};

use crate::downstream::meta::{Kind, Records};
use crate::names::TableName;

/// All tracked structures, and which of them have changed since they were written down.
#[derive(Clone, Debug, Default)]
pub struct Structures {
    tables: BTreeMap<TableName, Arc<Table>>,
    changed: BTreeSet<TableName>,
}

impl Structures {
    /// Structures that are written down already.
    pub fn saved(tables: BTreeMap<TableName, Table>) -> Self {
        let tables = tables.into_iter().map(|(n, t)| (n, Arc::new(t))).collect();
        Self {
            tables,
            changed: BTreeSet::new(),
        }
    }

    /// The structure of a table.
    pub fn get(&self, table: &TableName) -> Option<&Arc<Table>> {
        self.tables.get(table)
    }

    /// All tables.
    pub fn names(&self) -> impl Iterator<Item = &TableName> {
        self.tables.keys()
    }

    /// Notes a structure.
    pub fn set(&mut self, table: TableName, structure: impl Into<Arc<Table>>) {
        self.changed.insert(table.clone());
        self.tables.insert(table, structure.into());
    }

    /// Forgets a table.
    pub fn remove(&mut self, table: &TableName) {
        self.changed.insert(table.clone());
        self.tables.remove(table);
    }

    /// Follows one statement. A change of an unknown table is no error: its structure is asked for when it is needed.
    pub fn follow(&mut self, action: &Action) -> Result<(), DmError> {
        match action {
            Action::CreateTable {
                table,
                structure,
                like,
            } => {
                let table = TableName::from(table);
                let structure = match like {
                    Some(like) => {
                        let like = TableName::from(like);
                        self.tables.get(&like).cloned().ok_or_else(|| {
                            untracked(&format!(
                                "CREATE TABLE {table} LIKE {like}, which is not known"
                            ))
                        })?
                    }
                    None => Arc::new(structure.clone()),
                };
                self.set(table, structure);
            }
            Action::DropTable(table) => self.remove(&table.into()),
            Action::RenameTable { from, to } => self.rename(&from.into(), &to.into()),
            Action::Alter { table, change } => {
                let table = TableName::from(table);
                if let Change::RenameTo(to) = change {
                    self.rename(&table, &to.into());
                } else if let Some(structure) = self.tables.get_mut(&table) {
                    Arc::make_mut(structure)
                        .apply(change)
                        .map_err(|e| untracked(&format!("{table}: {e}")))?;
                    self.changed.insert(table);
                }
            }
            Action::DropDatabase(schema) => {
                let gone: Vec<TableName> = self
                    .tables
                    .keys()
                    .filter(|t| t.schema == *schema)
                    .cloned()
                    .collect();
                gone.iter().for_each(|t| self.remove(t));
            }
            Action::CreateDatabase(_) | Action::AlterDatabase(_) | Action::TruncateTable(_) => {}
        }
        Ok(())
    }

    fn rename(&mut self, from: &TableName, to: &TableName) {
        if let Some(structure) = self.tables.get(from).cloned() {
            self.remove(from);
            self.set(to.clone(), structure);
        }
    }

    /// SQL that writes down what has changed. Call [`Structures::written`] when it is committed.
    pub fn unsaved(&self, records: &Records) -> Vec<String> {
        self.changed
            .iter()
            .map(|table| match self.tables.get(table) {
                Some(structure) => records.put(Kind::Table, &table.to_string(), structure.as_ref()),
                None => records.remove(Kind::Table, &table.to_string()),
            })
            .collect()
    }

    /// Everything is written down.
    pub fn written(&mut self) {
        self.changed.clear();
    }
}

fn untracked(reason: &str) -> DmError {
    DmError::new(Code::SCHEMA_TRACKER_CANNOT_EXEC_DDL, &[&reason])
}
