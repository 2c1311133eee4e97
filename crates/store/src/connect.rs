//! The connection: endpoints, TLS, keep-alive and a deadline on every call.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use etcd_client::{KvClient, LeaseClient, WatchClient};
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::endpoints::{self, Endpoints};
use crate::error::Error;

/// A connection that has broken hands its error to whoever asks next; what may be repeated is, so many times in all.
pub(crate) const TRIES: u32 = 3;
/// Pause between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// PEM files of one TLS client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that signed the servers' certificates.
    pub ca: PathBuf,
    /// Our certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The same as content; where there is no identity the client shows none.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsContent {
    /// The authority that signed the servers' certificates; none for those that everybody knows.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its private key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for TlsContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsContent").finish_non_exhaustive()
    }
}

/// How to reach etcd, and the limits of one call.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses, each `host:port` or with a scheme.
    pub endpoints: Vec<String>,
    /// TLS files; none for plain text.
    pub tls: Option<TlsFiles>,
    /// TLS material that lies in no files; used when there are no files.
    pub tls_content: Option<TlsContent>,
    /// Deadline of every single call.
    pub call_timeout: Duration,
    /// Operations that one transaction may hold; a stock etcd takes 128.
    pub max_txn_ops: usize,
    /// Keys read at a time by a snapshot.
    pub page: i64,
    /// A watch that brought nothing for this long is opened again.
    pub quiet_watch: Duration,
    /// Whether the endpoints are joined by those that the cluster lists itself, as it lists them.
    pub follow_members: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            tls: None,
            tls_content: None,
            call_timeout: Duration::from_secs(5),
            max_txn_ops: 128,
            page: 1_000,
            quiet_watch: Duration::from_secs(60),
            follow_members: false,
        }
    }
}

/// A connection to etcd; cheap to clone, all clones share it.
///
/// Making one does not wait for etcd: calls do, each up to its deadline.
#[derive(Clone)]
pub struct Store {
    pub(crate) kv: KvClient,
    pub(crate) lease: LeaseClient,
    pub(crate) watch: WatchClient,
    pub(crate) options: Options,
    endpoints: Endpoints,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("endpoints", &self.options.endpoints)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Prepares the connection.
    ///
    /// # Errors
    /// [`Error::Settings`] for an unusable address or TLS file; never because etcd is down.
    pub async fn connect(options: &Options) -> Result<Self, Error> {
        Self::with_endpoints(Endpoints::open(options).await?, options).await
    }

    /// A store over a channel of the caller's own: another transport, a layer of one's own. `options` say nothing of endpoints and TLS then.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub async fn over(channel: Channel, options: &Options) -> Result<Self, Error> {
        Self::with_endpoints(Endpoints::of(channel), options).await
    }

    async fn with_endpoints(endpoints: Endpoints, options: &Options) -> Result<Self, Error> {
        let client = endpoints::client(endpoints.channel()).await?;
        Ok(Self {
            // Snapshots and batches may be larger than gRPC's default of 4 MiB.
            kv: client.kv_client().max_decoding_message_size(usize::MAX),
            watch: client.watch_client().max_decoding_message_size(usize::MAX),
            lease: client.lease_client(),
            options: options.clone(),
            endpoints,
        })
    }

    /// The settings this connection was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The connection itself, for what is passed on untouched.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.endpoints.channel()
    }

    /// The endpoints that calls go to, as they change: of several, those that answer.
    #[must_use]
    pub fn endpoints(&self) -> watch::Receiver<BTreeSet<String>> {
        self.endpoints.in_use()
    }

    /// Runs one call of the client under the deadline.
    pub(crate) async fn call<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Error> {
        let limit = self.options.call_timeout;
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|e| Error::from_client(name, e)),
            Err(_) => Err(Error::Timeout { call: name, limit }),
        }
    }
}
