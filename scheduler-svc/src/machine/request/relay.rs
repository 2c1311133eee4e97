//! Relay: for whichever worker serves a source, or for workers by name; and pausing it.

use std::collections::BTreeSet;

use dm_errors::{Code, DmError, List};
use dm_keyspace::{
    OperationKind, RelayStageKey, RelayWorker, RelayWorkerKey, SourceConfigKey, SourceId, Stage,
    StageRecord, WorkerName,
};
use dm_replica::{Plan, Proposal};
use dm_store::{Guard, KeyRange};
use dm_task::SourceConfig;

use super::{Extent, about};
use crate::machine::Scheduler;
use crate::machine::decide::{bound_key, put_bound};
use crate::machine::fold::config_key;
use crate::machine::record::{Source, SourceConfigSeen};
use crate::machine::starts::{OperationId, batch, stage_of};

type Names<'a> = BTreeSet<&'a WorkerName>;

impl Scheduler {
    /// Switches relay on: for the named workers, or without names for whichever serves the source. All of it is one
    /// transaction.
    ///
    /// # Errors
    /// 46008 and 46004 for unknown names; 46028 and 46030 where the other kind is on; 46021 and 46020 for workers
    /// that serve, or relay, another source.
    pub fn start_relay(&self, id: &SourceId, names: &[WorkerName]) -> Result<Plan<()>, DmError> {
        let (source, config) = self.relayed(id)?;
        let names: Names<'_> = names.iter().collect();
        if names.is_empty() {
            refuse_named(Code::SCHEDULER_START_RELAY_ON_SPECIFIED, source)?;
            let proposal = switched(Proposal::new("start_relay"), id, config, true)?;
            let proposal = self.tell_bound(proposal, id, source);
            // Also without a worker: the next one is to pull, even if the relay was paused when the last one went.
            let proposal = put_stage(proposal, id, source, Stage::Running);
            return Ok(Plan::Commit(proposal, ()));
        }
        if config.enable_relay {
            return Err(DmError::new(Code::SCHEDULER_START_RELAY_ON_BOUND, &[]));
        }
        self.check_known(&names)?;
        self.check_not_bound_elsewhere(id, &names)?;
        self.check_not_relaying_elsewhere(id, &names, Code::SCHEDULER_RELAY_WORKERS_BUSY)?;
        let mut proposal = Proposal::new("start_relay")
            .guard(Guard::ModRevision(config_key(id), config.text.revision))
            // Stopping the last relay worker deletes the stage; its plan must not hold any more.
            .put(config_key_text(id), config.text.bytes.to_vec());
        if source.relays.is_empty() || source.relay_stage.is_none() {
            proposal = put_stage(proposal, id, source, Stage::Running);
        }
        for name in names {
            let bound = self.workers.get(name).and_then(|w| w.bound.as_ref());
            proposal = proposal
                .guard(Guard::unchanged(bound_key(name), bound.map(|b| b.revision)))
                .guard(self.relay_guard(name))
                .put(
                    relay_key(name),
                    RelayWorker { source: id.clone() }.to_bytes(),
                );
        }
        Ok(Plan::Commit(proposal, ()))
    }

    /// Switches relay off, likewise. With the last relay worker the relay stage goes.
    ///
    /// # Errors
    /// 46008 and 46004 for unknown names; 46029 and 46031 where the other kind is on; 46022 for workers that relay
    /// another source.
    pub fn stop_relay(&self, id: &SourceId, names: &[WorkerName]) -> Result<Plan<()>, DmError> {
        let (source, config) = self.relayed(id)?;
        let names: Names<'_> = names.iter().collect();
        if names.is_empty() {
            refuse_named(Code::SCHEDULER_STOP_RELAY_ON_SPECIFIED, source)?;
            let proposal = switched(Proposal::new("stop_relay"), id, config, false)?;
            let proposal = self.tell_bound(proposal, id, source);
            return Ok(Plan::Commit(proposal.delete(stage_range(id)), ()));
        }
        if config.enable_relay {
            return Err(DmError::new(Code::SCHEDULER_STOP_RELAY_ON_BOUND, &[]));
        }
        self.check_known(&names)?;
        self.check_not_relaying_elsewhere(id, &names, Code::SCHEDULER_RELAY_WORKERS_WRONG_RELAY)?;
        let mut proposal = Proposal::new("stop_relay")
            .guard(Guard::ModRevision(config_key(id), config.text.revision))
            .put(config_key_text(id), config.text.bytes.to_vec());
        if source.relays.iter().all(|name| names.contains(name)) {
            proposal = proposal.delete(stage_range(id));
        }
        for name in names {
            proposal = proposal
                .guard(self.relay_guard(name))
                .delete(KeyRange::key(relay_key(name)));
        }
        Ok(Plan::Commit(proposal, ()))
    }

