//! wip
pub mod binlog;
pub mod downstream;
pub mod error;
pub mod load;
pub mod names;
pub mod permit;
pub mod rules;
pub mod shard;
pub mod status;
pub mod sync;
pub mod unit;
pub mod upstream;
