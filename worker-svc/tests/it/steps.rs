//! A crash between any two steps around a shard DDL: nothing is stuck, nothing is done twice, nothing is lost.

use std::sync::{Arc, Mutex};

use dm_keyspace::pessimism::{InfoKey, Operation, OperationKey};
use dm_keyspace::{KeepAliveKey, Stage};
use dm_task::SubtaskConfig;
use dm_testkit::{wait_for, wait_until};
use futures::future::BoxFuture;
use tokio::sync::watch;
use worker_svc::permit;
use worker_svc::shard::coordinator::Coordinator;
use worker_svc::subtask::{Subtask, Surroundings};
use worker_svc::unit::steps::{Step, Steps, Watcher};

use crate::harness::{LIMIT, MERGED, SOURCE, Site, TASK, login};

/// More row events than are applied again before the first of them are written down.
const HELD: usize = 510;

/// Lets a run go as far as a step, and no further.
#[derive(Debug)]
struct Halt {
    /// The step, and how often it is let pass before.
    at: Mutex<Option<(Step, usize)>>,
    halted: watch::Sender<bool>,
}

impl Watcher for Halt {
    fn reached(&self, step: Step) -> BoxFuture<'static, ()> {
        let mut at = self.at.lock().unwrap();
        match at.as_mut().filter(|(halt, _)| *halt == step) {
            Some((_, 0)) => {
                self.halted.send_replace(true);
                Box::pin(std::future::pending())
            }
            Some((_, passes)) => {
                *passes -= 1;
                Box::pin(std::future::ready(()))
            }
            None => Box::pin(std::future::ready(())),
        }
    }
}

pub(crate) struct Run {
    worker: &'static str,
    bound: i64,
    pub(crate) subtask: Subtask,
    halt: Arc<Halt>,
    config: SubtaskConfig,
}

impl Run {
    /// A bound of its own, or the one of a run before.
    async fn start(site: &Site, worker: &'static str, bound: Option<i64>) -> Self {
        Self::of(site, site.subtask("all", true), worker, bound).await
    }

    pub(crate) async fn of(
        site: &Site,
        config: SubtaskConfig,
        worker: &'static str,
        bound: Option<i64>,
    ) -> Self {
        let key = KeepAliveKey {
            worker: worker.into(),
        };
        let alive = site.store.put(key.encode(), "{}", None).await.unwrap();
        let bound = bound.unwrap_or(alive.0);
        let halt = Arc::new(Halt {
            at: Mutex::new(None),
            halted: watch::Sender::new(false),
        });
        let surroundings = Surroundings {
            worker: worker.into(),
            source: SOURCE.into(),
            from: login(&site.up),
            case_sensitive: false,
            filters: Vec::new(),
            auto_resume: true,
            bound_revision: bound,
            store: site.store.clone(),
            permit: permit::unlimited(),
            coordinator: Coordinator::new(site.store.clone(), &worker.into(), alive),
            steps: Steps::watched_by(halt.clone()),
        };
        let text = config.to_toml().unwrap();
        let read = SubtaskConfig::from_toml(&text).map_err(Into::into);
        Self {
            worker,
            bound,
            subtask: Subtask::start(TASK.into(), read, Stage::Running, surroundings),
            halt,
            config,
        }
    }

    pub(crate) fn halt_at(&self, step: Step, passes: usize) {
        *self.halt.at.lock().unwrap() = Some((step, passes));
    }

    /// Waits for the step, and ends there without a word; then goes on in another run, on the same worker or on another.
    pub(crate) async fn crash_and_go_on(self, site: &Site, failover: bool) -> Self {
        let mut halted = self.halt.halted.subscribe();
        let reached = tokio::time::timeout(LIMIT, halted.wait_for(|halted| *halted)).await;
        assert!(
            reached.is_ok(),
            "not reached: {:?}, {:?}",
            self.halt,
            self.subtask.view().told()
        );
        let (worker, bound) = (self.worker, self.bound);
        drop(self.subtask);
        match (failover, worker) {
            (false, same) => Self::of(site, self.config, same, Some(bound)).await,
            (true, "w1") => Self::of(site, self.config, "w2", None).await,
            (true, _) => Self::of(site, self.config, "w1", None).await,
        }
    }
}

