//! The full load: all rows as they were at one place of the log, from which replication goes on.
//!
//! The place of a table is written downstream before its first row. A load that was interrupted starts the unfinished tables anew, at a later place: rows are
//! put over what is there, and what was removed upstream in between is removed again by replication, which begins at the first place and makes every change
//! up to the later one repeatable. A table without a key could not be repeated so: it is loaded in one transaction, whole or not at all.

use std::collections::BTreeMap;

use dm_errors::{Code, DmError};
use dm_schema::{Table, TableRef};
use futures::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value as SqlValue};
use serde::{Deserialize, Serialize};

use crate::binlog::position::{Location, Position};
use crate::binlog::value::Value;
use crate::downstream::keys;
use crate::downstream::meta::Kind;
use crate::downstream::statement::{Shape, insert};
use crate::downstream::target::Target;
use crate::downstream::writer::Writer;
use crate::error::{Error, Result, downstream, upstream};
use crate::names::{TableName, quoted};
use crate::status::Unit;
use crate::sync::follow::info_of;
use crate::sync::progress::{Loaded, Progress};
use crate::unit::Context;
use crate::upstream::{self, Described, Snapshot};

/// Rows of one transaction.
const BATCH: usize = 1000;

/// The record of one table's load.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct TableLoad {
    /// Where the first attempt read: replication of the table begins here.
    from: Location,
    /// Where the last attempt read.
    safe_until: Position,
    /// All rows are there.
    finished: bool,
    /// The structure at the first place.
    structure: Table,
    /// The same as DM keeps it, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    info: Option<String>,
}

/// How far the load of a subtask is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Never begun.
    Fresh,
    /// Interrupted.
    Begun,
    /// Nothing to do.
    Finished,
}

/// Reads the state from the downstream.
pub async fn state(unit: &Context, writer: &mut Writer) -> Result<State> {
    let status = unit.records.load_status(writer.connection()).await?;
    Ok(match status.as_deref() {
        Some("finished") => State::Finished,
        Some("running") => State::Begun,
        _ => State::Fresh,
    })
}

/// Loads what is not loaded, and writes down from where replication goes on.
pub async fn run(unit: &Context, writer: &mut Writer, state: State) -> Result<()> {
    unit.board.update(|f| f.unit = Unit::Load);
    let mut loads = records(unit, writer, state).await?;
    writer
        .commit(vec![unit.records.put_load_status("running")])
        .await?;
    let mut snapshot = unit.guarded(upstream::snapshot(&unit.from)).await?;
    let place = snapshot.at.clone();
    tracing::info!(task = %unit.task, source = %unit.source, at = %place, "full load");
    let tables: Vec<TableName> = upstream::tables(&mut snapshot.conn)
        .await?
        .into_iter()
        .filter(|t| unit.rules.allows(&t.schema, &t.table))
        .collect();
    let bytes = estimated_bytes(&mut snapshot, &tables).await?;
    unit.board.update(|f| {
        f.tables = (u64::try_from(tables.len()).unwrap_or_default(), 0);
        f.bytes = (bytes, 0);
        f.loaded_rows = 0;
        f.snapshot = place.clone();
    });
    for table in &tables {
        if !loads.get(table).is_some_and(|l| l.finished) {
            let loading = load_table(unit, writer, &mut snapshot, table, loads.get(table));
            let load = unit.guarded(loading).await?;
            loads.insert(table.clone(), load);
        }
        unit.board.update(|f| f.tables.1 += 1);
    }
    finish(unit, writer, loads, &place).await
}

/// Records of an interrupted load. Those of a load before the metadata was removed do not count.
async fn records(
    unit: &Context,
    writer: &mut Writer,
    state: State,
) -> Result<BTreeMap<TableName, TableLoad>> {
    let saved: BTreeMap<String, TableLoad> =
        unit.records.all(writer.connection(), Kind::Load).await?;
    let mut loads = BTreeMap::new();
    let mut stale = Vec::new();
    for (name, load) in saved {
        match (state, TableName::try_from(name.clone())) {
            (State::Begun, Ok(table)) => {
                loads.insert(table, load);
            }
            _ => stale.push(unit.records.remove(Kind::Load, &name)),
        }
    }
    writer.commit(stale).await?;
    Ok(loads)
}

