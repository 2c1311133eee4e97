//! Where the configurations of subtasks lie. The value is TOML text, whose rules are those of task
//! configuration and not of this crate; it holds passwords in clear text and must not be logged.

use crate::{SourceId, TaskName, macros::key_family};

key_family! {
    /// `/dm-master/upstream/subtask/<source>/<task>` -> the subtask's configuration, TOML.
    /// Workers read it at the revision of the stage that refers to it.
    SubtaskKey = "/dm-master/upstream/subtask/", "UpstreamSubTaskKeyAdapter", Hex {
        /// The source migrated from.
        source: SourceId,
        /// The task it belongs to.
        task: TaskName,
    }
}

impl SubtaskKey {
    /// What the keys of one source begin with.
    pub fn prefix_of_source(source: &SourceId) -> String {
        Self::ADAPTER.prefix(&[source.as_str()])
    }
}
