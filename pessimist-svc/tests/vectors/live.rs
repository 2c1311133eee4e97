//! The real loop, with a real connection to an etcd in memory, as a host of the vectors.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_keyspace::pessimism::{Operation, OperationKey};
use dm_keyspace::{Eviction, EvictionKey, Member, Role, SourceId, TaskName};
use dm_proto::pb;
use dm_proto::pessimist::RemoveMetaRequest;
use dm_proto::pessimist::pessimist_server::Pessimist as _;
use dm_replica::{Handle, Plan, Replica, Settings, Status, WriteError};
use dm_store::{KeyRange, Revision};
use dm_testkit::memory::MemoryEtcd;
use pessimist_svc::machine::{Limits, LockView, Pessimist, UnlockRefusal, UnlockRequest};
use pessimist_svc::{Api, errors};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::etcd::{Etcd, LIMIT};
use crate::host::{Call, Ended, Host, errors_by_type};

/// How long an unlock waits here.
const UNLOCK_WAIT: Duration = Duration::from_millis(400);

struct Running {
    handle: Handle<Pessimist>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

/// What the etcd is told to do with deletions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletions {
    Accepted,
    /// Refused since the loop had been refused so often.
    Refused(u64),
    /// Accepted from the next request on: until then the loop has no reason to try again.
    AcceptedSoon,
}

/// One replica at most, and a feed that tells what it puts.
pub(crate) struct Live {
    runtime: Runtime,
    memory: MemoryEtcd,
    etcd: Etcd,
    deletions: Deletions,
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
            deletions: Deletions::Accepted,
            replica: None,
            starts: 0,
        }
    }

    fn run(&mut self) {
        self.starts += 1;
        let member = Member::new(format!("p{}", self.starts), "127.0.0.1:1", "0");
        let machine = Pessimist::new(Limits {
            unlock_wait: UNLOCK_WAIT,
            ..Limits::default()
        });
        let settings = Settings {
            lease_ttl: Duration::from_secs(60),
            ..Settings::new(Role::Pessimist, member)
        };
        let replica = Replica::new(settings, self.etcd.store.clone(), machine);
        let (handle, stop) = (replica.handle(), CancellationToken::new());
        let ended = self.runtime.spawn(replica.run(stop.clone()));
        self.replica = Some(Running {
            handle,
            stop,
            ended,
        });
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
}

impl Host for Live {
    fn write(&mut self, puts: Vec<(String, Vec<u8>)>, deletes: &[String]) {
        let deletes = deletes.iter().map(|key| KeyRange::key(key.as_str()));
        self.etcd.write(&self.runtime, puts, deletes.collect());
    }

    fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.etcd.value(&self.runtime, key)
    }

    fn values(&self, prefix: &str) -> Vec<Vec<u8>> {
        let entries = self.etcd.entries(&self.runtime, prefix).into_iter();
        entries.map(|(_, value)| value).collect()
    }

    fn start(&mut self) {
        self.run();
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
        self.memory.hold_watch();
        let key = "/dm-master/unused";
        self.memory.put(key, "");
        let present = self.memory.delete(key);
        self.memory.compact(present).expect("it can be compacted");
        self.memory.cut_connections();
        self.memory.release_watch();
        self.wait("it has loaded anew", |status| status.stats.loads > loads);
    }

    fn fail_deletes(&mut self, on: bool) {
        self.deletions = if on {
            // Workers delete infos, nobody but the coordinator deletes operations.
            self.memory.refuse_deletions(Some(OperationKey::PREFIX));
            Deletions::Refused(self.running().handle.status().borrow().stats.refused)
        } else {
            Deletions::AcceptedSoon
        };
    }

    fn leads(&self) -> bool {
        self.replica.is_some()
    }

    fn quiet(&mut self) {
        let deletions = self.deletions;
        // What etcd refuses stays wanted.
        let is_idle = move |status: &Status| match deletions {
            _ if status.stats.in_flight > 0 => false,
            Deletions::Accepted => status.stats.wanted == 0,
            Deletions::Refused(before) => status.stats.wanted == 0 || status.stats.refused > before,
            Deletions::AcceptedSoon => true,
        };
        while self.replica.is_some() {
            let present = Revision(self.memory.revision());
            self.wait("it comes to rest", |status| {
                status.applied >= present && is_idle(status)
            });
            // A read goes through the loop: what it has decided by now shows in its status afterwards.
            self.read(|_| ());
            let status = self.running().handle.status().borrow().clone();
            if is_idle(&status)
                && Revision(self.memory.revision()) == present
                && status.applied >= present
            {
                break;
            }
        }
        let present = Revision(self.memory.revision());
        self.etcd.listen(&self.runtime, present);
    }

    fn pass_time(&mut self) {
        self.runtime
            .block_on(async { tokio::time::sleep(UNLOCK_WAIT / 10).await });
    }

    fn take_put(&mut self) -> Vec<Operation> {
        let put = self.etcd.take_put().into_iter();
        put.filter_map(|value| Operation::from_bytes(&value).ok())
            .collect()
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

    fn errors(&self) -> BTreeMap<String, u64> {
        let running = self.replica.as_ref();
        let errors = running.map(|_| self.read(errors_by_type));
        errors.unwrap_or_default()
    }

    fn is_running(&self, task: &TaskName) -> bool {
        let task = task.clone();
        self.read(move |machine| machine.is_running(&task))
    }

    fn begin_unlock(
        &mut self,
        task: &TaskName,
        request: &UnlockRequest,
    ) -> Result<Revision, Ended> {
        if self.deletions == Deletions::AcceptedSoon {
            self.memory.refuse_deletions(None);
            self.deletions = Deletions::Accepted;
        }
        let (task, request) = (task.clone(), request.clone());
        let begun = self
            .running()
            .handle
            .write(move |machine: &Pessimist| machine.plan_unlock(&task, &request));
        self.runtime.block_on(begun).map_err(|error| match error {
            WriteError::Rejected(refusal) => errors::refusal(&refusal).into(),
            other => panic!("the unlock is not written: {other}"),
        })
    }

    fn unlock_ended(&mut self, task: &TaskName, id: &str, since: Revision) -> Option<Ended> {
        let (task, lock) = (task.clone(), id.to_owned());
        let outcome = self.read(move |machine| machine.unlock_outcome(&task, &lock, since))?;
        Some(errors::outcome(id, outcome).into())
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

    /// One that is kept from leading, and has seen everything.
    fn call_without_lead(&mut self, call: &Call) -> u32 {
        let key = EvictionKey {
            role: Role::Pessimist,
            name: format!("p{}", self.starts + 1).into(),
        }
        .encode();
        let name = format!("p{}", self.starts + 1);
        let eviction = Eviction::new(name.as_str()).to_bytes();
        Host::write(self, vec![(key.clone(), eviction)], &[]);
        self.run();
        self.wait("it has seen all", |status| status.applied > Revision::ZERO);
        let limits = pessimist_svc::settings::Limits {
            unlock_wait: UNLOCK_WAIT,
            unlock_call_wait: UNLOCK_WAIT,
        };
        let api = Api::new(
            self.running().handle.clone(),
            limits,
            CancellationToken::new(),
        );
        let status = self.runtime.block_on(async {
            match call {
                Call::Unlock(request) => {
                    let request = pb::UnlockDdlLockRequest {
                        id: request.id.clone(),
                        ..Default::default()
                    };
                    api.unlock_ddl_lock(Request::new(request)).await.err()
                }
                Call::RemoveMeta(task) => {
                    let task = task.to_string();
                    let request = Request::new(RemoveMetaRequest { task });
                    api.remove_meta(request).await.err()
                }
            }
        });
        Host::stop(self);
        Host::write(self, Vec::new(), &[key]);
        code_in(status.expect("it is refused").message())
    }
}

/// DM's code in a text.
fn code_in(text: &str) -> u32 {
    let code = text
        .strip_prefix("[code=")
        .and_then(|rest| rest.split_once(':'));
    let code = code.and_then(|(code, _)| code.parse().ok());
    code.unwrap_or_else(|| panic!("no code in {text}"))
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop();
    }
}
