//! Workers that report the same statements, pessimistically, and do as they are told.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use dm_keyspace::pessimism::{Info, InfoKey, Operation, OperationKey};
use dm_keyspace::{Role, SubtaskKey, TaskStart, TaskStartKey};
use dm_store::{
    CommitError, Event, FeedItem, Guard, KeyRange, KeyValue, Put, Revision, Store, Txn,
};
use pessimist_svc::machine::{Limits, Pessimist};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::cluster::Cluster;
use crate::network;

const TASK: &str = "t";
/// Tables that statements are for.
const TABLES: [&str; 3] = ["a", "b", "c"];
const FAULTS: Duration = Duration::from_secs(120);
/// Far longer than any lease, timeout and pause taken together.
const PATIENCE: Duration = Duration::from_secs(600);

/// What has happened, whoever knows of it; the workers' databases, which survive their crashes.
struct Truth {
    /// Table and statement, in the order in which every source meets them.
    plan: Vec<(&'static str, String)>,
    sources: Vec<Source>,
    /// Who has executed each statement.
    executed: Vec<BTreeSet<usize>>,
    broken: Option<String>,
}

/// One source's checkpoint.
#[derive(Default)]
struct Source {
    passed: usize,
    /// The statement that it has reported last, plus one.
    reported: usize,
    /// Obeyed, and not yet said so.
    did: Option<Operation>,
}

impl Truth {
    fn new(rng: &mut SmallRng) -> Self {
        let statements = rng.random_range(2..8);
        let plan = |number| {
            let table = TABLES[rng.random_range(0..TABLES.len())];
            // Now and then the same statement comes again.
            let which = rng.random_range(0..=number);
            (
                table,
                format!("ALTER TABLE `d`.`{table}` COMMENT '{which}'"),
            )
        };
        let plan: Vec<_> = (0..statements).map(plan).collect();
        let sources = rng.random_range(1..5);
        Self {
            executed: vec![BTreeSet::new(); plan.len()],
            plan,
            sources: (0..sources).map(|_| Source::default()).collect(),
            broken: None,
        }
    }

    fn info(&self, source: usize) -> Option<Info> {
        let (table, ddl) = self.plan.get(self.sources[source].passed)?;
        Some(Info::new(
            TASK,
            name(source),
            "d",
            *table,
            vec![ddl.clone()],
        ))
    }

    fn obey(&mut self, source: usize, order: Operation) {
        let number = self.sources[source].passed;
        let wrong = match self.info(source) {
            Some(info) if order.id != info.lock_id() || order.ddls() != info.ddls() => {
                Some("gets an order for another round")
            }
            _ if order.done => Some("gets an order that is done already"),
            _ if order.exec && self.sources.iter().any(|s| s.reported <= number) => {
                Some("executes before all have reported")
            }
            _ if !order.exec && self.executed[number].is_empty() => {
                Some("skips before anybody has executed")
            }
            _ => None,
        };
        if order.exec {
            self.executed[number].insert(source);
        }
        let is_twice = self.executed[number].len() > 1;
        let wrong = wrong.or(is_twice.then_some("executes what another one has executed"));
        if let Some(wrong) = wrong {
            let ddl = &self.plan[number];
            let line = format!("{} {wrong}: {ddl:?}, {order:?}", name(source));
            self.broken.get_or_insert(line);
        }
        self.sources[source].did = Some(order);
    }

