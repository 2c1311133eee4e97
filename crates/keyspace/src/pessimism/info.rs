//! The DDL that a source has met.

use super::lock_id;
use crate::{
    SourceId, TaskName,
    macros::{key_family, record},
};

key_family! {
    /// `/dm-master/shardddl-pessimism/info/<task>/<source>` -> the DDL at which the source stands and waits.
    /// Written by the worker, deleted by it in the transaction that says "done".
    InfoKey = "/dm-master/shardddl-pessimism/info/", "ShardDDLPessimismInfoKeyAdapter", Hex {
        /// The task that is sharded.
        task: TaskName,
        /// The source that met the DDL.
        source: SourceId,
    }
}

impl InfoKey {
    /// What the keys of one task begin with.
    pub fn prefix_of_task(task: &TaskName) -> String {
        Self::ADAPTER.prefix(&[task.as_str()])
    }
}

record! {
    /// A DDL with the downstream table it is for.
    Info as "pessimistic info" {
        /// The same task as in the key.
        task: TaskName = "task",
        /// The same source as in the key.
        source: SourceId = "source",
        /// The downstream schema.
        schema: String = "schema",
        /// The downstream table.
        table: String = "table",
        /// The statements; none and an empty list are two different values.
        ddls: Option<Vec<String>> = "ddls",
    }
    ours {
        /// The trace in which the worker met the DDL, in W3C form.
        traceparent: Option<String> = "traceparent",
    }
}

impl Info {
    /// An info without a trace.
    pub fn new(
        task: impl Into<TaskName>,
        source: impl Into<SourceId>,
        schema: impl Into<String>,
        table: impl Into<String>,
        ddls: Vec<String>,
    ) -> Self {
        Self {
            task: task.into(),
            source: source.into(),
            schema: schema.into(),
            table: table.into(),
            ddls: Some(ddls),
            ..Self::default()
        }
    }

    /// The lock that the info belongs to.
    pub fn lock_id(&self) -> String {
        lock_id(&self.task, &self.schema, &self.table)
    }

    /// The statements, for those to whom none and an empty list are the same.
    pub fn ddls(&self) -> &[String] {
        self.ddls.as_deref().unwrap_or_default()
    }

    /// Where the info lies.
    pub fn key(&self) -> InfoKey {
        InfoKey {
            task: self.task.clone(),
            source: self.source.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_without_a_trace_is_what_a_worker_of_dm_writes() {
        let mut info = Info::new("t", "s", "db", "tbl", vec!["D".to_owned()]);
        assert_eq!(info.lock_id(), "t-`db`.`tbl`");
        assert_eq!(info.to_bytes(), info.to_canonical_bytes());
        info.traceparent = Some("00-a-b-01".to_owned());
        assert_eq!(
            String::from_utf8_lossy(&info.to_bytes()),
            r#"{"task":"t","source":"s","schema":"db","table":"tbl","ddls":["D"],"traceparent":"00-a-b-01"}"#
        );
    }
}
