//! A service on a real port: pages, gRPC health, reflection, forwarding and TLS, all on the same one.

#![expect(
    clippy::unwrap_used,
    reason = "a test helper that cannot go on fails its test"
)]

use std::path::PathBuf;
use std::time::Duration;

use dm_service::{App, Context, LeaderView, Nothing, Settings, config};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const LIMIT: Duration = Duration::from_secs(20);

struct Running {
    addr: String,
    ctx: Context,
    stop: oneshot::Sender<()>,
    process: JoinHandle<Result<(), dm_service::shutdown::Failure>>,
}

impl Running {
    async fn end(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(LIMIT, self.process)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    /// Waits until `/readyz` would say so.
    async fn ready(&self) {
        let wait = async {
            while !self.ctx.readiness().reasons().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .expect("the service must become ready");
    }
}

fn load(args: &[&str]) -> Result<Settings<Nothing>, config::Error> {
    let args = ["test", "--listen", "127.0.0.1:0"].iter().chain(args);
    config::load("test-svc", 0, args.map(Into::into), |name| {
        (name == "DM_DRAIN_TIMEOUT").then(|| "1s".to_owned())
    })
}

fn settings(args: &[&str]) -> Settings<Nothing> {
    load(args).unwrap()
}

async fn start(args: &[&str], app: impl FnOnce(&Context) -> App + Send + 'static) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let (give, given) = oneshot::channel();
    let settings = settings(args);
    let process = tokio::spawn(dm_service::run(
        "test-svc",
        settings,
        listener,
        async move { drop(stopped.await) },
        move |_, ctx| {
            let app = app(&ctx);
            drop(give.send(ctx.clone()));
            async move { ctx.serve(app).await }
        },
    ));
    let ctx = given.await.unwrap();
    Running {
        addr,
        ctx,
        stop,
        process,
    }
}

async fn page(addr: &str, path: &str) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<axum::body::Body>();
    let response = client
        .get(format!("http://{addr}{path}").parse().unwrap())
        .await
        .unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

async fn plain(addr: &str) -> tonic::transport::Channel {
    Endpoint::from_shared(format!("http://{addr}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn health(addr: &str) -> Result<i32, tonic::Status> {
    let mut client = HealthClient::new(plain(addr).await);
    let answer = client
        .check(HealthCheckRequest {
            service: String::new(),
        })
        .await?;
    Ok(answer.into_inner().status)
}

#[tokio::test]
async fn pages_health_and_reflection_share_one_port() {
    let app = |_: &Context| {
        App::new()
            .status(|| serde_json::json!({"term": 7}))
            .descriptors(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let running = start(&[], app).await;
    running.ready().await;
    let addr = running.addr.as_str();
    assert_eq!(page(addr, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(
        page(addr, "/readyz").await,
        (200, "{\"ready\":true,\"reasons\":[]}".to_owned())
    );
    let (code, status) = page(addr, "/status").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        (code, &status["state"]["term"], &status["name"]),
        (200, &7.into(), &addr.into())
    );
    assert_eq!(page(addr, "/nowhere").await.0, 404);

    let mut status = health(addr).await.unwrap();
    for _ in 0..1000 {
        if status == 1 {
            break;
        }
        status = health(addr).await.unwrap();
    }
    assert_eq!(status, 1);
    assert!(
        reflected(addr)
            .await
            .contains(&"grpc.health.v1.Health".to_owned())
    );
    assert!(
        page(addr, "/metrics")
            .await
            .1
            .contains("/grpc.health.v1.Health/Check")
    );
    running.end().await;
}

async fn reflected(addr: &str) -> Vec<String> {
    let mut client = ServerReflectionClient::new(plain(addr).await);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = client
        .server_reflection_info(tokio_stream::iter([list]))
        .await
        .unwrap()
        .into_inner();
    match answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap()
    {
        MessageResponse::ListServicesResponse(list) => {
            list.service.into_iter().map(|s| s.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_ready_is_told_and_why() {
    let running = start(&[], |ctx| {
        ctx.readiness()
            .not_ready("etcd", "unreachable since 12:00:01");
        App::new()
    })
    .await;
    let (code, body) = page(&running.addr, "/readyz").await;
    assert_eq!(code, 503);
    assert!(body.contains("etcd: unreachable since 12:00:01"), "{body}");
    assert_eq!(page(&running.addr, "/healthz").await.0, 200);
    running.end().await;
}

#[tokio::test]
async fn a_standby_forwards_to_its_leader_over_the_network() {
    // `Check` under a name of its own stands for a service of a role, since the harness serves the health service itself.
    let (_keep, leads) = watch::channel(LeaderView::Self_);
    let leader = start(&[], move |_| App::new().grpc(role("here")).leader(leads)).await;
    leader.ready().await;
    let (view, follows) = watch::channel(LeaderView::Other {
        addr: leader.addr.clone(),
    });
    let standby = start(&[], move |_| App::new().grpc(role("there")).leader(follows)).await;
    standby.ready().await;

    assert_eq!(ask(&standby.addr).await.unwrap_err().message(), "here");
    assert_eq!(ask(&leader.addr).await.unwrap_err().message(), "here");
    view.send_replace(LeaderView::Self_);
    assert_eq!(ask(&standby.addr).await.unwrap_err().message(), "there");
    // A view that points at a replica that does not lead: one hop, then a refusal.
    view.send_replace(LeaderView::Other {
        addr: standby.addr.clone(),
    });
    let refusal = ask(&standby.addr).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::Unavailable);
    assert!(refusal.message().starts_with("[code=38043:"), "{refusal:?}");
    standby.end().await;
    leader.end().await;
}

/// A gRPC service `test.Role` that answers every call with `NOT_FOUND` and its own place.
#[derive(Clone)]
struct Role(&'static str);

fn role(place: &'static str) -> Role {
    Role(place)
}

impl tonic::server::NamedService for Role {
    const NAME: &'static str = "test.Role";
}

impl tower::Service<http::Request<tonic::body::Body>> for Role {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
        std::future::ready(Ok(tonic::Status::not_found(self.0).into_http()))
    }
}

async fn ask(addr: &str) -> Result<(), tonic::Status> {
    use dm_service::layers::forward::Peers;
    let channels = dm_service::client::Channels::new(None, LIMIT, LIMIT);
    let request = http::Request::post("/test.Role/Do")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::empty())
        .unwrap();
    let response = channels.send(addr, request).await?;
    match tonic::Status::from_header_map(response.headers()) {
        Some(status) => Err(status),
        None => Ok(()),
    }
}

fn pem(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pem")
        .join(name)
}

async fn tls_health(addr: &str, who: Option<&str>) -> Result<i32, String> {
    let read = |name: &str| std::fs::read(pem(name)).unwrap();
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("ca.pem")));
    if let Some(who) = who {
        tls = tls.identity(Identity::from_pem(
            read(&format!("{who}.pem")),
            read(&format!("{who}.key")),
        ));
    }
    let endpoint = Endpoint::from_shared(format!("https://{addr}"))
        .unwrap()
        .tls_config(tls)
        .unwrap();
    let channel = endpoint.connect().await.map_err(|e| e.to_string())?;
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest {
            service: String::new(),
        })
        .await;
    answer
        .map(|a| a.into_inner().status)
        .map_err(|e| e.to_string())
}

#[tokio::test]
async fn tls_admits_only_known_certificates_with_an_allowed_name() {
    let (ca, cert, key) = (pem("ca.pem"), pem("dm.pem"), pem("dm.key"));
    let files = [
        ca.to_str().unwrap(),
        cert.to_str().unwrap(),
        key.to_str().unwrap(),
    ];
    let args = [
        "--ssl-ca",
        files[0],
        "--ssl-cert",
        files[1],
        "--ssl-key",
        files[2],
        "--cert-allowed-cn",
        "dm,other",
    ];
    let running = start(&args, |_| App::new()).await;
    running.ready().await;
    assert!(tls_health(&running.addr, Some("dm")).await.is_ok());
    assert!(tls_health(&running.addr, Some("stranger")).await.is_err());
    assert!(tls_health(&running.addr, None).await.is_err());
    let own = running.ctx.channels().to(&running.addr).unwrap();
    assert!(
        HealthClient::new(own)
            .check(HealthCheckRequest {
                service: String::new()
            })
            .await
            .is_ok()
    );
    running.end().await;
}

/// How these files are refused.
fn refused(cert: &str, key: &str) -> String {
    let files = [pem("ca.pem"), pem(cert), pem(key)];
    let [ca, cert, key] = files.each_ref().map(|file| file.to_str().unwrap());
    let args = ["--ssl-ca", ca, "--ssl-cert", cert, "--ssl-key", key];
    load(&args).map(drop).unwrap_err().to_string()
}

#[test]
fn files_that_do_not_fit_each_other_stop_the_start_with_the_reason() {
    let reason = refused("dm.pem", "stranger.key");
    assert!(
        reason.contains("stranger.key") && reason.contains("does not fit ssl-cert"),
        "{reason}"
    );
    let reason = refused("dm.pem", "no-such.key");
    assert!(reason.contains("no-such.key"), "{reason}");
    let reason = refused("README.md", "dm.key");
    assert!(reason.contains("no certificate in PEM form"), "{reason}");
}

/// A service whose answer waits until it is told.
#[derive(Clone)]
struct Slow(watch::Receiver<bool>, watch::Sender<bool>);

impl tonic::server::NamedService for Slow {
    const NAME: &'static str = "test.Role";
}

impl tower::Service<http::Request<tonic::body::Body>> for Slow {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
        let Self(mut may_answer, in_hand) = self.clone();
        Box::pin(async move {
            in_hand.send_replace(true);
            may_answer.wait_for(|may| *may).await.unwrap();
            Ok(tonic::Status::not_found("late").into_http())
        })
    }
}

#[tokio::test]
async fn port_refuses_nobody_until_the_last_words_are_said() {
    let (answer, may_answer) = watch::channel(false);
    let (in_hand, mut is_in_hand) = watch::channel(false);
    let (resign, may_resign) = oneshot::channel::<()>();
    let (resigning, is_resigning) = oneshot::channel::<()>();
    let running = start(&["--drain-timeout", "10s"], move |ctx| {
        ctx.on_stop("resign", async move {
            resigning.send(()).unwrap();
            may_resign.await.unwrap();
        });
        App::new().grpc(Slow(may_answer, in_hand))
    })
    .await;
    running.ready().await;
    let addr = running.addr.clone();
    let asked = tokio::spawn({
        let addr = addr.clone();
        async move { ask(&addr).await }
    });
    is_in_hand.wait_for(|is| *is).await.unwrap();
    let connects = async || tokio::net::TcpStream::connect(&addr).await.is_ok();
    let stopping = running.ctx.stopping();
    let end = tokio::spawn(running.end());
    stopping.cancelled().await;
    assert!(connects().await, "a request is in hand");
    answer.send_replace(true);
    assert_eq!(asked.await.unwrap().unwrap_err().message(), "late");
    is_resigning.await.unwrap();
    assert!(connects().await, "it has not resigned yet");
    resign.send(()).unwrap();
    end.await.unwrap();
    assert!(!connects().await, "the process is over");
}
