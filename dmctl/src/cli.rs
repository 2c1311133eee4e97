//! Commands and flags, named as DM names them, and what is said about arguments that do not fit.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use dm_task::duration::GoDuration;

use crate::error::Error;
use layout::shaped;

mod binlog;
mod config;
mod layout;
mod lock;
mod member;
mod schema;
mod source;
mod task;
mod validation;
mod words;

pub use binlog::{Binlog, BinlogAction, BinlogArgs, HandleError};
pub use config::{Config, ConfigAction, ConfigDir, GetConfig, ShowConfig, ShowUpdatable, Update};
pub use layout::{help, usage};
pub use lock::{LockAction, ShardDdlLock, ShowLocks, Unlock};
pub use member::{ListMember, OfflineMember};
pub use schema::{BinlogSchema, OperateSchema, SchemaAction, SchemaArgs, UpdateSchema, Writing};
pub use source::{OperateSource, PurgeRelay};
pub use task::{CheckTask, OperateTask, QueryStatus, StartTask};
pub use validation::{
    MarkValidationError, ShowValidationError, StartValidation, StopValidation, UpdateValidation,
    Validation, ValidationAction, ValidationStatus,
};

const ABOUT: &str = "DM control: tasks, sources, shard DDL locks and members of a DM cluster";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "dmctl", about = ABOUT, disable_version_flag = true)]
pub struct Cli {
    /// Connection and the like.
    #[command(flatten)]
    pub globals: Globals,
    /// What the command is about.
    #[command(flatten)]
    pub sources: Sources,
    /// Without one, lines are read from standard input.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// One line of the interactive mode, where the connection is settled.
#[derive(Debug, Parser)]
#[command(name = "dmctl", about = ABOUT, disable_version_flag = true)]
pub struct Line {
    /// What the command is about.
    #[command(flatten)]
    pub sources: Sources,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command, outside of the interactive mode.
#[derive(Args, Clone, Debug, Default)]
pub struct Globals {
    /// Prints version and exits.
    #[arg(short = 'V', long, global = true)]
    pub version: bool,
    /// TOML file with connection settings; flags override it
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Addresses of masters, host:port, separated by commas [env: DM_MASTER_ADDR]
    #[arg(long, global = true, value_name = "LIST")]
    pub master_addr: Option<String>,
    /// Limit of a call that only reads, such as 30s [default: 10m]
    #[arg(long, global = true, value_name = "DURATION", value_parser = positive_duration)]
    pub rpc_timeout: Option<Duration>,
    /// Certificate authority of the masters' certificates, in PEM; turns TLS on
    #[arg(long, global = true, value_name = "FILE")]
    pub ssl_ca: Option<PathBuf>,
    /// Own certificate, in PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub ssl_cert: Option<PathBuf>,
    /// Private key of --ssl-cert, in PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub ssl_key: Option<PathBuf>,
    /// Exit with code 3 when the answer says that something failed
    #[arg(long, global = true)]
    pub strict: bool,
    /// OTLP/gRPC collector that the command's trace goes to, such as http://127.0.0.1:4317 [env: DM_OTLP_ENDPOINT]
    #[arg(long, global = true, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// `--source`, which is allowed everywhere.
#[derive(Args, Clone, Debug, Default)]
pub struct Sources {
    /// MySQL Source ID.
    #[arg(
        short = 's',
        long = "source",
        global = true,
        value_delimiter = ',',
        value_name = "LIST"
    )]
    pub source: Vec<String>,
}

/// What can be asked for. Numbers of arguments are checked by the commands, since DM answers with the usage text.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Starts a task as defined in the configuration file
    StartTask(StartTask),
    /// Checks the configuration file of a task, its sources and its target
    CheckTask(CheckTask),
    /// Stops a task and removes it, or all tasks of one source
    StopTask(OperateTask),
    /// Pauses a task, or all tasks of one source
    PauseTask(OperateTask),
    /// Resumes a paused task, or all tasks of one source
    ResumeTask(OperateTask),
    /// Queries how tasks are doing
    QueryStatus(QueryStatus),
    /// Creates, updates, stops or shows sources
    OperateSource(OperateSource),
    /// Binds a source to another worker, which must be free
    TransferSource(Operands),
    /// Starts the relay of a source
    StartRelay(Operands),
    /// Stops the relay of a source
    StopRelay(Operands),
    /// Pauses the relay of sources
    PauseRelay(Operands),
    /// Resumes the paused relay of sources
    ResumeRelay(Operands),
    /// Removes the relay log files of a source before the given one
    PurgeRelay(PurgeRelay),
    /// Shows or unlocks shard-ddl locks
    ShardDdlLock(ShardDdlLock),
    /// Shows shard-ddl locks
    #[command(hide = true)]
    ShowDdlLocks(ShowLocks),
    /// Unlocks a shard-ddl lock
    #[command(hide = true)]
    UnlockDdlLock(Unlock),
    /// Handles events of the binlog that a task cannot execute
    Binlog(Binlog),
    /// Handles an event of the binlog that a task cannot execute
    #[command(hide = true)]
    HandleError(HandleError),
    /// Shows and replaces table structures that a task keeps of its sources
    BinlogSchema(BinlogSchema),
    /// Shows and replaces table structures that a task keeps of its sources
    #[command(hide = true)]
    OperateSchema(OperateSchema),
    /// Compares what has been replicated with its source
    Validation(Validation),
    /// Shows configurations, exports and imports them
    Config(Config),
    /// Shows the configuration of a task, master, worker or source
    #[command(hide = true)]
    GetConfig(GetConfig),
    /// Shows the configuration of a task
    #[command(hide = true)]
    GetTaskConfig(GetConfig),
    /// Encrypts a password for a configuration file
    Encrypt(Operands),
    /// Lists members: the leader, masters and workers
    ListMember(ListMember),
    /// Removes a member that is offline from the cluster
    OfflineMember(OfflineMember),
    /// Makes the leaders step back, or lets them lead again: evict or cancel-evict
    OperateLeader(Operands),
    /// Makes a named member the leader of its role: election, scheduler, pessimist or optimist
    TransferLeader(Operands),
}

