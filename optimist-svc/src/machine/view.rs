//! The locks as users see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dm_keyspace::optimism::ConflictStage;
use dm_keyspace::{SourceId, TaskName};
use dm_schema::lattice::Schema;
use dm_store::Revision;

use super::Optimist;
use super::evidence::{TableId, Task, of_source};
use super::lock::Lock;
use super::shapes::Shape;

/// How far a lock has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Tables differ, and the lock waits for the others to follow.
    Diverged,
    /// A statement was refused, or the tables cannot be joined: somebody has to decide.
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
    /// Its statement was refused.
    Conflict,
    /// Was told to wait until the others have met the same statement.
    Waiting,
    /// Was told to go back to the statement that it waited at.
    Redirected,
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
    /// Whether it has something left to do.
    pub is_undone: bool,
    /// Its schema, if it is known and was asked for.
    pub structure: Arc<str>,
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
    /// The joined schema, if there is one and it was asked for.
    pub joined: Option<String>,
    /// How many tables have a schema that is still being read.
    pub awaited: usize,
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
        self.views(task, sources, true)
    }

    /// The same without the texts of schemas, which are most of it.
    #[must_use]
    pub fn locks_in_brief(&self, task: &str, sources: &[SourceId]) -> Vec<LockView> {
        self.views(task, sources, false)
    }

    fn views(&self, task: &str, sources: &[SourceId], with_schemas: bool) -> Vec<LockView> {
        let tasks = self
            .tasks
            .iter()
            .filter(|(name, _)| task.is_empty() || name.as_str() == task);
        let locks = tasks.flat_map(|(_, task)| task.locks.values().map(move |lock| (task, lock)));
        locks
            .filter(|(_, lock)| !lock.members.is_empty())
            .filter(|(_, lock)| {
                sources.is_empty()
                    || sources
                        .iter()
                        .any(|source| of_source(&lock.members, source).next().is_some())
            })
            .map(|(task, lock)| LockView {
                age: self.now.saturating_sub(lock.first_seen.unwrap_or(self.now)),
                ..view(task, lock, self.failure(&lock.task), with_schemas)
            })
            .collect()
    }
}

fn view(task: &Task, lock: &Lock, failure: Option<&str>, with_schemas: bool) -> LockView {
    let joined = lock.joined();
    let is_synced = |table: &TableId| {
        let last = lock.members.get(table).and_then(|member| member.last());
        last.zip(joined.as_deref()).is_some_and(|(last, joined)| {
            let last: &Schema = last;
            last == joined
        })
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
    let mut texts = Texts::default();
    let tables: Vec<TableView> = lock
        .members
        .iter()
        .map(|(table, member)| {
            let structure = match (&member.normal, with_schemas) {
                (Some(normal), true) => texts.of(normal),
                _ => "".into(),
            };
            table_view(task, lock, table, is_synced(table), structure)
        })
        .collect();
    let is_refused = tables
        .iter()
        .any(|table| table.state == TableState::Conflict);
    // Tables that wait may well have what cannot be joined with the others: that is why they wait.
    let is_stuck = joined.is_none() && lock.conflicts.is_empty();
    let phase = match () {
        () if lock.is_resolved() => Phase::Resolved,
        () if !lock.awaited.is_empty() => Phase::Diverged,
        () if is_refused || is_stuck => Phase::Conflict,
        () if lock.is_synced() => Phase::Synced,
        () => Phase::Diverged,
    };
    LockView {
        id: lock.id.clone(),
        task: lock.task.clone(),
        synced: names(&|table| is_synced(table)),
        unsynced: names(&|table| !is_synced(table)),
        undone: names(&|table| lock.members.get(table).is_some_and(|m| !m.is_done)),
        owners: owners.collect(),
        phase,
        reasons: reasons(lock, &tables, is_stuck, failure),
        tables,
        joined: joined
            .filter(|_| with_schemas)
            .map(|joined| joined.to_string()),
        awaited: lock.awaited.len(),
        dropped_columns: lock.columns.names().cloned().collect(),
        trace: lock.trace.clone(),
        age: Duration::ZERO,
    }
}

/// Texts of schemas, each made once.
#[derive(Default)]
struct Texts<'a>(Vec<(&'a Shape, Arc<str>)>);

