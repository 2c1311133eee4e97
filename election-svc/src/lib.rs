//! The election service: who is there, who leads which role, what the cluster is called; and the front door.
//!
//! It owns the member, eviction and transfer keys of all roles, the cluster's id and its version. As the
//! *door* it is what DM's clients take for a master: `pb.Master` is routed to the active replica of the
//! role that a method belongs to, etcd's own services are passed through for workers, and only the few
//! methods that concern several roles are decoded and merged here. Every replica is a door, active or not.

mod api;
mod door;
mod health;
pub mod machine;

use dm_keyspace::{ClusterId, Role};
use dm_service::config::Nothing;
use dm_service::process::BoxError;
use dm_service::replicated::{Replicated, replicate};
use dm_service::{Context, Settings};

use machine::Cluster;

/// The port that DM's clients expect a master on.
pub const DEFAULT_PORT: u16 = 8261;

/// Runs one replica until the process is asked to stop.
pub async fn serve(settings: Settings<Nothing>, ctx: Context) -> Result<(), BoxError> {
    let fresh = ClusterId::new(
        u32::try_from(ctx.clock().unix().as_secs()).unwrap_or(u32::MAX),
        rand::random(),
    );
    let machine = Cluster::new(fresh, env!("CARGO_PKG_VERSION"));
    let Replicated { handle, store, app } =
        replicate(&ctx, Role::Election, machine, Cluster::summary).await?;
    let views = door::Views::follow(&ctx, handle.clone());
    let etcd = store.channel();
    let election = api::Service::new(handle.clone(), store, ctx.channels().clone());
    let door = door::routes(&ctx, &settings.common, views, election.clone(), etcd);
    let app = app
        .grpc_local(dm_proto::election::election_server::ElectionServer::new(
            election,
        ))
        .fallback(door);
    ctx.serve(app).await
}
