//! The locks as a reader of `WatchLocks` gets them: at first, when one changes, and when it is gone. Only tasks whose locks
//! have changed are looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_keyspace::TaskName;
use dm_proto::pessimist::WatchLocksResponse;
use dm_replica::Handle;
use dm_store::Revision;
use futures::Stream;
use futures::stream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::encode;
use crate::machine::{LockView, Pessimist, Seen, TaskLocks};

/// Changes that may wait for a slow reader.
const QUEUE: usize = 64;
/// The state is looked at this often at most, however fast it changes.
const PAUSE: Duration = Duration::from_millis(100);

/// Follows the locks of one task, or of all when it is empty. The stream ends with the lead, or when the process is `stopping`.
pub(super) fn follow(
    handle: Handle<Pessimist>,
    stopping: CancellationToken,
    task: String,
) -> impl Stream<Item = WatchLocksResponse> + Send + 'static {
    let (queue, changes) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = send_changes(&handle, &task, &queue) => {}
            () = stopping.cancelled() => {}
            () = queue.closed() => {}
        }
    });
    stream::unfold(changes, async |mut changes| {
        changes.recv().await.map(|change| (change, changes))
    })
}

async fn send_changes(
    handle: &Handle<Pessimist>,
    task: &str,
    queue: &mpsc::Sender<WatchLocksResponse>,
) {
    let mut status = handle.status();
    let mut known = Known::default();
    loop {
        status.mark_unchanged();
        let (seen, task) = (known.seen.clone(), task.to_owned());
        let look = move |m: &Pessimist, at: Revision| (m.news(&seen, &task), at);
        let Ok((news, revision)) = handle.read(look).await else {
            return;
        };
        for change in news.into_iter().flat_map(|news| known.take(news)) {
            if queue.send(message(revision, &change)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// A lock that is new, has changed, or is gone.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    lock: LockView,
    is_gone: bool,
}

/// What a reader has been told.
#[derive(Default)]
struct Known {
    seen: Seen,
    locks: BTreeMap<TaskName, BTreeMap<String, LockView>>,
}

impl Known {
    /// What is news in the locks of a task.
    fn take(&mut self, news: TaskLocks) -> Vec<Change> {
        let mut gone = self.locks.remove(&news.task).unwrap_or_default();
        let mut present = BTreeMap::new();
        let mut changes = Vec::new();
        for lock in news.locks {
            let before = gone.remove(&lock.id);
            if before.is_none_or(|before| is_news(&lock, before)) {
                let lock = lock.clone();
                changes.push(Change {
                    lock,
                    is_gone: false,
                });
            }
            present.insert(lock.id.clone(), lock);
        }
        let gone = gone.into_values();
        changes.extend(gone.map(|lock| Change {
            lock,
            is_gone: true,
        }));
        match news.changes {
            Some(number) => self.seen.insert(news.task.clone(), number),
            None => self.seen.remove(&news.task),
        };
        if !present.is_empty() {
            self.locks.insert(news.task, present);
        }
        changes
    }
}

/// Age alone is no news.
fn is_news(lock: &LockView, before: LockView) -> bool {
    let age = lock.age;
    *lock != LockView { age, ..before }
}

fn message(revision: Revision, change: &Change) -> WatchLocksResponse {
    WatchLocksResponse {
        revision: revision.0,
        lock: Some(encode::lock(&change.lock)),
        detail: Some(encode::detail(&change.lock)),
        gone: change.is_gone,
    }
}
