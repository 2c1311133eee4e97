//! A cluster: etcd in memory, replicas of the service, and workers.

#[path = "kit/worker.rs"]
mod worker;

use std::net::SocketAddr;
use std::time::Duration;

use dm_keyspace::{
    Bound, BoundKey, KeepAliveKey, RelayWorkerKey, SourceConfigKey, Stage, StageRecord, SubtaskKey,
    SubtaskStageKey, WorkerInfo, WorkerInfoKey,
};
use dm_proto::pb;
use dm_proto::scheduler::scheduler_client::SchedulerClient;
use dm_task::{SourceConfig, SubtaskConfig, TaskConfig};
use dm_testkit::mariadb::{self, MariaDb};
use dm_testkit::memory::MemoryEtcd;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

pub(crate) use worker::{Fake, Mood};

/// How long a test waits for what must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A server of its own for a test.
pub(crate) async fn database(name: &str) -> MariaDb {
    let options = mariadb::Options::sharing(env!("CARGO_TARGET_TMPDIR"), 1);
    MariaDb::start_temp(name, options).await.unwrap()
}

pub(crate) type Client = SchedulerClient<Channel>;

/// Etcd and one or more replicas, ended when it is dropped.
pub(crate) struct Cluster {
    pub(crate) etcd: MemoryEtcd,
    pub(crate) client: SchedulerClient<Channel>,
    addr: SocketAddr,
    replicas: Vec<DropGuard>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further flags.
    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        let etcd = MemoryEtcd::start().await.unwrap();
        let (addr, replica) = replica(&etcd, flags).await;
        Self {
            etcd,
            client: connect(addr).await,
            addr,
            replicas: vec![replica],
        }
    }

    /// A client with a connection of its own to the first replica.
    pub(crate) async fn another_client(&self) -> Client {
        connect(self.addr).await
    }

    /// Adds a standby and returns a client of it.
    pub(crate) async fn add_replica(&mut self) -> SchedulerClient<Channel> {
        let (addr, replica) = replica(&self.etcd, &[]).await;
        self.replicas.push(replica);
        connect(addr).await
    }

    /// Ends the oldest replica in order.
    pub(crate) fn stop_first_replica(&mut self) {
        self.replicas.remove(0);
    }

    /// A worker that is registered and alive, and answers calls.
    pub(crate) async fn worker(&self, name: &str) -> Fake {
        let fake = Fake::start(name, &self.etcd).await;
        self.register(name, &fake.addr);
        self.online(name);
        fake
    }

    pub(crate) fn register(&self, name: &str, addr: &str) {
        let key = WorkerInfoKey {
            worker: name.into(),
        }
        .encode();
        self.etcd.put(key, WorkerInfo::new(name, addr).to_bytes());
    }

    pub(crate) fn online(&self, name: &str) {
        let value = format!(r#"{{"worker-name":"{name}","join-time":"2026-01-01T00:00:00Z"}}"#);
        self.etcd.put(
            KeepAliveKey {
                worker: name.into(),
            }
            .encode(),
            value,
        );
    }

    pub(crate) fn offline(&self, name: &str) {
        self.etcd.delete(
            KeepAliveKey {
                worker: name.into(),
            }
            .encode(),
        );
    }

    /// Tells a worker by name to pull a relay log.
    pub(crate) fn relay(&self, worker: &str, source: &str) {
        let key = RelayWorkerKey {
            worker: worker.into(),
        };
        self.etcd.put(key.encode(), source);
    }

    /// A source that no database stands behind.
    pub(crate) fn source(&self, id: &str) {
        let yaml = format!("source-id: {id}\nfrom: {{host: 127.0.0.1, port: 1, user: u}}\n");
        let mut config = SourceConfig::from_yaml("", &yaml).unwrap();
        config.complete("mysql", 1);
        self.etcd.put(
            SourceConfigKey { source: id.into() }.encode(),
            config.to_toml().unwrap(),
        );
    }

    /// A subtask that runs.
    pub(crate) fn subtask(&self, task: &str, source: &str) {
        let key = SubtaskKey {
            source: source.into(),
            task: task.into(),
        };
        self.etcd
            .put(key.encode(), subtask(task, source).to_toml().unwrap());
        let stage = StageRecord::subtask(Stage::Running, source, task).to_bytes();
        let key = SubtaskStageKey {
            source: source.into(),
            task: task.into(),
        };
        self.etcd.put(key.encode(), stage);
    }

    /// Waits until the bounds are these, such as `w1-s1 w2-s2`, in etcd and in what the leader answers.
    pub(crate) async fn bounds(&self, expected: &str) {
        let what = format!("the bounds {expected}");
        let both = || async {
            bounds(&self.etcd) == expected && served(self.client.clone()).await == expected
        };
        dm_testkit::wait_until(LIMIT, &what, both).await.unwrap();
    }

    pub(crate) fn keys(&self, prefix: &str) -> usize {
        self.etcd.dump(prefix).len()
    }
}

