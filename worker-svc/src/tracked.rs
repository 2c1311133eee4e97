//! What users ask and order about the structures that are tracked (`binlog-schema`): they are read and written where a paused subtask has left them.

use std::collections::{BTreeMap, BTreeSet};

use dm_errors::{Code, DmError};
use dm_keyspace::optimism::Info;
use dm_keyspace::{OpaqueJson, SourceId, TaskName};
use dm_schema::create_table::print_create_table;
use dm_schema::table_info::{Name, TableInfo};
use dm_schema::{Action, Table};
use dm_task::{DbConfig, SubtaskConfig};
use mysql_async::Conn;
use regex::Regex;
use serde::Serialize;

use crate::downstream::connection;
use crate::downstream::meta::{Kind, Records};
use crate::downstream::writer::Writer;
use crate::error::{Result, downstream, upstream};
use crate::names::TableName;
use crate::rules::Rules;
use crate::sync::progress::Progress;
use crate::sync::start::recorded;
use crate::sync::tables::Structures;
use crate::unit::Context;
use crate::upstream::{described, schema_defaults, show_create, table_info};

/// A subtask, as far as its structures go.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The task.
    pub task: TaskName,
    /// The source.
    pub source: SourceId,
    /// How to reach it.
    pub from: DbConfig,
    /// The subtask's configuration.
    pub config: SubtaskConfig,
}

/// What becomes of one structure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The source table.
    pub table: TableName,
    /// The statement that would create it as it is to be tracked; nothing to forget what is tracked.
    pub create: Option<String>,
    /// The other sources of an optimistic task hear of it.
    pub sync: bool,
}

/// Where a definition is taken from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The source as it is now.
    Source,
    /// The downstream table that the table goes to.
    Target,
}

/// Where a source table goes, in the members of DM's REST API.
#[derive(Serialize)]
struct MigrateTarget<'a> {
    source_schema: &'a str,
    source_table: &'a str,
    target_schema: String,
    target_table: String,
}

impl Subject {
    fn rules(&self) -> Result<Rules> {
        Ok(Rules::new(&self.config)?)
    }

    /// The structures as they are written down. There are none before replication has begun.
    pub async fn structures(&self) -> Result<Structures> {
        let mut conn = connection::writer(&self.config.to)
            .await
            .map_err(downstream("connect"))?;
        let (task, source) = (self.task.as_str(), self.source.as_str());
        let records = Records::new(&self.config.meta_schema, task, source);
        if !has_begun(&records, &mut conn).await? {
            return Err(not_begun(&self.config).into());
        }
        let optimistic = self.config.shard_mode == "optimistic";
        recorded(&records, optimistic, &mut conn).await
    }

    /// The tracked structure of a table as a statement on one line; for a table without one, the structure that would be taken for its next row.
    pub async fn create_table(&self, table: &TableName) -> Result<String> {
        let structures = self.structures().await?;
        let missing = || DmError::new(Code::SCHEMA_TRACKER_CANNOT_GET_TABLE, &[table]);
        match (structures.info(table), structures.get(table)) {
            (Some(info), Some(_)) => Ok(print_create_table(&named(info, table))),
            (None, Some(structure)) => {
                let columns: Vec<&str> =
                    structure.columns.iter().map(|c| c.name.as_str()).collect();
                let columns = columns.join(", ");
                Err(missing()
                    .cause(format!(
                        "its whole definition is not kept; its columns: {columns}"
                    ))
                    .workaround("Set it by `binlog-schema update`.")
                    .into())
            }
            (_, None) => {
                let text = self.definition(table, Side::Source).await?;
                let defaults = self.defaults(table).await?;
                let info = table_info(table, &text.ok_or_else(missing)?, &defaults)?;
                Ok(print_create_table(&named(&info, table)))
            }
        }
    }

    async fn defaults(&self, table: &TableName) -> Result<dm_schema::create_table::Defaults> {
        let mut conn = connection::reader(&self.from)
            .await
            .map_err(upstream("connect"))?;
        schema_defaults(&mut conn, &table.schema).await
    }

