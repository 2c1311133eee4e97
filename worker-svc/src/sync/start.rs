//! Where replication begins: what is written down, what the configuration says, or where the source stands now.

use std::collections::BTreeMap;

use dm_schema::Table;
use dm_schema::table_info::TableInfo;
use mysql_async::Conn;

use super::follow::info_of;
use super::progress::{Loaded, Progress};
use super::tables::Structures;
use crate::binlog::position::{Location, Position};
use crate::downstream::connection;
use crate::downstream::meta::{Kind, Records};
use crate::downstream::writer::Writer;
use crate::error::{Result, upstream};
use crate::names::TableName;
use crate::unit::Context;
use crate::upstream;

/// Reads or makes the state to go on from. A made one is written down before anything is applied.
pub async fn state(unit: &Context, writer: &mut Writer) -> Result<(Progress, Structures)> {
    let global = unit.records.global(writer.connection()).await?;
    let saved: BTreeMap<String, Progress> = unit
        .records
        .all(writer.connection(), Kind::Progress)
        .await?;
    match (global, saved.into_values().next()) {
        // A later position than ours was written by somebody who does not know our record.
        (Some(global), Some(progress)) if global.position <= progress.main.position => {
            Ok((progress, structures(unit, writer).await?))
        }
        (Some(global), _) => taken_over(unit, writer, global).await,
        (None, _) => fresh(unit, writer).await,
    }
}

async fn structures(unit: &Context, writer: &mut Writer) -> Result<Structures> {
    let optimistic = unit.is_optimistic();
    let mut structures = recorded(&unit.records, optimistic, writer.connection()).await?;
    complete(unit, &mut structures).await?;
    Ok(structures)
}

/// The structures as they are written down.
pub async fn recorded(records: &Records, optimistic: bool, conn: &mut Conn) -> Result<Structures> {
    let saved: BTreeMap<String, Table> = records.all(conn, Kind::Table).await?;
    let named = saved
        .into_iter()
        .filter_map(|(name, table)| Some((TableName::try_from(name).ok()?, table)))
        .collect();
    let structures = Structures::saved(named);
    let written = match optimistic {
        true => records.points(conn).await?,
        false => {
            let infos: BTreeMap<String, String> = records.all(conn, Kind::Info).await?;
            let named = infos
                .into_iter()
                .filter_map(|(name, info)| Some((TableName::try_from(name).ok()?, info)));
            named.collect()
        }
    };
    let mut infos = BTreeMap::new();
    for (table, json) in written {
        // One that somebody else has written, and we cannot read, is as good as none.
        if let Ok(info) = TableInfo::from_json(&json)
            && structures.get(&table).is_some()
            && json != "null"
        {
            infos.insert(table, info);
        }
    }
    Ok(structures.with_infos(infos))
}

/// Tables that were tracked in another mode have no info: the source is asked for it, and believed if the table has not changed since.
async fn complete(unit: &Context, structures: &mut Structures) -> Result<()> {
    let names = structures.names().cloned();
    let missing: Vec<TableName> = names.filter(|t| structures.info(t).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut conn = connect(unit).await?;
    for table in missing {
        let Some(described) = upstream::describe(&mut conn, &table).await? else {
            continue;
        };
        let unchanged = structures
            .get(&table)
            .is_some_and(|t| **t == described.structure);
        if unchanged && let Some(info) = info_of(unit, &mut conn, &table, &described).await? {
            structures.set_info(table, info);
        }
    }
    Ok(())
}

/// A task that only replicates begins at its configured place, or at the end of the log.
async fn fresh(unit: &Context, writer: &mut Writer) -> Result<(Progress, Structures)> {
    let mut conn = connect(unit).await?;
    let configured = unit
        .config
        .meta
        .as_ref()
        .filter(|m| !m.binlog_name.is_empty());
    let main = match configured {
        Some(meta) => Location {
            position: Position::new(meta.binlog_name.as_str(), u64::from(meta.binlog_pos.max(4))),
            gtid: meta.binlog_gtid.clone(),
        },
        None => upstream::master_location(&mut conn).await?,
    };
    let progress = Progress {
        main,
        ..Progress::default()
    };
    begin(unit, writer, &mut conn, progress).await
}

/// Another kind of worker was here: its position may be older than its rows, so changes are repeatable up to where the log ends now.
async fn taken_over(
    unit: &Context,
    writer: &mut Writer,
    global: Location,
) -> Result<(Progress, Structures)> {
    tracing::info!(at = %global, "continuing from the checkpoint of another worker");
    let mut conn = connect(unit).await?;
    let safe_until = upstream::master_location(&mut conn).await?.position;
    let mut progress = Progress {
        main: global.clone(),
        ..Progress::default()
    };
    for table in taking_part(unit, &mut conn).await? {
        let loaded = Loaded {
            from: global.position.clone(),
            safe_until: safe_until.clone(),
        };
        progress.loaded.insert(table, loaded);
    }
    begin(unit, writer, &mut conn, progress).await
}

async fn connect(unit: &Context) -> Result<Conn> {
    connection::reader(&unit.from)
        .await
        .map_err(upstream("connect"))
}

async fn taking_part(unit: &Context, conn: &mut Conn) -> Result<Vec<TableName>> {
    let tables = upstream::tables(conn).await?;
    Ok(tables
        .into_iter()
        .filter(|t| unit.rules.allows(&t.schema, &t.table))
        .collect())
}

/// With the structures that the tables have now, since nobody has tracked them.
async fn begin(
    unit: &Context,
    writer: &mut Writer,
    conn: &mut Conn,
    mut progress: Progress,
) -> Result<(Progress, Structures)> {
    let mut structures = Structures::default();
    for table in taking_part(unit, conn).await? {
        let Some(described) = upstream::describe(conn, &table).await? else {
            continue;
        };
        if let Some(info) = info_of(unit, conn, &table, &described).await? {
            structures.set_info(table.clone(), info);
        }
        structures.set(table.clone(), described.structure);
        if unit.is_pessimistic() {
            let target = unit.rules.target(&table);
            progress.groups.entry(target).or_default().join(&table)?;
        }
    }
    let mut all = structures.unsaved(&unit.records);
    let points = unit.is_optimistic().then_some(&progress.main);
    all.extend(structures.unsaved_infos(&unit.records, points));
    all.push(unit.records.put(Kind::Progress, "", &progress));
    all.push(unit.records.put_global(&progress.pinned()));
    writer.commit(all).await?;
    structures.written();
    Ok((progress, structures))
}
