//! Watching the one before us in the line by its address.
//!
//! When its port *refuses* connections the process is gone, and its lease is ended at once instead of
//! waiting for the TTL. Slowness proves nothing and is left to the TTL. A mistake is harmless, because
//! every write of the one before us is fenced by the key that goes with its lease.

use std::io::ErrorKind;
use std::time::Duration;

use dm_keyspace::LeaseId;
use dm_store::Store;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// A refusal must repeat after this, so that a listener being swapped does not count.
const CONFIRM_AFTER: Duration = Duration::from_millis(50);

/// The one to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Predecessor {
    pub(crate) lease: LeaseId,
    pub(crate) addr: String,
}

/// Probes the predecessor, whoever it is at the moment, until stopped.
pub(crate) async fn run(
    store: Store,
    interval: Duration,
    mut target: watch::Receiver<Option<Predecessor>>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => return,
        }
        let Some(predecessor) = target.borrow_and_update().clone() else {
            continue;
        };
        if refuses(&predecessor.addr).await {
            tokio::time::sleep(CONFIRM_AFTER).await;
            if refuses(&predecessor.addr).await {
                end_lease(&store, &predecessor).await;
            }
        }
    }
}

async fn refuses(addr: &str) -> bool {
    match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(addr)).await {
        Ok(Err(e)) => e.kind() == ErrorKind::ConnectionRefused,
        Ok(Ok(_)) | Err(_) => false,
    }
}

async fn end_lease(store: &Store, predecessor: &Predecessor) {
    tracing::warn!(addr = predecessor.addr, lease = %predecessor.lease, "the member before us is gone: ending its lease");
    if let Err(e) = store.revoke(predecessor.lease).await {
        tracing::warn!(error = %e, "its lease could not be ended and will run out");
    }
}
