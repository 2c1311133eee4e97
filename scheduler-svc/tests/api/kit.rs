//! A cluster: etcd in memory, replicas of the service, and workers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dm_keyspace::{
    Bound, BoundKey, KeepAliveKey, RelayStageKey, RelayWorkerKey, SourceConfigKey, Stage,
    StageRecord, SubtaskKey, SubtaskStageKey, WorkerInfo, WorkerInfoKey,
};
use dm_proto::pb;
use dm_proto::pb::worker_server::{Worker, WorkerServer};
use dm_proto::scheduler::scheduler_client::SchedulerClient;
use dm_task::{SourceConfig, SubtaskConfig, TaskConfig};
use dm_testkit::mariadb::{self, MariaDb};
use dm_testkit::memory::MemoryEtcd;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

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

/// A worker that does nothing but read etcd when it is asked.
pub(crate) struct Fake {
    pub(crate) addr: String,
    mood: Arc<Mutex<Mood>>,
    _serving: DropGuard,
}

/// How a worker differs from what etcd tells it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mood {
    /// Its subtasks load dumped files; they do not replicate yet.
    pub(crate) loads: bool,
    /// Its subtasks run whatever they are told.
    pub(crate) never_pauses: bool,
    /// It lets no subtask be changed.
    pub(crate) refuses_updates: bool,
}

