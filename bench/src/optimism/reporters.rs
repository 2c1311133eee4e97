//! The workers of optimistic tasks: they put infos, are told what to do, and say that it is done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dm_keyspace::optimism::{ConflictStage, Info, Operation, OperationKey};
use dm_store::{Event, Feed, FeedItem, KeyRange};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use crate::bare::Trip;
use crate::error::within;
use crate::shards::Shards;
use crate::{Error, Result, World};

/// How long any of this may take.
const LIMIT: Duration = Duration::from_secs(900);
/// Puts under way at the same time.
const FLIGHT: usize = 64;
/// Infos that wait for an answer at the same time: each table has its own, but a source meets them one after the other.
const UNANSWERED: usize = 64;

/// All workers of a run; they share connections and one watch.
#[derive(Debug)]
pub(super) struct Reporters {
    world: World,
    feed: Feed,
}

/// What has to come of some infos.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Of each of them.
    stage: ConflictStage,
    /// Whether the tables say that they have done it.
    is_done: bool,
}

impl Expected {
    /// The statement is executed, and that is said.
    pub(super) fn done() -> Self {
        Self {
            stage: ConflictStage::None,
            is_done: true,
        }
    }

    /// The statement is executed, and nothing is said any more: as long as that is so, the lock stays.
    pub(super) fn executed() -> Self {
        Self {
            is_done: false,
            ..Self::done()
        }
    }

    /// The table has to wait for the others.
    pub(super) fn waits() -> Self {
        Self {
            stage: ConflictStage::SkipWaitRedirect,
            is_done: false,
        }
    }
}

impl Reporters {
    /// Begins to watch.
    pub(super) async fn new(world: &World) -> Result<Self> {
        let prefix = world.run().prefix_in(OperationKey::PREFIX);
        let mut feed = world.own_store().await?.feed(KeyRange::prefix(prefix));
        feed.next().await;
        Ok(Self {
            world: world.clone(),
            feed,
        })
    }

    /// Starts the tasks of these locks, and lets every table add the first column. One table of each lock does not say that it is
    /// done, so that the lock stays for what follows.
    pub(super) async fn begin(&mut self, locks: &[Shards]) -> Result<()> {
        let subtasks = locks.iter().flat_map(|shards| {
            let sources = shards.sources().into_iter();
            sources.map(|source| self.world.optimistic_subtask(&source, shards.task()))
        });
        self.world.load(subtasks.collect::<Vec<_>>()).await?;
        let lists = locks.iter().flat_map(Shards::source_tables);
        self.world.load(lists.collect::<Vec<_>>()).await?;
        // The first of each lock wait while the optimist looks for the structures of tables that have not reported.
        let first = locks.iter().map(|shards| shards.info(0, 0));
        self.report(first.collect(), &Expected::executed()).await?;
        let rest = locks
            .iter()
            .flat_map(|shards| (1..shards.tables()).map(|table| shards.info(table, 0)));
        self.report(rest.collect(), &Expected::done()).await?;
        Ok(())
    }

    /// Puts many infos as fast as etcd takes them, and waits for all answers; gives how long that took.
    pub(super) async fn report(
        &mut self,
        infos: Vec<Info>,
        expected: &Expected,
    ) -> Result<Duration> {
        let count = infos.len();
        let mut waiting: BTreeMap<String, Info> = BTreeMap::new();
        for info in &infos {
            waiting.insert(operation_key(info), info.clone());
        }
        let (mut answered, answers) = mpsc::channel::<Operation>(FLIGHT);
        let began = Instant::now();
        let world = &self.world;
        let room = Semaphore::new(UNANSWERED);
        let infos = stream::iter(infos).then(|info| async {
            if let Ok(place) = room.acquire().await {
                place.forget();
            }
            record_of(info)
        });
        let put = put_all(world, infos);
        let done = put_all(
            world,
            answers.map(|answer| (answer.key().encode(), answer.into_done().to_bytes())),
        );
        let (feed, room) = (&mut self.feed, &room);
        let told = async move {
            while !waiting.is_empty() {
                for operation in orders(feed.next().await)? {
                    let Some(info) = waiting.remove(&operation.key().encode()) else {
                        continue;
                    };
                    check(&operation, &info, expected)?;
                    room.add_permits(1);
                    if expected.is_done {
                        // Nobody takes it any more only if a put has failed, which is the error then.
                        answered.send(operation).await.ok();
                    }
                }
            }
            Ok(Instant::now())
        };
        let all = async { tokio::try_join!(put, told, done) };
        let what = || format!("{count} infos are answered");
        let ((), last, ()) = within(LIMIT, what, all).await?;
        Ok(last.duration_since(began))
    }

