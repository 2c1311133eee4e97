//! `OperateSource`: create, show, stop.

use std::time::Duration;

use dm_errors::{Code, DmError};
use dm_keyspace::{SourceId, WorkerName};
use dm_proto::pb::{self, SourceOp};
use dm_task::SourceConfig;
use futures::stream::{self, StreamExt};
use tracing::instrument;

use super::verdict::Expected;
use super::wait::{Awaited, entry};
use super::{Api, Failure, sources};
use crate::database::complete_source;
use crate::machine::request::NewSource;
use crate::machine::{BoundWorker, Scheduler};

/// Sources that are asked for their flavor and server id at a time.
pub(super) const DATABASES_AT_A_TIME: usize = 16;
/// What goes to etcd in one transaction, well within its limit for a request.
const MOST_BYTES: usize = 1 << 20;
const NOT_BOUND: &str = "source is added but there is no free worker to bound";
const WAS_NOT_BOUND: &str = "source is stopped and hasn't bound to worker before being stopped";
const NO_UPDATE: &str = "Update worker config is not supported by dm-ha now";

impl Api {
    #[instrument(name = "operate_source", skip_all, fields(dm.operation = request.op().as_str_name()))]
    pub(super) async fn operate_sources(
        &self,
        request: pb::OperateSourceRequest,
    ) -> Result<pb::OperateSourceResponse, Failure> {
        let entries = match request.op() {
            SourceOp::StartSource => self.create(&request).await?,
            SourceOp::StopSource => self.remove(&request).await?,
            SourceOp::ShowSource => self.show(&request).await?,
            SourceOp::UpdateSource => return Err(Failure::Answer(NO_UPDATE.to_owned())),
            other @ SourceOp::InvalidSourceOp => {
                return Err(DmError::new(
                    Code::MASTER_INVALID_OPERATE_OP,
                    &[&other.as_str_name(), &"source"],
                )
                .into());
            }
        };
        Ok(pb::OperateSourceResponse {
            result: true,
            msg: String::new(),
            sources: entries,
        })
    }

    async fn create(
        &self,
        request: &pb::OperateSourceRequest,
    ) -> Result<Vec<pb::CommonWorkerResponse>, Failure> {
        let configs = request
            .config
            .iter()
            .map(|text| SourceConfig::from_yaml("", text));
        let mut configs = configs.collect::<Result<Vec<_>, _>>()?;
        self.check_number(configs.len())?;
        if let Some(key) = &self.secret_key {
            configs.iter_mut().for_each(|config| config.decrypt(key));
        }
        let new = completed(configs, self.limits.database_timeout).await?;
        check_bytes(&new)?;
        let ids: Vec<SourceId> = new.iter().map(|source| source.id.clone()).collect();
        let worker = Some(request.worker_name.as_str())
            .filter(|name| !name.is_empty())
            .map(WorkerName::from);
        self.handle
            .write(move |m| m.add_sources(&new, worker.as_ref()))
            .await?;
        self.let_bind(&ids).await?;
        self.bound_entries(ids).await
    }

    /// All sources of one command are added in one transaction.
    fn check_number(&self, sources: usize) -> Result<(), Failure> {
        // A condition of each, and the one on our lead.
        let most = self.max_txn_ops.saturating_sub(1);
        if sources <= most {
            return Ok(());
        }
        Err(Failure::Answer(format!(
            "{sources} sources are to be added, and one command can take {most}; please use several"
        )))
    }

    /// The bind follows the source in a transaction of its own, if there is a worker for it.
    async fn let_bind(&self, ids: &[SourceId]) -> Result<(), Failure> {
        let ids = ids.to_vec();
        let settled = move |m: &Scheduler| ids.iter().all(|id| m.is_settled(id)).then_some(());
        self.handle
            .wait_until(self.limits.bind_wait, settled)
            .await?;
        Ok(())
    }

    async fn show(
        &self,
        request: &pb::OperateSourceRequest,
    ) -> Result<Vec<pb::CommonWorkerResponse>, Failure> {
        let mut ids = named(request)?;
        if ids.is_empty() {
            ids = self
                .handle
                .read(|m, _| m.source_ids().cloned().collect::<Vec<_>>())
                .await?;
        }
        self.bound_entries(ids).await
    }

    /// One by one: what comes before a source that cannot be removed is removed.
    async fn remove(
        &self,
        request: &pb::OperateSourceRequest,
    ) -> Result<Vec<pb::CommonWorkerResponse>, Failure> {
        let mut removed = Vec::new();
        for id in named(request)? {
            let source = id.clone();
            let outcome = self.handle.write(move |m| m.remove_source(&source)).await?;
            removed.push((id, outcome.worker));
        }
        self.entries(&Expected::Unbound, WAS_NOT_BOUND, removed)
            .await
    }

    async fn bound_entries(
        &self,
        ids: Vec<SourceId>,
    ) -> Result<Vec<pb::CommonWorkerResponse>, Failure> {
        let with_workers = move |m: &Scheduler, _| {
            let pair = |id: SourceId| (id.clone(), m.bound_worker(&id));
            ids.into_iter().map(pair).collect::<Vec<_>>()
        };
        let found = self.handle.read(with_workers).await?;
        self.entries(&Expected::Bound, NOT_BOUND, found).await
    }

    /// Sources without a worker come first, with `unbound` as their text; the others when their worker has answered.
    async fn entries(
        &self,
        expected: &Expected,
        unbound: &str,
        found: Vec<(SourceId, Option<BoundWorker>)>,
    ) -> Result<Vec<pb::CommonWorkerResponse>, Failure> {
        let (with, without): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, worker)| worker.is_some());
        let mut entries: Vec<_> = without
            .iter()
            .map(|(source, _)| entry(true, unbound.to_owned(), source, ""))
            .collect();
        let awaited = with
            .into_iter()
            .map(|(source, worker)| Awaited { source, worker })
            .collect();
        entries.extend(self.wait_for(expected, awaited).await?);
        Ok(entries)
    }
}

fn check_bytes(new: &[NewSource]) -> Result<(), Failure> {
    let bytes: usize = new.iter().map(|source| source.toml.len()).sum();
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    Err(Failure::Answer(format!(
        "the configurations of the sources have {bytes} bytes, and one command can take {MOST_BYTES}; please use \
         several"
    )))
}

/// Ids of the request, then those of its files.
fn named(request: &pb::OperateSourceRequest) -> Result<Vec<SourceId>, DmError> {
    let mut ids = sources(&request.source_id);
    for text in &request.config {
        ids.push(SourceConfig::id_from_yaml("", text)?.into());
    }
    Ok(ids)
}

/// All sources are asked before any is stored; the first that fails in the order of the request fails the request.
async fn completed(configs: Vec<SourceConfig>, limit: Duration) -> Result<Vec<NewSource>, DmError> {
    let complete = |mut config: SourceConfig| async move {
        complete_source(&mut config, limit)
            .await
            .map_err(|e| e.annotate(format!("source {}", config.source_id)))?;
        let (id, enable_relay) = (
            SourceId::from(config.source_id.as_str()),
            config.enable_relay,
        );
        Ok(NewSource {
            id,
            toml: config.to_toml()?,
            enable_relay,
        })
    };
    let outcomes: Vec<Result<NewSource, DmError>> = stream::iter(configs)
        .map(complete)
        .buffered(DATABASES_AT_A_TIME)
        .collect()
        .await;
    outcomes.into_iter().collect()
}
