//! Whether a member answers at its address.

use std::io::ErrorKind;
use std::time::Duration;

use dm_proto::election::Health;
use dm_service::client::Channels;
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// One member may take this long to answer; all are asked at once.
const LIMIT: Duration = Duration::from_secs(1);

/// A member's health, and why if it is not well.
pub(crate) async fn probe(channels: &Channels, addr: &str) -> (Health, String) {
    if addr.is_empty() {
        return (Health::Refused, "it is not registered".to_owned());
    }
    match tokio::time::timeout(LIMIT, ask(channels, addr)).await {
        Ok(answer) => answer,
        Err(_) => (Health::TimedOut, format!("no answer within {LIMIT:?}")),
    }
}

async fn ask(channels: &Channels, addr: &str) -> (Health, String) {
    // A channel hides what happened to its connection; a bare connection tells.
    match TcpStream::connect(addr).await {
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
            return (Health::Refused, e.to_string());
        }
        Err(e) => return (Health::TimedOut, e.to_string()),
        Ok(_) => {}
    }
    let channel = match channels.to(addr) {
        Ok(channel) => channel,
        Err(e) => return (Health::NotReady, e.to_string()),
    };
    match HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
    {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => {
            (Health::Serving, String::new())
        }
        Ok(answer) => (Health::NotReady, format!("{:?}", answer.get_ref().status())),
        Err(status) => (Health::NotReady, status.message().to_owned()),
    }
}
