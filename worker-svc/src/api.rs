//! `pb.Worker`: what a master asks of a worker. Nothing here changes anything, but for what is ordered for single statements and tracked structures: all else
//! comes through etcd.

mod exceptions;
mod schemas;
mod status;

use std::time::Duration;

use dm_errors::{Code, DmError};
use dm_proto::pb;
use dm_proto::pb::worker_server::Worker;
use dm_task::SubtaskConfig;
use tonic::{Request, Response, Status};

use crate::binlog::position::Location;
use crate::cast::{Cast, Now};
use crate::downstream::connection;
use crate::error::{Result, upstream};
use crate::subtask::{View, checks};
use crate::tracked::Subject;
use crate::upstream::master_location;

/// Asking the source how far its log is may take this long.
const MASTER_STATUS_LIMIT: Duration = Duration::from_secs(5);

/// Answers from what the units have noted down.
#[derive(Clone, Debug)]
pub struct Api {
    name: String,
    settings: String,
    cast: Cast,
}

impl Api {
    /// For a worker of this name; `settings` is what GetWorkerCfg answers.
    pub fn new(name: String, settings: String, cast: Cast) -> Self {
        Self {
            name,
            settings,
            cast,
        }
    }

    async fn status_of(&self, task: &str) -> pb::QueryStatusResponse {
        let now = self.cast.now();
        let mut source_status = pb::SourceStatus {
            source: now
                .source
                .as_ref()
                .map(|(id, _)| id.to_string())
                .unwrap_or_default(),
            worker: self.name.clone(),
            result: now.error.clone().map(|error| pb::ProcessResult {
                errors: vec![error],
                ..pb::ProcessResult::default()
            }),
            relay_status: None,
        };
        let Some((_, from)) = &now.source else {
            return pb::QueryStatusResponse {
                result: false,
                msg: DmError::new(Code::WORKER_NO_START, &[]).to_string(),
                source_status: Some(source_status),
                sub_task_status: Vec::new(),
            };
        };
        let master = if now.subtasks.is_empty() {
            Ok(None)
        } else {
            self.master(from).await.map(Some)
        };
        let (master, mut msg) = match master {
            Ok(master) => (master, String::new()),
            Err(error) => {
                let text = format!("error when get master status: {}", error.to_dm());
                source_status
                    .result
                    .get_or_insert_default()
                    .errors
                    .push(error.to_process_error());
                (None, text)
            }
        };
        if now.subtasks.is_empty() {
            "no sub task started".clone_into(&mut msg);
        }
        pb::QueryStatusResponse {
            result: true,
            msg,
            source_status: Some(source_status),
            sub_task_status: entries(&now, task, master.as_ref()),
        }
    }

    async fn master(&self, from: &dm_task::DbConfig) -> Result<Location> {
        let ask = async {
            let mut conn = connection::reader(from)
                .await
                .map_err(upstream("connect"))?;
            let location = master_location(&mut conn).await?;
            // A connection that does not close in order is closed by its end.
            let _ = conn.disconnect().await;
            Ok(location)
        };
        tokio::time::timeout(MASTER_STATUS_LIMIT, ask)
            .await
            .unwrap_or_else(|_| {
                let text = format!("no answer from the source within {MASTER_STATUS_LIMIT:?}");
                Err(DmError::uncoded(text).into())
            })
    }

    fn find(&self, task: &str) -> std::result::Result<View, DmError> {
        let now = self.cast.now();
        if now.source.is_none() {
            return Err(DmError::new(Code::WORKER_NO_START, &[]));
        }
        now.subtasks
            .into_iter()
            .find(|v| v.task.as_str() == task)
            .ok_or_else(|| DmError::new(Code::WORKER_SUB_TASK_NOT_FOUND, &[&task]))
    }

