//! Shard-DDL locks.

use clap::{Args, Subcommand};

/// `shard-ddl-lock`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ShardDdlLock {
    /// None or one: the task, or its configuration file.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Shows with each lock how far it is, what each source is at, and why it waits
    #[arg(long)]
    pub detail: bool,
    /// Shows the locks when there is none.
    #[command(subcommand)]
    pub action: Option<LockAction>,
}

/// Below `shard-ddl-lock`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum LockAction {
    /// Unlocks a shard-ddl lock by hand
    Unlock(Unlock),
}

/// `show-ddl-locks`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ShowLocks {
    /// None or one: the task, or its configuration file.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// As with `shard-ddl-lock`
    #[arg(long)]
    pub detail: bool,
}

/// `shard-ddl-lock unlock` and `unlock-ddl-lock`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Unlock {
    /// Exactly one: the id of the lock.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Source that becomes the owner (pessimistic)
    #[arg(short = 'o', long, default_value = "", value_name = "SOURCE")]
    pub owner: String,
    /// Removes the lock even if the DDLs cannot be executed (pessimistic)
    #[arg(short = 'f', long)]
    pub force_remove: bool,
    /// What a conflicting table does with its DDLs: skip or exec (optimistic)
    #[arg(short = 'a', long, default_value = "skip", value_name = "ACTION")]
    pub action: String,
    /// Upstream schema of the table (optimistic)
    #[arg(short = 'd', long, default_value = "", value_name = "NAME")]
    pub database: String,
    /// Upstream table (optimistic)
    #[arg(short = 't', long, default_value = "", value_name = "NAME")]
    pub table: String,
}
