//! `dm-revision`: how new an answer is at the least.
//!
//! A handler that knows the revision it has read at says so itself, and so does a leader that a request was forwarded to; every other gRPC
//! answer gets what the fold had reached when the request came: it shows all that, and perhaps more.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use http::HeaderValue;

use super::is_grpc;

/// The name of the metadata.
pub(crate) const REVISION: &str = "dm-revision";

/// Marks the answers of these routes.
pub(crate) fn mark(routes: Router, revision: Arc<dyn Fn() -> i64 + Send + Sync>) -> Router {
    routes.layer(middleware::from_fn(move |request: Request, next: Next| {
        let at = revision();
        async move {
            let mut response = next.run(request).await;
            if is_grpc(response.headers()) && !response.headers().contains_key(REVISION) {
                response
                    .headers_mut()
                    .insert(REVISION, HeaderValue::from(at));
            }
            response
        }
    }))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn marked(path: &str) -> Option<String> {
        let grpc = [("content-type", "application/grpc")];
        let routes = Router::new()
            .route("/silent", get(move || async move { grpc.into_response() }))
            .route(
                "/knows",
                get(move || async move { (grpc, [(REVISION, "7")]).into_response() }),
            )
            .route("/page", get(async || "text"));
        let routes = mark(routes, Arc::new(|| 9));
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = routes.oneshot(request).await.unwrap();
        let value = response.headers().get(REVISION)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn every_grpc_answer_says_how_new_it_is() {
        assert_eq!(marked("/silent").await.as_deref(), Some("9"));
        assert_eq!(marked("/knows").await.as_deref(), Some("7"));
        assert_eq!(marked("/page").await, None);
    }
}
