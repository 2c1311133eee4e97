//! wip
pub mod binlog;