    /// Pauses relay, or lets it go on, for all sources or for none. The same stage is written again.
    ///
    /// # Errors
    /// 46012 with the sources that are not known, 46024 while another such operation is under way.
    pub fn set_relay_stage(
        &self,
        is_running: bool,
        sources: &[SourceId],
        max_operations: usize,
    ) -> Result<Plan<Extent>, DmError> {
        let is_unknown = |id: &&SourceId| self.source_config(id).is_none();
        let missing: Vec<&SourceId> = sources.iter().filter(is_unknown).collect();
        if !missing.is_empty() {
            return Err(DmError::new(
                Code::SCHEDULER_RELAY_STAGE_SOURCE_NOT_EXIST,
                &[&List(&missing)],
            ));
        }
        let distinct: BTreeSet<&SourceId> = sources.iter().collect();
        if distinct.is_empty() {
            return Ok(Plan::Done(Extent::Whole));
        }
        let (name, kind) = match is_running {
            true => ("resume_relay", OperationKind::Resume),
            false => ("pause_relay", OperationKind::Pause),
        };
        let operation = OperationId::Relays;
        let proposal = self.alone(Proposal::new(name), &operation, "UpdateExpectRelayStage")?;
        if distinct.len() > batch(kind, max_operations) {
            let sources: Vec<SourceId> = distinct.into_iter().cloned().collect();
            let record = self.record(kind, max_operations, &sources);
            let proposal = proposal.put(operation.key(), record.to_bytes());
            return Ok(Plan::Commit(proposal, Extent::InParts));
        }
        let written = distinct.into_iter().fold(proposal, |proposal, id| {
            self.put_relay_stage_of(proposal, id, stage_of(kind))
        });
        Ok(Plan::Commit(written, Extent::Whole))
    }

    /// Adds the relay stage of a source, if there is such a source.
    pub(in crate::machine) fn put_relay_stage_of(
        &self,
        proposal: Proposal,
        id: &SourceId,
        stage: Stage,
    ) -> Proposal {
        match self.sources.get(id) {
            Some(source) => put_stage(proposal, id, source, stage),
            None => proposal,
        }
    }

    fn relayed(&self, id: &SourceId) -> Result<(&Source, &SourceConfigSeen), DmError> {
        self.sources
            .get(id)
            .and_then(|s| Some((s, s.config.as_ref()?)))
            .ok_or_else(|| about(Code::SCHEDULER_SOURCE_CFG_NOT_EXIST, id))
    }

    fn check_known(&self, names: &Names<'_>) -> Result<(), DmError> {
        let unknown: Vec<&&WorkerName> = names
            .iter()
            .filter(|name| self.worker_stage(name).is_none())
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(about(Code::SCHEDULER_WORKER_NOT_EXIST, List(&unknown)))
    }

    fn check_not_bound_elsewhere(&self, id: &SourceId, names: &Names<'_>) -> Result<(), DmError> {
        let bound = |name: &WorkerName| self.workers.get(name)?.bound.as_ref()?.source.clone();
        self.check_elsewhere(id, names, bound, Code::SCHEDULER_RELAY_WORKERS_WRONG_BOUND)
    }

    fn check_not_relaying_elsewhere(
        &self,
        id: &SourceId,
        names: &Names<'_>,
        code: Code,
    ) -> Result<(), DmError> {
        let relay = |name: &WorkerName| self.workers.get(name)?.relay.clone();
        self.check_elsewhere(id, names, relay, code)
    }

    fn check_elsewhere(
        &self,
        id: &SourceId,
        names: &Names<'_>,
        where_: impl Fn(&WorkerName) -> Option<SourceId>,
        code: Code,
    ) -> Result<(), DmError> {
        let (wrong, others): (Vec<&WorkerName>, Vec<SourceId>) = names
            .iter()
            .filter_map(|name| Some((*name, where_(name)?)))
            .filter(|(_, other)| other != id)
            .unzip();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(DmError::new(code, &[&List(&wrong), &List(&others)]))
    }

    /// The worker that serves the source reads the configuration again at a new put of its bound.
    fn tell_bound(&self, proposal: Proposal, id: &SourceId, source: &Source) -> Proposal {
        match self.keeper(source) {
            Some(keeper) => {
                let seen = Guard::ModRevision(bound_key(keeper), self.bound_revision(keeper));
                put_bound(proposal.guard(seen), keeper, id)
            }
            None => proposal,
        }
    }
}

fn refuse_named(code: Code, source: &Source) -> Result<(), DmError> {
    let relays: Vec<&WorkerName> = source.relays.iter().collect();
    if relays.is_empty() {
        return Ok(());
    }
    Err(DmError::new(code, &[&List(&relays)]))
}

/// Adds the source's configuration with relay switched.
fn switched(
    proposal: Proposal,
    id: &SourceId,
    config: &SourceConfigSeen,
    is_on: bool,
) -> Result<Proposal, DmError> {
    let mut changed = SourceConfig::from_toml(&String::from_utf8_lossy(&config.text.bytes))?;
    changed.enable_relay = is_on;
    Ok(proposal
        .guard(Guard::ModRevision(config_key(id), config.text.revision))
        .put(config_key_text(id), changed.to_toml()?))
}

fn put_stage(proposal: Proposal, id: &SourceId, source: &Source, stage: Stage) -> Proposal {
    let key = RelayStageKey { source: id.clone() }.encode();
    let seen = source.relay_stage.map(|s| s.revision);
    proposal
        .guard(Guard::unchanged(key.clone(), seen))
        .put(key, StageRecord::relay(stage, id.clone()).to_bytes())
}

fn stage_range(id: &SourceId) -> KeyRange {
    KeyRange::key(RelayStageKey { source: id.clone() }.encode())
}

fn config_key_text(id: &SourceId) -> String {
    SourceConfigKey { source: id.clone() }.encode()
}

fn relay_key(name: &WorkerName) -> String {
    RelayWorkerKey {
        worker: name.clone(),
    }
    .encode()
}
