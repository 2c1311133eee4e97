//! The worker's process: it joins the masters, serves the source it is bound to, and answers `pb.Worker`.

use std::process::ExitCode;

/// The port that is taken when the configuration names none.
const PORT: u16 = 8262;

fn main() -> ExitCode {
    dm_service::main("worker-svc", PORT, worker_svc::serve)
}
