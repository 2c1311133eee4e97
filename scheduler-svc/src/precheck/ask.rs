//! Questions to one database, each with a limit, all together with another. A database that has not answered once is
//! not asked again: every further answer is the same trouble, at once.

use std::time::Duration;

use dm_errors::{Code, DmError, Scope as Side};
use dm_service::clock::Deadline;
use dm_task::DbConfig;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::report::{Answer, Trouble};
use crate::database;

const NO_SUCH_TABLE: u16 = 1146;
const NO_SUCH_SCHEMA: u16 = 1049;
/// Names come in backquotes and texts with escapes, whatever the server's own mode.
const SESSION: &str = "SET SESSION sql_mode = '', sql_quote_show_create = 1";

/// How long databases may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// One question.
    pub(crate) query: Duration,
    /// All questions to one database.
    pub(crate) database: Duration,
    /// All questions to all databases.
    pub(crate) all: Duration,
    /// Databases that are asked at a time.
    pub(crate) concurrency: usize,
}

/// A connection, and the patience that is left for it.
#[derive(Debug)]
pub(crate) struct Asker {
    conn: Conn,
    /// The name of the database in messages.
    who: String,
    query: Duration,
    total: Deadline,
    lost: Option<Trouble>,
}

impl Asker {
    /// Connects.
    ///
    /// # Errors
    /// 26002 when the server cannot be reached in time.
    pub(crate) async fn open(
        config: &DbConfig,
        side: Side,
        who: String,
        limits: Limits,
    ) -> Result<Self, DmError> {
        let total = Deadline::after(limits.database);
        let failed = |cause: String| {
            DmError::new(
                Code::TASK_CHECK_FAILED_OPEN_DB,
                &[&config.user, &config.host, &config.port],
            )
            .scope(side)
            .cause(format!("{who}: {cause}"))
        };
        let connected = tokio::time::timeout(limits.query, database::connect(config, side)).await;
        let conn = match connected {
            Ok(Ok(conn)) => conn,
            Ok(Err(error)) => return Err(failed(error.raw_cause().to_owned())),
            Err(_) => return Err(failed(format!("no answer within {:?}", limits.query))),
        };
        let mut own = Self {
            conn,
            who,
            query: limits.query,
            total,
            lost: None,
        };
        // A server that does not know one of these says so in its definitions.
        if let Err(trouble) = own.rows(SESSION).await {
            tracing::debug!(reason = trouble.text, "the session is left as it is");
        }
        Ok(own)
    }

    /// The rows of a statement.
    pub(crate) async fn rows(&mut self, sql: &str) -> Answer<Vec<Row>> {
        self.ask(sql).await.map_err(|(_, trouble)| trouble)
    }

    /// The rows, or none when the statement is about a table that does not exist.
    pub(crate) async fn rows_if_there(&mut self, sql: &str) -> Answer<Option<Vec<Row>>> {
        match self.ask(sql).await {
            Ok(rows) => Ok(Some(rows)),
            Err((Some(NO_SUCH_TABLE | NO_SUCH_SCHEMA), _)) => Ok(None),
            Err((_, trouble)) => Err(trouble),
        }
    }

    async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, (Option<u16>, Trouble)> {
        if let Some(lost) = &self.lost {
            return Err((None, lost.clone()));
        }
        let limit = self.query.min(self.total.remaining());
        let outcome = tokio::time::timeout(limit, self.conn.query::<Row, _>(sql)).await;
        let (code, cause) = match outcome {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(mysql_async::Error::Server(error))) => (
                Some(error.code),
                format!("Error {}: {}", error.code, error.message),
            ),
            Ok(Err(error)) => (None, error.to_string()),
            Err(_) => (None, format!("no answer within {limit:?} to {sql}")),
        };
        let trouble = Trouble {
            text: format!("{}: {cause}", self.who),
            workaround: "Please check the database connection and the database config in configuration file."
                .to_owned(),
        };
        if code.is_none() {
            self.lost = Some(trouble.clone());
        }
        Err((code, trouble))
    }

    /// Ends the connection, in order if it still works.
    pub(crate) async fn close(self) {
        if self.lost.is_none() {
            let limit = self.query.min(self.total.remaining());
            let closed = tokio::time::timeout(limit, self.conn.disconnect()).await;
            if !matches!(closed, Ok(Ok(()))) {
                tracing::debug!(database = self.who, "a connection was not closed in order");
            }
        }
    }
}

/// A column of a row as text; empty for NULL and for a column that is not there.
pub(crate) fn cell(row: &Row, at: usize) -> String {
    row.as_ref(at).map_or_else(String::new, text)
}

/// The same by the column's name, in any case.
pub(crate) fn named(row: &Row, name: &str) -> String {
    let mut columns = row.columns_ref().iter();
    let at = columns.position(|column| column.name_str().eq_ignore_ascii_case(name));
    at.map_or_else(String::new, |at| cell(row, at))
}

fn text(value: &Value) -> String {
    match value {
        Value::NULL => String::new(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(true).trim_matches('\'').to_owned(),
    }
}
