//! What a case is played on: etcd, a coordinator that comes and goes, and workers that follow DM's protocol.

use std::collections::BTreeMap;

use dm_errors::DmError;
use dm_keyspace::pessimism::{Info, Operation};
use dm_keyspace::{SourceId, TaskName};
use dm_store::Revision;
use pessimist_svc::errors;
use pessimist_svc::machine::{LockView, Pessimist, UnlockRequest};

use crate::world::{INFO_NOT_FOUND, UNLOCK_WAIT, World, info_key, operation_key};

/// A call that only a leader can answer.
pub(crate) enum Call {
    Unlock(UnlockRequest),
    RemoveMeta(TaskName),
}

/// How a call ended.
pub(crate) struct Ended {
    /// DM's code; zero is success.
    pub(crate) code: u32,
    /// The text for the client.
    pub(crate) msg: String,
}

impl From<DmError> for Ended {
    fn from(error: DmError) -> Self {
        let (code, msg) = (error.code().number(), error.to_string());
        Self { code, msg }
    }
}

impl From<Result<String, DmError>> for Ended {
    fn from(ended: Result<String, DmError>) -> Self {
        ended.map_or_else(Self::from, |msg| Self { code: 0, msg })
    }
}

/// The coordinator and its etcd, as a case sees them.
pub(crate) trait Host {
    /// One transaction of somebody else.
    fn write(&mut self, puts: Vec<(String, Vec<u8>)>, deletes: &[String]);
    fn value(&self, key: &str) -> Option<Vec<u8>>;
    /// Values under a prefix, by key.
    fn values(&self, prefix: &str) -> Vec<Vec<u8>>;

    fn start(&mut self);
    fn stop(&mut self);
    fn lose_watch(&mut self);
    fn fail_deletes(&mut self, on: bool);
    fn leads(&self) -> bool;
    /// Waits until the coordinator has nothing to do.
    fn quiet(&mut self);
    /// Lets a part of the time pass that an unlock waits.
    fn pass_time(&mut self);
    /// Operations that the coordinator has put since this was asked last.
    fn take_put(&mut self) -> Vec<Operation>;

    fn locks(&self, task: &str, sources: &[SourceId]) -> Vec<LockView>;
    fn rejected(&self) -> u64;
    /// Errors of all tasks by their type in `dm_master_shard_ddl_error`.
    fn errors(&self) -> BTreeMap<String, u64>;
    fn is_running(&self, task: &TaskName) -> bool;
    fn begin_unlock(&mut self, task: &TaskName, request: &UnlockRequest)
    -> Result<Revision, Ended>;
    /// How the unlock ended that began at this revision; none while it goes on.
    fn unlock_ended(&mut self, task: &TaskName, id: &str, since: Revision) -> Option<Ended>;
    /// The call of the API as it is, where the host has one.
    fn call_unlock(&mut self, _: &UnlockRequest) -> Option<Ended> {
        None
    }
    fn remove_meta(&mut self, task: &TaskName);
    /// The code that a replica of this host answers to a call of the API while it does not lead.
    fn call_without_lead(&mut self, call: &Call) -> u32;

    fn operation(&self, task: &str, source: &str) -> Option<Operation> {
        Operation::from_bytes(&self.value(&operation_key(task, source))?).ok()
    }

    /// A worker's plain put of its info.
    fn report(&mut self, info: &Info) {
        self.write(vec![(info.key().encode(), info.to_bytes())], &[]);
    }

    /// A worker's guarded put of its info: not over a done operation.
    fn try_report(&mut self, info: &Info) -> bool {
        let may = self
            .operation(info.task.as_str(), info.source.as_str())
            .is_none_or(|operation| !operation.done);
        if may {
            self.report(info);
        }
        may
    }

    /// A worker's transaction at the end: done, and the info gone. DM's code, zero for success.
    fn done(&mut self, task: &str, source: &str, remembered: Option<Operation>) -> u32 {
        let present = self.operation(task, source);
        let Some(operation) = remembered.or_else(|| present.clone()) else {
            return INFO_NOT_FOUND;
        };
        let done = operation.into_done();
        if self.value(&info_key(task, source)).is_some() {
            self.write(
                vec![(operation_key(task, source), done.to_bytes())],
                &[info_key(task, source)],
            );
            return 0;
        }
        let is_repeat = present.is_some_and(|present| present.to_bytes() == done.to_bytes());
        if is_repeat { 0 } else { INFO_NOT_FOUND }
    }
}

impl Host for World {
    fn write(&mut self, puts: Vec<(String, Vec<u8>)>, deletes: &[String]) {
        self.etcd.write(puts, deletes);
    }

    fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.etcd.get(key).map(|kv| kv.value.to_vec())
    }

    fn values(&self, prefix: &str) -> Vec<Vec<u8>> {
        let found = self
            .etcd
            .keys
            .iter()
            .filter(|(key, _)| key.starts_with(prefix.as_bytes()));
        found.map(|(_, kv)| kv.value.to_vec()).collect()
    }

    fn start(&mut self) {
        World::start(self);
    }

    fn stop(&mut self) {
        World::stop(self);
    }

    fn lose_watch(&mut self) {
        World::lose_watch(self);
    }

    fn fail_deletes(&mut self, on: bool) {
        self.deletes_fail = on;
    }

    fn leads(&self) -> bool {
        self.leader.is_some()
    }

    fn quiet(&mut self) {
        World::quiet(self);
    }

    fn pass_time(&mut self) {
        self.tick(UNLOCK_WAIT / 10);
    }

    fn take_put(&mut self) -> Vec<Operation> {
        std::mem::take(&mut self.put)
    }

    fn locks(&self, task: &str, sources: &[SourceId]) -> Vec<LockView> {
        self.machine().locks(task, sources)
    }

    fn rejected(&self) -> u64 {
        self.leader
            .as_ref()
            .map_or(0, |leader| leader.machine.counts().rejected_infos)
    }

    fn errors(&self) -> BTreeMap<String, u64> {
        self.leader
            .as_ref()
            .map(|leader| errors_by_type(&leader.machine))
            .unwrap_or_default()
    }

    fn is_running(&self, task: &TaskName) -> bool {
        self.machine().is_running(task)
    }

    fn begin_unlock(
        &mut self,
        task: &TaskName,
        request: &UnlockRequest,
    ) -> Result<Revision, Ended> {
        World::begin_unlock(self, task, request).map_err(|refusal| errors::refusal(&refusal).into())
    }

    fn unlock_ended(&mut self, task: &TaskName, id: &str, since: Revision) -> Option<Ended> {
        World::unlock_outcome(self, task, id, since).map(|o| errors::outcome(id, o).into())
    }

    fn remove_meta(&mut self, task: &TaskName) {
        World::remove_meta(self, task);
    }

    fn call_without_lead(&mut self, _: &Call) -> u32 {
        panic!("a machine does not know whether it leads");
    }
}

/// Errors of all tasks of a machine, by type.
pub(crate) fn errors_by_type(machine: &Pessimist) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for (kind, number) in machine.errors().values().flat_map(|task| task.by_type()) {
        *errors.entry(kind.to_owned()).or_default() += number;
    }
    errors
}
