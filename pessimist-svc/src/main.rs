//! The pessimist's process.

use std::process::ExitCode;

/// The port that is taken when the configuration names none.
const PORT: u16 = 8281;

fn main() -> ExitCode {
    dm_service::main("pessimist-svc", PORT, pessimist_svc::serve)
}
