//! A conflict that an operator decides by hand.
//!
//! A table whose statement was refused is told at once. A table that waits to be redirected listens for nothing else, so it
//! is redirected: to execute, its schema is taken as if the statement had been accepted, and when it comes back it is; to
//! skip, the redirect carries an empty list, and what comes back is answered with nothing to execute.

use dm_keyspace::TaskName;
use dm_keyspace::optimism::{ConflictStage, InfoKey, Operation, OperationKey};
use dm_replica::{Plan, Proposal};
use dm_store::Guard;

use super::Optimist;
use super::evidence::TableId;

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlockRequest {
    /// The lock.
    pub id: String,
    /// The table whose statement is in conflict.
    pub table: TableId,
    /// Whether to execute the statement downstream, or else to leave it out.
    pub executes: bool,
}

/// Why nothing is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnlockRefusal {
    /// There is no such lock.
    UnknownLock,
    /// The table has not reported anything for the lock.
    NoInfo,
    /// The table has not been told anything for the lock.
    NoOperation,
    /// The table has been told this, which is no conflict.
    NotConflicted(ConflictStage),
}

impl Optimist {
    /// The operation that decides the conflict.
    ///
    /// # Errors
    /// When there is nothing to decide.
    pub fn plan_unlock(
        &self,
        task: &TaskName,
        request: &UnlockRequest,
    ) -> Result<Plan<()>, UnlockRefusal> {
        let task = self.tasks.get(task).ok_or(UnlockRefusal::UnknownLock)?;
        let lock = task
            .locks
            .get(&request.id)
            .ok_or(UnlockRefusal::UnknownLock)?;
        if lock.is_resolved() {
            return Ok(Plan::Done(()));
        }
        let table = &request.table;
        let info = task.infos.get(table).filter(|info| info.lock == lock.id);
        let info = info.ok_or(UnlockRefusal::NoInfo)?;
        let answered = task.operations.get(table);
        let answered = answered
            .filter(|a| a.operation.id == lock.id && a.revision > info.revision)
            .ok_or(UnlockRefusal::NoOperation)?;
        let present = &answered.operation;
        let operation = match &present.conflict_stage {
            ConflictStage::Detected => Operation {
                ddls: match request.executes {
                    true => Some(info.ddls.clone()),
                    false => present.ddls.as_ref().map(|_| Vec::new()),
                },
                conflict_stage: ConflictStage::Unlocked,
                ..present.clone()
            },
            ConflictStage::SkipWaitRedirect => Operation {
                ddls: (!request.executes).then(Vec::new),
                conflict_stage: ConflictStage::Resolved,
                ..lock.operation(table)
            },
            other => return Err(UnlockRefusal::NotConflicted(other.clone())),
        };
        let key = operation.key();
        let (info_key, key) = (info_key(&key).encode(), key.encode());
        let value = move |traceparent: Option<&str>| {
            Operation {
                traceparent: traceparent.map(str::to_owned),
                ..operation.clone()
            }
            .to_bytes()
        };
        let proposal = Proposal::new("unlock")
            .guard(Guard::ModRevision(info_key.into(), info.revision))
            .guard(Guard::ModRevision(key.clone().into(), answered.revision))
            .put_traced(key, value)
            .trace(info.trace.clone());
        Ok(Plan::Commit(proposal, ()))
    }
}

fn info_key(key: &OperationKey) -> InfoKey {
    InfoKey {
        task: key.task.clone(),
        source: key.source.clone(),
        schema: key.schema.clone(),
        table: key.table.clone(),
    }
}
