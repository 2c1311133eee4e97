//! The yardstick: a key is put, somebody who watches it puts another, and the first sees that. Nothing can answer
//! through etcd in less. The keys lie outside `/dm-`, so that no service has anything to do with them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dm_store::{Event, Feed, FeedItem, KeyRange, Store};
use tokio::task::JoinHandle;

use crate::error::within;
use crate::{Error, Result, World};

const LIMIT: Duration = Duration::from_secs(30);

/// A round trip, from two points on.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    /// From the moment the put was sent.
    pub from_sent: Duration,
    /// From the moment etcd had acknowledged it.
    pub from_ack: Duration,
}

/// Two parties with a connection each.
#[derive(Debug)]
pub struct Bare {
    store: Store,
    feed: Feed,
    ping: String,
    responder: JoinHandle<()>,
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.responder.abort();
    }
}

impl Bare {
    /// Starts the party that answers.
    ///
    /// # Errors
    /// When etcd's address is unusable.
    pub async fn start(world: &World) -> Result<Self> {
        let key = |name: &str| format!("{}{name}", world.run().prefix_outside_dm());
        let store = world.own_store().await?;
        let mut feed = store.feed(KeyRange::key(key("pong")));
        feed.next().await;
        let responder = world.own_store().await?;
        let mut asked = responder.feed(KeyRange::key(key("ping")));
        asked.next().await;
        Ok(Self {
            store,
            feed,
            ping: key("ping"),
            responder: tokio::spawn(respond(responder, asked, key("pong"))),
        })
    }

    /// One round trip.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn trip(&mut self, number: usize) -> Result<Trip> {
        let value = number.to_string();
        let sent = Instant::now();
        let put = async {
            let put = self.store.put(self.ping.clone(), value.clone(), None).await;
            put.map_err(Error::commit("put the ping"))?;
            Ok(Instant::now())
        };
        let pong = within(
            LIMIT,
            || "a pong".to_owned(),
            seen(&mut self.feed, value.as_bytes()),
        );
        let (acked, pong) = tokio::try_join!(put, pong)?;
        Ok(Trip {
            from_sent: pong.saturating_duration_since(sent),
            from_ack: pong.saturating_duration_since(acked),
        })
    }
}

async fn seen(feed: &mut Feed, value: &[u8]) -> Result<Instant> {
    loop {
        let item = feed.next().await;
        let at = Instant::now();
        if puts(item).iter().any(|put| put.as_ref() == value) {
            return Ok(at);
        }
    }
}

async fn respond(store: Store, mut asked: Feed, pong: String) {
    loop {
        for value in puts(asked.next().await) {
            if let Err(error) = store.put(pong.clone(), value, None).await {
                tracing::warn!(%error, "the pong was not put");
            }
        }
    }
}

fn puts(item: FeedItem) -> Vec<Bytes> {
    match item {
        FeedItem::Reset(snapshot) => snapshot.entries.into_iter().map(|kv| kv.value).collect(),
        FeedItem::Batch(batch) => {
            let values = batch.events.into_iter().filter_map(|event| match event {
                Event::Put(kv) => Some(kv.value),
                Event::Delete { .. } => None,
            });
            values.collect::<Vec<_>>()
        }
    }
}
