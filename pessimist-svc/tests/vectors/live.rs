//! The real loop, with a real connection to an etcd in memory, as a host of the vectors.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_keyspace::pessimism::{Operation, OperationKey};
use dm_keyspace::{Member, Role, SourceId, TaskName};
use dm_replica::{Handle, Plan, Replica, Settings, Status, WriteError};
use dm_store::{Event, Feed, FeedItem, KeyRange, Options, Put, Revision, Store, Txn};
use dm_testkit::memory::MemoryEtcd;
use pessimist_svc::machine::{
    Limits, LockView, Pessimist, UnlockOutcome, UnlockRefusal, UnlockRequest,
};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::host::Host;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long an unlock waits here.
const UNLOCK_WAIT: Duration = Duration::from_millis(400);

struct Running {
    handle: Handle<Pessimist>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

/// One replica at most, and a feed that tells what it puts.
pub(crate) struct Live {
    runtime: Runtime,
    etcd: MemoryEtcd,
    store: Store,
    feed: Feed,
    seen: Revision,
    put: Vec<Operation>,
    /// Revisions of what is not the coordinator's.
    others: BTreeSet<Revision>,
    replica: Option<Running>,
    starts: u32,
}

impl Live {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (etcd, store) = runtime.block_on(async {
            let etcd = MemoryEtcd::start().await.expect("an etcd");
            let options = Options {
                endpoints: vec![etcd.endpoint()],
                ..Options::default()
            };
            let store = Store::connect(&options).await.expect("a connection");
            (etcd, store)
        });
        let feed = runtime.block_on(async { store.feed(KeyRange::dm()) });
        let (seen, put, others) = (Revision::ZERO, Vec::new(), BTreeSet::new());
        Self {
            runtime,
            etcd,
            store,
            feed,
            seen,
            put,
            others,
            replica: None,
            starts: 0,
        }
    }

    fn running(&self) -> &Running {
        self.replica.as_ref().expect("somebody leads")
    }

