//! One arm per kind of record: how a put or a delete changes the state, and whom it touches.
//!
//! Folding never fails. A record that does not decode, or that disagrees with its key, is kept as a [`Fault`] under its
//! key. Where the key alone matters, it counts as there and as unreadable: a bound is one to nothing, a stage is
//! none that can be reached, a configuration is not used; so it can be written over and removed. Else it is absent.

use std::fmt;

use bytes::Bytes;
use dm_keyspace::{
    Bound, BoundKey, Key, LastBoundKey, LoadTask, LoadTaskKey, RelayWorker, SourceConfigKey,
    SourceId, Stage, StageRecord, SubtaskKey, TaskName, WorkerInfo, WorkerInfoKey, WorkerName,
};
use dm_store::KeyValue;
use dm_task::{SourceConfig, SubtaskConfig};
use serde::de::DeserializeOwned;

use super::Scheduler;
use super::intent::{self, IntentSeen};
use super::record::{Alive, BoundSeen, Registered, SourceConfigSeen, StageSeen, Text};
use super::starts::{OperationId, OperationSeen};

/// A record that cannot be used, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The key, as text.
    pub key: String,
    /// What is wrong with the record; never its content.
    pub reason: String,
}

impl Scheduler {
    pub(super) fn put(&mut self, kv: &KeyValue) {
        self.faults.remove(&kv.key);
        if let Err(reason) = self.try_put(kv) {
            self.forget(&kv.key);
            self.mark_unreadable(kv);
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            self.faults.insert(kv.key.clone(), Fault { key, reason });
        }
    }

    fn try_put(&mut self, kv: &KeyValue) -> Result<(), String> {
        if let Some(id) = intent::source_of(&kv.key) {
            let seen = IntentSeen::from_kv(kv)?;
            self.source(id).intent = Some(seen);
            return Ok(());
        }
        match Key::parse(&kv.key).map_err(text)? {
            Key::WorkerInfo(key) => self.put_registration(key, kv),
            Key::KeepAlive(key) => {
                self.put_alive(key.worker, kv);
                Ok(())
            }
            Key::SourceConfig(key) => self.put_source_config(&key.source, kv),
            Key::Bound(key) => self.put_bound(key, kv),
            Key::LastBound(key) => self.put_last_bound(key, kv),
            Key::RelayWorker(key) => {
                let source = RelayWorker::from_bytes(&kv.value).map_err(text)?.source;
                self.set_relay(&key.worker, Some(source));
                Ok(())
            }
            Key::LoadTask(key) => {
                let worker = LoadTask::from_bytes(&kv.value).map_err(text)?.worker;
                self.set_load(&key, Some(worker));
                Ok(())
            }
            Key::RelayStage(key) => {
                let seen = stage(kv, &key.source, None)?;
                self.set_relay_stage_seen(key.source, Some(seen));
                Ok(())
            }
            Key::Subtask(key) => self.put_subtask(key, kv),
            Key::SubtaskStage(key) => {
                let seen = stage(kv, &key.source, Some(&key.task))?;
                self.subtask(key.source, key.task).stage = Some(seen);
                Ok(())
            }
            Key::ValidatorStage(key) => {
                let seen = stage(kv, &key.source, Some(&key.task))?;
                self.subtask(key.source, key.task).validator = Some(seen);
                Ok(())
            }
            Key::Foreign(key) => self.put_operation(&key, kv),
            _ => Ok(()),
        }
    }

    /// Most signs of life say nothing new, and then there is nothing to decide.
    fn put_alive(&mut self, name: WorkerName, kv: &KeyValue) {
        let before = self.workers.get(&name).and_then(|w| w.alive.as_ref());
        let seen = Alive::seen(kv, before);
        if before != Some(&seen) {
            self.worker(name).alive = Some(seen);
        }
    }

    pub(super) fn delete(&mut self, key: &Bytes) {
        self.faults.remove(key);
        self.forget(key);
    }

