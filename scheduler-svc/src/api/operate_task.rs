//! `OperateTask`: pause, resume, delete.

use std::collections::BTreeSet;

use dm_errors::{Code, DmError, List};
use dm_keyspace::{Role, SourceId, TaskName};
use dm_proto::optimist::optimist_client::OptimistClient;
use dm_proto::pb::{self, TaskOp};
use tracing::instrument;

use super::verdict::Expected;
use super::wait::Awaited;
use super::{Api, Failure, sources, task};
use crate::machine::Scheduler;
use crate::machine::request::{Extent, SubtaskStage};

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
        // What is left of a subtask goes with a stop, whatever it is.
        let all = match request.op() {
            TaskOp::Delete => Scheduler::members_of_task,
            _ => Scheduler::sources_of_task,
        };
        let sources = self.members_of(&name, &request.sources, all).await?;
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

    /// In one transaction if it fits; else the loop does it in several, whoever leads, and this waits for it.
    async fn write_stages(
        &self,
        operation: Operation,
        name: &TaskName,
        sources: &[SourceId],
    ) -> Result<(), Failure> {
        let (task, sources, most) = (name.clone(), sources.to_vec(), self.max_txn_ops);
        let extent = self
            .handle
            .write(move |m| match operation {
                Operation::Set(stage) => m.set_stage(stage, &task, &sources, most),
                Operation::Delete => m.remove_subtasks(&task, &sources, most),
            })
            .await?;
        match extent {
            Extent::Whole => Ok(()),
            Extent::InParts => self.wait_for_operations(vec![name.clone()]).await,
        }
    }

    /// Waits until the loop has come to the end of what it does to the tasks.
    pub(super) async fn wait_for_operations(&self, tasks: Vec<TaskName>) -> Result<(), Failure> {
        let waited_for = tasks.clone();
        let is_over = move |m: &Scheduler| {
            let is_open = waited_for.iter().any(|task| m.is_in_operation(task));
            (!is_open).then_some(())
        };
        self.come_to_an_end(&List(&tasks).to_string(), is_over)
            .await
    }

    /// Waits for the end of what the loop does in several transactions. That it takes long is no failure of it.
    pub(super) async fn come_to_an_end(
        &self,
        what: &str,
        is_over: impl FnMut(&Scheduler) -> Option<()> + Send + 'static,
    ) -> Result<(), Failure> {
        let waited = self.handle.wait_until(self.limits.rpc_timeout, is_over);
        match waited.await? {
            Some(()) => Ok(()),
            None => Err(Failure::Answer(format!(
                "the operation on {what} is under way and will be finished, but takes long"
            ))),
        }
    }

    /// The named sources, else all that the task has.
    pub(super) async fn members(
        &self,
        name: &TaskName,
        named: &[String],
    ) -> Result<Vec<SourceId>, Failure> {
        self.members_of(name, named, Scheduler::sources_of_task)
            .await
    }

    async fn members_of(
        &self,
        name: &TaskName,
        named: &[String],
        all: fn(&Scheduler, &TaskName) -> BTreeSet<SourceId>,
    ) -> Result<Vec<SourceId>, Failure> {
        if !named.is_empty() {
            let distinct: BTreeSet<SourceId> = sources(named).into_iter().collect();
            return Ok(distinct.into_iter().collect());
        }
        let task = name.clone();
        let members = self.handle.read(move |m, _| all(m, &task)).await?;
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
