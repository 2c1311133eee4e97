//! A source in a pessimistic task, on the worker's side: report a DDL, be told, say that it is done, wait for the end of
//! the round.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use dm_keyspace::pessimism::{Info, Operation, OperationKey};
use dm_keyspace::{SourceId, TaskName};
use dm_store::{Event, Feed, FeedItem, Guard, KeyRange, Put, Revision, Store, Txn};

use crate::error::within;
use crate::{Error, Result};

/// How long a participant waits for what must come.
const LIMIT: Duration = Duration::from_secs(180);

/// The table that all tasks of a run merge into; locks differ by the task.
const SCHEMA: &str = "bench";
const TABLE: &str = "t";

/// When an info was put.
#[derive(Clone, Copy, Debug)]
pub struct Reported {
    /// When the transaction was sent.
    pub sent: Instant,
    /// When etcd had said that it took effect.
    pub acked: Instant,
}

/// An operation as it came.
#[derive(Clone, Debug)]
pub struct Told {
    /// When the watch brought it.
    pub at: Instant,
    /// Whether the source shall execute.
    pub exec: bool,
    operation: Operation,
}

/// One source of one task. It watches its own operation key for as long as it lives.
#[derive(Debug)]
pub struct Participant {
    store: Store,
    task: TaskName,
    source: SourceId,
    operation_key: String,
    feed: Feed,
    queue: VecDeque<(Instant, Event)>,
    statements: Vec<String>,
    done_at: Revision,
}

impl Participant {
    /// Begins to watch.
    #[must_use]
    pub fn new(store: Store, task: TaskName, source: SourceId) -> Self {
        let key = OperationKey {
            task: task.clone(),
            source: source.clone(),
        };
        let operation_key = key.encode();
        let feed = store.feed(KeyRange::key(operation_key.clone()));
        Self {
            store,
            task,
            source,
            operation_key,
            feed,
            queue: VecDeque::new(),
            statements: Vec::new(),
            done_at: Revision::ZERO,
        }
    }

    /// Puts the info for a statement, on the condition that a DM worker sets: no operation of an earlier round is left.
    pub async fn report(&mut self, round: usize) -> Result<Reported> {
        self.statements = vec![statement(round)];
        let info = Info::new(
            self.task.clone(),
            self.source.clone(),
            SCHEMA,
            TABLE,
            self.statements.clone(),
        );
        let txn = Txn {
            guards: vec![Guard::Missing(self.operation_key.clone().into())],
            puts: vec![put(info.key().encode(), info.to_bytes())],
            ..Txn::default()
        };
        let sent = Instant::now();
        let committed = self.store.commit(&txn).await;
        let acked = Instant::now();
        committed.map_err(Error::commit(format!("{} reports a DDL", self.source)))?;
        Ok(Reported { sent, acked })
    }

    /// Waits for the operation.
    pub async fn told(&mut self) -> Result<Told> {
        let what = format!("{} of {} is told what to do", self.source, self.task);
        let told = within(LIMIT, || what, self.next_order()).await?;
        let (order, mine) = (told.operation.ddls(), &self.statements);
        if order != mine {
            return Err(self.wrong(&format!(
                "was told {order:?} after it had reported {mine:?}"
            )));
        }
        Ok(told)
    }

    async fn next_order(&mut self) -> Result<Told> {
        loop {
            let (at, event) = self.next_event().await;
            let Event::Put(kv) = event else { continue };
            // Its own word of an earlier round, or an order of then that was given twice.
            if kv.mod_revision <= self.done_at {
                continue;
            }
            let operation = Operation::from_bytes(&kv.value)
                .map_err(|e| self.wrong(&format!("cannot read its operation: {e}")))?;
            if !operation.done {
                let exec = operation.exec;
                return Ok(Told {
                    at,
                    exec,
                    operation,
                });
            }
        }
    }

    /// Says that it is done, in the transaction that a DM worker uses.
    pub async fn done(&mut self, told: Told) -> Result<()> {
        let done = told.operation.into_done();
        let info = dm_keyspace::pessimism::InfoKey {
            task: self.task.clone(),
            source: self.source.clone(),
        };
        let txn = Txn {
            guards: vec![Guard::Exists(info.encode().into())],
            puts: vec![put(self.operation_key.clone(), done.to_bytes())],
            deletes: vec![KeyRange::key(info.encode())],
        };
        let committed = self.store.commit(&txn).await;
        self.done_at = committed.map_err(Error::commit(format!("{} is done", self.source)))?;
        Ok(())
    }

    /// Waits until the operation is deleted, and gives the moment.
    pub async fn released(&mut self) -> Result<Instant> {
        let what = format!("the round of {} in {} ends", self.source, self.task);
        within(LIMIT, || what, self.end_of_round()).await
    }

    async fn end_of_round(&mut self) -> Result<Instant> {
        loop {
            match self.next_event().await {
                (at, Event::Delete { revision, .. }) if revision > self.done_at => return Ok(at),
                (_, Event::Put(kv)) if kv.mod_revision > self.done_at => {
                    return Err(self.wrong("was told once more after it was done"));
                }
                _ => {}
            }
        }
    }

    /// A whole round, and whether this source was the one to execute.
    pub async fn round(&mut self, number: usize) -> Result<bool> {
        self.report(number).await?;
        let told = self.told().await?;
        let exec = told.exec;
        self.done(told).await?;
        self.released().await?;
        Ok(exec)
    }

    async fn next_event(&mut self) -> (Instant, Event) {
        loop {
            if let Some(next) = self.queue.pop_front() {
                return next;
            }
            let item = self.feed.next().await;
            let at = Instant::now();
            match item {
                FeedItem::Batch(batch) => {
                    self.queue.extend(batch.events.into_iter().map(|e| (at, e)));
                }
                FeedItem::Reset(snapshot) if snapshot.entries.is_empty() => {
                    let key = self.operation_key.clone().into();
                    let revision = snapshot.revision;
                    self.queue.push_back((at, Event::Delete { key, revision }));
                }
                FeedItem::Reset(snapshot) => {
                    let puts = snapshot.entries.into_iter().map(|kv| (at, Event::Put(kv)));
                    self.queue.extend(puts);
                }
            }
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Wrong(format!("{} of {} {what}", self.source, self.task))
    }
}

fn statement(round: usize) -> String {
    format!("ALTER TABLE `{SCHEMA}`.`{TABLE}` ADD COLUMN `c{round}` BIGINT")
}

fn put(key: String, value: Vec<u8>) -> Put {
    Put {
        key: key.into(),
        value: value.into(),
        lease: None,
    }
}
