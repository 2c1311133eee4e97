//! One DDL of a table in optimistic mode: reported with the table's structure before and after, answered, and done as told.
//!
//! Rows before it are permanent when it is reported. What was done is written downstream, with the structure and the place behind the DDL, before etcd hears
//! of it: a crash before that reports the same DDL again and gets the same answer, a crash after it only says "done" again.

use std::sync::Arc;

use dm_errors::{Code, DmError};
use dm_keyspace::OpaqueJson;
use dm_keyspace::optimism::{ConflictStage, Info, Operation};
use dm_schema::Ddl;
use dm_schema::table_info::TableInfo;
use tracing::Instrument;

use super::ddl::{Execution, Place};
use super::engine::Engine;
use super::tables::Tracked;
use crate::binlog::position::Position;
use crate::error::Result;
use crate::names::TableName;
use crate::shard::group::Session;
use crate::shard::optimist::{Answer, Told};
use crate::unit::steps::Step;

/// Which reading of the log has met the DDL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Course {
    /// The main stream.
    Main,
    /// The reading of what was passed over while the table waited.
    Again,
}

/// A DDL of one table, ready to be reported.
#[derive(Debug)]
struct Met {
    table: TableName,
    info: Info,
    end: Tracked,
    session: Session,
    /// Behind the DDL.
    behind: Position,
}

impl Engine {
    /// The statements of one event that change the structure of a table.
    pub(super) async fn joint(
        &mut self,
        ddls: Vec<Ddl>,
        place: Place,
        course: Course,
    ) -> Result<()> {
        let table = one_table(&ddls)?;
        let defaults = self.defaults(&table.schema).await?;
        let preview = self.structures.preview(&table, &ddls, &defaults)?;
        let mut sqls = Vec::new();
        let mut after = Vec::new();
        for (ddl, info) in ddls.iter().zip(&preview.after) {
            if let Some(sql) = self.routed(ddl)? {
                sqls.push(sql);
                after.push(json(info)?);
            }
        }
        if sqls.is_empty() {
            self.structures.accept(table, preview.end);
            return self.go_on_behind(place.end, course).await;
        }
        let target = self.unit.rules.target(&table);
        let met = Met {
            info: Info {
                task: self.unit.task.clone(),
                source: self.unit.source.clone(),
                up_schema: table.schema.clone(),
                up_table: table.table.clone(),
                down_schema: target.schema.clone(),
                down_table: target.table.clone(),
                ddls: Some(sqls),
                table_info_before: Some(json(&preview.before)?),
                table_info_after: Some(after),
                ..Info::default()
            },
            end: preview.end,
            session: place.session,
            behind: place.end,
            table,
        };
        let span = tracing::info_span!(
            "shard_ddl",
            dm.task = %self.unit.task,
            dm.source = %self.unit.source,
            dm.table = %met.table,
            dm.target = %target,
            dm.worker = %self.unit.worker,
        );
        Box::pin(self.coordinate(met, course).instrument(span)).await
    }

    async fn coordinate(&mut self, mut met: Met, course: Course) -> Result<()> {
        met.info.traceparent = dm_trace::current_traceparent();
        self.unit.steps.reach(Step::Met).await;
        let answer = self.ask(&met).await?;
        self.unit.steps.reach(Step::Ordered).await;
        let operation = &answer.operation;
        match &operation.conflict_stage {
            ConflictStage::None | ConflictStage::Unlocked | ConflictStage::Resolved => {
                self.carry_out(met, answer, course).await
            }
            ConflictStage::SkipWaitRedirect if !self.unit.is_strict() => {
                self.hold(met, &answer, course).await
            }
            ConflictStage::SkipWaitRedirect | ConflictStage::Detected | ConflictStage::Error => {
                Err(conflict(&met.info, &operation.conflict_message).into())
            }
            ConflictStage::Other(stage) => {
                let text = format!("unknown conflict stage `{stage}`");
                Err(conflict(&met.info, &text).into())
            }
        }
    }

