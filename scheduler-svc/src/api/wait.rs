//! Waiting until workers have done what etcd tells them: all sources at once, a few questions each.

use dm_errors::{Code, DmError};
use dm_keyspace::{SourceId, WorkerName};
use dm_proto::pb;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::verdict::Expected;
use super::{Api, Failure};
use crate::machine::BoundWorker;
use crate::machine::record::WorkerStage;

/// A source, and the worker to ask if it is not simply the one that serves the source now.
#[derive(Clone, Debug)]
pub(super) struct Awaited {
    pub(super) source: SourceId,
    pub(super) worker: Option<BoundWorker>,
}

impl Awaited {
    pub(super) fn all(sources: impl IntoIterator<Item = SourceId>) -> Vec<Self> {
        sources
            .into_iter()
            .map(|source| Self {
                source,
                worker: None,
            })
            .collect()
    }
}

impl Api {
    /// One entry per source, by source.
    pub(super) async fn wait_for(
        &self,
        expected: &Expected,
        awaited: Vec<Awaited>,
    ) -> Result<Vec<pb::CommonWorkerResponse>, Failure> {
        let waits: FuturesUnordered<_> = awaited
            .into_iter()
            .map(|one| self.wait_for_one(expected, one))
            .collect();
        let outcomes: Vec<Result<pb::CommonWorkerResponse, Failure>> = waits.collect().await;
        let mut entries = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        entries.sort_by(|a, b| a.source.cmp(&b.source));
        Ok(entries)
    }

    async fn wait_for_one(
        &self,
        expected: &Expected,
        awaited: Awaited,
    ) -> Result<pb::CommonWorkerResponse, Failure> {
        let source = awaited.source.clone();
        let Some(worker) = self.worker_to_ask(awaited).await? else {
            let msg = format!("{source} relevant worker-client not found");
            return Ok(entry(false, msg, &source, ""));
        };
        for round in 0..self.limits.wait_rounds {
            if round > 0 {
                tokio::time::sleep(self.limits.wait_interval).await;
            }
            if matches!(expected, Expected::Unbound) && self.is_gone(&worker.worker).await? {
                return Ok(entry(true, String::new(), &source, worker.worker.as_str()));
            }
            match self
                .workers
                .query_status(&worker.addr, expected.task())
                .await
            {
                Ok(answer) => {
                    if let Some((result, msg)) = expected.judge(source.as_str(), &answer) {
                        let name = answer.source_status.map_or_else(String::new, |s| s.worker);
                        return Ok(entry(result, msg, &source, &name));
                    }
                }
                Err(status) => {
                    tracing::warn!(dm.worker = %worker.worker, error = %status, "the worker gave no answer")
                }
            }
        }
        let msg = DmError::new(Code::MASTER_FAIL_TO_GET_EXPECT_RESULT, &[]).to_string();
        Ok(entry(false, msg, &source, worker.worker.as_str()))
    }

    async fn worker_to_ask(&self, awaited: Awaited) -> Result<Option<BoundWorker>, Failure> {
        let Awaited { source, worker } = awaited;
        let choice = move |m: &crate::machine::Scheduler, _| {
            let recorded = worker.filter(|w| m.worker_stage(&w.worker).is_some());
            recorded.or_else(|| m.bound_worker(&source))
        };
        Ok(self.handle.read(choice).await?)
    }

    /// A worker that is not there has nothing to stop.
    async fn is_gone(&self, name: &WorkerName) -> Result<bool, Failure> {
        let name = name.clone();
        let stage = self.handle.read(move |m, _| m.worker_stage(&name)).await?;
        Ok(stage.is_none_or(|stage| stage == WorkerStage::Offline))
    }
}

pub(super) fn entry(
    result: bool,
    msg: String,
    source: &SourceId,
    worker: &str,
) -> pb::CommonWorkerResponse {
    pb::CommonWorkerResponse {
        result,
        msg,
        source: source.to_string(),
        worker: worker.to_owned(),
    }
}