    /// Puts one info, and waits for its answer.
    pub(super) async fn trip(&mut self, info: Info) -> Result<Trip> {
        let key = operation_key(&info);
        let (info_key, value) = record_of(info.clone());
        let store = self.world.store(0).clone();
        let feed = &mut self.feed;
        let sent = Instant::now();
        let put = async {
            let put = store.put(info_key, value, None).await;
            put.map_err(Error::commit("put an info"))?;
            Ok(Instant::now())
        };
        let told = async {
            loop {
                let item = feed.next().await;
                let at = Instant::now();
                let own = orders(item)?
                    .into_iter()
                    .find(|operation| operation.key().encode() == key);
                if let Some(own) = own {
                    check(&own, &info, &Expected::done())?;
                    return Ok((at, own));
                }
            }
        };
        let both = async { tokio::try_join!(put, told) };
        let (acked, (at, told)) = within(LIMIT, || "an info is answered".to_owned(), both).await?;
        let done = told.into_done();
        let done = self
            .world
            .store(0)
            .put(done.key().encode(), done.to_bytes(), None)
            .await;
        done.map_err(Error::commit("say that it is done"))?;
        Ok(Trip {
            from_sent: at.saturating_duration_since(sent),
            from_ack: at.saturating_duration_since(acked),
        })
    }

    /// The last table reports, is told to execute, and all others are told to go back; gives how long it took until the last of
    /// them was told.
    pub(super) async fn resolve(&mut self, last: Info, others: usize) -> Result<Duration> {
        let own = operation_key(&last);
        let (key, value) = record_of(last.clone());
        let began = Instant::now();
        let put = self.world.store(0).put(key, value, None).await;
        put.map_err(Error::commit("put the last info"))?;
        let feed = &mut self.feed;
        let told = async {
            let (mut redirected, mut is_answered) = (0, false);
            while redirected < others || !is_answered {
                for operation in orders(feed.next().await)? {
                    if operation.key().encode() == own {
                        check(&operation, &last, &Expected::done())?;
                        is_answered = true;
                    } else if operation.conflict_stage == ConflictStage::Resolved {
                        redirected += 1;
                    }
                }
            }
            Ok(began.elapsed())
        };
        let what = || format!("{others} tables are redirected");
        within(LIMIT, what, told).await
    }
}

async fn put_all(
    world: &World,
    records: impl stream::Stream<Item = (String, Vec<u8>)>,
) -> Result<()> {
    let put = |(number, (key, value)): (usize, (String, Vec<u8>))| {
        let store = world.store(number).clone();
        async move {
            let put = store.put(key, value, None).await;
            put.map(drop)
                .map_err(Error::commit("a worker puts a record"))
        }
    };
    records
        .enumerate()
        .map(put)
        .buffer_unordered(FLIGHT)
        .try_collect()
        .await
}

/// Operations that are not done yet.
fn orders(item: FeedItem) -> Result<Vec<Operation>> {
    let puts = match item {
        FeedItem::Reset(snapshot) => snapshot.entries,
        FeedItem::Batch(batch) => {
            let puts = batch.events.into_iter().filter_map(|event| match event {
                Event::Put(kv) => Some(kv),
                Event::Delete { .. } => None,
            });
            puts.collect()
        }
    };
    let read = puts.iter().map(|kv| Operation::from_bytes(&kv.value));
    let operations: std::result::Result<Vec<_>, _> = read.collect();
    let mut operations = operations.map_err(|e| Error::Wrong(format!("an operation: {e}")))?;
    operations.retain(|operation| !operation.done);
    Ok(operations)
}

fn check(operation: &Operation, info: &Info, expected: &Expected) -> Result<()> {
    let executes = expected.stage == ConflictStage::None;
    let is_right =
        operation.conflict_stage == expected.stage && (!executes || operation.ddls == info.ddls);
    if is_right {
        return Ok(());
    }
    Err(Error::Wrong(format!(
        "table {} was told {:?} {:?} ({}) after it had reported {:?}",
        info.up_table,
        operation.conflict_stage,
        operation.ddls,
        operation.conflict_message,
        info.ddls
    )))
}

fn operation_key(info: &Info) -> String {
    let key = OperationKey {
        task: info.task.clone(),
        source: info.source.clone(),
        schema: info.up_schema.clone(),
        table: info.up_table.clone(),
    };
    key.encode()
}

fn record_of(info: Info) -> (String, Vec<u8>) {
    (info.key().encode(), info.to_bytes())
}
