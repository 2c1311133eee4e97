//! The worker's half of optimistic shard DDL in etcd: which tables there are, what each has met, what it is told, and that it is done.
//!
//! Every write is refused once the worker's key is gone. An answer counts only if it was put after the info it answers. A lost reply and a compacted
//! watch are answered by starting over from what etcd says now; putting the same info again has the same answer.

use dm_keyspace::optimism::{ConflictStage, Info, InfoKey, Operation, OperationKey, SourceTables};
use dm_keyspace::{SourceId, TaskName};
use dm_store::{CommitError, Event, Feed, FeedItem, Guard, KeyRange, KeyValue, Put, Revision, Txn};
use serde::{Deserialize, Serialize};

use super::coordinator::{Coordinator, PAUSE, error_is_retryable, refused};
use crate::error::Result;

/// Speaks for one worker while it holds its lease.
#[derive(Clone, Debug)]
pub struct Optimist {
    etcd: Coordinator,
}

/// What an info was answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The operation.
    pub operation: Operation,
    /// Where it was put.
    pub revision: Revision,
    /// Where the info was put that it answers.
    pub info_revision: Revision,
}

/// An operation that was carried out and of which etcd may not know yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Told {
    /// The operation, as JSON.
    pub operation: String,
    /// Revision of the info that it answers.
    pub info_revision: i64,
}

impl From<&Answer> for Told {
    fn from(answer: &Answer) -> Self {
        Self {
            operation: String::from_utf8_lossy(&answer.operation.to_bytes()).into_owned(),
            info_revision: answer.info_revision.0,
        }
    }
}

impl Optimist {
    /// By way of the same connection and under the same fence as the coordinator of the pessimistic mode.
    pub fn new(etcd: Coordinator) -> Self {
        Self { etcd }
    }

    async fn put(&self, key: String, value: Vec<u8>) -> Result<Revision> {
        let txn = Txn {
            guards: vec![self.etcd.fence()],
            puts: vec![Put {
                key: key.into(),
                value: value.into(),
                lease: None,
            }],
            deletes: Vec::new(),
        };
        loop {
            match self.etcd.store().commit(&txn).await {
                Ok(revision) => return Ok(revision),
                Err(CommitError::GuardFailed { .. }) => self.etcd.check_alive().await?,
                Err(error) if error_is_retryable(&error) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(refused(error)),
            }
        }
    }

    /// Says which tables the source has in the task.
    pub async fn put_tables(&self, key: String, tables: &SourceTables) -> Result<()> {
        self.put(key, tables.to_bytes()).await.map(drop)
    }

    /// Puts an info that nobody answers.
    pub async fn put_info(&self, info: &Info) -> Result<()> {
        self.put(info.key().encode(), info.to_bytes())
            .await
            .map(drop)
    }

