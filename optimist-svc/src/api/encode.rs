//! Views of locks as messages.

use dm_keyspace::SourceId;
use dm_proto::optimist::{LockDetail, Phase, TableState, TableStatus};
use dm_proto::pb;

use crate::machine::{self, LockView, TableView};

/// DM's own messages: one for each refused table of `sources`, or one without an owner.
pub(super) fn rows(lock: &LockView, sources: &[SourceId]) -> Vec<pb::DdlLock> {
    let row = |(owner, ddls)| pb::DdlLock {
        id: lock.id.clone(),
        task: lock.task.to_string(),
        mode: "optimistic".to_owned(),
        owner,
        dd_ls: ddls,
        synced: lock.synced.clone(),
        unsynced: lock.unsynced.clone(),
    };
    lock.rows(sources).into_iter().map(row).collect()
}

/// What we show beyond it.
pub(super) fn detail(lock: &LockView) -> LockDetail {
    let phase = match lock.phase {
        machine::Phase::Diverged => Phase::Diverged,
        machine::Phase::Conflict => Phase::Conflict,
        machine::Phase::Synced => Phase::Synced,
        machine::Phase::Resolved => Phase::Resolved,
    };
    LockDetail {
        id: lock.id.clone(),
        phase: phase.into(),
        age_ms: u64::try_from(lock.age.as_millis()).unwrap_or(u64::MAX),
        tables: lock.tables.iter().map(table).collect(),
        reasons: lock.reasons.clone(),
        joined: lock.joined.clone().unwrap_or_default(),
        dropped_columns: lock.dropped_columns.clone(),
        traceparent: lock.trace.clone().unwrap_or_default(),
    }
}

fn table(table: &TableView) -> TableStatus {
    let state = match table.state {
        machine::TableState::Behind => TableState::Behind,
        machine::TableState::Reported => TableState::Reported,
        machine::TableState::Executing => TableState::Executing,
        machine::TableState::Conflict => TableState::Conflict,
        machine::TableState::Synced => TableState::Synced,
    };
    TableStatus {
        source: table.table.source.to_string(),
        schema: table.table.schema.clone(),
        table: table.table.table.clone(),
        state: state.into(),
        ddls: table.ddls.clone(),
        structure: table.structure.clone(),
        conflict: table.conflict.clone(),
        revision: table.revision.0,
    }
}
