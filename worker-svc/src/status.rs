//! The figures of a running unit, as QueryStatus shows them. Units write, the API reads; neither waits for the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::binlog::position::{Location, Position};

/// Which part of a subtask is at work.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unit {
    /// None yet.
    #[default]
    None,
    /// Full load.
    Load,
    /// Replication.
    Sync,
}

/// An open shard DDL of one target.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OpenGroup {
    /// The downstream table.
    pub target: String,
    /// Statements of the first open DDL.
    pub ddls: Vec<String>,
    /// Where that was met first.
    pub first: String,
    /// Tables that have met it.
    pub synced: Vec<String>,
    /// Tables that have not.
    pub unsynced: Vec<String>,
}

/// Everything that is counted.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Part at work.
    pub unit: Unit,
    /// Tables to load, and those loaded.
    pub tables: (u64, u64),
    /// Bytes to load by the server's estimate, and bytes written.
    pub bytes: (u64, u64),
    /// Rows loaded.
    pub loaded_rows: u64,
    /// The load's snapshot.
    pub snapshot: Location,
    /// Where replication has come to, durably.
    pub applied: Location,
    /// Rows replicated.
    pub rows: u64,
    /// Rows replicated, noted every few seconds for a recent rate: when and how many, before and now.
    pub rate: Option<((Instant, u64), (Instant, u64))>,
    /// When replication started here.
    pub started: Option<Instant>,
    /// Time of the last event, in seconds since 1970.
    pub last_event: u32,
    /// Statements that wait for the other sources.
    pub blocking: Vec<String>,
    /// The lock that was answered and is not done with.
    pub lock: String,
    /// A conflict that this source waits to be resolved: the table in question and what is wrong.
    pub conflict: Option<(String, String)>,
    /// Open shard DDLs.
    pub groups: Vec<OpenGroup>,
    /// Where the event begins that the last run has failed at, and whether it is a statement.
    pub failed: Option<(Position, bool)>,
    /// Tables whose rows nothing tells apart.
    pub keyless: Vec<String>,
}

/// Shared by a unit and its readers.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Figures>>);

/// A recent rate spans at least this time.
const RATE_SPAN: std::time::Duration = std::time::Duration::from_secs(5);

impl Board {
    /// Changes the figures. The closure must be quick.
    pub fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.lock());
    }

    /// A copy of the figures.
    pub fn read(&self) -> Figures {
        self.lock().clone()
    }

    /// A reader never leaves the figures half changed, so a poisoned lock holds good ones.
    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    /// Counts replicated rows.
    pub fn count_rows(&mut self, rows: u64) {
        self.rows += rows;
        let now = (Instant::now(), self.rows);
        self.rate = match self.rate {
            None => Some((now, now)),
            Some((_, middle)) if now.0.duration_since(middle.0) >= RATE_SPAN => Some((middle, now)),
            kept => kept,
        };
    }

    /// Rows per second since the start, and recently.
    pub fn rates(&self) -> (i64, i64) {
        let per_second = |rows: u64, since: Instant| {
            let seconds = since.elapsed().as_secs().max(1);
            i64::try_from(rows / seconds).unwrap_or(i64::MAX)
        };
        let total = self.started.map_or(0, |s| per_second(self.rows, s));
        let recent = self.rate.map_or(0, |((since, before), _)| {
            per_second(self.rows - before, since)
        });
        (total, recent)
    }
}
