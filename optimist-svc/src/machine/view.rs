//! The locks as users see them.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_keyspace::optimism::ConflictStage;
use dm_keyspace::{SourceId, TaskName};
use dm_store::Revision;

use super::Optimist;
use super::evidence::{TableId, Task};
use super::lock::Lock;

/// How far a lock has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Tables differ, and the lock waits for the others to follow.
    Diverged,
    /// Tables contradict each other.
    Conflict,
    /// All tables are equal, and not all is done.
    Synced,
    /// All is done; the records are being deleted.
    Resolved,
}

/// What a table of a lock is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableState {
    /// Behind the joined schema.
    Behind,
    /// Waits for an answer.
    Reported,
    /// Was told what to execute, and has not said that it did.
    Executing,
    /// Was told of a conflict, or to wait.
    Conflict,
    /// Equal to the joined schema.
    Synced,
}

/// One table of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableView {
    /// The table.
    pub table: TableId,
    /// What it is at.
    pub state: TableState,
    /// Statements of its last report.
    pub ddls: Vec<String>,
    /// Its schema, if it is known.
    pub structure: String,
    /// The conflict that it was told of, or that it waits.
    pub conflict: String,
    /// Revision of its last report or answer; zero when there is none.
    pub revision: Revision,
}

/// A lock with the reason why it is not resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockView {
    /// The lock's id.
    pub id: String,
    /// Its task.
    pub task: TaskName,
    /// Tables equal to the joined schema, as texts, sorted.
    pub synced: Vec<String>,
    /// Tables that are not.
    pub unsynced: Vec<String>,
    /// Tables that have something left to do.
    pub undone: Vec<String>,
    /// Tables whose statement was refused, with it.
    pub owners: Vec<(TableId, Vec<String>)>,
    /// How far it has come.
    pub phase: Phase,
    /// Each table.
    pub tables: Vec<TableView>,
    /// Why it stands still, in sentences.
    pub reasons: Vec<String>,
    /// The joined schema, if there is one.
    pub joined: Option<String>,
    /// Columns that some table has dropped and the downstream may still have.
    pub dropped_columns: Vec<String>,
    /// Trace of the first report.
    pub trace: Option<String>,
    /// How long this replica has known it.
    pub age: Duration,
}

/// Locks of a task by how far they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockStates {
    /// With tables that differ.
    pub unsynced: i64,
    /// With tables that are all equal.
    pub synced: i64,
}

impl Optimist {
    /// How many locks each task has.
    #[must_use]
    pub fn lock_states(&self) -> BTreeMap<TaskName, LockStates> {
        let mut states: BTreeMap<TaskName, LockStates> = BTreeMap::new();
        for (name, task) in &self.tasks {
            for lock in task.locks.values().filter(|lock| !lock.members.is_empty()) {
                let of_task = states.entry(name.clone()).or_default();
                match lock.is_synced() {
                    true => of_task.synced += 1,
                    false => of_task.unsynced += 1,
                }
            }
        }
        states
    }

    /// The locks of a task (empty: of all) that have a table of one of `sources` (empty: of any), by task and id.
    #[must_use]
    pub fn locks(&self, task: &str, sources: &[SourceId]) -> Vec<LockView> {
        let tasks = self
            .tasks
            .iter()
            .filter(|(name, _)| task.is_empty() || name.as_str() == task);
        let locks = tasks.flat_map(|(_, task)| task.locks.values().map(move |lock| (task, lock)));
        locks
            .filter(|(_, lock)| !lock.members.is_empty())
            .filter(|(_, lock)| {
                sources.is_empty() || lock.members.keys().any(|t| sources.contains(&t.source))
            })
            .map(|(task, lock)| LockView {
                age: self.now.saturating_sub(lock.first_seen.unwrap_or(self.now)),
                ..view(task, lock, self.failure(&lock.task))
            })
            .collect()
    }
}

