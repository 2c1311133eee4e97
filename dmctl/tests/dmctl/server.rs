//! A gRPC server that answers every method by script and keeps what it was sent, and a way to run commands on it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use bytes::Bytes;
use dm_proto::{codec, pb};
use dmctl::{Streams, process};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost::{Message, Name};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

/// One call as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl Call {
    pub(crate) fn message<M: Message + Name + Default>(&self) -> M {
        codec::decode(self.body.clone()).unwrap()
    }
}

type Answers = HashMap<String, Vec<Result<Vec<u8>, Status>>>;

#[derive(Default)]
struct Script {
    answers: Answers,
    calls: Vec<Call>,
}

/// A scripted master; it stops with the value.
pub(crate) struct Master {
    pub(crate) addr: String,
    script: Arc<Mutex<Script>>,
    serving: DropGuard,
}

impl Master {
    pub(crate) async fn start() -> Self {
        Self::start_on(Server::builder()).await
    }

    /// Wants certificates of the authority that its own is of.
    pub(crate) async fn start_with_tls() -> Self {
        let read = |name| std::fs::read(pem(name)).unwrap();
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(read("dm.pem"), read("dm.key")))
            .client_ca_root(Certificate::from_pem(read("ca.pem")));
        Self::start_on(Server::builder().tls_config(tls).unwrap()).await
    }

    async fn start_on(mut server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let script = Arc::<Mutex<Script>>::default();
        let shared = Arc::clone(&script);
        let router = Router::new().fallback(move |request| answer(Arc::clone(&shared), request));
        let serving = CancellationToken::new();
        let server = server
            .add_routes(router.into())
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving.clone().run_until_cancelled_owned(server));
        Self {
            addr,
            script,
            serving: serving.drop_guard(),
        }
    }

    /// From now on new connections are refused; open ones stay.
    pub(crate) async fn stop_listening(self) {
        let addr = self.addr.clone();
        drop(self.serving);
        dm_testkit::wait_until(Duration::from_secs(10), "the port is closed", async || {
            tokio::net::TcpStream::connect(&addr).await.is_err()
        })
        .await
        .unwrap();
    }

    /// The next answer to a method of `pb.Master`; the last one is repeated.
    pub(crate) fn answers<M: Message>(&self, method: &str, message: &M) {
        self.answer(&format!("/pb.Master/{method}"), Ok(message.encode_to_vec()));
    }

    pub(crate) fn answer(&self, path: &str, answer: Result<Vec<u8>, Status>) {
        let mut script = self.script.lock().unwrap();
        script
            .answers
            .entry(path.to_owned())
            .or_default()
            .push(answer);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.script.lock().unwrap().calls.clone()
    }

    /// The only call there was.
    pub(crate) fn only_call(&self) -> Call {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].clone()
    }

    /// Runs a command on this master.
    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        let addr = ["--master-addr", &self.addr];
        run(&[&addr, args].concat(), "").await
    }
}

async fn answer(
    script: Arc<Mutex<Script>>,
    request: Request,
) -> Result<Response<tonic::body::Body>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = {
        let mut script = script.lock().unwrap();
        script.calls.push(Call {
            path: path.clone(),
            headers: head.headers,
            // One message, not compressed, behind five bytes of frame.
            body: body.slice(5..),
        });
        match script.answers.get_mut(&path) {
            None => Err(Status::unimplemented(format!(
                "nothing is scripted for {path}"
            ))),
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
        }
    };
    Ok(match answer {
        Err(status) => status.into_http(),
        Ok(message) => {
            let mut data = vec![0];
            data.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            data.extend(message);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let frames = [Frame::data(Bytes::from(data)), Frame::trailers(trailers)];
            let frames = tokio_stream::iter(frames.map(Ok::<_, Status>));
            Response::builder()
                .header("content-type", "application/grpc")
                .body(tonic::body::Body::new(StreamBody::new(frames)))
                .unwrap()
        }
    })
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs the whole of dmctl without an environment, with these lines as its input.
pub(crate) async fn run(args: &[&str], input: &'static str) -> Ended {
    run_in(args, input, |_| None).await
}

pub(crate) async fn run_in(
    args: &[&str],
    input: &'static str,
    env: impl Fn(&str) -> Option<String>,
) -> Ended {
    let (out, err) = (Kept::default(), Kept::default());
    let streams = Streams {
        input: Box::new(input.as_bytes()),
        is_terminal: false,
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
    };
    let args = std::iter::once("dmctl").chain(args.iter().copied());
    let code = process(args.map(str::to_owned).collect(), env, streams).await;
    Ended {
        code,
        out: out.text(),
        err: err.text(),
    }
}

pub(crate) fn done(source: &str, worker: &str) -> pb::CommonWorkerResponse {
    pb::CommonWorkerResponse {
        result: true,
        source: source.into(),
        worker: worker.into(),
        ..Default::default()
    }
}

/// Files in a directory of their own.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn with(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A certificate or key of the tests of TLS.
pub(crate) fn pem(name: &str) -> String {
    format!(
        "{}/../crates/service/tests/pem/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}
