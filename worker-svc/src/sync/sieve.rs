//! Rows for which an expression filter holds are left out. The source judges them, by the types and collations that its columns have.

use std::collections::BTreeSet;

use dm_errors::{Code, DmError};
use dm_schema::table_info::{ColumnInfo, TableInfo};
use dm_schema::{Column, Table};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::engine::Engine;
use crate::binlog::row::{Change, Row};
use crate::binlog::value::Value;
use crate::condition::{Condition, Filter, refused, typed};
use crate::downstream::connection;
use crate::error::{Result, upstream};
use crate::names::{TableName, quoted};

/// Rows are judged together up to this number,
const MAX_ROWS: usize = 500;
/// and up to this size of the question in bytes.
const MAX_QUESTION: usize = 1 << 20;
/// A row's place among those that are judged, under a name that no column has by chance.
const PLACE: &str = "`#place`";

/// A condition on the rows of a table, with what is needed to put them to the source.
struct Question<'a> {
    condition: &'a Condition,
    table: &'a TableName,
    columns: Vec<Needed<'a>>,
    has_zone: bool,
}

/// A column that a condition names.
struct Needed<'a> {
    name: &'a str,
    at: usize,
    column: &'a Column,
    info: &'a ColumnInfo,
}

impl<'a> Question<'a> {
    /// None for a condition on a column that the table does not have: it holds for no row.
    fn new(
        condition: &'a Condition,
        table: &'a TableName,
        structure: &'a Table,
        info: &'a TableInfo,
        has_zone: bool,
    ) -> Option<Self> {
        let needed = |(lower, name): (&String, &'a String)| {
            let at = structure.position(name)?;
            Some(Needed {
                name,
                at,
                column: structure.columns.get(at)?,
                info: info.columns.iter().find(|c| c.name.lower == *lower)?,
            })
        };
        let columns = condition.columns.iter().map(needed);
        Some(Self {
            condition,
            table,
            columns: columns.collect::<Option<Vec<_>>>()?,
            has_zone,
        })
    }

    /// One row as a part of the question.
    fn line(&self, place: usize, value: impl Fn(usize) -> Value) -> Result<String> {
        let mut line = format!("SELECT {place} AS {PLACE}");
        for needed in &self.columns {
            let Needed { column, info, .. } = needed;
            let value = typed(&value(needed.at), column, info, self.has_zone)
                .map_err(|why| refused(self.table, &self.condition.given, &why))?;
            line.push_str(&format!(", {value} AS {}", quoted(needed.name)));
        }
        Ok(line)
    }

    fn sql(&self, lines: &[String]) -> String {
        format!(
            "SELECT {PLACE} FROM ({}) AS judged WHERE {}",
            lines.join(" UNION ALL "),
            self.condition.sql
        )
    }
}

/// The conditions of a filter that are about a change: on the row before, and on the row after.
fn sides<'a>(filter: &'a Filter, change: &Change) -> [Option<&'a Condition>; 2] {
    match change {
        Change::Insert(_) => [None, filter.insert.as_ref()],
        Change::Update { .. } => [filter.old.as_ref(), filter.new.as_ref()],
        Change::Delete(_) => [filter.delete.as_ref(), None],
    }
}

/// The row before, and the row after.
fn images(change: &Change) -> [Option<&Row>; 2] {
    match change {
        Change::Insert(row) => [None, Some(row)],
        Change::Update { old, new } => [Some(old), Some(new)],
        Change::Delete(row) => [Some(row), None],
    }
}

impl Engine {
    /// What is supported depends on types, too: told when a run begins, for the tables that are known.
    pub(super) fn check_filters(&self) -> Result<()> {
        let filters = self.unit.rules.filters();
        for table in filters.tables() {
            let (Some(structure), Some(info)) =
                (self.structures.get(table), self.structures.info(table))
            else {
                continue;
            };
            for condition in filters.of(table).iter().flat_map(Filter::conditions) {
                let question = Question::new(condition, table, structure, info, self.has_zone());
                if let Some(question) = question {
                    question.line(0, |_| Value::Null)?;
                }
            }
        }
        Ok(())
    }

