//! `RegisterWorker`, and the workers' parts of `ListMember` and `OfflineMember`.

use dm_errors::{Code, DmError};
use dm_keyspace::WorkerName;
use dm_proto::pb;
use tracing::instrument;

use super::{Api, Failure, Freshness, Seen};

impl Api {
    #[instrument(skip_all, fields(dm.worker = request.name))]
    pub(super) async fn register(
        &self,
        request: pb::RegisterWorkerRequest,
    ) -> Result<pb::RegisterWorkerResponse, Failure> {
        let (name, addr) = (WorkerName::from(request.name), request.address);
        if name.is_empty() || addr.is_empty() {
            return Err(Failure::Answer(
                "a worker must register with a name and an address".to_owned(),
            ));
        }
        self.handle
            .write(move |m| m.register_worker(&name, &addr))
            .await?;
        let key = self.secret_key.as_ref();
        Ok(pb::RegisterWorkerResponse {
            result: true,
            msg: String::new(),
            secret_key: key.map(|key| key.expose().to_vec()).unwrap_or_default(),
        })
    }

    pub(super) async fn list(
        &self,
        freshness: Freshness,
        names: Vec<String>,
    ) -> Result<Seen<pb::ListWorkerMember>, Failure> {
        self.look(freshness, move |m| {
            let rows = m
                .worker_rows()
                .filter(|row| names.is_empty() || names.iter().any(|n| n == row.name.as_str()));
            let workers = rows.map(|row| pb::WorkerInfo {
                name: row.name.into(),
                addr: row.addr,
                stage: row.stage.as_str().to_owned(),
                source: row.source.map(String::from).unwrap_or_default(),
            });
            pb::ListWorkerMember {
                msg: String::new(),
                workers: workers.collect(),
            }
        })
        .await
    }

    #[instrument(skip_all, fields(dm.worker = request.name))]
    pub(super) async fn offline(
        &self,
        request: pb::OfflineMemberRequest,
    ) -> Result<pb::OfflineMemberResponse, Failure> {
        if request.r#type != "worker" {
            return Err(DmError::new(Code::MASTER_INVALID_OFFLINE_TYPE, &[&request.r#type]).into());
        }
        let name = WorkerName::from(request.name);
        self.handle.write(move |m| m.offline_worker(&name)).await?;
        Ok(pb::OfflineMemberResponse {
            result: true,
            ..Default::default()
        })
    }
}
