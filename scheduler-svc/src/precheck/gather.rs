//! Asks the databases for the facts that the checks of a task need.

use std::collections::{BTreeMap, BTreeSet};

use dm_errors::{DmError, Scope as Side};
use dm_task::{DbConfig, SubtaskConfig};
use futures::StreamExt;

use super::ask::{Asker, Limits, cell, named};
use super::facts::{BinlogFilter, Definitions, Downstream, Server, Upstream, Variables};
use super::grants::roles;
use super::items::Items;
use super::plan::{Candidate, imports_files, merges};
use super::position::try_position;
use super::report::{Answer, Trouble};
use super::scope::{Listing, Scope, TableName, is_system};
use super::servers::VARIABLES;
use super::{cluster, dump_args};

/// All sources, in the order of the candidates, and the target. Every database is asked on its own: one that is slow
/// or dead costs its own answers.
///
/// # Errors
/// When a database cannot be reached, or its tables cannot be listed or routed; of several errors the first by the
/// order of the file.
pub(super) async fn gather(
    items: &Items,
    candidates: &[Candidate],
    limits: Limits,
) -> Result<(Vec<Upstream>, Downstream), DmError> {
    for candidate in candidates.iter().filter(|c| c.subtask.dumps()) {
        if items.has("dump_privilege") {
            let read = dump_args::consistency(&candidate.subtask.mydumper.extra_args);
            read.map_err(DmError::uncoded)?;
        }
    }
    let Some(first) = candidates.first().map(|candidate| &candidate.subtask) else {
        return Err(DmError::uncoded("the task has no sources"));
    };
    let address = address_of(&first.to);
    let who = format!("target ({address})");
    let reaching = Asker::open(&first.to, Side::Downstream, who, limits);
    let asking: Vec<_> = candidates
        .iter()
        .map(|candidate| upstream(items, candidate, limits))
        .collect();
    let asking = futures::stream::iter(asking)
        .buffered(limits.concurrency.max(1))
        .collect::<Vec<_>>();
    let (sources, target) = tokio::join!(asking, reaching);
    let sources = sources.into_iter().collect::<Result<Vec<_>, _>>()?;
    let target = downstream(items, first, &sources, target?, address, limits).await;
    Ok((sources, target))
}

fn address_of(config: &DbConfig) -> String {
    format!("{}:{}", config.host, config.port)
}

async fn upstream(
    items: &Items,
    candidate: &Candidate,
    limits: Limits,
) -> Result<Upstream, DmError> {
    let subtask = &candidate.subtask;
    let address = address_of(&subtask.from);
    let who = format!("source {} ({address})", subtask.source_id);
    let mut asker = Asker::open(&subtask.from, Side::Upstream, who.clone(), limits).await?;
    let listing = listing(&mut asker, subtask)
        .await
        .map_err(|trouble| crate::database::driver_error(Side::Upstream, &trouble.text))?;
    let scope = Scope::of(subtask, &listing)
        .map_err(|error| error.annotate(format!("source {}", subtask.source_id)))?;
    let wants_grants = items.has_any(&["conn_number", "dump_privilege", "replication_privilege"]);
    let server = server(&mut asker, address, wants_grants, items.has("conn_number")).await;
    let binlog_filter = match items.has("binlog_db") && subtask.syncs() {
        true => binlog_filter(&mut asker).await,
        false => Err(unasked()),
    };
    let tables: BTreeSet<TableName> = scope.tables().cloned().collect();
    let wants_definitions = items.has("table_schema") || merges(items, subtask);
    let definitions = match wants_definitions {
        true => definitions(&mut asker, tables.iter()).await,
        false => BTreeMap::new(),
    };
    let data_size = match items.has("free_space") && imports_files(subtask) {
        true => data_size(&mut asker, &tables).await,
        false => Err(unasked()),
    };
    asker.close().await;
    let position = match items.has("meta_position") && candidate.has_position() {
        true => Some(try_position(candidate, &who, limits.query).await),
        false => None,
    };
    Ok(Upstream {
        server,
        listing,
        scope,
        binlog_filter,
        definitions,
        position,
        data_size,
    })
}

async fn downstream(
    items: &Items,
    subtask: &SubtaskConfig,
    sources: &[Upstream],
    mut asker: Asker,
    address: String,
    limits: Limits,
) -> Downstream {
    let wants_grants = items.has_any(&["conn_number", "target_privilege"]);
    let server = server(&mut asker, address, wants_grants, items.has("conn_number")).await;
    let targets: BTreeSet<&TableName> = sources
        .iter()
        .flat_map(|s| s.scope.targets.keys())
        .collect();
    let definitions = match items.has("table_schema") {
        true => definitions(&mut asker, targets.iter().copied()).await,
        false => BTreeMap::new(),
    };
    let is_fresh = match merges(items, subtask) {
        true => is_fresh(&mut asker, subtask).await,
        false => Err(unasked()),
    };
    let cluster = match imports_files(subtask) {
        true => Some(cluster::ask(items, &mut asker, subtask, &targets, limits.query).await),
        false => None,
    };
    asker.close().await;
    Downstream {
        server,
        definitions,
        is_fresh,
        cluster,
    }
}

fn unasked() -> Trouble {
    Trouble::new("the database was not asked")
}

