//! What the loop says of itself: the status, the log line of a new term, the goal of the probe.

use std::time::Duration;

use dm_keyspace::LeaseId;
use dm_store::Revision;
use tokio::time::Instant;

use super::Loop;
use crate::line::Term;
use crate::machine::Machine;
use crate::probe::Predecessor;
use crate::status::Status;

/// How long mere progress (revisions, counters) may wait to be told; a busy loop is not slowed by its listeners.
const PROGRESS_EVERY: Duration = Duration::from_millis(20);

/// What others act on: told at once when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Essence {
    leads: Option<Term>,
    line: u64,
    lease: Option<LeaseId>,
    troubles: Vec<String>,
}

/// What was told last, and when.
#[derive(Debug)]
pub(super) struct Told {
    essence: Essence,
    at: Instant,
    /// Something has happened since that can wait.
    is_stale: bool,
}

impl Told {
    pub(super) fn nothing() -> Self {
        Self {
            essence: Essence::default(),
            at: Instant::now(),
            is_stale: false,
        }
    }

    /// When progress that waits is due; never, while none does.
    pub(super) async fn due(&self) {
        if self.is_stale {
            tokio::time::sleep_until(self.at + PROGRESS_EVERY).await;
        } else {
            std::future::pending::<()>().await;
        }
    }
}

impl<M: Machine> Loop<M> {
    /// Publishes the status and points the probe at the one before us: at once what others act on, progress a little later.
    pub(super) fn tell(&mut self) {
        let essence = self.essence();
        if essence == self.told.essence && self.told.at.elapsed() < PROGRESS_EVERY {
            self.told.is_stale = true;
            return;
        }
        if essence.leads != self.told.essence.leads {
            self.announce(essence.leads.as_ref());
        }
        self.publish(&essence);
        self.point_probe();
        self.told = Told {
            essence,
            at: Instant::now(),
            is_stale: false,
        };
    }

    fn essence(&self) -> Essence {
        Essence {
            leads: self.leads(),
            line: self.line.changes(),
            lease: self.session().map(|s| s.lease),
            troubles: self.troubles(),
        }
    }

    fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if let Some(trouble) = &self.feed_health.borrow().trouble {
            troubles.push(format!("etcd: {trouble}"));
        } else if self.applied == Revision::ZERO {
            troubles.push("etcd: the state has not been read yet".to_owned());
        }
        if !self.session().is_some_and(|s| s.is_valid()) {
            troubles.push("etcd: no valid lease".to_owned());
        }
        troubles.extend(self.moves.trouble().map(str::to_owned));
        troubles
    }

    fn publish(&mut self, essence: &Essence) {
        self.stats.stale_events = self.feed_health.borrow().stats.stale_events;
        self.stats.wanted = self.subjects.len();
        self.stats.in_flight = self.flights.len();
        let line: Vec<_> = self.line.candidates().map(|c| c.campaign.clone()).collect();
        let now = Status {
            role: self.settings.role,
            name: self.settings.member.name.clone(),
            addr: self.settings.member.addr.clone(),
            leads: essence.leads.clone(),
            leader: line.first().cloned(),
            line,
            lease: essence.lease,
            faults: self.line.faults().cloned().collect(),
            is_evicted: self.is_evicted(),
            applied: self.applied,
            troubles: essence.troubles.clone(),
            stats: self.stats,
        };
        // Who reads when the status changes must not change it by reading.
        self.status.send_if_modified(|status| {
            let is_news = *status != now;
            *status = now;
            is_news
        });
    }

    fn point_probe(&self) {
        let before = self.session().and_then(|s| self.line.before(s.lease));
        let before = before.map(|c| Predecessor {
            lease: c.lease,
            addr: c.campaign.addr.clone(),
        });
        self.predecessor
            .send_if_modified(|current| std::mem::replace(current, before.clone()) != before);
    }

    fn announce(&mut self, leads: Option<&Term>) {
        match leads {
            Some(term) => {
                self.stats.terms += 1;
                tracing::info!(role = %self.settings.role, term = %term.create_revision, applied = %self.applied, wanted = self.subjects.len(), "leading");
            }
            None => tracing::info!(role = %self.settings.role, "not leading any more"),
        }
    }
}