    /// The definition that a table has now on one of the sides.
    pub async fn definition(&self, table: &TableName, side: Side) -> Result<Option<String>> {
        match side {
            Side::Source => {
                let mut conn = connection::reader(&self.from)
                    .await
                    .map_err(upstream("connect"))?;
                let name = table.to_string();
                let shown = show_create(&mut conn, "TABLE", &name).await;
                shown.map_err(upstream(format!("SHOW CREATE TABLE {name}")))
            }
            Side::Target => {
                let mut conn = connection::reader(&self.config.to)
                    .await
                    .map_err(downstream("connect"))?;
                let name = self.rules()?.target(table).to_string();
                let shown = show_create(&mut conn, "TABLE", &name).await;
                shown.map_err(downstream(format!("SHOW CREATE TABLE {name}")))
            }
        }
    }

    /// The schemas of the tracked tables, as a JSON array.
    pub async fn schemas(&self) -> Result<String> {
        let structures = self.structures().await?;
        let schemas: BTreeSet<&str> = structures.names().map(|t| t.schema.as_str()).collect();
        json(&schemas)
    }

    /// The tracked tables of a schema, as a JSON array.
    pub async fn tables(&self, schema: &str) -> Result<String> {
        let structures = self.structures().await?;
        let names = structures.names().filter(|t| t.schema == schema);
        let tables: Vec<&str> = names.map(|t| t.table.as_str()).collect();
        if tables.is_empty() {
            return Err(DmError::new(Code::SCHEMA_TRACKER_UN_SCHEMA_NOT_EXIST, &[&schema]).into());
        }
        json(&tables)
    }

    /// Where the tracked tables go whose names contain a match of the regular expressions, as a JSON array. An empty expression matches all.
    pub async fn targets(&self, schema: &str, table: &str) -> Result<String> {
        let (schema, table) = (expression(schema)?, expression(table)?);
        let rules = self.rules()?;
        let structures = self.structures().await?;
        let names = structures.names().filter(|name| {
            schema.is_match(&name.schema)
                && table.is_match(&name.table)
                && rules.allows(&name.schema, &name.table)
        });
        let targets = names.map(|name| {
            let target = rules.target(name);
            MigrateTarget {
                source_schema: &name.schema,
                source_table: &name.table,
                target_schema: target.schema,
                target_table: target.table,
            }
        });
        json(&targets.collect::<Vec<_>>())
    }

    /// Refuses tables that take no part, and texts that define none.
    pub fn check(&self, change: &Change) -> Result<()> {
        let TableName { schema, table } = &change.table;
        if !self.rules()?.allows(schema, table) {
            let text = format!("{} takes no part in the task", change.table);
            return Err(DmError::uncoded(text).into());
        }
        if let Some(create) = &change.create {
            structure(create)?;
        }
        Ok(())
    }
}

