//! The `dmctl` program: arguments, environment and standard streams in, exit code out.

use std::process::ExitCode;

use dmctl::{Streams, process};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    let code = runtime.block_on(process(
        std::env::args().collect(),
        |name| std::env::var(name).ok().filter(|value| !value.is_empty()),
        Streams::standard(),
    ));
    // Standard input may still be read by a thread that nothing can wake.
    runtime.shutdown_background();
    ExitCode::from(code)
}
