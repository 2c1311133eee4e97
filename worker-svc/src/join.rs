//! Becoming known to the masters, and what they answer.

use std::time::Duration;

use dm_proto::pb::RegisterWorkerRequest;
use dm_proto::pb::master_client::MasterClient;
use dm_service::client::Channels;
use dm_task::secret::SecretKey;

/// Before the second round over all addresses; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const CALL_LIMIT: Duration = Duration::from_secs(3);

/// Registers name and address with the first master that takes them, however long that takes; `waiting` hears, after each round, why none
/// has. A cluster that encrypts passwords answers its key.
pub async fn register(
    channels: &Channels,
    addresses: &[String],
    name: &str,
    advertise: &str,
    waiting: impl Fn(String),
) -> Option<SecretKey> {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut last = String::new();
        for address in addresses {
            match register_at(channels, address, name, advertise).await {
                Ok(key) => {
                    tracing::info!(master = address, worker = name, "registered");
                    return key;
                }
                Err(reason) => {
                    tracing::debug!(master = address, reason, "not registered");
                    last = format!("{address}: {reason}");
                }
            }
        }
        waiting(format!("no master has taken the registration: {last}"));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn masters_that_are_away_are_waited_for_and_named() {
        let limit = Duration::from_secs(1);
        let channels = Channels::new(None, limit, limit);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let rounds = Mutex::new(Vec::new());
        let (enough, is_enough) = tokio::sync::watch::channel(0);
        let joining = register(
            &channels,
            std::slice::from_ref(&address),
            "w",
            "w:1",
            |why| {
                let mut rounds = rounds.lock().unwrap();
                rounds.push(why);
                enough.send_replace(rounds.len());
            },
        );
        let mut is_enough = is_enough;
        tokio::select! {
            _ = joining => panic!("nobody is there"),
            enough = is_enough.wait_for(|rounds| *rounds == 3) => drop(enough.unwrap()),
        }
        let rounds = rounds.into_inner().unwrap();
        assert!(
            rounds.iter().all(|why| why.contains(&address)),
            "{rounds:?}"
        );
    }
}
