//! Registering workers, and taking them out.

use bytes::Bytes;
use dm_errors::{Code, DmError};
use dm_keyspace::{RelayStageKey, RelayWorkerKey, WorkerInfo, WorkerName};
use dm_replica::{Plan, Proposal};
use dm_store::{Guard, KeyRange};

use super::about;
use crate::machine::Scheduler;
use crate::machine::decide::{alive_key, registration_key};

impl Scheduler {
    /// Records where a worker listens. The same again is no write; another address is taken only while nobody
    /// keeps the name alive, so that a worker can move to another machine.
    ///
    /// # Errors
    /// 46003 when a living worker has the name.
    pub fn register_worker(&self, name: &WorkerName, addr: &str) -> Result<Plan<()>, DmError> {
        let key = registration_key(name);
        let record = WorkerInfo::new(name.clone(), addr).to_bytes();
        let worker = self.workers.get(name);
        let proposal = match worker.and_then(|w| w.registered.as_ref()) {
            None => Proposal::new("register_worker").guard(Guard::Missing(key)),
            Some(known) if known.addr == addr => return Ok(Plan::Done(())),
            Some(known) if worker.is_some_and(|w| w.alive.is_some()) => {
                let known = WorkerInfo::new(name.clone(), known.addr.clone()).to_bytes();
                return Err(about(
                    Code::SCHEDULER_WORKER_EXIST,
                    String::from_utf8_lossy(&known),
                ));
            }
            Some(known) => Proposal::new("move_worker")
                .guard(Guard::ModRevision(key, known.revision))
                .guard(Guard::Missing(alive_key(name))),
        };
        let key = dm_keyspace::WorkerInfoKey {
            worker: name.clone(),
        }
        .encode();
        Ok(Plan::Commit(proposal.put(key, record), ()))
    }

    /// Forgets a worker that is offline, with its relay, and the relay stage if nobody else pulls that log.
    ///
    /// # Errors
    /// 46004 for an unknown name, 46005 while it is online.
    pub fn offline_worker(&self, name: &WorkerName) -> Result<Plan<()>, DmError> {
        let worker = self.workers.get(name);
        let Some((worker, known)) = worker.and_then(|w| Some((w, w.registered.as_ref()?))) else {
            return Err(about(Code::SCHEDULER_WORKER_NOT_EXIST, name));
        };
        if worker.alive.is_some() {
            return Err(about(Code::SCHEDULER_WORKER_ONLINE, name));
        }
        let mut proposal = Proposal::new("offline_worker")
            .guard(Guard::ModRevision(registration_key(name), known.revision))
            .guard(Guard::Missing(alive_key(name)))
            .delete(KeyRange::key(registration_key(name).to_vec()))
            .delete(KeyRange::key(
                RelayWorkerKey {
                    worker: name.clone(),
                }
                .encode(),
            ));
        let relayed = worker
            .relay
            .as_ref()
            .and_then(|id| Some((id, self.sources.get(id)?)));
        if let Some((id, source)) = relayed
            && source.relays.len() == 1
            && let Some(stage) = source.relay_stage
        {
            let key = RelayStageKey { source: id.clone() }.encode();
            proposal = proposal
                .guard(Guard::ModRevision(Bytes::from(key.clone()), stage.revision))
                .delete(KeyRange::key(key));
        }
        Ok(Plan::Commit(proposal, ()))
    }
}
