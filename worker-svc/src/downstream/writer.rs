//! One connection that applies changes in transactions, each with the record of how far it goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dm_errors::{Code, DmError};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::meta::Records;
use super::statement::{Statement, joined};
use super::target::Target;
use super::tolerate::is_conflict;
use crate::error::{Error, Result, downstream, shown};
use crate::names::TableName;
use crate::permit::Permit;
use crate::upstream::show_create;

/// Statements are joined up to this size.
const MAX_STATEMENT: usize = 1 << 20;
/// Changes wait in memory up to this number before they are sent ahead of the commit.
const MAX_WAITING: usize = 2000;
/// A transaction that meets a conflict is sent again as long as it is no larger than this.
const MAX_REPEATABLE: usize = 64 << 20;
/// And not more often than this.
const MAX_TRIES: u32 = 20;

/// Writes rows and records, exactly once: all that was added since the last commit, or nothing.
#[derive(Debug)]
pub struct Writer {
    conn: Conn,
    records: Records,
    epoch: String,
    permit: Permit,
    waiting: Vec<Statement>,
    open: bool,
    sent: Vec<String>,
    sent_bytes: usize,
    still: BTreeMap<TableName, Arc<Target>>,
}

impl Writer {
    /// Takes a connection whose session is set for rows, and the epoch that was claimed on it.
    pub fn new(conn: Conn, records: Records, epoch: String, permit: Permit) -> Self {
        Self {
            conn,
            records,
            epoch,
            permit,
            waiting: Vec::new(),
            open: false,
            sent: Vec::new(),
            sent_bytes: 0,
            still: BTreeMap::new(),
        }
    }

    /// The records that go with the rows.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// For reads between transactions.
    pub fn connection(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// A downstream table as it is, and stays until the commit: whoever changes its structure meanwhile waits for that.
    pub async fn hold_still(&mut self, table: &TableName) -> Result<Arc<Target>> {
        if let Some(target) = self.still.get(table) {
            return Ok(target.clone());
        }
        let target = match self.look(table).await {
            Err(error) if self.may_repeat(&error) => {
                Box::pin(self.repeat(false)).await?;
                self.look(table).await?
            }
            other => other?,
        };
        let target = Arc::new(target);
        self.still.insert(table.clone(), target.clone());
        Ok(target)
    }

    async fn look(&mut self, table: &TableName) -> Result<Target> {
        if !self.open {
            self.begin().await?;
        }
        let missing = || DmError::new(Code::SYNCER_DOWNSTREAM_TABLE_NOT_FOUND, &[table]);
        // A table that takes part in a transaction keeps its structure for as long as that lasts. Taken as for a change, since whoever waits for its end would
        // stand in the way of a change that comes later.
        let touch = format!("SELECT 1 FROM {table} LIMIT 0 FOR UPDATE");
        let touched = self.conn.query_drop(&touch).await;
        match touched.map_err(downstream(touch)) {
            Err(error) if matches!(error.server_code(), Some(1146 | 1049)) => {
                return Err(missing().into());
            }
            other => other?,
        }
        let text = show_create(&mut self.conn, "TABLE", &table.to_string()).await;
        let text = text.map_err(downstream(format!("SHOW CREATE TABLE {table}")))?;
        Target::described(table, &text.ok_or_else(missing)?)
    }

    /// Adds statements to the transaction; they may be sent at once, but have no effect before the commit.
    pub async fn add(&mut self, statements: impl IntoIterator<Item = Statement>) -> Result<()> {
        self.waiting.extend(statements);
        if self.waiting.len() >= MAX_WAITING {
            self.send_waiting().await?;
        }
        Ok(())
    }

    /// Sends what waits, then the records, and makes all of it permanent.
    pub async fn commit(&mut self, records: Vec<String>) -> Result<()> {
        self.send_waiting().await?;
        for record in records {
            self.send(record).await?;
        }
        // Whatever was sent so far is undone by the server when we go away here.
        self.permit.check()?;
        if self.open {
            let committed = self.conn.query_drop("COMMIT").await;
            match committed.map_err(downstream("commit")) {
                Err(error) if self.may_repeat(&error) => Box::pin(self.repeat(true)).await?,
                other => other?,
            }
        }
        self.open = false;
        self.still.clear();
        self.sent.clear();
        self.sent_bytes = 0;
        Ok(())
    }

    async fn send_waiting(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        for sql in joined(waiting, MAX_STATEMENT) {
            self.send(sql).await?;
        }
        Ok(())
    }

    async fn send(&mut self, sql: String) -> Result<()> {
        let result = self.try_send(&sql).await;
        self.sent_bytes += sql.len();
        if self.sent_bytes <= MAX_REPEATABLE {
            self.sent.push(sql);
        }
        match result {
            Err(error) if self.may_repeat(&error) => Box::pin(self.repeat(false)).await,
            other => other,
        }
    }

    async fn try_send(&mut self, sql: &str) -> Result<()> {
        if !self.open {
            self.begin().await?;
        }
        self.conn
            .query_drop(sql)
            .await
            .map_err(downstream(shown(sql)))
    }

    /// Every transaction begins at the fence.
    async fn begin(&mut self) -> Result<()> {
        self.permit.check()?;
        let what = || downstream("begin a transaction");
        self.conn.query_drop("BEGIN").await.map_err(what())?;
        self.open = true;
        let held: Option<String> = self
            .conn
            .query_first(self.records.fence())
            .await
            .map_err(what())?;
        if held.as_deref() == Some(self.epoch.as_str()) {
            Ok(())
        } else {
            Err(Error::Fenced {
                mine: self.epoch.clone(),
            })
        }
    }

    fn may_repeat(&self, error: &Error) -> bool {
        error.server_code().is_some_and(is_conflict) && self.sent_bytes <= MAX_REPEATABLE
    }

    /// The server has undone the transaction, or a part of it: all of it anew.
    async fn repeat(&mut self, and_commit: bool) -> Result<()> {
        let sent = std::mem::take(&mut self.sent);
        let mut tries = 0;
        loop {
            tries += 1;
            let result = self.once_more(&sent, and_commit).await;
            match result {
                Err(error) if self.may_repeat(&error) && tries < MAX_TRIES => {
                    tracing::debug!(%error, tries, "transaction in conflict with another one");
                    tokio::time::sleep(Duration::from_millis(20) * tries).await;
                }
                other => {
                    self.sent = sent;
                    return other;
                }
            }
        }
    }

    /// The statements were made for tables that looked so. Between the two transactions they may have been changed.
    async fn still_so(&mut self) -> Result<()> {
        for (table, target) in self.still.clone() {
            if self.look(&table).await? != *target {
                return Err(Error::Outdated { table });
            }
        }
        Ok(())
    }

    async fn once_more(&mut self, sent: &[String], and_commit: bool) -> Result<()> {
        self.conn
            .query_drop("ROLLBACK")
            .await
            .map_err(downstream("roll back"))?;
        self.open = false;
        self.still_so().await?;
        for sql in sent {
            self.try_send(sql).await?;
        }
        if and_commit {
            self.conn
                .query_drop("COMMIT")
                .await
                .map_err(downstream("commit"))?;
        }
        Ok(())
    }
}
