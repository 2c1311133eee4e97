//! A conflict that an operator decides by hand.
//!
//! A table whose statement was refused is told at once. A table that waits to be redirected listens for nothing else, so it
//! is redirected. Whoever comes back with the same statements, be it because of a redirect or because its task was resumed,
//! is told what the operator decided about them: the operation in etcd names them.

use dm_keyspace::TaskName;
use dm_keyspace::optimism::{ConflictStage, InfoKey, Operation, OperationKey};
use dm_replica::{Plan, Proposal};
use dm_store::Guard;

use super::Optimist;
use super::evidence::TableId;

/// What stands between the conflict and the statements that are left out, in the message of an operation.
const LEFT_OUT: &str = ", Left out by unlock: ";

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

/// The part of an operation that says what was decided.
pub(super) struct Decision {
    stage: ConflictStage,
    ddls: Vec<String>,
    message: String,
}

/// To execute the statements `ddls`, or to leave them out, with what there was to decide.
pub(super) fn decision(
    stage: ConflictStage,
    conflict: &str,
    ddls: &[String],
    executes: bool,
) -> Decision {
    let conflict = conflict.split(LEFT_OUT).next().unwrap_or_default();
    let (ddls, message) = match executes {
        true => (ddls.to_vec(), conflict.to_owned()),
        false => (Vec::new(), format!("{conflict}{}", left_out(ddls))),
    };
    Decision {
        stage,
        ddls,
        message,
    }
}

/// The operation with the decision in it.
pub(super) fn with(operation: Operation, decision: Decision) -> Operation {
    Operation {
        ddls: Some(decision.ddls),
        conflict_stage: decision.stage,
        conflict_message: decision.message,
        done: false,
        ..operation
    }
}

/// Whether the operation says of exactly these statements that they are executed, or that they are left out.
pub(super) fn decided(operation: &Operation, ddls: &[String]) -> Option<bool> {
    let is_decision = matches!(
        operation.conflict_stage,
        ConflictStage::Resolved | ConflictStage::Unlocked
    );
    let told = operation.ddls.as_deref().filter(|_| is_decision)?;
    if told.is_empty() {
        let is_of_these = operation.conflict_message.ends_with(&left_out(ddls));
        return is_of_these.then_some(false);
    }
    (told == ddls).then_some(true)
}

fn left_out(ddls: &[String]) -> String {
    format!("{LEFT_OUT}{}", ddls.join("; "))
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
        let stage = match &present.conflict_stage {
            ConflictStage::Detected | ConflictStage::Error => ConflictStage::Unlocked,
            // An operator may think better of it until it is done.
            ConflictStage::Unlocked if !present.done => ConflictStage::Unlocked,
            ConflictStage::SkipWaitRedirect | ConflictStage::Resolved => ConflictStage::Resolved,
            other => return Err(UnlockRefusal::NotConflicted(other.clone())),
        };
        let decided = decision(
            stage,
            &present.conflict_message,
            &info.ddls,
            request.executes,
        );
        let operation = with(present.clone(), decided);
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
