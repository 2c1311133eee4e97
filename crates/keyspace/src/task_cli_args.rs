//! Arguments of a task that were given on the command line and are used up by the worker.

use crate::{
    SourceId, TaskName,
    macros::{key_family, record},
};

key_family! {
    /// `/dm-master/task-cli-args/<task>/<source>` -> the arguments for one source. Written before the task
    /// starts; the worker puts the record back with the used argument blanked, without a guard.
    TaskCliArgsKey = "/dm-master/task-cli-args/", "TaskCliArgsKeyAdapter", Hex {
        /// The task that was started.
        task: TaskName,
        /// The source that they are for.
        source: SourceId,
    }
}

impl TaskCliArgsKey {
    /// What the keys of one task begin with.
    pub fn prefix_of_task(task: &TaskName) -> String {
        Self::ADAPTER.prefix(&[task.as_str()])
    }
}

record! {
    /// Empty text means "not given", and is written. Durations are in Go's form, such as `60s`.
    TaskCliArgs as "task cli args" {
        /// From when on to replicate.
        start_time: String = "start_time",
        /// How long to write in safe mode.
        safe_mode_duration: String = "safe_mode_duration",
        /// How long a stop may wait for the end of a transaction.
        wait_time_on_stop: String = "wait_time_on_stop",
    }
}