    /// Reports a DDL and waits, as long as it takes, for the operation that answers it. `on_conflict` hears of an answer that says to wait for
    /// the next one, and tells whether to.
    pub async fn report(
        &self,
        info: &Info,
        mut on_conflict: impl FnMut(&Operation) -> bool,
    ) -> Result<Answer> {
        loop {
            let reported = self.put(info.key().encode(), info.to_bytes()).await?;
            tracing::info!(lock = info.lock_id(), table = %info.up_table, revision = %reported, "shard DDL reported");
            let answer = self.wait_for_answer(info, reported, &mut on_conflict).await;
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }

    /// None when the history since the report is lost, and no answer is there.
    async fn wait_for_answer(
        &self,
        info: &Info,
        reported: Revision,
        on_conflict: &mut impl FnMut(&Operation) -> bool,
    ) -> Option<Answer> {
        let key = operation_key(info);
        let mut feed = self
            .etcd
            .store()
            .feed_from(KeyRange::key(key.encode()), reported);
        loop {
            let (news, is_snapshot) = match feed.next().await {
                FeedItem::Reset(snapshot) => (snapshot.entries, true),
                FeedItem::Batch(batch) => {
                    (batch.events.into_iter().filter_map(put).collect(), false)
                }
            };
            let nothing_there = is_snapshot && news.is_empty();
            for kv in news {
                let Some(operation) = answer_in(&kv, info, reported) else {
                    continue;
                };
                if operation.conflict_stage == ConflictStage::Detected && on_conflict(&operation) {
                    continue;
                }
                return Some(Answer {
                    operation,
                    revision: kv.mod_revision,
                    info_revision: reported,
                });
            }
            if nothing_there {
                return None;
            }
        }
    }

    /// Says that an operation was carried out. It need not be said once the operation or the info is gone or another one, whoever did that.
    pub async fn done(&self, told: &Told) -> Result<()> {
        let Ok(operation) = Operation::from_bytes(told.operation.as_bytes()) else {
            return Ok(());
        };
        let key = operation.key();
        let info_key = info_key(&key).encode();
        let key = key.encode();
        loop {
            let Some(kv) = self.etcd.store().get(key.clone()).await? else {
                tracing::info!(
                    lock = operation.id,
                    "the operation is gone: the round is over"
                );
                return Ok(());
            };
            let present = Operation::from_bytes(&kv.value).ok();
            let Some(present) = present.filter(|p| is_same(p, &operation)) else {
                tracing::info!(
                    lock = operation.id,
                    "the operation was replaced: the round is over"
                );
                return Ok(());
            };
            if present.done {
                return Ok(());
            }
            let txn = Txn {
                guards: vec![
                    Guard::ModRevision(key.clone().into(), kv.mod_revision),
                    Guard::ModRevision(info_key.clone().into(), Revision(told.info_revision)),
                    self.etcd.fence(),
                ],
                puts: vec![Put {
                    key: key.clone().into(),
                    value: present.into_done().to_bytes().into(),
                    lease: None,
                }],
                deletes: Vec::new(),
            };
            match self.etcd.store().commit(&txn).await {
                Ok(_) => return Ok(()),
                Err(CommitError::GuardFailed { .. }) => {
                    self.etcd.check_alive().await?;
                    let info = self.etcd.store().get(info_key.clone()).await?;
                    if info.is_none_or(|kv| kv.mod_revision != Revision(told.info_revision)) {
                        tracing::info!(
                            lock = operation.id,
                            "the info is gone or another one: the round is over"
                        );
                        return Ok(());
                    }
                }
                Err(error) if error_is_retryable(&error) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(refused(error)),
            }
        }
    }

    /// What the tables of a source are told after a revision.
    pub fn operations(&self, task: &TaskName, source: &SourceId, since: Revision) -> Feed {
        let prefix = OperationKey::prefix_of_source(task, source);
        self.etcd.store().feed_from(KeyRange::prefix(prefix), since)
    }
}

fn put(event: Event) -> Option<KeyValue> {
    match event {
        Event::Put(kv) => Some(kv),
        Event::Delete { .. } => None,
    }
}

fn operation_key(info: &Info) -> OperationKey {
    OperationKey {
        task: info.task.clone(),
        source: info.source.clone(),
        schema: info.up_schema.clone(),
        table: info.up_table.clone(),
    }
}

fn info_key(key: &OperationKey) -> InfoKey {
    InfoKey {
        task: key.task.clone(),
        source: key.source.clone(),
        schema: key.schema.clone(),
        table: key.table.clone(),
    }
}

/// The operation in a value, if it answers the info that was put at `reported`: a done one belongs to the round before, and a redirect to a wait before.
fn answer_in(kv: &KeyValue, info: &Info, reported: Revision) -> Option<Operation> {
    if kv.mod_revision <= reported {
        return None;
    }
    match Operation::from_bytes(&kv.value) {
        Ok(operation) if operation.done || operation.id != info.lock_id() => None,
        Ok(operation)
            if operation.conflict_stage == ConflictStage::Resolved && operation.ddls.is_none() =>
        {
            None
        }
        Ok(operation) => Some(operation),
        Err(error) => {
            tracing::warn!(%error, "operation that cannot be read passed over");
            None
        }
    }
}

/// Whether two operations say the same, apart from being done.
fn is_same(a: &Operation, b: &Operation) -> bool {
    a.id == b.id
        && a.ddls == b.ddls
        && a.conflict_stage == b.conflict_stage
        && a.conflict_message == b.conflict_message
        && a.cols == b.cols
}
