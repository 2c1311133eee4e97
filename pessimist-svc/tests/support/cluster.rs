//! An etcd in memory, replicas of the service as it is, and workers that are puts on etcd.

use std::net::SocketAddr;
use std::time::Duration;

use dm_keyspace::SubtaskKey;
use dm_keyspace::pessimism::{Info, Operation, OperationKey};
use dm_proto::pb;
use dm_proto::pessimist::pessimist_client::PessimistClient;
use dm_testkit::memory::MemoryEtcd;
use dm_testkit::{wait_for, wait_until};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

/// How long a test waits for what must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) type Client = PessimistClient<Channel>;

/// Etcd and the replicas, ended when it is dropped.
pub(crate) struct Cluster {
    pub(crate) etcd: MemoryEtcd,
    replicas: Vec<DropGuard>,
}

impl Cluster {
    /// No replica yet; subtasks of `t1` for these sources.
    pub(crate) async fn new(sources: &[&str]) -> Self {
        let etcd = MemoryEtcd::start().await.unwrap();
        for source in sources {
            let key = SubtaskKey {
                source: (*source).into(),
                task: "t1".into(),
            };
            etcd.put(key.encode(), "name = \"t1\"");
        }
        Self {
            etcd,
            replicas: Vec::new(),
        }
    }

    /// One more replica, and a client of it that is answered.
    pub(crate) async fn start_replica(&mut self) -> Client {
        let (addr, replica) = replica(&self.etcd).await;
        self.replicas.push(replica);
        connect(addr).await
    }

    /// Ends the oldest replica in order.
    pub(crate) fn stop_first_replica(&mut self) {
        self.replicas.remove(0);
    }

    pub(crate) fn report(&self, source: &str, ddl: &str) {
        let info = Info::new("t1", source, "foo", "bar", vec![ddl.to_owned()]);
        self.etcd.put(info.key().encode(), info.to_bytes());
    }

    pub(crate) fn operation(&self, source: &str) -> Option<Operation> {
        let key = OperationKey {
            task: "t1".into(),
            source: source.into(),
        };
        let kv = self.etcd.dump(&key.encode()).into_iter().next()?;
        Some(Operation::from_bytes(&kv.value).unwrap())
    }

    /// Waits until the source is told to execute, or to skip.
    pub(crate) async fn told(&self, source: &str, exec: bool) {
        let what = format!("the order for {source}");
        let is_told = || async {
            self.operation(source)
                .is_some_and(|o| o.exec == exec && !o.done)
        };
        wait_until(LIMIT, &what, is_told).await.unwrap();
    }

    /// The worker's last two writes.
    pub(crate) fn done(&self, source: &str) {
        let operation = self.operation(source).unwrap();
        let info = Info::new("t1", source, "foo", "bar", Vec::new());
        self.etcd.delete(info.key().encode());
        self.etcd
            .put(operation.key().encode(), operation.into_done().to_bytes());
    }

    /// Waits until no info and no operation is left.
    pub(crate) async fn resolved(&self) {
        let is_empty = || async { self.etcd.dump("/dm-master/shardddl-pessimism/").is_empty() };
        wait_until(LIMIT, "the end of the lock", is_empty)
            .await
            .unwrap();
    }
}

async fn replica(etcd: &MemoryEtcd) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let endpoint = etcd.endpoint();
    let args = [
        "pessimist-svc",
        "--etcd-endpoints",
        &endpoint,
        "--lease-ttl",
        "5s",
        "--unlock-wait",
        "500ms",
    ];
    let args = args.map(Into::into);
    let settings = dm_service::config::load::<pessimist_svc::settings::Limits>(
        "pessimist-svc",
        0,
        args,
        |_| None,
    )
    .unwrap();
    let stop = CancellationToken::new();
    let until = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        dm_service::run(
            "pessimist-svc",
            settings,
            listener,
            until,
            pessimist_svc::serve,
        )
        .await
        .unwrap();
    });
    (addr, stop.drop_guard())
}

async fn connect(addr: SocketAddr) -> Client {
    let answer = || async {
        let mut client = PessimistClient::connect(format!("http://{addr}"))
            .await
            .ok()?;
        client
            .show_ddl_locks(pb::ShowDdlLocksRequest::default())
            .await
            .ok()?;
        Some(client)
    };
    wait_for(LIMIT, "an answer of the pessimist", answer)
        .await
        .unwrap()
}
