//! Which worker holds the dumped files of a subtask.

use crate::{
    SourceId, TaskName, ValueError, WorkerName,
    json::{Field, read_value},
    macros::key_family,
};

key_family! {
    /// `/dm-master/load-task/<task>/<source>` -> the worker whose disk holds the dump. Written by the worker
    /// before it loads; the scheduler prefers that worker for the source.
    LoadTaskKey = "/dm-master/load-task/", "LoadTaskKeyAdapter", Hex {
        /// The task that loads.
        task: TaskName,
        /// The source that was dumped.
        source: SourceId,
    }
}

impl LoadTaskKey {
    /// What the keys of one task begin with.
    pub fn prefix_of_task(task: &TaskName) -> String {
        Self::ADAPTER.prefix(&[task.as_str()])
    }
}

/// A JSON string and nothing around it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadTask {
    /// Who has the files.
    pub worker: WorkerName,
}

impl LoadTask {
    /// Reads the string; its quotes belong to the value.
    pub fn from_bytes(value: &[u8]) -> Result<Self, ValueError> {
        read_value("load task", value).map(|worker| Self { worker })
    }

    /// The bytes to put into etcd, quotes included.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::new();
        self.worker.write(&mut out);
        out.into_bytes()
    }
}
