//! Pessimistic shard DDL: what a worker has met, and what it is told to do about it.

mod info;
mod operation;

pub use crate::lock_id::{lock_id, table_of_lock_id, task_of_lock_id};
pub use info::{Info, InfoKey};
pub use operation::{Operation, OperationKey};