    /// The subtask that a request about structures is for.
    fn subject(
        &self,
        request: &pb::OperateWorkerSchemaRequest,
    ) -> std::result::Result<(View, Subject), DmError> {
        let none = || DmError::new(Code::WORKER_NO_START, &[]);
        let (source, from) = self.cast.now().source.ok_or_else(none)?;
        if source.as_str() != request.source {
            return Err(DmError::new(Code::WORKER_SOURCE_NOT_MATCH, &[]));
        }
        let view = self.find(&request.task)?;
        let subject = Subject {
            task: view.task.clone(),
            source,
            from,
            config: view.told().config,
        };
        Ok((view, subject))
    }

    fn can_update(&self, text: &str) -> std::result::Result<(), DmError> {
        let new = SubtaskConfig::from_toml(text)?;
        let view = self.find(&new.name)?;
        checks::supported(&new)?;
        let told = view.told();
        if told.stage != pb::Stage::Paused {
            let stage = told.stage.as_str_name();
            return Err(DmError::new(Code::WORKER_UPDATE_TASK_STAGE, &[&stage]));
        }
        let open: Vec<String> = view
            .board
            .read()
            .groups
            .into_iter()
            .map(|g| g.target)
            .collect();
        if !open.is_empty() {
            let tables = open.join(" ");
            return Err(DmError::new(
                Code::SYNCER_UNIT_UPDATE_CONFIG_IN_SHARDING,
                &[&tables],
            ));
        }
        Ok(())
    }

    /// A validator is never there.
    fn no_validator(&self, task: &str) -> DmError {
        match self.find(task) {
            Err(error) => error,
            Ok(_) => {
                let source = self.cast.now().source.map(|(id, _)| id.to_string());
                let source = source.unwrap_or_default();
                DmError::new(Code::VALIDATOR_NOT_FOUND, &[&task, &source])
            }
        }
    }

    fn answered(&self, outcome: Result<String>) -> pb::CommonWorkerResponse {
        match outcome {
            Ok(msg) => pb::CommonWorkerResponse {
                result: true,
                msg,
                worker: self.name.clone(),
                ..pb::CommonWorkerResponse::default()
            },
            Err(error) => self.refused(&error.to_dm()),
        }
    }

    fn refused(&self, error: &DmError) -> pb::CommonWorkerResponse {
        pb::CommonWorkerResponse {
            result: false,
            msg: error.to_string(),
            worker: self.name.clone(),
            ..pb::CommonWorkerResponse::default()
        }
    }
}

fn entries(now: &Now, task: &str, master: Option<&Location>) -> Vec<pb::SubTaskStatus> {
    if task.is_empty() {
        return now.subtasks.iter().map(|v| status::of(v, master)).collect();
    }
    match now.subtasks.iter().find(|v| v.task.as_str() == task) {
        Some(view) => vec![status::of(view, master)],
        None if now.subtasks.is_empty() => Vec::new(),
        None => vec![pb::SubTaskStatus {
            name: task.to_owned(),
            status: Some(pb::sub_task_status::Status::Msg(format!(
                "no sub task with name {task} has started"
            ))),
            ..pb::SubTaskStatus::default()
        }],
    }
}

fn unsupported(what: &str, instead: &str) -> DmError {
    DmError::uncoded(format!("{what} is not supported by this worker")).workaround(instead)
}

type Answer<T> = std::result::Result<Response<T>, Status>;

#[tonic::async_trait]
impl Worker for Api {
    async fn query_status(
        &self,
        request: Request<pb::QueryStatusRequest>,
    ) -> Answer<pb::QueryStatusResponse> {
        Ok(Response::new(self.status_of(&request.get_ref().name).await))
    }

    async fn purge_relay(
        &self,
        _request: Request<pb::PurgeRelayRequest>,
    ) -> Answer<pb::CommonWorkerResponse> {
        // There is no relay log, so nothing is left of it.
        let answer = match self.cast.now().source {
            Some(_) => pb::CommonWorkerResponse {
                result: true,
                worker: self.name.clone(),
                ..pb::CommonWorkerResponse::default()
            },
            None => self.refused(&DmError::new(Code::WORKER_NO_START, &[])),
        };
        Ok(Response::new(answer))
    }

