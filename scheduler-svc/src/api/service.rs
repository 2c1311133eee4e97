//! The generated trait: every method is a line or two, the work is in the other modules.

use dm_proto::pb;
use dm_proto::scheduler::scheduler_server::Scheduler;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, Failure, Freshness};

type Answer<T> = Result<Response<T>, Status>;

/// A method of DM that this version does not have says so, by name.
fn unsupported<T>(method: &str) -> Answer<T> {
    Err(Status::unimplemented(format!(
        "{method} is not supported by this version of scheduler-svc"
    )))
}

#[async_trait]
impl Scheduler for Api {
    async fn start_task(
        &self,
        request: Request<pb::StartTaskRequest>,
    ) -> Answer<pb::StartTaskResponse> {
        let outcome = self.start(request.get_ref()).await;
        Failure::answered(outcome, |msg| pb::StartTaskResponse {
            msg,
            ..Default::default()
        })
    }

    async fn operate_task(
        &self,
        request: Request<pb::OperateTaskRequest>,
    ) -> Answer<pb::OperateTaskResponse> {
        let request = request.into_inner();
        let outcome = self.operate(&request).await;
        Failure::answered(outcome, |msg| pb::OperateTaskResponse {
            op: request.op,
            msg,
            ..Default::default()
        })
    }

    async fn update_task(
        &self,
        request: Request<pb::UpdateTaskRequest>,
    ) -> Answer<pb::UpdateTaskResponse> {
        let outcome = self.update(request.get_ref()).await;
        Failure::answered(outcome, |msg| pb::UpdateTaskResponse {
            msg,
            ..Default::default()
        })
    }

    async fn query_status(
        &self,
        request: Request<pb::QueryStatusListRequest>,
    ) -> Answer<pb::QueryStatusListResponse> {
        let freshness = Freshness::of(&request);
        match self.query(freshness, request.get_ref()).await {
            Ok(seen) => Ok(seen.into_response()),
            Err(failure) => Failure::answered(Err(failure), |msg| pb::QueryStatusListResponse {
                msg,
                ..Default::default()
            }),
        }
    }

    async fn operate_source(
        &self,
        request: Request<pb::OperateSourceRequest>,
    ) -> Answer<pb::OperateSourceResponse> {
        let outcome = self.operate_sources(request.into_inner()).await;
        Failure::answered(outcome, |msg| pb::OperateSourceResponse {
            msg,
            ..Default::default()
        })
    }

    async fn register_worker(
        &self,
        request: Request<pb::RegisterWorkerRequest>,
    ) -> Answer<pb::RegisterWorkerResponse> {
        let outcome = self.register(request.into_inner()).await;
        Failure::answered(outcome, |msg| pb::RegisterWorkerResponse {
            msg,
            ..Default::default()
        })
    }

    async fn list_workers(
        &self,
        request: Request<pb::ListMemberRequest>,
    ) -> Answer<pb::ListWorkerMember> {
        let freshness = Freshness::of(&request);
        match self.list(freshness, request.into_inner().names).await {
            Ok(seen) => Ok(seen.into_response()),
            Err(failure) => Failure::answered(Err(failure), |msg| pb::ListWorkerMember {
                msg,
                ..Default::default()
            }),
        }
    }

    async fn offline_worker(
        &self,
        request: Request<pb::OfflineMemberRequest>,
    ) -> Answer<pb::OfflineMemberResponse> {
        let outcome = self.offline(request.into_inner()).await;
        Failure::answered(outcome, |msg| pb::OfflineMemberResponse {
            msg,
            ..Default::default()
        })
    }

    async fn get_sub_task_cfg(
        &self,
        request: Request<pb::GetSubTaskCfgRequest>,
    ) -> Answer<pb::GetSubTaskCfgResponse> {
        let outcome = self.subtask_texts(request.into_inner().name).await;
        Failure::answered(outcome, |msg| pb::GetSubTaskCfgResponse {
            msg,
            ..Default::default()
        })
    }