/// A command without flags of its own.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Operands {
    /// How many, the command says.
    #[arg(hide = true)]
    pub args: Vec<String>,
}

/// What came of the arguments.
#[derive(Debug)]
pub enum Parsed<T = Cli> {
    /// They fit.
    Cli(Box<T>),
    /// Help was asked for.
    Help(String),
    /// They do not fit.
    Refused(Error),
}

/// Reads the arguments of the process, the first of which is the program's name.
pub fn parse(args: Vec<String>) -> Parsed<Cli> {
    read(args.into_iter().map(two_dashes))
}

/// Reads the words of one line of the interactive mode.
pub fn parse_line(words: &[String]) -> Parsed<Line> {
    let program = std::iter::once("dmctl".to_owned());
    read(program.chain(words.iter().cloned()))
}

fn read<T: CommandFactory + FromArgMatches>(args: impl Iterator<Item = String>) -> Parsed<T> {
    let parsed = shaped(T::command())
        .try_get_matches_from(args)
        .and_then(|matches| T::from_arg_matches(&matches));
    match parsed {
        Ok(parsed) => Parsed::Cli(Box::new(parsed)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Parsed::Help(error.to_string()),
        Err(error) => Parsed::Refused(refusal(&error)),
    }
}

/// An error that comes with the usage text of its command.
pub(crate) fn wrong_arguments(path: &[&str], reason: impl Into<String>) -> Error {
    Error::Usage {
        usage: usage(path),
        reason: reason.into(),
    }
}

/// The reason given when there is nothing to say beyond the usage text.
pub(crate) const SEE_OUTPUT: &str = "please check output to see error";

/// The global flags may have one dash.
fn two_dashes(arg: String) -> String {
    const LONG: [&str; 7] = [
        "version",
        "config",
        "master-addr",
        "rpc-timeout",
        "ssl-ca",
        "ssl-cert",
        "ssl-key",
    ];
    let is_long = arg.strip_prefix('-').is_some_and(|rest| {
        let name = rest.split_once('=').map_or(rest, |(name, _)| name);
        LONG.contains(&name)
    });
    if is_long { format!("-{arg}") } else { arg }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<GoDuration>()?.to_std();
    if duration.is_zero() {
        return Err(format!(
            "time: duration {text:?} is not longer than nothing, expected a form such as 30s or 10m"
        ));
    }
    Ok(duration)
}

fn refusal(error: &clap::Error) -> Error {
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    // Clap shows a flag with its value's name.
    let flag = of(ContextKind::InvalidArg);
    let flag = flag.split([' ', '=', '[']).next().unwrap_or_default();
    let mut hint = None;
    let reason = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            hint = Some("Run 'dmctl --help' for usage.".to_owned());
            let name = of(ContextKind::InvalidSubcommand);
            format!("unknown command {name:?} for \"dmctl\"")
        }
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let letter: String = flag.chars().skip(1).take(1).collect();
            format!("unknown shorthand flag: '{letter}' in {flag}")
        }
        ErrorKind::InvalidValue if of(ContextKind::InvalidValue).is_empty() => {
            format!("flag needs an argument: {flag}")
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = of(ContextKind::InvalidValue);
            let why =
                std::error::Error::source(error).map_or_else(String::new, |e| format!(": {e}"));
            format!("invalid argument {value:?} for \"{flag}\" flag{why}")
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    };
    Error::CommandLine { reason, hint }
}

#[cfg(test)]
mod tests;
