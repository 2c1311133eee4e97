//! Keys of the layout before version 3, and moving them to where they belong now.
//!
//! DM's own upgrade does it in one transaction, which etcd refuses when there are many keys. Here each key
//! moves by itself, under a guard that does not overwrite a newer record, and the cluster's version is
//! raised when none is left.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dm_keyspace::{Key, RelayStageKey, SourceConfigKey};
use dm_replica::Proposal;
use dm_store::{Guard, KeyRange, KeyValue, Revision};

const SUBJECT: &str = "v1 key ";

/// What is left of the old layout, and which of the new keys exist.
#[derive(Debug, Default)]
pub(super) struct OldKeys {
    old: BTreeMap<String, Old>,
    present: BTreeSet<String>,
}

#[derive(Debug)]
struct Old {
    new_key: String,
    value: Bytes,
    seen: Revision,
}

/// The subjects that belong to old keys.
pub(super) fn subjects(touched: &[String]) -> Vec<String> {
    touched
        .iter()
        .map(|key| format!("{SUBJECT}{key}"))
        .collect()
}

impl OldKeys {
    pub(super) fn is_empty(&self) -> bool {
        self.old.is_empty()
    }

    /// Folds a put; answers which old keys it concerns.
    pub(super) fn put(&mut self, key: &Key, kv: &KeyValue) -> Vec<String> {
        let text = String::from_utf8_lossy(&kv.key).into_owned();
        if let Some(new_key) = new_place(key) {
            let old = Old {
                new_key,
                value: kv.value.clone(),
                seen: kv.mod_revision,
            };
            self.old.insert(text.clone(), old);
            return vec![text];
        }
        if is_new_place(key) && self.present.insert(text.clone()) {
            self.moving_to(&text)
        } else {
            Vec::new()
        }
    }

    /// Folds a deletion; answers which old keys it concerns.
    pub(super) fn delete(&mut self, key: &Key, raw: &Bytes) -> Vec<String> {
        let text = String::from_utf8_lossy(raw).into_owned();
        if self.old.remove(&text).is_some() {
            return vec![text];
        }
        if is_new_place(key) && self.present.remove(&text) {
            self.moving_to(&text)
        } else {
            Vec::new()
        }
    }

    fn moving_to(&self, new_key: &str) -> Vec<String> {
        self.old
            .iter()
            .filter(|(_, old)| old.new_key == new_key)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The move of one old key, if it is still there.
    pub(super) fn due_move(&self, subject: &str) -> Option<Proposal> {
        let key = subject.strip_prefix(SUBJECT)?;
        let old = self.old.get(key)?;
        let moved = Proposal::new("move_v1_key")
            .guard(Guard::ModRevision(Bytes::from(key.to_owned()), old.seen))
            .delete(KeyRange::key(key));
        if self.present.contains(&old.new_key) {
            return Some(moved);
        }
        Some(
            moved
                .guard(Guard::Missing(old.new_key.clone().into()))
                .put(old.new_key.clone(), old.value.to_vec()),
        )
    }
}

fn new_place(key: &Key) -> Option<String> {
    match key {
        Key::SourceConfigV1(old) => Some(
            SourceConfigKey {
                source: old.source.clone(),
            }
            .encode(),
        ),
        Key::RelayStageV1(old) => Some(
            RelayStageKey {
                source: old.source.clone(),
            }
            .encode(),
        ),
        _ => None,
    }
}

fn is_new_place(key: &Key) -> bool {
    matches!(key, Key::SourceConfig(_) | Key::RelayStage(_))
}
