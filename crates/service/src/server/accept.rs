//! The accept loop, TLS handshakes, and an end within a deadline.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::tls::Material;

/// Connections served at a time; more wait in the system's backlog.
const MOST_CONNECTIONS: usize = 16_384;
const MOST_STREAMS: u32 = 2_048;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Asks idle clients for a sign of life: a black-holed connection never reports itself.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Pause after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything that a connection needs, shared by all.
#[derive(Clone)]
pub(crate) struct Acceptor {
    pub(crate) router: Router,
    pub(crate) tls: Option<Material>,
    /// Cancelled when no more connections are to be taken.
    pub(crate) stop: CancellationToken,
    /// How long open requests may take after that.
    pub(crate) drain: Duration,
    /// Cancelled when the port is to be given back, after the process has said its last words.
    pub(crate) release: CancellationToken,
}

impl Acceptor {
    /// Serves until `stop`, then lets requests under way finish, at most for `drain`, then cuts what is left. What it gives
    /// back ends with the port.
    ///
    /// The port stays open until `release`: to those who watch this process a port that refuses means that it is dead, and
    /// they would end the lease under which its last requests are answered.
    pub(crate) async fn serve(self, listener: TcpListener) -> JoinHandle<()> {
        let graceful = GracefulShutdown::new();
        let cut = CancellationToken::new();
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        while let Some((stream, permit)) = self.next(&listener, &room).await {
            let connection = self.clone().connection(stream, graceful.watcher());
            let cut = cut.clone();
            tokio::spawn(async move {
                let _permit = permit;
                cut.run_until_cancelled(connection).await;
            });
        }
        let release = self.release.clone();
        let port = tokio::spawn(async move {
            release.run_until_cancelled(turn_away(listener)).await;
        });
        if tokio::time::timeout(self.drain, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::info!(after = ?self.drain, "connections cut that had not drained");
        }
        cut.cancel();
        port
    }

    async fn next(
        &self,
        listener: &TcpListener,
        room: &Arc<Semaphore>,
    ) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let accept = async {
            let permit = Arc::clone(room).acquire_owned().await.ok()?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => return Some((stream, permit)),
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        self.stop.run_until_cancelled(accept).await.flatten()
    }

    async fn connection(self, stream: TcpStream, watcher: Watcher) {
        let peer = stream
            .peer_addr()
            .map(|a| a.to_string())
            .unwrap_or_default();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(peer, %error, "no TCP_NODELAY");
        }
        let Some(tls) = self.tls else {
            return exchange(stream, self.router, watcher, &peer).await;
        };
        let handshake = TlsAcceptor::from(tls.server()).accept(stream);
        match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
            Ok(Ok(stream)) => match tls.admits(stream.get_ref().1.peer_certificates()) {
                Ok(()) => exchange(stream, self.router, watcher, &peer).await,
                Err(reason) => tracing::warn!(peer, reason, "client refused"),
            },
            Ok(Err(error)) => tracing::info!(peer, %error, "TLS handshake failed"),
            Err(_) => tracing::info!(peer, "TLS handshake took too long"),
        }
    }
}

/// Closes each new connection at once, so that its client goes elsewhere.
async fn turn_away(listener: TcpListener) {
    loop {
        if let Err(error) = listener.accept().await {
            tracing::debug!(%error, "accept failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn exchange<I>(io: I, router: Router, watcher: Watcher, peer: &str)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .adaptive_window(true)
        .keep_alive_interval(Some(KEEPALIVE));
    let service = router.map_request(|request: Request<Incoming>| request.map(Body::new));
    let service = service.map_err(|never: Infallible| match never {});
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service))
        .into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(peer, %error, "connection ended badly");
    }
}
