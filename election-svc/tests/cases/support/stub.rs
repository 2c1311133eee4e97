//! Replicas of the other roles: real members of their line, with handlers that note what comes.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use dm_keyspace::Role;
use dm_replica::{Decision, Machine};
use dm_service::replicated::{Replicated, replicate};
use dm_store::{Batch, Snapshot};
use futures::future::{BoxFuture, FutureExt};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tonic::Status;
use tonic::server::NamedService;

use super::client::frame;
use super::{Plan, Running};

/// Calls for nothing.
#[derive(Debug)]
struct Idle;

impl Machine for Idle {
    type Input = Infallible;
    fn load(&mut self, _: &Snapshot) {}
    fn apply(&mut self, _: &Batch) {}
    fn input(&mut self, input: Infallible) {
        match input {}
    }
    fn decide(&mut self) -> Vec<Decision> {
        Vec::new()
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) frames: Bytes,
}

type Reply = Arc<dyn Fn(&Seen) -> Result<Vec<u8>, Status> + Send + Sync>;

/// Notes each request and answers it by a function.
#[derive(Clone)]
pub(crate) struct Stub {
    seen: Arc<Mutex<Vec<Seen>>>,
    reply: Reply,
}

impl Stub {
    pub(crate) fn new(
        reply: impl Fn(&Seen) -> Result<Vec<u8>, Status> + Send + Sync + 'static,
    ) -> Self {
        Self {
            seen: Arc::default(),
            reply: Arc::new(reply),
        }
    }

    /// Answers everything with these bytes.
    pub(crate) fn saying(word: &'static str) -> Self {
        Self::new(move |_| Ok(word.as_bytes().to_vec()))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A replica of `role` that is started as `plan` says and answers by this stub.
    pub(crate) async fn start(&self, role: Role, plan: &Plan) -> Running {
        let stub = self.clone();
        let body = async move |ctx: dm_service::Context| {
            let Replicated { app, .. } = replicate(&ctx, role, Idle, |_| Value::Null).await?;
            let app = match role {
                Role::Election => panic!("the service under test stands for this role"),
                Role::Scheduler => app.grpc(Named::<Scheduler>(stub, PhantomData)),
                Role::Pessimist => app.grpc(Named::<Pessimist>(stub, PhantomData)),
                Role::Optimist => app.grpc(Named::<Optimist>(stub, PhantomData)),
            };
            ctx.serve(app).await
        };
        plan.start("stub-svc", move |_, ctx| async move { body(ctx).await })
            .await
    }
}

trait Name: Clone + Send + Sync + 'static {
    const NAME: &'static str;
}

macro_rules! names {
    ($($role:ident = $name:literal),*) => {$(
        #[derive(Clone)]
        struct $role;
        impl Name for $role {
            const NAME: &'static str = $name;
        }
    )*};
}

names! {
    Scheduler = "dm.scheduler.v1.Scheduler",
    Pessimist = "dm.pessimist.v1.Pessimist",
    Optimist = "dm.optimist.v1.Optimist"
}

#[derive(Clone)]
struct Named<N>(Stub, PhantomData<N>);

impl<N: Name> NamedService for Named<N> {
    const NAME: &'static str = N::NAME;
}

impl<N: Name> tower::Service<Request<tonic::body::Body>> for Named<N> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let stub = self.0.clone();
        async move {
            let (head, body) = request.into_parts();
            let seen = Seen {
                path: head.uri.path().to_owned(),
                headers: head.headers,
                frames: body.collect().await.unwrap().to_bytes(),
            };
            stub.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(seen.clone());
            tracing::info!(path = seen.path, "seen by a stub");
            Ok(match (stub.reply)(&seen) {
                Ok(message) => answer(&message),
                Err(status) => status.into_http(),
            })
        }
        .boxed()
    }
}

fn answer(message: &[u8]) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-trailer", HeaderValue::from_static("kept"));
    let body = Full::new(frame(message)).with_trailers(async move { Some(Ok(trailers)) });
    Response::builder()
        .header("content-type", "application/grpc")
        .header("x-header", "kept")
        .body(Body::new(body))
        .unwrap()
}
