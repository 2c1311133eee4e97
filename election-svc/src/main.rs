//! election-svc: members, leadership, cluster id and version; the front door of everything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    dm_service::main(
        "election-svc",
        election_svc::DEFAULT_PORT,
        election_svc::serve,
    )
}