pub(crate) fn bounds(etcd: &MemoryEtcd) -> String {
    let pair = |value: &[u8]| {
        let bound = Bound::from_bytes(value).unwrap();
        format!("{}-{}", bound.worker, bound.source)
    };
    etcd.dump(BoundKey::PREFIX)
        .iter()
        .map(|kv| pair(&kv.value))
        .collect::<Vec<_>>()
        .join(" ")
}

async fn served(mut client: SchedulerClient<Channel>) -> String {
    let workers = match client.list_workers(pb::ListMemberRequest::default()).await {
        Ok(answer) => answer.into_inner().workers,
        // Whoever led may have left just now.
        Err(_) => Vec::new(),
    };
    let bound = workers.iter().filter(|w| w.stage == "bound");
    bound
        .map(|w| format!("{}-{}", w.name, w.source))
        .collect::<Vec<_>>()
        .join(" ")
}

pub(crate) async fn replica(etcd: &MemoryEtcd, flags: &[&str]) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let endpoint = etcd.endpoint();
    let args = [
        "scheduler-svc",
        "--etcd-endpoints",
        &endpoint,
        "--wait-interval",
        "20ms",
        "--rpc-timeout",
        "5s",
        "--lease-ttl",
        "5s",
    ];
    let settings = dm_service::config::load::<scheduler_svc::Limits>(
        "scheduler-svc",
        0,
        args.iter().chain(flags).map(Into::into),
        |_| None,
    )
    .unwrap();
    let stop = CancellationToken::new();
    let until = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        dm_service::run(
            "scheduler-svc",
            settings,
            listener,
            until,
            scheduler_svc::serve,
        )
        .await
        .unwrap();
    });
    (addr, stop.drop_guard())
}

/// A client, once the replica answers for a leader.
async fn connect(addr: SocketAddr) -> SchedulerClient<Channel> {
    dm_testkit::wait_for(LIMIT, "an answer of the scheduler", || async {
        let mut client = SchedulerClient::connect(format!("http://{addr}"))
            .await
            .ok()?;
        client
            .list_workers(pb::ListMemberRequest::default())
            .await
            .ok()?;
        Some(client)
    })
    .await
    .unwrap()
}

/// The configuration of a task's part for a source, as it lies in etcd.
pub(crate) fn subtask(task: &str, source: &str) -> SubtaskConfig {
    let file = format!(
        "name: {task}\ntask-mode: all\ntarget-database: {{host: h, port: 4000, user: u, password: s3cret}}\n\
         mysql-instances: [{{source-id: {source}}}]\n"
    );
    let yaml = format!("source-id: {source}\nfrom: {{host: 127.0.0.1, port: 1, user: u}}\n");
    let config = SourceConfig::from_yaml("", &yaml).unwrap();
    let task = TaskConfig::from_yaml("", &file).unwrap();
    let sources = [(source.into(), config)].into_iter().collect();
    task.split(&sources).unwrap().remove(0)
}
