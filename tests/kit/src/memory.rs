//! An etcd in memory for tests: its API, its refusals, its revisions, with the time and the
//! faults in the hands of the test.
//!
//! It is one member that never loses data. What it may be trusted with is what the contract suite
//! runs on it and on a real etcd alike. Left out: authentication, alarms, membership changes,
//! fragmented watch responses, and the periodic progress notices of idle watches.

mod conn;
mod core;
mod faults;
mod history;
mod lease;
mod range;
mod refusal;
mod server;
mod span;
mod txn;
mod watch;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use dm_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use dm_proto::mvccpb::KeyValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::{Error, Result};

use self::conn::Conn;
pub use self::refusal::Refusal;
use self::server::Shared;

/// What makes time pass for leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Only [`MemoryEtcd::advance`].
    Manual,
    /// The time of the tokio runtime that serves, be it real, paused or simulated. It stands
    /// still while nothing serves.
    Tokio,
}

/// Settings that tests vary.
#[derive(Clone, Debug)]
pub struct Options {
    /// Operations allowed in one transaction.
    pub max_txn_ops: usize,
    /// Shortest lease that is granted, in seconds.
    pub min_lease_ttl: i64,
    /// What makes leases run out.
    pub clock: Clock,
}

impl Default for Options {
    /// A stock etcd's limits, and time by hand.
    fn default() -> Self {
        Self {
            max_txn_ops: 128,
            min_lease_ttl: 2,
            clock: Clock::Manual,
        }
    }
}

/// A handle on the model; clones share it. It serves as long as one of them lives.
#[derive(Clone, Debug)]
pub struct MemoryEtcd {
    shared: Arc<Shared>,
    endpoint: Option<Arc<str>>,
    _serving: Option<Arc<DropGuard>>,
}

impl MemoryEtcd {
    /// Makes a model that nobody can reach yet; see [`Self::serve`] and [`Self::routes`].
    pub fn new(options: &Options) -> Self {
        Self {
            shared: Arc::new(Shared::new(options)),
            endpoint: None,
            _serving: None,
        }
    }

    /// Serves with stock limits on a free loopback port; leases wait for [`Self::advance`].
    pub async fn start() -> Result<Self> {
        Self::start_with(&Options::default()).await
    }

