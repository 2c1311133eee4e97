//! The real loop, with a real connection to an etcd in memory, as a host of the vectors.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_keyspace::optimism::{Operation, OperationKey};
use dm_keyspace::{Member, Role, SourceId};
use dm_replica::{Handle, Plan, Replica, Settings, Status, WriteError};
use dm_store::{KeyRange, Revision};
use dm_testkit::memory::MemoryEtcd;
use optimist_svc::errors;
use optimist_svc::machine::{
    Found, Optimist, Phase, TableId, TableState, UnlockRefusal, UnlockRequest,
};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::TASK;
use crate::etcd::{Etcd, LIMIT};
use crate::host::{Host, Row, Shown, rows};

struct Running {
    handle: Handle<Optimist>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

/// How often is looked whether it is at rest.
const ROUNDS: usize = 100_000;

/// Whether the machine has something to answer or to delete.
fn owes(machine: &Optimist) -> bool {
    let locks = machine.locks_in_brief("", &[]);
    locks.iter().any(|lock| {
        let tables = lock.tables.iter();
        let mut reported = tables.filter(|table| table.state == TableState::Reported);
        lock.phase == Phase::Resolved || reported.next().is_some()
    })
}

/// One replica at most, and a feed that tells what it puts. What it wants of the checkpoint is handed to it.
pub(crate) struct Live {
    runtime: Runtime,
    memory: MemoryEtcd,
    etcd: Etcd,
    checkpoint: BTreeMap<TableId, String>,
    replica: Option<Running>,
    starts: u32,
}

impl Live {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let memory = runtime
            .block_on(MemoryEtcd::start())
            .expect("an etcd in memory");
        let etcd = Etcd::connect(&runtime, memory.endpoint(), OperationKey::PREFIX);
        Self {
            runtime,
            memory,
            etcd,
            checkpoint: BTreeMap::new(),
            replica: None,
            starts: 0,
        }
    }

    fn running(&self) -> &Running {
        self.replica.as_ref().expect("somebody leads")
    }

    fn read<T: Send + 'static>(&self, read: impl FnOnce(&Optimist) -> T + Send + 'static) -> T {
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
        let present = self.running().handle.status().borrow().clone();
        assert_eq!(held, Ok(true), "{what}: {present:?}");
    }

    /// Answers what the machine wants of the checkpoint. Whether it wanted anything.
    fn hand_over(&self) -> bool {
        let wanted = self.read(Optimist::wanted);
        let is_wanted = !wanted.is_empty();
        for wanted in wanted {
            let known = |table: TableId| (table.clone(), self.checkpoint.get(&table).cloned());
            let found = Found {
                task: wanted.task,
                lock: wanted.lock,
                schemas: wanted.tables.into_iter().map(known).collect(),
            };
            let posted = self.running().handle.post(found.into());
            self.runtime.block_on(posted).expect("the loop takes it");
        }
        is_wanted
    }
}

impl Host for Live {
    fn write(&mut self, puts: Vec<(String, Vec<u8>)>, deletes: &[String]) {
        let deletes = deletes.iter().map(|key| KeyRange::key(key.as_str()));
        self.etcd.write(&self.runtime, puts, deletes.collect());
    }

    fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.etcd.value(&self.runtime, key)
    }

    fn entries(&self, prefix: &'static str) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.etcd.entries(&self.runtime, prefix)
    }

    fn subtask(&self, _: &str) -> Vec<u8> {
        b"name = \"task\"".to_vec()
    }

    fn flush(&mut self, table: &TableId, json: &str) {
        self.checkpoint.insert(table.clone(), json.to_owned());
    }

    fn start(&mut self) {
        self.starts += 1;
        let member = Member::new(format!("o{}", self.starts), "127.0.0.1:1", "0");
        let machine = Optimist::reading_schemas(Duration::from_secs(600));
        let settings = Settings {
            lease_ttl: Duration::from_secs(60),
            ..Settings::new(Role::Optimist, member)
        };
        let replica = Replica::new(settings, self.etcd.store.clone(), machine);
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

    fn leads(&self) -> bool {
        self.replica.is_some()
    }

    fn quiet(&mut self) {
        let is_idle = |status: &Status| status.stats.in_flight == 0 && status.stats.wanted == 0;
        for round in 0.. {
            assert!(round < ROUNDS, "it never comes to rest");
            let present = Revision(self.memory.revision());
            if self.replica.is_some() {
                self.wait("it comes to rest", |status| {
                    status.applied >= present && is_idle(status)
                });
                // The status is told a little later than what follows from a checkpoint.
                if self.hand_over() || self.read(owes) {
                    continue;
                }
            }
            if Revision(self.memory.revision()) == present {
                self.etcd.listen(&self.runtime, present);
                return;
            }
        }
    }

    fn take_put(&mut self) -> Vec<Operation> {
        let put = self.etcd.take_put().into_iter();
        put.map(|value| Operation::from_bytes(&value).expect("operations decode"))
            .collect()
    }

    fn locks(&self) -> Vec<Shown> {
        let locks = self.read(|machine| machine.locks("", &[]));
        locks.into_iter().map(Shown::from).collect()
    }

    fn rows(&self, task: &str, sources: &[SourceId]) -> Vec<Row> {
        let (task, of) = (task.to_owned(), sources.to_vec());
        let locks = self.read(move |machine| machine.locks(&task, &of));
        locks.iter().flat_map(|lock| rows(lock, sources)).collect()
    }

    fn unlock(&mut self, request: &UnlockRequest) -> u32 {
        let wanted = request.clone();
        let unlocked = self
            .running()
            .handle
            .write(move |machine: &Optimist| machine.plan_unlock(&TASK.into(), &wanted));
        match self.runtime.block_on(unlocked) {
            Ok(()) => 0,
            Err(WriteError::Rejected(refusal)) => {
                errors::refusal(request, &refusal).code().number()
            }
            Err(other) => panic!("the unlock is not written: {other}"),
        }
    }

    fn remove_task(&mut self) {
        let removed =
            self.running()
                .handle
                .write(|m: &Optimist| -> Result<Plan<usize>, UnlockRefusal> {
                    Ok(m.plan_remove_meta(&TASK.into()))
                });
        self.runtime.block_on(removed).expect("etcd takes it");
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop();
    }
}
