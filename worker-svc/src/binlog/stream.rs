//! The log as it comes from the server: events with the places where they begin and end.
//!
//! Reading goes by file and offset. A task of its own reads ahead up to a bound, so that decoding and applying do not wait for each other. When what was read
//! ahead is not taken for long (a shard DDL waits for the other sources), the server gives the connection up; the reader then opens another one where the last
//! group of events began, and passes over what it has handed on already.

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
/// A stream that breaks is opened again after this time, and after as much more with each further failure,
const PAUSE: Duration = Duration::from_millis(500);
/// but not more often than this without a new event: then something is wrong that the subtask has to show.
const MAX_FAILURES: u32 = 5;
/// The server does not have the log that was asked for, or cannot read it.
const NO_SUCH_LOG: u16 = 1236;
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

/// Reads until the receiver is gone, over as many connections as it takes.
async fn read(
    config: &DbConfig,
    host_name: &str,
    from: Position,
    sender: &mpsc::Sender<Result<Located>>,
) -> Result<()> {
    let mut journey = Journey::new(from);
    let mut failures = 0;
    loop {
        let before = journey.delivered.clone();
        let Err(error) = follow(config, host_name, &mut journey, sender).await else {
            return Ok(());
        };
        if journey.delivered != before {
            failures = 0;
        }
        failures += 1;
        if !may_reopen(&error) || failures > MAX_FAILURES {
            return Err(error);
        }
        tracing::warn!(error = %error.to_dm(), from = %journey.border, "binlog stream lost, reading on");
        tokio::select! {
            () = tokio::time::sleep(PAUSE * failures) => {}
            () = sender.closed() => return Ok(()),
        }
    }
}

/// How far the reader is, so that it can go on over a new connection.
#[derive(Debug)]
struct Journey {
    /// The start of the group of events that is being read: the server is asked to begin there, since row events mean nothing without what comes before them.
    border: Position,
    /// Everything before was handed on.
    delivered: Position,
}

impl Journey {
    fn new(from: Position) -> Self {
        Self {
            border: from.clone(),
            delivered: from,
        }
    }

    /// Notes an event. Answers whether it is a new one.
    fn meet(&mut self, located: &Located) -> bool {
        let begins = matches!(located.event, Event::MariaGtid { .. } | Event::Gtid);
        if begins && located.start > self.border {
            self.border = located.start.clone();
        }
        if matches!(located.event, Event::Rotate { .. }) && located.end > self.border {
            self.border = located.end.clone();
        }
        if matches!(located.event, Event::Heartbeat) {
            return located.end >= self.delivered;
        }
        if located.end <= self.delivered {
            return false;
        }
        self.delivered = located.end.clone();
        true
    }
}

/// Whether a new connection may help.
fn may_reopen(error: &Error) -> bool {
    let is_database = matches!(error, Error::Database { .. });
    is_database && error.server_code() != Some(NO_SUCH_LOG)
}

/// Reads over one connection. An answer without error means that nobody listens any more.
async fn follow(
    config: &DbConfig,
    host_name: &str,
    journey: &mut Journey,
    sender: &mpsc::Sender<Result<Located>>,
) -> Result<()> {
    let mut place = journey.border.clone();
    let mut stream = request(config, host_name, &place).await?;
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
        if journey.meet(&located) && sender.send(Ok(located)).await.is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn located(start: u64, end: u64, event: Event) -> Located {
        Located {
            start: Position::new("b.000001", start),
            end: Position::new("b.000001", end),
            timestamp: 0,
            server_id: 1,
            event,
        }
    }

    #[test]
    fn a_group_that_is_read_again_is_handed_on_from_where_it_broke_off() {
        let group = [
            located(4, 10, Event::Gtid),
            located(10, 20, Event::Other),
            located(20, 30, Event::Xid),
        ];
        let mut journey = Journey::new(Position::new("b.000001", 4));
        assert!(group[..2].iter().all(|event| journey.meet(event)));
        assert_eq!(journey.border.pos, 4);
        let again: Vec<bool> = group.iter().map(|event| journey.meet(event)).collect();
        assert_eq!(again, [false, false, true]);
        assert!(journey.meet(&located(30, 40, Event::Gtid)));
        assert_eq!(journey.border.pos, 30);
        // A sign of life has no length, and none is due while old events come again.
        assert!(journey.meet(&located(40, 40, Event::Heartbeat)));
        assert!(!journey.meet(&located(30, 30, Event::Heartbeat)));
    }

    #[test]
    fn only_what_a_new_connection_may_help_is_tried_again() {
        assert!(may_reopen(&ended()));
        let server = |code| {
            let error = mysql_async::ServerError {
                code,
                message: String::new(),
                state: "HY000".to_owned(),
            };
            upstream("read")(mysql_async::Error::Server(error))
        };
        assert!(may_reopen(&server(1927)));
        assert!(!may_reopen(&server(NO_SUCH_LOG)));
    }
}
