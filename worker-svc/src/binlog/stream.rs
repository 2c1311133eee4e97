//! The log as it comes from the server: events with the places where they begin and end.
//!
//! Reading goes by file and offset. A task of its own reads ahead up to a bound, so that decoding and applying do not wait for each other.

use std::time::Duration;

use dm_task::DbConfig;
use futures::StreamExt;
use mysql_async::binlog::BinlogChecksumAlg;
use mysql_async::binlog::events::Event as RawEvent;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::event::{self, Event};
use super::position::Position;
use super::reader::DecodeError;
use crate::downstream::connection;
use crate::error::{Error, Result, upstream};

/// Events read ahead.
const AHEAD: usize = 1024;
/// The server is asked to give a sign of life this often,
const HEARTBEAT: Duration = Duration::from_secs(10);
/// and counts as gone after this time without one.
const SILENCE: Duration = Duration::from_secs(40);
/// Replication ids are taken at random from here, as DM does it.
const SERVER_IDS: std::ops::Range<u32> = 429_496_729..429_596_729;
/// The event was made up by the server for the reader and is not in the file.
const FLAG_ARTIFICIAL: u16 = 0x20;

/// An event and where it is.
#[derive(Clone, Debug)]
pub struct Located {
    /// Where the event begins: the end of the one before.
    pub start: Position,
    /// Where the next one begins.
    pub end: Position,
    /// Seconds since 1970 by the server that wrote it.
    pub timestamp: u32,
    /// Server that wrote it.
    pub server_id: u32,
    /// What it says.
    pub event: Event,
}

/// Reads on until it is dropped.
#[derive(Debug)]
pub struct LogReader {
    events: mpsc::Receiver<Result<Located>>,
    task: JoinHandle<()>,
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LogReader {
    /// Starts to read at a place that is the end of a transaction.
    pub fn open(config: DbConfig, host_name: String, from: Position) -> Self {
        let (sender, events) = mpsc::channel(AHEAD);
        let task = tokio::spawn(async move {
            if let Err(error) = read(&config, &host_name, from, &sender).await {
                // The receiver may be gone, and the error with it.
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { events, task }
    }

    /// The next event; waits for it.
    pub async fn next(&mut self) -> Result<Located> {
        self.events.recv().await.unwrap_or_else(|| Err(ended()))
    }

    /// Whether the next event is not there yet.
    pub fn is_drained(&self) -> bool {
        self.events.is_empty()
    }
}

/// The server closed the stream, or the reading task broke down.
fn ended() -> Error {
    let error = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the binlog stream ended");
    upstream("read the binlog")(error.into())
}

async fn read(
    config: &DbConfig,
    host_name: &str,
    from: Position,
    sender: &mpsc::Sender<Result<Located>>,
) -> Result<()> {
    let mut stream = request(config, host_name, &from).await?;
    let mut place = from;
    loop {
        let next = tokio::time::timeout(SILENCE, stream.next()).await;
        let raw = match next {
            Err(_) => {
                let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "no heartbeat");
                return Err(upstream("read the binlog")(error.into()));
            }
            Ok(None) => return Err(ended()),
            Ok(Some(raw)) => raw.map_err(upstream("read the binlog"))?,
        };
        let Some(located) = locate(&raw, &mut place)? else {
            continue;
        };
        if sender.send(Ok(located)).await.is_err() {
            return Ok(());
        }
    }
}

async fn request(config: &DbConfig, host_name: &str, from: &Position) -> Result<BinlogStream> {
    let what = || upstream("request the binlog");
    let mut conn = connection::reader(config).await.map_err(what())?;
    let heartbeat = HEARTBEAT.as_nanos();
    // Without the capability MariaDB rewrites its own events into others.
    conn.query_drop(format!(
        "SET @mariadb_slave_capability = 4, @master_heartbeat_period = {heartbeat}"
    ))
    .await
    .map_err(what())?;
    let server_id = StdRng::from_os_rng().random_range(SERVER_IDS);
    let host: String = host_name.chars().take(60).collect();
    let request = BinlogStreamRequest::new(server_id)
        .with_filename(from.file.as_bytes())
        .with_pos(from.pos.max(4))
        .with_hostname(host.as_bytes());
    conn.get_binlog_stream(request).await.map_err(what())
}

/// Decodes an event and moves `place` to its end. Nothing for events that stand nowhere in the file.
fn locate(raw: &RawEvent, place: &mut Position) -> Result<Option<Located>> {
    let header = raw.header();
    let broken = |source: DecodeError| Error::Event {
        at: place.clone(),
        source,
    };
    verify(raw).map_err(broken)?;
    let flags = header.flags_raw();
    let event = event::decode(header.event_type_raw(), flags, raw.data()).map_err(broken)?;
    let artificial = flags & FLAG_ARTIFICIAL != 0 || header.log_pos() == 0;
    let end = match &event {
        Event::Rotate { file, pos } if artificial => {
            // The first one repeats the name that was asked for, with checksum bytes behind it. Another name: the server went on in a new file without closing the old one.
            if place.is_zero() || !file.starts_with(&place.file) {
                Position::new(file.as_str(), *pos)
            } else {
                return Ok(None);
            }
        }
        Event::Rotate { file, pos } => Position::new(file.as_str(), *pos),
        _ if artificial => return Ok(None),
        Event::Heartbeat => place.clone(),
        _ => Position::new(place.file.as_str(), u64::from(header.log_pos())),
    };
    let start = std::mem::replace(place, end.clone());
    Ok(Some(Located {
        start,
        end,
        timestamp: header.timestamp(),
        server_id: header.server_id(),
        event,
    }))
}

fn verify(raw: &RawEvent) -> std::result::Result<(), DecodeError> {
    let Some(stored) = raw.checksum() else {
        return Ok(());
    };
    let computed = raw.calc_checksum(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32);
    if u32::from_le_bytes(stored) == computed {
        Ok(())
    } else {
        Err(DecodeError::Mismatch("checksum differs".to_owned()))
    }
}
