//! What has truly happened, and what the coordinator may write after that.

use std::collections::BTreeSet;

use dm_keyspace::pessimism::Operation;

use super::World;
use super::state::{Sources, State, info_in, info_key, operation_key, source};
use super::workers::At;
use crate::etcd::{Etcd, Write};

/// What has happened about one statement since its present round began. All of it is over when neither an operation nor a
/// request to unlock is left.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    /// Who has executed it, apart from those whose execution counts no longer: they have left the task, or their lock was
    /// removed by hand, before they said so.
    pub(super) executed: BTreeSet<usize>,
    /// All have reported it, and somebody was told to execute it for that.
    has_begun: bool,
    /// Who was told to execute it has said that it did.
    pub(super) is_executed: bool,
    /// Whom operators have chosen to execute it, whoever else has or has not.
    pub(super) named: BTreeSet<usize>,
    /// An operator wants it out of the way even if nobody executes it.
    pub(super) is_forced: bool,
}

impl World {
    /// A transaction of the coordinator, which knew of these sources when it sent it.
    pub(super) fn commit(&self, state: &mut State, write: &Write, known: &Sources) {
        let before = state.etcd.clone();
        if !state.write(write) {
            return;
        }
        for who in 0..self.sources {
            let put = write
                .puts
                .iter()
                .find(|(key, ..)| *key == operation_key(who));
            let wrong = match put {
                Some((_, value, _)) => match Operation::from_bytes(value) {
                    Ok(order) => self.judge_order(state, &before, known, who, &order),
                    Err(_) => Some("an order that cannot be read"),
                },
                None => self.judge_removal(state, &before, who),
            };
            state.broken = state.broken.or(wrong);
        }
        let under_way = self.under_way(state);
        for (number, truth) in state.truth.iter_mut().enumerate() {
            if !under_way.contains(&number) {
                *truth = Truth::default();
            }
        }
    }

    /// What is wrong with an order.
    fn judge_order(
        &self,
        state: &mut State,
        before: &Etcd,
        known: &Sources,
        who: usize,
        order: &Operation,
    ) -> Option<&'static str> {
        let is_asked_for = |info: &dm_keyspace::pessimism::Info| {
            info.lock_id() == order.id && info.ddls() == order.ddls()
        };
        if !info_in(before, who).is_some_and(|info| is_asked_for(&info)) {
            return Some("an order for a source that does not wait for this round");
        }
        let number = state.workers[who].passed;
        let have_all_reported = !known.is_empty()
            && (0..self.sources)
                .filter(|other| known.contains(&source(*other)))
                .all(|other| has_reported(state, before, other, number));
        let truth = &mut state.truth[number];
        let is_chosen = truth.named.contains(&who);
        if order.done {
            return Some("an order that is done already");
        }
        if !order.exec {
            let is_time = truth.is_executed || truth.is_forced;
            return (!is_time).then_some("told to skip before it is executed");
        }
        if is_chosen {
            return None;
        }
        truth.has_begun |= have_all_reported;
        if !truth.has_begun {
            Some("told to execute before all have reported")
        } else if truth.is_executed {
            Some("told to execute what is executed")
        } else {
            None
        }
    }

    /// What is wrong with what a transaction has removed of a source.
    fn judge_removal(&self, state: &mut State, before: &Etcd, who: usize) -> Option<&'static str> {
        let had = |key: &str| before.get(key).is_some() && state.etcd.get(key).is_none();
        let (info_went, operation_went) = (had(&info_key(who)), had(&operation_key(who)));
        let worker = &mut state.workers[who];
        let truth = state.truth.get_mut(worker.passed);
        if operation_went && let At::Told(_) | At::Did(_) = worker.at {
            worker.is_void = true;
        }
        if !info_went {
            return None;
        }
        let info = info_in(before, who)?;
        let number = worker.passed;
        let is_own = info.ddls() == self.info(who, number).ddls();
        let truth = truth.filter(|truth| is_own && !truth.named.is_empty());
        let Some(truth) = truth else {
            return Some("a report of another round is removed");
        };
        truth.executed.remove(&who);
        worker.is_void = true;
        matches!(worker.at, At::Waiting).then_some("a report is removed that nobody has answered")
    }
}

/// Whether a source has reached a statement and said so.
fn has_reported(state: &State, etcd: &Etcd, who: usize, number: usize) -> bool {
    let passed = state.workers[who].passed;
    passed > number || passed == number && info_in(etcd, who).is_some()
}
