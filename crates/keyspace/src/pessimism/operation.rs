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

#[cfg(test)]
mod tests {
    use super::*;

    const TRACED: &str = r#"{"id":"l","task":"t","source":"s","ddls":["D"],"exec":true,"done":false,"traceparent":"00-a-b-01","note":1}"#;

    #[test]
    fn an_order_keeps_its_trace_and_unknown_members() {
        let order = Operation::from_bytes(TRACED.as_bytes()).unwrap();
        assert_eq!(order.traceparent.as_deref(), Some("00-a-b-01"));
        assert_eq!(String::from_utf8_lossy(&order.to_bytes()), TRACED);
    }

    #[test]
    fn a_done_operation_is_written_without_trace_and_unknown_members() {
        let done = Operation::from_bytes(TRACED.as_bytes())
            .unwrap()
            .into_done();
        assert_eq!(
            String::from_utf8_lossy(&done.to_bytes()),
            r#"{"id":"l","task":"t","source":"s","ddls":["D"],"exec":true,"done":true}"#
        );
    }

    #[test]
    fn a_trace_of_the_wrong_kind_does_not_spoil_the_order() {
        let order = Operation::from_bytes(br#"{"id":"l","traceparent":7}"#).unwrap();
        assert_eq!((order.id.as_str(), order.traceparent), ("l", None));
    }
}