    /// Takes back what the record under a key has said.
    fn forget(&mut self, key: &[u8]) {
        if let Some(id) = intent::source_of(key) {
            self.source(id).intent = None;
            return;
        }
        if let Some(id) = OperationId::parse(key) {
            self.operations.remove(&id);
            self.touched_operations.insert(id);
            return;
        }
        match Key::parse(key) {
            Ok(Key::WorkerInfo(key)) => self.worker(key.worker).registered = None,
            Ok(Key::KeepAlive(key)) => self.worker(key.worker).alive = None,
            Ok(Key::SourceConfig(key)) => self.source(key.source).config = None,
            Ok(Key::Bound(key)) => self.set_bound(&key.worker, None),
            Ok(Key::LastBound(key)) => self.set_last_bound(&key.worker, None),
            Ok(Key::RelayWorker(key)) => self.set_relay(&key.worker, None),
            Ok(Key::LoadTask(key)) => self.set_load(&key, None),
            Ok(Key::RelayStage(key)) => self.set_relay_stage_seen(key.source, None),
            Ok(Key::Subtask(key)) => {
                let subtask = self.subtask(key.source, key.task);
                (subtask.config, subtask.is_unreadable) = (None, false);
            }
            Ok(Key::SubtaskStage(key)) => self.subtask(key.source, key.task).stage = None,
            Ok(Key::ValidatorStage(key)) => self.subtask(key.source, key.task).validator = None,
            _ => {}
        }
    }

    /// Some kinds of records matter even when they say nothing: the key is there, and stands in the way.
    fn mark_unreadable(&mut self, kv: &KeyValue) {
        match Key::parse(&kv.key) {
            Ok(Key::Bound(key)) => self.set_bound(&key.worker, Some(bound_seen(kv, None))),
            Ok(Key::SourceConfig(key)) => {
                self.source(key.source).config = Some(SourceConfigSeen {
                    text: text_of(kv),
                    is_readable: false,
                    enable_relay: false,
                });
            }
            Ok(Key::Subtask(key)) => {
                let subtask = self.subtask(key.source, key.task);
                (subtask.config, subtask.is_unreadable) = (Some(text_of(kv)), true);
            }
            Ok(Key::RelayStage(key)) => {
                self.set_relay_stage_seen(key.source, Some(no_stage(kv)));
            }
            Ok(Key::SubtaskStage(key)) => {
                self.subtask(key.source, key.task).stage = Some(no_stage(kv));
            }
            Ok(Key::ValidatorStage(key)) => {
                self.subtask(key.source, key.task).validator = Some(no_stage(kv));
            }
            _ => {}
        }
    }

    fn put_operation(&mut self, key: &[u8], kv: &KeyValue) -> Result<(), String> {
        let Some(id) = OperationId::parse(key) else {
            return Ok(());
        };
        self.touched_operations.insert(id.clone());
        self.operations.insert(id, OperationSeen::from_kv(kv)?);
        Ok(())
    }

    fn put_registration(&mut self, key: WorkerInfoKey, kv: &KeyValue) -> Result<(), String> {
        let info = WorkerInfo::from_bytes(&kv.value).map_err(text)?;
        agree("name", &info.name, &key.worker)?;
        self.worker(key.worker).registered = Some(Registered {
            addr: info.addr,
            revision: kv.mod_revision,
        });
        Ok(())
    }

    fn put_source_config(&mut self, id: &SourceId, kv: &KeyValue) -> Result<(), String> {
        let source = self.source(id.clone());
        // Starting a task puts the same text again, once for each of its sources.
        if let Some(known) = source.config.as_mut().filter(|c| c.is_readable)
            && known.text.bytes == kv.value
        {
            known.text = text_of(kv);
            return Ok(());
        }
        let config: SourceConfig = decoded(&kv.value)?;
        agree("source-id", &SourceId::from(config.source_id), id)?;
        source.config = Some(SourceConfigSeen {
            text: text_of(kv),
            is_readable: true,
            enable_relay: config.enable_relay,
        });
        Ok(())
    }

    fn put_bound(&mut self, key: BoundKey, kv: &KeyValue) -> Result<(), String> {
        let bound = Bound::from_bytes(&kv.value).map_err(text)?;
        agree("worker", &bound.worker, &key.worker)?;
        self.set_bound(&key.worker, Some(bound_seen(kv, Some(bound.source))));
        Ok(())
    }

    fn put_last_bound(&mut self, key: LastBoundKey, kv: &KeyValue) -> Result<(), String> {
        let bound = Bound::from_bytes(&kv.value).map_err(text)?;
        agree("worker", &bound.worker, &key.worker)?;
        self.set_last_bound(&key.worker, Some(bound.source));
        Ok(())
    }

    fn put_subtask(&mut self, key: SubtaskKey, kv: &KeyValue) -> Result<(), String> {
        let config: SubtaskConfig = decoded(&kv.value)?;
        agree("name", &TaskName::from(config.name), &key.task)?;
        agree("source-id", &SourceId::from(config.source_id), &key.source)?;
        let subtask = self.subtask(key.source, key.task);
        (subtask.config, subtask.is_unreadable) = (Some(text_of(kv)), false);
        Ok(())
    }

