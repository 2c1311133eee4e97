//! Bytes to the leader of a role: the path is rewritten, everything else stays as it came.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::body::Body;
use dm_keyspace::Role;
use dm_service::client::{Channel, Channels};
use dm_service::layers::forward::{self, Forward, NOT_LEADER, Peers, STALE_READ};
use dm_service::{Context, LeaderView};
use futures::future::{BoxFuture, FutureExt};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use tonic::Status;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{Views, service_of};

/// What would answer if this process led the role itself; it never does.
type Nobody = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The ways to the leaders of all roles.
#[derive(Clone)]
pub(crate) struct ToRoles {
    ways: BTreeMap<Role, Forward<Nobody, Channels>>,
    views: Views,
    channels: Channels,
    wait: std::time::Duration,
}

impl ToRoles {
    pub(crate) fn new(ctx: &Context, views: Views) -> Self {
        let wait = ctx.common().leader_wait;
        let way = |role| {
            forward::Layer::new(views.of(role), ctx.channels().clone(), wait).layer(nobody())
        };
        let ways = Role::ALL
            .into_iter()
            .map(|role| (role, way(role)))
            .collect();
        Self {
            ways,
            views,
            channels: ctx.channels().clone(),
            wait,
        }
    }

    /// A service for one path of `pb.Master`.
    pub(crate) fn method(&self, role: Role, method: &'static str) -> ToMethod {
        ToMethod {
            ways: self.clone(),
            role,
            path: format!("/{}/{method}", service_of(role)),
        }
    }

    /// Sends a whole request to the leader of `role` under another path.
    pub(crate) async fn send(
        &self,
        role: Role,
        path: &str,
        mut request: Request<Body>,
    ) -> Response<Body> {
        let is_stale = request
            .headers()
            .get(STALE_READ)
            .is_some_and(|v| v.as_bytes() == b"true");
        let (Some(way), Ok(path)) = (self.ways.get(&role), path.parse::<PathAndQuery>()) else {
            return Status::internal(format!("no way to {path} of {role}")).into_http();
        };
        *request.uri_mut() = Uri::from(path);
        if is_stale {
            return self.send_to_anyone(role, request).await;
        }
        match way.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// A stale read needs no leader: any replica answers it from its own fold.
    async fn send_to_anyone(&self, role: Role, request: Request<Body>) -> Response<Body> {
        let Some(addr) = self.views.anyone(role).await else {
            let text = format!("{NOT_LEADER}, RawCause: no replica of {role} is known");
            return Status::unavailable(text).into_http();
        };
        let (mut head, body) = request.into_parts();
        head.headers.remove(http::header::HOST);
        head.extensions = http::Extensions::new();
        head.version = http::Version::HTTP_2;
        let request = Request::from_parts(head, tonic::body::Body::new(body));
        let answer = self.channels.send(&addr, request).await;
        answer.unwrap_or_else(Status::into_http)
    }

    /// A channel to the leader of `role`, for calls that are made here and not just passed on.
    pub(crate) async fn channel(&self, role: Role) -> Result<Channel, Status> {
        let mut view = self.views.of(role);
        let known = view.wait_for(|view| matches!(view, LeaderView::Other { .. }));
        match tokio::time::timeout(self.wait, known).await {
            Ok(Ok(view)) => match &*view {
                LeaderView::Other { addr } => Ok(self.channels.to(addr)?),
                LeaderView::Unknown | LeaderView::Self_ => Err(Status::unavailable(NOT_LEADER)),
            },
            Ok(Err(_)) | Err(_) => Err(Status::unavailable(format!(
                "{NOT_LEADER}, RawCause: no leader of {role} is known"
            ))),
        }
    }
}

fn nobody() -> Nobody {
    let refuse = |_: Request<Body>| async { Ok(Status::unavailable(NOT_LEADER).into_http()) };
    Nobody::new(service_fn(refuse))
}

/// One method of `pb.Master` on its way to a role.
#[derive(Clone)]
pub(crate) struct ToMethod {
    ways: ToRoles,
    role: Role,
    path: String,
}

impl Service<Request<Body>> for ToMethod {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        async move { Ok(this.ways.send(this.role, &this.path, request).await) }.boxed()
    }
}
