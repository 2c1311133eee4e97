//! Item `meta_position`: asks a source for its binlog as a worker would, from where the task is to begin.

use std::time::Duration;

use dm_errors::{Code, Scope as Side};
use futures::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Sid};
use rand::Rng;

use super::facts::Position;
use super::plan::Candidate;
use crate::database;

/// A source that is silent for so long has not refused.
const PATIENCE: Duration = Duration::from_secs(15);
/// How soon a source says that there is nothing more to send.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Ids that DM gives to replicas of its own.
const SERVER_IDS: std::ops::Range<u32> = 429_496_729..u32::MAX;
/// Servers take no longer names.
const MOST_HOST_NAME: usize = 60;

/// What of the stream shows nothing about the position: it comes before the first event is looked for.
mod preamble {
    pub(super) const FORMAT: u8 = 15;
    pub(super) const PREVIOUS_GTIDS: u8 = 35;
    pub(super) const GTID_LIST: u8 = 163;
    pub(super) const CHECKPOINT: u8 = 161;
    pub(super) const START_ENCRYPTION: u8 = 164;
    pub(super) const HEARTBEAT: u8 = 27;
    pub(super) const FLAG_ARTIFICIAL: u16 = 0x20;
}

/// Tries it. `who` names the source in the answer, `limit` is for connecting.
pub(super) async fn try_position(candidate: &Candidate, who: &str, limit: Duration) -> Position {
    let refused = |why: &str| Position::Refused(format!("{who}: {why}"));
    if !matches!(candidate.flavor.as_str(), "" | "mysql" | "mariadb") {
        let why = format!("{who}: {} is no flavor of a source", candidate.flavor);
        return Position::BadFlavor(why);
    }
    let sids = match sids(candidate) {
        Ok(sids) => sids,
        Err(why) => return Position::BadGtid(format!("{who}: {why}")),
    };
    let mut stream = match tokio::time::timeout(limit, request(candidate, sids)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(Failure::Tls(why))) => return Position::BadTls(format!("{who}: {why}")),
        Ok(Err(Failure::Other(why))) => return refused(&why),
        Err(_) => return refused(&format!("no answer within {limit:?}")),
    };
    match tokio::time::timeout(PATIENCE, first_event(&mut stream)).await {
        Ok(Err(why)) => refused(&why),
        Ok(Ok(())) | Err(_) => Position::Good,
    }
}