    /// Reports and waits for the answer, in view of those who ask for the status.
    async fn ask(&mut self, met: &Met) -> Result<Answer> {
        let unit = self.unit.clone();
        let lock = met.info.lock_id();
        unit.board.update(|f| {
            f.blocking = met.info.ddls.clone().unwrap_or_default();
            f.lock.clone_from(&lock);
        });
        let owner = format!("{}-{}", unit.source, met.table);
        let (board, waits) = (unit.board.clone(), !unit.is_strict());
        let on_conflict = |operation: &Operation| {
            tracing::warn!(
                lock = operation.id,
                owner,
                message = operation.conflict_message,
                "shard DDL in conflict with other tables"
            );
            let text = operation.conflict_message.clone();
            board.update(|f| f.conflict = Some((owner.clone(), text)));
            waits
        };
        let optimist = unit.optimist();
        let wait = tracing::info_span!("wait_for_operation", dm.lock = %lock);
        let reported = optimist.report(&met.info, on_conflict).instrument(wait);
        let answer = unit.guarded(reported).await;
        unit.board.update(|f| {
            f.blocking.clear();
            f.lock.clear();
            f.conflict = None;
        });
        answer
    }

    /// Executes what the answer says, whatever was reported, and takes the structure that the table has upstream.
    async fn carry_out(&mut self, met: Met, answer: Answer, course: Course) -> Result<()> {
        let Answer { operation, .. } = &answer;
        let sqls = operation.ddls.clone().unwrap_or_default();
        let parent = operation.traceparent.as_deref();
        if sqls.is_empty() {
            let span = dm_trace::span_under!(parent, "skip_shard_ddl", dm.lock = %operation.id, dm.source = %self.unit.source, dm.worker = %self.unit.worker);
            span.in_scope(|| tracing::info!(lock = operation.id, table = %met.table, "nothing to execute for this table"));
        } else {
            let span = dm_trace::span_under!(parent, "execute_shard_ddl", dm.lock = %operation.id, dm.source = %self.unit.source, dm.worker = %self.unit.worker);
            let session = met.session;
            self.execute(Execution { sqls, session })
                .instrument(span)
                .await?;
        }
        self.forget_targets();
        self.structures.accept(met.table, met.end);
        self.progress.told = Some(Told::from(&answer));
        self.go_on_behind(met.behind, course).await?;
        self.unit.steps.reach(Step::Told).await;
        self.finish_told().await
    }

    /// Says that the last operation was carried out, if that may not have been said.
    pub(super) async fn finish_told(&mut self) -> Result<()> {
        let Some(told) = self.progress.told.clone() else {
            return Ok(());
        };
        let unit = self.unit.clone();
        let span = tracing::info_span!("report_done");
        unit.guarded(unit.optimist().done(&told).instrument(span))
            .await?;
        self.unit.steps.reach(Step::Confirmed).await;
        self.progress.told = None;
        self.touch();
        Ok(())
    }

    /// The table keeps its structure and waits; the others go on.
    async fn hold(&mut self, met: Met, answer: &Answer, course: Course) -> Result<()> {
        let from = match (course, &self.progress.held.again) {
            (Course::Again, Some(again)) => again.at.clone(),
            _ => self.progress.main.position.clone(),
        };
        tracing::info!(table = %met.table, %from, message = answer.operation.conflict_message, "the table waits to be redirected");
        self.progress.held.hold(met.table, from, answer.revision.0);
        self.go_on_behind(met.behind, course).await?;
        self.watch_redirects();
        Ok(())
    }

    async fn go_on_behind(&mut self, end: Position, course: Course) -> Result<()> {
        match course {
            Course::Main => self.after_ddl(end).await,
            Course::Again => {
                self.progress.held.reached(end);
                self.flush().await
            }
        }
    }
}

/// The table that all statements of an event are about.
fn one_table(ddls: &[Ddl]) -> std::result::Result<TableName, DmError> {
    let mut names: Vec<TableName> = ddls.iter().filter_map(Ddl::table).map(Into::into).collect();
    names.dedup();
    match <[TableName; 1]>::try_from(names) {
        Ok([table]) => Ok(table),
        Err(names) => {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let code = Code::SYNCER_UNIT_DDL_ON_MULTIPLE_TABLE;
            Err(DmError::new(code, &[&names.join(" ")]))
        }
    }
}

fn json(info: &Arc<TableInfo>) -> std::result::Result<OpaqueJson, DmError> {
    OpaqueJson::parse(&info.to_json())
        .map_err(|e| DmError::uncoded(format!("structure of {}: {e}", info.name)))
}

fn conflict(info: &Info, message: &str) -> DmError {
    let ddls = info.ddls.as_deref().unwrap_or_default().join(" ");
    DmError::new(
        Code::SYNCER_SHARD_DDL_CONFLICT,
        &[&format!("[{ddls}]"), &message],
    )
}
