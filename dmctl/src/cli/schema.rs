//! Table structures that a task keeps of its sources.

use clap::{ArgAction, Args, Subcommand};

/// `binlog-schema`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct BinlogSchema {
    /// Without one the help is shown.
    #[command(subcommand)]
    pub action: Option<SchemaAction>,
}

/// Below `binlog-schema`; the first arguments of each are task, database and table.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum SchemaAction {
    /// Shows the structure of a table
    List(SchemaArgs),
    /// Replaces the structure of a table
    Update(UpdateSchema),
    /// Removes the structure of a table
    Delete(SchemaArgs),
}

/// `binlog-schema list`, `binlog-schema delete`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SchemaArgs {
    /// Task, database and table.
    #[arg(hide = true)]
    pub args: Vec<String>,
}

/// `binlog-schema update`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct UpdateSchema {
    /// Task, database, table, and a file with a CREATE TABLE unless the structure comes from elsewhere.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// When to write it down.
    #[command(flatten)]
    pub writing: Writing,
    /// Takes the structure that the table has in the source
    #[arg(long)]
    pub from_source: bool,
    /// Takes the structure that the table has in the target
    #[arg(long)]
    pub from_target: bool,
}

/// Flags of what replaces a structure.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writing {
    /// Writes the structure to the checkpoint at once
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", value_name = "bool")]
    pub flush: bool,
    /// Tells the optimistic shard DDL of the structure
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", value_name = "bool")]
    pub sync: bool,
}

/// `operate-schema`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OperateSchema {
    /// What to do, the task, and a file with a CREATE TABLE to set.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Database of the table
    #[arg(short = 'd', long, default_value = "", value_name = "NAME")]
    pub database: String,
    /// Name of the table
    #[arg(short = 't', long, default_value = "", value_name = "NAME")]
    pub table: String,
    /// When to write it down.
    #[command(flatten)]
    pub writing: Writing,
}
