//! What the feed needs of etcd, so that each of its transitions can be tested without one.

use std::future::Future;

use etcd_client::{EventType, WatchOptions, WatchStream};

use crate::connect::Store;
use crate::error::Error;
use crate::snapshot::from_client;
use crate::types::{Batch, Event, KeyRange, Revision, Snapshot};

/// A place to list and watch.
pub(super) trait Port: Send {
    /// An open watch.
    type Watch: Watch;
    /// Reads the range.
    fn list(&self, range: &KeyRange) -> impl Future<Output = Result<Snapshot, Error>> + Send;
    /// Opens a watch that yields events from `from` on.
    fn open(
        &self,
        range: &KeyRange,
        from: Revision,
    ) -> impl Future<Output = Result<Self::Watch, Error>> + Send;
}

/// An open watch; `message` may be dropped while it waits.
pub(super) trait Watch: Send {
    /// The next message.
    fn message(&mut self) -> impl Future<Output = Message> + Send;
}

/// What a watch can say.
#[derive(Debug)]
pub(super) enum Message {
    /// Changes, whole revisions.
    Events(Batch),
    /// A sign of life without content.
    Alive,
    /// The start lies before what etcd still keeps.
    Compacted,
    /// The watch has ended for another reason.
    Broken(String),
}

impl Port for Store {
    type Watch = WatchStream;

    async fn list(&self, range: &KeyRange) -> Result<Snapshot, Error> {
        self.snapshot(range).await
    }

    async fn open(&self, range: &KeyRange, from: Revision) -> Result<WatchStream, Error> {
        let mut options = WatchOptions::new().with_start_revision(from.0);
        if let Some(end) = range.end() {
            options = options.with_range(end);
        }
        let mut watch = self.watch.clone();
        self.call("Watch", watch.watch(range.start().to_vec(), Some(options)))
            .await
    }
}

impl Watch for WatchStream {
    async fn message(&mut self) -> Message {
        match WatchStream::message(self).await {
            Ok(Some(response)) if response.compact_revision() > 0 => Message::Compacted,
            Ok(Some(response)) if response.canceled() => {
                Message::Broken(format!("canceled: {}", response.cancel_reason()))
            }
            Ok(Some(response)) if response.events().is_empty() => Message::Alive,
            Ok(Some(response)) => Message::Events(batch(response.events())),
            Ok(None) => Message::Broken("the watch stream ended".to_owned()),
            Err(e) => Message::Broken(e.to_string()),
        }
    }
}

fn batch(events: &[etcd_client::Event]) -> Batch {
    let events: Vec<Event> = events
        .iter()
        .filter_map(|event| {
            let kv = from_client(event.kv()?.clone());
            Some(match event.event_type() {
                EventType::Put => Event::Put(kv),
                EventType::Delete => Event::Delete {
                    key: kv.key,
                    revision: kv.mod_revision,
                },
            })
        })
        .collect();
    let revision = events.last().map_or(Revision::ZERO, Event::revision);
    Batch { revision, events }
}
