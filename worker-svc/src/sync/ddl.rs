//! Statements in the log: which of them concern us, and what they become downstream.

use dm_errors::{Code, DmError, Scope};
use dm_schema::{Action, Change, Ddl, Options, Statement, TableRef, Transaction};
use dm_task::DbConfig;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::engine::Engine;
use super::exceptional::Left;
use super::online;
use super::progress::Decision;
use super::tables::unknown_before;
use crate::binlog::event::Query;
use crate::binlog::position::Position;
use crate::downstream::connection;
use crate::downstream::tolerate::is_already_so;
use crate::error::{Error, Result, downstream, shown};
use crate::names::TableName;
use crate::shard::group::{Meeting, Session};

/// Statements to execute downstream, in the surroundings that they had upstream.
#[derive(Clone, Debug, Default)]
pub(super) struct Execution {
    /// In order, under downstream names.
    pub(super) sqls: Vec<String>,
    /// The session they came from.
    pub(super) session: Session,
}

/// Where a statement stands.
pub(super) struct Place {
    pub(super) start: Position,
    pub(super) end: Position,
    pub(super) session: Session,
}

impl Place {
    pub(super) fn new(query: &Query, start: Position, end: Position, timestamp: u32) -> Self {
        Self {
            start,
            end,
            session: Session {
                timestamp,
                time_zone: query.time_zone.clone(),
            },
        }
    }
}

/// A table that an event gives another name.
struct Renamed {
    /// Its name before the event.
    first: TableName,
    /// Its name now.
    now: TableName,
}

impl Renamed {
    /// The name before the event of the table that is called so now.
    fn before(renamed: Option<&Self>, table: TableName) -> TableName {
        match renamed {
            Some(renamed) if renamed.now == table => renamed.first.clone(),
            _ => table,
        }
    }
}

impl Engine {
    /// What a query event says.
    pub(super) fn statement(&self, query: &Query, start: &Position) -> Result<Statement> {
        let options = Options::from_sql_mode(query.sql_mode.unwrap_or(0));
        match dm_schema::read(&query.text, &options) {
            Ok(statement) => Ok(statement),
            Err(error) if self.is_elsewhere(query) => {
                tracing::debug!(%error, schema = query.schema, "unreadable statement of a schema that takes no part");
                Ok(Statement::Ignored)
            }
            Err(error) => {
                let text = format!("{error}, in: {}", shown(&query.text));
                let error = DmError::new(Code::SYNCER_PARSE_DDL, &[&text]);
                Err(error.cause(format!("binlog {start}")).into())
            }
        }
    }

    /// A query event: the border of a transaction, or DDL.
    pub(super) async fn query(
        &mut self,
        query: Query,
        start: Position,
        end: Position,
        timestamp: u32,
    ) -> Result<()> {
        let statement = match self.ordered(&query, &start, || self.statement(&query, &start))? {
            Left::Statement(statement) => statement,
            Left::Skipped => return Box::pin(self.skip(&query, end)).await,
        };
        let place = Place::new(&query, start, end, timestamp);
        match statement {
            Statement::Transaction(Transaction::Begin) => {
                self.begin();
                Ok(())
            }
            Statement::Transaction(Transaction::Savepoint) => Ok(()),
            Statement::Transaction(Transaction::Commit | Transaction::Rollback) => {
                self.border(place.end).await
            }
            Statement::Transaction(Transaction::Xa) => {
                let error = DmError::new(Code::SYNCER_UNSUPPORTED_STMT, &[&"XA", &"any"]);
                Err(error.cause(format!("binlog {}", place.start)).into())
            }
            Statement::Dml if self.is_elsewhere(&query) => Ok(()),
            Statement::Dml => {
                let error = DmError::new(Code::SYNC_UNIT_DML_STATEMENT_FOUND, &[]);
                let cause = format!("binlog {}: {}", place.start, shown(&query.text));
                Err(error.cause(cause).into())
            }
            Statement::Ignored if self.in_transaction() => Ok(()),
            Statement::Ignored => self.border(place.end).await,
            Statement::Ddl(mut ddls) => {
                for ddl in &mut ddls {
                    ddl.set_default_schema(&query.schema);
                }
                self.ddl(ddls, place).await
            }
        }
    }

