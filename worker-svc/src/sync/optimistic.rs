//! DDL of an optimistic task: which tables there are is told at once, what changes a table goes through [`joint`](super::joint), and a table that waits is
//! passed over.

use std::sync::Arc;

use dm_errors::{Code, DmError};
use dm_keyspace::optimism::{SourceTables, SourceTablesKey, Tables};
use dm_schema::create_table::Defaults;
use dm_schema::table_info::TableInfo;
use dm_schema::{Action, Change, Ddl, TableRef};

use super::ddl::{Place, unsupported};
use super::engine::Engine;
use super::joint::Course;
use crate::downstream::connection;
use crate::error::{Result, upstream};
use crate::names::TableName;
use crate::shard::group::Group;
use crate::upstream::{schema_defaults, table_info};

const MODE: &str = "optimistic shard";
const STOP_FIRST: &str = "Rename or replace tables of a shard group only while the task is stopped, and start it with --remove-meta.";

impl Engine {
    /// What a run begins with: the tables are told, and what was under way is brought to its end.
    pub(super) async fn begin_optimistic(&mut self) -> Result<()> {
        let optimistic = self.unit.is_optimistic();
        let groups = &self.progress.groups;
        let of_other_mode = match optimistic {
            true => groups.values().any(Group::is_unresolved),
            false => !self.progress.held.is_empty() || self.progress.told.is_some(),
        };
        if of_other_mode {
            let error = DmError::uncoded("a shard DDL of another shard-mode is still open");
            let way_out = "Set shard-mode back until it is resolved, or stop the task and start it with --remove-meta.";
            return Err(error.workaround(way_out).into());
        }
        if !optimistic {
            return Ok(());
        }
        self.put_tables().await?;
        self.finish_told().await?;
        self.read_again().await?;
        self.watch_redirects();
        Ok(())
    }

    /// Tells which tables the source has at this place of the log.
    async fn put_tables(&self) -> Result<()> {
        let mut tables = Tables::new();
        for table in self.structures.names() {
            if !self.unit.rules.allows(&table.schema, &table.table) {
                continue;
            }
            let target = self.unit.rules.target(table);
            tables
                .entry(target.schema)
                .or_default()
                .entry(target.table)
                .or_default()
                .entry(table.schema.clone())
                .or_default()
                .insert(table.table.clone());
        }
        let key = SourceTablesKey {
            task: self.unit.task.clone(),
            source: self.unit.source.clone(),
        };
        let record = SourceTables {
            task: self.unit.task.clone(),
            source: self.unit.source.clone(),
            tables: Some(tables),
            ..SourceTables::default()
        };
        let optimist = self.unit.optimist();
        let put = optimist.put_tables(key.encode(), &record);
        self.unit.guarded(put).await
    }

    /// The statements of one event.
    pub(super) async fn optimistic(&mut self, ddls: Vec<Ddl>, place: Place) -> Result<()> {
        let mut at_once = Vec::new();
        let mut joint: Vec<Ddl> = Vec::new();
        // Only a statement that puts a copy in its table's place changes a table and the copies at once.
        if self.copies.is_some() {
            let texts = ddls.iter().map(|ddl| ddl.render(TableRef::clone));
            let texts = texts.collect();
            self.progress.held.bring(place.start.clone(), texts);
        }
        for ddl in ddls {
            match &ddl.action {
                Action::CreateDatabase(_) | Action::AlterDatabase(_) => {
                    at_once.extend(self.routed(&ddl)?);
                }
                Action::CreateTable { table, like, .. } => {
                    let like = like.as_ref().map(TableName::from);
                    at_once.extend(self.created(&ddl, table.into(), like, &place).await?);
                }
                Action::DropTable(table) => {
                    if !self.is_loaded(&ddl, &place.end) {
                        self.dropped(&[table.into()]).await?;
                    }
                }
                Action::DropDatabase(schema) => {
                    let names = self.structures.names();
                    let gone: Vec<_> = names.filter(|t| t.schema == *schema).cloned().collect();
                    self.dropped(&gone).await?;
                }
                Action::TruncateTable(_) => {
                    let ddl = ddl.render(TableRef::clone);
                    tracing::warn!(ddl, "not replicated in shard mode");
                }
                Action::RenameTable { .. }
                | Action::Alter {
                    change: Change::RenameTo(_),
                    ..
                } => return Err(unsupported(&ddl, MODE, STOP_FIRST)),
                Action::Alter { table, .. } => {
                    let passed_over = self.progress.held.holds(&table.into());
                    if !passed_over && !self.is_loaded(&ddl, &place.end) {
                        joint.push(ddl);
                    }
                }
            }
        }
        if joint.is_empty() {
            return self.execute_and_go_on(at_once, place).await;
        }
        self.joint(joint, place, Course::Main).await
    }

