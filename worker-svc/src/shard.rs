//! Shard DDL: several tables of a source that arrive in one table downstream change their structure together.
//!
//! Pessimistic mode: [`group`] decides, without I/O, which tables have met which DDL and whose rows are held back; [`coordinator`] speaks with the other
//! sources through etcd. Optimistic mode: [`held`] has the tables that wait for the others, and [`optimist`] speaks with them.

pub mod coordinator;
pub mod group;
pub mod held;
pub mod optimist;
