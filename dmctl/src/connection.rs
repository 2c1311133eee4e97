//! Which master is talked to: the first of the list that can be connected, looked for again when it goes away.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dm_errors::{Code as DmCode, DmError};
use dm_proto::election::election_client::ElectionClient;
use dm_proto::pb::master_client::MasterClient;
use dm_service::layers::trace_out::TraceOut;
use dm_store::{Options, Store};
use tonic::transport::{ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::error::Error;
use crate::settings::invalid_tls;

const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
const ETCD_TIMEOUT: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE: Duration = Duration::from_secs(10);
/// DM raises its limit to the size that an error names; without pages, the answer has to come as a whole anyway.
pub(crate) const LARGEST_ANSWER: usize = i32::MAX as usize;

/// An open connection whose calls carry the trace context.
pub type Channel = TraceOut<tonic::transport::Channel>;

/// The masters in the order in which they are tried. Debug shows no key.
#[derive(Clone)]
pub struct Targets {
    as_given: String,
    addresses: Vec<String>,
    tls: Option<ClientTlsConfig>,
}

impl std::fmt::Debug for Targets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Targets")
            .field("addresses", &self.addresses)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

impl Targets {
    /// Reads a list such as `10.0.0.1:8261,http://10.0.0.2:8261`.
    ///
    /// # Errors
    /// When an item is not host:port; the error says which.
    pub fn new(list: &str, tls: Option<ClientTlsConfig>) -> Result<Self, Error> {
        let addresses = list
            .split(',')
            .map(|item| bare(item).map(str::to_owned))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            as_given: list.to_owned(),
            addresses,
            tls,
        })
    }

    async fn dial(&self) -> Result<Dialled, Error> {
        let mut last = String::new();
        for address in &self.addresses {
            match self.dial_one(address).await? {
                Ok(channel) => {
                    let address = address.clone();
                    return Ok(Dialled { channel, address });
                }
                Err(reason) => last = format!("{address}: {reason}"),
            }
        }
        let text = format!("can't connect to {}", self.as_given);
        let error = DmError::new(DmCode::CTL_GRPC_CREATE_CONN, &[]);
        Err(error.message(text).cause(last).into())
    }

    /// The outer error ends the search, the inner one makes it go on.
    async fn dial_one(
        &self,
        address: &str,
    ) -> Result<Result<tonic::transport::Channel, String>, Error> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|error| not_an_address(address, &error))?
            .connect_timeout(DIAL_TIMEOUT)
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .tcp_nodelay(true);
        if let Some(tls) = &self.tls {
            let configured = endpoint.tls_config(tls.clone());
            endpoint = configured.map_err(|error| invalid_tls(chain(&error)))?;
        }
        Ok(
            match tokio::time::timeout(DIAL_TIMEOUT, endpoint.connect()).await {
                Ok(Ok(channel)) => Ok(channel),
                Ok(Err(error)) => Err(chain(&error)),
                Err(_) => Err(format!("no connection within {}s", DIAL_TIMEOUT.as_secs())),
            },
        )
    }
}

/// An address without its scheme.
fn bare(item: &str) -> Result<&str, Error> {
    let address = item.strip_prefix("http://");
    let address = address.or_else(|| item.strip_prefix("https://"));
    let address = address.unwrap_or(item);
    let (host, port) = address
        .rsplit_once(':')
        .ok_or_else(|| not_an_address(item, &"missing port in address"))?;
    if host.is_empty() {
        return Err(not_an_address(item, &"missing host in address"));
    }
    if port.parse::<u16>().is_err() {
        return Err(not_an_address(item, &"the port is no number up to 65535"));
    }
    Ok(address)
}

fn not_an_address(item: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Other(format!(
        "specify master addr {item}: {why}, expected host:port such as 127.0.0.1:8261"
    ))
}

/// An error with its causes; tonic's own text says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A connection with the address that it was opened to.
#[derive(Clone, Debug)]
struct Dialled {
    channel: tonic::transport::Channel,
    address: String,
}

impl Dialled {
    fn traced(self) -> Channel {
        TraceOut::new(self.channel, self.address)
    }
}

/// A connection to one master at a time.
#[derive(Debug)]
pub struct Connection {
    targets: Targets,
    current: Mutex<Dialled>,
}

impl Connection {
    /// Connects to the first master that can be reached.
    ///
    /// # Errors
    /// Code 48001 when there is none, 48002 when the TLS files do not fit.
    pub async fn open(targets: Targets) -> Result<Self, Error> {
        let current = Mutex::new(targets.dial().await?);
        Ok(Self { targets, current })
    }

    /// Sends `message` with `call`. When the master is gone, the list is gone through again, and the call is sent
    /// once more.
    ///
    /// # Errors
    /// What the call answered the last time, or that nobody can be reached any more.
    pub async fn call<M, A, F>(
        &self,
        message: M,
        limit: Option<Duration>,
        call: impl Fn(Channel, Request<M>) -> F,
    ) -> Result<A, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let request = |message| {
            let mut request = Request::new(message);
            if let Some(limit) = limit {
                request.set_timeout(limit);
            }
            request
        };
        match call(self.current().traced(), request(message.clone())).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) if !is_gone(&status) => return Err(Box::new(status).into()),
            Err(status) => tracing::warn!(%status, "looking for a master again"),
        }
        let dialled = self.targets.dial().await?;
        *self.lock() = dialled.clone();
        let again = call(dialled.traced(), request(message)).await;
        again
            .map(Response::into_inner)
            .map_err(|status| Box::new(status).into())
    }

    /// The etcd that the master passes requests on to, or is.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub(crate) async fn etcd(&self) -> Result<Store, dm_store::Error> {
        let options = Options {
            call_timeout: ETCD_TIMEOUT,
            ..Options::default()
        };
        Store::over(self.current().channel, &options).await
    }

    fn current(&self) -> Dialled {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Dialled> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Besides the code that says so, a connection that broke under the call: the transport reports it as Unknown.
fn is_gone(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted => true,
        Code::Unknown => status.source().is_some(),
        _ => false,
    }
}

/// A client of `pb.Master` on a connection.
pub fn master(channel: Channel) -> MasterClient<Channel> {
    MasterClient::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}

/// A client of the native leadership API on a connection.
pub fn election(channel: Channel) -> ElectionClient<Channel> {
    ElectionClient::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_of_the_list_may_have_a_scheme() {
        let targets = Targets::new("a:1,http://b:2,https://[::1]:3", None).unwrap();
        assert_eq!(targets.addresses, ["a:1", "b:2", "[::1]:3"]);
        assert_eq!(targets.as_given, "a:1,http://b:2,https://[::1]:3");
    }

    #[test]
    fn an_item_that_is_no_address_is_named() {
        for (list, item) in [
            ("a:1,b", "b"),
            ("a:1,", ""),
            (":8261", ":8261"),
            ("a:x", "a:x"),
        ] {
            let error = Targets::new(list, None).unwrap_err().to_string();
            let start = format!("specify master addr {item}: ");
            assert!(error.starts_with(&start), "{error}");
            assert!(error.ends_with("expected host:port such as 127.0.0.1:8261"));
        }
    }
}
