//! A stream of what a replica shows: everything at first, then each thing that changes, until the replica no longer leads.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_replica::{Handle, Machine};
use dm_store::Revision;
use futures::Stream;
use futures::stream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Changes that may wait for a slow reader.
const QUEUE: usize = 64;
/// The state is looked at this often at most, however fast it changes.
const PAUSE: Duration = Duration::from_millis(100);

/// One thing out of a machine's state, as clients see it.
pub trait View: Send + 'static {
    /// What makes it the same thing at another revision.
    type Key: Ord + Send;

    /// Its key.
    fn key(&self) -> Self::Key;

    /// Whether a reader who knows `before` is to be told.
    fn is_news_after(&self, before: &Self) -> bool;
}

/// A thing that is new, has changed, or is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Change<V> {
    /// The state's revision when this was seen.
    pub revision: Revision,
    /// The thing as it is, or as it last was.
    pub view: V,
    /// Whether it is there no more.
    pub is_gone: bool,
}

/// Follows what `look` finds. The stream ends with the lead or when the process is `stopping`; nothing is followed once it is dropped.
pub fn changes<M: Machine, V: View + Clone>(
    handle: Handle<M>,
    stopping: CancellationToken,
    look: impl Fn(&M) -> Vec<V> + Clone + Send + Sync + 'static,
) -> impl Stream<Item = Change<V>> + Send + 'static {
    let (queue, changes) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = follow(&handle, look, &queue) => {}
            () = stopping.cancelled() => {}
            () = queue.closed() => {}
        }
    });
    stream::unfold(changes, async |mut changes| {
        changes.recv().await.map(|change| (change, changes))
    })
}

async fn follow<M: Machine, V: View + Clone>(
    handle: &Handle<M>,
    look: impl Fn(&M) -> Vec<V> + Clone + Send + Sync + 'static,
    queue: &mpsc::Sender<Change<V>>,
) {
    let mut status = handle.status();
    let mut seen = BTreeMap::new();
    loop {
        status.mark_unchanged();
        let look = look.clone();
        let Ok((now, revision)) = handle.read(move |m, at| (look(m), at)).await else {
            return;
        };
        for change in differences(&mut seen, now, revision) {
            if queue.send(change).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// What is news since the last look.
fn differences<V: View + Clone>(
    seen: &mut BTreeMap<V::Key, V>,
    now: Vec<V>,
    revision: Revision,
) -> Vec<Change<V>> {
    let change = |view, is_gone| Change {
        revision,
        view,
        is_gone,
    };
    let mut gone = std::mem::take(seen);
    let mut changes = Vec::new();
    for view in now {
        let before = gone.remove(&view.key());
        if before.is_none_or(|before| view.is_news_after(&before)) {
            changes.push(change(view.clone(), false));
        }
        seen.insert(view.key(), view);
    }
    changes.extend(gone.into_values().map(|view| change(view, true)));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Lock {
        id: &'static str,
        phase: u8,
        age: u8,
    }

    impl View for Lock {
        type Key = &'static str;

        fn key(&self) -> &'static str {
            self.id
        }

        fn is_news_after(&self, before: &Self) -> bool {
            self.phase != before.phase
        }
    }

    fn lock(id: &'static str, phase: u8, age: u8) -> Lock {
        Lock { id, phase, age }
    }

    #[test]
    fn new_changed_and_vanished_things_are_told_and_others_are_not() {
        let mut seen = BTreeMap::new();
        let mut look = |now: Vec<Lock>, at| -> Vec<(&str, bool)> {
            let changes = differences(&mut seen, now, Revision(at));
            assert!(changes.iter().all(|change| change.revision == Revision(at)));
            let told = changes.into_iter();
            told.map(|change| (change.view.id, change.is_gone))
                .collect()
        };
        let first = look(vec![lock("a", 0, 0), lock("b", 0, 0)], 1);
        assert_eq!(first, [("a", false), ("b", false)]);
        let second = look(vec![lock("a", 1, 1), lock("b", 0, 1)], 2);
        assert_eq!(second, [("a", false)]);
        assert_eq!(look(vec![lock("b", 0, 2)], 3), [("a", true)]);
        assert!(look(vec![lock("b", 0, 9)], 4).is_empty());
    }
}