    async fn operate_worker_relay_task(
        &self,
        _: Request<pb::OperateWorkerRelayRequest>,
    ) -> Answer<pb::OperateWorkerRelayResponse> {
        unsupported("OperateWorkerRelayTask")
    }

    async fn purge_worker_relay(
        &self,
        _: Request<pb::PurgeWorkerRelayRequest>,
    ) -> Answer<pb::PurgeWorkerRelayResponse> {
        unsupported("PurgeWorkerRelay")
    }

    async fn check_task(&self, _: Request<pb::CheckTaskRequest>) -> Answer<pb::CheckTaskResponse> {
        unsupported("CheckTask")
    }

    async fn operate_schema(
        &self,
        _: Request<pb::OperateSchemaRequest>,
    ) -> Answer<pb::OperateSchemaResponse> {
        unsupported("OperateSchema")
    }

    async fn get_cfg(&self, _: Request<pb::GetCfgRequest>) -> Answer<pb::GetCfgResponse> {
        unsupported("GetCfg")
    }

    async fn handle_error(
        &self,
        _: Request<pb::HandleErrorRequest>,
    ) -> Answer<pb::HandleErrorResponse> {
        unsupported("HandleError")
    }

    async fn transfer_source(
        &self,
        _: Request<pb::TransferSourceRequest>,
    ) -> Answer<pb::TransferSourceResponse> {
        unsupported("TransferSource")
    }

    async fn operate_relay(
        &self,
        _: Request<pb::OperateRelayRequest>,
    ) -> Answer<pb::OperateRelayResponse> {
        unsupported("OperateRelay")
    }

    async fn start_validation(
        &self,
        _: Request<pb::StartValidationRequest>,
    ) -> Answer<pb::StartValidationResponse> {
        unsupported("StartValidation")
    }

    async fn stop_validation(
        &self,
        _: Request<pb::StopValidationRequest>,
    ) -> Answer<pb::StopValidationResponse> {
        unsupported("StopValidation")
    }

    async fn get_validation_status(
        &self,
        _: Request<pb::GetValidationStatusRequest>,
    ) -> Answer<pb::GetValidationStatusResponse> {
        unsupported("GetValidationStatus")
    }

    async fn get_validation_error(
        &self,
        _: Request<pb::GetValidationErrorRequest>,
    ) -> Answer<pb::GetValidationErrorResponse> {
        unsupported("GetValidationError")
    }

    async fn operate_validation_error(
        &self,
        _: Request<pb::OperateValidationErrorRequest>,
    ) -> Answer<pb::OperateValidationErrorResponse> {
        unsupported("OperateValidationError")
    }

    async fn update_validation(
        &self,
        _: Request<pb::UpdateValidationRequest>,
    ) -> Answer<pb::UpdateValidationResponse> {
        unsupported("UpdateValidation")
    }

    async fn encrypt(&self, _: Request<pb::EncryptRequest>) -> Answer<pb::EncryptResponse> {
        unsupported("Encrypt")
    }

    async fn list_task_configs(&self, _: Request<()>) -> Answer<pb::ListTaskConfigsResponse> {
        unsupported("ListTaskConfigs")
    }

    async fn list_source_configs(&self, _: Request<()>) -> Answer<pb::ListSourceConfigsResponse> {
        unsupported("ListSourceConfigs")
    }
}

impl Api {
    async fn subtask_texts(&self, name: String) -> Result<pb::GetSubTaskCfgResponse, Failure> {
        let task = super::task(&name);
        let texts = self
            .handle
            .read(move |m, _| {
                let text = |id| {
                    m.subtask_config(&id, &task)
                        .map(|text| String::from_utf8_lossy(&text).into_owned())
                };
                m.sources_of_task(&task)
                    .into_iter()
                    .filter_map(text)
                    .collect::<Vec<_>>()
            })
            .await?;
        if texts.is_empty() {
            return Err(Failure::Answer("task not found".to_owned()));
        }
        Ok(pb::GetSubTaskCfgResponse {
            result: true,
            msg: String::new(),
            cfgs: texts,
        })
    }
}
