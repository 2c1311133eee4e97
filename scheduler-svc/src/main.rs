//! The scheduler's process.

use std::process::ExitCode;

/// The port that is taken when the configuration names none.
const PORT: u16 = 8271;

fn main() -> ExitCode {
    dm_service::main("scheduler-svc", PORT, scheduler_svc::serve)
}
