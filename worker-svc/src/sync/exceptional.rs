//! Statements for which a user has ordered something else.

use dm_schema::{Ddl, Options, Statement};

use super::engine::Engine;
use super::joint::Course;
use crate::binlog::event::Query;
use crate::binlog::position::Position;
use crate::error::{Error, Result};
use crate::exceptions::{self, Exception};

/// What is left of a statement.
pub(super) enum Left {
    /// What the log says, or what was ordered instead.
    Statement(Statement),
    /// Nothing; it is followed in the structures.
    Skipped,
}

impl Engine {
    /// Reads a statement of the log, or what was ordered for its place. Borders of transactions stay what they are.
    pub(super) fn ordered(
        &self,
        query: &Query,
        start: &Position,
        read: impl FnOnce() -> Result<Statement>,
    ) -> Result<Left> {
        let Some(exception) = self.unit.exceptions.at(start) else {
            return read().map(Left::Statement);
        };
        let read = read();
        if matches!(read, Ok(Statement::Transaction(_))) {
            return read.map(Left::Statement);
        }
        tracing::warn!(%start, ?exception, sql = crate::error::shown(&query.text), "an order for this statement is followed");
        match exception {
            Exception::Skip => Ok(Left::Skipped),
            Exception::Replace(sqls) => {
                Ok(Left::Statement(Statement::Ddl(exceptions::read(&sqls)?)))
            }
            Exception::Inject(sqls) => {
                let mut ddls = exceptions::read(&sqls)?;
                match read? {
                    Statement::Ddl(own) => ddls.extend(own),
                    other => return Ok(Left::Statement(other)),
                }
                Ok(Left::Statement(Statement::Ddl(ddls)))
            }
        }
    }

    /// What is executed for a shard DDL that was met before something else was ordered for it: the statement that completed it has failed.
    pub(super) fn instead(&self, place: &Position, met: Vec<String>) -> Result<Vec<String>> {
        let Some(exception) = self.unit.exceptions.at(place) else {
            return Ok(met);
        };
        tracing::warn!(%place, ?exception, ?met, "an order for this shard DDL is followed");
        let (sqls, after) = match exception {
            Exception::Skip => return Ok(Vec::new()),
            Exception::Replace(sqls) => (sqls, Vec::new()),
            Exception::Inject(sqls) => (sqls, met),
        };
        let mut all = Vec::new();
        for ddl in exceptions::read(&sqls)? {
            all.extend(self.routed(&ddl)?);
        }
        all.extend(after);
        Ok(all)
    }

    /// Goes past a statement that is not executed.
    pub(super) async fn skip(&mut self, query: &Query, end: Position) -> Result<()> {
        for ddl in skipped(query) {
            let followed = match self.unit.is_optimistic() {
                true => self.follow_unasked(&ddl, Course::Main).await,
                false => self.follow(&ddl).await,
            };
            note_misfit(followed)?;
        }
        if self.in_transaction() {
            return Ok(());
        }
        self.reach(end);
        self.flush().await
    }

    /// The same while the log is read again for tables that waited.
    pub(super) async fn skip_again(
        &mut self,
        query: &Query,
        start: &Position,
        end: Position,
    ) -> Result<()> {
        self.flush().await?;
        for ddl in skipped(query) {
            if self.is_ours_again(&ddl, start) {
                note_misfit(self.follow_unasked(&ddl, Course::Again).await)?;
            }
        }
        self.progress.held.reached(end);
        self.flush().await
    }
}

/// The structure changes in a statement that is skipped.
fn skipped(query: &Query) -> Vec<Ddl> {
    let options = Options::from_sql_mode(query.sql_mode.unwrap_or(0));
    let Ok(Statement::Ddl(mut ddls)) = dm_schema::read(&query.text, &options) else {
        return Vec::new();
    };
    for ddl in &mut ddls {
        ddl.set_default_schema(&query.schema);
    }
    ddls
}

/// A skipped statement may be one that fits nothing.
fn note_misfit(followed: Result<()>) -> Result<()> {
    match followed {
        Err(Error::Coded(error)) => {
            tracing::warn!(%error, "a skipped statement does not fit the tracked structure");
            Ok(())
        }
        other => other,
    }
}
