//! Services started in this process, each on a runtime of its own so that it can be killed or frozen, and the
//! clients that ask them.

pub(crate) mod client;
pub(crate) mod stub;

use std::future::Future;
use std::time::Duration;

use dm_service::process::BoxError;
use dm_service::{Context, Nothing, Settings, config};
use dm_testkit::memory::MemoryEtcd;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use client::{elections, master, page, raw};

/// How long a test waits for what must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// One service.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) addr: String,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    process: Option<JoinHandle<Result<(), String>>>,
}

/// How and where a service is started.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    name: String,
    listen: String,
    args: Vec<String>,
}

impl Plan {
    pub(crate) fn new(name: &str, endpoint: &str) -> Self {
        let fixed = [
            "--drain-timeout",
            "1s",
            "--leader-wait",
            "5s",
            "--etcd-endpoints",
            endpoint,
            "--name",
            name,
        ];
        Self {
            name: name.to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            args: fixed.map(str::to_owned).to_vec(),
        }
    }

    /// Later flags win.
    pub(crate) fn arg(mut self, flag: &str, value: &str) -> Self {
        if let Some(at) = self.args.iter().position(|arg| arg == flag) {
            self.args.drain(at..at + 2);
        }
        self.args.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// A port that can be taken again after a restart.
    pub(crate) fn on_port_of_its_own(mut self) -> Self {
        self.listen = format!("127.0.0.1:{}", dm_testkit::free_port().unwrap());
        self
    }

    pub(crate) async fn start<F, Fut>(&self, service: &'static str, body: F) -> Running
    where
        F: FnOnce(Settings<Nothing>, Context) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let args = ["test", "--listen", &self.listen].map(str::to_owned);
        let args = args.iter().chain(&self.args).map(Into::into);
        let settings = config::load::<Nothing>(service, 0, args, |_| None).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (give, given) = oneshot::channel();
        let listen = self.listen.clone();
        let process = runtime.spawn(async move {
            let listener = TcpListener::bind(listen).await.unwrap();
            give.send(listener.local_addr().unwrap().to_string())
                .unwrap();
            let until = async move { drop(stopped.await) };
            dm_service::run(service, settings, listener, until, body)
                .await
                .map_err(|e| e.to_string())
        });
        Running {
            name: self.name.clone(),
            addr: given.await.unwrap(),
            runtime: Some(runtime),
            stop: Some(stop),
            process: Some(process),
        }
    }

    /// Starts the service under test.
    pub(crate) async fn door(&self) -> Running {
        self.start("election-svc", election_svc::serve).await
    }
}

impl Running {
    /// Ends as on SIGTERM.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        if let Some(process) = self.process.take() {
            tokio::time::timeout(LIMIT, process)
                .await
                .expect("it must stop in time")
                .unwrap()
                .unwrap();
        }
    }

    /// Ends as on SIGKILL: nothing is said to anybody, and the port refuses.
    pub(crate) async fn kill(mut self) {
        let addr = self.addr.clone();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        until("the port refuses", async || {
            tokio::net::TcpStream::connect(&addr).await.is_err()
        })
        .await;
    }

    /// Freezes it as SIGSTOP does; it goes on when what this gives is dropped.
    pub(crate) async fn freeze(&self) -> std::sync::mpsc::SyncSender<()> {
        let (resume, resumed) = std::sync::mpsc::sync_channel(0);
        let (tell, frozen) = oneshot::channel();
        self.runtime.as_ref().unwrap().spawn(async move {
            let _ = tell.send(());
            // Holds the only thread of this runtime, which is the point.
            let _ = resumed.recv();
        });
        frozen.await.unwrap();
        resume
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for a condition, or fails the test with what was waited for.
pub(crate) async fn until<F, Fut>(what: &str, condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    dm_testkit::wait_until(LIMIT, what, condition)
        .await
        .unwrap();
}

/// An etcd in memory and one door on it.
pub(crate) async fn one_door() -> (MemoryEtcd, Running) {
    let etcd = MemoryEtcd::start().await.unwrap();
    let door = Plan::new("door-1", &etcd.endpoint()).door().await;
    leads(&door, "election", "door-1").await;
    (etcd, door)
}

/// An etcd in memory and doors on it, in the order of the line.
pub(crate) async fn doors<const N: usize>() -> (MemoryEtcd, [Running; N]) {
    let etcd = MemoryEtcd::start().await.unwrap();
    let mut all = Vec::new();
    for n in 1..=N {
        let door = Plan::new(&format!("door-{n}"), &etcd.endpoint())
            .door()
            .await;
        line_has(&etcd, "election", n).await;
        all.push(door);
    }
    for door in &all {
        leads(door, "election", "door-1").await;
        sees(door, N).await;
    }
    let all: [Running; N] = all.try_into().unwrap_or_else(|_| panic!("{N} doors"));
    (etcd, all)
}

/// Waits until a door sees so many doors in the line, and its own replica does as well.
async fn sees(door: &Running, doors: usize) {
    until("all doors are seen", async || {
        let described = client::describe(door).await.is_ok_and(|d| d.position > 0);
        described && client::in_line(door).await == doors
    })
    .await;
}

/// Waits until so many stand in the line of a role.
pub(crate) async fn line_has(etcd: &MemoryEtcd, role: &str, members: usize) {
    let prefix = format!("/dm-master/leader/{role}/");
    until(&format!("{members} stand in line"), async || {
        etcd.dump(&prefix).len() == members
    })
    .await;
}

/// The lease of the one that leads a role.
pub(crate) fn leaders_key(etcd: &MemoryEtcd, role: &str) -> dm_proto::mvccpb::KeyValue {
    let line = etcd.dump(&format!("/dm-master/leader/{role}/"));
    line.into_iter()
        .min_by_key(|kv| kv.create_revision)
        .expect("somebody leads")
}

/// Waits until a door sees `name` at the head of a role.
pub(crate) async fn leads(door: &Running, role: &str, name: &str) {
    until(&format!("{name} leads {role}"), async || {
        client::leader(door, role).await.as_deref() == Some(name)
    })
    .await;
}

/// Waits until a door sees nobody at the head of a role.
pub(crate) async fn leaderless(door: &Running, role: &str) {
    until(&format!("nobody leads {role}"), async || {
        client::leader(door, role).await.is_none()
    })
    .await;
}

/// Waits until a replica acts as leader, by its own account.
pub(crate) async fn acts(replica: &Running, leading: bool) {
    until(&format!("{} leads: {leading}", replica.name), async || {
        client::describe(replica)
            .await
            .is_ok_and(|said| said.is_leader == leading)
    })
    .await;
}
