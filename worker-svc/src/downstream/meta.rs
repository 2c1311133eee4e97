//! The records of a subtask in the downstream, written in one transaction with the rows they speak of.
//!
//! They live in the tables that DM has for the purpose, so that whoever removes a task's metadata removes these, too:
//! `<task>_syncer_checkpoint` has the position that any DM worker can continue from, `<task>_syncer_sharding_meta` has our exact state, one row
//! for each record: kind in `target_table_id`, name in `source_table_id`, JSON in `data`. `<task>_lightning_checkpoint_list` says whether the full load is done.
//!
//! The row of kind `#epoch` is the fence: every transaction locks it and compares. Who has taken over has written a higher one, so whoever
//! lost the source, and does not know it yet, cannot write any more.

use std::collections::BTreeMap;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connection::text;
use super::holder;
use crate::binlog::position::{Location, Position};
use crate::error::{Error, Result, downstream};
use crate::names::{TableName, quoted};

/// Kinds of records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// State of the replication.
    Progress,
    /// Structure of one source table.
    Table,
    /// The same with all that a definition says, as DM keeps it; in optimistic shard mode it lies with the table's place in the checkpoint instead.
    Info,
    /// State of the full load of one source table.
    Load,
}

impl Kind {
    fn id(self) -> &'static str {
        match self {
            Kind::Progress => "#progress",
            Kind::Table => "#table",
            Kind::Info => "#info",
            Kind::Load => "#load",
        }
    }
}

/// The SQL of one subtask's records.
#[derive(Clone, Debug)]
pub struct Records {
    schema: String,
    task: String,
    source: String,
}

