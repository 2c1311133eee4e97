//! optimist-svc: shard DDLs of tasks in optimistic mode, where each table moves on its own as long as the schemas can be joined.
//!
//! Every table's schema is tracked, and the downstream table is kept at the join of all. A change that leaves the schemas
//! comparable flows at once; one that does not waits until all tables have met it, or is refused until somebody decides.
//!
//! - [`machine`]: locks derived from the records, and what they call for; pure.
//! - [`api`]: the gRPC methods.
//! - [`errors`]: DM's codes and texts.
//! - `checkpoint`: reads schemas that locks wait for from the downstream.
//! - [`settings`], [`metrics`]: what an operator sets, and what one sees.

// What tests of the whole use is used by tests of the parts as well.
#[cfg(test)]
extern crate self as optimist_svc;

pub mod api;
mod checkpoint;
pub mod errors;
pub mod machine;
pub mod metrics;
pub mod settings;

use dm_keyspace::Role;
use dm_proto::optimist::optimist_server::OptimistServer;
use dm_service::context::OnExit;
use dm_service::replicated::replicate;
use dm_service::{BoxError, Context, Settings};

pub use api::Api;
pub use machine::Optimist;

/// Runs one replica until the process is asked to stop.
///
/// # Errors
/// When etcd refuses the settings, the key for passwords cannot be read, or a route or figure is taken.
pub async fn serve(settings: Settings<settings::Limits>, ctx: Context) -> Result<(), BoxError> {
    let limits = settings.own;
    let key = limits.secret_key()?;
    let max_txn_ops = usize::try_from(settings.common.max_txn_ops).unwrap_or(usize::MAX);
    let machine = Optimist::reading_schemas(limits.checkpoint_wait).with_max_txn_ops(max_txn_ops);
    let replica = replicate(&ctx, Role::Optimist, machine, summary).await?;
    let reader = checkpoint::Reader {
        handle: replica.handle.clone(),
        store: replica.store.clone(),
        key,
        timeout: limits.checkpoint_timeout,
    };
    ctx.spawn("read checkpoints", OnExit::Log, reader.run());
    metrics::mirror(&ctx, replica.handle.clone())?;
    let api = Api::new(replica.handle, ctx.stopping());
    ctx.serve(replica.app.grpc(OptimistServer::new(api))).await
}

/// What `/status` shows of the folded state: counts, and the records that cannot be used.
#[must_use]
pub fn summary(optimist: &Optimist) -> serde_json::Value {
    let counts = optimist.counts();
    let faults = optimist.faults().map(|(key, fault)| serde_json::json!({ "key": key, "reason": fault.what, "revision": fault.revision.0 }));
    serde_json::json!({
        "locks": counts.locks,
        "infos": counts.infos,
        "operations": counts.operations,
        "source-tables": counts.source_tables,
        "dropped-columns": counts.dropped_columns,
        "locks-waiting-for-schemas": counts.waiting_locks,
        "faults-seen": counts.faults_seen,
        "faults": faults.collect::<Vec<_>>(),
    })
}
