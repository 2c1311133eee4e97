//! pessimist-svc: shard DDLs of tasks in pessimistic mode. One source executes the statement, the others skip it
//! after that, and nobody goes on before.
//!
//! - [`machine`]: locks derived from what etcd shows, and what they call for; pure.
//! - [`api`]: the gRPC methods: ask the replica, encode.
//! - [`errors`]: DM's codes and texts.
//! - [`settings`], [`metrics`]: what an operator sets, and what one sees.

pub mod api;
pub mod errors;
pub mod machine;
pub mod metrics;
pub mod settings;

use dm_keyspace::Role;
use dm_proto::pessimist::pessimist_server::PessimistServer;
use dm_service::replicated::replicate;
use dm_service::{BoxError, Context, Settings};

pub use api::Api;

/// Runs one replica until the process is asked to stop.
///
/// # Errors
/// When etcd refuses the settings, or a route or figure is taken.
pub async fn serve(settings: Settings<settings::Limits>, ctx: Context) -> Result<(), BoxError> {
    let limits = settings
        .own
        .of_machine(&settings.common, ctx.clock().unix());
    let machine = machine::Pessimist::new(limits);
    let replica = replicate(&ctx, Role::Pessimist, machine, summary).await?;
    metrics::mirror(&ctx, replica.handle.clone())?;
    let api = Api::new(replica.handle, settings.own, ctx.stopping());
    ctx.serve(replica.app.grpc(PessimistServer::new(api))).await
}

/// What `/status` shows of the folded state: counts, and the records that cannot be used.
#[must_use]
pub fn summary(pessimist: &machine::Pessimist) -> serde_json::Value {
    let counts = pessimist.counts();
    let faults = pessimist.faults().map(|(key, fault)| serde_json::json!({ "key": key, "reason": fault.what, "revision": fault.revision.0 }));
    serde_json::json!({
        "locks": pessimist.lock_count(),
        "ended-rounds": counts.ended_rounds,
        "rejected-infos": counts.rejected_infos,
        "faults-seen": counts.faults,
        "faults": faults.collect::<Vec<_>>(),
    })
}
