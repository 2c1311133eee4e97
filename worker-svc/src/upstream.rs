//! What is asked of the source: structures, snapshots, positions.

use std::collections::BTreeMap;

use dm_schema::create_table::{Defaults, read_create_table};
use dm_schema::table_info::TableInfo;
use dm_schema::{Action, Options, Statement, Table};
use dm_task::DbConfig;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::binlog::gtid::MariaGtids;
use crate::binlog::position::{Location, Position};
use crate::downstream::connection;
use crate::error::{Error, Result, upstream};
use crate::names::{TableName, quoted};

/// A connection that sees all tables as they were at one place of the log.
#[derive(Debug)]
pub struct Snapshot {
    /// The connection; its transaction must stay open.
    pub conn: Conn,
    /// The place.
    pub at: Location,
}

/// Opens a snapshot. MariaDB tells the place of a snapshot by itself; elsewhere a lock is held for the moment between the two.
pub async fn snapshot(config: &DbConfig) -> Result<Snapshot> {
    let what = || upstream("open a snapshot");
    let mut conn = connection::reader(config).await.map_err(what())?;
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .await
        .map_err(what())?;
    let begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    if is_mariadb(&mut conn).await? {
        conn.query_drop(begin).await.map_err(what())?;
        if let Some(position) = snapshot_position(&mut conn).await? {
            let gtid = gtid_at(&mut conn, &position).await?;
            return Ok(Snapshot {
                conn,
                at: Location { position, gtid },
            });
        }
    }
    conn.query_drop("FLUSH TABLES WITH READ LOCK")
        .await
        .map_err(what())?;
    conn.query_drop(begin).await.map_err(what())?;
    let at = master_location(&mut conn).await?;
    conn.query_drop("UNLOCK TABLES").await.map_err(what())?;
    Ok(Snapshot { conn, at })
}

async fn is_mariadb(conn: &mut Conn) -> Result<bool> {
    let version: Option<String> = conn
        .query_first("SELECT @@version")
        .await
        .map_err(upstream("read the version"))?;
    Ok(version.is_some_and(|v| v.contains("MariaDB")))
}

