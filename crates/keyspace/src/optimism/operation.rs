//! What an upstream table is told to do with the schema change it has met.

use serde_json::value::RawValue;

use crate::{
    SourceId, TaskName,
    json::{Field, Mismatch, push_string},
    macros::{key_family, record},
};

key_family! {
    /// `/dm-master/shardddl-optimism/operation/<task>/<source>/<schema>/<table>` -> the DDL to execute, or the
    /// conflict; then, written by the worker, that it is done.
    OperationKey = "/dm-master/shardddl-optimism/operation/", "ShardDDLOptimismOperationKeyAdapter", Hex {
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

impl OperationKey {
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
    /// An answer to an info and whether it is carried out. While it is not, members of others are written
    /// along; a done operation is always in canonical form, since DM's masters compare it byte for byte.
    Operation as "optimistic operation" {
        /// The lock, see [`super::lock_id`].
        id: String = "id",
        /// The same task as in the key.
        task: TaskName = "task",
        /// The same source as in the key.
        source: SourceId = "source",
        /// The upstream schema, as in the key.
        up_schema: String = "up-schema",
        /// The upstream table, as in the key.
        up_table: String = "up-table",
        /// What to execute. An answer to an info has a list, be it empty; a redirect has none.
        ddls: Option<Vec<String>> = "ddls",
        /// Whether the change fits those of the other tables.
        conflict_stage: ConflictStage = "conflict-stage",
        /// The full text of the conflict's error, or empty.
        conflict_message: String = "conflict-message",
        /// Set by the worker.
        done: bool = "done",
        /// Columns that are dropped; list or none as for the statements.
        cols: Option<Vec<String>> = "cols",
    }
    ours {
        /// The trace in which the answer was given, in W3C form.
        traceparent: Option<String> = "traceparent",
    }
    canonical_when done
}

impl Operation {
    /// Where the operation lies.
    pub fn key(&self) -> OperationKey {
        OperationKey {
            task: self.task.clone(),
            source: self.source.clone(),
            schema: self.up_schema.clone(),
            table: self.up_table.clone(),
        }
    }

    /// What a worker puts back when it has done as told.
    #[must_use]
    pub fn into_done(self) -> Self {
        Self { done: true, ..self }
    }
}

/// How a schema change gets on with those of the other tables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConflictStage {
    /// No conflict.
    None,
    /// Conflicting; the worker fails in strict mode and otherwise waits for the next operation.
    Detected,
    /// The conflict is over: the redirect that a skipping table waits for.
    Resolved,
    /// An operator decided.
    Unlocked,
    /// Conflicting; the table is left out until it is redirected.
    SkipWaitRedirect,
    /// The change cannot be joined for another reason.
    Error,
    /// A word of another version, or the empty one of a missing member; DM's readers take any.
    Other(String),
}

impl ConflictStage {
    /// The word in the value.
    pub fn as_str(&self) -> &str {
        match self {
            Self::None => "none",
            Self::Detected => "detected",
            Self::Resolved => "resolved",
            Self::Unlocked => "unlocked",
            Self::SkipWaitRedirect => "skip and wait for redirect",
            Self::Error => "error",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for ConflictStage {
    fn from(word: String) -> Self {
        match word.as_str() {
            "none" => Self::None,
            "detected" => Self::Detected,
            "resolved" => Self::Resolved,
            "unlocked" => Self::Unlocked,
            "skip and wait for redirect" => Self::SkipWaitRedirect,
            "error" => Self::Error,
            _ => Self::Other(word),
        }
    }
}

impl Default for ConflictStage {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl Field for ConflictStage {
    fn read(&mut self, json: &RawValue) -> Result<(), Mismatch> {
        let mut word = self.as_str().to_owned();
        word.read(json)?;
        *self = word.into();
        Ok(())
    }

    fn write(&self, out: &mut String) {
        push_string(out, self.as_str());
    }
}