    fn set_relay_stage_seen(&mut self, id: SourceId, seen: Option<StageSeen>) {
        self.source(id).relay_stage = seen;
        self.touch_operation(&OperationId::Relays);
    }
}

/// A configuration in TOML. Keys that it does not know are the worker's business.
fn decoded<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    let config = std::str::from_utf8(value).map_err(|_| "the value is not UTF-8".to_owned())?;
    // Only the message, since the error's own text quotes the line; and no value in it: either may be the password.
    toml::from_str(config).map_err(|error| without_values(error.message()))
}

/// A text without what stands in quotation marks of any kind.
fn without_values(message: &str) -> String {
    let mut quote = None;
    let kept = message.chars().filter(|&c| match quote {
        Some(open) => {
            if c == open {
                quote = None;
            }
            c == open
        }
        None => {
            if matches!(c, '`' | '"') {
                quote = Some(c);
            }
            true
        }
    });
    kept.collect()
}

/// A stage that cannot be read: it is there, and nobody is in it.
fn no_stage(kv: &KeyValue) -> StageSeen {
    StageSeen {
        stage: Stage::Invalid,
        revision: kv.mod_revision,
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

fn text_of(kv: &KeyValue) -> Text {
    Text {
        bytes: kv.value.clone(),
        created: kv.create_revision,
        revision: kv.mod_revision,
    }
}

fn bound_seen(kv: &KeyValue, source: Option<SourceId>) -> BoundSeen {
    BoundSeen {
        source,
        created: kv.create_revision,
        revision: kv.mod_revision,
    }
}

fn agree<T: PartialEq>(member: &str, value: &T, key: &T) -> Result<(), String> {
    if value == key {
        Ok(())
    } else {
        Err(format!(
            "`{member}` of the value is not the name in the key"
        ))
    }
}

fn stage(kv: &KeyValue, source: &SourceId, task: Option<&TaskName>) -> Result<StageSeen, String> {
    let record = StageRecord::from_bytes(&kv.value).map_err(text)?;
    agree("source", &record.source, source)?;
    agree("task", &record.task.as_ref(), &task)?;
    Ok(StageSeen {
        stage: record.expect,
        revision: kv.mod_revision,
    })
}

/// The records of workers that name a source are indexed at the source as well.
impl Scheduler {
    fn set_bound(&mut self, name: &WorkerName, bound: Option<BoundSeen>) {
        let source = bound.as_ref().and_then(|b| b.source.clone());
        let before = std::mem::replace(&mut self.worker(name.clone()).bound, bound);
        if let Some(source) = before.and_then(|b| b.source) {
            self.source(source).bounds.remove(name);
        }
        if let Some(source) = source {
            self.source(source).bounds.insert(name.clone());
        }
    }

    fn set_last_bound(&mut self, name: &WorkerName, last: Option<SourceId>) {
        let before = std::mem::replace(&mut self.worker(name.clone()).last_bound, last.clone());
        if let Some(source) = before {
            self.source(source).last_bounds.remove(name);
        }
        if let Some(source) = last {
            self.source(source).last_bounds.insert(name.clone());
        }
    }

    fn set_relay(&mut self, name: &WorkerName, relay: Option<SourceId>) {
        match relay {
            Some(_) => self.relaying.insert(name.clone()),
            None => self.relaying.remove(name),
        };
        let before = std::mem::replace(&mut self.worker(name.clone()).relay, relay.clone());
        if let Some(source) = before {
            self.source(source).relays.remove(name);
        }
        if let Some(source) = relay {
            self.source(source).relays.insert(name.clone());
        }
    }

    fn set_load(&mut self, key: &LoadTaskKey, worker: Option<WorkerName>) {
        let loads = &mut self.source(key.source.clone()).loads;
        let before = match &worker {
            Some(worker) => loads.insert(key.task.clone(), worker.clone()),
            None => loads.remove(&key.task),
        };
        let load = (key.source.clone(), key.task.clone());
        if let Some(before) = before {
            self.worker(before).loads.remove(&load);
        }
        if let Some(worker) = worker {
            self.worker(worker).loads.insert(load);
        }
    }
}

/// The key under which a source's configuration lies.
pub(super) fn config_key(source: &SourceId) -> Bytes {
    SourceConfigKey {
        source: source.clone(),
    }
    .encode()
    .into()
}
