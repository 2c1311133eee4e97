//! The pessimist's process: settings, replica, API, port.

use std::process::ExitCode;

use dm_keyspace::Role;
use dm_proto::pessimist::pessimist_server::PessimistServer;
use dm_service::replicated::replicate;
use dm_service::{BoxError, Context, Settings};
use pessimist_svc::machine::Pessimist;
use pessimist_svc::settings::Limits;
use pessimist_svc::{Api, metrics, summary};

/// The port that is taken when the configuration names none.
const PORT: u16 = 8281;

fn main() -> ExitCode {
    dm_service::main("pessimist-svc", PORT, run)
}

async fn run(settings: Settings<Limits>, ctx: Context) -> Result<(), BoxError> {
    let machine = Pessimist::new(settings.own.into());
    let replica = replicate(&ctx, Role::Pessimist, machine, summary).await?;
    metrics::mirror(&ctx, replica.handle.clone())?;
    let api = Api::new(replica.handle, settings.own, ctx.stopping());
    ctx.serve(replica.app.grpc(PessimistServer::new(api))).await
}