    /// Whether a statement's session stood in a schema that takes no part, and the statement names no other.
    fn is_elsewhere(&self, query: &Query) -> bool {
        !query.schema.is_empty()
            && !self.unit.rules.allows(&query.schema, "")
            && !query.text.contains('.')
    }

    async fn ddl(&mut self, ddls: Vec<Ddl>, place: Place) -> Result<()> {
        let mut copies = self.progress.copies.clone();
        let ddls = online::effective(ddls, &self.unit.rules, &mut copies)?;
        self.copies = (copies != self.progress.copies).then_some(copies);
        let ours: Vec<Ddl> = ddls.into_iter().filter(|d| self.concerns(d)).collect();
        if ours.is_empty() {
            return self.border(place.end).await;
        }
        // Rows before the statement are made permanent under the structure they belong to.
        self.flush().await?;
        // Apart from the frame of the events, most of which need nothing of it.
        if self.unit.is_pessimistic() {
            Box::pin(self.sharded(ours, place)).await
        } else if self.unit.is_optimistic() {
            Box::pin(self.optimistic(ours, place)).await
        } else {
            Box::pin(self.plain(ours, place)).await
        }
    }

    pub(super) fn concerns(&self, ddl: &Ddl) -> bool {
        let rules = &self.unit.rules;
        match &ddl.action {
            Action::CreateDatabase(schema) | Action::DropDatabase(schema) => {
                rules.allows(schema, "")
            }
            Action::AlterDatabase(schema) => schema.as_ref().is_some_and(|s| rules.allows(s, "")),
            Action::RenameTable { from, to }
            | Action::Alter {
                table: from,
                change: Change::RenameTo(to),
            } => [from, to]
                .iter()
                .any(|t| rules.allows(t.schema.as_deref().unwrap_or_default(), &t.table)),
            _ => ddl
                .table()
                .is_some_and(|t| rules.allows(t.schema.as_deref().unwrap_or_default(), &t.table)),
        }
    }

    /// The statement under downstream names; nothing when an event filter stops it, or nothing is to do.
    pub(super) fn routed(&self, ddl: &Ddl) -> Result<Option<String>> {
        let table = ddl.table().map(TableName::from).unwrap_or_else(|| {
            let (Action::CreateDatabase(schema) | Action::DropDatabase(schema)) = &ddl.action
            else {
                return TableName::new("", "");
            };
            TableName::new(schema.as_str(), "")
        });
        let original = ddl.render(TableRef::clone);
        let rules = &self.unit.rules;
        if !rules.lets_through(&table, event_name(&ddl.action), Some(&original))? {
            return Ok(None);
        }
        if let Action::CreateTable {
            table,
            like: Some(like),
            ..
        } = &ddl.action
            && rules.target(&table.into()) == rules.target(&like.into())
        {
            // A new shard after the pattern of another: the table that both go to is there.
            return Ok(None);
        }
        Ok(Some(ddl.render(|table| {
            let name = TableName::from(table);
            if name.table.is_empty() {
                return TableRef::new(rules.target_schema(&name.schema), "");
            }
            (&rules.target(&name)).into()
        })))
    }

    /// Without other sources to wait for: execute, follow the structure, go on.
    async fn plain(&mut self, ddls: Vec<Ddl>, place: Place) -> Result<()> {
        let mut sqls = Vec::new();
        for ddl in &ddls {
            if self.is_loaded(ddl, &place.end) {
                continue;
            }
            sqls.extend(self.routed(ddl)?);
            self.follow(ddl).await?;
        }
        self.execute_and_go_on(sqls, place).await
    }

    pub(super) async fn execute_and_go_on(
        &mut self,
        sqls: Vec<String>,
        place: Place,
    ) -> Result<()> {
        if !sqls.is_empty() {
            let execution = Execution {
                sqls,
                session: place.session,
            };
            self.execute(execution).await?;
            self.forget_targets();
        }
        self.after_ddl(place.end).await
    }

    pub(super) async fn after_ddl(&mut self, end: Position) -> Result<()> {
        let more_to_come = self.in_transaction();
        self.reach(end);
        if more_to_come {
            self.begin();
        }
        self.flush().await
    }

