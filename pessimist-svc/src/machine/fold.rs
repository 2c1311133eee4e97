//! From events to evidence, and from evidence to rounds. Folding never fails: what cannot be read becomes a named fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use dm_keyspace::pessimism::{Info, InfoKey, Operation, OperationKey};
use dm_keyspace::{SourceId, SubtaskKey, TaskName, TaskStartKey};
use dm_store::{Event, KeyValue, Revision};

use super::evidence::{Task, Transition};
use super::own::Family;
use super::record::{Record, Recorded};
use super::round::{Phase, Round, Scene};
use super::unlock::{self, Order, Unlock, Withdrawn};
use super::{Fault, LockKey, Pessimist, Touch};

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
        } else if Family::UNLOCK.contains(key) {
            self.fold_unlock(event, is_load);
        } else if Family::ROUND.contains(key) {
            self.fold_record(event);
        } else if key.starts_with(TaskStartKey::PREFIX.as_bytes()) {
            self.fold_transition(event);
        } else {
            for source in self.workers.fold(event) {
                self.source_has_changed(&source);
            }
        }
    }

    fn fold_info(&mut self, event: &Event) {
        let Some(key) = self.readable(event, InfoKey::parse(event.key())) else {
            return;
        };
        let faults = self.counts.faults;
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
        if self.counts.faults > faults {
            let errors = self.errors.entry(key.task.clone()).or_default();
            errors.unreadable_infos += 1;
            self.resourced.insert(key.task.clone());
        }
        let loaded = self.loaded;
        let touched = self.task(&key.task).set_info(&key.source, info, loaded);
        self.touch(&key.task, touched, &key.source);
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
        self.touch(&key.task, touched, &key.source);
    }

    fn fold_subtask(&mut self, event: &Event) {
        let Some(key) = self.readable(event, SubtaskKey::parse(event.key())) else {
            return;
        };
        let has_subtask = value(event).is_some();
        let since = event.revision().max(self.loaded);
        if self
            .task(&key.task)
            .set_source(&key.source, has_subtask, since)
        {
            self.resourced.insert(key.task);
        }
    }

    /// A start or stop of several transactions comes or goes. What its record says may be missing; that it is there counts.
    fn fold_transition(&mut self, event: &Event) {
        let Some(key) = self.readable(event, TaskStartKey::parse(event.key())) else {
            return;
        };
        let transition = value(event).and_then(|kv| Transition::from_bytes(&kv.value));
        self.task(&key.task).transition = transition;
        self.resourced.insert(key.task);
    }

    fn fold_record(&mut self, event: &Event) {
        let Some(key) = self.readable(event, Family::ROUND.parse(event.key())) else {
            return;
        };
        let recorded = value(event).and_then(|kv| {
            Some(Recorded {
                record: self.readable(event, Record::from_bytes(&kv.value))?,
                revision: kv.mod_revision,
            })
        });
        let locks = &mut self.task(&key.task).locks;
        locks.entry(key.id.clone()).or_default().record = recorded;
        self.touched.insert(key, Touch::Whole);
    }

    fn fold_unlock(&mut self, event: &Event, is_load: bool) {
        let Some(key) = self.readable(event, Family::UNLOCK.parse(event.key())) else {
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
                lock.unlock = Some(Unlock::new(order, revision, is_load));
                self.unlocking.insert(key.clone());
            }
            None => {
                let unlock = lock.unlock.take();
                let withdrawn = unlock.map(|unlock| Withdrawn::new(unlock, lock.round.as_ref()));
                self.unlocking.remove(&key);
                self.withdrawn
                    .extend(withdrawn.map(|withdrawn| (key.clone(), withdrawn)));
            }
        }
        self.touched.insert(key, Touch::Whole);
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

    fn touch(&mut self, task: &TaskName, ids: Vec<String>, source: &SourceId) {
        for id in ids {
            let task = task.clone();
            let touch = self.touched.entry(LockKey { task, id }).or_default();
            touch.add(source);
        }
    }

    /// The end of a revision: what it touched is derived anew.
    pub(super) fn settle(&mut self, revision: Revision) {
        for name in std::mem::take(&mut self.resourced) {
            let Some(task) = self.tasks.get_mut(&name) else {
                continue;
            };
            task.sources_changed();
            let keys = task.locks.keys().map(|id| LockKey {
                task: name.clone(),
                id: id.clone(),
            });
            self.touched.extend(keys.map(|key| (key, Touch::Whole)));
        }
        let mut tasks = BTreeSet::new();
        for (key, touch) in std::mem::take(&mut self.touched) {
            let due = self.settle_lock(&key, touch, revision);
            tasks.insert(key.task.clone());
            self.dirty.entry(key).or_default().join(due);
        }
        for task in tasks {
            self.has_changed(&task);
            if self.tasks.get(&task).is_some_and(Task::is_empty) {
                self.tasks.remove(&task);
            }
        }
    }

    /// Derives the lock anew, and answers what is to be decided anew: for the touched sources, or for all when the lock itself
    /// has changed.
    fn settle_lock(&mut self, key: &LockKey, touch: Touch, revision: Revision) -> Touch {
        let withdrawn = self.withdrawn.remove(key);
        let known_since = self.known_since.remove(key);
        let (clock, time) = (self.clock(), self.time());
        let Some(task) = self.tasks.get_mut(&key.task) else {
            return Touch::Whole;
        };
        let Some(lock) = task.locks.get_mut(&key.id) else {
            return Touch::Whole;
        };
        let (mut previous, mut unlock) = (lock.round.take(), lock.unlock.take());
        let had_begun = previous.as_ref().is_some_and(|round| round.has_begun);
        let stood = Standing::of(previous.as_ref(), unlock.as_ref());
        let Some(scene) = Scene::of(task, &key.id) else {
            return Touch::Whole;
        };
        let gone_on = match &touch {
            Touch::Sources(sources) => scene.round_after(&mut previous, sources),
            Touch::Whole => None,
        };
        let (mut round, looked_at) = match gone_on {
            Some(round) => (Some(round), touch),
            None => (scene.next_round(previous, time), Touch::Whole),
        };
        if had_begun && round.as_ref().is_none_or(|round| !round.has_begun) {
            self.counts.ended_rounds += 1;
        }
        if let Some(round) = &mut round {
            let rejected = round.reject(key, &looked_at);
            if rejected > 0 {
                self.counts.rejected_infos += rejected;
                let errors = self.errors.entry(key.task.clone()).or_default();
                errors.rejected_infos += rejected;
            }
            round.was_known(known_since);
        }
        if let Some(unlock) = &mut unlock {
            unlock.advance(round.as_ref(), clock, self.limits.unlock_wait);
        }
        if let Some(withdrawn) = withdrawn {
            let outcome = withdrawn.outcome(&scene);
            self.outcomes.add(key.clone(), revision, outcome);
        }
        let stands = Standing::of(round.as_ref(), unlock.as_ref());
        if let Some(lock) = task.locks.get_mut(&key.id) {
            (lock.round, lock.unlock) = (round, unlock);
            if lock.is_gone() {
                task.locks.remove(&key.id);
            }
        }
        match stood == stands {
            true => looked_at,
            false => Touch::Whole,
        }
    }
}