impl Records {
    /// Records of a task for a source, in the given schema.
    pub fn new(schema: &str, task: &str, source: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            task: task.to_owned(),
            source: source.to_owned(),
        }
    }

    fn table(&self, suffix: &str) -> String {
        TableName::new(self.schema.as_str(), format!("{}{suffix}", self.task)).to_string()
    }

    fn state(&self) -> String {
        self.table("_syncer_sharding_meta")
    }

    fn checkpoint(&self) -> String {
        self.table("_syncer_checkpoint")
    }

    fn load_list(&self) -> String {
        self.table("_lightning_checkpoint_list")
    }

    /// Creates what is missing.
    pub async fn create(&self, conn: &mut Conn) -> Result<()> {
        let times = "create_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, \
                     update_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP";
        let statements = [
            format!("CREATE DATABASE IF NOT EXISTS {}", quoted(&self.schema)),
            format!(
                "CREATE TABLE IF NOT EXISTS {} (id VARCHAR(32) NOT NULL, cp_schema VARCHAR(128) NOT NULL, cp_table VARCHAR(128) NOT NULL, \
                 binlog_name VARCHAR(128), binlog_pos INT UNSIGNED, binlog_gtid TEXT, exit_safe_binlog_name VARCHAR(128) DEFAULT '', \
                 exit_safe_binlog_pos INT UNSIGNED DEFAULT 0, exit_safe_binlog_gtid TEXT, table_info JSON NOT NULL, is_global BOOLEAN, {times}, \
                 UNIQUE KEY uk_id_schema_table (id, cp_schema, cp_table))",
                self.checkpoint()
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {} (source_id VARCHAR(32) NOT NULL, target_table_id VARCHAR(144) NOT NULL, source_table_id VARCHAR(144) NOT NULL, \
                 active_index INT, is_global BOOLEAN, data JSON NOT NULL, {times}, UNIQUE KEY uk_source_target (source_id, target_table_id, source_table_id))",
                self.state()
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {} (task_name VARCHAR(255) NOT NULL, source_name VARCHAR(255) NOT NULL, \
                 status VARCHAR(10) NOT NULL DEFAULT 'init', PRIMARY KEY (task_name, source_name))",
                self.load_list()
            ),
        ];
        for sql in statements {
            conn.query_drop(sql)
                .await
                .map_err(downstream("create the tables of the task's metadata"))?;
        }
        Ok(())
    }

    /// Makes this instance the only one that can write, unless a later bound has come first. The answer is what every transaction compares.
    pub async fn claim(&self, conn: &mut Conn, bound_revision: i64) -> Result<String> {
        let state = self.state();
        let source = text(&self.source);
        let what = || downstream("claim the subtask's checkpoint");
        // Without a lock, so that one who comes too late ends nobody's connection.
        let seen: Option<String> = conn.query_first(self.epoch()).await.map_err(what())?;
        next_epoch(seen.as_deref(), bound_revision).map_err(|mine| Error::Fenced { mine })?;
        holder::hold(conn, &format!("{state} {source}")).await?;
        conn.query_drop("BEGIN").await.map_err(what())?;
        let held: Option<String> = conn.query_first(self.fence()).await.map_err(what())?;
        let epoch = match next_epoch(held.as_deref(), bound_revision) {
            Ok(epoch) => epoch,
            Err(mine) => {
                conn.query_drop("ROLLBACK").await.map_err(what())?;
                return Err(Error::Fenced { mine });
            }
        };
        let write = match held {
            Some(held) => format!(
                "UPDATE {state} SET source_table_id = '{epoch}' WHERE source_id = {source} AND target_table_id = '#epoch' AND source_table_id = {}",
                text(&held)
            ),
            None => format!(
                "INSERT INTO {state} (source_id, target_table_id, source_table_id, active_index, is_global, data) VALUES ({source}, '#epoch', '{epoch}', 0, 0, 'null')"
            ),
        };
        conn.query_drop(write).await.map_err(what())?;
        conn.query_drop("COMMIT").await.map_err(what())?;
        Ok(epoch)
    }

    /// Locks the fence for the transaction and answers the epoch in it.
    pub fn fence(&self) -> String {
        format!("{} FOR UPDATE", self.epoch())
    }

    fn epoch(&self) -> String {
        format!(
            "SELECT source_table_id FROM {} WHERE source_id = {} AND target_table_id = '#epoch'",
            self.state(),
            text(&self.source)
        )
    }

    /// Writes one record.
    pub fn put(&self, kind: Kind, name: &str, value: &impl Serialize) -> String {
        // Our own types have no form that JSON cannot express.
        let data = serde_json::to_string(value).unwrap_or_default();
        format!(
            "INSERT INTO {} (source_id, target_table_id, source_table_id, active_index, is_global, data) VALUES ({}, '{}', {}, 0, {}, {}) \
             ON DUPLICATE KEY UPDATE data = VALUES(data)",
            self.state(),
            text(&self.source),
            kind.id(),
            text(name),
            u8::from(kind == Kind::Progress),
            text(&data)
        )
    }

    /// Removes one record.
    pub fn remove(&self, kind: Kind, name: &str) -> String {
        format!(
            "DELETE FROM {} WHERE source_id = {} AND target_table_id = '{}' AND source_table_id = {}",
            self.state(),
            text(&self.source),
            kind.id(),
            text(name)
        )
    }

    /// Writes the position from which any worker could continue.
    pub fn put_global(&self, location: &Location) -> String {
        format!(
            "INSERT INTO {} (id, cp_schema, cp_table, binlog_name, binlog_pos, binlog_gtid, table_info, is_global) VALUES ({}, '', '', {}, {}, {}, 'null', 1) \
             ON DUPLICATE KEY UPDATE binlog_name = VALUES(binlog_name), binlog_pos = VALUES(binlog_pos), binlog_gtid = VALUES(binlog_gtid)",
            self.checkpoint(),
            text(&self.source),
            text(&location.position.file),
            location.position.pos,
            text(&location.gtid)
        )
    }

    /// Writes the structure of one source table as DM keeps it, with a place up to which everything of the table is here.
    pub fn put_point(&self, table: &TableName, location: &Location, info_json: &str) -> String {
        format!(
            "INSERT INTO {} (id, cp_schema, cp_table, binlog_name, binlog_pos, binlog_gtid, table_info, is_global) VALUES ({}, {}, {}, {}, {}, {}, {}, 0) \
             ON DUPLICATE KEY UPDATE binlog_name = VALUES(binlog_name), binlog_pos = VALUES(binlog_pos), binlog_gtid = VALUES(binlog_gtid), table_info = VALUES(table_info)",
            self.checkpoint(),
            text(&self.source),
            text(&table.schema),
            text(&table.table),
            text(&location.position.file),
            location.position.pos,
            text(&location.gtid),
            text(info_json)
        )
    }

    /// Removes the row of a source table.
    pub fn remove_point(&self, table: &TableName) -> String {
        format!(
            "DELETE FROM {} WHERE id = {} AND cp_schema = {} AND cp_table = {} AND is_global = 0",
            self.checkpoint(),
            text(&self.source),
            text(&table.schema),
            text(&table.table)
        )
    }

    /// The structures of all source tables that have such a row, as JSON.
    pub async fn points(&self, conn: &mut Conn) -> Result<BTreeMap<TableName, String>> {
        let rows: Vec<(String, String, String)> = conn
            .query(format!(
                "SELECT cp_schema, cp_table, CAST(table_info AS CHAR) FROM {} WHERE id = {} AND is_global = 0",
                self.checkpoint(),
                text(&self.source)
            ))
            .await
            .map_err(downstream("read the checkpoints of the tables"))?;
        let named =
            |(schema, table, info): (String, String, String)| (TableName::new(schema, table), info);
        Ok(rows.into_iter().map(named).collect())
    }

    /// Notes how far the full load is: `init`, `running`, `finished`.
    pub fn put_load_status(&self, status: &str) -> String {
        format!(
            "REPLACE INTO {} (task_name, source_name, status) VALUES ({}, {}, {})",
            self.load_list(),
            text(&self.task),
            text(&self.source),
            text(status)
        )
    }

    /// How far the full load is, if it was ever begun.
    pub async fn load_status(&self, conn: &mut Conn) -> Result<Option<String>> {
        conn.query_first(format!(
            "SELECT status FROM {} WHERE task_name = {} AND source_name = {}",
            self.load_list(),
            text(&self.task),
            text(&self.source)
        ))
        .await
        .map_err(downstream("read the state of the full load"))
    }

    /// The position that replication has written, if it ever has. Without it, records of ours are from before the metadata was removed.
    pub async fn global(&self, conn: &mut Conn) -> Result<Option<Location>> {
        let found: Option<(Option<String>, Option<u64>, Option<String>)> = conn
            .query_first(format!(
                "SELECT binlog_name, binlog_pos, binlog_gtid FROM {} WHERE id = {} AND cp_schema = '' AND cp_table = ''",
                self.checkpoint(),
                text(&self.source)
            ))
            .await
            .map_err(downstream("read the checkpoint"))?;
        Ok(found.map(|(file, pos, gtid)| Location {
            position: Position::new(file.unwrap_or_default(), pos.unwrap_or_default()),
            gtid: gtid.unwrap_or_default(),
        }))
    }

    /// All records of a kind by name. One that does not decode is an error that names it.
    pub async fn all<T: DeserializeOwned>(
        &self,
        conn: &mut Conn,
        kind: Kind,
    ) -> Result<BTreeMap<String, T>> {
        let rows: Vec<(String, String)> = conn
            .query(format!(
                "SELECT source_table_id, CAST(data AS CHAR) FROM {} WHERE source_id = {} AND target_table_id = '{}'",
                self.state(),
                text(&self.source),
                kind.id()
            ))
            .await
            .map_err(downstream("read the records of the subtask"))?;
        rows.into_iter()
            .map(|(name, data)| match serde_json::from_str(&data) {
                Ok(value) => Ok((name, value)),
                Err(error) => Err(Error::Coded(
                    dm_errors::DmError::uncoded(format!(
                        "record {} {name} in {} is not readable: {error}",
                        kind.id(),
                        self.state()
                    ))
                    .workaround("Stop the task and start it with --remove-meta."),
                )),
            })
            .collect()
    }
}

