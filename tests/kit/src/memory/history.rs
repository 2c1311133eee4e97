//! Every key at every revision since the last compaction, and the events in order.
//!
//! One revision is one transaction; a key changes at most once in it. The store begins at
//! revision 1 with nothing in it, as etcd's does.

use std::collections::BTreeMap;

use dm_proto::mvccpb::event::EventType;
use dm_proto::mvccpb::{Event, KeyValue};

use super::refusal::Refusal;
use super::span::Span;

/// A key's state from one revision on; `None` once it is deleted.
#[derive(Clone, Debug)]
struct Version {
    revision: i64,
    record: Option<KeyValue>,
}

/// One change with the record before it, which watches may ask for.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) event: Event,
    previous: Option<KeyValue>,
}

/// The multi-version store.
#[derive(Debug)]
pub(crate) struct History {
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
    log: BTreeMap<i64, Vec<Change>>,
    revision: i64,
    compacted: i64,
}

impl History {
    pub(crate) fn new() -> Self {
        // etcd says 'compacted' only of what somebody compacted: before that, revision 0 is fine.
        Self {
            keys: BTreeMap::new(),
            log: BTreeMap::new(),
            revision: 1,
            compacted: -1,
        }
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// The oldest revision that can be read; -1 as long as nothing was compacted.
    pub(crate) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Says whether a read at `revision` can be answered; 0 and less mean the newest.
    pub(crate) fn check_readable(&self, revision: i64) -> Result<(), Refusal> {
        match revision {
            at if at > self.revision => Err(Refusal::FutureRevision),
            at if at > 0 && at < self.compacted => Err(Refusal::Compacted),
            _ => Ok(()),
        }
    }

    /// The records of a range as they were at a revision; [`i64::MAX`] includes an unfinished one.
    pub(crate) fn at<'a>(
        &'a self,
        span: &Span,
        revision: i64,
    ) -> impl Iterator<Item = &'a KeyValue> {
        span.of(&self.keys).filter_map(move |(_, versions)| {
            versions
                .iter()
                .rev()
                .find(|version| version.revision <= revision)?
                .record
                .as_ref()
        })
    }

    /// The present record of one key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(key)?.last()?.record.as_ref()
    }

    /// Writes a key at the revision after the newest, and gives back what was there before.
    pub(crate) fn put(&mut self, key: &[u8], value: Vec<u8>, lease: i64) -> Option<KeyValue> {
        let revision = self.revision + 1;
        let previous = self.get(key).cloned();
        let record = KeyValue {
            key: key.to_vec(),
            create_revision: previous
                .as_ref()
                .map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: previous.as_ref().map_or(1, |old| old.version + 1),
            value,
            lease,
        };
        self.change(
            EventType::Put,
            record.clone(),
            Some(record),
            previous.clone(),
        );
        previous
    }

    /// Deletes a range at the revision after the newest, and gives back what was there before.
    pub(crate) fn delete(&mut self, span: &Span) -> Vec<KeyValue> {
        let gone: Vec<KeyValue> = self.at(span, i64::MAX).cloned().collect();
        for record in &gone {
            let mark = KeyValue {
                key: record.key.clone(),
                mod_revision: self.revision + 1,
                ..KeyValue::default()
            };
            self.change(EventType::Delete, mark, None, Some(record.clone()));
        }
        gone
    }

    fn change(
        &mut self,
        kind: EventType,
        kv: KeyValue,
        record: Option<KeyValue>,
        previous: Option<KeyValue>,
    ) {
        let revision = self.revision + 1;
        self.keys
            .entry(kv.key.clone())
            .or_default()
            .push(Version { revision, record });
        let event = Event {
            r#type: kind.into(),
            kv: Some(kv),
            prev_kv: None,
        };
        self.log
            .entry(revision)
            .or_default()
            .push(Change { event, previous });
    }

    /// Whether something was written since the last [`Self::seal`].
    pub(crate) fn is_dirty(&self) -> bool {
        self.log.contains_key(&(self.revision + 1))
    }

    /// Ends the revision being written, if there is one; gives back the newest.
    pub(crate) fn seal(&mut self) -> i64 {
        if self.is_dirty() {
            self.revision += 1;
        }
        self.revision
    }

    /// Forgets what only reads below `revision` could see.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Refusal> {
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = revision;
        self.log = self.log.split_off(&revision);
        self.keys.retain(|_, versions| {
            let kept = versions
                .iter()
                .rposition(|version| version.revision <= revision);
            versions.drain(..kept.unwrap_or_default());
            versions.len() > 1
                || versions
                    .iter()
                    .any(|version| version.record.is_some() || version.revision > revision)
        });
        Ok(())
    }

    /// The sealed changes from a revision on, grouped by revision.
    pub(crate) fn since(&self, revision: i64) -> impl Iterator<Item = (i64, &Vec<Change>)> {
        let last = self.revision;
        self.log
            .range(revision..)
            .map(|(at, changes)| (*at, changes))
            .take_while(move |(at, _)| *at <= last)
    }

    /// The record before a change, unless compaction has taken it.
    pub(crate) fn previous_of(&self, revision: i64, change: &Change) -> Option<KeyValue> {
        if revision > self.compacted {
            change.previous.clone()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Span {
        Span::new(b"a", b"\0")
    }

    fn values(history: &History, revision: i64) -> Vec<&[u8]> {
        history
            .at(&all(), revision)
            .map(|kv| kv.value.as_slice())
            .collect()
    }

    fn sample() -> History {
        let mut history = History::new();
        for value in [b"1", b"2", b"3"] {
            history.put(b"k", value.to_vec(), 0);
            history.seal();
        }
        history.delete(&all());
        history.seal();
        history
    }

    #[test]
    fn each_revision_shows_what_was_there_then() {
        let history = sample();
        assert_eq!(history.revision(), 5);
        assert_eq!(values(&history, 1), Vec::<&[u8]>::new());
        assert_eq!(values(&history, 3), [b"2"]);
        assert_eq!(values(&history, 5), Vec::<&[u8]>::new());
    }

    #[test]
    fn a_deletion_of_nothing_makes_no_revision() {
        let mut history = sample();
        history.delete(&all());
        assert_eq!(history.seal(), 5);
    }

    #[test]
    fn a_key_starts_anew_after_a_deletion() {
        let mut history = sample();
        history.put(b"k", b"4".to_vec(), 0);
        history.seal();
        let kv = history.get(b"k").unwrap();
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (6, 6, 1));
    }

    #[test]
    fn compaction_keeps_what_later_reads_need() {
        let mut history = sample();
        history.compact(4).unwrap();
        assert_eq!(values(&history, 4), [b"3"]);
        assert_eq!(history.check_readable(3), Err(Refusal::Compacted));
        assert_eq!(history.compact(4), Err(Refusal::Compacted));
        assert_eq!(history.compact(6), Err(Refusal::FutureRevision));
        assert_eq!(
            history.since(0).map(|(at, _)| at).collect::<Vec<_>>(),
            [4, 5]
        );
        history.compact(5).unwrap();
        assert!(history.keys.is_empty());
    }
}
