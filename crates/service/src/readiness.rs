//! Whether this process should be sent requests, and if not, why: a set of named conditions, each holding or not for a reason.
//!
//! Being a standby is no reason against: standbys answer. Each change of a condition is logged once; the cause, after the
//! first `: ` of a reason, may change with each try and is no change.

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
        if self.set(condition, Some(reason.clone())) {
            tracing::warn!(condition, reason, "not ready");
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

    /// Whether that is worth a line in the log.
    fn set(&self, condition: &'static str, reason: Option<String>) -> bool {
        let mut is_news = false;
        self.0.send_if_modified(|conditions| {
            let before = conditions.get(condition);
            if before == Some(&reason) {
                return false;
            }
            let matter = |reason: &Option<String>| reason.as_deref().map(matter).map(str::to_owned);
            // A condition that holds from the start is no news.
            is_news = before.map(matter).unwrap_or_default() != matter(&reason);
            conditions.insert(condition, reason);
            true
        });
        is_news
    }
}

/// A reason without its cause.
fn matter(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(matter, _)| matter)
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

    #[test]
    fn another_cause_is_shown_and_no_news() {
        let readiness = Readiness::default();
        assert!(readiness.set("replica", Some("etcd: refused".to_owned())));
        assert!(!readiness.set("replica", Some("etcd: timed out".to_owned())));
        assert_eq!(readiness.reasons(), ["replica: etcd: timed out"]);
        assert!(readiness.set("replica", Some("the name is in use".to_owned())));
    }
}
