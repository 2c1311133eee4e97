//! Gives every request a server span that continues the caller's trace.
//!
//! The span has the RPC conventions' attributes (`rpc.system`, `rpc.service`, `rpc.method`, `rpc.grpc.status_code`) and lasts
//! until the last byte of the answer. Requests of plain HTTP (health, metrics) get none: they come every few seconds and tell nothing.

use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};
use http_body::Body;
use tower::Service;
use tracing::{Instrument, Span};

use super::outcome::{Observed, Outcome};
use super::{is_grpc, service_and_method};

/// Makes [`TraceIn`]. It has no settings: whether a trace is recorded is the caller's decision, or the sampler's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layer;

impl<S> tower::Layer<S> for Layer {
    type Service = TraceIn<S>;
    fn layer(&self, inner: S) -> TraceIn<S> {
        TraceIn(inner)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct TraceIn<S>(S);

impl<S, B, R> Service<Request<B>> for TraceIn<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Body + Unpin,
{
    type Response = Response<Observed<R>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !is_grpc(request.headers()) {
            let answer = self.0.call(request);
            return async move { Ok(Observed::wrap(answer.await?, false, |_| {})) }.boxed();
        }
        let span = span_for(&request);
        let answer = span.in_scope(|| self.0.call(request));
        let lasting = span.clone();
        async move {
            let response = answer.await?;
            Ok(Observed::wrap(response, true, move |outcome| {
                record(&lasting, outcome)
            }))
        }
        .instrument(span)
        .boxed()
    }
}

fn span_for<B>(request: &Request<B>) -> Span {
    let path = request.uri().path();
    let (service, method) = service_and_method(path).unwrap_or(("", path));
    let span = tracing::info_span!(
        "request",
        otel.name = path.trim_start_matches('/'),
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = tracing::field::Empty,
    );
    if let Some(parent) = dm_trace::extract(request.headers()) {
        parent.adopt(&span);
    }
    span
}

pub(super) fn record(span: &Span, outcome: Outcome) {
    if let Outcome::Grpc(code) = outcome {
        span.record("rpc.grpc.status_code", code as i32);
        if outcome.is_server_fault() {
            dm_trace::mark_failed(span, outcome.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body as AxumBody;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::layers::testing::{grpc_request, spans_of};

    const SAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    async fn answer_not_found(_: Request<AxumBody>) -> Result<Response<AxumBody>, Infallible> {
        tracing::info_span!("inside").in_scope(|| {});
        Ok(tonic::Status::not_found("no").into_http())
    }

    #[test]
    fn a_request_continues_its_callers_trace() {
        let spans = spans_of(async {
            let service = ServiceBuilder::new()
                .layer(Layer)
                .service(service_fn(answer_not_found));
            let mut request = grpc_request("/pb.Master/StartTask");
            request
                .headers_mut()
                .insert("traceparent", SAMPLE.parse().unwrap());
            drop(service.oneshot(request).await.unwrap());
        });
        let server = spans
            .iter()
            .find(|s| s.name == "pb.Master/StartTask")
            .unwrap();
        let inside = spans.iter().find(|s| s.name == "inside").unwrap();
        assert_eq!(
            server.span_context.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(server.parent_span_id.to_string(), "b7ad6b7169203331");
        assert_eq!(inside.parent_span_id, server.span_context.span_id());
        let attribute = |key: &str| {
            server
                .attributes
                .iter()
                .find(|a| a.key.as_str() == key)
                .map(|a| a.value.to_string())
        };
        assert_eq!(attribute("rpc.service").as_deref(), Some("pb.Master"));
        assert_eq!(attribute("rpc.method").as_deref(), Some("StartTask"));
        assert_eq!(attribute("rpc.grpc.status_code").as_deref(), Some("5"));
    }

    #[test]
    fn plain_http_gets_no_span_of_its_own() {
        let spans = spans_of(async {
            let service = ServiceBuilder::new()
                .layer(Layer)
                .service(service_fn(answer_not_found));
            drop(
                service
                    .oneshot(Request::new(AxumBody::empty()))
                    .await
                    .unwrap(),
            );
        });
        assert_eq!(
            spans.iter().map(|s| s.name.as_ref()).collect::<Vec<_>>(),
            ["inside"]
        );
    }
}
