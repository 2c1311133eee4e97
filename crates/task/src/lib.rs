//! Task and source configuration: from the YAML a user writes to the TOML that lies in etcd and back, and the
//! rules in it that pick, rename and filter tables.
//!
//! Everything here is pure: text and values in, values and [`dm_errors::DmError`] out. No database is asked and no
//! file is opened, so what only a server can tell (flavor, server id, version of the target) is filled in by the
//! callers.

pub mod block_allow;
pub mod db;
pub mod duration;
pub mod filter;
pub mod ghost;
mod origin;
mod pattern;
pub mod route;
pub mod secret;
pub mod source;
pub mod start_time;
pub mod subtask;
pub mod task;
mod text;
pub mod units;
mod yaml;

pub use db::DbConfig;
pub use secret::Secret;
pub use source::SourceConfig;
pub use subtask::SubtaskConfig;
pub use task::TaskConfig;
