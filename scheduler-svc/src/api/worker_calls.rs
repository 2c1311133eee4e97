//! Methods that pass a request on to workers and gather what they say: `OperateSchema`, `HandleError`,
//! `PurgeWorkerRelay`. A worker that is not there or does not answer costs its own entry and nothing else.

use dm_keyspace::SourceId;
use dm_proto::pb;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tonic::Status;
use tracing::instrument;

use super::wait::entry;
use super::{Api, Failure, WorkerClient, sources, task};
use crate::machine::{BoundWorker, Scheduler};
use crate::workers::call_failed;

/// A source, and the worker to ask about it.
pub(super) type Row = (SourceId, Option<BoundWorker>);

impl Api {
    #[instrument(name = "operate_schema", skip_all, fields(dm.task = request.task, dm.operation = request.op().as_str_name()))]
    pub(super) async fn schema(
        &self,
        request: &pb::OperateSchemaRequest,
    ) -> Result<pb::OperateSchemaResponse, Failure> {
        if request.sources.is_empty() {
            return Err(Failure::Answer("must specify at least one source".into()));
        }
        let rows = self.bound_rows(sources(&request.sources)).await?;
        let ask = |worker: BoundWorker| {
            let message = pb::OperateWorkerSchemaRequest {
                op: request.op,
                task: request.task.clone(),
                source: worker.source.to_string(),
                database: request.database.clone(),
                table: request.table.clone(),
                schema: request.schema.clone(),
                flush: request.flush,
                sync: request.sync,
                from_source: request.from_source,
                from_target: request.from_target,
            };
            self.ask(worker, message, |mut worker: WorkerClient, request| async move {
                worker.operate_schema(request).await
            })
        };
        Ok(pb::OperateSchemaResponse {
            result: true,
            msg: String::new(),
            sources: entries(rows, ask).await,
        })
    }

    #[instrument(name = "handle_error", skip_all, fields(dm.task = request.task, dm.operation = request.op().as_str_name()))]
    pub(super) async fn error(
        &self,
        request: &pb::HandleErrorRequest,
    ) -> Result<pb::HandleErrorResponse, Failure> {
        let name = task(&request.task);
        let members = self.members(&name, &request.sources).await?;
        let rows = self.bound_rows(members).await?;
        let ask = |worker: BoundWorker| {
            let message = pb::HandleWorkerErrorRequest {
                op: request.op,
                task: request.task.clone(),
                binlog_pos: request.binlog_pos.clone(),
                sqls: request.sqls.clone(),
            };
            self.ask(worker, message, |mut worker: WorkerClient, request| async move {
                worker.handle_error(request).await
            })
        };
        Ok(pb::HandleErrorResponse {
            result: true,
            msg: String::new(),
            sources: entries(rows, ask).await,
        })
    }

    #[instrument(name = "purge_worker_relay", skip_all)]
    pub(super) async fn purge(
        &self,
        request: &pb::PurgeWorkerRelayRequest,
    ) -> Result<pb::PurgeWorkerRelayResponse, Failure> {
        let named = sources(&request.sources);
        let rows = self
            .handle
            .read(move |m, _| {
                let found = |id: &SourceId| (id.clone(), m.workers_of_source(id));
                named.iter().map(found).collect::<Vec<_>>()
            })
            .await?;
        let (with, without): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|(_, workers)| !workers.is_empty());
        let rows = with.into_iter().flat_map(|(id, workers)| {
            let row = move |worker| (id.clone(), Some(worker));
            workers.into_iter().map(row)
        });
        let ask = |worker: BoundWorker| {
            let message = pb::PurgeRelayRequest {
                inactive: request.inactive,
                time: request.time,
                filename: request.filename.clone(),
                sub_dir: request.sub_dir.clone(),
            };
            self.ask(worker, message, |mut worker: WorkerClient, request| async move {
                worker.purge_relay(request).await
            })
        };
        let mut all = entries(rows.collect(), ask).await;
        all.extend(without.iter().map(|(id, _)| {
            let msg = format!("relay worker for source {id} not found, please `start-relay` first");
            entry(false, msg, id, "")
        }));
        all.sort_by(|a, b| a.source.cmp(&b.source));
        Ok(pb::PurgeWorkerRelayResponse {
            result: true,
            msg: String::new(),
            sources: all,
        })
    }

    /// Each source with the worker that serves it.
    pub(super) async fn bound_rows(&self, ids: Vec<SourceId>) -> Result<Vec<Row>, Failure> {
        let row = |m: &Scheduler, id: SourceId| {
            let worker = m.bound_worker(&id);
            (id, worker)
        };
        let rows = move |m: &Scheduler, _| ids.into_iter().map(|id| row(m, id)).collect();
        Ok(self.handle.read(rows).await?)
    }

    /// One question to one worker; no answer is an entry as well.
    pub(super) async fn ask<M, F>(
        &self,
        worker: BoundWorker,
        message: M,
        method: impl FnOnce(WorkerClient, tonic::Request<M>) -> F,
    ) -> pb::CommonWorkerResponse
    where
        F: Future<Output = Result<tonic::Response<pb::CommonWorkerResponse>, Status>>,
    {
        match self.workers.call(&worker.addr, message, method).await {
            Ok(answer) => pb::CommonWorkerResponse {
                source: worker.source.to_string(),
                ..answer
            },
            Err(status) => entry(
                false,
                call_failed(&status).to_string(),
                &worker.source,
                worker.worker.as_str(),
            ),
        }
    }
}

/// One entry for each row, by source; rows of one source stay in their order.
pub(super) async fn entries<F>(
    rows: Vec<Row>,
    ask: impl Fn(BoundWorker) -> F,
) -> Vec<pb::CommonWorkerResponse>
where
    F: Future<Output = pb::CommonWorkerResponse>,
{
    let answer = |(at, (source, worker)): (usize, Row)| {
        let asked = worker.map(&ask);
        async move {
            let entry = match asked {
                Some(asked) => asked.await,
                None => unbound(&source),
            };
            (at, entry)
        }
    };
    let asked: FuturesUnordered<_> = rows.into_iter().enumerate().map(answer).collect();
    let mut answers: Vec<_> = asked.collect().await;
    answers.sort_by(|(a, x), (b, y)| (&x.source, a).cmp(&(&y.source, b)));
    answers.into_iter().map(|(_, entry)| entry).collect()
}

fn unbound(source: &SourceId) -> pb::CommonWorkerResponse {
    let msg = format!("source {source} relevant worker-client not found");
    entry(false, msg, source, "")
}
