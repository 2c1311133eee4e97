//! A site: etcd, a source, a downstream, and workers in this process.

use std::time::Duration;

use dm_keyspace::pessimism::{Info, InfoKey, Operation, OperationKey};
use dm_keyspace::{
    Bound, BoundKey, JoinTime, SourceConfigKey, Stage, StageRecord, SubtaskKey, SubtaskStageKey,
};
use dm_proto::pb;
use dm_store::{KeyRange, Options, Put, Store, Txn};
use dm_task::route::RouteRule;
use dm_task::{DbConfig, SourceConfig, SubtaskConfig, block_allow};
use dm_testkit::etcd::RealEtcd;
use dm_testkit::mariadb::{self, MariaDb};
use dm_testkit::wait_until;
use tokio_util::sync::CancellationToken;
use worker_svc::cast::Cast;
use worker_svc::status::Unit;
use worker_svc::worker::Worker;

/// Nothing here takes so long on a machine that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const TASK: &str = "t1";
pub(crate) const SOURCE: &str = "s1";
/// What two shards have together.
pub(crate) const MERGED: &str = "SELECT * FROM shop.t1 UNION ALL SELECT * FROM shop.t2 ORDER BY 1";

pub(crate) struct Site {
    pub(crate) etcd: RealEtcd,
    pub(crate) up: MariaDb,
    pub(crate) down: MariaDb,
    pub(crate) store: Store,
}

