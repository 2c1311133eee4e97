//! The etcd of a host that is a process or a loop of its own: written as others write, and listened to.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_keyspace::pessimism::{Operation, OperationKey};
use dm_store::{Event, Feed, FeedItem, KeyRange, Options, Put, Revision, Store, Txn};
use tokio::runtime::Runtime;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A connection, and a feed that tells what the coordinator puts.
pub(crate) struct Etcd {
    pub(crate) store: Store,
    feed: Feed,
    seen: Revision,
    put: Vec<Operation>,
    /// Revisions of what is not the coordinator's.
    others: BTreeSet<Revision>,
}

impl Etcd {
    pub(crate) fn connect(runtime: &Runtime, endpoint: String) -> Self {
        let options = Options {
            endpoints: vec![endpoint],
            ..Options::default()
        };
        let (store, feed) = runtime.block_on(async {
            let store = Store::connect(&options).await.expect("a connection");
            let feed = store.feed(KeyRange::dm());
            (store, feed)
        });
        Self {
            store,
            feed,
            seen: Revision::ZERO,
            put: Vec::new(),
            others: BTreeSet::new(),
        }
    }

    pub(crate) fn revision(&self, runtime: &Runtime) -> Revision {
        let nothing = KeyRange::key("/dm-");
        let read = runtime.block_on(self.store.snapshot(&nothing));
        read.expect("etcd answers").revision
    }

    pub(crate) fn value(&self, runtime: &Runtime, key: &str) -> Option<Vec<u8>> {
        let read = runtime.block_on(self.store.get(key));
        read.expect("etcd answers").map(|kv| kv.value.to_vec())
    }

    pub(crate) fn values(&self, runtime: &Runtime, prefix: &str) -> Vec<Vec<u8>> {
        let read = runtime.block_on(self.store.snapshot(&KeyRange::prefix(prefix)));
        let entries = read.expect("etcd answers").entries;
        entries.into_iter().map(|kv| kv.value.to_vec()).collect()
    }

    /// One transaction of somebody else.
    pub(crate) fn write(
        &mut self,
        runtime: &Runtime,
        puts: Vec<(String, Vec<u8>)>,
        deletes: Vec<KeyRange>,
    ) {
        let put = |(key, value): (String, Vec<u8>)| Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        };
        let txn = Txn {
            puts: puts.into_iter().map(put).collect(),
            deletes,
            ..Txn::default()
        };
        if txn.operations() > 0 {
            let revision = runtime.block_on(self.store.commit(&txn));
            self.others.insert(revision.expect("etcd takes it"));
        }
    }

    /// Reads the feed up to a revision.
    pub(crate) fn listen(&mut self, runtime: &Runtime, target: Revision) {
        while self.seen < target {
            let item =
                runtime.block_on(async { tokio::time::timeout(LIMIT, self.feed.next()).await });
            let events = match item.expect("the feed goes on") {
                FeedItem::Reset(snapshot) => {
                    self.seen = snapshot.revision;
                    snapshot.entries.into_iter().map(Event::Put).collect()
                }
                FeedItem::Batch(batch) => {
                    self.seen = batch.revision;
                    batch.events
                }
            };
            for event in events {
                let Event::Put(kv) = event else { continue };
                if kv.key.starts_with(OperationKey::PREFIX.as_bytes())
                    && !self.others.contains(&kv.mod_revision)
                {
                    self.put.extend(Operation::from_bytes(&kv.value).ok());
                }
            }
        }
    }

    /// Operations that the coordinator has put since this was asked last.
    pub(crate) fn take_put(&mut self) -> Vec<Operation> {
        std::mem::take(&mut self.put)
    }
}
