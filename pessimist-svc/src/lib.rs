//! pessimist-svc: shard DDLs of tasks in pessimistic mode. One source executes the statement, the others skip it
//! after that, and nobody goes on before.
//!
//! [`machine`] holds all the logic, pure; the loop of `dm-replica` runs it.

pub mod errors;
pub mod machine;
