//! A lock as a reader of `WatchLocks` gets it: at first, when it changes, and when it is gone.

use dm_keyspace::TaskName;
use dm_proto::optimist::WatchLocksResponse;
use dm_service::replicated::{Change, View};

use super::encode;
use crate::machine::LockView;

impl View for LockView {
    type Key = (TaskName, String);

    fn key(&self) -> Self::Key {
        (self.task.clone(), self.id.clone())
    }

    /// Age alone is no news.
    fn is_news_after(&self, before: &Self) -> bool {
        let before = Self {
            age: self.age,
            ..before.clone()
        };
        *self != before
    }
}

pub(super) fn message(change: &Change<LockView>) -> WatchLocksResponse {
    let lock = &change.view;
    WatchLocksResponse {
        revision: change.revision.0,
        locks: encode::rows(lock, &[]),
        detail: Some(encode::detail(lock)),
        gone: change.is_gone,
    }
}
