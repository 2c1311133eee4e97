//! The playground on the command line: `demo` tells the main job as a story, `up` leaves a cluster to play with.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use playground::demo::{self, Verdict};
use playground::orders::ShardMode;
use playground::story::Story;
use playground::up;
use tokio::signal::unix::{SignalKind, signal};

/// A whole cluster on this machine: etcd, MariaDB servers, the four services, workers
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Merge shards of two servers while rows are written, alter them, kill a coordinator, compare
    Demo(Demo),
    /// Start a cluster, print addresses and example commands, end on Ctrl-C
    Up(Up),
}

#[derive(Args)]
struct Common {
    /// Empty folder to keep data and logs in [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// OTLP/gRPC collector that gets all traces, such as http://127.0.0.1:4317
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

#[derive(Args)]
struct Demo {
    #[command(flatten)]
    common: Common,
    /// Rows in each shard at the beginning
    #[arg(long, default_value_t = 300)]
    rows: u64,
    /// In optimistic mode: a compatible change, a conflict that resolves itself, one that a person decides
    #[arg(long)]
    optimistic: bool,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    common: Common,
    /// MariaDB servers to migrate from
    #[arg(long, default_value_t = 2)]
    sources: usize,
    /// Workers
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Processes of each service
    #[arg(long, default_value_t = 2)]
    replicas: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command says why it failed")]
fn complain(error: &anyhow::Error) {
    eprintln!("playground: {error:#}");
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut story = Story::new(std::io::stdout());
    let interrupted = interrupted()?;
    match cli.command {
        Command::Demo(Demo {
            common,
            rows,
            optimistic,
        }) => {
            let mode = match optimistic {
                true => ShardMode::Optimistic,
                false => ShardMode::Pessimistic,
            };
            let options = demo::Options {
                dir: common.dir,
                bin_dir: None,
                otlp: common.otlp,
                rows,
                mode,
                ..demo::Options::default()
            };
            tokio::select! {
                verdict = demo::play(&options, &mut story) => Ok(match verdict? {
                    Verdict::Equal => ExitCode::SUCCESS,
                    Verdict::Different => ExitCode::FAILURE,
                }),
                // Dropping the demo ends every process that it had started.
                () = interrupted => Ok(ExitCode::from(130)),
            }
        }
        Command::Up(Up {
            common,
            sources,
            workers,
            replicas,
        }) => {
            let options = up::Options {
                dir: common.dir,
                bin_dir: None,
                otlp: common.otlp,
                sources,
                workers,
                replicas,
            };
            up::run(options, &mut story, interrupted).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Done when somebody presses Ctrl-C or asks this process to end.
fn interrupted() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
