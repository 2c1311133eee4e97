//! Reading again what was passed over while tables of an optimistic task waited to be redirected. Meanwhile the main stream stands still.

use std::collections::HashMap;

use dm_keyspace::optimism::{ConflictStage, Operation, OperationKey};
use dm_schema::{Action, Change, Ddl, Options, Statement, Transaction};
use dm_store::{Event as StoreEvent, Feed, FeedItem, Revision};
use tracing::Instrument;

use super::ddl::Place;
use super::engine::{Engine, Mapped};
use super::exceptional::Left;
use super::joint::Course;
use super::progress::Decision;
use crate::binlog::event::{Event, Query, Rows};
use crate::binlog::position::Position;
use crate::binlog::stream::{Located, LogReader};
use crate::error::Result;
use crate::names::TableName;
use crate::unit::steps::Step;

/// Rows are committed after this number of events.
const BATCH: usize = 500;

impl Engine {
    /// Listens for redirects of the tables that wait for one.
    pub(super) fn watch_redirects(&mut self) {
        let since = self.progress.held.told();
        self.redirects = since.map(|told| {
            let Self { unit, .. } = self;
            unit.optimist()
                .operations(&unit.task, &unit.source, Revision(told))
        });
    }

    /// News of the operations of this source. Whatever replaces the order to wait, or removes it, is a redirect: the DDL is then reported anew.
    pub(super) async fn redirect(&mut self, item: FeedItem) -> Result<()> {
        let keys = self.waiting_keys();
        match item {
            FeedItem::Batch(batch) => {
                for event in batch.events {
                    let Some(table) = keys.get(event.key().as_ref()) else {
                        continue;
                    };
                    let waits_on = match &event {
                        StoreEvent::Put(kv) => says_wait(&kv.value),
                        StoreEvent::Delete { .. } => false,
                    };
                    if !waits_on {
                        let revision = event.revision().0;
                        self.progress.held.redirected(table, revision);
                    }
                }
            }
            FeedItem::Reset(snapshot) => {
                for (key, table) in &keys {
                    let found = snapshot.entries.iter().find(|kv| kv.key.as_ref() == key);
                    let revision = match found {
                        Some(kv) if says_wait(&kv.value) => continue,
                        Some(kv) => kv.mod_revision,
                        None => snapshot.revision,
                    };
                    self.progress.held.redirected(table, revision.0);
                }
            }
        }
        if self.progress.held.tables.values().any(|hold| hold.due) {
            // What the main stream has read is permanent before it stops.
            self.flush().await?;
            self.read_again().await?;
            self.watch_redirects();
        }
        Ok(())
    }

    fn waiting_keys(&self) -> HashMap<Vec<u8>, TableName> {
        let key = |table: &TableName| OperationKey {
            task: self.unit.task.clone(),
            source: self.unit.source.clone(),
            schema: table.schema.clone(),
            table: table.table.clone(),
        };
        let tables = self.progress.held.tables.keys();
        tables
            .map(|table| (key(table).encode().into_bytes(), table.clone()))
            .collect()
    }

    /// Reads again for all tables that are due, until none is.
    pub(super) async fn read_again(&mut self) -> Result<()> {
        while self.progress.held.again.is_some() || self.progress.held.begin() {
            let tables: Vec<String> = self
                .progress
                .held
                .again
                .iter()
                .flat_map(|a| a.tables.keys())
                .map(ToString::to_string)
                .collect();
            let span = tracing::info_span!("read_again", dm.task = %self.unit.task, dm.source = %self.unit.source, tables = tables.join(", "));
            Box::pin(self.pass_again().instrument(span)).await?;
            self.unit.steps.reach(Step::Replayed).await;
            self.progress.held.finish();
            self.flush().await?;
            self.unit.steps.reach(Step::Resolved).await;
            tracing::info!(
                tables = tables.join(", "),
                "redirected tables have been read again"
            );
        }
        Ok(())
    }