    /// A table that was loaded at a later place has the statement behind it.
    pub(super) fn is_loaded(&self, ddl: &Ddl, end: &Position) -> bool {
        ddl.table()
            .is_some_and(|t| self.progress.after_load(&t.into(), end) == Decision::Skip)
    }

    /// With other sources: what changes the group is done at once, what changes its tables' structure waits.
    async fn sharded(&mut self, ddls: Vec<Ddl>, place: Place) -> Result<()> {
        let mut at_once = Vec::new();
        let mut waiting: Vec<(TableName, String)> = Vec::new();
        let mut renamed: Option<Renamed> = None;
        for ddl in &ddls {
            match &ddl.action {
                Action::CreateDatabase(_) => at_once.extend(self.routed(ddl)?),
                Action::CreateTable { table, .. } => {
                    let table = TableName::from(table);
                    let target = self.unit.rules.target(&table);
                    let group = self.progress.groups.entry(target).or_default();
                    group.join(&table)?;
                    at_once.extend(self.routed(ddl)?);
                    self.follow(ddl).await?;
                }
                Action::DropTable(table) => {
                    self.leave(&table.into())?;
                    self.follow(ddl).await?;
                }
                Action::DropDatabase(schema) => {
                    let gone: Vec<TableName> = self
                        .structures
                        .names()
                        .filter(|t| t.schema == *schema)
                        .cloned()
                        .collect();
                    for table in gone {
                        self.leave(&table)?;
                    }
                    self.follow(ddl).await?;
                }
                Action::AlterDatabase(_) | Action::TruncateTable(_) => {
                    tracing::warn!(
                        ddl = ddl.render(TableRef::clone),
                        "not replicated in shard mode"
                    );
                }
                Action::RenameTable { from, to }
                | Action::Alter {
                    table: from,
                    change: Change::RenameTo(to),
                } => {
                    let (from, to) = (TableName::from(from), TableName::from(to));
                    self.check_rename(ddl, &from, &to)?;
                    self.follow(ddl).await?;
                    let first = Renamed::before(renamed.as_ref(), from);
                    waiting.extend(self.routed(ddl)?.map(|sql| (first.clone(), sql)));
                    renamed = Some(Renamed { first, now: to });
                }
                Action::Alter { table, .. } => {
                    let table = Renamed::before(renamed.as_ref(), table.into());
                    if !self.is_loaded(ddl, &place.end) {
                        self.follow(ddl).await?;
                    }
                    waiting.extend(self.routed(ddl)?.map(|sql| (table, sql)));
                }
            }
        }
        if !waiting.is_empty() {
            self.meet(waiting, renamed, &place)?;
        }
        self.execute_and_go_on(at_once, place).await?;
        self.finish_open_group().await
    }

    fn leave(&mut self, table: &TableName) -> Result<()> {
        let own = self.unit.rules.target(table);
        let known = self.progress.member(table, &own);
        let Some(target) = known.map(|(target, ..)| target.clone()) else {
            return Ok(());
        };
        if let Some(group) = self.progress.groups.get_mut(&target) {
            group.leave(table)?;
            if group.members.is_empty() {
                self.progress.groups.remove(&target);
            }
        }
        Ok(())
    }

    /// Both names take part, and tables do not come together that have been apart.
    fn check_rename(&self, ddl: &Ddl, from: &TableName, to: &TableName) -> Result<()> {
        let rules = &self.unit.rules;
        let takes_part = |table: &TableName| rules.allows(&table.schema, &table.table);
        let target = rules.target(to);
        let is_taken = rules.target(from) != target && self.progress.groups.contains_key(&target);
        if takes_part(from) && takes_part(to) && !is_taken {
            Ok(())
        } else {
            let way_out = "Rename a table of a shard group only to a name that takes part in the task, and whose target is that of no other tables.";
            Err(unsupported(ddl, "pessimistic shard", way_out))
        }
    }