    /// Serves on a free loopback port.
    pub async fn start_with(options: &Options) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(Error::io("listen on loopback"))?;
        let port = listener
            .local_addr()
            .map_err(Error::io("ask for the port"))?
            .port();
        let mut etcd = Self::new(options);
        let endpoint = format!("http://127.0.0.1:{port}");
        etcd.shared.set_endpoint(&endpoint);
        let serving = CancellationToken::new();
        let server = etcd.clone();
        let stopped = serving.clone();
        tokio::spawn(async move {
            let served = server.serve(TcpListenerStream::new(listener));
            let _ended = stopped.run_until_cancelled(served).await;
            server.cut_connections();
        });
        etcd.endpoint = Some(endpoint.into());
        etcd._serving = Some(Arc::new(serving.drop_guard()));
        Ok(etcd)
    }

    /// Serves the connections of any transport until it has no more of them.
    pub async fn serve<S, IO>(&self, incoming: S)
    where
        S: Stream<Item = std::io::Result<IO>> + Send,
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let connections = incoming.filter_map(move |accepted| match accepted {
            Ok(_) if shared.is_refusing() => None,
            Ok(io) => Some(Ok(Conn::new(io, shared.cut_token()))),
            Err(error) => Some(Err(error)),
        });
        let served = Server::builder()
            .add_routes(self.routes())
            .serve_with_incoming(connections)
            .await;
        if let Err(error) = served {
            // A test that takes the transport away means to.
            drop(error);
        }
    }

    /// The gRPC services, to be put behind a transport or a layer of the test's own. Must be
    /// called within the runtime that will serve them: [`Clock::Tokio`] goes by its time.
    pub fn routes(&self) -> Routes {
        server::routes(&self.shared)
    }

    /// The address that clients are given; empty for a model without a port.
    pub fn endpoint(&self) -> String {
        self.endpoint.as_deref().unwrap_or_default().to_owned()
    }

    /// The newest revision.
    pub fn revision(&self) -> i64 {
        self.shared.with(|core| core.revision())
    }

    /// Writes a key, as another client would; gives back the revision.
    pub fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> i64 {
        let request = PutRequest {
            key: key.into(),
            value: value.into(),
            ..PutRequest::default()
        };
        self.shared
            .with(|core| core.put(request).map_or(0, |_| core.revision()))
    }

    /// Deletes a key, as another client would; gives back the newest revision.
    pub fn delete(&self, key: impl Into<Vec<u8>>) -> i64 {
        let request = DeleteRangeRequest {
            key: key.into(),
            ..DeleteRangeRequest::default()
        };
        self.shared
            .with(|core| core.delete(&request).map_or(0, |_| core.revision()))
    }

    /// The present records whose keys begin with a prefix.
    pub fn dump(&self, prefix: &str) -> Vec<KeyValue> {
        let all = RangeRequest {
            key: vec![0],
            range_end: vec![0],
            ..RangeRequest::default()
        };
        let mut kvs = self
            .shared
            .with(|core| core.range(&all))
            .map(|range| range.kvs)
            .unwrap_or_default();
        kvs.retain(|kv| kv.key.starts_with(prefix.as_bytes()));
        kvs
    }

    /// Lets time pass: leases that run out take their keys with them.
    pub fn advance(&self, by: Duration) {
        self.shared.with(|core| core.advance_to(core.now() + by));
    }

    /// Forgets history below a revision.
    pub fn compact(&self, revision: i64) -> std::result::Result<(), Refusal> {
        self.shared.with(|core| core.compact(revision).map(drop))
    }

    /// Ends a lease, as another client would.
    pub fn revoke(&self, lease: i64) -> std::result::Result<(), Refusal> {
        self.shared.with(|core| core.lease_revoke(lease).map(drop))
    }

    /// How many requests of a method have come, refused ones too. Names are those of etcd's API
    /// (`"Range"`, `"Txn"`, `"LeaseKeepAlive"` ...); `"Watch"` counts streams, `"WatchCreate"` watches.
    pub fn count(&self, method: &str) -> u64 {
        self.shared.with_faults(|faults| faults.count(method))
    }

    /// Number of watches that are open now.
    pub fn open_watches(&self) -> usize {
        self.shared.with(|core| core.watch().0.watchers())
    }

    /// Answers the next request of a method with a status instead of carrying it out; several
    /// calls line up.
    pub fn fail_next(&self, method: &str, status: Status) {
        self.shared
            .with_faults(|faults| faults.fail_next(method, status));
    }

    /// Carries the next transaction out, but lets its client know only that the connection broke.
    pub fn drop_reply_of_next_txn(&self) {
        self.shared
            .with_faults(|faults| faults.drop_next_reply("Txn"));
    }

    /// Holds events and progress notices back from all watches until [`Self::release_watch`].
    pub fn hold_watch(&self) {
        self.set_held(true);
    }

    /// Delivers what was held back, and goes on; watches whose past was compacted are cancelled.
    pub fn release_watch(&self) {
        self.set_held(false);
    }

    /// Drops what is held back for good: watches go on without it and tell nobody, as old etcd versions have done.
    pub fn lose_held(&self) {
        self.shared.with(|core| {
            let (streams, history) = core.watch();
            streams.lose(history);
        });
    }

    /// While there is a prefix, requests that would delete a key or range beginning with it are not carried out, not
    /// even in part: they are answered with `PermissionDenied`. All else goes on.
    pub fn refuse_deletions(&self, prefix: Option<&str>) {
        self.shared
            .with_faults(|faults| faults.refuse_deletions(prefix.map(|prefix| prefix.into())));
    }

    fn set_held(&self, held: bool) {
        self.shared.with(|core| {
            let (streams, history) = core.watch();
            streams.hold(held, history);
        });
    }

    /// Breaks every open connection and stream; new ones are welcome.
    pub fn cut_connections(&self) {
        self.shared.cut();
    }

    /// While true, it is as good as gone: connections are broken, new ones are closed at once, and
    /// requests that come in otherwise are answered with `Unavailable`. State and leases live on.
    pub fn refuse(&self, refusing: bool) {
        self.shared.with_faults(|faults| faults.refuse(refusing));
        if refusing {
            self.shared.cut();
        }
    }
}

#[cfg(test)]
mod tests;