/// Epochs grow with the revision of the bound, and with each start under one bound. The error is the epoch that comes too late.
fn next_epoch(held: Option<&str>, bound_revision: i64) -> std::result::Result<String, String> {
    let form = |starts: u64| format!("{bound_revision:019}-{starts:08}");
    let Some((revision, starts)) = held.and_then(|h| h.split_once('-')) else {
        return Ok(form(1));
    };
    match revision.parse::<i64>().unwrap_or(0) {
        newer if newer > bound_revision => Err(form(0)),
        same if same == bound_revision => Ok(form(starts.parse().unwrap_or(0) + 1)),
        _ => Ok(form(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_bound_and_a_later_start_have_the_higher_epoch() {
        let first = next_epoch(None, 7).unwrap();
        let again = next_epoch(Some(&first), 7).unwrap();
        let other = next_epoch(Some(&again), 100).unwrap();
        assert!(first < again && again < other);
        assert!(next_epoch(Some(&other), 7).is_err());
    }

    #[test]
    fn records_are_written_as_text_that_cannot_break_out() {
        let records = Records::new("dm_meta", "t'`", "s\\'");
        let sql = records.put(Kind::Load, "`a'`.`b`", &"x'y");
        assert!(sql.contains(r"'s\\'''"), "{sql}");
        assert!(sql.contains("`t'``_syncer_sharding_meta`"), "{sql}");
        assert!(sql.contains(r#"'"x''y"'"#), "{sql}");
    }
}
