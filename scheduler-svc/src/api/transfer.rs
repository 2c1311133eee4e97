//! `TransferSource`: pause what runs, wait until it stands still, move, go on.

use dm_errors::DmError;
use dm_keyspace::{SourceId, TaskName, WorkerName};
use dm_proto::pb;
use dm_proto::pb::sub_task_status::Status;
use tracing::{Instrument, instrument};

use super::{Api, Failure};
use crate::machine::BoundWorker;
use crate::machine::request::{Begun, cannot_pause, not_in_sync};
use crate::workers::call_failed;

/// How often the undo of a transfer is tried before it is left to the next leader.
const UNDO_TRIES: usize = 5;

impl Api {
    #[instrument(name = "transfer_source", skip_all, fields(dm.source = request.source, dm.worker = request.worker))]
    pub(super) async fn transfer(
        &self,
        request: pb::TransferSourceRequest,
    ) -> Result<pb::TransferSourceResponse, Failure> {
        let id = SourceId::from(request.source);
        let to = WorkerName::from(request.worker);
        self.check_in_sync(&id, &to).await?;
        let (begun, mut undo) = self.begin_transfer(id.clone(), to).await?;
        if let Begun::Waiting { from, paused } = begun {
            self.wait_paused(&from, &paused).await?;
            let source = id.clone();
            self.handle
                .write(move |m| m.complete_transfer(&source))
                .await?;
        }
        undo.is_due = false;
        Ok(pb::TransferSourceResponse {
            result: true,
            msg: String::new(),
        })
    }

    /// The first step, which is carried through although the caller leaves: only then it is known that there is
    /// something to undo.
    async fn begin_transfer(&self, id: SourceId, to: WorkerName) -> Result<(Begun, Undo), Failure> {
        let api = self.clone();
        let begin = async move {
            let limit = api.max_txn_ops;
            let source = id.clone();
            let begun = api
                .handle
                .write(move |m| m.begin_transfer(&source, &to, limit))
                .await?;
            let is_due = matches!(begun, Begun::Waiting { .. });
            Ok((begun, Undo { api, id, is_due }))
        };
        let begun = tokio::spawn(begin.in_current_span()).await;
        begun.map_err(|_| Failure::from(tonic::Status::aborted("the service is stopping")))?
    }

    /// What runs must be replicating: a dump or a load cannot go on elsewhere.
    async fn check_in_sync(&self, id: &SourceId, to: &WorkerName) -> Result<(), Failure> {
        let (source, target) = (id.clone(), to.clone());
        let outlook = self
            .handle
            .read(move |m, _| m.transfer_outlook(&source, &target))
            .await??;
        let Some(outlook) = outlook.filter(|o| !o.running.is_empty()) else {
            return Ok(());
        };
        let Some(from) = outlook.from else {
            return Ok(());
        };
        let answer = self.workers.query_status(&from.addr, "").await;
        let answer = answer.map_err(|status| {
            let what = format!("failed to query worker: {} status err", from.worker);
            call_failed(&status).annotate(what)
        })?;
        let is_running = |task: &&pb::SubTaskStatus| {
            outlook
                .running
                .iter()
                .any(|name| name.as_str() == task.name)
        };
        let mut subtasks = answer.sub_task_status.iter().filter(is_running);
        if subtasks.any(|task| !matches!(task.status, Some(Status::Sync(_)))) {
            return Err(not_in_sync(&outlook.running, id).into());
        }
        Ok(())
    }

    async fn wait_paused(&self, from: &BoundWorker, paused: &[TaskName]) -> Result<(), Failure> {
        for round in 0..self.limits.wait_rounds {
            if round > 0 {
                tokio::time::sleep(self.limits.wait_interval).await;
            }
            match self.workers.query_status(&from.addr, "").await {
                Ok(answer) if are_paused(&answer, paused) => return Ok(()),
                Ok(_) => {}
                Err(status) => {
                    tracing::warn!(dm.worker = %from.worker, error = %status, "the worker gave no answer")
                }
            }
        }
        Err(cannot_pause(paused).into())
    }
}

/// A worker that does not know a subtask does not run it.
fn are_paused(answer: &pb::QueryStatusResponse, paused: &[TaskName]) -> bool {
    let stage = |name: &TaskName| {
        let subtasks = &answer.sub_task_status;
        let found = subtasks.iter().find(|s| s.name == name.as_str());
        found.map(pb::SubTaskStatus::stage)
    };
    let still = |stage: pb::Stage| matches!(stage, pb::Stage::Paused | pb::Stage::Finished);
    paused.iter().all(|name| stage(name).is_none_or(still))
}

/// Undoes a transfer that ends before its move, for whatever reason: also when the caller has left.
struct Undo {
    api: Api,
    id: SourceId,
    is_due: bool,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if !self.is_due {
            return;
        }
        let (api, id) = (self.api.clone(), self.id.clone());
        tokio::spawn(async move {
            for _ in 0..UNDO_TRIES {
                let source = id.clone();
                let undone = api
                    .handle
                    .write::<(), DmError, _>(move |m| m.abandon_transfer(&source));
                match undone.await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(dm.source = %id, %error, "the transfer is not undone yet")
                    }
                }
                tokio::time::sleep(api.limits.wait_interval).await;
            }
        });
    }
}
