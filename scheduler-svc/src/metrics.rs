//! The figures that DM's dashboards know.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use dm_keyspace::{MemberName, Role};
use dm_service::metrics::{Error, Metrics};
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec};

use crate::machine::Scheduler;
use crate::machine::record::WorkerStage;

/// What a worker's records begin with.
const OF_WORKERS: &str = "/dm-worker/";

/// The figures, and what they were made of the last time.
#[derive(Clone)]
pub(crate) struct Figures {
    workers: GaugeVec,
    orphans: IntGaugeVec,
    worker_errors: IntCounterVec,
    terms: IntCounter,
    /// Our own name, by which we know that we lead.
    name: MemberName,
    shown: Arc<Mutex<Shown>>,
}

#[derive(Default)]
struct Shown {
    workers: BTreeSet<String>,
    faults: BTreeSet<String>,
    term: Option<dm_store::Revision>,
}

impl Figures {
    pub(crate) fn register(metrics: &Metrics, name: MemberName) -> Result<Self, Error> {
        let states =
            "state of worker, -1 - unrecognized, 0 - offline, 1 - free, 1.5 - relay, 2 - bound";
        let errors = "counter of errors handling or watching worker events";
        let terms = "number of times that this replica has begun to lead";
        let orphans = "records that can be read and refer to what is gone";
        let worker_errors = metrics.counters("dm_master_worker_event_error", errors, &["type"])?;
        // Both are there from the start. A watch of ours resumes by itself, and what it loses is read again.
        for kind in ["handle", "watch"] {
            worker_errors.with_label_values(&[kind]);
        }
        Ok(Self {
            workers: metrics.float_gauges("dm_master_worker_state", states, &["worker"])?,
            orphans: metrics.gauges("dm_scheduler_orphans", orphans, &["kind"])?,
            worker_errors,
            terms: metrics.counter("dm_master_start_leader_counter", terms)?,
            name,
            shown: Arc::default(),
        })
    }

    /// Brings the series up to date. The workers' are those of the leader alone, as in DM: what several replicas
    /// show would be counted several times.
    pub(crate) fn show(&self, scheduler: &Scheduler) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let line = scheduler.line(Role::Scheduler);
        let leads = line
            .and_then(|line| line.leader())
            .is_some_and(|leader| leader.campaign.id == self.name);
        let term = line.and_then(|line| line.term()).map(|t| t.create_revision);
        if leads && shown.term != term {
            self.terms.inc();
            shown.term = term;
        }
        self.show_workers(&mut shown, scheduler, leads);
        for (kind, count) in scheduler.orphan_counts() {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.orphans.with_label_values(&[kind.as_str()]).set(count);
        }
        let faults = scheduler.faults().map(|fault| fault.key.clone());
        let faults: BTreeSet<String> = faults.filter(|key| key.starts_with(OF_WORKERS)).collect();
        let new = faults.difference(&shown.faults).count();
        self.worker_errors
            .with_label_values(&["handle"])
            .inc_by(u64::try_from(new).unwrap_or(u64::MAX));
        shown.faults = faults;
    }

    /// The series of workers that were taken out go.
    fn show_workers(&self, shown: &mut Shown, scheduler: &Scheduler, leads: bool) {
        let mut now = BTreeSet::new();
        for row in scheduler.worker_rows().filter(|_| leads) {
            self.workers
                .with_label_values(&[row.name.as_str()])
                .set(number(row.stage));
            now.insert(row.name.into());
        }
        for gone in shown.workers.difference(&now) {
            // It was there a moment ago, and nobody else removes it.
            let _ = self.workers.remove_label_values(&[gone.as_str()]);
        }
        shown.workers = now;
    }
}

fn number(stage: WorkerStage) -> f64 {
    match stage {
        WorkerStage::Offline => 0.0,
        WorkerStage::Free => 1.0,
        WorkerStage::Relay => 1.5,
        WorkerStage::Bound => 2.0,
    }
}

#[cfg(test)]
mod tests {
    use dm_replica::Machine;
    use dm_store::{Batch, Event, KeyValue, Revision};

    use super::*;

    fn put(key: &str, value: &str, revision: i64) -> Batch {
        let lease = dm_keyspace::LeaderKey::parse(key.as_bytes());
        let kv = KeyValue {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: lease.map_or(dm_keyspace::LeaseId::default(), |key| key.lease),
        };
        Batch {
            revision: Revision(revision),
            events: vec![Event::Put(kv)],
        }
    }

    #[test]
    fn workers_are_shown_by_the_leader_alone_and_terms_are_counted() {
        let leads = Metrics::default();
        let stands_by = Metrics::default();
        let figures = [(&leads, "a"), (&stands_by, "b")]
            .map(|(metrics, name)| Figures::register(metrics, name.into()).unwrap());
        let mut scheduler = Scheduler::default();
        let worker = dm_keyspace::WorkerInfoKey {
            worker: "w1".into(),
        };
        let info = r#"{"name":"w1","addr":"h:1"}"#;
        scheduler.apply(&put(&worker.encode(), info, 1));
        let place = dm_keyspace::LeaderKey {
            role: Role::Scheduler,
            lease: dm_keyspace::LeaseId(1),
        };
        scheduler.apply(&put(&place.encode(), r#"{"id":"a","addr":"h:2"}"#, 2));
        let gone = dm_keyspace::LastBoundKey {
            worker: "w1".into(),
        };
        let last = dm_keyspace::Bound::new("s9", "w1").to_bytes();
        let last = String::from_utf8(last).unwrap();
        scheduler.apply(&put(&gone.encode(), &last, 3));
        let unreadable = dm_keyspace::WorkerInfoKey {
            worker: "w2".into(),
        };
        scheduler.apply(&put(&unreadable.encode(), "garbage", 4));
        scheduler.decide();
        for _ in 0..2 {
            figures.iter().for_each(|figures| figures.show(&scheduler));
        }
        let (leader, standby) = (leads.text(), stands_by.text());
        assert!(
            leader.contains(r#"dm_master_worker_state{worker="w1"} 0"#),
            "{leader}"
        );
        assert!(
            leader.contains("dm_master_start_leader_counter 1"),
            "{leader}"
        );
        assert!(!standby.contains("dm_master_worker_state{"), "{standby}");
        assert!(
            standby.contains("dm_master_start_leader_counter 0"),
            "{standby}"
        );
        for text in [leader, standby] {
            assert!(
                text.contains(r#"dm_scheduler_orphans{kind="last-bound"} 1"#),
                "{text}"
            );
            assert!(
                text.contains(r#"dm_master_worker_event_error{type="handle"} 1"#),
                "{text}"
            );
        }
    }
}
