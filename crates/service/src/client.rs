//! Channels to other services and to workers: lazy, traced, with a deadline, over the same TLS files as the server.
//!
//! No HTTP/2 pings are sent: the Go workers' gRPC servers punish a client that pings often by closing the connection. TCP keep-alive and the
//! deadline on each call find out about dead peers instead.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};
use tonic::Status;
use tonic::transport::Endpoint;
use tower::ServiceExt;
use tower::util::MapErr;

use crate::layers::deadline::DefaultTimeout;
use crate::layers::forward::Peers;
use crate::layers::trace_out::TraceOut;
use crate::tls::Material;

/// What generated clients are given: `SchedulerClient::new(channels.to(addr)?)`.
pub type Channel = TraceOut<DefaultTimeout<Transport>>;

/// A connection whose failures are what callers can act on: see [`broken`].
type Transport = MapErr<tonic::transport::Channel, fn(tonic::transport::Error) -> Status>;

/// Channels kept open; workers come and go, so the oldest habits are not kept for ever.
const MOST_CHANNELS: usize = 1024;
const TCP_KEEPALIVE: Duration = Duration::from_secs(10);

/// The address is no `host:port`.
#[derive(Debug, thiserror::Error)]
#[error("{addr:?} is no address to call: {source}")]
pub struct BadAddress {
    addr: String,
    source: tonic::transport::Error,
}

impl From<BadAddress> for Status {
    fn from(error: BadAddress) -> Self {
        Self::internal(error.to_string())
    }
}

/// Opens channels and keeps them, one for each address. Clones share them.
#[derive(Clone, Debug)]
pub struct Channels(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tls: Option<Material>,
    connect_timeout: Duration,
    call_timeout: Duration,
    open: Mutex<HashMap<String, Channel>>,
}

impl Channels {
    /// `call_timeout` is for calls that name no limit of their own.
    pub fn new(tls: Option<Material>, connect_timeout: Duration, call_timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            tls,
            connect_timeout,
            call_timeout,
            open: Mutex::default(),
        }))
    }

    /// The channel to `addr` (`host:port`, a scheme is dropped). Nothing is connected until the first call, and again after a break.
    pub fn to(&self, addr: &str) -> Result<Channel, BadAddress> {
        let addr = bare(addr);
        if let Some(channel) = self.lock().get(addr) {
            return Ok(channel.clone());
        }
        let channel = self.open(addr).map_err(|source| BadAddress {
            addr: addr.to_owned(),
            source,
        })?;
        let mut open = self.lock();
        if open.len() >= MOST_CHANNELS {
            // Those in use live on in their clones.
            open.clear();
        }
        open.insert(addr.to_owned(), channel.clone());
        Ok(channel)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Channel>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, addr: &str) -> Result<Channel, tonic::transport::Error> {
        let scheme = if self.0.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{addr}"))?
            .connect_timeout(self.0.connect_timeout)
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .tcp_nodelay(true);
        if let Some(tls) = &self.0.tls {
            endpoint = endpoint.tls_config(tls.client())?;
        }
        let broken: fn(tonic::transport::Error) -> Status = broken;
        let transport = MapErr::new(endpoint.connect_lazy(), broken);
        let bounded = DefaultTimeout::new(transport, self.0.call_timeout);
        Ok(TraceOut::new(bounded, addr))
    }
}

/// No answer is `Unavailable`, whatever became of the connection, and `DeadlineExceeded` when the time was up. The
/// transport's own codes (`Cancelled`, `Unknown`, `Internal`) tell about its insides, and clients do not try again after them.
fn broken(error: tonic::transport::Error) -> Status {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<tonic::TimeoutExpired>() {
            return Status::deadline_exceeded("no answer in time");
        }
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Status::unavailable(format!("no answer: {text}"))
}

fn bare(addr: &str) -> &str {
    let addr = addr
        .strip_prefix("http://")
        .or_else(|| addr.strip_prefix("https://"))
        .unwrap_or(addr);
    addr.trim_end_matches('/')
}

impl Peers for Channels {
    fn send(
        &self,
        addr: &str,
        request: Request<tonic::body::Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, Status>> {
        let channel = self.to(addr);
        let addr = addr.to_owned();
        async move {
            match channel?.oneshot(request).await {
                Ok(response) => Ok(response.map(Body::new)),
                Err(status) => Err(Status::new(
                    status.code(),
                    format!("{addr}: {}", status.message()),
                )),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn channels() -> Channels {
        Channels::new(None, Duration::from_secs(1), Duration::from_secs(1))
    }

    #[tokio::test]
    async fn a_channel_is_kept_for_its_address() {
        let channels = channels();
        channels.to("127.0.0.1:1").unwrap();
        channels.to("http://127.0.0.1:1/").unwrap();
        assert_eq!(channels.lock().len(), 1);
    }

    #[tokio::test]
    async fn there_is_a_limit_to_open_channels() {
        let channels = channels();
        for port in 0..=MOST_CHANNELS {
            channels.to(&format!("127.0.0.1:{}", port + 1)).unwrap();
        }
        assert!(channels.lock().len() <= MOST_CHANNELS);
    }

    #[tokio::test]
    async fn a_refused_connection_is_unavailable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        drop(listener);
        let request = Request::post("/pb.Worker/QueryStatus")
            .body(tonic::body::Body::empty())
            .unwrap();
        let status = channels().send(&addr, request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
    }

    fn call() -> Request<tonic::body::Body> {
        Request::post("/pb.Worker/QueryStatus")
            .body(tonic::body::Body::empty())
            .unwrap()
    }

    /// The pooled connection breaks under the request, at some moment or other.
    #[tokio::test]
    async fn a_connection_that_breaks_is_unavailable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut preface = [0; 24];
                let mut stream = tokio::io::BufReader::new(stream);
                tokio::io::AsyncReadExt::read_exact(&mut stream, &mut preface)
                    .await
                    .unwrap();
            }
        });
        let channels = channels();
        for _ in 0..50 {
            let status = channels.send(&addr, call()).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
            assert!(status.message().starts_with(&addr), "{status:?}");
        }
        server.abort();
    }

    #[tokio::test]
    async fn a_callee_that_keeps_silent_exceeds_the_deadline() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let mut request = call();
        let short = HeaderValue::from_static("50m");
        request.headers_mut().insert("grpc-timeout", short);
        let status = channels().send(&addr, request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_named() {
        let error = channels().to("no address").unwrap_err();
        assert!(error.to_string().contains("\"no address\""), "{error}");
    }
}
