//! A shard DDL that all tables of this source have met: report it, do as told, say so, and apply what was held back.
//!
//! What was done is written downstream before etcd hears of it, so that a crash between the two cannot report the same DDL a second time.

use dm_errors::DmError;
use dm_keyspace::pessimism::{Info, Operation};
use tracing::Instrument;

use super::ddl::Execution;
use super::engine::Engine;
use crate::downstream::connection;
use crate::error::{Error, Result, downstream};
use crate::names::TableName;
use crate::shard::group::{Group, Phase};
use crate::unit::steps::Step;

impl Engine {
    /// Brings a DDL that was under way when this run began, or has just become complete, to its end.
    pub(super) async fn finish_open_group(&mut self) -> Result<()> {
        while let Some(target) = self.progress.group_at_work().cloned() {
            let span = tracing::info_span!(
                "shard_ddl",
                dm.task = %self.unit.task,
                dm.source = %self.unit.source,
                dm.target = %target,
                dm.worker = %self.unit.worker,
            );
            self.resolve(&target).instrument(span).await?;
        }
        Ok(())
    }

    async fn resolve(&mut self, target: &TableName) -> Result<()> {
        loop {
            match self.group(target)?.phase.clone() {
                Phase::Gathering => return Ok(()),
                Phase::Reporting => self.report(target).await?,
                Phase::Executing { operation } => self.look_back(target, operation).await?,
                Phase::Told { operation } => self.confirm(target, &operation).await?,
                Phase::Replaying { at } => {
                    let span = tracing::info_span!("replay_held_rows", dm.target = %target);
                    self.unit.steps.reach(Step::Replaying).await;
                    self.replay(target, at).instrument(span).await?;
                    self.unit.steps.reach(Step::Replayed).await;
                    self.group(target)?.resolved();
                    let rules = self.unit.rules.clone();
                    self.progress.rehome(target, |table| rules.target(table));
                    self.flush().await?;
                    self.unit.steps.reach(Step::Resolved).await;
                    tracing::info!(%target, "shard DDL resolved");
                    return Ok(());
                }
            }
        }
    }

    fn group(&mut self, target: &TableName) -> Result<&mut Group> {
        self.progress
            .groups
            .get_mut(target)
            .ok_or_else(|| Error::Coded(DmError::uncoded(format!("no shard group for {target}"))))
    }

    /// Waits for the order and follows it.
    async fn report(&mut self, target: &TableName) -> Result<()> {
        let item = self.group(target)?.items.first().cloned();
        let item = item.ok_or_else(|| DmError::uncoded(format!("no open DDL for {target}")))?;
        let mut info = Info::new(
            self.unit.task.clone(),
            self.unit.source.clone(),
            target.schema.as_str(),
            target.table.as_str(),
            item.ddls.clone(),
        );
        self.unit.steps.reach(Step::Met).await;
        info.traceparent = dm_trace::current_traceparent();
        let (lock, ddls) = (info.lock_id(), item.ddls.clone());
        self.unit.board.update(|f| {
            f.blocking = ddls;
            f.lock.clear();
        });
        let wait = tracing::info_span!("wait_for_operation", dm.lock = %lock);
        let unit = self.unit.clone();
        let operation = unit
            .guarded(unit.coordinator.report(&info).instrument(wait))
            .await?;
        self.unit.board.update(|f| f.lock.clone_from(&lock));
        self.unit.steps.reach(Step::Ordered).await;
        let text = String::from_utf8_lossy(&operation.to_bytes()).into_owned();
        let parent = operation.traceparent.clone();
        let place = self
            .group(target)?
            .last_start()
            .cloned()
            .unwrap_or_default();
        let execution = Execution {
            sqls: self.instead(&place, item.ddls)?,
            session: item.session,
        };
        if operation.exec {
            self.group(target)?.phase = Phase::Executing {
                operation: text.clone(),
            };
            self.flush().await?;
            self.unit.steps.reach(Step::Executing).await;
            let span = dm_trace::span_under!(parent.as_deref(), "execute_shard_ddl", dm.lock = %lock, dm.source = %self.unit.source, dm.worker = %self.unit.worker);
            let executed = self.execute(execution).instrument(span).await;
            self.note_failure(&executed, &place, true);
            executed?;
        } else {
            let span = dm_trace::span_under!(parent.as_deref(), "skip_shard_ddl", dm.lock = %lock, dm.source = %self.unit.source, dm.worker = %self.unit.worker);
            span.in_scope(|| {
                tracing::info!(lock, "shard DDL skipped: another source has executed it")
            });
        }
        self.told(target, text).await
    }

    async fn told(&mut self, target: &TableName, operation: String) -> Result<()> {
        self.forget_targets();
        self.progress.attempt = None;
        self.group(target)?.phase = Phase::Told { operation };
        self.flush().await
    }

    /// A run ended while it executed. If it had come to the end, the order was followed; otherwise it is asked for again, since the lock may have been resolved
    /// by hand meanwhile.
    async fn look_back(&mut self, target: &TableName, operation: String) -> Result<()> {
        let item = self.group(target)?.items.first().cloned();
        let sqls = item.map(|item| item.ddls).unwrap_or_default();
        let unit = self.unit.clone();
        let executed = async {
            let conn = connection::ddl(&unit.config.to).await;
            let mut conn = conn.map_err(downstream("connect"))?;
            self.executed(&mut conn, &sqls).await
        };
        if unit.guarded(executed).await? == sqls.len() {
            return self.told(target, operation).await;
        }
        self.group(target)?.phase = Phase::Reporting;
        Ok(())
    }

    /// Lets etcd know.
    async fn confirm(&mut self, target: &TableName, operation: &str) -> Result<()> {
        let operation = Operation::from_bytes(operation.as_bytes())
            .map_err(|e| DmError::uncoded(format!("recorded order for {target}: {e}")))?;
        self.unit.steps.reach(Step::Told).await;
        let unit = self.unit.clone();
        let span = tracing::info_span!("report_done", dm.lock = %operation.id);
        unit.guarded(unit.coordinator.done(&operation).instrument(span))
            .await?;
        self.unit.board.update(|f| {
            f.blocking.clear();
            f.lock.clear();
        });
        self.unit.steps.reach(Step::Confirmed).await;
        let group = self.group(target)?;
        group.phase = match group.first_end().cloned() {
            Some(at) => Phase::Replaying { at },
            None => Phase::Gathering,
        };
        self.flush().await
    }
}
