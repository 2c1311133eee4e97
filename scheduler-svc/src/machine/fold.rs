//! One arm per kind of record: how a put or a delete changes the state, and whom it touches.
//!
//! Folding never fails. A record that does not decode, or that disagrees with its key, counts as absent (a bound
//! as "to nothing", a source's configuration as unreadable) and is kept as a [`Fault`] under its key.

use std::fmt;

use bytes::Bytes;
use dm_keyspace::{
    Bound, BoundKey, Key, LastBoundKey, LoadTask, LoadTaskKey, RelayWorker, SourceConfigKey,
    SourceId, StageRecord, SubtaskKey, TaskName, TaskStartKey, WorkerInfo, WorkerInfoKey,
    WorkerName,
};
use dm_store::KeyValue;
use serde::Deserialize;

use super::Scheduler;
use super::intent::{self, IntentSeen};
use super::record::{Alive, BoundSeen, Registered, SourceConfigSeen, StageSeen, Text};
use super::starts::StartSeen;

/// A record that cannot be used, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The key, as text.
    pub key: String,
    /// What is wrong with the record; never its content.
    pub reason: String,
}

/// The part of a source's configuration that placement looks at; everything else is the worker's business.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SourceHead {
    source_id: String,
    #[serde(default)]
    enable_relay: bool,
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
                let worker = self.worker(key.worker);
                worker.alive = Some(Alive::seen(kv, worker.alive.as_ref()));
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
                self.source(key.source).relay_stage = Some(seen);
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
            Key::Foreign(key) => self.put_start_record(&key, kv),
            _ => Ok(()),
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
        if let Ok(TaskStartKey { task }) = TaskStartKey::parse(key) {
            self.starts.remove(&task);
            self.touched_starts.insert(task);
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
            Ok(Key::RelayStage(key)) => self.source(key.source).relay_stage = None,
            Ok(Key::Subtask(key)) => self.subtask(key.source, key.task).config = None,
            Ok(Key::SubtaskStage(key)) => self.subtask(key.source, key.task).stage = None,
            Ok(Key::ValidatorStage(key)) => self.subtask(key.source, key.task).validator = None,
            _ => {}
        }
    }

    /// Two kinds of records matter even when they say nothing: the key is there, and stands in the way.
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
            _ => {}
        }
    }

    fn put_start_record(&mut self, key: &[u8], kv: &KeyValue) -> Result<(), String> {
        let Ok(TaskStartKey { task }) = TaskStartKey::parse(key) else {
            return Ok(());
        };
        self.touched_starts.insert(task.clone());
        self.starts.insert(task, StartSeen::from_kv(kv)?);
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
        let head =
            std::str::from_utf8(&kv.value).map_err(|_| "the value is not UTF-8".to_owned())?;
        // Only the message: the error's own text quotes the line, which may hold the password.
        let head: SourceHead = toml::from_str(head).map_err(|e| e.message().to_owned())?;
        agree("source-id", &SourceId::from(head.source_id), id)?;
        let config = SourceConfigSeen {
            text: text_of(kv),
            is_readable: true,
            enable_relay: head.enable_relay,
        };
        self.source(id.clone()).config = Some(config);
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
        self.subtask(key.source, key.task).config = Some(text_of(kv));
        Ok(())
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
