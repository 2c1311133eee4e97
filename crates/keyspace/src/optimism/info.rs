//! The schema change that an upstream table has met.

use super::lock_id;
use crate::{
    OpaqueJson, SourceId, TaskName,
    macros::{key_family, record},
};

key_family! {
    /// `/dm-master/shardddl-optimism/info/<task>/<source>/<schema>/<table>` -> the DDL that the upstream table
    /// has met and its schema before and after. Written by the worker.
    InfoKey = "/dm-master/shardddl-optimism/info/", "ShardDDLOptimismInfoKeyAdapter", Hex {
        /// The task that is sharded.
        task: TaskName,
        /// The source that has the table.
        source: SourceId,
        /// The upstream schema.
        schema: String,
        /// The upstream table.
        table: String,
    }
}

impl InfoKey {
    /// What the keys of one task begin with.
    pub fn prefix_of_task(task: &TaskName) -> String {
        Self::ADAPTER.prefix(&[task.as_str()])
    }

    /// What the keys of one source of a task begin with.
    pub fn prefix_of_source(task: &TaskName, source: &SourceId) -> String {
        Self::ADAPTER.prefix(&[task.as_str(), source.as_str()])
    }
}

record! {
    /// A DDL with the table it was met at, the table it is for, and the schemas. Schemas are TiDB's own JSON
    /// and pass through untouched.
    Info as "optimistic info" {
        /// The same task as in the key.
        task: TaskName = "task",
        /// The same source as in the key.
        source: SourceId = "source",
        /// The upstream schema, as in the key.
        up_schema: String = "up-schema",
        /// The upstream table, as in the key.
        up_table: String = "up-table",
        /// The downstream schema.
        down_schema: String = "down-schema",
        /// The downstream table.
        down_table: String = "down-table",
        /// The statements; none and an empty list are two different values.
        ddls: Option<Vec<String>> = "ddls",
        /// The table before all of them.
        table_info_before: Option<OpaqueJson> = "table-info-before",
        /// The table after each of them. Versions before v2.0.2 wrote one object, which reads as a list of one.
        table_info_after: Option<Vec<OpaqueJson>> = "table-info-after",
        /// Set by the command that sets a schema: take the schema, answer nothing.
        ignore_conflict: bool = "ignore-conflict",
    }
    ours {
        /// The trace in which the worker met the DDL, in W3C form.
        traceparent: Option<String> = "traceparent",
    }
}

impl Info {
    /// The lock that the info belongs to.
    pub fn lock_id(&self) -> String {
        lock_id(&self.task, &self.down_schema, &self.down_table)
    }

    /// Where the info lies.
    pub fn key(&self) -> InfoKey {
        InfoKey {
            task: self.task.clone(),
            source: self.source.clone(),
            schema: self.up_schema.clone(),
            table: self.up_table.clone(),
        }
    }
}
