//! Optimistic shard DDL: the tables of a source, the schema changes it has met, and what it is told to do.

mod dropped_column;
mod info;
mod operation;
mod source_tables;

pub use crate::lock_id::{lock_id, table_of_lock_id, task_of_lock_id};
pub use dropped_column::{DropStage, DroppedColumnKey};
pub use info::{Info, InfoKey};
pub use operation::{ConflictStage, Operation, OperationKey};
pub use source_tables::{SourceTables, SourceTablesKey, Tables};
