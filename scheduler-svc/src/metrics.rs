//! The figures that DM's dashboards know.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use dm_service::metrics::{Error, Metrics};
use prometheus::GaugeVec;

use crate::machine::Scheduler;
use crate::machine::record::WorkerStage;

/// `dm_master_worker_state`, one series per registered worker.
#[derive(Clone)]
pub(crate) struct WorkerStates {
    gauges: GaugeVec,
    shown: Arc<Mutex<BTreeSet<String>>>,
}

impl WorkerStates {
    pub(crate) fn register(metrics: &Metrics) -> Result<Self, Error> {
        let help =
            "state of worker, -1 - unrecognized, 0 - offline, 1 - free, 1.5 - relay, 2 - bound";
        let gauges = metrics.float_gauges("dm_master_worker_state", help, &["worker"])?;
        Ok(Self {
            gauges,
            shown: Arc::default(),
        })
    }

    /// Brings the series up to date; those of workers that were taken out go.
    pub(crate) fn show(&self, scheduler: &Scheduler) {
        let mut now = BTreeSet::new();
        for row in scheduler.worker_rows() {
            self.gauges
                .with_label_values(&[row.name.as_str()])
                .set(number(row.stage));
            now.insert(row.name.into());
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.difference(&now) {
            // It was there a moment ago, and nobody else removes it.
            let _ = self.gauges.remove_label_values(&[gone.as_str()]);
        }
        *shown = now;
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
