//! What a worker does, and what it may be asked to do.

use dm_keyspace::pessimism::Operation;
use dm_store::{Guard, KeyRange};

use super::state::{State, info_key, operation_key};
use super::{Action, Workers, World};
use crate::etcd::Write;

/// What a worker is at.
#[derive(Clone, Debug)]
pub(super) enum At {
    /// On its way to its next statement.
    Running,
    /// Has found an operation on its key that is not done.
    Looked(Vec<u8>),
    /// Watches for the deletion of the operation on its key.
    Held,
    /// Has seen it.
    Free,
    /// Has reported its statement.
    Waiting,
    /// Has received this answer.
    Told(Operation),
    /// Has executed or skipped.
    Did(Operation),
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    /// Statements behind its checkpoint.
    pub(super) passed: usize,
    pub(super) at: At,
    /// Has been a source of the task.
    pub(super) has_begun: bool,
    /// What it was told counts no longer: its source has left the task, or the lock was removed by hand.
    pub(super) is_void: bool,
}

impl World {
    /// The next thing that a worker does by itself.
    pub(super) fn step_of_worker(&self, state: &State, who: usize) -> Option<Action> {
        let worker = &state.workers[who];
        let operation = || state.operation(who);
        if !state.is_in_task(who) {
            // It goes on until it hears of it; what it would begin then is left out.
            return match worker.at {
                At::Running => None,
                At::Told(_) => Some(Action::Do(who)),
                At::Did(_) => Some(Action::Done(who)),
                At::Looked(_) | At::Held | At::Free | At::Waiting => Some(Action::Stop(who)),
            };
        }
        let is_at_an_end = worker.passed == self.plan.len();
        match (&worker.at, self.workers) {
            (At::Running, Workers::Prompt) if operation().is_some_and(|o| o.done) => None,
            (At::Running, _) => (!is_at_an_end).then_some(Action::Report(who)),
            // The deletion came while it was looking, or the operation was changed: it waits in vain, as nobody can know, until its
            // operator lets it start anew.
            (At::Held, _) => {
                let is_in_vain = operation().is_none_or(|operation| !operation.done);
                is_in_vain.then_some(Action::Stop(who))
            }
            (At::Looked(_) | At::Free, _) => Some(Action::Report(who)),
            (At::Waiting, _) => None,
            (At::Told(_), _) => Some(Action::Do(who)),
            (At::Did(_), _) => Some(Action::Done(who)),
        }
    }

    pub(super) fn report(&self, state: &mut State, who: usize) {
        let key = operation_key(who);
        let present = state.etcd.get(&key).map(|kv| kv.value.to_vec());
        let is_done = state.operation(who).is_some_and(|operation| operation.done);
        let next = match (&state.workers[who].at, present) {
            (At::Running, Some(value)) if self.workers == Workers::LikeDm => match is_done {
                true => At::Held,
                false => At::Looked(value),
            },
            (At::Looked(seen), present) if Some(seen) != present.as_ref() => At::Held,
            _ => At::Waiting,
        };
        let reports = matches!(next, At::Waiting);
        state.workers[who].at = next;
        if reports {
            let info = self.info(who, state.workers[who].passed);
            state.write(&Write {
                guards: Vec::new(),
                puts: vec![(info_key(who), info.to_bytes(), 0)],
                deletes: Vec::new(),
            });
        }
    }

    pub(super) fn obey(&self, state: &mut State, who: usize) {
        let worker = &state.workers[who];
        let At::Told(order) = worker.at.clone() else {
            return;
        };
        let (number, is_void) = (worker.passed, worker.is_void);
        let info = self.info(who, number);
        let wrong = if order.id != info.lock_id() || order.ddls() != info.ddls() {
            Some("an order for another round")
        } else if order.done {
            Some("an order that is done already")
        } else {
            None
        };
        state.broken = state.broken.or(wrong);
        let truth = &mut state.truth[number];
        if order.exec && !is_void {
            truth.executed.insert(who);
            if truth.executed.difference(&truth.named).count() > 1 {
                state.broken = state.broken.or(Some("executed by two sources"));
            }
        }
        state.workers[who].at = At::Did(order);
    }

    pub(super) fn done(&self, state: &mut State, who: usize) {
        let At::Did(order) = state.workers[who].at.clone() else {
            return;
        };
        let (number, exec) = (state.workers[who].passed, order.exec);
        let value = order.into_done().to_bytes();
        let done = Write {
            guards: vec![Guard::Exists(info_key(who).into())],
            puts: vec![(operation_key(who), value, 0)],
            deletes: vec![KeyRange::key(info_key(who))],
        };
        let is_done = state.write(&done);
        let worker = &mut state.workers[who];
        // Refused, its subtask pauses, and an operator resumes it.
        worker.at = At::Running;
        let is_void = std::mem::take(&mut worker.is_void);
        if is_done {
            worker.passed += 1;
            state.truth[number].is_executed |= exec;
        } else if !is_void {
            state.broken = state.broken.or(Some("done is refused"));
        }
    }
}