/// Table by table: asking for all at once makes the server open every table it has.
async fn estimated_bytes(snapshot: &mut Snapshot, tables: &[TableName]) -> Result<u64> {
    let mut sum = 0;
    for table in tables {
        let bytes: Option<Option<u64>> = snapshot
            .conn
            .exec_first(
                "SELECT DATA_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
                (table.schema.as_str(), table.table.as_str()),
            )
            .await
            .map_err(upstream("estimate the size"))?;
        sum += bytes.flatten().unwrap_or_default();
    }
    Ok(sum)
}

async fn load_table(
    unit: &Context,
    writer: &mut Writer,
    snapshot: &mut Snapshot,
    table: &TableName,
    before: Option<&TableLoad>,
) -> Result<TableLoad> {
    // Reading from the table first keeps others from changing its structure until the snapshot is closed.
    snapshot
        .conn
        .query_drop(format!("SELECT 1 FROM {table} LIMIT 1"))
        .await
        .map_err(upstream(format!("read {table}")))?;
    let described = upstream::describe(&mut snapshot.conn, table)
        .await?
        .ok_or_else(|| DmError::uncoded(format!("table {table} is gone")))?;
    let target = unit.rules.target(table);
    create(unit, writer, snapshot, table, &target, &described).await?;
    let keyed = keys::has_key(&described.structure);
    let info = info_of(unit, &mut snapshot.conn, table, &described).await?;
    let mut load = match before.filter(|_| keyed) {
        Some(before) if before.structure != described.structure => {
            return Err(Error::Coded(
                DmError::new(Code::LOAD_LIGHTNING_RUNTIME, &[])
                    .cause(format!(
                        "the structure of {table} changed while its load was interrupted"
                    ))
                    .workaround("Stop the task and start it with --remove-meta."),
            ));
        }
        Some(before) => TableLoad {
            safe_until: snapshot.at.position.clone(),
            ..before.clone()
        },
        None => TableLoad {
            from: snapshot.at.clone(),
            safe_until: snapshot.at.position.clone(),
            finished: false,
            structure: described.structure.clone(),
            info: info.map(|info| info.to_json()),
        },
    };
    if keyed {
        let record = unit.records.put(Kind::Load, &table.to_string(), &load);
        writer.commit(vec![record]).await?;
    } else {
        unit.board.update(|f| {
            let name = table.to_string();
            if !f.keyless.contains(&name) {
                f.keyless.push(name);
            }
        });
        tracing::warn!(%table, "no key: loaded in one transaction");
    }
    copy_rows(
        unit,
        writer,
        snapshot,
        table,
        &target,
        &load.structure,
        keyed,
    )
    .await?;
    load.finished = true;
    let record = unit.records.put(Kind::Load, &table.to_string(), &load);
    writer.commit(vec![record]).await?;
    tracing::info!(%table, %target, "table loaded");
    Ok(load)
}

async fn create(
    unit: &Context,
    writer: &mut Writer,
    snapshot: &mut Snapshot,
    table: &TableName,
    target: &TableName,
    described: &Described,
) -> Result<()> {
    let schema = upstream::create_schema(&mut snapshot.conn, &table.schema, &target.schema).await?;
    let rename = |name: &TableRef| TableRef::from(&unit.rules.target(&TableName::from(name)));
    for sql in [schema, described.create.render(rename)] {
        unit.permit.check()?;
        writer
            .connection()
            .query_drop(&sql)
            .await
            .map_err(downstream(sql))?;
    }
    Ok(())
}

