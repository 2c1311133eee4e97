//! The figures that DM's dashboards know.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use dm_keyspace::{MemberName, Role};
use dm_service::metrics::{Error, Metrics};
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec};

use crate::machine::record::WorkerStage;
use crate::machine::{Mark, Scheduler};

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
    /// How far the changes of workers are shown; none while another one leads.
    mark: Option<Mark>,
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

    /// Only what has changed since the last time is looked at, unless workers were taken out: their series go.
    fn show_workers(&self, shown: &mut Shown, scheduler: &Scheduler, leads: bool) {
        let before = shown.mark.filter(|_| leads);
        shown.mark = leads.then(|| scheduler.mark());
        if let Some(changed) = before.and_then(|mark| scheduler.changed_since(mark)) {
            for (name, stage) in changed {
                self.show_worker(name.as_str(), stage);
                shown.workers.insert(name.to_string());
            }
            return;
        }
        let mut now = BTreeSet::new();
        for row in scheduler.worker_rows().filter(|_| leads) {
            self.show_worker(row.name.as_str(), row.stage);
            now.insert(row.name.into());
        }
        for gone in shown.workers.difference(&now) {
            // It was there a moment ago, and nobody else removes it.
            let _ = self.workers.remove_label_values(&[gone.as_str()]);
        }
        shown.workers = now;
    }

    fn show_worker(&self, name: &str, stage: WorkerStage) {
        self.workers.with_label_values(&[name]).set(number(stage));
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
    use dm_keyspace::{KeepAliveKey, WorkerInfoKey};
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

    fn delete(key: &str, revision: i64) -> Batch {
        Batch {
            revision: Revision(revision),
            events: vec![Event::Delete {
                key: key.to_owned().into(),
                revision: Revision(revision),
            }],
        }
    }

    #[test]
    fn series_of_workers_follow_what_changes_go_with_them_and_are_the_leaders() {
        let metrics = Metrics::default();
        let figures = Figures::register(&metrics, "a".into()).unwrap();
        let mut scheduler = Scheduler::default();
        let info = |name: &str| {
            WorkerInfoKey {
                worker: name.into(),
            }
            .encode()
        };
        let alive = |name: &str| {
            KeepAliveKey {
                worker: name.into(),
            }
            .encode()
        };
        let place = |lease: i64| {
            let (role, lease) = (Role::Scheduler, dm_keyspace::LeaseId(lease));
            dm_keyspace::LeaderKey { role, lease }.encode()
        };
        let mut revision = 0;
        let mut now = |scheduler: &mut Scheduler, batches: Vec<Batch>| {
            for mut batch in batches {
                revision += 1;
                batch.revision = Revision(revision);
                scheduler.apply(&batch);
            }
            scheduler.decide();
            figures.show(scheduler);
            let text = metrics.text();
            let lines = text.lines().filter_map(|line| {
                let line = line.strip_prefix("dm_master_worker_state{worker=\"")?;
                Some(line.replace("\"} ", "="))
            });
            lines.collect::<Vec<_>>().join(" ")
        };
        let record = |name: &str| format!(r#"{{"name":"{name}","addr":"h:1"}}"#);
        let first = vec![
            put(&place(1), r#"{"id":"a","addr":"h:2"}"#, 1),
            put(&info("w1"), &record("w1"), 2),
            put(&info("w2"), &record("w2"), 3),
        ];
        assert_eq!(now(&mut scheduler, first), "w1=0 w2=0");
        assert_eq!(
            now(&mut scheduler, vec![put(&alive("w2"), "{}", 4)]),
            "w1=0 w2=1"
        );
        let third = vec![put(&info("w3"), &record("w3"), 5)];
        assert_eq!(now(&mut scheduler, third), "w1=0 w2=1 w3=0");
        assert_eq!(
            now(&mut scheduler, vec![delete(&info("w1"), 6)]),
            "w2=1 w3=0"
        );
        // Another one leads, and then it is us again; meanwhile a worker has changed.
        let other = vec![
            put(&place(2), r#"{"id":"b","addr":"h:3"}"#, 7),
            delete(&place(1), 8),
            delete(&alive("w2"), 9),
        ];
        assert_eq!(now(&mut scheduler, other), "");
        let again = vec![
            put(&place(3), r#"{"id":"a","addr":"h:2"}"#, 10),
            delete(&place(2), 11),
        ];
        assert_eq!(now(&mut scheduler, again), "w2=0 w3=0");
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