    async fn operate_schema(
        &self,
        request: Request<pb::OperateWorkerSchemaRequest>,
    ) -> Answer<pb::CommonWorkerResponse> {
        let request = request.into_inner();
        let operated = match self.subject(&request) {
            Ok((view, subject)) => schemas::operate(&view, subject, request).await,
            Err(error) => Err(error.into()),
        };
        Ok(Response::new(self.answered(operated)))
    }

    async fn operate_v1_meta(
        &self,
        _request: Request<pb::OperateV1MetaRequest>,
    ) -> Answer<pb::OperateV1MetaResponse> {
        Ok(Response::new(pb::OperateV1MetaResponse {
            result: false,
            msg: unsupported("metadata of version 1", "This worker never wrote any.").to_string(),
            ..pb::OperateV1MetaResponse::default()
        }))
    }

    async fn handle_error(
        &self,
        request: Request<pb::HandleWorkerErrorRequest>,
    ) -> Answer<pb::CommonWorkerResponse> {
        let request = request.into_inner();
        let view = match self.find(&request.task) {
            Ok(view) => view,
            Err(error) => return Ok(Response::new(self.refused(&error))),
        };
        let source = self.cast.now().source.map(|(id, _)| id.to_string());
        let handled = exceptions::handle(&view, &source.unwrap_or_default(), &request).await;
        Ok(Response::new(self.answered(handled)))
    }

    async fn get_worker_cfg(
        &self,
        _request: Request<pb::GetWorkerCfgRequest>,
    ) -> Answer<pb::GetWorkerCfgResponse> {
        Ok(Response::new(pb::GetWorkerCfgResponse {
            cfg: self.settings.clone(),
        }))
    }

    async fn check_subtasks_can_update(
        &self,
        request: Request<pb::CheckSubtasksCanUpdateRequest>,
    ) -> Answer<pb::CheckSubtasksCanUpdateResponse> {
        let text = &request.get_ref().subtask_cfg_toml_string;
        let (success, msg) = match self.can_update(text) {
            Ok(()) => (true, String::new()),
            Err(error) => (false, error.to_string()),
        };
        Ok(Response::new(pb::CheckSubtasksCanUpdateResponse {
            success,
            msg,
        }))
    }

    async fn get_worker_validator_status(
        &self,
        request: Request<pb::GetValidationStatusRequest>,
    ) -> Answer<pb::GetValidationStatusResponse> {
        Ok(Response::new(pb::GetValidationStatusResponse {
            result: false,
            msg: self.no_validator(&request.get_ref().task_name).to_string(),
            ..pb::GetValidationStatusResponse::default()
        }))
    }

    async fn get_validator_error(
        &self,
        request: Request<pb::GetValidationErrorRequest>,
    ) -> Answer<pb::GetValidationErrorResponse> {
        Ok(Response::new(pb::GetValidationErrorResponse {
            result: false,
            msg: self.no_validator(&request.get_ref().task_name).to_string(),
            ..pb::GetValidationErrorResponse::default()
        }))
    }

    async fn operate_validator_error(
        &self,
        request: Request<pb::OperateValidationErrorRequest>,
    ) -> Answer<pb::OperateValidationErrorResponse> {
        Ok(Response::new(pb::OperateValidationErrorResponse {
            result: false,
            msg: self.no_validator(&request.get_ref().task_name).to_string(),
        }))
    }

    async fn update_validator(
        &self,
        request: Request<pb::UpdateValidationWorkerRequest>,
    ) -> Answer<pb::CommonWorkerResponse> {
        let error = self.no_validator(&request.get_ref().task_name);
        Ok(Response::new(self.refused(&error)))
    }
}
