//! The front door: what DM's clients and workers take for a master.
//!
//! | path | what happens |
//! |---|---|
//! | `/pb.Master/<Method>` of one role | the path is rewritten to that role's service, the bytes go to its leader untouched |
//! | `/pb.Master/{ShowDDLLocks, UnlockDDLLock, ListMember, OfflineMember, OperateLeader, GetMasterCfg, GetCfg}` | decoded and merged here ([`master`], [`locks`]) |
//! | `/apis/v1alpha1/{members, leader}…` | the same, as JSON ([`gateway`]) |
//! | `/etcdserverpb.Cluster/MemberList` | answered here: the living doors are what workers shall connect to |
//! | `/etcdserverpb.{KV, Watch, Lease}/<Method>` | passed through to etcd, streams and all |

mod etcd;
mod gateway;
mod locks;
mod master;
mod route;
mod unary;
mod until_stopped;
mod views;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dm_keyspace::Role;
use dm_service::Context;
use dm_service::config::Common;
use http::Request;
use tonic::Status;
use tonic::transport::Channel;

use crate::api;

pub(crate) use views::Views;

/// Methods of `pb.Master` that one role answers, by role.
const ROUTED: &[(Role, &[&str])] = &[(
    Role::Scheduler,
    &[
        "StartTask",
        "OperateTask",
        "UpdateTask",
        "QueryStatus",
        "OperateWorkerRelayTask",
        "PurgeWorkerRelay",
        "CheckTask",
        "OperateSource",
        "RegisterWorker",
        "OperateSchema",
        "GetSubTaskCfg",
        "HandleError",
        "TransferSource",
        "OperateRelay",
        "StartValidation",
        "StopValidation",
        "GetValidationStatus",
        "GetValidationError",
        "OperateValidationError",
        "UpdateValidation",
        "Encrypt",
        "ListTaskConfigs",
        "ListSourceConfigs",
    ],
)];

/// All routes of the door. `etcd` is where workers' own requests to etcd go.
pub(crate) fn routes(
    ctx: &Context,
    common: &Common,
    views: Views,
    election: api::Service,
    etcd: Channel,
) -> Router {
    let to_roles = route::ToRoles::new(ctx, views);
    let mut router = Router::new();
    for (role, methods) in ROUTED {
        for method in *methods {
            let path = format!("/{MASTER}/{method}");
            router = router.route_service(&path, to_roles.method(*role, method));
        }
    }
    let door = master::Door::new(ctx, common, to_roles, election);
    let merged = Router::new()
        .route(&format!("/{MASTER}/ListMember"), post(master::list_member))
        .route(
            &format!("/{MASTER}/OfflineMember"),
            post(master::offline_member),
        )
        .route(
            &format!("/{MASTER}/OperateLeader"),
            post(master::operate_leader),
        )
        .route(
            &format!("/{MASTER}/GetMasterCfg"),
            post(master::get_master_cfg),
        )
        .route(&format!("/{MASTER}/GetCfg"), post(master::get_cfg))
        .route(&format!("/{MASTER}/ShowDDLLocks"), post(locks::show))
        .route(&format!("/{MASTER}/UnlockDDLLock"), post(locks::unlock))
        .route("/etcdserverpb.Cluster/MemberList", post(etcd::member_list))
        .merge(gateway::routes())
        .with_state(door);
    router
        .merge(merged)
        .merge(etcd::pass_through(etcd, ctx.stopping()))
        .fallback(nothing_here)
}

/// A gRPC client is told so in its own terms.
async fn nothing_here(request: Request<Body>) -> Response {
    let path = request.uri().path();
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Status::unimplemented(format!("{path} is not served here")).into_http();
    }
    let text = format!("{path} is not served here; see /status, /readyz, /healthz, /metrics\n");
    (http::StatusCode::NOT_FOUND, text).into_response()
}

const MASTER: &str = "pb.Master";

/// The service that answers for a role.
fn service_of(role: Role) -> &'static str {
    match role {
        Role::Election => "dm.election.v1.Election",
        Role::Scheduler => "dm.scheduler.v1.Scheduler",
        Role::Pessimist => "dm.pessimist.v1.Pessimist",
        Role::Optimist => "dm.optimist.v1.Optimist",
    }
}
