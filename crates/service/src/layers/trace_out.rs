//! Gives every outgoing call a client span below the current one, and writes that span into the call's metadata.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};
use http_body::Body;
use tower::Service;
use tracing::Instrument;

use super::outcome::Observed;
use super::service_and_method;
use super::trace_in::record;

/// A client service whose calls are traced; `peer` becomes `server.address`.
#[derive(Clone, Debug)]
pub struct TraceOut<S> {
    inner: S,
    peer: Arc<str>,
}

impl<S> TraceOut<S> {
    /// Traces the calls of `inner`, which go to `peer`.
    pub fn new(inner: S, peer: impl Into<Arc<str>>) -> Self {
        Self {
            inner,
            peer: peer.into(),
        }
    }
}

impl<S, B, R> Service<Request<B>> for TraceOut<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Body + Unpin,
{
    type Response = Response<Observed<R>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let (service, method) = service_and_method(&path).unwrap_or(("", &path));
        let span = tracing::info_span!(
            "call",
            otel.name = path.trim_start_matches('/'),
            otel.kind = "client",
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = method,
            rpc.grpc.status_code = tracing::field::Empty,
            server.address = &*self.peer,
        );
        dm_trace::inject_span(&span, request.headers_mut());
        let answer = span.in_scope(|| self.inner.call(request));
        let lasting = span.clone();
        async move {
            match answer.await {
                Ok(response) => Ok(Observed::wrap(response, true, move |o| record(&lasting, o))),
                Err(error) => {
                    dm_trace::mark_failed(&lasting, "no answer");
                    Err(error)
                }
            }
        }
        .instrument(span)
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use axum::body::Body as AxumBody;
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::layers::testing::{grpc_request, spans_of};

    #[test]
    fn the_callee_is_told_the_client_span() {
        let sent = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&sent);
        let spans = spans_of(async move {
            let callee = service_fn(move |request: Request<AxumBody>| {
                *seen.lock().unwrap() = request.headers()["traceparent"]
                    .to_str()
                    .unwrap()
                    .to_owned();
                async {
                    Ok::<_, Infallible>(tonic::Status::unavailable("no").into_http::<AxumBody>())
                }
            });
            let outer = tracing::info_span!("outer");
            let call =
                TraceOut::new(callee, "s1:8271").oneshot(grpc_request("/pb.Worker/QueryStatus"));
            drop(call.instrument(outer).await.unwrap());
        });
        let outer = spans.iter().find(|s| s.name == "outer").unwrap();
        let client = spans
            .iter()
            .find(|s| s.name == "pb.Worker/QueryStatus")
            .unwrap();
        assert_eq!(client.parent_span_id, outer.span_context.span_id());
        assert!(
            sent.lock()
                .unwrap()
                .contains(&client.span_context.span_id().to_string())
        );
        assert!(matches!(
            client.status,
            opentelemetry::trace::Status::Error { .. }
        ));
    }
}
