//! The generated trait: every method is a line or two, the work is in the other modules.

use dm_proto::pb;
use dm_proto::scheduler::scheduler_server::Scheduler;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, Failure, Freshness, Seen};

type Answer<T> = Result<Response<T>, Status>;

/// Metadata in which a client names the file that a task's text is from, for errors.
const FILE: &str = "dm-file-bin";

/// The file's name; empty when the client does not tell.
fn file_of<T>(request: &Request<T>) -> String {
    let named = request.metadata().get_bin(FILE);
    let name = named.and_then(|value| value.to_bytes().ok());
    name.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// A read's outcome, with its revision.
fn seen<T>(outcome: Result<Seen<T>, Failure>, refuse: impl FnOnce(String) -> T) -> Answer<T> {
    match outcome {
        Ok(seen) => Ok(seen.into_response()),
        Err(failure) => Failure::answered(Err(failure), refuse),
    }
}

#[async_trait]
impl Scheduler for Api {
    async fn start_task(
        &self,
        request: Request<pb::StartTaskRequest>,
    ) -> Answer<pb::StartTaskResponse> {
        let outcome = self.start(request.get_ref(), &file_of(&request)).await;
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
        let outcome = self.update(request.get_ref(), &file_of(&request)).await;
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
        let outcome = self.query(freshness, request.get_ref()).await;
        seen(outcome, |msg| pb::QueryStatusListResponse {
            msg,
            ..Default::default()
        })
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
        let outcome = self.list(freshness, request.into_inner().names).await;
        seen(outcome, |msg| pb::ListWorkerMember {
            msg,
            ..Default::default()
        })
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
        let freshness = Freshness::of(&request);
        let outcome = self
            .subtask_texts(freshness, request.into_inner().name)
            .await;
        seen(outcome, |msg| pb::GetSubTaskCfgResponse {
            msg,
            ..Default::default()
        })
    }

    async fn operate_worker_relay_task(
        &self,
        request: Request<pb::OperateWorkerRelayRequest>,
    ) -> Answer<pb::OperateWorkerRelayResponse> {
        let request = request.into_inner();
        let outcome = self.relay_stage(&request).await;
        Failure::answered(outcome, |msg| pb::OperateWorkerRelayResponse {
            op: request.op,
            msg,
            ..Default::default()
        })
    }

    async fn purge_worker_relay(
        &self,
        request: Request<pb::PurgeWorkerRelayRequest>,
    ) -> Answer<pb::PurgeWorkerRelayResponse> {
        let outcome = self.purge(request.get_ref()).await;
        Failure::answered(outcome, |msg| pb::PurgeWorkerRelayResponse {
            msg,
            ..Default::default()
        })
    }

    async fn check_task(
        &self,
        request: Request<pb::CheckTaskRequest>,
    ) -> Answer<pb::CheckTaskResponse> {
        let outcome = self.check(request.get_ref(), &file_of(&request)).await;
        Failure::answered(outcome, |msg| pb::CheckTaskResponse { result: false, msg })
    }

    async fn operate_schema(
        &self,
        request: Request<pb::OperateSchemaRequest>,
    ) -> Answer<pb::OperateSchemaResponse> {
        let outcome = self.schema(request.get_ref()).await;
        Failure::answered(outcome, |msg| pb::OperateSchemaResponse {
            msg,
            ..Default::default()
        })
    }

    async fn get_cfg(&self, request: Request<pb::GetCfgRequest>) -> Answer<pb::GetCfgResponse> {
        let freshness = Freshness::of(&request);
        let outcome = self.shown_config(freshness, request.into_inner()).await;
        seen(outcome, |msg| pb::GetCfgResponse {
            msg,
            ..Default::default()
        })
    }

    async fn handle_error(
        &self,
        request: Request<pb::HandleErrorRequest>,
    ) -> Answer<pb::HandleErrorResponse> {
        let outcome = self.error(request.get_ref()).await;
        Failure::answered(outcome, |msg| pb::HandleErrorResponse {
            msg,
            ..Default::default()
        })
    }

    async fn transfer_source(
        &self,
        request: Request<pb::TransferSourceRequest>,
    ) -> Answer<pb::TransferSourceResponse> {
        let outcome = self.transfer(request.into_inner()).await;
        Failure::answered(outcome, |msg| pb::TransferSourceResponse {
            msg,
            ..Default::default()
        })
    }

    async fn operate_relay(
        &self,
        request: Request<pb::OperateRelayRequest>,
    ) -> Answer<pb::OperateRelayResponse> {
        let outcome = self.relay(request.get_ref()).await;
        Failure::answered(outcome, |msg| pb::OperateRelayResponse {
            msg,
            ..Default::default()
        })
    }

    async fn start_validation(
        &self,
        request: Request<pb::StartValidationRequest>,
    ) -> Answer<pb::StartValidationResponse> {
        let outcome = self.validate(request.into_inner()).await;
        Failure::answered(outcome, |msg| pb::StartValidationResponse {
            msg,
            ..Default::default()
        })
    }

    async fn stop_validation(
        &self,
        request: Request<pb::StopValidationRequest>,
    ) -> Answer<pb::StopValidationResponse> {
        let outcome = self.end_validation(request.into_inner()).await;
        Failure::answered(outcome, |msg| pb::StopValidationResponse {
            msg,
            ..Default::default()
        })
    }

    async fn get_validation_status(
        &self,
        request: Request<pb::GetValidationStatusRequest>,
    ) -> Answer<pb::GetValidationStatusResponse> {
        let outcome = self.validation_status(request.into_inner()).await;
        Failure::answered(outcome, |msg| pb::GetValidationStatusResponse {
            msg,
            ..Default::default()
        })
    }

    async fn get_validation_error(
        &self,
        request: Request<pb::GetValidationErrorRequest>,
    ) -> Answer<pb::GetValidationErrorResponse> {
        let outcome = self.validation_errors(request.into_inner()).await;
        Failure::answered(outcome, |msg| pb::GetValidationErrorResponse {
            msg,
            ..Default::default()
        })
    }

    async fn operate_validation_error(
        &self,
        request: Request<pb::OperateValidationErrorRequest>,
    ) -> Answer<pb::OperateValidationErrorResponse> {
        let outcome = self.settle_validation_error(request.into_inner()).await;
        Failure::answered(outcome, |msg| pb::OperateValidationErrorResponse {
            msg,
            ..Default::default()
        })
    }

    async fn update_validation(
        &self,
        request: Request<pb::UpdateValidationRequest>,
    ) -> Answer<pb::UpdateValidationResponse> {
        let outcome = self.move_validation(request.get_ref()).await;
        Failure::answered(outcome, |msg| pb::UpdateValidationResponse {
            msg,
            ..Default::default()
        })
    }

    async fn encrypt(&self, request: Request<pb::EncryptRequest>) -> Answer<pb::EncryptResponse> {
        let outcome = self.encrypted(&request.get_ref().plaintext);
        let outcome = outcome.map(|ciphertext| pb::EncryptResponse {
            result: true,
            msg: String::new(),
            ciphertext,
        });
        Failure::answered(outcome, |msg| pb::EncryptResponse {
            msg,
            ..Default::default()
        })
    }

    async fn list_task_configs(&self, request: Request<()>) -> Answer<pb::ListTaskConfigsResponse> {
        let outcome = self.exported_tasks(Freshness::of(&request)).await;
        seen(outcome, |msg| pb::ListTaskConfigsResponse {
            msg,
            ..Default::default()
        })
    }

    async fn list_source_configs(
        &self,
        request: Request<()>,
    ) -> Answer<pb::ListSourceConfigsResponse> {
        let outcome = self.exported_sources(Freshness::of(&request)).await;
        seen(outcome, |msg| pb::ListSourceConfigsResponse {
            msg,
            ..Default::default()
        })
    }
}