    async fn pass_again(&mut self) -> Result<()> {
        let until = self.progress.main.position.clone();
        let Some(mut place) = self.progress.held.again.as_ref().map(|a| a.at.clone()) else {
            return Ok(());
        };
        self.flush().await?;
        self.unit.steps.reach(Step::Replaying).await;
        let unit = self.unit.clone();
        let mut reader = LogReader::open(unit.from.clone(), unit.worker.to_string(), place.clone());
        let mut maps: HashMap<u64, Option<Mapped>> = HashMap::new();
        let mut events = 0;
        while place < until {
            let located = unit.guarded(reader.next()).await?;
            if located.end > until {
                break;
            }
            place = located.end.clone();
            let Located {
                start, end, event, ..
            } = located;
            match event {
                Event::TableMap(map) => {
                    let table = TableName::new(map.schema.as_str(), map.table.as_str());
                    let takes_part = unit.rules.allows(&map.schema, &map.table)
                        && self.progress.held.takes_part(&table, &start);
                    let target = unit.rules.target(&table);
                    let id = map.table_id;
                    maps.insert(id, takes_part.then_some(Mapped { map, table, target }));
                }
                Event::Rows(rows) => {
                    if let Some(Some(mapped)) = maps.get(&rows.table_id) {
                        events += 1;
                        self.rows_again(&rows, mapped, &start, &end).await?;
                    }
                }
                Event::Xid => {
                    self.progress.held.reached(end);
                    if events >= BATCH {
                        self.flush().await?;
                        self.unit.steps.reach(Step::PartReplayed).await;
                        events = 0;
                    }
                }
                Event::Query(query) => {
                    let at = start.clone();
                    let done = self.query_again(query, start, end, located.timestamp).await;
                    self.note_failure(&done, &at, true);
                    done?;
                }
                Event::Rotate { .. } => maps.clear(),
                _ => {}
            }
        }
        Ok(())
    }

    async fn rows_again(
        &mut self,
        rows: &Rows,
        mapped: &Mapped,
        start: &Position,
        end: &Position,
    ) -> Result<()> {
        let Decision::Apply { safe } = self.progress.after_load(&mapped.table, end) else {
            return Ok(());
        };
        let Some(structure) = self.structures.get(&mapped.table).cloned() else {
            return Ok(());
        };
        self.apply(rows, mapped, &structure, safe, start).await
    }

    /// Only what changes a table that is read again counts; the main stream has dealt with the rest.
    async fn query_again(
        &mut self,
        query: Query,
        start: Position,
        end: Position,
        timestamp: u32,
    ) -> Result<()> {
        let statement = match self.ordered(&query, &start, || self.statement(&query, &start))? {
            Left::Statement(statement) => statement,
            Left::Skipped => return self.skip_again(&query, &start, end).await,
        };
        match statement {
            Statement::Transaction(Transaction::Commit | Transaction::Rollback) => {
                self.progress.held.reached(end);
            }
            Statement::Ddl(mut ddls) => {
                for ddl in &mut ddls {
                    ddl.set_default_schema(&query.schema);
                }
                if let Some(brought) = self.progress.held.brought_at(&start) {
                    ddls = brought.iter().flat_map(|sql| own(sql)).collect();
                }
                ddls.retain(|ddl| self.is_ours_again(ddl, &start));
                if !ddls.is_empty() {
                    self.flush().await?;
                    let place = Place::new(&query, start, end, timestamp);
                    Box::pin(self.joint(ddls, place, Course::Again)).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn is_ours_again(&self, ddl: &Ddl, start: &Position) -> bool {
        match &ddl.action {
            Action::Alter { table, change } => {
                !matches!(change, Change::RenameTo(_))
                    && self.progress.held.takes_part(&table.into(), start)
            }
            _ => false,
        }
    }
}

/// The statements in a text of our own making.
fn own(sql: &str) -> Vec<Ddl> {
    match dm_schema::read(sql, &Options::default()) {
        Ok(Statement::Ddl(ddls)) => ddls,
        _ => Vec::new(),
    }
}

/// Whether an operation is still the order to wait.
fn says_wait(value: &[u8]) -> bool {
    Operation::from_bytes(value)
        .is_ok_and(|operation| operation.conflict_stage == ConflictStage::SkipWaitRedirect)
}

/// The next item, if anybody listens; otherwise never.
pub(super) async fn next_redirect(feed: &mut Option<Feed>) -> FeedItem {
    match feed {
        Some(feed) => feed.next().await,
        None => std::future::pending().await,
    }
}
