//! Counts requests by method and status, measures them, and knows how many are under way.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};
use http_body::Body;
use prometheus::{HistogramVec, IntCounterVec, IntGauge};
use tower::Service;

use super::is_grpc;
use super::outcome::Observed;
use crate::clock::Stopwatch;
use crate::metrics::{Error, LATENCY_BUCKETS, Metrics};

/// Paths come from callers; from this many different ones on, new ones are counted together as `other`.
const MOST_METHODS: usize = 256;

/// Makes [`Counted`]; holds the metrics, so one is made for a process.
#[derive(Clone, Debug)]
pub struct Layer {
    requests: IntCounterVec,
    seconds: HistogramVec,
    in_flight: IntGauge,
    methods: Arc<Mutex<HashSet<String>>>,
}

impl Layer {
    /// Registers `dm_requests_total`, `dm_request_duration_seconds` and `dm_requests_in_flight`.
    pub fn new(metrics: &Metrics) -> Result<Self, Error> {
        Ok(Self {
            requests: metrics.counters(
                "dm_requests_total",
                "Requests answered.",
                &["method", "status"],
            )?,
            seconds: metrics.histograms(
                "dm_request_duration_seconds",
                "Time from a request's arrival to the end of its answer.",
                &["method"],
                &LATENCY_BUCKETS,
            )?,
            in_flight: metrics.gauge(
                "dm_requests_in_flight",
                "Requests whose answer has not ended.",
            )?,
            methods: Arc::default(),
        })
    }

    fn method(&self, path: &str) -> String {
        let mut methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        if !methods.contains(path) {
            if methods.len() >= MOST_METHODS {
                return "other".to_owned();
            }
            methods.insert(path.to_owned());
        }
        path.to_owned()
    }
}

impl<S> tower::Layer<S> for Layer {
    type Service = Counted<S>;
    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            metrics: self.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    metrics: Layer,
}

/// Taken back also when a request is dropped half way.
struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl<S, B, R> Service<Request<B>> for Counted<S>
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let metrics = self.metrics.clone();
        let method = metrics.method(request.uri().path());
        let grpc = is_grpc(request.headers());
        metrics.in_flight.inc();
        let in_flight = InFlight(metrics.in_flight.clone());
        let watch = Stopwatch::start();
        let answer = self.inner.call(request);
        async move {
            let response = answer.await?;
            Ok(Observed::wrap(response, grpc, move |outcome| {
                metrics
                    .requests
                    .with_label_values(&[&method, &outcome.to_string()])
                    .inc();
                metrics
                    .seconds
                    .with_label_values(&[&method])
                    .observe(watch.elapsed().as_secs_f64());
                drop(in_flight);
            }))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body as AxumBody;
    use http_body_util::BodyExt;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::layers::testing::{grpc_answer, grpc_request};

    #[tokio::test]
    async fn requests_are_counted_by_method_and_status() {
        let metrics = Metrics::default();
        let layer = Layer::new(&metrics).unwrap();
        let refuse = service_fn(|_: Request<AxumBody>| async {
            Ok::<_, Infallible>(tonic::Status::aborted("no").into_http::<AxumBody>())
        });
        let service = ServiceBuilder::new().layer(layer.clone()).service(refuse);
        drop(
            service
                .oneshot(grpc_request("/pb.Master/StartTask"))
                .await
                .unwrap(),
        );
        let text = metrics.text();
        assert!(
            text.contains(
                "dm_requests_total{method=\"/pb.Master/StartTask\",status=\"ABORTED\"} 1"
            ),
            "{text}"
        );
        assert!(text.contains("dm_requests_in_flight 0"), "{text}");
    }

    #[tokio::test]
    async fn a_status_in_the_trailers_counts_and_a_reader_that_leaves_is_cancelled() {
        let metrics = Metrics::default();
        let layer = Layer::new(&metrics).unwrap();
        let answer = service_fn(|_: Request<AxumBody>| async {
            Ok::<_, Infallible>(grpc_answer(b"x", "0"))
        });
        let service = ServiceBuilder::new().layer(layer).service(answer);
        let whole = service
            .clone()
            .oneshot(grpc_request("/pb.Master/A"))
            .await
            .unwrap();
        assert!(metrics.text().contains("dm_requests_in_flight 1"));
        whole.into_body().collect().await.unwrap();
        drop(service.oneshot(grpc_request("/pb.Master/B")).await.unwrap());
        let text = metrics.text();
        assert!(
            text.contains("dm_requests_total{method=\"/pb.Master/A\",status=\"OK\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("dm_requests_total{method=\"/pb.Master/B\",status=\"CANCELLED\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn callers_cannot_make_endless_series() {
        let layer = Layer::new(&Metrics::default()).unwrap();
        for n in 0..MOST_METHODS {
            assert_ne!(layer.method(&format!("/x/{n}")), "other");
        }
        assert_eq!(layer.method("/x/one-too-many"), "other");
        assert_eq!(layer.method("/x/7"), "/x/7");
    }
}