/// Tables of the schemas that the task selects from; views and sequences are none.
async fn listing(asker: &mut Asker, subtask: &SubtaskConfig) -> Answer<Listing> {
    let filter = subtask
        .table_filter()
        .map_err(|error| Trouble::new(error.to_string()))?;
    let schemas = asker.rows("SHOW DATABASES").await?;
    let schemas = schemas.iter().map(|row| cell(row, 0));
    let schemas: Vec<String> = schemas
        .filter(|schema| !is_system(schema) && filter.allows(schema, ""))
        .collect();
    let mut listing = Listing::new();
    for schema in schemas {
        let sql = format!(
            "SHOW FULL TABLES IN {} WHERE Table_Type NOT IN ('VIEW', 'SYSTEM VIEW', 'SEQUENCE')",
            crate::database::quoted(&schema)
        );
        if let Some(rows) = asker.rows_if_there(&sql).await? {
            listing.insert(schema, rows.iter().map(|row| cell(row, 0)).collect());
        }
    }
    Ok(listing)
}

async fn server(
    asker: &mut Asker,
    address: String,
    wants_grants: bool,
    wants_connections: bool,
) -> Server {
    let mut server = Server::new(address);
    server.variables = variables(asker).await;
    if wants_grants {
        server.grants = grants(asker).await;
    }
    if wants_connections {
        let rows = asker.rows("SHOW PROCESSLIST").await;
        server.connections = rows.map(|rows| u64::try_from(rows.len()).unwrap_or(u64::MAX));
    }
    server
}

async fn variables(asker: &mut Asker) -> Answer<Variables> {
    let names = VARIABLES.map(|name| format!("'{name}'")).join(", ");
    let sql = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})");
    let rows = asker.rows(&sql).await?;
    let pair = |row: &mysql_async::Row| (cell(row, 0).to_lowercase(), cell(row, 1));
    Ok(rows.iter().map(pair).collect())
}

/// With the privileges that come by roles, from servers that tell them.
async fn grants(asker: &mut Asker) -> Answer<Vec<String>> {
    let texts = |rows: Vec<mysql_async::Row>| rows.iter().map(|row| cell(row, 0)).collect();
    let own: Vec<String> = texts(asker.rows("SHOW GRANTS FOR CURRENT_USER").await?);
    let roles = roles(&own);
    if roles.is_empty() {
        return Ok(own);
    }
    let sql = format!("SHOW GRANTS FOR CURRENT_USER USING {}", roles.join(", "));
    if let Ok(rows) = asker.rows(&sql).await {
        return Ok(texts(rows));
    }
    // MariaDB: the roles that are in use, if any.
    match asker.rows("SHOW GRANTS").await {
        Ok(rows) => Ok(texts(rows)),
        Err(_) => Ok(own),
    }
}

async fn binlog_filter(asker: &mut Asker) -> Answer<BinlogFilter> {
    let rows = match asker.rows("SHOW MASTER STATUS").await {
        Ok(rows) => rows,
        // Newer servers have it under another name only.
        Err(_) => asker.rows("SHOW BINARY LOG STATUS").await?,
    };
    let Some(row) = rows.first() else {
        return Ok(BinlogFilter::default());
    };
    let list = |name| -> Vec<String> {
        let names = named(row, name);
        let names = names.split(',').map(str::trim);
        names.filter(|n| !n.is_empty()).map(str::to_owned).collect()
    };
    Ok(BinlogFilter {
        do_dbs: list("Binlog_Do_DB"),
        ignore_dbs: list("Binlog_Ignore_DB"),
    })
}

async fn definitions<'a>(
    asker: &mut Asker,
    tables: impl Iterator<Item = &'a TableName>,
) -> Definitions {
    let mut definitions = Definitions::new();
    for table in tables {
        let rows = asker
            .rows_if_there(&format!("SHOW CREATE TABLE {table}"))
            .await;
        let text = rows.map(|rows| rows.and_then(|rows| rows.first().map(|row| cell(row, 1))));
        definitions.insert(table.clone(), text);
    }
    definitions
}

const CHECKPOINTS: [&str; 3] = [
    "loader_checkpoint",
    "lightning_checkpoint_list",
    "syncer_checkpoint",
];

async fn is_fresh(asker: &mut Asker, subtask: &SubtaskConfig) -> Answer<bool> {
    for suffix in CHECKPOINTS {
        let table = TableName::new(&subtask.meta_schema, format!("{}_{suffix}", subtask.name));
        let sql = format!("SHOW CREATE TABLE {table}");
        if asker.rows_if_there(&sql).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn data_size(asker: &mut Asker, tables: &BTreeSet<TableName>) -> Answer<u64> {
    let rows = asker
        .rows("SELECT TABLE_SCHEMA, TABLE_NAME, DATA_LENGTH + INDEX_LENGTH FROM INFORMATION_SCHEMA.TABLES")
        .await?;
    let size = |row: &mysql_async::Row| {
        let table = TableName::new(cell(row, 0), cell(row, 1));
        let size = cell(row, 2).parse::<u64>().unwrap_or(0);
        tables.contains(&table).then_some(size)
    };
    Ok(rows.iter().filter_map(size).sum())
}