fn view(task: &Task, lock: &Lock, failure: Option<&str>) -> LockView {
    let joined = lock.joined();
    let is_synced = |table: &TableId| {
        let last = lock.members.get(table).and_then(|member| member.last());
        last.zip(joined.as_ref())
            .is_some_and(|(last, joined)| **last == *joined)
    };
    let names = |wanted: &dyn Fn(&TableId) -> bool| {
        let tables = lock.members.keys().filter(|table| wanted(table));
        let mut names: Vec<String> = tables.map(ToString::to_string).collect();
        names.sort();
        names
    };
    let owners = lock.members.keys().filter_map(|table| {
        let is_owner = stage(task, lock, table) == Some(&ConflictStage::Detected);
        let info = task.infos.get(table).filter(|_| is_owner)?;
        Some((table.clone(), info.ddls.clone()))
    });
    let phase = match () {
        () if lock.is_resolved() => Phase::Resolved,
        () if !lock.awaited.is_empty() => Phase::Diverged,
        () if joined.is_none() || !lock.conflicts.is_empty() => Phase::Conflict,
        () if lock.is_synced() => Phase::Synced,
        () => Phase::Diverged,
    };
    let tables: Vec<TableView> = lock
        .members
        .keys()
        .map(|table| table_view(task, lock, table, is_synced(table)))
        .collect();
    LockView {
        id: lock.id.clone(),
        task: lock.task.clone(),
        synced: names(&|table| is_synced(table)),
        unsynced: names(&|table| !is_synced(table)),
        undone: names(&|table| lock.members.get(table).is_some_and(|m| !m.is_done)),
        owners: owners.collect(),
        phase,
        reasons: reasons(lock, &tables, joined.is_some(), failure),
        tables,
        joined: joined.map(|joined| joined.to_string()),
        dropped_columns: lock.columns.keys().cloned().collect(),
        trace: lock.trace.clone(),
        age: Duration::ZERO,
    }
}

fn stage<'a>(task: &'a Task, lock: &Lock, table: &TableId) -> Option<&'a ConflictStage> {
    let answered = task.operations.get(table)?;
    (answered.operation.id == lock.id).then_some(&answered.operation.conflict_stage)
}

fn table_view(task: &Task, lock: &Lock, table: &TableId, is_synced: bool) -> TableView {
    let info = task.infos.get(table).filter(|info| info.lock == lock.id);
    let answered = task
        .operations
        .get(table)
        .filter(|a| a.operation.id == lock.id);
    let answer = answered.filter(|a| info.is_some_and(|info| a.revision > info.revision));
    let state = match answer.map(|a| (&a.operation.conflict_stage, a.operation.done)) {
        None if info.is_some() => TableState::Reported,
        Some((
            ConflictStage::Detected | ConflictStage::SkipWaitRedirect | ConflictStage::Error,
            _,
        )) => TableState::Conflict,
        Some((_, false)) => TableState::Executing,
        _ if is_synced => TableState::Synced,
        _ => TableState::Behind,
    };
    let member = lock.members.get(table);
    let revision = info.map(|info| info.revision).unwrap_or_default();
    TableView {
        table: table.clone(),
        state,
        ddls: info.map(|info| info.ddls.clone()).unwrap_or_default(),
        structure: member
            .and_then(|member| member.normal.as_ref())
            .map(ToString::to_string)
            .unwrap_or_default(),
        conflict: answer
            .map(|a| a.operation.conflict_message.clone())
            .unwrap_or_default(),
        revision: answer.map_or(revision, |a| a.revision.max(revision)),
    }
}

fn reasons(
    lock: &Lock,
    tables: &[TableView],
    can_be_joined: bool,
    failure: Option<&str>,
) -> Vec<String> {
    let list = |state: TableState| {
        let of_state = tables.iter().filter(|table| table.state == state);
        let names: Vec<String> = of_state.map(|table| table.table.to_string()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let mut reasons = Vec::new();
    if !lock.awaited.is_empty() {
        let count = lock.awaited.len();
        reasons.push(format!(
            "The schemas of {count} tables are being read from the downstream's checkpoint."
        ));
        reasons.extend(failure.map(|why| format!("The checkpoint could not be read yet: {why}.")));
    } else if !can_be_joined {
        reasons.push("The schemas of the tables cannot be joined.".to_owned());
    }
    if !lock.conflicts.is_empty() {
        let names: Vec<String> = lock.conflicts.iter().map(ToString::to_string).collect();
        reasons.push(format!(
            "Waiting until all other tables have met the same statement: {}.",
            names.join(", ")
        ));
    }
    for (state, what) in [
        (TableState::Executing, "Told what to execute, and not done"),
        (TableState::Behind, "Behind the joined schema"),
    ] {
        reasons.extend(list(state).map(|names| format!("{what}: {names}.")));
    }
    let refused = tables.iter().filter(|table| {
        table.state == TableState::Conflict && !lock.conflicts.contains(&table.table)
    });
    reasons.extend(refused.map(|table| format!("Refused to {}: {}", table.table, table.conflict)));
    reasons
}

impl LockView {
    /// DM's rows for the lock: one for each refused table of `sources` (empty: of any), or one without an owner.
    #[must_use]
    pub fn rows(&self, sources: &[SourceId]) -> Vec<(String, Vec<String>)> {
        let owners = self
            .owners
            .iter()
            .filter(|(table, _)| sources.is_empty() || sources.contains(&table.source));
        let mut rows: Vec<_> = owners
            .map(|(table, ddls)| (table.to_string(), ddls.clone()))
            .collect();
        rows.sort();
        if rows.is_empty() {
            rows.push((String::new(), Vec::new()));
        }
        rows
    }
}
