//! Sends requests that only a leader answers to the leader, so that any replica may be called.
//!
//! | this replica sees | request | what happens |
//! |---|---|---|
//! | itself leading | any | answered here |
//! | another leading | fresh | forwarded once, bytes untouched, marked with `dm-hop: 1` |
//! | another leading, or nobody | marked `dm-hop` | waits a moment to lead itself, since the sender may have seen it first; then refused: a second hop could go round in circles |
//! | nobody | fresh | waits for a leader, at most the configured time and the request's deadline, then refused |
//! | anything | `dm-stale-read: true` | answered here, from this replica's own fold |
//!
//! Nothing is sent twice: a request may have had its effect although its answer was lost. One that was forwarded to a leader
//! that is then replaced (frozen, cut off) is given up a moment later, not at the caller's deadline.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use futures::future::{BoxFuture, FutureExt};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use tokio::sync::watch;
use tonic::Status;
use tower::Service;

use super::deadline::set_timeout;
use crate::clock::Deadline;

/// Marks a request that another replica has forwarded.
pub const HOP: &str = "dm-hop";
/// With the value `true`: any replica may answer, from what it has folded so far.
pub const STALE_READ: &str = "dm-stale-read";
/// Request metadata of who wants DM's own rows of a list only, without the details that are ours.
pub const WITHOUT_DETAILS: &str = "dm-without-details";
/// DM's code 38043 as its clients print and match it.
pub const NOT_LEADER: &str = "[code=38043:class=dm-master:scope=internal:level=high], Message: master is not leader, and can't forward request to leader";

/// How far the feed of a new leader may be behind that of the one that forwards to it.
const HOP_WAIT: Duration = Duration::from_secs(1);

/// How long a leader that has been replaced may still answer what it had in hand.
const REPLACED_WAIT: Duration = Duration::from_secs(1);

/// Who leads, as this replica sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum LeaderView {
    /// Nobody, or not known yet.
    #[default]
    Unknown,
    /// This replica.
    Self_,
    /// Another one.
    Other {
        /// Its advertised address, `host:port`.
        addr: String,
    },
}

/// How a request gets to another replica; [`crate::client::Channels`], or a mock.
pub trait Peers: Clone + Send + 'static {
    /// One try; the error is what the caller is told.
    fn send(
        &self,
        addr: &str,
        request: Request<tonic::body::Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, Status>>;
}

/// Makes [`Forward`].
#[derive(Clone, Debug)]
pub struct Layer<P> {
    leader: watch::Receiver<LeaderView>,
    peers: P,
    wait: Duration,
}

impl<P> Layer<P> {
    /// `wait` is how long a request may wait for a leader to be known.
    pub fn new(leader: watch::Receiver<LeaderView>, peers: P, wait: Duration) -> Self {
        Self {
            leader,
            peers,
            wait,
        }
    }
}

impl<S, P: Clone> tower::Layer<S> for Layer<P> {
    type Service = Forward<S, P>;
    fn layer(&self, inner: S) -> Forward<S, P> {
        Forward {
            inner,
            to: self.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Forward<S, P> {
    inner: S,
    to: Layer<P>,
}

impl<S, P> Service<Request<Body>> for Forward<S, P>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    P: Peers,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_stale_read(request.headers()) {
            return self.inner.call(request).boxed();
        }
        // The clone stays behind for the next request; the one that was polled ready goes with this one.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let to = self.to.clone();
        let hopped = request.headers().contains_key(HOP);
        let left = request
            .extensions()
            .get::<Deadline>()
            .map_or(to.wait, Deadline::remaining);
        async move {
            let Layer {
                leader,
                peers,
                wait,
            } = to;
            match place(leader.clone(), hopped, wait.min(left)).await {
                Ok(LeaderView::Self_) => inner.call(request).await,
                Ok(LeaderView::Other { addr }) => Ok(forward(peers, leader, &addr, request).await),
                Ok(LeaderView::Unknown) => Ok(refusal("no leader is known")),
                Err(why) => Ok(refusal(why)),
            }
        }
        .boxed()
    }
}

fn is_stale_read(headers: &HeaderMap) -> bool {
    headers
        .get(STALE_READ)
        .is_some_and(|v| v.as_bytes() == b"true")
}

/// Where the request belongs, or why it can be answered nowhere.
async fn place(
    mut leader: watch::Receiver<LeaderView>,
    hopped: bool,
    wait: Duration,
) -> Result<LeaderView, &'static str> {
    if hopped {
        let here = leader.wait_for(|view| *view == LeaderView::Self_);
        return match tokio::time::timeout(wait.min(HOP_WAIT), here).await {
            Ok(Ok(view)) => Ok(view.clone()),
            Ok(Err(_)) => Err("this replica is stopping"),
            Err(_) => Err("the request was forwarded here, but this replica does not lead"),
        };
    }
    let known = leader.wait_for(|view| *view != LeaderView::Unknown);
    match tokio::time::timeout(wait, known).await {
        Ok(Ok(view)) => Ok(view.clone()),
        Ok(Err(_)) => Err("this replica is stopping"),
        Err(_) => Err("no leader is known"),
    }
}

fn refusal(why: &str) -> Response<Body> {
    tracing::info!(why, "request refused");
    Status::unavailable(format!("{NOT_LEADER}, RawCause: {why}")).into_http()
}

async fn forward<P: Peers>(
    peers: P,
    leader: watch::Receiver<LeaderView>,
    addr: &str,
    request: Request<Body>,
) -> Response<Body> {
    tracing::debug!(leader = addr, "forwarded");
    let deadline = request.extensions().get::<Deadline>().copied();
    let (mut head, body) = request.into_parts();
    head.headers.insert(HOP, HeaderValue::from_static("1"));
    head.headers.remove(http::header::HOST);
    if let Some(deadline) = deadline {
        set_timeout(&mut head.headers, deadline.remaining());
    }
    head.extensions = http::Extensions::new();
    head.version = http::Version::HTTP_2;
    if let Some(path) = head.uri.path_and_query().cloned() {
        head.uri = Uri::from(path);
    }
    let request = Request::from_parts(head, tonic::body::Body::new(body));
    let answer = tokio::select! {
        answer = peers.send(addr, request) => answer,
        () = replaced(leader, addr) => Err(Status::unavailable(format!(
            "{addr} has been replaced as the leader before it answered: the request may have had its effect"
        ))),
    };
    match answer {
        Ok(response) => response,
        Err(status) => {
            tracing::warn!(leader = addr, error = %status, "the leader gave no answer");
            status.into_http()
        }
    }
}

/// Ends a moment after somebody else than `addr` leads. Nobody leading is no reason: it may win again.
async fn replaced(mut leader: watch::Receiver<LeaderView>, addr: &str) {
    let is_someone_else = |view: &LeaderView| match view {
        LeaderView::Unknown => false,
        LeaderView::Self_ => true,
        LeaderView::Other { addr: other } => other != addr,
    };
    if leader.wait_for(is_someone_else).await.is_err() {
        // This replica is stopping: its server decides how long answers are waited for.
        return std::future::pending().await;
    }
    tokio::time::sleep(REPLACED_WAIT).await;
}

#[cfg(test)]
mod tests;
