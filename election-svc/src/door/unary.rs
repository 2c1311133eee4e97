//! A unary gRPC method served by hand, for the few methods of a service that are answered here.

use std::future::Future;

use axum::body::Body;
use dm_proto::codec::LossyCodec;
use http::{Request, Response};
use prost::{Message, Name};
use tonic::Status;
use tower::service_fn;

/// Decodes the request, runs `handler`, encodes its answer.
pub(super) async fn answer<Q, A, F>(
    request: Request<Body>,
    handler: impl FnMut(Q) -> F + Clone + Send + 'static,
) -> Response<Body>
where
    Q: Message + Name + Default + Send + 'static,
    A: Message + Send + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let method = service_fn(move |request: tonic::Request<Q>| {
        let answered = handler.clone()(request.into_inner());
        async move { answered.await.map(tonic::Response::new) }
    });
    let mut grpc = tonic::server::Grpc::new(LossyCodec::<A, Q>::default());
    grpc.unary(method, request.map(tonic::body::Body::new))
        .await
        .map(Body::new)
}
