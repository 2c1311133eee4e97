//! From events to evidence, and from evidence to rounds. Folding never fails: what cannot be read becomes a named fault.

use std::collections::BTreeSet;
use std::fmt::Display;

use dm_keyspace::pessimism::{Info, InfoKey, Operation, OperationKey};
use dm_keyspace::{SubtaskKey, TaskName};
use dm_store::{Event, KeyValue, Revision};

use super::evidence::Task;
use super::round::Scene;
use super::unlock::{self, Order, Unlock, UnlockOutcome};
use super::{Fault, LockKey, Pessimist};

impl Pessimist {
    /// Takes one event in; what it touches is derived at the end of its revision.
    pub(super) fn fold(&mut self, event: &Event, is_load: bool) {
        let key = event.key();
        if key.starts_with(InfoKey::PREFIX.as_bytes()) {
            self.fold_info(event);
        } else if key.starts_with(OperationKey::PREFIX.as_bytes()) {
            self.fold_operation(event, is_load);
        } else if key.starts_with(SubtaskKey::PREFIX.as_bytes()) {
            self.fold_subtask(event);
        } else if key.starts_with(unlock::PREFIX.as_bytes()) {
            self.fold_unlock(event);
        }
    }

    fn fold_info(&mut self, event: &Event) {
        let Some(key) = self.readable(event, InfoKey::parse(event.key())) else {
            return;
        };
        let info = value(event).and_then(|kv| {
            let info = self.readable(event, Info::from_bytes(&kv.value))?;
            let is_own = info.task == key.task && info.source == key.source;
            let info = self.readable(
                event,
                is_own
                    .then_some(info)
                    .ok_or("the value names another task or source than the key"),
            )?;
            Some((info, kv.mod_revision))
        });
        let loaded = self.loaded;
        let touched = self.task(&key.task).set_info(&key.source, info, loaded);
        self.touch(&key.task, touched);
    }

    fn fold_operation(&mut self, event: &Event, is_load: bool) {
        let Some(key) = self.readable(event, OperationKey::parse(event.key())) else {
            return;
        };
        let operation = value(event).map(|kv| {
            let operation = self.readable(event, Operation::from_bytes(&kv.value));
            let own = operation.and_then(|operation| {
                let is_own = operation.task == key.task && operation.source == key.source;
                self.readable(
                    event,
                    is_own
                        .then_some(operation)
                        .ok_or("the value names another task or source than the key"),
                )
            });
            (own, kv.mod_revision)
        });
        let touched = self
            .task(&key.task)
            .set_operation(&key.source, operation, is_load);
        self.touch(&key.task, touched);
    }

    fn fold_subtask(&mut self, event: &Event) {
        let Some(key) = self.readable(event, SubtaskKey::parse(event.key())) else {
            return;
        };
        let has_subtask = value(event).is_some();
        if self
            .task(&key.task)
            .set_source(&key.source, has_subtask, event.revision())
        {
            self.resourced.insert(key.task);
        }
    }

    fn fold_unlock(&mut self, event: &Event) {
        let Some(key) = self.readable(
            event,
            unlock::parse(event.key()).ok_or("the key names no lock"),
        ) else {
            return;
        };
        let order = value(event).and_then(|kv| {
            Some((
                self.readable(event, Order::from_bytes(&kv.value))?,
                kv.mod_revision,
            ))
        });
        let lock = self
            .task(&key.task)
            .locks
            .entry(key.id.clone())
            .or_default();
        match order {
            Some((order, revision)) => {
                lock.unlock = Some(Unlock::new(order, revision));
                self.unlocking.insert(key.clone());
            }
            None => {
                let unlock = lock.unlock.take();
                self.unlocking.remove(&key);
                self.withdrawn
                    .extend(unlock.map(|unlock| (key.clone(), unlock)));
            }
        }
        self.touched.insert(key);
    }

