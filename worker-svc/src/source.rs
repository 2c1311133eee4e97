//! One bound source: its subtasks follow their stages in etcd.
//!
//! What is wanted is a map of stages as the feed has it; what runs is a map of subtasks with the revision of the stage that each follows last. A stage with
//! another revision is acted on, one with the same is not: so a repeated list changes nothing, and a paused subtask is resumed only by a new order.

use std::collections::BTreeMap;

use dm_errors::{Code, DmError};
use dm_keyspace::{SourceConfigKey, SourceId, StageRecord, SubtaskKey, SubtaskStageKey, TaskName};
use dm_store::{Event, FeedItem, KeyRange, KeyValue, Revision, Store};
use dm_task::secret::SecretKey;
use dm_task::{SourceConfig, SubtaskConfig};

use crate::cast::Cast;
use crate::error::{Error, Result};
use crate::subtask::{Subtask, Surroundings};

/// Reads the source's configuration as it was when the bound was written; if that history is gone, as it is now.
pub async fn config(
    store: &Store,
    source: &SourceId,
    at: Revision,
    key: Option<&SecretKey>,
) -> Result<SourceConfig> {
    let missing = || DmError::new(Code::WORKER_FAIL_TO_GET_SOURCE_CONFIG_FROM_ETCD, &[source]);
    let etcd_key = SourceConfigKey {
        source: source.clone(),
    };
    let text = read_at(store, etcd_key.encode(), at)
        .await?
        .ok_or_else(missing)?;
    let mut config = SourceConfig::from_toml(&text)?;
    if let Some(key) = key {
        config.decrypt(key);
    }
    Ok(config)
}

async fn read_at(store: &Store, key: String, at: Revision) -> Result<Option<String>> {
    let found = match store.get_at(key.clone(), at).await {
        Err(dm_store::Error::Compacted { .. }) => store.get(key).await?,
        other => other?,
    };
    Ok(found.map(|kv| String::from_utf8_lossy(&kv.value).into_owned()))
}

struct Running {
    subtask: Subtask,
    follows: Revision,
}

/// The subtasks of one source, until it is closed. Dropping it ends them without grace.
pub struct Source {
    surroundings: Surroundings,
    secret: Option<SecretKey>,
    cast: Cast,
    running: BTreeMap<TaskName, Running>,
}

impl Source {
    /// No subtasks yet.
    pub fn new(surroundings: Surroundings, secret: Option<SecretKey>, cast: Cast) -> Self {
        Self {
            surroundings,
            secret,
            cast,
            running: BTreeMap::new(),
        }
    }

    /// Whom it serves.
    pub fn id(&self) -> &SourceId {
        &self.surroundings.source
    }

    /// The feed to follow.
    pub fn stages(&self) -> KeyRange {
        KeyRange::prefix(SubtaskStageKey::prefix_of_source(self.id()))
    }

    /// Brings the subtasks in line with what the feed says.
    pub async fn follow(&mut self, item: FeedItem) {
        match item {
            FeedItem::Reset(snapshot) => {
                let wanted: Vec<TaskName> = snapshot
                    .entries
                    .iter()
                    .filter_map(|kv| task_of(&kv.key))
                    .collect();
                let gone: Vec<TaskName> = self
                    .running
                    .keys()
                    .filter(|t| !wanted.contains(t))
                    .cloned()
                    .collect();
                for task in gone {
                    self.forget(&task).await;
                }
                for kv in snapshot.entries {
                    self.put(&kv).await;
                }
            }
            FeedItem::Batch(batch) => {
                for event in batch.events {
                    match event {
                        Event::Put(kv) => self.put(&kv).await,
                        Event::Delete { key, .. } => {
                            if let Some(task) = task_of(&key) {
                                self.forget(&task).await;
                            }
                        }
                    }
                }
            }
        }
        self.publish();
    }

    async fn put(&mut self, kv: &KeyValue) {
        let Some(task) = task_of(&kv.key) else {
            return;
        };
        let stage = match StageRecord::from_bytes(&kv.value) {
            Ok(record) => record.expect,
            Err(error) => {
                tracing::error!(%task, %error, "stage that cannot be read");
                return;
            }
        };
        let at = kv.mod_revision;
        if self.running.get(&task).is_some_and(|r| r.follows == at) {
            return;
        }
        let config = self.subtask_config(&task, at).await;
        match self.running.get_mut(&task) {
            Some(running) => {
                running.follows = at;
                running.subtask.expect(stage, Some(config)).await;
            }
            None => {
                tracing::info!(%task, source = %self.id(), ?stage, "subtask starts");
                let surroundings = self.surroundings.clone();
                let subtask = Subtask::start(task.clone(), config, stage, surroundings);
                self.running.insert(
                    task,
                    Running {
                        subtask,
                        follows: at,
                    },
                );
            }
        }
    }

    async fn subtask_config(&self, task: &TaskName, at: Revision) -> Result<SubtaskConfig> {
        let key = SubtaskKey {
            source: self.id().clone(),
            task: task.clone(),
        };
        let text = read_at(&self.surroundings.store, key.encode(), at).await?;
        let text = text.ok_or_else(|| {
            let code = Code::WORKER_FAIL_TO_GET_SUBTASK_CONFIG_FROM_ETCD;
            Error::Coded(DmError::new(code, &[task]))
        })?;
        let mut config = SubtaskConfig::from_toml(&text)?;
        if let Some(key) = &self.secret {
            config.to.password = config.to.password.decrypted(key);
        }
        Ok(config)
    }

    async fn forget(&mut self, task: &TaskName) {
        if let Some(running) = self.running.remove(task) {
            running.subtask.close().await;
            tracing::info!(%task, source = %self.id(), "subtask closed");
        }
    }

    fn publish(&self) {
        let views = self.running.values().map(|r| r.subtask.view()).collect();
        self.cast.set_subtasks(views);
    }

    /// Ends all subtasks in order.
    pub async fn close(mut self) {
        let all = std::mem::take(&mut self.running);
        futures::future::join_all(all.into_values().map(|r| r.subtask.close())).await;
        self.cast.clear();
    }
}

fn task_of(key: &[u8]) -> Option<TaskName> {
    SubtaskStageKey::parse(key).ok().map(|k| k.task)
}
