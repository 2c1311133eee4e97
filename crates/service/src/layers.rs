//! What every request passes through on its way in, and on its way out to another service.
//!
//! In, from the outside to the handler; [`inbound`] and [`led`] are the only places where this order is written:
//!
//! 1. [`trace_in`]: first, so that all that follows, refusals too, happens inside the request's span.
//! 2. [`request_metrics`]: counts what the layers below refuse as well as what handlers answer.
//! 3. [`deadline`]: bounds everything below, waiting for a leader included, and tells it how much time is left.
//! 4. `revision`: on the service's own routes, around everything that answers.
//! 5. [`forward`]: last, on the routes of the role only, so that health, reflection and what each replica answers for itself stay here.
//!
//! Out: [`trace_out`] around [`deadline::DefaultTimeout`] around the channel, put together in [`crate::client`].

pub mod deadline;
pub mod forward;
mod outcome;
pub mod request_metrics;
pub(crate) mod revision;
pub mod trace_in;
pub mod trace_out;

#[cfg(test)]
pub(crate) mod testing;

use std::time::Duration;

use axum::Router;
use tower::ServiceBuilder;

pub use outcome::{Observed, Outcome};

/// Puts a whole router behind layers 1 to 3.
pub fn inbound(router: Router, metrics: request_metrics::Layer, longest: Duration) -> Router {
    router.layer(
        ServiceBuilder::new()
            .layer(trace_in::Layer)
            .layer(metrics)
            .layer(deadline::Layer::new(longest)),
    )
}

/// Puts the routes that only a leader answers behind layer 5.
pub fn led<P: forward::Peers + Sync>(router: Router, forward: forward::Layer<P>) -> Router {
    router.layer(forward)
}

/// gRPC by its content type; everything else is plain HTTP.
pub(crate) fn is_grpc(headers: &http::HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

/// `/pb.Master/StartTask` in its two halves; nothing for paths of another shape.
pub(crate) fn service_and_method(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/'))
        .then_some((service, method))
}
