//! The optimist's process: settings, replica, API, port.

use std::process::ExitCode;

use dm_keyspace::Role;
use dm_proto::optimist::optimist_server::OptimistServer;
use dm_service::replicated::replicate;
use dm_service::{BoxError, Context, Nothing, Settings};
use optimist_svc::{Api, Optimist, summary};

/// The port that is taken when the configuration names none.
const PORT: u16 = 8291;

fn main() -> ExitCode {
    dm_service::main("optimist-svc", PORT, run)
}

async fn run(_: Settings<Nothing>, ctx: Context) -> Result<(), BoxError> {
    let replica = replicate(&ctx, Role::Optimist, Optimist::default(), summary).await?;
    let api = Api::new(replica.handle, ctx.stopping());
    ctx.serve(replica.app.grpc(OptimistServer::new(api))).await
}