/// Carries out a change for a subtask that does not run: nobody else writes its records meanwhile, or one of the two is shut out.
pub async fn change(unit: &Context, writer: &mut Writer, change: &Change) -> Result<()> {
    let records = writer.records().clone();
    let global = records.global(writer.connection()).await?;
    let saved: BTreeMap<String, Progress> =
        records.all(writer.connection(), Kind::Progress).await?;
    let (Some(global), Some(mut progress)) = (global, saved.into_values().next()) else {
        return Err(not_begun(&unit.config).into());
    };
    if global.position > progress.main.position {
        return Err(others().into());
    }
    let optimistic = unit.is_optimistic();
    let mut structures = recorded(&records, optimistic, writer.connection()).await?;
    let table = &change.table;
    let mut info = None;
    match &change.create {
        None => structures.remove(table),
        Some(create) => {
            let conn = connection::reader(&unit.from).await;
            let mut conn = conn.map_err(upstream("connect"))?;
            let defaults = schema_defaults(&mut conn, &table.schema).await?;
            let mut structure = structure(create)?;
            structure.set_default_charset(&defaults.charset);
            let new = table_info(table, create, &defaults)
                .map_err(|error| invalid(create).cause(error.to_dm()))?;
            let new = named(&new, table);
            structures.set(table.clone(), structure);
            structures.set_info(table.clone(), new.clone());
            info = Some(new);
            if unit.is_pessimistic() {
                join(unit, &mut progress, table)?;
            }
        }
    }
    let points = progress.pinned();
    let mut all = structures.unsaved(&records);
    all.extend(structures.unsaved_infos(&records, optimistic.then_some(&points)));
    all.push(records.put(Kind::Progress, "", &progress));
    writer.commit(all).await?;
    tracing::info!(%table, create = change.create, "the tracked structure was changed by order");
    match info {
        Some(info) if change.sync && optimistic => sync(unit, table, &info).await,
        Some(_) if change.sync => {
            tracing::warn!(%table, "outside of optimistic shard mode nobody is told");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A table that nobody has known is one of its group from now on.
fn join(unit: &Context, progress: &mut Progress, table: &TableName) -> Result<()> {
    let target = unit.rules.target(table);
    if progress.member(table, &target).is_none() {
        progress.groups.entry(target).or_default().admit(table)?;
    }
    Ok(())
}

/// The optimist takes the structure as the table's, whatever the others have, and answers nothing.
async fn sync(unit: &Context, table: &TableName, info: &TableInfo) -> Result<()> {
    let json = OpaqueJson::parse(&info.to_json())
        .map_err(|e| DmError::uncoded(format!("structure of {table}: {e}")))?;
    let target = unit.rules.target(table);
    let info = Info {
        task: unit.task.clone(),
        source: unit.source.clone(),
        up_schema: table.schema.clone(),
        up_table: table.table.clone(),
        down_schema: target.schema,
        down_table: target.table,
        ddls: Some(vec![String::new()]),
        table_info_before: Some(json.clone()),
        table_info_after: Some(vec![json]),
        ignore_conflict: true,
        ..Info::default()
    };
    unit.optimist().put_info(&info).await
}

/// Whether replication has written down a place; without the tables for that it has not.
async fn has_begun(records: &Records, conn: &mut Conn) -> Result<bool> {
    const NO_SUCH: [u16; 2] = [1049, 1146];
    match records.global(conn).await {
        Err(error) if error.server_code().is_some_and(|c| NO_SUCH.contains(&c)) => Ok(false),
        other => Ok(other?.is_some()),
    }
}

fn not_begun(config: &SubtaskConfig) -> DmError {
    let unit = if config.loads() { "Load" } else { "" };
    DmError::new(Code::WORKER_OPER_SYNC_UNIT_ONLY, &[&unit])
}

/// A checkpoint that this kind of worker has not written: all structures are taken anew when the subtask runs.
fn others() -> DmError {
    DmError::uncoded("the checkpoint was last written by another kind of worker")
        .workaround("Resume the task and pause it again.")
}

fn named(info: &TableInfo, table: &TableName) -> TableInfo {
    let mut info = info.clone();
    info.name = Name::new(table.table.as_str());
    info
}

/// The structure in the text of a CREATE TABLE that says all of it.
fn structure(create: &str) -> std::result::Result<Table, DmError> {
    let read = described(&TableName::new("", ""), create);
    let described = read.map_err(|error| invalid(create).cause(error.to_dm()))?;
    match &described.create.action {
        Action::CreateTable { like: None, .. } if !described.structure.columns.is_empty() => {
            Ok(described.structure)
        }
        _ => Err(invalid(create)),
    }
}

fn invalid(create: &str) -> DmError {
    DmError::new(Code::SCHEMA_TRACKER_INVALID_CREATE_TABLE_STMT, &[&create])
}

fn expression(text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|error| DmError::uncoded(error.to_string()).into())
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        DmError::new(Code::SCHEMA_TRACKER_MARSHAL_JSON, &[&"the answer"])
            .cause(error)
            .into()
    })
}
