//! DM's codes and texts for what can go wrong with a lock.

use dm_errors::{Code, DmError};

use crate::machine::{UnlockRefusal, UnlockRequest};

/// The answer to a lock id in which no task can be found.
pub const NO_TASK_IN_LOCK_ID: &str = "can't find task name from lock-ID";

/// The answer to a request that does not name the one source whose table is meant.
pub const NOT_ONE_SOURCE: &str = "optimistic locks should have only one source";

/// The optimist does not serve here and now: this replica does not lead.
#[must_use]
pub fn not_started() -> DmError {
    DmError::new(Code::MASTER_OPTIMIST_NOT_STARTED, &[])
}

/// Why an unlock was refused.
#[must_use]
pub fn refusal(request: &UnlockRequest, refusal: &UnlockRefusal) -> DmError {
    let id = &request.id;
    let refused = |what: String| DmError::new(Code::MASTER_LOCK_IS_RESOLVING, &[id]).message(what);
    match refusal {
        UnlockRefusal::UnknownLock => DmError::new(Code::MASTER_LOCK_NOT_FOUND, &[id]),
        UnlockRefusal::NoInfo => refused(format!("fail to find related info for lock {id}")),
        UnlockRefusal::NoOperation => {
            refused(format!("fail to find related operation for lock {id}"))
        }
        UnlockRefusal::NotConflicted(stage) => refused(format!(
            "lock {id} is in {} status, not conflicted",
            stage.as_str()
        )),
    }
}
