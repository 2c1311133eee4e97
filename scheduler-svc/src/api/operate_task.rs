//! `OperateTask`: pause, resume, delete.

use std::collections::BTreeSet;

use dm_errors::{Code, DmError};
use dm_keyspace::{Role, SourceId, TaskName};
use dm_proto::optimist::optimist_client::OptimistClient;
use dm_proto::pb::{self, TaskOp};
use tracing::instrument;

use super::verdict::Expected;
use super::wait::Awaited;
use super::{Api, Failure, sources, task};
use crate::machine::Scheduler;
use crate::machine::request::{SubtaskStage, groups};

/// An operation that is done by writing stages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Set(SubtaskStage),
    Delete,
}

impl Operation {
    fn of(op: TaskOp) -> Result<Self, DmError> {
        match op {
            TaskOp::Pause => Ok(Self::Set(SubtaskStage::Paused)),
            TaskOp::Resume => Ok(Self::Set(SubtaskStage::Running)),
            TaskOp::Delete => Ok(Self::Delete),
            other => Err(DmError::new(
                Code::MASTER_INVALID_OPERATE_OP,
                &[&other.as_str_name(), &"task"],
            )),
        }
    }

    fn latch_name(self) -> &'static str {
        match self {
            Self::Set(_) => "UpdateExpectSubTaskStage",
            Self::Delete => "RemoveSubTasks",
        }
    }

    fn expected(self, task: &TaskName) -> Expected {
        let task = task.to_string();
        match self {
            Self::Set(SubtaskStage::Paused) => Expected::Stage {
                task,
                stage: pb::Stage::Paused,
            },
            Self::Set(SubtaskStage::Running) => Expected::Stage {
                task,
                stage: pb::Stage::Running,
            },
            Self::Delete => Expected::Gone { task },
        }
    }
}

impl Api {
    #[instrument(name = "operate_task", skip_all, fields(dm.task = request.name, dm.operation = request.op().as_str_name()))]
    pub(super) async fn operate(
        &self,
        request: &pb::OperateTaskRequest,
    ) -> Result<pb::OperateTaskResponse, Failure> {
        let name = task(&request.name);
        let sources = self.members(&name, &request.sources).await?;
        let operation = Operation::of(request.op())?;
        {
            let _latched = self.latches.take(&name, operation.latch_name())?;
            self.write_stages(operation, &name, &sources).await?;
        }
        let entries = self
            .wait_for(&operation.expected(&name), Awaited::all(sources))
            .await?;
        if matches!(operation, Operation::Delete) && request.sources.is_empty() {
            self.forget_optimist(&name).await;
        }
        Ok(pb::OperateTaskResponse {
            op: request.op,
            result: true,
            msg: String::new(),
            sources: entries,
        })
    }

    /// In one transaction as far as etcd's limit allows. Everything is checked before the first one is sent; the
    /// request can be repeated if a later one fails.
    pub(super) async fn write_stages(
        &self,
        operation: Operation,
        name: &TaskName,
        sources: &[SourceId],
    ) -> Result<(), Failure> {
        let plan = move |m: &Scheduler, task: &TaskName, sources: &[SourceId]| match operation {
            Operation::Set(stage) => m.set_stage(stage, task, sources),
            Operation::Delete => m.remove_subtasks(task, sources),
        };
        let (task, all) = (name.clone(), sources.to_vec());
        self.handle
            .read(move |m, _| plan(m, &task, &all).map(|_| ()))
            .await??;
        for group in groups(sources, self.max_txn_ops) {
            let task = name.clone();
            self.handle.write(move |m| plan(m, &task, &group)).await?;
        }
        Ok(())
    }

    /// The named sources, else all that the task has.
    pub(super) async fn members(
        &self,
        name: &TaskName,
        named: &[String],
    ) -> Result<Vec<SourceId>, Failure> {
        if !named.is_empty() {
            let distinct: BTreeSet<SourceId> = sources(named).into_iter().collect();
            return Ok(distinct.into_iter().collect());
        }
        let task = name.clone();
        let members = self
            .handle
            .read(move |m, _| m.sources_of_task(&task))
            .await?;
        if members.is_empty() {
            let text = format!(
                "task {name} has no source or not exist, please check the task name and status"
            );
            return Err(Failure::Answer(text));
        }
        Ok(members.into_iter().collect())
    }

    /// A stopped task leaves no optimistic locks behind. That this fails is no failure of the stop. Of single
    /// sources the optimist forgets the records by itself, when it sees their subtasks go.
    async fn forget_optimist(&self, name: &TaskName) {
        let outcome = async {
            let mut client = OptimistClient::new(self.leader_of(Role::Optimist).await?);
            let mut request = tonic::Request::new(dm_proto::optimist::RemoveMetaRequest {
                task: name.to_string(),
            });
            request.set_timeout(self.limits.rpc_timeout);
            client.remove_meta(request).await.map_err(Failure::from)
        };
        if let Err(failure) = outcome.await {
            tracing::warn!(dm.task = %name, ?failure, "optimistic metadata of a stopped task is left");
        }
    }
}