    /// A table of a group has met a DDL.
    fn meet(
        &mut self,
        waiting: Vec<(TableName, String)>,
        renamed: Option<Renamed>,
        place: &Place,
    ) -> Result<()> {
        let table = waiting[0].0.clone();
        if waiting.iter().any(|(t, _)| *t != table) {
            let ddls: Vec<&str> = waiting.iter().map(|(_, sql)| sql.as_str()).collect();
            let error = DmError::new(Code::SYNCER_UNIT_DDL_ON_MULTIPLE_TABLE, &[&ddls.join(" ")]);
            return Err(error.into());
        }
        let own = self.unit.rules.target(&table);
        let known = self.progress.member(&table, &own);
        let (target, member) = known.map_or((&own, &table), |(target, _, member)| (target, member));
        let (target, member) = (target.clone(), member.clone());
        let renamed = renamed.map(|renamed| renamed.now);
        // Rows that are held back from here on could never be read again without it.
        let after = self.structures.get(renamed.as_ref().unwrap_or(&table));
        let after = after.ok_or_else(|| unknown_before(&table))?;
        let meeting = Meeting {
            start: place.start.clone(),
            end: place.end.clone(),
            after: after.as_ref().clone(),
            renamed,
        };
        let ddls: Vec<String> = waiting.into_iter().map(|(_, sql)| sql).collect();
        tracing::info!(%table, %target, ?ddls, "shard DDL met");
        let group = self.progress.groups.entry(target).or_default();
        group.meet(
            self.unit.source.as_str(),
            &member,
            ddls,
            place.session.clone(),
            meeting,
        )?;
        Ok(())
    }

    /// Executes statements downstream, one connection for all. What is already so counts as executed.
    pub(super) async fn execute(&mut self, execution: Execution) -> Result<()> {
        let config = self.unit.config.to.clone();
        let mut conn = connection::ddl(&config)
            .await
            .map_err(downstream("connect"))?;
        let id = conn.id();
        let unit = self.unit.clone();
        let run = unit.guarded(self.attempt(&mut conn, &execution)).await;
        if matches!(run, Err(Error::Cancelled | Error::LeaseEnded)) {
            // The server would go on without us, perhaps beside our successor.
            kill(&config, id).await;
        }
        run
    }
}

pub(super) async fn set_session(conn: &mut Conn, session: &Session) -> Result<()> {
    let what = || downstream("set the session of a DDL");
    if session.timestamp > 0 {
        conn.query_drop(format!("SET SESSION timestamp = {}", session.timestamp))
            .await
            .map_err(what())?;
    }
    let zone = session.time_zone.as_deref();
    if let Some(zone) = zone.filter(|z| *z != "SYSTEM") {
        conn.query_drop(format!(
            "SET SESSION time_zone = {}",
            connection::text(zone)
        ))
        .await
        .map_err(what())?;
    }
    Ok(())
}

pub(super) async fn run(conn: &mut Conn, sql: &str) -> Result<()> {
    match conn.query_drop(sql).await {
        Ok(()) => tracing::info!(sql, "DDL executed"),
        Err(mysql_async::Error::Server(error)) if is_already_so(error.code) => {
            tracing::warn!(
                sql,
                code = error.code,
                reason = error.message,
                "DDL counts as executed"
            );
        }
        Err(source) => {
            return Err(Error::Database {
                side: Scope::Downstream,
                what: sql.to_owned(),
                source,
            });
        }
    }
    Ok(())
}

async fn kill(config: &DbConfig, id: u32) {
    let killed = async {
        let mut conn = connection::ddl(config).await?;
        conn.query_drop(format!("KILL {id}")).await
    };
    if let Err(error) = killed.await {
        tracing::warn!(%error, "the connection of an interrupted DDL could not be ended");
    }
}

pub(super) fn unsupported(ddl: &Ddl, mode: &str, way_out: &'static str) -> Error {
    let error = DmError::new(
        Code::SYNCER_UNSUPPORTED_STMT,
        &[&ddl.render(TableRef::clone), &mode],
    );
    error.workaround(way_out).into()
}

/// The names that event filters know.
fn event_name(action: &Action) -> &'static str {
    match action {
        Action::CreateDatabase(_) => "create database",
        Action::AlterDatabase(_) => "alter database",
        Action::DropDatabase(_) => "drop database",
        Action::CreateTable { .. } => "create table",
        Action::DropTable(_) => "drop table",
        Action::TruncateTable(_) => "truncate table",
        Action::RenameTable { .. } => "rename table",
        Action::Alter { change, .. } => match change {
            Change::AddKey(_) => "create index",
            Change::DropKey { .. } => "drop index",
            Change::RenameTo(_) => "rename table",
            _ => "alter table",
        },
    }
}
