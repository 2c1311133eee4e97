//! The optimist's process.

use std::process::ExitCode;

/// The port that is taken when the configuration names none.
const PORT: u16 = 8291;

fn main() -> ExitCode {
    dm_service::main("optimist-svc", PORT, optimist_svc::serve)
}