/// Plays the pessimist for one round as DM's does: each report is answered, until the order was followed. Another source has executed before one is told to skip.
async fn pessimist(site: &Site, exec: bool) {
    let info_key = InfoKey {
        task: TASK.into(),
        source: SOURCE.into(),
    }
    .encode();
    let key = OperationKey {
        task: TASK.into(),
        source: SOURCE.into(),
    }
    .encode();
    let mut answered = None;
    loop {
        let seen = wait_for(LIMIT, "a report, or the end of the round", || async {
            let info = site.store.get(info_key.clone()).await.unwrap();
            let held = site.store.get(key.clone()).await.unwrap();
            let done = held.is_some_and(|kv| Operation::from_bytes(&kv.value).unwrap().done);
            let news = info.filter(|kv| answered != Some(kv.mod_revision));
            (done || news.is_some()).then_some(news)
        });
        let Some(news) = seen.await.unwrap() else {
            return site.end_round().await;
        };
        let info = site.info().await.unwrap();
        if !exec && answered.is_none() {
            for ddl in info.ddls() {
                site.down.exec(ddl).await.unwrap();
            }
        }
        answered = Some(news.mod_revision);
        site.answer(&info, exec).await;
    }
}

/// How often the downstream was told something, by its own binlog.
async fn executed(site: &Site, parts: [&str; 2]) -> usize {
    let events = site.down.query("SHOW BINLOG EVENTS").await.unwrap();
    let is_it = |event: &&Vec<Option<String>>| {
        let (kind, info) = (event[2].as_deref(), event[5].as_deref().unwrap_or_default());
        kind == Some("Query") && parts.iter().all(|part| info.contains(part))
    };
    events.iter().filter(is_it).count()
}

async fn begin() -> (Site, Run) {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.t1 (id INT PRIMARY KEY, v INT); CREATE TABLE shop.t2 (id INT PRIMARY KEY, v INT); \
         INSERT INTO shop.t1 VALUES (1, 0); INSERT INTO shop.t2 VALUES (2, 0)",
    )
    .await;
    let run = Run::start(&site, "w1", None).await;
    site.same_as(MERGED, "merged.t").await;
    (site, run)
}

/// A place to crash at, and how it goes on.
#[derive(Clone, Copy, Debug)]
struct Case {
    step: Step,
    passes: usize,
    exec: bool,
    failover: bool,
}

/// Each step on the same worker and on another one; those of a statement for the first and the second of them.
fn cases(exec: bool) -> impl Iterator<Item = (usize, Case)> {
    let of_a_statement = [Step::Attempted, Step::Executed];
    let only_owner = [Step::Executing, Step::Attempted, Step::Executed];
    let firsts = Step::ALL.into_iter().map(|step| (step, 0));
    let seconds = of_a_statement.into_iter().map(|step| (step, 1));
    let reached = move |(step, _): &(Step, usize)| exec || !only_owner.contains(step);
    let steps = firsts.chain(seconds).filter(reached);
    let cases = steps.flat_map(move |(step, passes)| {
        [false, true].map(|failover| Case {
            step,
            passes,
            exec,
            failover,
        })
    });
    cases.enumerate()
}

