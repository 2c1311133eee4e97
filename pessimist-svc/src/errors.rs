//! DM's codes and texts for what can go wrong with a lock.

use dm_errors::{Code, DmError, List};
use dm_keyspace::SourceId;

use crate::machine::{OwnerState, UnlockOutcome, UnlockRefusal};

/// The pessimist does not serve here and now: this replica does not lead.
#[must_use]
pub fn not_started() -> DmError {
    DmError::new(Code::MASTER_PESSIMIST_NOT_STARTED, &[])
}

/// Why an unlock was not begun.
#[must_use]
pub fn refusal(refusal: &UnlockRefusal) -> DmError {
    match refusal {
        UnlockRefusal::UnknownLock(id) => DmError::new(Code::MASTER_LOCK_NOT_FOUND, &[id]),
        UnlockRefusal::Resolved(id) => DmError::new(Code::MASTER_LOCK_IS_RESOLVING, &[id])
            .message(format!("the lock {id} has been resolved before")),
        UnlockRefusal::NotWaiting { owner, synced } => {
            DmError::new(Code::MASTER_WORKER_NOT_WAIT_LOCK, &[owner]).message(format!(
                "owner {owner} is not waiting for a lock, but sources {} are waiting for the lock",
                List(synced)
            ))
        }
    }
}

/// How an unlock ended; DM takes it for a success when others than the owner have not finished.
///
/// # Errors
/// When the owner has not answered.
pub fn outcome(id: &str, outcome: UnlockOutcome) -> Result<String, DmError> {
    match outcome {
        UnlockOutcome::OwnerSilent { owner, state } => Err(owner_silent(id, &owner, state)),
        UnlockOutcome::Removed { unfinished } if unfinished.is_empty() => Ok(String::new()),
        UnlockOutcome::Removed { unfinished } => Ok(format!(
            "the lock {id} is removed, but sources {} were told to skip its statements and have not said that they did",
            List(&unfinished)
        )),
    }
}

/// DM's words, then what has become of the order.
fn owner_silent(id: &str, owner: &SourceId, state: OwnerState) -> DmError {
    let more = match state {
        OwnerState::Executing => {
            "it may still be executing: its order stands, and the lock goes on when it is done"
        }
        OwnerState::Done => "it was done just after the time was up, and the lock goes on",
        OwnerState::Absent => "it has no order now",
    };
    DmError::new(Code::MASTER_OWNER_EXEC_DDL, &[owner]).message(format!(
        "the owner {owner} of the lock {id} has not done the operation; {more}"
    ))
}

/// The answer to a lock id in which no task can be found.
pub const NO_TASK_IN_LOCK_ID: &str = "can't find task name from lock-ID";