/// What all sources of a lock are told depends on.
#[derive(PartialEq, Eq)]
struct Standing {
    phase: Option<Phase>,
    owner: Option<SourceId>,
    ddls: Vec<String>,
    unlock: Option<(unlock::Step, Revision)>,
}

impl Standing {
    fn of(round: Option<&Round>, unlock: Option<&Unlock>) -> Self {
        Self {
            phase: round.map(|round| round.phase),
            owner: round.map(|round| round.owner.clone()),
            ddls: round.map(|round| round.ddls.clone()).unwrap_or_default(),
            unlock: unlock.map(|unlock| (unlock.step, unlock.revision)),
        }
    }
}

impl Round {
    /// Takes over since when the lock was known before a snapshot, if it is still about the same statements.
    fn was_known(&mut self, known_since: Option<(Vec<String>, Duration)>) {
        if let Some((_, since)) = known_since.filter(|(ddls, _)| *ddls == self.ddls) {
            self.first_seen = self.first_seen.min(since);
        }
    }

    /// Brings the list of those that wait with other statements up to date. Answers how many are new in it.
    fn reject(&mut self, key: &LockKey, looked_at: &Touch) -> u64 {
        let is_new = |(source, at): &(&SourceId, &Revision),
                      before: &BTreeMap<SourceId, Revision>| {
            let is_new = before.get(*source) != Some(*at);
            if is_new {
                tracing::warn!(lock = key.id, %source, "statements differ from those of the lock");
            }
            is_new
        };
        let mismatched = &self.tally.mismatched;
        let new = match looked_at {
            _ if self.phase == Phase::Resolved => {
                self.rejected.clear();
                return 0;
            }
            Touch::Whole => {
                let new = mismatched.iter().filter(|one| is_new(one, &self.rejected));
                let new = new.count();
                self.rejected.clone_from(mismatched);
                new
            }
            Touch::Sources(sources) => {
                let mut new = 0;
                for source in sources {
                    let Some(at) = mismatched.get(source) else {
                        self.rejected.remove(source);
                        continue;
                    };
                    new += usize::from(is_new(&(source, at), &self.rejected));
                    self.rejected.insert(source.clone(), *at);
                }
                new
            }
        };
        new as u64
    }
}

fn value(event: &Event) -> Option<&KeyValue> {
    match event {
        Event::Put(kv) => Some(kv),
        Event::Delete { .. } => None,
    }
}
