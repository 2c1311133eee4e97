//! Every row of the module's table, with a mock handler and a mock leader.

use std::sync::{Arc, Mutex};

use tonic::Code;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::*;
use crate::layers::testing::{code_of, grpc_request, message_of};

/// The leader elsewhere: keeps what it was sent, answers `ABORTED` so that it can be told from the handler here.
#[derive(Clone, Default)]
struct Elsewhere(Arc<Mutex<Vec<(String, HeaderMap, String)>>>);

impl Peers for Elsewhere {
    fn send(
        &self,
        addr: &str,
        request: Request<tonic::body::Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, Status>> {
        let path = request.uri().to_string();
        self.0
            .lock()
            .unwrap()
            .push((addr.to_owned(), request.headers().clone(), path));
        async { Ok(Status::aborted("elsewhere").into_http()) }.boxed()
    }
}

async fn ask(view: LeaderView, request: Request<Body>) -> (Response<Body>, Elsewhere) {
    ask_within(Duration::from_secs(5), view, request).await
}

async fn ask_within(
    wait: Duration,
    view: LeaderView,
    request: Request<Body>,
) -> (Response<Body>, Elsewhere) {
    let (_keep, leader) = watch::channel(view);
    let peers = Elsewhere::default();
    let layer = Layer::new(leader, peers.clone(), wait);
    let here = service_fn(|_: Request<Body>| async { Ok(Status::not_found("here").into_http()) });
    let response = ServiceBuilder::new()
        .layer(layer)
        .service(here)
        .oneshot(request)
        .await
        .unwrap();
    (response, peers)
}

fn other() -> LeaderView {
    LeaderView::Other {
        addr: "leader:8271".to_owned(),
    }
}

fn with(key: &'static str, value: &'static str) -> Request<Body> {
    let mut request = grpc_request("/dm.scheduler.v1.Scheduler/StartTask");
    request
        .headers_mut()
        .insert(key, HeaderValue::from_static(value));
    request
}

#[tokio::test]
async fn a_leader_answers_by_itself() {
    let (response, peers) = ask(LeaderView::Self_, with("x", "y")).await;
    assert_eq!(code_of(&response), Code::NotFound);
    assert!(peers.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_standby_forwards_once_and_marks_the_hop() {
    let (response, peers) = ask(other(), with("x-own", "kept")).await;
    assert_eq!(code_of(&response), Code::Aborted);
    let sent = peers.0.lock().unwrap();
    assert_eq!(sent.len(), 1);
    let (addr, headers, path) = &sent[0];
    assert_eq!(addr, "leader:8271");
    assert_eq!(headers[HOP], "1");
    assert_eq!(headers["x-own"], "kept");
    assert_eq!(path, "/dm.scheduler.v1.Scheduler/StartTask");
}

#[tokio::test]
async fn the_leader_is_told_how_much_time_is_left() {
    let mut request = with("x", "y");
    request
        .extensions_mut()
        .insert(Deadline::after(Duration::from_secs(100)));
    let (_, peers) = ask(other(), request).await;
    let sent = peers.0.lock().unwrap();
    let left = crate::layers::deadline::timeout_of(&sent[0].1).unwrap();
    assert!(
        left <= Duration::from_secs(100) && left > Duration::from_secs(50),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_forwarded_request_goes_no_further() {
    for view in [other(), LeaderView::Unknown] {
        let (response, peers) = ask(view, with(HOP, "1")).await;
        assert_eq!(code_of(&response), Code::Unavailable);
        assert!(
            message_of(&response).starts_with(NOT_LEADER),
            "{}",
            message_of(&response)
        );
        assert!(peers.0.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_forwarded_request_is_answered_by_the_leader() {
    let (response, _) = ask(LeaderView::Self_, with(HOP, "1")).await;
    assert_eq!(code_of(&response), Code::NotFound);
}

#[tokio::test]
async fn a_forwarded_request_waits_for_a_leader_that_is_told_later_than_its_sender() {
    let (view, leader) = watch::channel(other());
    let layer = Layer::new(leader, Elsewhere::default(), Duration::from_secs(5));
    let here = service_fn(|_: Request<Body>| async { Ok(Status::not_found("here").into_http()) });
    let mut answer = std::pin::pin!(
        ServiceBuilder::new()
            .layer(layer)
            .service(here)
            .oneshot(with(HOP, "1"))
    );
    assert!(futures::poll!(&mut answer).is_pending());
    view.send_replace(LeaderView::Self_);
    assert_eq!(code_of(&answer.await.unwrap()), Code::NotFound);
}

#[tokio::test]
async fn a_stale_read_is_answered_by_anybody() {
    for view in [other(), LeaderView::Unknown, LeaderView::Self_] {
        let (response, _) = ask(view, with(STALE_READ, "true")).await;
        assert_eq!(code_of(&response), Code::NotFound);
    }
}

#[tokio::test]
async fn without_a_leader_a_request_is_refused_in_time() {
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(600));
    for (wait, deadline) in [(short, long), (long, short)] {
        let watch = crate::clock::Stopwatch::start();
        let mut request = with("x", "y");
        request.extensions_mut().insert(Deadline::after(deadline));
        let (response, _) = ask_within(wait, LeaderView::Unknown, request).await;
        let waited = watch.elapsed();
        assert!(waited >= short && waited < long / 10, "{waited:?}");
        assert_eq!(code_of(&response), Code::Unavailable);
        assert!(message_of(&response).starts_with(NOT_LEADER));
    }
}

#[tokio::test]
async fn a_request_waits_for_a_leader_to_appear() {
    let (view, leader) = watch::channel(LeaderView::Unknown);
    let layer = Layer::new(leader, Elsewhere::default(), Duration::from_secs(60));
    let here = service_fn(|_: Request<Body>| async { Ok(Status::not_found("here").into_http()) });
    let mut answer = ServiceBuilder::new()
        .layer(layer)
        .service(here)
        .oneshot(with("x", "y"))
        .boxed();
    assert!((&mut answer).now_or_never().is_none());
    view.send_replace(LeaderView::Self_);
    assert_eq!(code_of(&answer.await.unwrap()), Code::NotFound);
}

/// A leader that has stopped answering without closing its connections.
#[derive(Clone)]
struct Frozen;

impl Peers for Frozen {
    fn send(
        &self,
        _: &str,
        _: Request<tonic::body::Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, Status>> {
        std::future::pending().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_to_a_leader_that_is_replaced_is_given_up() {
    for successor in [
        LeaderView::Self_,
        LeaderView::Other {
            addr: "next:8271".to_owned(),
        },
    ] {
        let (view, leader) = watch::channel(other());
        let layer = Layer::new(leader, Frozen, Duration::from_secs(5));
        let here =
            service_fn(|_: Request<Body>| async { Ok(Status::not_found("here").into_http()) });
        let mut answer = std::pin::pin!(
            ServiceBuilder::new()
                .layer(layer)
                .service(here)
                .oneshot(with("x", "y"))
        );
        assert!(futures::poll!(&mut answer).is_pending());
        view.send_replace(LeaderView::Unknown);
        let a_while = tokio::time::sleep(Duration::from_secs(60));
        tokio::select! {
            _ = &mut answer => panic!("it may win again, and answer"),
            () = a_while => {}
        }
        view.send_replace(successor);
        let response = answer.await.unwrap();
        assert_eq!(code_of(&response), Code::Unavailable);
        assert!(
            message_of(&response).contains("leader:8271 has been replaced"),
            "{}",
            message_of(&response)
        );
    }
}
