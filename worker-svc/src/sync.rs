//! Replication of the log: rows exactly once, DDL in its place, shard DDL together with the other sources.

pub mod attempt;
pub mod ddl;
pub mod engine;
mod exceptional;
pub mod follow;
pub mod joint;
pub mod online;
pub mod optimistic;
pub mod progress;
pub mod replay;
pub mod resolve;
pub mod resync;
mod sieve;
pub mod start;
pub mod tables;
