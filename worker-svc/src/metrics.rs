//! Figures of the subtasks under DM's names, for dashboards that know those.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_service::clock::Clock;
use dm_service::{Context, OnExit};
use prometheus::{Error, GaugeVec, IntGaugeVec};

use crate::binlog::position::Position;
use crate::cast::{Cast, Now};
use crate::subtask::View;

const INTERVAL: Duration = Duration::from_secs(1);

struct Gauges {
    stage: IntGaugeVec,
    file: IntGaugeVec,
    pos: IntGaugeVec,
    rows: IntGaugeVec,
    lag: GaugeVec,
    resolving: IntGaugeVec,
    unsynced: IntGaugeVec,
    shown: BTreeSet<[String; 3]>,
}

/// Keeps the figures up to date until the process ends.
pub(crate) fn mirror(ctx: &Context, cast: Cast) -> Result<(), Error> {
    let metrics = ctx.metrics();
    let task = ["task", "source_id"];
    let node = ["node", "task", "source_id"];
    let mut gauges = Gauges {
        stage: metrics.gauges(
            "dm_worker_task_state",
            "stage of a subtask by the numbers of DM's protocol",
            &["task", "source_id", "worker"],
        )?,
        file: metrics.gauges("dm_syncer_binlog_file", "number of the binlog file", &node)?,
        pos: metrics.gauges("dm_syncer_binlog_pos", "offset in the binlog file", &node)?,
        rows: metrics.gauges(
            "dm_syncer_replicated_rows",
            "rows replicated since the subtask started here",
            &task,
        )?,
        lag: metrics.float_gauges(
            "dm_syncer_replication_lag_gauge",
            "seconds between the last event's time and now",
            &task,
        )?,
        resolving: metrics.gauges(
            "dm_syncer_shard_lock_resolving",
            "1 while a shard DDL waits for other sources",
            &task,
        )?,
        unsynced: metrics.gauges(
            "dm_syncer_unsynced_table_number",
            "tables that have not met an open shard DDL",
            &["task", "source_id", "table"],
        )?,
        shown: BTreeSet::new(),
    };
    let (name, clock) = (ctx.name().to_owned(), ctx.clock().clone());
    let stopped = ctx.stopped();
    ctx.spawn("metrics", OnExit::Fatal, async move {
        while !stopped.is_cancelled() {
            gauges.show(&cast.now(), &name, &clock);
            tokio::time::sleep(INTERVAL).await;
        }
    });
    Ok(())
}

impl Gauges {
    fn show(&mut self, now: &Now, worker: &str, clock: &Clock) {
        let source = now.source.as_ref().map(|(id, _)| id.to_string());
        let source = source.unwrap_or_default();
        let shown: BTreeSet<[String; 3]> = now
            .subtasks
            .iter()
            .map(|v| [v.task.to_string(), source.clone(), worker.to_owned()])
            .collect();
        for gone in self.shown.difference(&shown) {
            // A label that is not there any more needs no removal.
            let _ = self.stage.remove_label_values(gone);
        }
        self.shown = shown;
        self.unsynced.reset();
        for view in &now.subtasks {
            self.subtask(view, &source, worker, clock);
        }
    }

    fn subtask(&self, view: &View, source: &str, worker: &str, clock: &Clock) {
        let task = view.task.as_str();
        let figures = view.board.read();
        let stage = i64::from(i32::from(view.told().stage));
        self.stage
            .with_label_values(&[task, source, worker])
            .set(stage);
        self.position("syncer", task, source, &figures.applied.position);
        let both = [task, source];
        self.rows
            .with_label_values(&both)
            .set(i64::try_from(figures.rows).unwrap_or(i64::MAX));
        let last = Duration::from_secs(u64::from(figures.last_event));
        let lag = match figures.last_event {
            0 => 0.0,
            _ => clock.unix().saturating_sub(last).as_secs_f64(),
        };
        self.lag.with_label_values(&both).set(lag);
        self.resolving
            .with_label_values(&both)
            .set(i64::from(!figures.blocking.is_empty()));
        for group in &figures.groups {
            self.unsynced
                .with_label_values(&[task, source, group.target.as_str()])
                .set(i64::try_from(group.unsynced.len()).unwrap_or(i64::MAX));
        }
    }

    fn position(&self, node: &str, task: &str, source: &str, at: &Position) {
        let labels = [node, task, source];
        let number = at.file.rsplit('.').next().and_then(|n| n.parse().ok());
        self.file
            .with_label_values(&labels)
            .set(number.unwrap_or_default());
        self.pos
            .with_label_values(&labels)
            .set(i64::try_from(at.pos).unwrap_or(i64::MAX));
    }
}