async fn copy_rows(
    unit: &Context,
    writer: &mut Writer,
    snapshot: &mut Snapshot,
    table: &TableName,
    target: &TableName,
    structure: &Table,
    keyed: bool,
) -> Result<()> {
    let what = || upstream(format!("read {table}"));
    snapshot
        .conn
        .query_drop("SET SESSION character_set_results = NULL")
        .await
        .map_err(what())?;
    let written = keys::written(structure);
    let mut rows = snapshot
        .conn
        .query_iter(select(table, structure, &written))
        .await
        .map_err(what())?;
    let mut stream = match rows.stream::<Row>().await.map_err(what())? {
        Some(stream) => stream,
        None => return Err(DmError::uncoded(format!("{table} gave no rows")).into()),
    };
    let shape = Shape {
        name: target,
        target: &Target::default(),
        source: structure,
        safe: false,
    };
    let mut waiting = 0;
    while let Some(row) = stream.next().await {
        let row = values(row.map_err(what())?, structure, &written);
        let statement = insert(&row, &shape, keyed);
        let bytes = statement.tuple.as_ref().map_or(0, String::len);
        writer.add([statement]).await?;
        waiting += 1;
        unit.board.update(|f| {
            f.loaded_rows += 1;
            f.bytes.1 += u64::try_from(bytes).unwrap_or_default();
        });
        if keyed && waiting >= BATCH {
            writer.commit(Vec::new()).await?;
            waiting = 0;
        }
    }
    drop(stream);
    drop(rows);
    snapshot
        .conn
        .query_drop("SET NAMES utf8mb4")
        .await
        .map_err(what())
}

/// All written columns; a FLOAT would be cut to six digits, a BIT come as raw bytes.
fn select(table: &TableName, structure: &Table, written: &[usize]) -> String {
    let columns: Vec<String> = written
        .iter()
        .map(|at| {
            let column = &structure.columns[*at];
            let name = quoted(&column.name);
            match column.kind.as_str() {
                "FLOAT" => format!("{name} + 0e0"),
                "BIT" => format!("{name} + 0"),
                _ => name,
            }
        })
        .collect();
    format!("SELECT {} FROM {table}", columns.join(", "))
}

const NUMBERS: [&str; 10] = [
    "TINYINT",
    "SMALLINT",
    "MEDIUMINT",
    "INT",
    "BIGINT",
    "DECIMAL",
    "FLOAT",
    "DOUBLE",
    "YEAR",
    "BIT",
];
const PLAIN_TEXTS: [&str; 8] = [
    "DATE",
    "TIME",
    "DATETIME",
    "TIMESTAMP",
    "JSON",
    "UUID",
    "INET4",
    "INET6",
];

/// The row as the log would have brought it.
fn values(row: Row, structure: &Table, written: &[usize]) -> Vec<Value> {
    let mut values = vec![Value::Null; structure.columns.len()];
    for (value, at) in row.unwrap().into_iter().zip(written) {
        let kind = structure.columns[*at].kind.as_str();
        values[*at] = match value {
            SqlValue::NULL => Value::Null,
            SqlValue::Bytes(bytes) if NUMBERS.contains(&kind) => {
                Value::Number(String::from_utf8_lossy(&bytes).into_owned())
            }
            SqlValue::Bytes(bytes) if PLAIN_TEXTS.contains(&kind) => {
                Value::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            SqlValue::Bytes(bytes) => Value::Bytes(bytes),
            // The text protocol has bytes only.
            other => Value::Text(other.as_sql(true)),
        };
    }
    values
}

/// Writes down where replication begins, with the structures it begins with, and that the load is done: all or nothing.
async fn finish(
    unit: &Context,
    writer: &mut Writer,
    loads: BTreeMap<TableName, TableLoad>,
    place: &Location,
) -> Result<()> {
    let main = loads
        .values()
        .map(|l| &l.from)
        .min_by(|a, b| a.position.cmp(&b.position))
        .unwrap_or(place)
        .clone();
    let mut progress = Progress {
        main,
        ..Progress::default()
    };
    let mut all = Vec::new();
    for (table, load) in loads {
        let name = table.to_string();
        all.push(unit.records.put(Kind::Table, &name, &load.structure));
        all.push(unit.records.remove(Kind::Load, &name));
        if let Some(info) = &load.info {
            all.push(match unit.is_optimistic() {
                true => unit.records.put_point(&table, &load.from, info),
                false => unit.records.put(Kind::Info, &name, info),
            });
        }
        if unit.is_pessimistic() {
            let target = unit.rules.target(&table);
            progress.groups.entry(target).or_default().join(&table)?;
        }
        let loaded = Loaded {
            from: load.from.position,
            safe_until: load.safe_until,
        };
        progress.loaded.insert(table, loaded);
    }
    progress.prune();
    all.push(unit.records.put(Kind::Progress, "", &progress));
    if unit.config.syncs() {
        all.push(unit.records.put_global(&progress.main));
    }
    all.push(unit.records.put_load_status("finished"));
    writer.commit(all).await
}
