//! What a service puts on its port.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use http::Request;
use tokio::sync::watch;
use tonic::server::NamedService;
use tower::{Service, ServiceExt};

use crate::layers::forward::LeaderView;

pub(super) type RevisionFn = Arc<dyn Fn() -> i64 + Send + Sync>;
type StatusFn = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// The routes of a service and what the harness shows about it. Handed to [`Context::serve`](crate::Context::serve).
pub struct App {
    pub(super) led: Router,
    pub(super) local: Router,
    pub(super) names: Vec<&'static str>,
    pub(super) fallback: Option<Router>,
    pub(super) leader: Option<watch::Receiver<LeaderView>>,
    pub(super) descriptors: Vec<&'static [u8]>,
    pub(super) status: StatusFn,
    pub(super) revision: Option<RevisionFn>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Default for App {
    fn default() -> Self {
        Self {
            led: Router::new(),
            local: Router::new(),
            names: Vec::new(),
            fallback: None,
            leader: None,
            descriptors: Vec::new(),
            status: Arc::new(|| serde_json::Value::Null),
            revision: None,
        }
    }
}

impl App {
    /// Health, reflection and the harness's own pages, nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// A gRPC service that the leader answers: with [`leader`](Self::leader) given, a standby forwards its requests.
    #[must_use]
    pub fn grpc<S>(mut self, service: S) -> Self
    where
        S: GrpcService,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.led = route(self.led, service);
        self
    }

    /// A gRPC service that each replica answers for itself, such as `dm.member.v1.Member`.
    #[must_use]
    pub fn grpc_local<S>(mut self, service: S) -> Self
    where
        S: GrpcService,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.local = route(self.local, service);
        self
    }

    /// Who leads, as it changes. Without it, [`grpc`](Self::grpc) services are answered here.
    #[must_use]
    pub fn leader(mut self, leader: watch::Receiver<LeaderView>) -> Self {
        self.leader = Some(leader);
        self
    }

    /// Plain HTTP routes beside the harness's own; a path that is taken already stops the process at the start.
    #[must_use]
    pub fn http(mut self, routes: Router) -> Self {
        self.local = self.local.merge(routes);
        self
    }

    /// Takes every request that no route takes, bytes untouched. For a front door.
    #[must_use]
    pub fn fallback(mut self, routes: Router) -> Self {
        self.fallback = Some(routes);
        self
    }

    /// Descriptors for reflection; those of several `.proto` packages may be given one after the other.
    #[must_use]
    pub fn descriptors(mut self, encoded: &'static [u8]) -> Self {
        self.descriptors.push(encoded);
        self
    }

    /// What the state that answers has reached. It goes with every gRPC answer that does not say so itself, as `dm-revision`.
    #[must_use]
    pub fn revision(mut self, revision: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.revision = Some(Arc::new(revision));
        self
    }

    /// What `/status` shows under `state`; called for each request, so it should only look at what is at hand.
    #[must_use]
    pub fn status(
        mut self,
        status: impl Fn() -> serde_json::Value + Send + Sync + 'static,
    ) -> Self {
        self.status = Arc::new(status);
        self
    }
}

/// What `tonic`'s generated servers are.
pub trait GrpcService:
    Service<Request<tonic::body::Body>, Error = Infallible>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GrpcService for S where
    S: Service<Request<tonic::body::Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

fn route<S>(router: Router, service: S) -> Router
where
    S: GrpcService,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    let path = format!("/{}/{{*method}}", S::NAME);
    router.route_service(
        &path,
        service.map_request(|r: Request<Body>| r.map(tonic::body::Body::new)),
    )
}