    /// A new table: its structure is written down before anybody hears of it.
    async fn created(
        &mut self,
        ddl: &Ddl,
        table: TableName,
        like: Option<TableName>,
        place: &Place,
    ) -> Result<Option<String>> {
        if ddl.render(TableRef::clone).starts_with("CREATE OR REPLACE") {
            // It would empty the table that all shards share.
            return Err(unsupported(ddl, MODE, STOP_FIRST));
        }
        if self.is_loaded(ddl, &place.end) {
            return Ok(None);
        }
        // Known if the run before has come this far, or if the statement found the table there.
        if self.structures.get(&table).is_none() {
            let info = self.info_of_new(ddl, &table, like.as_ref()).await?;
            self.follow(ddl).await?;
            self.structures.set_info(table, info);
            self.flush().await?;
        }
        self.put_tables().await?;
        self.routed(ddl)
    }

    /// Follows a statement that is neither reported nor executed.
    pub(super) async fn follow_unasked(&mut self, ddl: &Ddl, course: Course) -> Result<()> {
        let Some(table) = ddl.table().map(TableName::from) else {
            return Ok(());
        };
        if !self.concerns(ddl) || (course == Course::Main && self.progress.held.holds(&table)) {
            return Ok(());
        }
        match &ddl.action {
            Action::CreateTable { like, .. } if self.structures.get(&table).is_none() => {
                let like = like.as_ref().map(TableName::from);
                let info = self.info_of_new(ddl, &table, like.as_ref()).await?;
                self.follow(ddl).await?;
                self.structures.set_info(table, info);
                self.flush().await?;
                self.put_tables().await
            }
            Action::DropTable(_) => self.dropped(&[table]).await,
            Action::Alter { change, .. } if !matches!(change, Change::RenameTo(_)) => {
                let defaults = self.defaults(&table.schema).await?;
                let ddls = std::slice::from_ref(ddl);
                let preview = self.structures.preview(&table, ddls, &defaults)?;
                self.structures.accept(table, preview.end);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn info_of_new(
        &self,
        ddl: &Ddl,
        table: &TableName,
        like: Option<&TableName>,
    ) -> Result<Arc<TableInfo>> {
        match like {
            Some(like) => self.like(table, like),
            None => {
                let defaults = self.defaults(&table.schema).await?;
                let info = table_info(table, &ddl.render(TableRef::clone), &defaults)?;
                Ok(Arc::new(info))
            }
        }
    }

    fn like(&self, table: &TableName, like: &TableName) -> Result<Arc<TableInfo>> {
        let refused = |why: &str| {
            let text = format!("CREATE TABLE {table} LIKE {like}, {why}");
            DmError::new(Code::SCHEMA_TRACKER_CANNOT_EXEC_DDL, &[&text])
        };
        if self.progress.held.holds(like) {
            return Err(refused("whose own DDL waits to be redirected").into());
        }
        match self.structures.info(like) {
            Some(info) => Ok(info.clone()),
            None => Err(refused("which is not known").into()),
        }
    }

    /// Tables that are gone upstream stay downstream.
    async fn dropped(&mut self, tables: &[TableName]) -> Result<()> {
        for table in tables {
            self.structures.remove(table);
            self.progress.held.forget(table);
        }
        self.watch_redirects();
        self.put_tables().await
    }

    /// What definitions in a schema mean where they leave something open.
    pub(super) async fn defaults(&self, schema: &str) -> Result<Defaults> {
        let read = async {
            let mut conn = connection::reader(&self.unit.from)
                .await
                .map_err(upstream("connect"))?;
            schema_defaults(&mut conn, schema).await
        };
        self.unit.guarded(read).await
    }
}
