//! The table in which workers keep how far they are, with the schema of each table: DM's own, in the task's target.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use dm_errors::DmError;
use dm_keyspace::TaskName;
use dm_task::secret::SecretKey;
use dm_task::{DbConfig, SubtaskConfig};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Value};

use super::{Error, Schemas};
use crate::machine::TableId;

/// Codes of databases and tables that do not exist.
const UNKNOWN: [u16; 2] = [1049, 1146];

/// Where the checkpoint of a task is.
pub(super) struct Downstream {
    target: DbConfig,
    /// The table, quoted.
    table: String,
}

impl fmt::Debug for Downstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downstream")
            .field("address", &self.address())
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl Downstream {
    /// Reads the record of a subtask.
    pub(super) fn of(
        record: &str,
        task: &TaskName,
        key: Option<&SecretKey>,
    ) -> Result<Self, DmError> {
        let config = SubtaskConfig::from_toml(record)?;
        let mut target = config.to;
        if let Some(key) = key {
            target.password = target.password.decrypted(key);
        }
        let table = format!(
            "{}.{}",
            quoted(&config.meta_schema),
            quoted(&format!("{task}_syncer_checkpoint"))
        );
        Ok(Self { target, table })
    }

    fn address(&self) -> String {
        format!("{}:{}", self.target.host, self.target.port)
    }

    /// Opens a connection, each step of which may take `limit`.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Connection, Error> {
        let conn = async {
            let options = dm_database::options(&self.target).await?;
            Conn::new(options.stmt_cache_size(Some(0))).await
        };
        let conn = self.within(limit, conn).await?;
        Ok(Connection { conn, limit })
    }

    async fn within<T>(
        &self,
        limit: Duration,
        step: impl Future<Output = Result<T, mysql_async::Error>>,
    ) -> Result<T, Error> {
        let late = |_| Error::Timeout(self.address(), limit);
        let answer = tokio::time::timeout(limit, step).await.map_err(late)?;
        Ok(answer?)
    }
}

/// A connection to the downstream of one task.
pub(super) struct Connection {
    conn: Conn,
    limit: Duration,
}

impl Connection {
    /// The schema of each table, in one query.
    pub(super) async fn schemas(
        &mut self,
        downstream: &Downstream,
        tables: &[TableId],
    ) -> Result<Schemas, Error> {
        let mut schemas: Schemas = tables.iter().map(|table| (table.clone(), None)).collect();
        let query = self
            .conn
            .exec(query(downstream, tables), parameters(tables));
        let rows: Vec<(String, String, String, Option<String>)> =
            match downstream.within(self.limit, query).await {
                Err(Error::Database(mysql_async::Error::Server(error)))
                    if UNKNOWN.contains(&error.code) =>
                {
                    return Ok(schemas);
                }
                rows => rows?,
            };
        for (source, schema, table, json) in rows {
            let table = TableId {
                source: source.into(),
                schema,
                table,
            };
            // A checkpoint without a structure says `null`.
            if let Some(wanted) = schemas.get_mut(&table) {
                *wanted = json.filter(|json| json.trim() != "null");
            }
        }
        Ok(schemas)
    }

    /// Says goodbye, if that is quick.
    pub(super) async fn close(self) {
        let _ = tokio::time::timeout(self.limit, self.conn.disconnect()).await;
    }
}

fn query(downstream: &Downstream, tables: &[TableId]) -> String {
    let places = vec!["(?, ?, ?)"; tables.len()].join(", ");
    format!(
        "SELECT id, cp_schema, cp_table, table_info FROM {} WHERE (id, cp_schema, cp_table) IN ({places})",
        downstream.table
    )
}

fn parameters(tables: &[TableId]) -> Params {
    let names =
        |table: &TableId| [table.source.as_str(), &table.schema, &table.table].map(Value::from);
    Params::Positional(tables.iter().flat_map(names).collect())
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(password: &str) -> String {
        let mut config = SubtaskConfig {
            name: "t".to_owned(),
            source_id: "s1".to_owned(),
            mode: "all".to_owned(),
            shard_mode: "optimistic".to_owned(),
            meta_schema: "dm`meta".to_owned(),
            ..SubtaskConfig::default()
        };
        config.to.host = "db".to_owned();
        config.to.port = 4000;
        config.to.password = password.into();
        config.to_toml().expect("a record")
    }

    #[test]
    fn passwords_are_decrypted_with_the_key_if_there_is_one_and_they_are_encrypted() {
        let key = SecretKey::from_hex(&"2f".repeat(32)).expect("a key");
        let task = "t".into();
        let password = |record: &str, key: Option<&SecretKey>| {
            let downstream = Downstream::of(record, &task, key).expect("a record");
            assert!(!format!("{downstream:?}").contains("hunter2"));
            downstream.target.password.expose().to_owned()
        };
        let encrypted = record(&key.encrypt([7; 16], "hunter2"));
        assert_eq!(password(&encrypted, Some(&key)), "hunter2");
        assert_eq!(password(&record("hunter2"), Some(&key)), "hunter2");
        assert_eq!(password(&record("hunter2"), None), "hunter2");
    }

    #[test]
    fn one_query_asks_for_all_tables_of_a_lock() {
        let downstream = Downstream::of(&record(""), &"t".into(), None).expect("a record");
        let table = |name: &str| TableId {
            source: "s1".into(),
            schema: "db".to_owned(),
            table: name.to_owned(),
        };
        let sql = query(&downstream, &[table("a"), table("b")]);
        assert_eq!(
            sql,
            "SELECT id, cp_schema, cp_table, table_info FROM `dm``meta`.`t_syncer_checkpoint` \
             WHERE (id, cp_schema, cp_table) IN ((?, ?, ?), (?, ?, ?))"
        );
    }
}
