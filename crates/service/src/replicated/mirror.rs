//! A replica's status, mirrored to where others look: routing, readiness, metrics, the status page.
//!
//! Each mirror is level-triggered: it copies what is, whenever something has changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dm_replica::{Handle, Machine, Status};
use prometheus::IntGaugeVec;
use serde_json::Value;
use tokio::sync::watch;

use crate::context::{Context, OnExit};
use crate::layers::forward::LeaderView;
use crate::metrics;

/// The condition that the replica's state is loaded and its feed flows.
const CONDITION: &str = "replica";
/// The status page is at most this old.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);

/// Who leads, for the forwarding layer.
pub(super) fn leader(
    ctx: &Context,
    mut status: watch::Receiver<Status>,
) -> watch::Receiver<LeaderView> {
    let (view, seen) = watch::channel(view(&status.borrow()));
    ctx.spawn("mirror the leader", OnExit::Log, async move {
        while status.changed().await.is_ok() {
            let now = self::view(&status.borrow_and_update());
            view.send_if_modified(|old| std::mem::replace(old, now.clone()) != now);
        }
    });
    seen
}

fn view(status: &Status) -> LeaderView {
    match &status.leader {
        _ if status.leads.is_some() => LeaderView::Self_,
        // First in the line, but not to be trusted with it at the moment: wait for what comes.
        Some(leader) if leader.id == status.name => LeaderView::Unknown,
        Some(leader) => LeaderView::Other {
            addr: leader.addr.clone(),
        },
        None => LeaderView::Unknown,
    }
}

/// `/readyz`; readiness itself logs each change once.
pub(super) fn readiness(ctx: &Context, mut status: watch::Receiver<Status>) {
    let readiness = ctx.readiness().clone();
    readiness.not_ready(CONDITION, status.borrow().troubles.join("; "));
    ctx.spawn("mirror readiness", OnExit::Log, async move {
        loop {
            let troubles = status.borrow_and_update().troubles.join("; ");
            if troubles.is_empty() {
                readiness.ready(CONDITION);
            } else {
                readiness.not_ready(CONDITION, troubles);
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Gauges of the loop. Counters are shown as they stand, set and not added to.
pub(super) fn metrics(
    ctx: &Context,
    mut status: watch::Receiver<Status>,
) -> Result<(), metrics::Error> {
    let leads = ctx
        .metrics()
        .gauge("dm_replica_leads", "1 while this replica leads its role")?;
    let term = ctx.metrics().gauge(
        "dm_replica_term",
        "Create-revision of the leadership key that this replica leads by, 0 if it does not",
    )?;
    let applied = ctx.metrics().gauge(
        "dm_replica_applied_revision",
        "Revision that the fold has reached",
    )?;
    let counts = ctx.metrics().gauges(
        "dm_replica_loop",
        "What the loop has done since the start, and what it has at hand",
        &["what"],
    )?;
    let lag = ctx.metrics().float_gauge(
        "dm_replica_feed_lag_seconds",
        "From the arrival of the last batch to the end of its fold",
    )?;
    let seconds = ctx.metrics().float_gauge(
        "dm_replica_commit_seconds_total",
        "Time spent waiting for committed transactions",
    )?;
    ctx.spawn("mirror metrics", OnExit::Log, async move {
        loop {
            {
                let status = status.borrow_and_update();
                leads.set(i64::from(status.leads.is_some()));
                term.set(status.leads.as_ref().map_or(0, |t| t.create_revision.0));
                applied.set(status.applied.0);
                lag.set(status.stats.feed_lag.as_secs_f64());
                seconds.set(status.stats.commit_time.as_secs_f64());
                count(&counts, &status.stats);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            if status.changed().await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn count(gauges: &IntGaugeVec, stats: &dm_replica::Stats) {
    let set = |what: &str, value: u64| {
        gauges
            .with_label_values(&[what])
            .set(i64::try_from(value).unwrap_or(i64::MAX))
    };
    set("loads", stats.loads);
    set("batches", stats.batches);
    set("events", stats.events);
    set("stale_events", stats.stale_events);
    set("commits", stats.commits);
    set("committed_proposals", stats.committed_proposals);
    set("guard_failures", stats.guard_failures);
    set("refused", stats.refused);
    set("lost_replies", stats.lost_replies);
    set("wanted", stats.wanted as u64);
    set("in_flight", stats.in_flight as u64);
    set("audits", stats.audits);
    set("audit_differences", stats.audit_differences);
    set("terms", stats.terms);
}

/// The machine's own part of the status page, taken from the loop now and then.
pub(super) fn summary<M: Machine>(
    ctx: &Context,
    handle: Handle<M>,
    summary: impl Fn(&M) -> Value + Clone + Send + Sync + 'static,
    page: Arc<Mutex<Value>>,
) {
    ctx.spawn("mirror the state", OnExit::Log, async move {
        let mut status = handle.status();
        loop {
            let look = summary.clone();
            if let Ok(now) = handle.read_stale(move |machine, _| look(machine)).await {
                *page.lock().unwrap_or_else(PoisonError::into_inner) = now;
            }
            tokio::time::sleep(SUMMARY_EVERY).await;
            if status.changed().await.is_err() {
                return;
            }
        }
    });
}
