//! Who serves which source, as the bounds in etcd say. What an event costs here does not depend on the number of sources, so that it
//! is not taken for a cost of the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::{Bound, BoundKey, SourceId, WorkerName};
use dm_store::{Event, FeedItem, KeyValue, Revision};

use crate::{Error, Result};

/// Both ways round.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    by_worker: BTreeMap<WorkerName, SourceId>,
    by_source: BTreeMap<SourceId, BTreeSet<WorkerName>>,
}

impl Bounds {
    /// How many workers are bound.
    pub(super) fn len(&self) -> usize {
        self.by_worker.len()
    }

    /// All that are bound, by name.
    pub(super) fn workers(&self) -> Vec<WorkerName> {
        self.by_worker.keys().cloned().collect()
    }

    /// A worker that is bound, and its source; the same number gives the same one as long as nothing changes.
    pub(super) fn any(&self, number: usize) -> Result<(WorkerName, SourceId)> {
        let place = number % self.by_worker.len().max(1);
        let found = self.by_worker.iter().nth(place);
        found
            .map(|(worker, source)| (worker.clone(), source.clone()))
            .ok_or_else(|| Error::Wrong("nothing is bound".to_owned()))
    }

    /// Whether the source is bound, and not to this worker.
    pub(super) fn is_served_by_another(&self, source: &SourceId, worker: &WorkerName) -> bool {
        let workers = self.by_source.get(source);
        workers.is_some_and(|workers| !workers.is_empty() && !workers.contains(worker))
    }

    /// Takes changes in. After them a source has one worker at most.
    pub(super) fn fold(&mut self, item: FeedItem) -> Result<()> {
        let events = match item {
            FeedItem::Reset(snapshot) => {
                *self = Self::default();
                snapshot.entries.into_iter().map(Event::Put).collect()
            }
            FeedItem::Batch(batch) => batch.events,
        };
        let mut changed = BTreeSet::new();
        for event in events {
            let key = BoundKey::parse(event.key())
                .map_err(|e| Error::Wrong(format!("the key of a bound: {e}")))?;
            let now = match &event {
                Event::Put(kv) => Some(source_in(kv)?),
                Event::Delete { .. } => None,
            };
            changed.extend(now.clone());
            self.set(key.worker, now);
        }
        let serve = |source: &SourceId| self.by_source.get(source).map_or(0, BTreeSet::len);
        match changed.into_iter().find(|source| serve(source) > 1) {
            None => Ok(()),
            Some(source) => Err(Error::Wrong(format!("{source} is bound to two workers"))),
        }
    }

    fn set(&mut self, worker: WorkerName, source: Option<SourceId>) {
        let before = match source.clone() {
            Some(source) => self.by_worker.insert(worker.clone(), source),
            None => self.by_worker.remove(&worker),
        };
        if let Some(workers) = before.and_then(|source| self.by_source.get_mut(&source)) {
            workers.remove(&worker);
        }
        if let Some(source) = source {
            self.by_source.entry(source).or_default().insert(worker);
        }
    }
}

/// The workers whose bounds were put later than a revision, by what the feed has brought.
pub(super) fn put_after(revision: Revision, item: &FeedItem) -> Vec<WorkerName> {
    let put = |kv: &KeyValue| {
        let key = BoundKey::parse(&kv.key).ok();
        key.filter(|_| kv.mod_revision > revision)
            .map(|key| key.worker)
    };
    match item {
        FeedItem::Reset(snapshot) => snapshot.entries.iter().filter_map(put).collect(),
        FeedItem::Batch(batch) => {
            let puts = batch.events.iter().filter_map(|event| match event {
                Event::Put(kv) => put(kv),
                Event::Delete { .. } => None,
            });
            puts.collect()
        }
    }
}

fn source_in(kv: &KeyValue) -> Result<SourceId> {
    let bound = Bound::from_bytes(&kv.value);
    bound
        .map(|bound| bound.source)
        .map_err(|e| Error::Wrong(format!("a bound: {e}")))
}

#[cfg(test)]
mod tests {
    use dm_keyspace::LeaseId;
    use dm_store::Batch;

    use super::*;

    fn put(worker: &str, source: &str) -> Event {
        let bound = Bound::new(source, worker);
        let key = BoundKey {
            worker: worker.into(),
        };
        Event::Put(KeyValue {
            key: key.encode().into(),
            value: bound.to_bytes().into(),
            create_revision: Revision(1),
            mod_revision: Revision(1),
            version: 1,
            lease: LeaseId(0),
        })
    }

    fn delete(worker: &str) -> Event {
        let key = BoundKey {
            worker: worker.into(),
        };
        Event::Delete {
            key: key.encode().into(),
            revision: Revision(2),
        }
    }

    fn batch(events: Vec<Event>) -> FeedItem {
        let revision = Revision(2);
        FeedItem::Batch(Batch { revision, events })
    }

    #[test]
    fn a_source_that_moves_in_one_transaction_is_served_by_another() {
        let mut bounds = Bounds::default();
        bounds.fold(batch(vec![put("w1", "s1")])).unwrap();
        let (s1, w1) = ("s1".into(), "w1".into());
        assert!(!bounds.is_served_by_another(&s1, &w1));
        bounds
            .fold(batch(vec![put("w2", "s1"), delete("w1")]))
            .unwrap();
        assert!(bounds.is_served_by_another(&s1, &w1));
        assert_eq!(bounds.any(7).unwrap(), ("w2".into(), s1));
        assert_eq!(bounds.workers(), ["w2".into()]);
    }

    #[test]
    fn whose_bounds_are_put_is_told() {
        let item = batch(vec![put("w2", "s1"), delete("w1"), put("w3", "s1")]);
        assert_eq!(put_after(Revision(0), &item), ["w2".into(), "w3".into()]);
        assert!(put_after(Revision(1), &item).is_empty());
    }

    #[test]
    fn a_source_with_two_workers_is_a_wrong_answer() {
        let mut bounds = Bounds::default();
        let refused = bounds.fold(batch(vec![put("w1", "s1"), put("w2", "s1")]));
        assert!(matches!(refused, Err(Error::Wrong(_))));
    }
}
