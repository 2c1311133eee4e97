//! The connection below everything: one channel over several endpoints, of which only those that answer are used.
//!
//! A balanced channel alone hands every n-th call to an endpoint that is down, and a member of etcd that is cut off from the
//! others accepts connections and answers nothing. So each endpoint is asked for a read that takes a quorum, on a connection
//! of its own; those that do not answer leave the balance until they do. When none answers, all stay in it: then calls say
//! what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, KvClient};
use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::channel::Change;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::connect::{Options, TlsContent, TlsFiles};
use crate::error::Error;

/// etcd punishes clients that ping more often than every five seconds.
const PING_INTERVAL: Duration = Duration::from_secs(6);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between two looks at all endpoints.
const ROUND: Duration = Duration::from_secs(1);
/// How long an endpoint may take to answer.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// The cluster's own list is read every so many rounds.
const LIST_EVERY: u32 = 3;
/// Changes of the balance under way.
const CHANGES: usize = 16;

/// Addresses, each with a scheme.
type Addresses = BTreeSet<String>;

/// The channel and the task that looks after it; the task ends with the last clone.
#[derive(Clone)]
pub(crate) struct Endpoints {
    channel: Channel,
    in_use: watch::Receiver<Addresses>,
    _tending: Option<Arc<DropGuard>>,
}

impl Endpoints {
    /// Opens nothing yet: the first call does.
    pub(crate) async fn open(options: &Options) -> Result<Self, Error> {
        let maker = Maker::new(options)?;
        let configured = options.endpoints.iter().map(|addr| maker.address(addr));
        let choice = Choice::new(configured.collect());
        if choice.open.is_empty() {
            return Err(Error::Settings("no etcd endpoint is given".to_owned()));
        }
        let (channel, balance) = Channel::balance_channel(CHANGES);
        for address in &choice.open {
            let insert = Change::Insert(address.clone(), maker.endpoint(address)?);
            // The channel, which holds the other end, is in this function's hands.
            let _ = balance.send(insert).await;
        }
        let (tell, in_use) = watch::channel(choice.open.clone());
        let needs_tending = choice.open.len() > 1 || options.follow_members;
        let tending = needs_tending.then(|| {
            let stop = CancellationToken::new();
            let tender = Tender {
                maker,
                choice,
                probes: BTreeMap::new(),
                balance,
                cluster: options.follow_members.then(|| channel.clone()),
                tell,
            };
            tokio::spawn(stop.clone().run_until_cancelled_owned(tender.run()));
            Arc::new(stop.drop_guard())
        });
        Ok(Self {
            channel,
            in_use,
            _tending: tending,
        })
    }

    /// A channel that somebody else has made.
    pub(crate) fn of(channel: Channel) -> Self {
        Self {
            channel,
            in_use: watch::channel(Addresses::new()).1,
            _tending: None,
        }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn in_use(&self) -> watch::Receiver<Addresses> {
        self.in_use.clone()
    }
}

/// A client over a channel. Members without a leader refuse its calls, and end its watches, instead of keeping silent.
#[expect(
    clippy::disallowed_methods,
    reason = "this crate is where the raw client is allowed"
)]
pub(crate) async fn client(channel: Channel) -> Result<Client, Error> {
    let options = ConnectOptions::new().with_require_leader(true);
    let channel = etcd_client::Channel::Tonic(channel);
    Client::from_channel(channel, Some(options))
        .await
        .map_err(|e| Error::from_client("connect", e))
}

/// Makes endpoints out of addresses.
struct Maker {
    tls: Option<ClientTlsConfig>,
}

impl Maker {
    fn new(options: &Options) -> Result<Self, Error> {
        let tls = match (&options.tls, &options.tls_content) {
            (Some(files), _) => Some(tls_config(files)?),
            (None, content) => content.as_ref().map(tls_of_content),
        };
        Ok(Self { tls })
    }

    /// The scheme follows from the TLS settings, whatever an address says.
    fn address(&self, address: &str) -> String {
        let bare = address
            .strip_prefix("http://")
            .or_else(|| address.strip_prefix("https://"))
            .unwrap_or(address)
            .trim_end_matches('/');
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{bare}")
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, Error> {
        let bad = |e: tonic::transport::Error| {
            Error::Settings(format!("{address} is no address of an etcd: {e}"))
        };
        let endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(bad)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        match &self.tls {
            Some(tls) => endpoint.tls_config(tls.clone()).map_err(bad),
            None => Ok(endpoint),
        }
    }
}

fn tls_config(files: &TlsFiles) -> Result<ClientTlsConfig, Error> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path)
            .map_err(|e| Error::Settings(format!("read TLS file {}: {e}", path.display())))
    };
    Ok(ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&files.ca)?))
        .identity(Identity::from_pem(read(&files.cert)?, read(&files.key)?)))
}

fn tls_of_content(content: &TlsContent) -> ClientTlsConfig {
    let tls = match &content.ca {
        Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
        None => ClientTlsConfig::new().with_enabled_roots(),
    };
    match &content.identity {
        Some((cert, key)) => tls.identity(Identity::from_pem(cert, key)),
        None => tls,
    }
}

/// Which endpoints there are, and which of them are used.
#[derive(Debug, Default)]
struct Choice {
    configured: Addresses,
    listed: Addresses,
    silent: Addresses,
    open: Addresses,
}

impl Choice {
    fn new(configured: Addresses) -> Self {
        Self {
            open: configured.clone(),
            configured,
            ..Self::default()
        }
    }