pub(crate) struct Running {
    pub(crate) stop: CancellationToken,
    pub(crate) cast: Cast,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

pub(crate) fn options(server_id: u32) -> mariadb::Options {
    mariadb::Options::sharing(env!("CARGO_TARGET_TMPDIR"), server_id)
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// A site whose downstream has further flags.
    pub(crate) async fn start_with(downstream: Vec<String>) -> Self {
        // Shown with tests that fail; the first test of the process installs it.
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_env_filter("worker_svc=info")
            .try_init();
        let (etcd, up, down) = tokio::join!(
            RealEtcd::start_temp(),
            MariaDb::start_temp("up", options(1)),
            MariaDb::start_temp(
                "down",
                mariadb::Options {
                    args: downstream,
                    ..options(2)
                }
            ),
        );
        let etcd = etcd.unwrap();
        let store = Store::connect(&Options {
            endpoints: vec![etcd.endpoint()],
            ..Options::default()
        })
        .await
        .unwrap();
        Self {
            etcd,
            up: up.unwrap(),
            down: down.unwrap(),
            store,
        }
    }

    /// A site whose source has had these statements.
    pub(crate) async fn with(sql: &str) -> Self {
        let site = Self::start().await;
        site.up.exec(sql).await.unwrap();
        site
    }

    /// Two shards of `merged.t` with a row each.
    pub(crate) async fn with_shards() -> Self {
        Self::with(
            "CREATE DATABASE shop; CREATE TABLE shop.t1 (id INT PRIMARY KEY, v INT); CREATE TABLE shop.t2 (id INT PRIMARY KEY, v INT); \
             INSERT INTO shop.t1 VALUES (1, 1); INSERT INTO shop.t2 VALUES (2, 2)",
        )
        .await
    }

    /// A worker that serves the source with this subtask.
    pub(crate) async fn run(&self, config: &SubtaskConfig) -> Running {
        self.bind("w1").await;
        self.order(config, Stage::Running).await;
        self.worker("w1")
    }

    /// All shards, in the mode in which they wait for each other only when they disagree.
    pub(crate) fn optimistic(&self) -> SubtaskConfig {
        SubtaskConfig {
            shard_mode: "optimistic".to_owned(),
            ..self.subtask("all", true)
        }
    }

    /// With shards, tables of schemas that begin with `shop` go to the table `t` or `u` of `merged`, as their names begin.
    pub(crate) fn subtask(&self, mode: &str, sharded: bool) -> SubtaskConfig {
        let route = |table: &str| RouteRule {
            schema_pattern: "shop*".to_owned(),
            table_pattern: format!("{table}*"),
            target_schema: "merged".to_owned(),
            target_table: table.to_owned(),
            ..RouteRule::default()
        };
        let routes = vec![route("t"), route("u")];
        SubtaskConfig {
            name: TASK.to_owned(),
            source_id: SOURCE.to_owned(),
            mode: mode.to_owned(),
            is_sharding: sharded,
            shard_mode: if sharded { "pessimistic" } else { "" }.to_owned(),
            meta_schema: "dm_meta".to_owned(),
            to: login(&self.down),
            route_rules: if sharded { routes } else { Vec::new() },
            block_allow_list: Some(block_allow::Rules {
                do_dbs: Some(vec!["shop*".to_owned()]),
                ..block_allow::Rules::default()
            }),
            ..SubtaskConfig::default()
        }
    }

    async fn put(&self, puts: Vec<(String, Vec<u8>)>) -> i64 {
        let puts = puts
            .into_iter()
            .map(|(key, value)| Put {
                key: key.into(),
                value: value.into(),
                lease: None,
            })
            .collect();
        let txn = Txn {
            puts,
            ..Txn::default()
        };
        self.store.commit(&txn).await.unwrap().0
    }

    pub(crate) async fn bind(&self, worker: &str) -> i64 {
        let mut config = SourceConfig {
            source_id: SOURCE.to_owned(),
            flavor: "mariadb".to_owned(),
            from: login(&self.up),
            ..SourceConfig::default()
        };
        config.checker.check_enable = true;
        config.checker.backoff_max = dm_task::duration::GoDuration::from_secs(300);
        let source = SourceConfigKey {
            source: SOURCE.into(),
        };
        let bound = BoundKey {
            worker: worker.into(),
        };
        let value = Bound {
            source: SOURCE.into(),
            worker: worker.into(),
            ..Bound::default()
        };
        self.put(vec![
            (source.encode(), config.to_toml().unwrap().into_bytes()),
            (bound.encode(), value.to_bytes()),
        ])
        .await
    }

    pub(crate) async fn unbind(&self, worker: &str) {
        let key = BoundKey {
            worker: worker.into(),
        };
        self.store
            .delete(KeyRange::key(key.encode()))
            .await
            .unwrap();
    }

    pub(crate) async fn order(&self, config: &SubtaskConfig, stage: Stage) {
        let subtask = SubtaskKey {
            source: SOURCE.into(),
            task: TASK.into(),
        };
        self.put(vec![
            (subtask.encode(), config.to_toml().unwrap().into_bytes()),
            (
                stage_key(),
                StageRecord::subtask(stage, SOURCE, TASK).to_bytes(),
            ),
        ])
        .await;
    }

    pub(crate) async fn stop_task(&self) {
        self.store.delete(KeyRange::key(stage_key())).await.unwrap();
    }

    pub(crate) fn worker(&self, name: &str) -> Running {
        let cast = Cast::default();
        let worker = Worker {
            name: name.into(),
            store: self.store.clone(),
            ttl: Duration::from_secs(5),
            secret: None,
            cast: cast.clone(),
        };
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let task = tokio::spawn(async move {
            worker.run(stopping, JoinTime::default, |_| ()).await;
        });
        Running { stop, cast, task }
    }

    /// Waits until the downstream has what the source has.
    pub(crate) async fn same(&self, table: &str) {
        self.same_as(&format!("SELECT * FROM {table} ORDER BY 1"), table)
            .await;
    }

    /// Waits until a query of the source and the content of a downstream table agree.
    pub(crate) async fn same_as(&self, source: &str, table: &str) {
        let target = format!("SELECT * FROM {table} ORDER BY 1");
        let agreed = wait_until(LIMIT, "source and downstream agree", || async {
            let expected = self.up.query(source).await.unwrap();
            self.down.query(&target).await.is_ok_and(|d| d == expected)
        })
        .await;
        if agreed.is_err() {
            let expected = self.up.query(source).await.unwrap();
            let found = self.down.query(&target).await;
            panic!("{source}\n  {expected:?}\n{target}\n  {found:?}");
        }
    }

    pub(crate) async fn info(&self) -> Option<Info> {
        let key = InfoKey {
            task: TASK.into(),
            source: SOURCE.into(),
        };
        let kv = self.store.get(key.encode()).await.unwrap()?;
        Some(Info::from_bytes(&kv.value).unwrap())
    }

    pub(crate) async fn operation(&self) -> Option<Operation> {
        let key = OperationKey {
            task: TASK.into(),
            source: SOURCE.into(),
        };
        let kv = self.store.get(key.encode()).await.unwrap()?;
        Some(Operation::from_bytes(&kv.value).unwrap())
    }

    /// Plays the pessimist: waits for an info, orders, waits for done, ends the round.
    pub(crate) async fn resolve(&self, exec: bool) -> Info {
        let info = self.await_info().await;
        self.answer(&info, exec).await;
        self.await_done().await;
        self.end_round().await;
        info
    }

    pub(crate) async fn await_info(&self) -> Info {
        dm_testkit::wait_for(LIMIT, "the worker reports a shard DDL", || self.info())
            .await
            .unwrap()
    }

    pub(crate) async fn answer(&self, info: &Info, exec: bool) {
        let operation = Operation::new(info.lock_id(), TASK, SOURCE, info.ddls().to_vec(), exec);
        self.put(vec![(operation.key().encode(), operation.to_bytes())])
            .await;
    }

    pub(crate) async fn await_done(&self) {
        wait_until(LIMIT, "the worker is done", || async {
            self.operation().await.is_some_and(|o| o.done) && self.info().await.is_none()
        })
        .await
        .unwrap();
    }

    pub(crate) async fn end_round(&self) {
        let key = OperationKey {
            task: TASK.into(),
            source: SOURCE.into(),
        };
        self.store
            .delete(KeyRange::key(key.encode()))
            .await
            .unwrap();
    }
}

fn stage_key() -> String {
    SubtaskStageKey {
        source: SOURCE.into(),
        task: TASK.into(),
    }
    .encode()
}

pub(crate) fn login(server: &MariaDb) -> DbConfig {
    DbConfig {
        host: "127.0.0.1".to_owned(),
        port: server.port().into(),
        user: mariadb::USER.to_owned(),
        password: server.password().into(),
        ..DbConfig::default()
    }
}

impl Running {
    /// As after kill -9: everything is dropped where it stands.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.task)
            .await
            .unwrap()
            .unwrap();
    }

    pub(crate) fn stage(&self) -> Option<pb::Stage> {
        let now = self.cast.now();
        now.subtasks.first().map(|v| v.told().stage)
    }

    pub(crate) async fn await_stage(&self, stage: pb::Stage) {
        let reached = wait_until(LIMIT, "the subtask's stage", || async {
            self.stage() == Some(stage)
        })
        .await;
        assert!(
            reached.is_ok(),
            "{stage:?} not reached: {:?}",
            self.cast.now().subtasks.first().map(|v| v.told())
        );
    }

    /// From now on the log is followed.
    pub(crate) async fn await_replication(&self) {
        wait_until(LIMIT, "replication has begun", || async {
            let now = self.cast.now();
            let view = now.subtasks.first();
            view.is_some_and(|view| view.board.read().unit == Unit::Sync)
        })
        .await
        .unwrap();
    }

    pub(crate) fn errors(&self) -> Vec<pb::ProcessError> {
        let now = self.cast.now();
        now.subtasks
            .first()
            .map(|v| v.told().errors)
            .unwrap_or_default()
    }
}
