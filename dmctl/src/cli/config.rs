//! Configurations as the cluster keeps them.

use clap::{Args, Subcommand};

use super::Operands;

/// `config`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Without one the help is shown.
    #[command(subcommand)]
    pub action: Option<ConfigAction>,
}

/// Below `config`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ConfigAction {
    /// Shows the configuration of a task
    Task(ShowUpdatable),
    /// Shows the configuration of a source
    Source(ShowUpdatable),
    /// Shows the configuration of a master
    Master(ShowConfig),
    /// Shows the configuration of a worker
    Worker(ShowConfig),
    /// Shows the template of a task
    TaskTemplate(ShowConfig),
    /// Writes the configurations of all sources and tasks to a directory
    Export(ConfigDir),
    /// Creates the sources and starts the tasks of a directory that was written by export
    Import(ConfigDir),
}

/// `config master`, `config worker`, `config task-template`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ShowConfig {
    /// Exactly one: the name.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// File to write the configuration to, instead of showing it
    #[arg(short = 'p', long, default_value = "", value_name = "FILE")]
    pub path: String,
}

/// `config task`, `config source`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ShowUpdatable {
    /// What there is for all kinds.
    #[command(flatten)]
    pub show: ShowConfig,
    /// Shows the configuration when there is none.
    #[command(subcommand)]
    pub action: Option<Update>,
}

/// Below `config task` and `config source`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Update {
    /// Not available, as in DM
    #[command(hide = true)]
    Update(Operands),
}

/// `config export`, `config import`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ConfigDir {
    /// None.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Directory of the configurations
    #[arg(short = 'p', long, default_value = "configs", value_name = "DIR")]
    pub path: String,
    /// The older name of --path
    #[arg(short = 'd', long, hide = true, value_name = "DIR")]
    pub dir: Option<String>,
}

/// `get-config`, `get-task-config`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct GetConfig {
    /// The kind, unless it is known, and the name.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// File to write the configuration to, instead of showing it
    #[arg(short = 'f', long, default_value = "", value_name = "FILE")]
    pub file: String,
}
