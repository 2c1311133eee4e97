//! Commands and flags, named as DM names them, and what is said about arguments that do not fit.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use dm_task::duration::GoDuration;

use crate::error::Error;

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
    /// Shows or unlocks shard-ddl locks
    ShardDdlLock(ShardDdlLock),
    /// Shows shard-ddl locks
    #[command(hide = true)]
    ShowDdlLocks(ShowLocks),
    /// Unlocks a shard-ddl lock
    #[command(hide = true)]
    UnlockDdlLock(Unlock),
    /// Lists members: the leader, masters and workers
    ListMember(ListMember),
    /// Makes the leaders step back, or lets them lead again: evict or cancel-evict
    OperateLeader(Operands),
    /// Makes a named member the leader of its role: election, scheduler, pessimist or optimist
    TransferLeader(Operands),
}

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

/// `list-member`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ListMember {
    /// None.
    #[arg(hide = true)]
    pub args: Vec<String>,
    /// Only the leader
    #[arg(short = 'l', long)]
    pub leader: bool,
    /// Only masters
    #[arg(short = 'm', long)]
    pub master: bool,
    /// Only workers
    #[arg(short = 'w', long)]
    pub worker: bool,
    /// Only members of these names
    #[arg(short = 'n', long, value_delimiter = ',', value_name = "LIST")]
    pub name: Vec<String>,
}

/// A command without flags of its own.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Operands {
    /// How many, the command says.
    #[arg(hide = true)]
    pub args: Vec<String>,
}

/// Name of each command and what its usage line says after it.
const USES: [(&str, &str); 13] = [
    (
        "start-task",
        "[-s source ...] [--remove-meta] <config-file>",
    ),
    ("check-task", "<config-file> [--error count] [--warn count]"),
    ("stop-task", "[-s source ...] [task-name | task-file]"),
    ("pause-task", "[-s source ...] [task-name | task-file]"),
    ("resume-task", "[-s source ...] [task-name | task-file]"),
    (
        "query-status",
        "[-s source ...] [task-name | task-file] [--more]",
    ),
    (
        "operate-source",
        "<operate-type> [config-file ...] [-w worker] [--print-sample-config]",
    ),
    ("shard-ddl-lock", "[task]"),
    ("show-ddl-locks", "[-s source ...] [task-name | task-file]"),
    ("unlock-ddl-lock", "<lock-ID>"),
    (
        "list-member",
        "[--leader] [--master] [--worker] [--name master-name/worker-name ...]",
    ),
    ("operate-leader", "<operate-type>"),
    ("transfer-leader", "<role> <member-name>"),
];
const UNLOCK_USE: &str = "dmctl shard-ddl-lock unlock <lock-id> [flags]";

const ROOT_HELP: &str = "{about}\n\nUsage:\n  {usage}\n\nAvailable Commands:\n{subcommands}\n\nFlags:\n{options}\n\nUse \"dmctl [command] --help\" for more information about a command.";
const COMMAND_HELP: &str = "{about}\n\nUsage:\n  {usage}\n\nFlags:\n{options}";

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

/// The usage text of a command, as it stands above the error about wrong arguments.
pub fn usage(path: &[&str]) -> String {
    let mut root = shaped(Line::command());
    root.build();
    let mut command = &mut root;
    for name in path {
        command = match command.find_subcommand_mut(name) {
            Some(command) => command,
            None => return String::new(),
        };
    }
    let help = command.render_help().to_string();
    let usage = help.find("Usage:").map_or("", |at| &help[at..]);
    usage.trim_end().to_owned()
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

/// Derived commands do not know DM's layout of help, nor that a switch may be written `--more=false`.
fn shaped(command: clap::Command) -> clap::Command {
    let root = command
        .help_template(ROOT_HELP)
        .override_usage("dmctl [command] [flags]")
        .mut_args(switchable);
    USES.iter().fold(root, |root, (name, use_line)| {
        root.mut_subcommand(*name, |command| {
            let command = command
                .help_template(COMMAND_HELP)
                .override_usage(format!("dmctl {name} {use_line} [flags]"))
                .mut_args(switchable);
            if *name != "shard-ddl-lock" {
                return command;
            }
            command.mut_subcommand("unlock", |unlock| {
                unlock
                    .help_template(COMMAND_HELP)
                    .override_usage(UNLOCK_USE)
                    .mut_args(switchable)
            })
        })
    })
}

fn switchable(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .value_parser(clap::builder::BoolishValueParser::new())
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_name("bool")
        .hide_default_value(true)
        .hide_possible_values(true)
}

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
