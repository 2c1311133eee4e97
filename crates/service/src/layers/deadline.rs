//! Deadlines: on the way in, `grpc-timeout` is honoured and capped; on the way out, calls that name none get one.
//!
//! A deadline bounds the time until the answer begins. For a unary call that is all of it; a stream that has begun lives on.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tower::Service;

use super::is_grpc;
use crate::clock::Deadline;

/// Metadata key of a call's time limit.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The `grpc-timeout` of a request; one that does not parse is as good as none.
pub fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

/// Sets `grpc-timeout`, in the finest unit whose eight digits can hold it, never below a millisecond.
pub fn set_timeout(headers: &mut HeaderMap, limit: Duration) {
    const MOST: u128 = 99_999_999;
    let millis = limit.as_millis().max(1);
    let text = if millis <= MOST {
        format!("{millis}m")
    } else {
        format!("{}S", (millis / 1000).min(MOST))
    };
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

/// Makes [`Bounded`].
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    longest: Duration,
}

impl Layer {
    /// No request gets more than `longest`, whatever its caller asks for.
    pub fn new(longest: Duration) -> Self {
        Self { longest }
    }
}

impl<S> tower::Layer<S> for Layer {
    type Service = Bounded<S>;
    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded {
            inner,
            longest: self.longest,
        }
    }
}

/// Answers `DEADLINE_EXCEEDED` (or HTTP 504) when time is up; what runs below is dropped. The [`Deadline`] is in the request's extensions.
#[derive(Clone, Debug)]
pub struct Bounded<S> {
    inner: S,
    longest: Duration,
}

impl<S, B, R> Service<Request<B>> for Bounded<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        let limit = timeout_of(request.headers()).map_or(self.longest, |t| t.min(self.longest));
        let deadline = Deadline::after(limit);
        request.extensions_mut().insert(deadline);
        let answer = self.inner.call(request);
        async move {
            match tokio::time::timeout_at(deadline.instant(), answer).await {
                Ok(answer) => answer,
                Err(_) => Ok(too_late(grpc, limit)),
            }
        }
        .boxed()
    }
}

fn too_late<R: Default>(grpc: bool, limit: Duration) -> Response<R> {
    if grpc {
        return tonic::Status::deadline_exceeded(format!("no answer within {limit:?}")).into_http();
    }
    let mut response = Response::new(R::default());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response
}

/// Client side: calls without a `grpc-timeout` get `limit`. The channel enforces what the header says.
#[derive(Clone, Debug)]
pub struct DefaultTimeout<S> {
    inner: S,
    limit: Duration,
}

impl<S> DefaultTimeout<S> {
    /// Bounds those calls of `inner` that are not bounded yet.
    pub fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<S, B> Service<Request<B>> for DefaultTimeout<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if !request.headers().contains_key(GRPC_TIMEOUT) {
            set_timeout(request.headers_mut(), self.limit);
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::layers::testing::{code_of, grpc_request};

    async fn never(_: Request<Body>) -> Result<Response<Body>, Infallible> {
        std::future::pending().await
    }

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(600);

    /// Time until the refusal, when the longest and the caller's limit are these.
    async fn waits(longest: Duration, asked: Option<Duration>) -> Duration {
        let mut request = grpc_request("/pb.Master/StartTask");
        if let Some(asked) = asked {
            set_timeout(request.headers_mut(), asked);
        }
        let watch = crate::clock::Stopwatch::start();
        let service = ServiceBuilder::new()
            .layer(Layer::new(longest))
            .service(service_fn(never));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(code_of(&response), tonic::Code::DeadlineExceeded);
        watch.elapsed()
    }

    #[tokio::test]
    async fn the_shorter_of_the_callers_limit_and_ours_is_kept() {
        for (longest, asked) in [(LONG, Some(SHORT)), (SHORT, Some(LONG)), (SHORT, None)] {
            let waited = waits(longest, asked).await;
            assert!(waited >= SHORT && waited < LONG / 10, "{waited:?}");
        }
    }

    #[tokio::test]
    async fn handlers_are_told_what_is_left() {
        let inner = service_fn(|request: Request<Body>| async move {
            let left = request.extensions().get::<Deadline>().unwrap().remaining();
            assert!(left <= LONG && left > LONG / 2, "{left:?}");
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let service = ServiceBuilder::new().layer(Layer::new(LONG)).service(inner);
        service
            .oneshot(grpc_request("/pb.Master/StartTask"))
            .await
            .unwrap();
    }

    #[test]
    fn timeouts_read_as_they_were_written() {
        for limit in [
            Duration::from_millis(1),
            Duration::from_secs(30),
            Duration::from_secs(200_000),
        ] {
            let mut headers = HeaderMap::new();
            set_timeout(&mut headers, limit);
            assert_eq!(timeout_of(&headers), Some(limit));
        }
        for text in ["", "S", "5", "5x", "123456789S", "-1S", "é"] {
            let mut headers = HeaderMap::new();
            headers.insert(
                GRPC_TIMEOUT,
                HeaderValue::from_bytes(text.as_bytes()).unwrap(),
            );
            assert_eq!(timeout_of(&headers), None, "{text:?}");
        }
    }
}
