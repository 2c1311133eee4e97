//! etcd on one host of the simulated network, and the way there from the others.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use dm_store::{Options, Store};
use dm_testkit::memory::MemoryEtcd;
use futures::stream;
use hyper_util::rt::TokioIo;
use tonic::transport::Endpoint;
use turmoil::net::{TcpListener, TcpStream};

/// The host of etcd.
pub(crate) const ETCD: &str = "etcd";
const PORT: u16 = 2379;
/// Shorter than in production, so that a run needs less time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves until the host crashes.
pub(crate) async fn serve(etcd: MemoryEtcd) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let incoming = stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    etcd.serve(incoming).await;
    Ok(())
}

/// The services' own store, over the simulated network.
pub(crate) async fn store() -> Result<Store, dm_store::Error> {
    let channel = Endpoint::from_static("http://etcd:2379")
        .connect_timeout(PATIENCE)
        .http2_keep_alive_interval(PATIENCE)
        .keep_alive_timeout(PATIENCE)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(tower::service_fn(|_| async {
            let stream = TcpStream::connect((ETCD, PORT)).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }));
    let options = Options {
        call_timeout: PATIENCE,
        quiet_watch: Duration::from_secs(10),
        page: 7,
        ..Options::default()
    };
    Store::over(channel, &options).await
}