/// Why a source sends nothing.
enum Failure {
    Tls(String),
    Other(String),
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Whether the task's GTID set is what replication begins from.
fn by_gtid(candidate: &Candidate) -> Option<&str> {
    let meta = candidate.subtask.meta.as_ref()?;
    let has_set = candidate.enable_gtid && !meta.binlog_gtid.is_empty();
    has_set.then_some(meta.binlog_gtid.as_str())
}

/// The set as MySQL's protocol has it; MariaDB's is only looked at.
fn sids(candidate: &Candidate) -> Result<Vec<Sid<'static>>, String> {
    let Some(set) = by_gtid(candidate) else {
        return Ok(Vec::new());
    };
    let parts = set.split(',').map(str::trim).filter(|p| !p.is_empty());
    if candidate.flavor == "mariadb" {
        for part in parts {
            let numbers: Vec<&str> = part.split('-').collect();
            let is_gtid = numbers.len() == 3 && numbers.iter().all(|n| n.parse::<u64>().is_ok());
            if !is_gtid {
                return Err(format!("{part:?} is no GTID of MariaDB"));
            }
        }
        return Ok(Vec::new());
    }
    parts
        .map(|part| part.parse::<Sid<'static>>().map_err(|e| e.to_string()))
        .collect()
}

async fn request(candidate: &Candidate, sids: Vec<Sid<'static>>) -> Result<BinlogStream, Failure> {
    let config = &candidate.subtask.from;
    let mut conn = database::connect(config, Side::Upstream)
        .await
        .map_err(|error| match error.code() {
            Code::CTL_LOAD_TLS_CFG => Failure::Tls(error.raw_cause().to_owned()),
            _ => Failure::Other(error.raw_cause().to_owned()),
        })?;
    let heartbeat = HEARTBEAT.as_nanos();
    // The capability makes MariaDB send its own events as they are.
    let mut session = format!(
        "SET @mariadb_slave_capability = 4, @master_heartbeat_period = {heartbeat}, @source_heartbeat_period = {heartbeat}, \
         @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'"
    );
    let set = by_gtid(candidate);
    let is_mariadb = candidate.flavor == "mariadb";
    if let (true, Some(set)) = (is_mariadb, set) {
        // Only digits, dashes, commas and blanks by now.
        session += &format!(", @slave_connect_state = '{set}', @slave_gtid_strict_mode = 1");
    }
    conn.query_drop(session).await?;
    let meta = candidate.subtask.meta.clone().unwrap_or_default();
    let server_id = rand::rng().random_range(SERVER_IDS);
    let host: String = format!("dm-checker-{}", config.host);
    let host: String = host.chars().take(MOST_HOST_NAME).collect();
    let request = BinlogStreamRequest::new(server_id).with_hostname(host.as_bytes());
    let request = match set {
        Some(_) if is_mariadb => request.with_pos(4),
        Some(_) => request.with_gtid().with_gtid_set(sids),
        None => request
            .with_filename(meta.binlog_name.as_bytes())
            .with_pos(u64::from(meta.binlog_pos.max(4))),
    };
    Ok(conn.get_binlog_stream(request).await?)
}

/// Waits until the source sends something from the position, or says that there is nothing yet.
async fn first_event(stream: &mut BinlogStream) -> Result<(), String> {
    use preamble::{
        CHECKPOINT, FLAG_ARTIFICIAL, FORMAT, GTID_LIST, HEARTBEAT, PREVIOUS_GTIDS, START_ENCRYPTION,
    };
    loop {
        let event = match stream.next().await {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the source has ended the connection".to_owned()),
        };
        let header = event.header();
        let kind = header.event_type_raw();
        let is_preamble = [
            FORMAT,
            PREVIOUS_GTIDS,
            GTID_LIST,
            CHECKPOINT,
            START_ENCRYPTION,
        ]
        .contains(&kind)
            || header.flags_raw() & FLAG_ARTIFICIAL != 0
            || header.log_pos() == 0;
        if kind == HEARTBEAT || !is_preamble {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_task::SubtaskConfig;
    use dm_task::subtask::Meta;

    use super::*;

    fn candidate(flavor: &str, set: &str) -> Candidate {
        Candidate {
            subtask: SubtaskConfig {
                meta: Some(Meta {
                    binlog_gtid: set.into(),
                    ..Meta::default()
                }),
                ..SubtaskConfig::default()
            },
            flavor: flavor.into(),
            enable_gtid: true,
            uses_relay: false,
        }
    }

    #[tokio::test]
    async fn a_bad_flavor_and_bad_certificates_are_found_without_asking_anybody() {
        let tried = try_position(&candidate("oracle", ""), "s1", PATIENCE).await;
        let Position::BadFlavor(text) = tried else {
            panic!("{tried:?}");
        };
        assert_eq!(text, "s1: oracle is no flavor of a source");
        let mut secured = candidate("mysql", "");
        secured.subtask.from.security = Some(dm_task::db::Security {
            ssl_ca_base64: "***".into(),
            ..Default::default()
        });
        let tried = try_position(&secured, "s1", PATIENCE).await;
        let Position::BadTls(text) = tried else {
            panic!("{tried:?}");
        };
        assert!(text.starts_with("s1: ssl-ca: no base64"), "{text}");
    }

    #[test]
    fn sets_of_both_flavors_are_read() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let set = format!("{uuid}:1-5, {uuid}:7");
        assert_eq!(sids(&candidate("mysql", &set)).unwrap().len(), 2);
        assert!(
            sids(&candidate("mariadb", "0-1-23,1-2-3"))
                .unwrap()
                .is_empty()
        );
        for (flavor, bad) in [
            ("mysql", "0-1-23"),
            ("mariadb", "0-1"),
            ("mariadb", "0-1-'"),
        ] {
            assert!(sids(&candidate(flavor, bad)).is_err(), "{bad}");
        }
    }
}
