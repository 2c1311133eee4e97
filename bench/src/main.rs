//! The benchmark's program. Exit codes: 0 measured, 1 failed, 2 bad arguments, 3 measured and an aim missed (`--strict`).

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use bench::cli::Cli;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn,bench=info".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(directives))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(bench::suite::run(&cli, interrupted())) {
        Ok(report) => {
            let printed = write!(std::io::stdout(), "{report}");
            match printed {
                Err(_) => ExitCode::from(1),
                Ok(()) if cli.amount().strict && !report.meets_all_aims() => ExitCode::from(3),
                Ok(()) => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            tracing::error!("{}", error.chain());
            ExitCode::from(1)
        }
    }
}

/// Done when somebody wants the run to end; the processes of the run are ended then, too.
async fn interrupted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => signals.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        Some(()) = terminated => {}
        else => std::future::pending().await,
    }
}
