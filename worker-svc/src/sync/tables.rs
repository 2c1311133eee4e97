//! The structures of the source's tables at the place that replication has come to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dm_errors::{Code, DmError};
use dm_schema::create_table::Defaults;
use dm_schema::table_info::TableInfo;
use dm_schema::{Action, Change, Ddl, Table, TableRef};

use crate::binlog::position::Location;
use crate::downstream::meta::{Kind, Records};
use crate::names::TableName;
use crate::upstream::table_info;

/// All tracked structures, and which of them have changed since they were written down.
#[derive(Clone, Debug, Default)]
pub struct Structures {
    tables: BTreeMap<TableName, Arc<Table>>,
    changed: BTreeSet<TableName>,
    infos: BTreeMap<TableName, Arc<TableInfo>>,
    changed_infos: BTreeSet<TableName>,
}

/// A structure in both of its forms.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// As rows need it.
    pub table: Arc<Table>,
    /// As the coordination of optimistic shards needs it.
    pub info: Arc<TableInfo>,
}

/// What statements would make of a table.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What it is.
    pub before: Arc<TableInfo>,
    /// What it is after each of the statements.
    pub after: Vec<Arc<TableInfo>>,
    /// What it is after all of them.
    pub end: Tracked,
}

impl Structures {
    /// Structures that are written down already.
    pub fn saved(tables: BTreeMap<TableName, Table>) -> Self {
        let tables = tables.into_iter().map(|(n, t)| (n, Arc::new(t))).collect();
        Self {
            tables,
            ..Self::default()
        }
    }

    /// The same with the infos that are written down already.
    #[must_use]
    pub fn with_infos(mut self, infos: BTreeMap<TableName, TableInfo>) -> Self {
        let infos = infos.into_iter().map(|(n, info)| (n, Arc::new(info)));
        self.infos = infos.collect();
        self
    }

    /// The info of a table. Outside of optimistic shard mode it is only shown to users, and missing where a statement could not be followed.
    pub fn info(&self, table: &TableName) -> Option<&Arc<TableInfo>> {
        self.infos.get(table)
    }

    /// Notes an info.
    pub fn set_info(&mut self, table: TableName, info: impl Into<Arc<TableInfo>>) {
        self.changed_infos.insert(table.clone());
        self.infos.insert(table, info.into());
    }

    /// Notes a structure in both of its forms.
    pub fn accept(&mut self, table: TableName, tracked: Tracked) {
        self.set_info(table.clone(), tracked.info);
        self.set(table, tracked.table);
    }

    /// What statements about one table would make of it; nothing is noted.
    pub fn preview(
        &self,
        table: &TableName,
        ddls: &[Ddl],
        defaults: &Defaults,
    ) -> Result<Preview, DmError> {
        let (Some(structure), Some(before)) = (self.tables.get(table), self.infos.get(table))
        else {
            return Err(unknown_before(table));
        };
        let misfit = |e: &dyn std::fmt::Display| untracked(&format!("{table}: {e}"));
        let mut end = Tracked {
            table: structure.clone(),
            info: before.clone(),
        };
        let mut after = Vec::new();
        for ddl in ddls {
            if let Action::Alter { change, .. } = &ddl.action {
                let structure = Arc::make_mut(&mut end.table);
                structure.apply(change).map_err(|e| misfit(&e))?;
            }
            let info = Arc::make_mut(&mut end.info);
            info.apply(ddl, defaults).map_err(|e| misfit(&e))?;
            after.push(end.info.clone());
        }
        Ok(Preview {
            before: before.clone(),
            after,
            end,
        })
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
        self.drop_info(table);
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
                self.drop_info(&table);
                let structure = match like {
                    Some(like) => {
                        let like = TableName::from(like);
                        let structure = self.tables.get(&like).cloned().ok_or_else(|| {
                            untracked(&format!(
                                "CREATE TABLE {table} LIKE {like}, which is not known"
                            ))
                        })?;
                        if let Some(info) = self.infos.get(&like).cloned() {
                            self.set_info(table.clone(), info);
                        }
                        structure
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
            let info = self.infos.get(from).cloned();
            self.remove(from);
            self.set(to.clone(), structure);
            if let Some(info) = info {
                self.set_info(to.clone(), info);
            }
        }
    }

    /// Completes what [`Structures::follow`] has made of a statement by what the schema gives, and lets the info follow. One that cannot is dropped.
    pub fn describe(&mut self, table: &TableName, ddl: &Ddl, defaults: &Defaults) {
        let followed = match &ddl.action {
            Action::CreateTable { .. } => {
                if let Some(structure) = self.tables.get_mut(table) {
                    Arc::make_mut(structure).set_default_charset(&defaults.charset);
                }
                let text = ddl.render(TableRef::clone);
                table_info(table, &text, defaults).map_err(|error| error.to_dm().to_string())
            }
            _ => {
                let Some(info) = self.infos.get(table) else {
                    return;
                };
                let mut info = info.as_ref().clone();
                let applied = info.apply(ddl, defaults);
                applied.map(|()| info).map_err(|error| error.to_string())
            }
        };
        match followed {
            Ok(info) => self.set_info(table.clone(), info),
            Err(error) => {
                tracing::warn!(%table, error, "the definition of the table is not followed");
                self.drop_info(table);
            }
        }
    }

    fn drop_info(&mut self, table: &TableName) {
        if self.infos.remove(table).is_some() {
            self.changed_infos.insert(table.clone());
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

    /// SQL that writes down which infos have changed: in optimistic shard mode where the optimist reads them, with a place up to which everything is applied.
    pub fn unsaved_infos(&self, records: &Records, at: Option<&Location>) -> Vec<String> {
        let sql = |table: &TableName| match (self.infos.get(table), at) {
            (Some(info), Some(at)) => records.put_point(table, at, &info.to_json()),
            (None, Some(_)) => records.remove_point(table),
            (Some(info), None) => records.put(Kind::Info, &table.to_string(), &info.to_json()),
            (None, None) => records.remove(Kind::Info, &table.to_string()),
        };
        self.changed_infos.iter().map(sql).collect()
    }

    /// Everything is written down.
    pub fn written(&mut self) {
        self.changed.clear();
        self.changed_infos.clear();
    }
}

/// A shard DDL of a table that nothing is known of.
pub(super) fn unknown_before(table: &TableName) -> DmError {
    untracked(&format!(
        "the structure of {table} before the statement is not known"
    ))
    .workaround("Set it by `binlog-schema update` as it was before the statement.")
}

fn untracked(reason: &str) -> DmError {
    DmError::new(Code::SCHEMA_TRACKER_CANNOT_EXEC_DDL, &[&reason])
}
