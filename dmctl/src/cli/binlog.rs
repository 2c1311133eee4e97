//! Events of the binlog that a task cannot execute.

use clap::{Args, Subcommand};

/// `binlog`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Binlog {
    /// Position of the event, name:pos, instead of the one that the task stands still at
    #[arg(
        short = 'b',
        long,
        global = true,
        default_value = "",
        value_name = "POS"
    )]
    pub binlog_pos: String,
    /// Without one the help is shown.
    #[command(subcommand)]
    pub action: Option<BinlogAction>,
}

/// Below `binlog`; the first argument of each is the task.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum BinlogAction {
    /// Skips the event that the task stands still at, or the one at a position
    Skip(BinlogArgs),
    /// Executes other DDLs instead of the event
    Replace(BinlogArgs),
    /// Executes DDLs before the event
    Inject(BinlogArgs),
    /// Takes back what was ordered for the event
    Revert(BinlogArgs),
    /// Lists what was ordered for the event and those behind it
    List(BinlogArgs),
}

/// Arguments of what is below `binlog`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct BinlogArgs {
    /// The task, or its configuration file, and statements where there are any.
    #[arg(hide = true)]
    pub args: Vec<String>,
}

/// `handle-error`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct HandleError {
    /// The task, or its configuration file; what to do; statements.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Position of the event, name:pos, instead of the one that the task stands still at
    #[arg(short = 'b', long, default_value = "", value_name = "POS")]
    pub binlog_pos: String,
}
