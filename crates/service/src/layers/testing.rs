//! Mocks and looks into answers, for the layers' tests.

use std::future::Future;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tonic::Code;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::layer::SubscriberExt;

pub(crate) fn grpc_request(path: &str) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/grpc")
        .body(Body::empty())
        .unwrap()
}

/// One message and a status in the trailers, as a handler's success looks.
pub(crate) fn grpc_answer(message: &'static [u8], status: &'static str) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let frames = [
        Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(message))),
        Ok(Frame::trailers(trailers)),
    ];
    Response::new(Body::new(StreamBody::new(stream::iter(frames))))
}

pub(crate) fn code_of<B>(response: &Response<B>) -> Code {
    Code::from_bytes(response.headers()["grpc-status"].as_bytes())
}

pub(crate) fn message_of<B>(response: &Response<B>) -> String {
    tonic::Status::from_header_map(response.headers())
        .unwrap()
        .message()
        .to_owned()
}

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// Runs `work` on a runtime of its own and gives the spans that it ended.
pub(crate) fn spans_of(work: impl Future<Output = ()>) -> Vec<SpanData> {
    let exporter = Kept::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work.with_subscriber(subscriber));
    std::mem::take(&mut *exporter.0.lock().unwrap())
}