    fn is_over(&self) -> bool {
        self.sources.iter().all(|s| s.passed == self.plan.len())
    }
}

fn name(source: usize) -> String {
    format!("s{source}")
}

fn info_key(source: usize) -> String {
    InfoKey {
        task: TASK.into(),
        source: name(source).into(),
    }
    .encode()
}

fn operation_key(source: usize) -> String {
    OperationKey {
        task: TASK.into(),
        source: name(source).into(),
    }
    .encode()
}

fn subtask_key(source: usize) -> String {
    SubtaskKey {
        source: name(source).into(),
        task: TASK.into(),
    }
    .encode()
}

fn start_key() -> String {
    TaskStartKey { task: TASK.into() }.encode()
}

/// The last transaction of the start, however often it takes.
async fn start_others(sources: usize, pause: Duration) -> turmoil::Result {
    tokio::time::sleep(pause).await;
    let store = network::store().await?;
    let others = (1..sources).map(|source| put(subtask_key(source), Vec::new()));
    let txn = Txn {
        guards: Vec::new(),
        puts: others.collect(),
        deletes: vec![KeyRange::key(start_key())],
    };
    while store.commit(&txn).await.is_err() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    std::future::pending().await
}

/// One run: workers, replicas and faults, and then the end that must come.
///
/// # Panics
/// When an invariant does not hold.
pub fn run(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let truth = Truth::new(&mut rng);
    let sources = truth.sources.len();
    let truth = Rc::new(RefCell::new(truth));
    let machine = || Pessimist::new(Limits::default());
    let mut cluster = Cluster::new(seed, Role::Pessimist, machine);
    // The task is started in two transactions, while the workers of the first are at work already.
    let start = TaskStart::default().to_bytes();
    cluster.etcd.put(start_key(), start);
    cluster.etcd.put(subtask_key(0), "");
    let pause = Duration::from_millis(rng.random_range(0..60_000));
    cluster.host("starter".to_owned(), move || start_others(sources, pause));
    for source in 0..sources {
        let truth = Rc::clone(&truth);
        cluster.host(format!("worker-{source}"), move || {
            work(source, Rc::clone(&truth))
        });
    }
    let look = |_| {
        let truth = truth.borrow();
        assert!(truth.broken.is_none(), "{:?}", truth.broken);
    };
    cluster.suffer(FAULTS, look);
    let is_over = cluster.settle(PATIENCE, look, |etcd| {
        truth.borrow().is_over()
            && etcd.dump(InfoKey::PREFIX).is_empty()
            && etcd.dump(OperationKey::PREFIX).is_empty()
    });
    let passed: Vec<usize> = truth.borrow().sources.iter().map(|s| s.passed).collect();
    assert!(
        is_over,
        "stuck: of {} statements have passed {passed:?}",
        truth.borrow().plan.len()
    );
}

/// After a call that etcd may refuse in no time.
const PAUSE: Duration = Duration::from_millis(100);

async fn work(source: usize, truth: Rc<RefCell<Truth>>) -> turmoil::Result {
    let store = network::store().await?;
    loop {
        let did = truth.borrow().sources[source].did.clone();
        if let Some(order) = did {
            if say_done(&store, source, order).await {
                let source = &mut truth.borrow_mut().sources[source];
                source.did = None;
                source.passed += 1;
            } else {
                tokio::time::sleep(PAUSE).await;
            }
            continue;
        }
        let Some(info) = truth.borrow().info(source) else {
            return std::future::pending().await;
        };
        if let Some(reported_at) = report(&store, source, &info, &truth).await {
            let order = await_order(&store, source, reported_at).await;
            truth.borrow_mut().obey(source, order);
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Puts the info, unless an operation that is done is still there. Nothing when it could not be put, or nobody knows.
async fn report(
    store: &Store,
    source: usize,
    info: &Info,
    truth: &RefCell<Truth>,
) -> Option<Revision> {
    let key = operation_key(source);
    let present = store.get(key.clone()).await.ok()?;
    let is_done = |kv: &KeyValue| Operation::from_bytes(&kv.value).is_ok_and(|o| o.done);
    if present.as_ref().is_some_and(is_done) {
        return None;
    }
    {
        // Before it is sent: it may arrive although nobody hears of it.
        let mut truth = truth.borrow_mut();
        let number = truth.sources[source].passed;
        truth.sources[source].reported = number + 1;
    }
    let txn = Txn {
        guards: vec![Guard::unchanged(key, present.map(|kv| kv.mod_revision))],
        puts: vec![put(info_key(source), info.to_bytes())],
        deletes: Vec::new(),
    };
    store.commit(&txn).await.ok()
}

/// The first put of the operation after the report, whatever is in it.
async fn await_order(store: &Store, source: usize, reported_at: Revision) -> Operation {
    let mut feed = store.feed_from(KeyRange::key(operation_key(source)), reported_at);
    loop {
        let puts: Vec<KeyValue> = match feed.next().await {
            FeedItem::Reset(snapshot) => snapshot.entries,
            FeedItem::Batch(batch) => batch
                .events
                .into_iter()
                .filter_map(|event| match event {
                    Event::Put(kv) => Some(kv),
                    Event::Delete { .. } => None,
                })
                .collect(),
        };
        let order = puts
            .iter()
            .filter(|kv| kv.mod_revision > reported_at)
            .find_map(|kv| Operation::from_bytes(&kv.value).ok());
        if let Some(order) = order {
            return order;
        }
    }
}

/// Whether it is known that the word is in etcd, now or since an earlier attempt.
async fn say_done(store: &Store, source: usize, order: Operation) -> bool {
    let info = info_key(source);
    let txn = Txn {
        guards: vec![Guard::Exists(info.clone().into())],
        puts: vec![put(operation_key(source), order.into_done().to_bytes())],
        deletes: vec![KeyRange::key(info)],
    };
    matches!(
        store.commit(&txn).await,
        Ok(_) | Err(CommitError::GuardFailed { .. })
    )
}

fn put(key: String, value: Vec<u8>) -> Put {
    Put {
        key: key.into(),
        value: value.into(),
        lease: None,
    }
}