async fn crash_at(site: &Site, run: Run, case: Case, n: usize) -> Run {
    // The index has no name that would tell a second one from the first.
    let ddl = format!("ADD INDEX (v, id), ADD COLUMN c{n} INT DEFAULT {n}");
    let held = format!("UPDATE t1 SET v = v + 1, c{n} = v;").repeat(HELD);
    run.halt_at(case.step, case.passes);
    let change = format!(
        "USE shop; ALTER TABLE t1 {ddl}; BEGIN; {held} COMMIT; UPDATE t1 SET c{n} = -1; UPDATE t2 SET v = {n}; ALTER TABLE t2 {ddl}; UPDATE t2 SET c{n} = 7"
    );
    site.up.exec(&change).await.unwrap();
    let (run, ()) = tokio::join!(
        run.crash_and_go_on(site, case.failover),
        pessimist(site, case.exec)
    );
    site.same_as(MERGED, "merged.t").await;
    let board = run.subtask.view().board;
    wait_until(LIMIT, "no DDL is open", || async {
        board.read().groups.is_empty()
    })
    .await
    .unwrap();
    let column = format!("`c{n}`");
    let times = executed(site, ["ADD COLUMN", column.as_str()]).await;
    assert_eq!(times, 1, "{case:?}");
    // One for each case so far.
    assert_eq!(
        executed(site, ["ADD INDEX", "`v`"]).await,
        n + 1,
        "{case:?}"
    );
    assert_eq!(site.info().await, None, "{case:?}");
    assert_eq!(site.operation().await, None, "{case:?}");
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_of_a_ddl_that_this_source_executes_changes_nothing() {
    let (site, mut run) = begin().await;
    for (n, case) in cases(true) {
        run = crash_at(&site, run, case, n).await;
    }
    run.subtask.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_of_a_ddl_that_another_source_executes_changes_nothing() {
    let (site, mut run) = begin().await;
    for (n, case) in cases(false) {
        run = crash_at(&site, run, case, n).await;
    }
    run.subtask.close().await;
}

/// What an event does to `shop.a`, or to the table that has become of it, without names that would tell the second time from the first.
const PLAIN: [&str; 6] = [
    "ALTER TABLE shop.a ADD INDEX (v)",
    "ALTER TABLE shop.a ADD UNIQUE (v, id), ADD CHECK (v < 1000)",
    "ALTER TABLE shop.a MODIFY v BIGINT, ADD COLUMN w INT FIRST",
    "CREATE TABLE shop.b (id INT PRIMARY KEY, a INT); ALTER TABLE shop.b ADD FOREIGN KEY (a) REFERENCES shop.a (id)",
    "ALTER TABLE shop.b RENAME TO shop.c",
    "RENAME TABLE shop.a TO shop.x, shop.c TO shop.a, shop.x TO shop.c",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_of_a_ddl_without_shards_changes_nothing() {
    let site = Site::with(
        "CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY, v INT); INSERT INTO shop.a VALUES (1, 1)",
    )
    .await;
    let mut run = Run::of(&site, site.subtask("all", false), "w1", None).await;
    site.same("shop.a").await;
    for (n, sql) in PLAIN.into_iter().enumerate() {
        run.halt_at(Step::Executed, 0);
        site.up.exec(sql).await.unwrap();
        run = run.crash_and_go_on(&site, n % 3 == 0).await;
        same_structures(&site).await;
    }
    let rows = "SELECT * FROM shop.c";
    let expected = site.up.query(rows).await.unwrap();
    assert_eq!(site.down.query(rows).await.unwrap(), expected);
    run.subtask.close().await;
}

async fn same_structures(site: &Site) {
    let tables =
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop' ORDER BY 1";
    let structures = async |server: &dm_testkit::mariadb::MariaDb| {
        let mut all = Vec::new();
        for table in server
            .query(tables)
            .await
            .unwrap()
            .into_iter()
            .flatten()
            .flatten()
        {
            let shown = format!("SHOW CREATE TABLE shop.{table}");
            // A table that is renamed meanwhile is looked for again.
            all.extend(server.query(&shown).await.unwrap_or_default());
        }
        all
    };
    let expected = structures(&site.up).await;
    let same = wait_until(LIMIT, "the structures agree", || async {
        structures(&site.down).await == expected
    });
    if same.await.is_err() {
        assert_eq!(structures(&site.down).await, expected);
    }
}
