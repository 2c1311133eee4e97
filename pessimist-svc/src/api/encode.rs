//! Views of locks as messages.

use dm_keyspace::SourceId;
use dm_proto::pb;
use dm_proto::pessimist::{LockDetail, Phase, SourceState, SourceStatus};

use crate::machine::{self, LockView, SourceView};

/// DM's own message.
pub(super) fn lock(lock: &LockView) -> pb::DdlLock {
    let names = |sources: &[SourceId]| sources.iter().map(ToString::to_string).collect();
    pb::DdlLock {
        id: lock.id.clone(),
        task: lock.task.to_string(),
        mode: "pessimistic".to_owned(),
        owner: lock.owner.to_string(),
        dd_ls: lock.ddls.clone(),
        synced: names(&lock.synced),
        unsynced: names(&lock.unsynced),
    }
}

/// What we show beyond it.
pub(super) fn detail(lock: &LockView) -> LockDetail {
    let phase = match lock.phase {
        machine::Phase::Collecting => Phase::Collecting,
        machine::Phase::OwnerExecuting => Phase::OwnerExecuting,
        machine::Phase::OthersSkipping => Phase::OthersSkipping,
        machine::Phase::Resolved => Phase::Resolved,
    };
    LockDetail {
        id: lock.id.clone(),
        phase: phase.into(),
        age_ms: u64::try_from(lock.age.as_millis()).unwrap_or(u64::MAX),
        sources: lock.sources.iter().map(source).collect(),
        reasons: lock.reasons.clone(),
        traceparent: lock.trace.clone().unwrap_or_default(),
    }
}

fn source(source: &SourceView) -> SourceStatus {
    let state = match source.state {
        machine::SourceState::Awaited => SourceState::Awaited,
        machine::SourceState::Offline => SourceState::Offline,
        machine::SourceState::Reported => SourceState::Reported,
        machine::SourceState::Mismatched => SourceState::Mismatched,
        machine::SourceState::Executing => SourceState::Executing,
        machine::SourceState::Skipping => SourceState::Skipping,
        machine::SourceState::Done => SourceState::Done,
    };
    let (schema, table) = source.table.clone().unwrap_or_default();
    SourceStatus {
        source: source.source.to_string(),
        state: state.into(),
        ddls: source.ddls.clone(),
        schema,
        table,
        revision: source.revision.0,
        worker: source
            .worker
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        offline: source.is_offline,
    }
}
