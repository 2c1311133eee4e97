//! What a case is played on: etcd, a downstream with a checkpoint, and a coordinator that comes and goes.

use dm_keyspace::SourceId;
use dm_keyspace::optimism::Operation;
use dm_replica::Plan;
use optimist_svc::errors;
use optimist_svc::machine::{LockView, TableId, UnlockRequest};

use crate::TASK;
use crate::world::World;

/// A lock, as far as the vectors speak of it.
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) synced: Vec<String>,
    pub(crate) unsynced: Vec<String>,
    pub(crate) undone: Vec<String>,
}

/// A row as DM shows it.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) ddls: Vec<String>,
    pub(crate) synced: Vec<String>,
    pub(crate) unsynced: Vec<String>,
}

/// The coordinator and what it works with, as a case sees them.
pub(crate) trait Host {
    /// One transaction of somebody else.
    fn write(&mut self, puts: Vec<(String, Vec<u8>)>, deletes: &[String]);
    fn value(&self, key: &str) -> Option<Vec<u8>>;
    /// Keys and values under a prefix, by key.
    fn entries(&self, prefix: &'static str) -> Vec<(Vec<u8>, Vec<u8>)>;
    /// The record of the task on a source.
    fn subtask(&self, source: &str) -> Vec<u8>;
    /// A worker writes down the schema of a table downstream.
    fn flush(&mut self, table: &TableId, json: &str);

    fn start(&mut self);
    fn stop(&mut self);
    fn leads(&self) -> bool;
    /// Waits until the coordinator has nothing to do.
    fn quiet(&mut self);
    /// Operations that the coordinator has put since this was asked last.
    fn take_put(&mut self) -> Vec<Operation>;

    fn locks(&self) -> Vec<Shown>;
    fn rows(&self, task: &str, sources: &[SourceId]) -> Vec<Row>;
    /// DM's code; zero is success.
    fn unlock(&mut self, request: &UnlockRequest) -> u32;
    fn remove_task(&mut self);
}

impl From<LockView> for Shown {
    fn from(lock: LockView) -> Self {
        Self {
            id: lock.id,
            synced: lock.synced,
            unsynced: lock.unsynced,
            undone: lock.undone,
        }
    }
}

/// The rows of a lock.
pub(crate) fn rows(lock: &LockView, sources: &[SourceId]) -> Vec<Row> {
    let row = |(owner, ddls)| Row {
        id: lock.id.clone(),
        owner,
        ddls,
        synced: lock.synced.clone(),
        unsynced: lock.unsynced.clone(),
    };
    lock.rows(sources).into_iter().map(row).collect()
}

impl Host for World {
    fn write(&mut self, puts: Vec<(String, Vec<u8>)>, deletes: &[String]) {
        self.etcd.write(puts, deletes);
    }

    fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.etcd.get(key).map(|kv| kv.value.to_vec())
    }

    fn entries(&self, prefix: &'static str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let entries = self.etcd.under(prefix);
        entries
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect()
    }

    fn subtask(&self, _: &str) -> Vec<u8> {
        b"name = \"task\"".to_vec()
    }

    fn flush(&mut self, table: &TableId, json: &str) {
        self.checkpoint.insert(table.clone(), json.to_owned());
    }

    fn start(&mut self) {
        World::start(self);
    }

    fn stop(&mut self) {
        World::stop(self);
    }

    fn leads(&self) -> bool {
        self.machine().is_some()
    }

    fn quiet(&mut self) {
        World::quiet(self);
    }

    fn take_put(&mut self) -> Vec<Operation> {
        std::mem::take(&mut self.put)
    }

    fn locks(&self) -> Vec<Shown> {
        let locks = self.machine().map(|machine| machine.locks("", &[]));
        locks.into_iter().flatten().map(Shown::from).collect()
    }

    fn rows(&self, task: &str, sources: &[SourceId]) -> Vec<Row> {
        let locks = self.machine().map(|machine| machine.locks(task, sources));
        let locks = locks.iter().flatten();
        locks.flat_map(|lock| rows(lock, sources)).collect()
    }

    fn unlock(&mut self, request: &UnlockRequest) -> u32 {
        match World::unlock(self, &TASK.into(), request) {
            Ok(()) => 0,
            Err(refusal) => errors::refusal(request, &refusal).code().number(),
        }
    }

    fn remove_task(&mut self) {
        let machine = self.machine().expect("somebody leads");
        if let Plan::Commit(proposal, _) = machine.plan_remove_meta(&TASK.into()) {
            self.etcd.commit(&proposal).expect("it has no guard");
        }
    }
}
