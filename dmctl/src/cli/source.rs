//! Sources and their relay logs.

use clap::Args;

/// `operate-source`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OperateSource {
    /// What to do, then configuration files.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Worker that a created source is bound to
    #[arg(short = 'w', long, default_value = "", value_name = "NAME")]
    pub worker: String,
    /// Prints a configuration file to begin with
    #[arg(short = 'p', long)]
    pub print_sample_config: bool,
}

/// `purge-relay`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct PurgeRelay {
    /// None.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Relay log file that is kept; those before it go
    #[arg(short = 'f', long, default_value = "", value_name = "NAME")]
    pub filename: String,
    /// Directory of --filename below the relay directory [default: the latest]
    #[arg(long, default_value = "", value_name = "NAME")]
    pub sub_dir: String,
}