    fn candidates(&self) -> Addresses {
        &self.configured | &self.listed
    }

    /// The cluster's own list replaces what it listed before. An empty one tells nothing.
    fn list(&mut self, listed: Addresses) {
        if !listed.is_empty() {
            self.listed = listed;
        }
    }

    fn judge(&mut self, address: &str, answers: bool) {
        let has_changed = if answers {
            self.silent.remove(address)
        } else {
            self.silent.insert(address.to_owned())
        };
        match (has_changed, answers) {
            (true, true) => tracing::info!(endpoint = address, "etcd answers again"),
            (true, false) => tracing::warn!(endpoint = address, "etcd does not answer"),
            (false, _) => {}
        }
    }

    /// What comes into the balance, and what leaves it.
    fn changes(&mut self) -> (Addresses, Addresses) {
        let candidates = self.candidates();
        self.silent.retain(|address| candidates.contains(address));
        let answering = &candidates - &self.silent;
        let wanted = if answering.is_empty() {
            candidates
        } else {
            answering
        };
        let changes = (&wanted - &self.open, &self.open - &wanted);
        self.open = wanted;
        changes
    }
}

/// Looks after one balance.
struct Tender {
    maker: Maker,
    choice: Choice,
    probes: BTreeMap<String, KvClient>,
    balance: mpsc::Sender<Change<String, Endpoint>>,
    /// Where the cluster's list is read, if it is.
    cluster: Option<Channel>,
    tell: watch::Sender<Addresses>,
}

impl Tender {
    async fn run(mut self) {
        for round in (0..LIST_EVERY).cycle() {
            if round == 0 {
                self.list().await;
            }
            self.probe().await;
            if self.balance_anew().await.is_err() {
                return;
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    async fn list(&mut self) {
        let Some(channel) = self.cluster.clone() else {
            return;
        };
        let list = async { client(channel).await.ok()?.member_list().await.ok() };
        if let Ok(Some(list)) = tokio::time::timeout(PROBE_LIMIT, list).await {
            let urls = list.members().iter().flat_map(|m| m.client_urls());
            self.choice
                .list(urls.map(|url| self.maker.address(url)).collect());
        }
    }

    async fn probe(&mut self) {
        let candidates = self.choice.candidates();
        self.probes
            .retain(|address, _| candidates.contains(address));
        for address in &candidates {
            if self.probes.contains_key(address) {
                continue;
            }
            let Ok(endpoint) = self.maker.endpoint(address) else {
                continue;
            };
            if let Ok(client) = client(endpoint.connect_lazy()).await {
                self.probes.insert(address.clone(), client.kv_client());
            }
        }
        let asked = candidates.iter().map(async |address| {
            let Some(mut kv) = self.probes.get(address).cloned() else {
                return (address, false);
            };
            // The key that etcd's own tools ask for; whether it exists does not matter.
            let answer = tokio::time::timeout(PROBE_LIMIT, kv.get("health", None)).await;
            (address, matches!(answer, Ok(Ok(_))))
        });
        for (address, answers) in join_all(asked).await {
            self.choice.judge(address, answers);
        }
    }

    /// An error when the channel is gone.
    async fn balance_anew(&mut self) -> Result<(), ()> {
        let (new, gone) = self.choice.changes();
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        for address in new {
            let Ok(endpoint) = self.maker.endpoint(&address) else {
                continue;
            };
            let insert = Change::Insert(address, endpoint);
            self.balance.send(insert).await.map_err(drop)?;
        }
        for address in gone {
            let remove = Change::Remove(address);
            self.balance.send(remove).await.map_err(drop)?;
        }
        self.tell.send_replace(self.choice.open.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(addresses: &[&str]) -> Addresses {
        addresses.iter().map(|&a| a.to_owned()).collect()
    }

    #[test]
    fn who_does_not_answer_leaves_until_it_does() {
        let mut choice = Choice::new(set(&["a", "b"]));
        choice.judge("a", false);
        choice.judge("b", true);
        assert_eq!(choice.changes(), (set(&[]), set(&["a"])));
        assert_eq!(choice.changes(), (set(&[]), set(&[])));
        choice.judge("a", true);
        assert_eq!(choice.changes(), (set(&["a"]), set(&[])));
    }

    #[test]
    fn when_none_answers_all_stay() {
        let mut choice = Choice::new(set(&["a", "b"]));
        choice.judge("a", false);
        assert_eq!(choice.changes(), (set(&[]), set(&["a"])));
        choice.judge("b", false);
        assert_eq!(choice.changes(), (set(&["a"]), set(&[])));
    }

    #[test]
    fn who_is_listed_joins_and_who_is_listed_no_more_leaves_but_for_the_configured() {
        let mut choice = Choice::new(set(&["a"]));
        choice.list(set(&["b", "c"]));
        assert_eq!(choice.changes(), (set(&["b", "c"]), set(&[])));
        choice.judge("b", false);
        choice.list(set(&["c"]));
        assert_eq!(choice.changes(), (set(&[]), set(&["b"])));
        assert!(
            choice.silent.is_empty(),
            "nothing is remembered of who is gone"
        );
        choice.list(set(&[]));
        assert_eq!(choice.changes(), (set(&[]), set(&[])));
    }

    #[test]
    fn an_address_has_the_scheme_of_the_connection() {
        let maker = Maker { tls: None };
        for address in ["h:1", "http://h:1", "https://h:1/"] {
            assert_eq!(maker.address(address), "http://h:1");
        }
    }
}
