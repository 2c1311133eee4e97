//! etcd for workers: its services passed through, its member list answered with the living doors.
//!
//! A worker replaces its etcd endpoints by the client URLs of this list every few seconds. So the list names
//! doors and nothing else, and is never empty of named members: an empty list would cut the worker off.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use dm_proto::etcdserverpb::{MemberListRequest, MemberListResponse, ResponseHeader};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;
use tower::ServiceExt;

use super::master::Door;
use super::unary;
use super::until_stopped::UntilStopped;

/// etcd's services that a worker uses.
const PASSED: [&str; 3] = ["KV", "Watch", "Lease"];

/// Routes that hand requests to etcd, bodies untouched.
pub(super) fn pass_through(etcd: Channel, stopping: CancellationToken) -> Router {
    let mut router = Router::new();
    for service in PASSED {
        router = router.route(
            &format!("/etcdserverpb.{service}/{{method}}"),
            axum::routing::post(pass),
        );
    }
    router.with_state(Etcd {
        channel: etcd,
        stopping,
    })
}

/// The way to etcd, and the end of this process.
#[derive(Clone)]
struct Etcd {
    channel: Channel,
    stopping: CancellationToken,
}

async fn pass(State(etcd): State<Etcd>, request: Request<Body>) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    let path = head
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    head.headers.remove(http::header::HOST);
    head.version = http::Version::HTTP_2;
    head.extensions = http::Extensions::new();
    let request = Request::from_parts(head, tonic::body::Body::new(body));
    match etcd.channel.oneshot(request).await {
        // A watch never ends by itself; it must not hold up a door that is closing.
        Ok(response) => response.map(|body| Body::new(UntilStopped::new(body, etcd.stopping))),
        Err(e) => Status::unavailable(format!("etcd does not answer: {e}")).into_http(),
    }
}

/// `Cluster/MemberList`.
pub(super) async fn member_list(
    State(door): State<Door>,
    request: Request<Body>,
) -> Response<Body> {
    unary::answer(request, move |_: MemberListRequest| {
        let door = door.clone();
        async move {
            let (cluster_id, members) = door.etcd_members().await?;
            let header = ResponseHeader {
                cluster_id,
                ..ResponseHeader::default()
            };
            Ok(MemberListResponse {
                header: Some(header),
                members,
            })
        }
    })
    .await
}
