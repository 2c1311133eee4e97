//! A worker that does nothing but read etcd when it is asked.

use std::sync::{Arc, Mutex};

use dm_keyspace::{
    Bound, BoundKey, RelayStageKey, RelayWorkerKey, Stage, StageRecord, SubtaskStageKey,
};
use dm_proto::pb;
use dm_proto::pb::worker_server::{Worker, WorkerServer};
use dm_testkit::memory::MemoryEtcd;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

/// Ends when it is dropped.
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
    pub(super) async fn start(name: &str, etcd: &MemoryEtcd) -> Self {
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
