//! The harness's own pages, and the place where a service's routes come in once it has some.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::ServiceExt;

use super::app::App;
use crate::client::Channels;
use crate::clock::Clock;
use crate::layers::{self, forward, request_metrics};
use crate::metrics::{self, Metrics};
use crate::process::BoxError;
use crate::readiness::Readiness;

/// What `/status` says before the service adds its state.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) service: &'static str,
    pub(crate) name: String,
    pub(crate) advertise_addr: String,
}

/// The router in front: pages, health, and a slot for the service's own routes.
#[derive(Clone)]
pub(crate) struct Front(Arc<Inner>);

struct Inner {
    status: Status,
    clock: Clock,
    metrics: Metrics,
    readiness: Readiness,
    health: HealthReporter,
    installed: OnceLock<Installed>,
}

struct Installed {
    routes: Router,
    names: Vec<&'static str>,
    status: Arc<dyn Fn() -> Value + Send + Sync>,
}

impl Front {
    /// The whole router of the port, with the layers that every request passes.
    pub(crate) fn new(
        status: Status,
        clock: Clock,
        metrics: Metrics,
        readiness: Readiness,
        longest: Duration,
    ) -> Result<(Self, Router), metrics::Error> {
        let (health, health_service) = tonic_health::server::health_reporter();
        let counted = request_metrics::Layer::new(&metrics)?;
        let installed = OnceLock::new();
        let front = Self(Arc::new(Inner {
            status,
            clock,
            metrics,
            readiness,
            health,
            installed,
        }));
        let health_service =
            health_service.map_request(|r: Request<Body>| r.map(tonic::body::Body::new));
        let router = Router::new()
            .route("/healthz", routing::get(async || "ok\n"))
            .route("/readyz", routing::get(readyz))
            .route("/status", routing::get(status_page))
            .route("/metrics", routing::get(metrics_page))
            .with_state(front.clone())
            .route_service("/grpc.health.v1.Health/{*method}", health_service)
            .fallback_service(Router::new().fallback(own_routes).with_state(front.clone()));
        Ok((front, layers::inbound(router, counted, longest)))
    }

    /// Brings in the service's routes. May be done once.
    pub(crate) fn install(
        &self,
        app: App,
        channels: Channels,
        wait: Duration,
    ) -> Result<(), BoxError> {
        let led = match app.leader {
            Some(leader) => layers::led(app.led, forward::Layer::new(leader, channels, wait)),
            None => app.led,
        };
        let mut v1 = tonic_reflection::server::Builder::configure();
        let mut v1alpha = tonic_reflection::server::Builder::configure();
        let health = tonic_health::pb::FILE_DESCRIPTOR_SET;
        for set in app.descriptors.iter().copied().chain([health]) {
            v1 = v1.register_encoded_file_descriptor_set(set);
            v1alpha = v1alpha.register_encoded_file_descriptor_set(set);
        }
        let reflection = App::new()
            .grpc_local(v1.build_v1()?)
            .grpc_local(v1alpha.build_v1alpha()?);
        let routes = led.merge(app.local).merge(reflection.local);
        let routes = match app.fallback {
            Some(fallback) => routes.fallback_service(fallback),
            None => routes.fallback(nothing_here),
        };
        let routes = match app.revision {
            Some(revision) => layers::revision::mark(routes, revision),
            None => routes,
        };
        let installed = Installed {
            routes,
            names: app.names,
            status: app.status,
        };
        self.0
            .installed
            .set(installed)
            .map_err(|_| "serve was called twice".into())
    }

    /// Keeps gRPC health as readiness is, for the process and for each of its services, for as long as it runs.
    pub(crate) async fn mirror_health(self) {
        let mut changes = self.0.readiness.changes();
        loop {
            let status = if changes.is_ready() {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            let names = self.0.installed.get().map_or(&[][..], |i| &i.names);
            for name in std::iter::once("").chain(names.iter().copied()) {
                self.0.health.set_service_status(name, status).await;
            }
            if !changes.next().await {
                return;
            }
        }
    }
}

async fn own_routes(State(front): State<Front>, request: Request<Body>) -> Response {
    match front.0.installed.get() {
        Some(installed) => match installed.routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None if layers::is_grpc(request.headers()) => {
            let reasons = front.0.readiness.reasons().join("; ");
            tonic::Status::unavailable(format!("starting: {reasons}")).into_http()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
    }
}

async fn nothing_here(request: Request<Body>) -> Response {
    let path = request.uri().path();
    if layers::is_grpc(request.headers()) {
        return tonic::Status::unimplemented(format!("{path} is not served here")).into_http();
    }
    (
        StatusCode::NOT_FOUND,
        "nothing here; see /status, /readyz, /healthz, /metrics\n",
    )
        .into_response()
}

async fn readyz(State(front): State<Front>) -> Response {
    let reasons = front.0.readiness.reasons();
    let ready = reasons.is_empty();
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(json!({ "ready": ready, "reasons": reasons }))).into_response()
}

async fn status_page(State(front): State<Front>) -> Json<Value> {
    let inner = &front.0;
    let reasons = inner.readiness.reasons();
    Json(json!({
        "service": inner.status.service,
        "name": inner.status.name,
        "advertise_addr": inner.status.advertise_addr,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": inner.clock.elapsed().as_secs(),
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "state": inner.installed.get().map_or(Value::Null, |i| (i.status)()),
    }))
}

async fn metrics_page(State(front): State<Front>) -> Response {
    (
        [(http::header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        front.0.metrics.text(),
    )
        .into_response()
}
