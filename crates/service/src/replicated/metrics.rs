//! What the loop does, as figures.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_replica::{LineFault, Observer, Stats, Status};
use prometheus::{Histogram, IntCounterVec, IntGauge, IntGaugeVec};
use serde_json::Value;
use tokio::sync::watch;

use crate::context::{Context, OnExit};
use crate::metrics::{Error, LATENCY_BUCKETS, Metrics};

/// Figures are at most this old.
const EVERY: Duration = Duration::from_millis(200);
/// Proposals in one transaction; etcd's usual limit is 128 operations.
const BATCH_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Distributions of the loop's transactions.
pub(super) struct Commits {
    took: Histogram,
    proposals: Histogram,
}

impl Commits {
    pub(super) fn register(metrics: &Metrics) -> Result<Self, Error> {
        Ok(Self {
            took: metrics.histogram(
                "dm_replica_commit_seconds",
                "From sending a transaction to the answer that it is committed",
                &LATENCY_BUCKETS,
            )?,
            proposals: metrics.histogram(
                "dm_replica_commit_proposals",
                "Proposals that a committed transaction carried",
                &BATCH_BUCKETS,
            )?,
        })
    }
}

impl Observer for Commits {
    fn committed(&self, took: Duration, proposals: usize) {
        self.took.observe(took.as_secs_f64());
        let proposals = u32::try_from(proposals).unwrap_or(u32::MAX);
        self.proposals.observe(f64::from(proposals));
    }
}

/// Records that cannot be used, those of the election included.
#[derive(Clone)]
pub(super) struct Faults(IntGauge);

impl Faults {
    pub(super) fn register(metrics: &Metrics) -> Result<Self, Error> {
        let gauge = metrics.gauge(
            "dm_faults",
            "Records in etcd that this replica cannot use; each is named in /status",
        )?;
        Ok(Self(gauge))
    }

    /// `summary` names the machine's own under `faults`, each with its `key`.
    pub(super) fn show(&self, line: &[LineFault], summary: &Value) {
        let own = summary["faults"].as_array().into_iter().flatten();
        let keys: BTreeSet<&str> = own
            .filter_map(|fault| fault["key"].as_str())
            .chain(line.iter().map(|fault| fault.key.as_str()))
            .collect();
        self.0.set(i64::try_from(keys.len()).unwrap_or(i64::MAX));
    }
}

/// Keeps the figures as the status is.
pub(super) fn mirror(ctx: &Context, mut status: watch::Receiver<Status>) -> Result<(), Error> {
    let metrics = ctx.metrics();
    let leads = metrics.gauge("dm_replica_leads", "1 while this replica leads its role")?;
    let term = metrics.gauge(
        "dm_replica_term",
        "Create-revision of the leadership key that this replica leads by, 0 if it does not",
    )?;
    let applied = metrics.gauge(
        "dm_replica_applied_revision",
        "Revision that the fold has reached",
    )?;
    let lag = metrics.float_gauge(
        "dm_replica_feed_lag_seconds",
        "From the arrival of the last batch to the end of its fold",
    )?;
    let mut counts = Counts::register(metrics)?;
    ctx.spawn("mirror metrics", OnExit::Log, async move {
        loop {
            {
                let status = status.borrow_and_update();
                leads.set(i64::from(status.leads.is_some()));
                term.set(status.leads.as_ref().map_or(0, |t| t.create_revision.0));
                applied.set(status.applied.0);
                lag.set(status.stats.feed_lag.as_secs_f64());
                counts.show(&status.stats);
            }
            tokio::time::sleep(EVERY).await;
            if status.changed().await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The loop's own counters, added up to where it says they stand.
struct Counts {
    events: IntCounterVec,
    depths: IntGaugeVec,
}

impl Counts {
    fn register(metrics: &Metrics) -> Result<Self, Error> {
        Ok(Self {
            events: metrics.counters(
                "dm_replica_loop_total",
                "What the loop has done since the start",
                &["what"],
            )?,
            depths: metrics.gauges(
                "dm_replica_depth",
                "What the loop has at hand: subjects that call for something, transactions on their way",
                &["what"],
            )?,
        })
    }

    fn show(&mut self, stats: &Stats) {
        for (what, stands_at) in counters(stats) {
            let counter = self.events.with_label_values(&[what]);
            counter.inc_by(stands_at.saturating_sub(counter.get()));
        }
        for (what, depth) in [("wanted", stats.wanted), ("in_flight", stats.in_flight)] {
            let depth = i64::try_from(depth).unwrap_or(i64::MAX);
            self.depths.with_label_values(&[what]).set(depth);
        }
    }
}

/// All that the loop counts, by name.
pub(super) fn counters(stats: &Stats) -> [(&'static str, u64); 13] {
    [
        ("loads", stats.loads),
        ("batches", stats.batches),
        ("events", stats.events),
        ("stale_events", stats.stale_events),
        ("commits", stats.commits),
        ("committed_proposals", stats.committed_proposals),
        ("guard_failures", stats.guard_failures),
        ("refused", stats.refused),
        ("lost_replies", stats.lost_replies),
        ("unknown", stats.unknown),
        ("audits", stats.audits),
        ("audit_differences", stats.audit_differences),
        ("terms", stats.terms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_follow_the_loop_and_distributions_each_commit() {
        let metrics = Metrics::default();
        let mut counts = Counts::register(&metrics).unwrap();
        let mut stats = Stats {
            commits: 3,
            wanted: 2,
            ..Stats::default()
        };
        counts.show(&stats);
        stats.commits = 5;
        stats.wanted = 0;
        counts.show(&stats);
        let commits = Commits::register(&metrics).unwrap();
        commits.committed(Duration::from_millis(3), 7);
        let text = metrics.text();
        for line in [
            "# TYPE dm_replica_loop_total counter",
            "dm_replica_loop_total{what=\"commits\"} 5",
            "dm_replica_depth{what=\"wanted\"} 0",
            "# TYPE dm_replica_commit_seconds histogram",
            "dm_replica_commit_proposals_bucket{le=\"8\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_fault_that_two_name_is_counted_once() {
        let metrics = Metrics::default();
        let faults = Faults::register(&metrics).unwrap();
        let line = [LineFault {
            key: "a".to_owned(),
            reason: "no".to_owned(),
        }];
        faults.show(
            &line,
            &serde_json::json!({ "faults": [{ "key": "a" }, { "key": "b" }] }),
        );
        assert!(metrics.text().contains("dm_faults 2"));
        faults.show(&[], &Value::Null);
        assert!(metrics.text().contains("dm_faults 0"));
    }
}
