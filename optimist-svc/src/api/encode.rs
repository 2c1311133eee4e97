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
        awaited: u32::try_from(lock.awaited).unwrap_or(u32::MAX),
    }
}

fn table(table: &TableView) -> TableStatus {
    let state = match table.state {
        machine::TableState::Behind => TableState::Behind,
        machine::TableState::Reported => TableState::Reported,
        machine::TableState::Executing => TableState::Executing,
        machine::TableState::Conflict => TableState::Conflict,
        machine::TableState::Synced => TableState::Synced,
        machine::TableState::Waiting => TableState::Waiting,
        machine::TableState::Redirected => TableState::Redirected,
    };
    TableStatus {
        source: table.table.source.to_string(),
        schema: table.table.schema.clone(),
        table: table.table.table.clone(),
        state: state.into(),
        ddls: table.ddls.clone(),
        structure: table.structure.as_ref().to_owned(),
        conflict: table.conflict.clone(),
        revision: table.revision.0,
        undone: table.is_undone,
    }
}

/// Records that one message names at most.
const NAMED: usize = 5;

/// What `msg` says: why locks stand still, and which records cannot be read. Empty when all is on its way.
pub(super) fn message(locks: &[LockView], faults: &[(String, String)]) -> String {
    let reasons = locks.iter().flat_map(|lock| {
        let reasons = lock.reasons.iter();
        reasons.map(move |reason| format!("{}: {reason}", lock.id))
    });
    let named = faults.iter().take(NAMED);
    let named = named.map(|(key, what)| format!("The record {key} cannot be used: {what}."));
    let more = faults.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("So cannot {more} more; /status names them."));
    let sentences: Vec<String> = reasons.chain(named).chain(more).collect();
    sentences.join("\n")
}
