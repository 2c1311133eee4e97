//! Shard DDL: several tables of a source that arrive in one table downstream change their structure together.
//!
//! [`group`] decides, without I/O, which tables have met which DDL and whose rows are held back; [`coordinator`] speaks with the other sources through etcd.

pub mod coordinator;
pub mod group;
