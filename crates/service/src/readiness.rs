//! Whether this process should be sent requests, and if not, why: a set of named conditions, each holding or not for a reason.
//!
//! Being a standby is no reason against: standbys answer. Each change of a condition is logged once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// Conditions by name, with the reason why one does not hold. Clones share them.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<BTreeMap<&'static str, Option<String>>>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl Readiness {
    /// The condition does not hold (any more), for this reason, such as `unreachable since 12:00:01`.
    pub fn not_ready(&self, condition: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        let reason_for_log = reason.clone();
        if self.set(condition, Some(reason)) {
            tracing::warn!(condition, reason = reason_for_log, "not ready");
        }
    }

    /// The condition holds.
    pub fn ready(&self, condition: &'static str) {
        if self.set(condition, None) {
            tracing::info!(condition, "ready");
        }
    }

    /// `condition: reason` of each one that does not hold; empty when the process is ready.
    pub fn reasons(&self) -> Vec<String> {
        let conditions = self.0.borrow();
        conditions
            .iter()
            .filter_map(|(name, reason)| Some(format!("{name}: {}", reason.as_ref()?)))
            .collect()
    }

    /// Waits for the next change of any condition, and says whether the process is ready after it.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    fn set(&self, condition: &'static str, reason: Option<String>) -> bool {
        self.0.send_if_modified(|conditions| {
            if conditions.get(condition) == Some(&reason) {
                return false;
            }
            let was_ready = conditions
                .insert(condition, reason.clone())
                .flatten()
                .is_none();
            was_ready != reason.is_none() || reason.is_some()
        })
    }
}

pub(crate) struct Changes(watch::Receiver<BTreeMap<&'static str, Option<String>>>);

impl Changes {
    pub(crate) fn is_ready(&mut self) -> bool {
        self.0.borrow_and_update().values().all(Option::is_none)
    }

    /// `false` when nobody can change anything any more.
    pub(crate) async fn next(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_must_hold() {
        let readiness = Readiness::default();
        readiness.not_ready("etcd", "connecting");
        readiness.not_ready("feed", "loading");
        readiness.ready("etcd");
        assert_eq!(readiness.reasons(), ["feed: loading"]);
        readiness.ready("feed");
        assert!(readiness.reasons().is_empty());
    }

    #[test]
    fn saying_the_same_twice_is_no_change() {
        let readiness = Readiness::default();
        assert!(readiness.set("etcd", Some("down".to_owned())));
        assert!(!readiness.set("etcd", Some("down".to_owned())));
        assert!(readiness.set("etcd", None));
        assert!(!readiness.set("etcd", None));
    }
}
