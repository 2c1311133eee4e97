//! The values that travel between etcd and the folds: keys with their revisions, events, batches, snapshots, ranges.

use std::fmt;

use bytes::Bytes;
use dm_keyspace::LeaseId;

/// A revision of the whole store; etcd raises it by one with each transaction that writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

impl Revision {
    /// The revision before everything; as a create-revision it means "no such key".
    pub const ZERO: Self = Self(0);

    /// The revision right after this one, from which a watch continues.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key with its value and its history, as of some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key's bytes.
    pub key: Bytes,
    /// The value's bytes.
    pub value: Bytes,
    /// Revision at which the key came into being; changes when a key is deleted and put again.
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// Number of puts since the key came into being.
    pub version: i64,
    /// The lease that the key hangs on; 0 if none.
    pub lease: LeaseId,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key has this value now.
    Put(KeyValue),
    /// The key is gone: deleted, or its lease ended.
    Delete {
        /// The key's bytes.
        key: Bytes,
        /// Revision of the deletion.
        revision: Revision,
    },
}

impl Event {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(kv) => kv.mod_revision,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// Changes in etcd's order. Holds whole revisions only: what one transaction wrote is never torn apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Revision of the last event: what a fold has applied after it.
    pub revision: Revision,
    /// The events, ascending by revision.
    pub events: Vec<Event>,
}

/// Everything in a range at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision at which all entries were read.
    pub revision: Revision,
    /// The entries, ascending by key.
    pub entries: Vec<KeyValue>,
}

/// A half-open range of keys `[start, end)`; a single key when there is no end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Exactly one key.
    #[must_use]
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self {
            start: key.into(),
            end: None,
        }
    }

    /// All keys that begin with `prefix`. An empty prefix, or one of 0xff bytes only, is everything after it.
    #[must_use]
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let start: Vec<u8> = prefix.into();
        let mut end = start.clone();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return Self {
                    start,
                    end: Some(end),
                };
            }
        }
        Self {
            start,
            end: Some(vec![0]),
        }
    }

    /// From `start` up to and without `end`.
    #[must_use]
    pub fn between(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self {
            start: start.into(),
            end: Some(end.into()),
        }
    }

    /// `/dm-` .. `/dm.`: all that the cluster knows (`/dm-cluster/`, `/dm-master/`, `/dm-worker/`).
    #[must_use]
    pub fn dm() -> Self {
        Self::between("/dm-", "/dm.")
    }

    /// The first key.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The key before which the range ends; none for a single key.
    #[must_use]
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Whether the range covers `key`.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self.end() {
            None => key == self.start,
            Some([0]) => key >= self.start.as_slice(),
            Some(end) => key >= self.start.as_slice() && key < end,
        }
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.start))?;
        match &self.end {
            None => Ok(()),
            Some(end) => write!(f, "..{}", String::from_utf8_lossy(end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends_before_the_next_sibling() {
        let range = KeyRange::prefix("/a/");
        assert!(range.contains(b"/a/") && range.contains(b"/a/\xff"));
        assert!(!range.contains(b"/a0") && !range.contains(b"/a"));
    }

    #[test]
    fn prefix_of_high_bytes_has_no_end() {
        assert!(KeyRange::prefix([0xff, 0xff]).contains(b"\xff\xff\x01"));
        assert!(KeyRange::prefix("").contains(b"anything"));
    }

    #[test]
    fn dm_range_covers_its_three_roots_and_nothing_beside() {
        for key in ["/dm-cluster/id", "/dm-master/x", "/dm-worker/r/1"] {
            assert!(KeyRange::dm().contains(key.as_bytes()), "{key}");
        }
        assert!(!KeyRange::dm().contains(b"/dm.") && !KeyRange::dm().contains(b"/dm"));
    }
}