impl Fake {
    async fn start(name: &str, etcd: &MemoryEtcd) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let until = stop.clone().cancelled_owned();
        let mood = Arc::default();
        let service = WorkerServer::new(Obedient {
            name: name.to_owned(),
            etcd: etcd.clone(),
            mood: Arc::clone(&mood),
        });
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(async move {
            server
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), until)
                .await
        });
        Self {
            addr,
            mood,
            _serving: stop.drop_guard(),
        }
    }

    /// Sets how it behaves from now on.
    pub(crate) fn behave(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

struct Obedient {
    name: String,
    etcd: MemoryEtcd,
    mood: Arc<Mutex<Mood>>,
}

impl Obedient {
    fn said(&self, what: String) -> Result<Response<pb::CommonWorkerResponse>, Status> {
        Ok(Response::new(pb::CommonWorkerResponse {
            result: true,
            msg: format!("{}: {what}", self.name),
            ..Default::default()
        }))
    }

    fn source(&self) -> Option<String> {
        let key = BoundKey {
            worker: self.name.as_str().into(),
        }
        .encode();
        let kv = self.etcd.dump(&key).into_iter().next()?;
        Some(Bound::from_bytes(&kv.value).unwrap().source.into())
    }

    /// The stage of the relay that it was told to run by name.
    fn relay(&self) -> Option<pb::RelayStatus> {
        let key = RelayWorkerKey {
            worker: self.name.as_str().into(),
        };
        let kv = self.etcd.dump(&key.encode()).into_iter().next()?;
        let source = String::from_utf8(kv.value.to_vec()).unwrap();
        let key = RelayStageKey {
            source: source.into(),
        };
        let stage = self.etcd.dump(&key.encode()).into_iter().next()?;
        let stage = StageRecord::from_bytes(&stage.value).unwrap().expect;
        Some(pb::RelayStatus {
            stage: stage.number(),
            ..Default::default()
        })
    }

    fn subtasks(&self, source: &str, task: &str) -> Vec<pb::SubTaskStatus> {
        let stages = self
            .etcd
            .dump(&SubtaskStageKey::prefix_of_source(&source.into()));
        let mood = *self.mood.lock().unwrap();
        let status = |value: &[u8]| {
            let record = StageRecord::from_bytes(value).unwrap();
            let name = record.task.map(String::from).unwrap_or_default();
            let status = match mood.loads {
                true => pb::sub_task_status::Status::Load(pb::LoadStatus::default()),
                false => pb::sub_task_status::Status::Sync(pb::SyncStatus::default()),
            };
            let stage = match mood.never_pauses {
                true => Stage::Running,
                false => record.expect,
            };
            pb::SubTaskStatus {
                name,
                stage: stage.number(),
                status: Some(status),
                ..Default::default()
            }
        };
        stages
            .iter()
            .map(|kv| status(&kv.value))
            .filter(|s| task.is_empty() || s.name == task)
            .collect()
    }
}

#[tonic::async_trait]
impl Worker for Obedient {
    async fn query_status(
        &self,
        request: Request<pb::QueryStatusRequest>,
    ) -> Result<Response<pb::QueryStatusResponse>, Status> {
        let source = self.source().unwrap_or_default();
        let sub_task_status = self.subtasks(&source, &request.into_inner().name);
        let source_status = Some(pb::SourceStatus {
            source,
            worker: self.name.clone(),
            relay_status: self.relay(),
            ..Default::default()
        });
        Ok(Response::new(pb::QueryStatusResponse {
            result: true,
            msg: String::new(),
            source_status,
            sub_task_status,
        }))
    }

    async fn purge_relay(
        &self,
        request: Request<pb::PurgeRelayRequest>,
    ) -> Result<Response<pb::CommonWorkerResponse>, Status> {
        let r = request.into_inner();
        self.said(format!("purge {} {}", r.inactive, r.filename))
    }

    async fn operate_schema(
        &self,
        request: Request<pb::OperateWorkerSchemaRequest>,
    ) -> Result<Response<pb::CommonWorkerResponse>, Status> {
        let r = request.into_inner();
        self.said(format!(
            "schema {} {} {}.{}",
            r.task, r.source, r.database, r.table
        ))
    }

    async fn operate_v1_meta(
        &self,
        _: Request<pb::OperateV1MetaRequest>,
    ) -> Result<Response<pb::OperateV1MetaResponse>, Status> {
        Err(Status::unimplemented("not asked in these tests"))
    }

    async fn handle_error(
        &self,
        request: Request<pb::HandleWorkerErrorRequest>,
    ) -> Result<Response<pb::CommonWorkerResponse>, Status> {
        let r = request.into_inner();
        self.said(format!("error {} {} {:?}", r.task, r.binlog_pos, r.sqls))
    }

    async fn get_worker_cfg(
        &self,
        _: Request<pb::GetWorkerCfgRequest>,
    ) -> Result<Response<pb::GetWorkerCfgResponse>, Status> {
        let cfg = format!("name = \"{}\"\n", self.name);
        Ok(Response::new(pb::GetWorkerCfgResponse { cfg }))
    }

    async fn check_subtasks_can_update(
        &self,
        _: Request<pb::CheckSubtasksCanUpdateRequest>,
    ) -> Result<Response<pb::CheckSubtasksCanUpdateResponse>, Status> {
        let refuses = self.mood.lock().unwrap().refuses_updates;
        let msg = if refuses { "it is not the time" } else { "" };
        Ok(Response::new(pb::CheckSubtasksCanUpdateResponse {
            success: !refuses,
            msg: msg.to_owned(),
        }))
    }

    async fn get_worker_validator_status(
        &self,
        request: Request<pb::GetValidationStatusRequest>,
    ) -> Result<Response<pb::GetValidationStatusResponse>, Status> {
        let status = pb::ValidationStatus {
            task: request.into_inner().task_name,
            source: self.source().unwrap_or_default(),
            ..Default::default()
        };
        Ok(Response::new(pb::GetValidationStatusResponse {
            result: true,
            validators: vec![status],
            ..Default::default()
        }))
    }

    async fn get_validator_error(
        &self,
        _: Request<pb::GetValidationErrorRequest>,
    ) -> Result<Response<pb::GetValidationErrorResponse>, Status> {
        let error = pb::ValidationError {
            source: self.source().unwrap_or_default(),
            ..Default::default()
        };
        Ok(Response::new(pb::GetValidationErrorResponse {
            result: true,
            error: vec![error],
            ..Default::default()
        }))
    }

    async fn operate_validator_error(
        &self,
        request: Request<pb::OperateValidationErrorRequest>,
    ) -> Result<Response<pb::OperateValidationErrorResponse>, Status> {
        // The ids are the worker's own: this one knows number 1 only.
        let is_known = request.into_inner().err_id == 1;
        let msg = if is_known { "" } else { "no such error" };
        Ok(Response::new(pb::OperateValidationErrorResponse {
            result: is_known,
            msg: msg.to_owned(),
        }))
    }

    async fn update_validator(
        &self,
        request: Request<pb::UpdateValidationWorkerRequest>,
    ) -> Result<Response<pb::CommonWorkerResponse>, Status> {
        let r = request.into_inner();
        self.said(format!("update {} {}", r.task_name, r.binlog_gtid))
    }
}
