//! optimist-svc: shard DDLs of tasks in optimistic mode, where each table moves on its own as long as the schemas can be joined.
//!
//! In this version it watches, leads, and cleans up: it holds the records of every optimistic task, names those that
//! cannot be used, and removes them on request. It derives no locks, so it answers no info: a task in optimistic mode
//! waits at its first schema change.
//!
//! - [`machine`]: the records, by task; pure.
//! - [`api`]: the gRPC methods.

pub mod api;
pub mod machine;

use dm_keyspace::Role;
use dm_proto::optimist::optimist_server::OptimistServer;
use dm_service::replicated::replicate;
use dm_service::{BoxError, Context, Nothing, Settings};

pub use api::Api;
pub use machine::Optimist;

/// Runs one replica until the process is asked to stop.
///
/// # Errors
/// When etcd refuses the settings, or a route is taken.
pub async fn serve(_: Settings<Nothing>, ctx: Context) -> Result<(), BoxError> {
    let replica = replicate(&ctx, Role::Optimist, Optimist::default(), summary).await?;
    let api = Api::new(replica.handle, ctx.stopping());
    ctx.serve(replica.app.grpc(OptimistServer::new(api))).await
}

/// What `/status` shows of the folded state: counts, and the records that cannot be used.
#[must_use]
pub fn summary(optimist: &Optimist) -> serde_json::Value {
    let counts = optimist.counts();
    let faults = optimist.faults().map(|(key, fault)| serde_json::json!({ "key": key, "reason": fault.what, "revision": fault.revision.0 }));
    serde_json::json!({
        "locks": 0,
        "infos": counts.infos,
        "operations": counts.operations,
        "source-tables": counts.source_tables,
        "dropped-columns": counts.dropped_columns,
        "faults-seen": counts.faults_seen,
        "faults": faults.collect::<Vec<_>>(),
    })
}