    /// The changes of one event, which are of one kind, without those that are left out.
    pub(super) async fn sieve(
        &mut self,
        changes: Vec<Change>,
        table: &TableName,
        structure: &Table,
    ) -> Result<Vec<Change>> {
        let rules = self.unit.rules.clone();
        let mut out = BTreeSet::new();
        for filter in rules.filters().of(table) {
            let conditions = changes.first().map(|change| sides(filter, change));
            let mut held: Option<BTreeSet<usize>> = None;
            for (side, condition) in conditions.into_iter().flatten().enumerate() {
                let Some(condition) = condition else {
                    continue;
                };
                let rows: Vec<&Row> = changes.iter().filter_map(|c| images(c)[side]).collect();
                let holds = self.judge(condition, &rows, table, structure).await?;
                held = Some(match held {
                    Some(held) => &held & &holds,
                    None => holds,
                });
            }
            out.extend(held.unwrap_or_default());
        }
        let places = changes.into_iter().enumerate();
        Ok(places
            .filter(|(place, _)| !out.contains(place))
            .map(|(_, change)| change)
            .collect())
    }

    fn has_zone(&self) -> bool {
        !self.unit.config.timezone.is_empty()
    }

    /// Places of the rows for which a condition holds.
    async fn judge(
        &mut self,
        condition: &Condition,
        rows: &[&Row],
        table: &TableName,
        structure: &Table,
    ) -> Result<BTreeSet<usize>> {
        let info = self.structures.info(table).cloned().ok_or_else(|| {
            DmError::new(Code::SCHEMA_TRACKER_CANNOT_GET_TABLE, &[table])
                .cause("an expression-filter needs its whole definition")
                .workaround("Set it by `binlog-schema update`.")
        })?;
        let Some(question) = Question::new(condition, table, structure, &info, self.has_zone())
        else {
            tracing::warn!(%table, expression = condition.given, "a column of the filter is not in the table: no row is left out");
            return Ok(BTreeSet::new());
        };
        let mut holds = BTreeSet::new();
        let mut lines = Vec::new();
        let mut bytes = 0;
        for (place, row) in rows.iter().enumerate() {
            let value = |at: usize| row.get(at).cloned().unwrap_or(Value::Null);
            let line = question.line(place, value)?;
            bytes += line.len();
            lines.push(line);
            if lines.len() == MAX_ROWS || bytes >= MAX_QUESTION || place + 1 == rows.len() {
                let what = format!("judge rows of {table} by `{}`", condition.given);
                holds.extend(self.ask_source(question.sql(&lines), what).await?);
                lines.clear();
                bytes = 0;
            }
        }
        Ok(holds)
    }

    /// A connection that has failed is not used again; one that was idle may have been closed meanwhile.
    async fn ask_source(&mut self, sql: String, what: String) -> Result<Vec<usize>> {
        let unit = self.unit.clone();
        let kept = self.source.take();
        let ask = async {
            if let Some(mut conn) = kept {
                match conn.query(&sql).await {
                    Err(mysql_async::Error::Server(error)) => {
                        return Err(upstream(what)(error.into()));
                    }
                    Err(error) => tracing::debug!(%error, "connecting to the source again"),
                    Ok(places) => return Ok((conn, places)),
                }
            }
            let mut conn = source(&unit.from, &unit.config.timezone).await?;
            let places = conn.query(&sql).await.map_err(upstream(what))?;
            Ok((conn, places))
        };
        let (conn, places) = unit.guarded(ask).await?;
        self.source = Some(conn);
        Ok(places)
    }
}

/// A connection to the source that tells moments in the zone of the task.
async fn source(from: &dm_task::DbConfig, zone: &str) -> Result<Conn> {
    let mut conn = connection::reader(from)
        .await
        .map_err(upstream("connect"))?;
    if !zone.is_empty() {
        let set = format!("SET SESSION time_zone = {}", connection::text(zone));
        conn.query_drop(&set).await.map_err(upstream(set))?;
    }
    Ok(conn)
}
