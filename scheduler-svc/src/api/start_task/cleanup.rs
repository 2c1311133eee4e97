//! `--remove-meta`: nothing of an earlier run of the task is left, in etcd or in the target.

use dm_errors::{Code, DmError};
use dm_keyspace::{Role, TaskName};
use dm_proto::optimist::optimist_client::OptimistClient;
use dm_proto::pessimist::pessimist_client::PessimistClient;
use dm_proto::{optimist, pessimist};
use dm_service::client::Channel;
use dm_task::TaskConfig;
use tonic::Request;
use tracing::instrument;

use crate::api::{Api, Failure};
use crate::database::drop_task_meta;
use crate::workers::call_failed;

impl Api {
    /// Everything but the records that are deleted together with the start. Can be repeated when it fails halfway.
    #[instrument(skip_all, fields(dm.task = config.name))]
    pub(super) async fn remove_meta(&self, config: &TaskConfig) -> Result<(), Failure> {
        let name = TaskName::from(config.name.as_str());
        self.handle
            .read(move |m, _| m.check_task_absent(&name))
            .await??;
        self.remove_outer_meta(config)
            .await
            .map_err(|failure| match failure {
                Failure::Answer(text) => {
                    Failure::Answer(format!("while removing metadata: {text}"))
                }
                status @ Failure::Status(_) => status,
            })
    }

    async fn remove_outer_meta(&self, config: &TaskConfig) -> Result<(), Failure> {
        let task = config.name.clone();
        let request = self.bounded(pessimist::RemoveMetaRequest { task: task.clone() });
        let mut pessimist = PessimistClient::new(self.leader_of(Role::Pessimist).await?);
        pessimist
            .remove_meta(request)
            .await
            .map_err(|status| call_failed(&status).annotate("pessimist"))?;
        let request = self.bounded(optimist::RemoveMetaRequest { task });
        let mut optimist = OptimistClient::new(self.leader_of(Role::Optimist).await?);
        optimist
            .remove_meta(request)
            .await
            .map_err(|status| call_failed(&status).annotate("optimist"))?;
        let limit = self.limits.database_timeout;
        drop_task_meta(
            &config.target_database,
            &config.meta_schema,
            &config.name,
            limit,
        )
        .await?;
        Ok(())
    }

    fn bounded<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.limits.rpc_timeout);
        request
    }

    /// A channel to the leader of another role, as the feed names it.
    pub(in crate::api) async fn leader_of(&self, role: Role) -> Result<Channel, Failure> {
        let addr = move |m: &crate::machine::Scheduler, _| {
            m.line(role)
                .and_then(|line| line.leader())
                .map(|leader| leader.campaign.addr.clone())
        };
        let Some(addr) = self.handle.read(addr).await? else {
            let code = match role {
                Role::Optimist => Code::MASTER_OPTIMIST_NOT_STARTED,
                _ => Code::MASTER_PESSIMIST_NOT_STARTED,
            };
            return Err(DmError::new(code, &[]).into());
        };
        self.channels
            .to(&addr)
            .map_err(|e| Failure::Answer(e.to_string()))
    }
}