impl<'a> Texts<'a> {
    fn of(&mut self, shape: &'a Shape) -> Arc<str> {
        // Tables of one lock share the copies of what they have.
        let known = self.0.iter().find(|(known, _)| Arc::ptr_eq(known, shape));
        if let Some((_, text)) = known {
            return text.clone();
        }
        let text: Arc<str> = shape.to_string().into();
        self.0.push((shape, text.clone()));
        text
    }
}

fn stage<'a>(task: &'a Task, lock: &Lock, table: &TableId) -> Option<&'a ConflictStage> {
    let answered = task.operations.get(table)?;
    (answered.operation.id == lock.id).then_some(&answered.operation.conflict_stage)
}

fn table_view(
    task: &Task,
    lock: &Lock,
    table: &TableId,
    is_synced: bool,
    structure: Arc<str>,
) -> TableView {
    let info = task.infos.get(table).filter(|info| info.lock == lock.id);
    let answered = task
        .operations
        .get(table)
        .filter(|a| a.operation.id == lock.id);
    let answer = answered.filter(|a| info.is_some_and(|info| a.revision > info.revision));
    let state = match answer.map(|a| (&a.operation.conflict_stage, a.operation.done)) {
        // One that ignores conflicts gets no answer.
        None if info.is_some_and(|info| !info.ignore_conflict) => TableState::Reported,
        Some((ConflictStage::Detected | ConflictStage::Error, _)) => TableState::Conflict,
        Some((ConflictStage::SkipWaitRedirect, _)) => TableState::Waiting,
        Some((ConflictStage::Resolved, _)) => TableState::Redirected,
        Some((_, false)) => TableState::Executing,
        _ if is_synced => TableState::Synced,
        _ => TableState::Behind,
    };
    let revision = info.map(|info| info.revision).unwrap_or_default();
    TableView {
        table: table.clone(),
        state,
        ddls: info.map(|info| info.ddls.clone()).unwrap_or_default(),
        is_undone: lock
            .members
            .get(table)
            .is_some_and(|member| !member.is_done),
        structure,
        conflict: answer
            .map(|a| a.operation.conflict_message.clone())
            .unwrap_or_default(),
        revision: answer.map_or(revision, |a| a.revision.max(revision)),
    }
}

/// Tables that a sentence names at most.
const NAMED: usize = 10;

/// The tables as text; none when there are none.
fn listed<'a>(tables: impl Iterator<Item = &'a TableId>) -> Option<String> {
    let mut tables = tables.peekable();
    tables.peek()?;
    let named: Vec<String> = tables
        .by_ref()
        .take(NAMED)
        .map(ToString::to_string)
        .collect();
    let names = named.join(", ");
    Some(match tables.count() {
        0 => names,
        more => format!("{names} and {more} more"),
    })
}

fn reasons(
    lock: &Lock,
    tables: &[TableView],
    is_stuck: bool,
    failure: Option<&str>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if !lock.awaited.is_empty() {
        let count = lock.awaited.len();
        reasons.push(format!(
            "The schemas of {count} tables are being read from the downstream's checkpoint."
        ));
        reasons.extend(failure.map(|why| format!("The checkpoint could not be read yet: {why}.")));
    } else if is_stuck {
        reasons.push("The schemas of the tables cannot be joined.".to_owned());
    }
    for (state, what) in [
        (
            TableState::Waiting,
            "Waiting until all other tables have met the same statement",
        ),
        (
            TableState::Redirected,
            "Told to go back to the statement that it waited at, and not there yet",
        ),
        (TableState::Executing, "Told what to execute, and not done"),
        (TableState::Behind, "Behind the joined schema"),
    ] {
        let of_state = tables.iter().filter(|table| table.state == state);
        let names = listed(of_state.map(|table| &table.table));
        reasons.extend(names.map(|names| format!("{what}: {names}.")));
    }
    let silent = tables
        .iter()
        .filter(|table| table.state == TableState::Synced && table.is_undone);
    reasons.extend(listed(silent.map(|table| &table.table)).map(|names| {
        format!("As the others, but has not reported any statement of its own yet: {names}.")
    }));
    let refused = tables
        .iter()
        .filter(|table| table.state == TableState::Conflict);
    let refused = refused.take(NAMED);
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
