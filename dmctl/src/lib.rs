//! The command line of DM: the same commands, flags, output and exit codes as DM's own `dmctl`, so that scripts
//! and habits carry over. It speaks `pb.Master` to any DM-compatible master; `transfer-leader`, `--strict` and
//! `--otlp-endpoint` are additions.
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | commands, flags and the texts of refused arguments |
//! | [`settings`] | connection settings from flags, environment and file |
//! | [`connection`] | which master is talked to, and when a call is repeated |
//! | [`commands`] | one module per command family |
//! | [`output`] | JSON as Go's encoders write it |
//! | [`telemetry`] | the root span of a command |

pub mod cli;
pub mod commands;
pub mod connection;
pub mod error;
mod interactive;
pub mod output;
pub mod settings;
pub mod telemetry;

use std::io::Write;

use tokio::io::{AsyncBufRead, BufReader};
use tokio::signal::unix::{Signal, SignalKind, signal};

use cli::{Cli, Parsed};
use connection::Connection;
use error::Error;
use settings::Settings;
use telemetry::Telemetry;

/// Everything went as asked; also an answer whose `result` is false, unless `--strict` is given.
pub const DONE: u8 = 0;
/// Arguments, files, the connection or the call failed.
pub const FAILED: u8 = 1;
/// With `--strict`: there was an answer, and it says that something failed.
pub const NOT_DONE: u8 = 3;

/// Where a command reads lines from and writes to.
pub struct Streams {
    /// Lines of the interactive mode.
    pub input: Box<dyn AsyncBufRead + Send + Unpin>,
    /// Somebody types the lines, so there is a prompt.
    pub is_terminal: bool,
    /// Answers, and what DM prints beside them.
    pub out: Box<dyn Write + Send>,
    /// Errors and warnings.
    pub err: Box<dyn Write + Send>,
}

impl Streams {
    /// Those of the process.
    pub fn standard() -> Self {
        Self {
            input: Box::new(BufReader::new(tokio::io::stdin())),
            is_terminal: std::io::IsTerminal::is_terminal(&std::io::stdin()),
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
        }
    }

    pub(crate) fn say(&mut self, text: &str) {
        // A closed pipe (`dmctl ... | head`) is no failure of the command.
        let _closed = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    pub(crate) fn complain(&mut self, text: &str) {
        let _closed = writeln!(self.err, "{text}");
    }
}

/// A whole process: like [`run`], with telemetry and signals. The code is the one to exit with.
pub async fn process(
    args: Vec<String>,
    env: impl Fn(&str) -> Option<String>,
    mut streams: Streams,
) -> u8 {
    let cli = match cli::parse(args) {
        Parsed::Cli(cli) => *cli,
        Parsed::Help(text) => {
            streams.say(text.trim_end());
            return DONE;
        }
        Parsed::Refused(error) => return refuse(&mut streams, &error),
    };
    let telemetry = match Telemetry::install(&cli.globals, &env) {
        Ok(telemetry) => telemetry,
        Err(error) => return refuse(&mut streams, &error),
    };
    let interactive = cli.command.is_none();
    let ended = tokio::select! {
        code = run(cli, env, &mut streams) => Ok(code),
        by_signal = asked_to_end(interactive) => Err(by_signal),
    };
    let code = ended.unwrap_or_else(|(name, code)| {
        streams.say(&format!("Got signal [{name}] to exit."));
        code
    });
    telemetry.flush().await;
    code
}

/// One invocation after its arguments are read: one command, or lines until the end of the input.
pub async fn run(cli: Cli, env: impl Fn(&str) -> Option<String>, streams: &mut Streams) -> u8 {
    if cli.globals.version {
        streams.complain(&version());
        return DONE;
    }
    let settings = match Settings::gather(&cli.globals, &env) {
        Ok(settings) => settings,
        Err(error) => return refuse(streams, &error),
    };
    let traceparent = env("TRACEPARENT");
    let connection = match Connection::open(settings.targets).await {
        Ok(connection) => connection,
        Err(error) => return refuse(streams, &error),
    };
    let session = commands::Session {
        connection,
        rpc_timeout: settings.rpc_timeout,
        traceparent,
    };
    let Some(command) = cli.command else {
        interactive::lines(&session, streams).await;
        return DONE;
    };
    match session.run(&command, cli.sources.source, streams).await {
        Ok(true) => DONE,
        Ok(false) if cli.globals.strict => NOT_DONE,
        Ok(false) => DONE,
        Err(error) => refuse(streams, &error),
    }
}

fn refuse(streams: &mut Streams, error: &Error) -> u8 {
    if let Some(usage) = error.usage() {
        streams.say(usage);
    }
    streams.complain(&format!("Error: {error}"));
    if let Some(hint) = error.hint() {
        streams.complain(hint);
    }
    FAILED
}

/// The lines of `--version`; those that only a build of DM's own can fill say None.
pub fn version() -> String {
    format!(
        "Release Version: v{}\nGit Commit Hash: None\nGit Branch: None\nUTC Build Time: None\nGo Version: None (Rust)\nFailpoint Build: false",
        env!("CARGO_PKG_VERSION")
    )
}

/// The signal's name and the exit code that DM gives it.
async fn asked_to_end(interactive: bool) -> (&'static str, u8) {
    let on_interrupt = if interactive { DONE } else { FAILED };
    tokio::select! {
        () = arrival(SignalKind::interrupt()) => ("interrupt", on_interrupt),
        () = arrival(SignalKind::hangup()) => ("hangup", FAILED),
        () = arrival(SignalKind::quit()) => ("quit", FAILED),
        () = arrival(SignalKind::terminate()) => ("terminated", DONE),
    }
}

async fn arrival(kind: SignalKind) {
    match signal(kind).as_mut().map(Signal::recv) {
        Ok(arrives) => {
            arrives.await;
        }
        // Without a handler the system's own action holds.
        Err(_) => std::future::pending().await,
    }
}
