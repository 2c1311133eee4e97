//! Tasks: starting, checking, operating and asking.

use clap::Args;

/// `start-task`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StartTask {
    /// Exactly one: the configuration file.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Removes what an earlier run left in the target and in the cluster, and starts anew
    #[arg(long)]
    pub remove_meta: bool,
    /// Binlog time to begin at, such as 2006-01-02T15:04:05
    #[arg(long, value_name = "TIME", default_value = "")]
    pub start_time: String,
}

/// `check-task`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CheckTask {
    /// Exactly one: the configuration file.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// How many errors to show; 0 for none, -1 for all
    #[arg(
        short = 'e',
        long,
        default_value_t = 10,
        value_name = "COUNT",
        allow_negative_numbers = true
    )]
    pub error: i64,
    /// How many warnings to show; 0 for none, -1 for all
    #[arg(
        short = 'w',
        long,
        default_value_t = 10,
        value_name = "COUNT",
        allow_negative_numbers = true
    )]
    pub warn: i64,
    /// Binlog time to begin at, such as 2006-01-02T15:04:05
    #[arg(long, value_name = "TIME", default_value = "")]
    pub start_time: String,
}

/// `stop-task`, `pause-task`, `resume-task`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OperateTask {
    /// None or one: the task, or its configuration file.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Without a task: how many tasks at once
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch_size: u16,
}

/// `query-status`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct QueryStatus {
    /// None or one: the task, or its configuration file.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// All details, without a task as well
    #[arg(long)]
    pub more: bool,
}
