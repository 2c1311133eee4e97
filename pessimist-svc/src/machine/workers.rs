//! Who serves which source, and who of them is alive: so that a lock can tell that the one it waits for cannot answer.

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::{Bound, BoundKey, KeepAliveKey, SourceId, WorkerName};
use dm_store::Event;

/// Bounds and signs of life. What does not decode is left to those who write it.
#[derive(Clone, Debug, Default)]
pub(super) struct Workers {
    bounds: BTreeMap<WorkerName, SourceId>,
    serving: BTreeMap<SourceId, WorkerName>,
    alive: BTreeSet<WorkerName>,
}

impl Workers {
    /// The worker of a source and whether it is online; none when no worker serves it.
    pub(super) fn of(&self, source: &SourceId) -> Option<(&WorkerName, bool)> {
        let worker = self.serving.get(source)?;
        Some((worker, self.alive.contains(worker)))
    }

    /// Takes an event in. Answers the sources for which it may matter.
    pub(super) fn fold(&mut self, event: &Event) -> Vec<SourceId> {
        let value = match event {
            Event::Put(kv) => Some(&kv.value),
            Event::Delete { .. } => None,
        };
        if let Ok(KeepAliveKey { worker }) = KeepAliveKey::parse(event.key()) {
            let source = self.bounds.get(&worker).cloned();
            match value {
                Some(_) => self.alive.insert(worker),
                None => self.alive.remove(&worker),
            };
            return source.into_iter().collect();
        }
        let Ok(BoundKey { worker }) = BoundKey::parse(event.key()) else {
            return Vec::new();
        };
        let mut concerned = Vec::new();
        if let Some(source) = self.bounds.remove(&worker) {
            if self.serving.get(&source) == Some(&worker) {
                self.serving.remove(&source);
            }
            concerned.push(source);
        }
        if let Some(bound) = value.and_then(|value| Bound::from_bytes(value).ok()) {
            self.serving.insert(bound.source.clone(), worker.clone());
            self.bounds.insert(worker, bound.source.clone());
            concerned.push(bound.source);
        }
        concerned
    }
}
