//! The etcd of vectors that are played on a process or a loop of its own: written as others write, and listened to.
//!
//! Shared by test programs that include it by path; the kit itself knows nothing of the store.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_store::{Event, Feed, FeedItem, KeyRange, Options, Put, Revision, Store, Txn};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A connection, and a feed that tells what the coordinator puts under one prefix.
pub(crate) struct Etcd {
    pub(crate) store: Store,
    feed: Feed,
    prefix: &'static str,
    seen: Revision,
    put: Vec<Vec<u8>>,
    /// Revisions of what is not the coordinator's.
    others: BTreeSet<Revision>,
}

impl Etcd {
    pub(crate) fn connect(runtime: &Runtime, endpoint: String, prefix: &'static str) -> Self {
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
            prefix,
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

    /// Keys and values under a prefix, by key.
    pub(crate) fn entries(&self, runtime: &Runtime, prefix: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let read = runtime.block_on(self.store.snapshot(&KeyRange::prefix(prefix)));
        let entries = read.expect("etcd answers").entries.into_iter();
        entries
            .map(|kv| (kv.key.to_vec(), kv.value.to_vec()))
            .collect()
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

    /// Ends every lease that a key hangs on, as if it had run out.
    pub(crate) fn end_leases(&self, runtime: &Runtime) {
        let present = runtime.block_on(self.store.snapshot(&KeyRange::dm()));
        let entries = present.expect("etcd answers").entries;
        let leases: BTreeSet<_> = entries.iter().map(|kv| kv.lease).collect();
        for lease in leases.into_iter().filter(|lease| lease.0 != 0) {
            let revoked = runtime.block_on(self.store.revoke(lease));
            revoked.expect("etcd ends the lease");
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
                if kv.key.starts_with(self.prefix.as_bytes())
                    && !self.others.contains(&kv.mod_revision)
                {
                    self.put.push(kv.value.to_vec());
                }
            }
        }
    }

    /// Values that the coordinator has put since this was asked last.
    pub(crate) fn take_put(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.put)
    }
}

/// The `state` of a process' `/status`; none when there is no answer.
pub(crate) async fn page(port: u16) -> Option<Value> {
    let mut page: Value = serde_json::from_str(&get(port, "/status").await?).ok()?;
    Some(page["state"].take())
}

/// A page of a process; none when there is no answer.
pub(crate) async fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

/// Whether the page is that of a leader which has folded everything up to `present`.
pub(crate) fn leads_at(page: &Value, present: Revision) -> bool {
    page["leads"] == true && page["applied"].as_i64() >= Some(present.0)
}

/// Whether it wants nothing, too.
pub(crate) fn is_idle(page: &Value, present: Revision) -> bool {
    leads_at(page, present) && page["loop"]["wanted"] == 0 && page["loop"]["in-flight"] == 0
}
