//! One operation on a task at a time. Only the leader serves requests, so the latch lives in its memory; what
//! two leaders could do to each other is kept apart by the guards of their writes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use dm_errors::{Code, DmError};
use dm_keyspace::TaskName;

/// The tasks that are being operated on. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latches(Arc<Mutex<BTreeSet<TaskName>>>);

/// Keeps a task until it is dropped.
#[derive(Debug)]
pub(crate) struct Latched {
    latches: Latches,
    task: TaskName,
}

impl Latches {
    /// Takes a task, or says at once that it is taken: 46024 with the name of the operation that wants it.
    pub(crate) fn take(&self, task: &TaskName, operation: &str) -> Result<Latched, DmError> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken.insert(task.clone()) {
            return Err(DmError::new(
                Code::SCHEDULER_LATCH_IN_USE,
                &[&operation, task],
            ));
        }
        Ok(Latched {
            latches: self.clone(),
            task: task.clone(),
        })
    }
}

impl Drop for Latched {
    fn drop(&mut self) {
        let mut taken = self
            .latches
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_87_a_task_in_use_is_refused_until_it_is_released() {
        let latches = Latches::default();
        let held = latches.take(&"t".into(), "RemoveMeta").unwrap();
        let error = latches.take(&"t".into(), "AddSubTasks").unwrap_err();
        assert_eq!(error.code().number(), 46024);
        assert_eq!(
            error.message_text(),
            "when AddSubTasks, resource t is in use by other client"
        );
        latches.take(&"u".into(), "AddSubTasks").unwrap();
        drop(held);
        latches.take(&"t".into(), "AddSubTasks").unwrap();
    }
}
