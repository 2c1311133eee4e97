//! What the loop says of itself: the status, the log line of a new term, the goal of the probe.

use dm_store::Revision;

use super::Loop;
use crate::line::Term;
use crate::machine::Machine;
use crate::probe::Predecessor;
use crate::status::Status;

impl<M: Machine> Loop<M> {
    /// Publishes the status and points the probe at the one before us.
    pub(super) fn tell(&mut self) {
        let leads = self.leads();
        if leads != self.last_term {
            self.announce(leads.as_ref());
            self.last_term.clone_from(&leads);
        }
        let health = self.feed_health.borrow().clone();
        self.stats.stale_events = health.stats.stale_events;
        self.stats.wanted = self.subjects.len();
        self.stats.in_flight = self.flights.len();
        let mut troubles: Vec<String> = health
            .trouble
            .iter()
            .map(|t| format!("etcd: {t}"))
            .collect();
        if self.applied == Revision::ZERO && troubles.is_empty() {
            troubles.push("etcd: the state has not been read yet".to_owned());
        }
        if !self.session().is_some_and(|s| s.is_valid()) {
            troubles.push("etcd: no valid lease".to_owned());
        }
        troubles.extend(self.moves.trouble().map(str::to_owned));
        let line: Vec<_> = self.line.candidates().map(|c| c.campaign.clone()).collect();
        let now = Status {
            role: self.settings.role,
            name: self.settings.member.name.clone(),
            addr: self.settings.member.addr.clone(),
            leads,
            leader: line.first().cloned(),
            line,
            lease: self.session().map(|s| s.lease),
            faults: self.line.faults().cloned().collect(),
            is_evicted: self.is_evicted(),
            applied: self.applied,
            troubles,
            stats: self.stats,
        };
        // Who reads when the status changes must not change it by reading.
        self.status.send_if_modified(|status| {
            let is_news = *status != now;
            *status = now;
            is_news
        });
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
