//! Becoming known to the masters, and what they answer.

use std::time::Duration;

use dm_errors::{Code, DmError};
use dm_proto::pb::RegisterWorkerRequest;
use dm_proto::pb::master_client::MasterClient;
use dm_service::client::Channels;
use dm_task::secret::SecretKey;

/// Rounds over all addresses before giving up.
const ROUNDS: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);
const CALL_LIMIT: Duration = Duration::from_secs(3);

/// Registers name and address with the first master that takes them. A cluster that encrypts passwords answers its key.
pub async fn register(
    channels: &Channels,
    addresses: &[String],
    name: &str,
    advertise: &str,
) -> Result<Option<SecretKey>, DmError> {
    let mut last = String::new();
    for round in 0..ROUNDS {
        if round > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        for address in addresses {
            match register_at(channels, address, name, advertise).await {
                Ok(key) => {
                    tracing::info!(master = address, worker = name, "registered");
                    return Ok(key);
                }
                Err(reason) => {
                    tracing::warn!(master = address, reason, round, "not registered");
                    last = reason;
                }
            }
        }
    }
    let all = addresses.join(",");
    Err(DmError::new(
        Code::WORKER_FAIL_CONNECT_MASTER,
        &[&all, &last],
    ))
}

async fn register_at(
    channels: &Channels,
    address: &str,
    name: &str,
    advertise: &str,
) -> Result<Option<SecretKey>, String> {
    let channel = channels.to(address).map_err(|e| e.to_string())?;
    let request = RegisterWorkerRequest {
        name: name.to_owned(),
        address: advertise.to_owned(),
    };
    let mut master = MasterClient::new(channel);
    let answer = tokio::time::timeout(CALL_LIMIT, master.register_worker(request))
        .await
        .map_err(|_| format!("no answer within {CALL_LIMIT:?}"))?
        .map_err(|status| format!("{}: {}", status.code(), status.message()))?
        .into_inner();
    if !answer.result {
        return Err(answer.msg);
    }
    match answer.secret_key.as_slice() {
        [] => Ok(None),
        key => <[u8; 32]>::try_from(key)
            .map(|key| Some(key.into()))
            .map_err(|_| format!("the cluster's key has {} bytes and not 32", key.len())),
    }
}
