//! The comparison of what has been replicated with its source.

use clap::{Args, Subcommand};

/// `validation`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Validation {
    /// Without one the help is shown.
    #[command(subcommand)]
    pub action: Option<ValidationAction>,
}

/// Below `validation`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ValidationAction {
    /// Starts the validators of a task, or of all tasks
    Start(StartValidation),
    /// Stops the validators of a task, or of all tasks
    Stop(StopValidation),
    /// Changes where a validator begins to count errors
    Update(UpdateValidation),
    /// Shows how the validators of a task are doing
    Status(ValidationStatus),
    /// Shows rows that differ
    ShowError(ShowValidationError),
    /// Marks rows that differ as ignored
    IgnoreError(MarkValidationError),
    /// Marks rows that differ as resolved
    ResolveError(MarkValidationError),
    /// Forgets rows that differ
    ClearError(MarkValidationError),
}

/// `validation start`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StartValidation {
    /// The task, unless it is all of them.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// All tasks
    #[arg(long)]
    pub all_task: bool,
    /// How thoroughly to compare: full or fast [default: full]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Binlog time to begin at, such as 2006-01-02T15:04:05
    #[arg(long, value_name = "TIME")]
    pub start_time: Option<String>,
}

/// `validation stop`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StopValidation {
    /// The task, unless it is all of them.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// All tasks
    #[arg(long)]
    pub all_task: bool,
}

/// `validation update`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct UpdateValidation {
    /// Exactly one: the task.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Position to begin at, such as "(mysql-bin.000001, 2345)"
    #[arg(long, default_value = "", value_name = "POS")]
    pub cutover_binlog_pos: String,
    /// GTID set to begin at
    #[arg(long, default_value = "", value_name = "SET")]
    pub cutover_binlog_gtid: String,
}

/// `validation status`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ValidationStatus {
    /// Exactly one: the task.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Only tables of this stage: running or stopped
    #[arg(long, default_value = "", value_name = "STAGE")]
    pub table_stage: String,
}

/// `validation show-error`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ShowValidationError {
    /// Exactly one: the task.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Which errors: all, ignored or unprocessed
    #[arg(long, default_value = "unprocessed", value_name = "STATE")]
    pub error: String,
}

/// `validation ignore-error`, `resolve-error`, `clear-error`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct MarkValidationError {
    /// The task, and the number of the error unless it is all of them.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// All errors of the task
    #[arg(long)]
    pub all: bool,
}