    fn read<T: Send + 'static>(&self, read: impl FnOnce(&Pessimist) -> T + Send + 'static) -> T {
        let handle = &self.running().handle;
        self.runtime
            .block_on(handle.read_stale(|machine, _| read(machine)))
            .expect("the state is loaded")
    }

    fn wait(&self, what: &str, condition: impl FnMut(&Status) -> bool) {
        let mut status = self.running().handle.status();
        let held = self.runtime.block_on(async {
            tokio::time::timeout(LIMIT, status.wait_for(condition))
                .await
                .map(|held| held.is_ok())
        });
        assert_eq!(
            held,
            Ok(true),
            "{what}: {:?}",
            self.running().handle.status().borrow().clone()
        );
    }

    /// Reads the feed up to etcd's present revision.
    fn listen(&mut self) {
        let target = Revision(self.etcd.revision());
        while self.seen < target {
            let item = self
                .runtime
                .block_on(async { tokio::time::timeout(LIMIT, self.feed.next()).await });
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
}

impl Host for Live {
    fn write(&mut self, puts: Vec<(String, Vec<u8>)>, deletes: &[String]) {
        let put = |(key, value): (String, Vec<u8>)| Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        };
        let txn = Txn {
            puts: puts.into_iter().map(put).collect(),
            deletes: deletes
                .iter()
                .map(|key| KeyRange::key(key.as_str()))
                .collect(),
            ..Txn::default()
        };
        if txn.operations() > 0 {
            let revision = self
                .runtime
                .block_on(self.store.commit(&txn))
                .expect("etcd takes it");
            self.others.insert(revision);
        }
    }

    fn value(&self, key: &str) -> Option<Vec<u8>> {
        let found = self.etcd.dump(key);
        found
            .into_iter()
            .find(|kv| kv.key == key.as_bytes())
            .map(|kv| kv.value.to_vec())
    }

    fn values(&self, prefix: &str) -> Vec<Vec<u8>> {
        self.etcd
            .dump(prefix)
            .into_iter()
            .map(|kv| kv.value.to_vec())
            .collect()
    }

    fn start(&mut self) {
        self.starts += 1;
        let member = Member::new(format!("p{}", self.starts), "127.0.0.1:1", "0");
        let machine = Pessimist::new(Limits {
            unlock_wait: UNLOCK_WAIT,
        });
        let settings = Settings {
            lease_ttl: Duration::from_secs(60),
            ..Settings::new(Role::Pessimist, member)
        };
        let replica = Replica::new(settings, self.store.clone(), machine);
        let (handle, stop) = (replica.handle(), CancellationToken::new());
        let ended = self.runtime.spawn(replica.run(stop.clone()));
        self.replica = Some(Running {
            handle,
            stop,
            ended,
        });
        self.wait("it leads", |status| status.leads.is_some());
    }

    fn stop(&mut self) {
        if let Some(running) = self.replica.take() {
            running.stop.cancel();
            self.runtime
                .block_on(running.ended)
                .expect("the replica ends in order");
        }
    }

    fn lose_watch(&mut self) {
        let loads = self.running().handle.status().borrow().stats.loads;
        self.etcd.hold_watch();
        let key = "/dm-master/unused";
        self.etcd.put(key, "");
        let present = self.etcd.delete(key);
        self.etcd.compact(present).expect("it can be compacted");
        self.etcd.cut_connections();
        self.etcd.release_watch();
        self.wait("it has loaded anew", |status| status.stats.loads > loads);
    }

    fn fail_deletes(&mut self, _: bool) {
        panic!("this etcd cannot refuse deletions only");
    }

    fn leads(&self) -> bool {
        self.replica.is_some()
    }

    fn quiet(&mut self) {
        while self.replica.is_some() {
            let present = Revision(self.etcd.revision());
            self.wait("it comes to rest", |status| {
                status.applied >= present && status.stats.wanted == 0 && status.stats.in_flight == 0
            });
            // A read goes through the loop: what it has decided by now shows in its status afterwards.
            self.read(|_| ());
            let status = self.running().handle.status().borrow().clone();
            let is_idle = status.stats.wanted == 0 && status.stats.in_flight == 0;
            if is_idle && Revision(self.etcd.revision()) == present && status.applied >= present {
                break;
            }
        }
        self.listen();
    }

    fn pass_time(&mut self) {
        self.runtime
            .block_on(async { tokio::time::sleep(UNLOCK_WAIT / 10).await });
    }

    fn take_put(&mut self) -> Vec<Operation> {
        std::mem::take(&mut self.put)
    }

    fn locks(&self, task: &str, sources: &[SourceId]) -> Vec<LockView> {
        let (task, sources) = (task.to_owned(), sources.to_vec());
        self.read(move |machine| machine.locks(&task, &sources))
    }

    fn rejected(&self) -> u64 {
        self.replica
            .as_ref()
            .map_or(0, |_| self.read(|machine| machine.counts().rejected_infos))
    }

    fn is_running(&self, task: &TaskName) -> bool {
        let task = task.clone();
        self.read(move |machine| machine.is_running(&task))
    }

    fn begin_unlock(
        &mut self,
        task: &TaskName,
        request: &UnlockRequest,
    ) -> Result<Revision, UnlockRefusal> {
        let (task, request) = (task.clone(), request.clone());
        let begun = self
            .running()
            .handle
            .write(move |machine: &Pessimist| machine.plan_unlock(&task, &request));
        self.runtime.block_on(begun).map_err(|error| match error {
            WriteError::Rejected(refusal) => refusal,
            other => panic!("the unlock is not written: {other}"),
        })
    }

    fn unlock_outcome(&self, task: &TaskName, id: &str, since: Revision) -> Option<UnlockOutcome> {
        let (task, id) = (task.clone(), id.to_owned());
        self.read(move |machine| machine.unlock_outcome(&task, &id, since))
    }

    fn remove_meta(&mut self, task: &TaskName) {
        let task = task.clone();
        let removed = self.running().handle.write(
            move |m: &Pessimist| -> Result<Plan<usize>, UnlockRefusal> {
                Ok(m.plan_remove_meta(&task))
            },
        );
        self.runtime.block_on(removed).expect("etcd takes it");
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop();
    }
}