async fn snapshot_position(conn: &mut Conn) -> Result<Option<Position>> {
    let rows: Vec<(String, String)> = conn
        .query("SHOW STATUS LIKE 'binlog_snapshot%'")
        .await
        .map_err(upstream("read the snapshot's position"))?;
    let value = |name: &str| {
        let found = rows.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    let file = value("Binlog_snapshot_file").filter(|f| !f.is_empty() && f != "none");
    let pos = value("Binlog_snapshot_position").and_then(|p| p.parse().ok());
    Ok(file.zip(pos).map(|(file, pos)| Position::new(file, pos)))
}

async fn gtid_at(conn: &mut Conn, position: &Position) -> Result<String> {
    let set: Option<Option<String>> = conn
        .exec_first(
            "SELECT BINLOG_GTID_POS(?, ?)",
            (position.file.as_str(), position.pos),
        )
        .await
        .map_err(upstream("read the snapshot's GTID set"))?;
    Ok(in_order(&set.flatten().unwrap_or_default()))
}

/// The server does not always print domains in order.
fn in_order(set: &str) -> String {
    match set.parse::<MariaGtids>() {
        Ok(parsed) => parsed.to_string(),
        Err(_) => set.to_owned(),
    }
}

/// The end of the log.
pub async fn master_location(conn: &mut Conn) -> Result<Location> {
    let what = || upstream("SHOW MASTER STATUS");
    let row: Option<Row> = match conn.query_first("SHOW MASTER STATUS").await {
        Ok(row) => row,
        // MySQL 8.4 knows only the new name.
        Err(mysql_async::Error::Server(error)) if error.code == 1064 => conn
            .query_first("SHOW BINARY LOG STATUS")
            .await
            .map_err(what())?,
        Err(error) => return Err(what()(error)),
    };
    let none = || {
        Error::Coded(dm_errors::DmError::new(
            dm_errors::Code::NO_MASTER_STATUS,
            &[],
        ))
    };
    let row = row.ok_or_else(none)?;
    let text = |at: usize| row.get::<Option<String>, _>(at).flatten();
    let file = text(0).ok_or_else(none)?;
    let pos = row.get::<u64, _>(1).unwrap_or_default();
    let gtid = if row.len() > 4 {
        text(4).unwrap_or_default().replace('\n', "")
    } else {
        let set: Option<String> = conn
            .query_first("SELECT @@global.gtid_binlog_pos")
            .await
            .map_err(what())?;
        in_order(&set.unwrap_or_default())
    };
    Ok(Location {
        position: Position::new(file, pos),
        gtid,
    })
}

/// All base tables outside of the server's own schemas.
pub async fn tables(conn: &mut Conn) -> Result<Vec<TableName>> {
    let rows: Vec<(String, String)> = conn
        .query(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' \
             AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1, 2",
        )
        .await
        .map_err(upstream("list the tables"))?;
    Ok(rows
        .into_iter()
        .map(|(schema, table)| TableName::new(schema, table))
        .collect())
}

/// Whether a name is that of a MariaDB sequence, whose steps are logged as rows.
pub async fn is_sequence(conn: &mut Conn, table: &TableName) -> Result<bool> {
    let kind: Option<String> = conn
        .exec_first(
            "SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
            (table.schema.as_str(), table.table.as_str()),
        )
        .await
        .map_err(upstream(format!("look up {table}")))?;
    Ok(kind.as_deref() == Some("SEQUENCE"))
}

/// How the server would create an object again, by its own words. The kind is TABLE or DATABASE.
pub async fn show_create(
    conn: &mut Conn,
    kind: &str,
    name: &str,
) -> std::result::Result<Option<String>, mysql_async::Error> {
    match conn
        .query_first::<Row, _>(format!("SHOW CREATE {kind} {name}"))
        .await
    {
        Ok(row) => Ok(row.and_then(|r| r.get(1))),
        // No such table, no such database.
        Err(mysql_async::Error::Server(error)) if matches!(error.code, 1146 | 1049) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A table with the statement that creates it.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its structure.
    pub structure: Table,
    /// The statement, to be printed under another name.
    pub create: dm_schema::Ddl,
    /// The statement as the server told it.
    pub text: String,
}

impl Described {
    /// The structure as DM keeps it.
    pub fn table_info(&self, table: &TableName, defaults: &Defaults) -> Result<TableInfo> {
        table_info(table, &self.text, defaults)
    }
}

/// The structure that a CREATE TABLE gives a table, as DM keeps it.
pub fn table_info(table: &TableName, text: &str, defaults: &Defaults) -> Result<TableInfo> {
    read_create_table(text, &Options::default(), defaults).map_err(|error| {
        let text = format!("{table}: {error}");
        Error::Coded(dm_errors::DmError::new(
            dm_errors::Code::SYNCER_PARSE_DDL,
            &[&text],
        ))
    })
}

/// What tables of a schema have when their definitions leave it open.
pub async fn schema_defaults(conn: &mut Conn, schema: &str) -> Result<Defaults> {
    let what = || upstream(format!("read the defaults of schema {schema}"));
    let own: Option<(String, String)> = conn
        .exec_first(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?",
            (schema,),
        )
        .await
        .map_err(what())?;
    let collations: Vec<(String, String)> = conn
        .query(
            "SELECT CHARACTER_SET_NAME, DEFAULT_COLLATE_NAME FROM information_schema.CHARACTER_SETS",
        )
        .await
        .map_err(what())?;
    let collations: BTreeMap<String, String> = collations.into_iter().collect();
    let (charset, collate) = own.unwrap_or_else(|| {
        let Defaults {
            charset, collate, ..
        } = Defaults::default();
        (charset, collate)
    });
    Ok(Defaults {
        charset,
        collate,
        collations,
        is_mariadb: is_mariadb(conn).await?,
    })
}

/// Describes a table of either side; `None` when there is none.
pub fn described(table: &TableName, text: &str) -> Result<Described> {
    let unreadable = |error: String| {
        Error::Coded(dm_errors::DmError::new(
            dm_errors::Code::SYNCER_PARSE_DDL,
            &[&format!("{table}: {error}")],
        ))
    };
    match dm_schema::read(text, &Options::default()) {
        Ok(Statement::Ddl(mut ddls)) if ddls.len() == 1 => {
            let mut create = ddls.remove(0);
            create.set_default_schema(&table.schema);
            match create.action.clone() {
                Action::CreateTable { structure, .. } => Ok(Described {
                    structure,
                    create,
                    text: text.to_owned(),
                }),
                _ => Err(unreadable("not a CREATE TABLE".to_owned())),
            }
        }
        Ok(_) => Err(unreadable("not a CREATE TABLE".to_owned())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// Describes a table of the source.
pub async fn describe(conn: &mut Conn, table: &TableName) -> Result<Option<Described>> {
    let text = show_create(conn, "TABLE", &table.to_string())
        .await
        .map_err(upstream(format!("SHOW CREATE TABLE {table}")))?;
    text.map(|text| described(table, &text)).transpose()
}

/// The statement that creates a schema under its downstream name.
pub async fn create_schema(conn: &mut Conn, schema: &str, target: &str) -> Result<String> {
    let plain = format!("CREATE DATABASE IF NOT EXISTS {}", quoted(target));
    let text = show_create(conn, "DATABASE", &quoted(schema))
        .await
        .map_err(upstream(format!("SHOW CREATE DATABASE {schema}")))?;
    let read = text.and_then(|t| dm_schema::read(&t, &Options::default()).ok());
    Ok(match read {
        Some(Statement::Ddl(ddls)) if ddls.len() == 1 => {
            ddls[0].render(|_| dm_schema::TableRef::new(target, ""))
        }
        _ => plain,
    })
}
