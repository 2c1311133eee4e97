//! Records that no service of ours reads but that workers do: looked at here, so that a broken one is named by somebody.

use std::collections::BTreeMap;

use bytes::Bytes;
use dm_keyspace::{Key, Lightning, TaskCliArgs, TaskTemplate};
use dm_store::KeyValue;

use super::Fault;

/// The broken ones, by key.
#[derive(Debug, Default)]
pub(super) struct Unread(BTreeMap<Bytes, String>);

impl Unread {
    pub(super) fn put(&mut self, key: &Key, kv: &KeyValue) {
        let read = match key {
            Key::TaskCliArgs(_) => TaskCliArgs::from_bytes(&kv.value).map(drop),
            Key::Lightning(_) => Lightning::from_bytes(&kv.value).map(drop),
            Key::TaskTemplate(_) => TaskTemplate::from_bytes(&kv.value).map(drop),
            _ => return,
        };
        match read {
            Ok(()) => self.0.remove(&kv.key),
            Err(e) => self.0.insert(kv.key.clone(), e.to_string()),
        };
    }

    pub(super) fn delete(&mut self, key: &Bytes) {
        self.0.remove(key);
    }

    pub(super) fn faults(&self) -> impl Iterator<Item = Fault> {
        self.0.iter().map(|(key, reason)| Fault {
            key: String::from_utf8_lossy(key).into_owned(),
            reason: reason.clone(),
        })
    }
}
