//! A stream of the locks: the present ones, then each that changes, until the replica no longer leads.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_keyspace::TaskName;
use dm_proto::optimist::WatchLocksResponse;
use dm_replica::Handle;
use dm_store::Revision;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::encode;
use crate::machine::{LockView, Optimist};

/// Messages that may wait for a slow reader.
const QUEUE: usize = 64;
/// The locks are looked at this often at most, however fast they change.
const PAUSE: Duration = Duration::from_millis(100);

type Seen = BTreeMap<(TaskName, String), LockView>;

/// Starts the stream. Its task ends with the reader, the lead, or the process.
pub(super) fn locks(
    handle: Handle<Optimist>,
    task: String,
    stopping: CancellationToken,
) -> ReceiverStream<Result<WatchLocksResponse, Status>> {
    let (changes, stream) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = follow(&handle, &task, &changes) => {}
            () = stopping.cancelled() => {}
            () = changes.closed() => {}
        }
    });
    ReceiverStream::new(stream)
}

async fn follow(
    handle: &Handle<Optimist>,
    task: &str,
    changes: &mpsc::Sender<Result<WatchLocksResponse, Status>>,
) {
    let mut status = handle.status();
    let mut seen = Seen::new();
    loop {
        status.mark_unchanged();
        let wanted = task.to_owned();
        let Ok((now, at)) = handle.read(move |m, at| (m.locks(&wanted, &[]), at)).await else {
            return;
        };
        for change in differences(&mut seen, now, at) {
            if changes.send(Ok(change)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// What has changed since the last look; age alone is no change.
fn differences(seen: &mut Seen, now: Vec<LockView>, at: Revision) -> Vec<WatchLocksResponse> {
    let message = |lock: &LockView, gone| WatchLocksResponse {
        revision: at.0,
        lock: encode::rows(lock, &[]).into_iter().next(),
        detail: Some(encode::detail(lock)),
        gone,
    };
    let mut gone = std::mem::take(seen);
    let mut changes = Vec::new();
    for lock in now {
        let key = (lock.task.clone(), lock.id.clone());
        let before = gone.remove(&key);
        if before.is_none_or(|before| {
            LockView {
                age: lock.age,
                ..before
            } != lock
        }) {
            changes.push(message(&lock, false));
        }
        seen.insert(key, lock);
    }
    changes.extend(gone.values().map(|lock| message(lock, true)));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Phase;

    fn lock(id: &str, phase: Phase, age: u64) -> LockView {
        LockView {
            id: id.to_owned(),
            task: "t1".into(),
            synced: Vec::new(),
            unsynced: Vec::new(),
            undone: Vec::new(),
            owners: Vec::new(),
            phase,
            tables: Vec::new(),
            reasons: Vec::new(),
            joined: None,
            dropped_columns: Vec::new(),
            trace: None,
            age: Duration::from_secs(age),
        }
    }

    fn ids(changes: &[WatchLocksResponse]) -> Vec<(&str, bool)> {
        changes
            .iter()
            .map(|change| {
                (
                    change.lock.as_ref().map_or("", |lock| lock.id.as_str()),
                    change.gone,
                )
            })
            .collect()
    }

    #[test]
    fn new_changed_and_vanished_locks_are_told_and_others_are_not() {
        let mut seen = Seen::new();
        let first = differences(
            &mut seen,
            vec![lock("a", Phase::Diverged, 0), lock("b", Phase::Diverged, 0)],
            Revision(1),
        );
        assert_eq!(ids(&first), [("a", false), ("b", false)]);
        let second = differences(
            &mut seen,
            vec![lock("a", Phase::Synced, 1), lock("b", Phase::Diverged, 1)],
            Revision(2),
        );
        assert_eq!(ids(&second), [("a", false)]);
        let third = differences(&mut seen, vec![lock("b", Phase::Diverged, 2)], Revision(3));
        assert_eq!(ids(&third), [("a", true)]);
        assert!(
            differences(&mut seen, vec![lock("b", Phase::Diverged, 9)], Revision(4)).is_empty()
        );
    }
}