    /// The outcome of decoding, or none and a fault in the state.
    fn readable<T, E: Display>(&mut self, event: &Event, decoded: Result<T, E>) -> Option<T> {
        let key = String::from_utf8_lossy(event.key()).into_owned();
        match decoded {
            Ok(decoded) => {
                self.faults.remove(&key);
                Some(decoded)
            }
            Err(e) if value(event).is_some() => {
                self.counts.faults += 1;
                tracing::warn!(key, error = %e, "record skipped");
                self.faults.insert(
                    key,
                    Fault {
                        what: e.to_string(),
                        revision: event.revision(),
                    },
                );
                None
            }
            Err(_) => {
                self.faults.remove(&key);
                None
            }
        }
    }

    fn task(&mut self, name: &TaskName) -> &mut Task {
        self.tasks.entry(name.clone()).or_default()
    }

    fn touch(&mut self, task: &TaskName, ids: Vec<String>) {
        self.touched.extend(ids.into_iter().map(|id| LockKey {
            task: task.clone(),
            id,
        }));
    }

    /// The end of a revision: what it touched is derived anew.
    pub(super) fn settle(&mut self, revision: Revision) {
        for name in std::mem::take(&mut self.resourced) {
            let Some(task) = self.tasks.get_mut(&name) else {
                continue;
            };
            task.sources_changed();
            let ids = task.locks.keys().cloned().collect();
            self.touch(&name, ids);
        }
        let mut tasks = BTreeSet::new();
        for key in std::mem::take(&mut self.touched) {
            self.settle_lock(&key, revision);
            tasks.insert(key.task.clone());
            self.dirty.insert(key);
        }
        for task in tasks {
            if self.tasks.get(&task).is_some_and(Task::is_empty) {
                self.tasks.remove(&task);
            }
        }
    }

    fn settle_lock(&mut self, key: &LockKey, revision: Revision) {
        let withdrawn = self.withdrawn.remove(key);
        let now = self.now.unwrap_or_default();
        let Some(task) = self.tasks.get_mut(&key.task) else {
            return;
        };
        let Some(lock) = task.locks.get_mut(&key.id) else {
            return;
        };
        let (previous, mut unlock) = (lock.round.take(), lock.unlock.take());
        let unfinished = withdrawn
            .as_ref()
            .map(|unlock| unlock.unfinished(previous.as_ref()))
            .unwrap_or_default();
        let had_begun = previous.as_ref().is_some_and(|round| round.has_begun);
        let Some(scene) = Scene::of(task, &key.id) else {
            return;
        };
        let mut round = scene.next_round(previous, now);
        if had_begun && round.as_ref().is_none_or(|round| !round.has_begun) {
            self.counts.ended_rounds += 1;
        }
        if let Some(round) = &mut round {
            let mismatched = scene.mismatched(round);
            for (source, at) in &mismatched {
                if round.rejected.get(source) != Some(at) {
                    self.counts.rejected_infos += 1;
                    tracing::warn!(lock = key.id, %source, "statements differ from those of the lock");
                }
            }
            round.rejected = mismatched;
        }
        if let Some(unlock) = &mut unlock {
            unlock.advance(&scene, round.as_ref(), self.now, self.limits.unlock_wait);
        }
        if let Some(unlock) = withdrawn {
            let is_kept =
                unlock.step == unlock::Step::GivingUp || scene.is_begun(&unlock.order.ddls);
            let outcome = match is_kept {
                true => UnlockOutcome::OwnerSilent(unlock.order.owner),
                false => UnlockOutcome::Removed { unfinished },
            };
            self.outcomes.add(key.clone(), revision, outcome);
        }
        if let Some(lock) = task.locks.get_mut(&key.id) {
            (lock.round, lock.unlock) = (round, unlock);
            if lock.is_gone() {
                task.locks.remove(&key.id);
            }
        }
    }
}

fn value(event: &Event) -> Option<&KeyValue> {
    match event {
        Event::Put(kv) => Some(kv),
        Event::Delete { .. } => None,
    }
}
