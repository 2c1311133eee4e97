//! What a source is told to do with the DDL it has met.

use crate::{
    SourceId, TaskName,
    macros::{key_family, record},
};

key_family! {
    /// `/dm-master/shardddl-pessimism/operation/<task>/<source>` -> execute or skip; then, written by the
    /// worker, that it is done. A worker takes the first put after its info, whatever it says, and ends its
    /// round at the delete.
    OperationKey = "/dm-master/shardddl-pessimism/operation/", "ShardDDLPessimismOperationKeyAdapter", Hex {
        /// The task that is sharded.
        task: TaskName,
        /// The source that is told.
        source: SourceId,
    }
}

impl OperationKey {
    /// What the keys of one task begin with.
    pub fn prefix_of_task(task: &TaskName) -> String {
        Self::ADAPTER.prefix(&[task.as_str()])
    }
}

record! {
    /// An order and whether it is fulfilled. While it is not, members of others are written along; a done
    /// operation is always in canonical form, since DM's masters compare it byte for byte.
    Operation as "pessimistic operation" {
        /// The lock, see [`super::lock_id`].
        id: String = "id",
        /// The same task as in the key.
        task: TaskName = "task",
        /// The same source as in the key.
        source: SourceId = "source",
        /// The statements of the lock's first info; none and an empty list are two different values.
        ddls: Option<Vec<String>> = "ddls",
        /// Execute, as the owner, or skip.
        exec: bool = "exec",
        /// Set by the worker.
        done: bool = "done",
    }
    ours {
        /// The trace in which the order was given, in W3C form.
        traceparent: Option<String> = "traceparent",
    }
    canonical_when done
}

impl Operation {
    /// An order that is not fulfilled and has no trace.
    pub fn new(
        id: impl Into<String>,
        task: impl Into<TaskName>,
        source: impl Into<SourceId>,
        ddls: Vec<String>,
        exec: bool,
    ) -> Self {
        Self {
            id: id.into(),
            task: task.into(),
            source: source.into(),
            ddls: Some(ddls),
            exec,
            ..Self::default()
        }
    }

    /// The statements, for those to whom none and an empty list are the same.
    pub fn ddls(&self) -> &[String] {
        self.ddls.as_deref().unwrap_or_default()
    }

    /// Where the operation lies.
    pub fn key(&self) -> OperationKey {
        OperationKey {
            task: self.task.clone(),
            source: self.source.clone(),
        }
    }

    /// What a worker puts back when it has done as told.
    #[must_use]
    pub fn into_done(self) -> Self {
        Self { done: true, ..self }
    }
}
