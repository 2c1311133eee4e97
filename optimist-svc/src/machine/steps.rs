//! What a lock calls for: answers and redirects with the marks that belong to them, marks that advance, records to delete.
//!
//! Every write is guarded by the info that it answers and by what it replaces. What does not fit into one transaction goes
//! in several that may be repeated: marks, then redirects, the answer last.

use std::collections::BTreeSet;

use dm_keyspace::optimism::{DropStage, DroppedColumnKey, InfoKey, Operation, OperationKey};
use dm_keyspace::{SourceId, SubtaskKey, TaskName};
use dm_replica::Proposal;
use dm_store::{Guard, KeyRange, Revision};

use super::LockKey;
use super::evidence::{TableId, Task};
use super::fold::source_tables_key;
use super::lock::Lock;
use super::marks::At;
use super::owing::Owed;

/// Transactions that one decision asks for at most, or nearly. The rest follows when they are done, so that the cost of a large lock
/// does not grow with the number of its transactions.
pub(super) const AT_A_TIME: usize = 10;

/// How many guards, or writes, one proposal may have: etcd's limit without the fence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room(pub(super) usize);

impl Room {
    /// By the number of operations that etcd takes in a transaction.
    pub(super) fn of(max_txn_ops: usize) -> Self {
        // A table's answer needs two guards and a source's guard.
        Self(max_txn_ops.saturating_sub(1).max(4))
    }

    /// Tables whose two records may be in one proposal.
    pub(super) fn tables(self) -> usize {
        self.0 / 2
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::of(128)
    }
}

/// All that the lock calls for now, apart from the operations that it owes.
pub(super) fn steps(task: &Task, key: &LockKey, room: Room) -> Vec<Proposal> {
    if key.id.is_empty() {
        return forget_sources(task, &key.task);
    }
    let steps = Steps { task, key, room };
    if let Some(since) = task.removing.get(&key.id) {
        return steps.go_on_removing(*since);
    }
    match task.locks.get(&key.id) {
        Some(lock) if lock.is_resolved() => vec![steps.remove(lock)],
        Some(lock) => {
            let mut proposals = steps.advance(lock);
            proposals.extend(steps.forget(lock));
            proposals
        }
        None => steps.left_over(),
    }
}

/// The operations of one judgement that the lock owes.
pub(super) fn answers(task: &Task, key: &LockKey, group: Revision, room: Room) -> Vec<Proposal> {
    let steps = Steps { task, key, room };
    let lock = task.locks.get(&key.id);
    let lock = lock.filter(|_| !task.removing.contains_key(&key.id));
    lock.map(|lock| steps.group(lock, group))
        .unwrap_or_default()
}

/// Lists of sources that take no part in the task any more.
fn forget_sources(task: &Task, name: &TaskName) -> Vec<Proposal> {
    let stopped = task
        .sources
        .iter()
        .filter(|(source, listed)| listed.is_present && task.is_stopped(source));
    stopped
        .map(|(source, listed)| {
            let key = source_tables_key(name, source);
            Proposal::new("forget_source")
                .guard(no_subtask(source, name))
                .guard(Guard::ModRevision(key.clone().into(), listed.revision))
                .delete(KeyRange::key(key))
        })
        .collect()
}

/// The source has no part in the task, also not by now.
fn no_subtask(source: &SourceId, task: &TaskName) -> Guard {
    let subtask = SubtaskKey {
        source: source.clone(),
        task: task.clone(),
    };
    Guard::Missing(subtask.encode().into())
}

pub(super) struct Steps<'a> {
    pub(super) task: &'a Task,
    pub(super) key: &'a LockKey,
    pub(super) room: Room,
}

/// A change of a mark: where it lies, its revision if it is there, and the new stage if there is to be one.
type MarkChange<'a> = (&'a At, Option<Revision>, Option<DropStage>);

impl Steps<'_> {
    fn group(&self, lock: &Lock, group: Revision) -> Vec<Proposal> {
        let most = self.room.tables() * AT_A_TIME;
        let owed: Vec<(&TableId, &Owed)> = lock.owed.of(group).take(most + 1).collect();
        if owed.is_empty() {
            return Vec::new();
        }
        let marks: Vec<(&TableId, Vec<MarkChange<'_>>)> = owed
            .iter()
            .map(|(table, _)| (*table, self.new_marks(lock, table)))
            .collect();
        let count: usize = marks.iter().map(|(_, changes)| changes.len()).sum();
        if 2 * owed.len() + count <= self.room.0 {
            let changes = marks.iter().flat_map(|(_, changes)| changes);
            let answer = self.answer(&owed);
            return vec![changes.fold(answer, |p, change| self.with_mark(p, *change))];
        }
        if count > 0 {
            let infos = owed.iter().map(|(_, owed)| owed.info);
            let of_tables = marks.into_iter().zip(infos);
            return of_tables
                .flat_map(|((table, changes), info)| self.marks_first(table, info, &changes))
                .take(AT_A_TIME)
                .collect();
        }
        let redirects: Vec<_> = owed.into_iter().filter(|(_, o)| !o.is_answer()).collect();
        let chunks = redirects.chunks(self.room.tables()).take(AT_A_TIME);
        chunks.map(|owed| self.answer(owed)).collect()
    }

    fn answer(&self, owed: &[(&TableId, &Owed)]) -> Proposal {
        let trace = owed.last().and_then(|(table, _)| self.trace(table));
        let empty = Proposal::new("answer").trace(trace);
        owed.iter().fold(empty, |proposal, (table, owed)| {
            self.put(proposal, table, owed)
        })
    }

    /// Marks of a table that do not fit into one transaction with its answer.
    fn marks_first(
        &self,
        table: &TableId,
        info: Revision,
        changes: &[MarkChange<'_>],
    ) -> Vec<Proposal> {
        let guard = Guard::ModRevision(self.info_key(table).into(), info);
        let chunks = changes.chunks(self.room.0 - 1);
        let one = |changes: &[MarkChange<'_>]| {
            let empty = Proposal::new("mark_dropped_columns").guard(guard.clone());
            changes
                .iter()
                .fold(empty, |p, change| self.with_mark(p, *change))
        };
        chunks.map(one).collect()
    }

    fn trace(&self, table: &TableId) -> Option<String> {
        self.task.infos.get(table)?.trace.clone()
    }

    fn put(&self, proposal: Proposal, table: &TableId, owed: &Owed) -> Proposal {
        let key = self.operation_key(table);
        let operation = owed.operation.clone();
        let value = move |traceparent: Option<&str>| {
            Operation {
                traceparent: traceparent.map(str::to_owned),
                ..operation.clone()
            }
            .to_bytes()
        };
        let present = self.task.operations.get(table).map(|a| a.revision);
        proposal
            .guard(Guard::ModRevision(self.info_key(table).into(), owed.info))
            .guard(Guard::unchanged(key.clone(), present))
            .put_traced(key, value)
    }

    fn change<'a>(&self, lock: &Lock, at: &'a At) -> MarkChange<'a> {
        let present = self.task.marks.get(&lock.id);
        let known = present.and_then(|marks| marks.get(&(at.1.clone(), at.0.clone())));
        (
            at,
            known.map(|(_, revision)| *revision),
            lock.columns.wanted(at),
        )
    }

    /// Marks of a table that are to be put with what is owed to it.
    fn new_marks<'a>(&self, lock: &'a Lock, table: &'a TableId) -> Vec<MarkChange<'a>> {
        let unsettled = lock.columns.unsettled_of(table);
        let changes = unsettled.map(|at| self.change(lock, at));
        changes.filter(|(_, _, stage)| stage.is_some()).collect()
    }

    /// Changes of marks that no answer brings.
    fn advance(&self, lock: &Lock) -> Vec<Proposal> {
        let most = self.room.0 * AT_A_TIME;
        let unsettled = lock.columns.unsettled().take(most);
        let changes: Vec<MarkChange<'_>> = unsettled
            .map(|at| self.change(lock, at))
            .filter(|(at, _, stage)| stage.is_none() || lock.owed.get(&at.0).is_none())
            .collect();
        let one = |changes: &[MarkChange<'_>]| {
            let empty = Proposal::new("advance_dropped_columns");
            changes
                .iter()
                .fold(empty, |p, change| self.with_mark(p, *change))
        };
        let mut proposals: Vec<Proposal> = changes.chunks(self.room.0).map(one).collect();
        let forgotten: Vec<&String> = lock.columns.forgotten().collect();
        proposals.extend(forgotten.chunks(self.room.0).map(|columns| {
            let empty = Proposal::new("forget_dropped_columns");
            columns.iter().fold(empty, |proposal, column| {
                let prefix = DroppedColumnKey::prefix_of_column(&lock.id, column);
                proposal.delete(KeyRange::prefix(prefix))
            })
        }));
        proposals
    }

    /// Records of tables that have left. Those of a source that takes no part are deleted only while it takes none.
    fn forget(&self, lock: &Lock) -> Vec<Proposal> {
        let leaving = lock.leaving.iter().take(self.room.tables() * AT_A_TIME);
        let (stopped, gone): (Vec<&TableId>, Vec<&TableId>) =
            leaving.partition(|table| self.task.is_stopped(&table.source));
        let mut proposals = self.delete("forget_tables", &gone);
        for tables in stopped.chunks((self.room.0 / 3).max(1)) {
            let sources: BTreeSet<&SourceId> = tables.iter().map(|table| &table.source).collect();
            let proposal = self.delete_of(Proposal::new("forget_stopped"), tables);
            proposals.push(sources.iter().fold(proposal, |proposal, source| {
                proposal.guard(no_subtask(source, &self.key.task))
            }));
        }
        proposals
    }

    /// Deletes info and operation of each table, if they are those that were seen.
    pub(super) fn delete(&self, name: &'static str, tables: &[&TableId]) -> Vec<Proposal> {
        let chunks = tables.chunks(self.room.tables());
        chunks
            .map(|tables| self.delete_of(Proposal::new(name), tables))
            .collect()
    }

    pub(super) fn delete_of(&self, proposal: Proposal, tables: &[&TableId]) -> Proposal {
        tables.iter().fold(proposal, |proposal, table| {
            let (info, operation) = (self.info_key(table), self.operation_key(table));
            let reported = self.task.infos.get(*table).map(|info| info.revision);
            let answered = self.task.operations.get(*table).map(|a| a.revision);
            proposal
                .guard(Guard::unchanged(info.clone(), reported))
                .guard(Guard::unchanged(operation.clone(), answered))
                .delete(KeyRange::key(info))
                .delete(KeyRange::key(operation))
        })
    }

    /// Operations and marks that outlived their lock: a worker was late.
    fn left_over(&self) -> Vec<Proposal> {
        if self.task.by_lock.contains_key(&self.key.id) {
            return Vec::new();
        }
        let tables: Vec<&TableId> = self.answered_only().collect();
        let mut proposals = self.delete("forget_operations", &tables);
        if self.task.marks.contains_key(&self.key.id) {
            let marks = KeyRange::prefix(DroppedColumnKey::prefix_of_lock(&self.key.id));
            proposals.push(Proposal::new("forget_dropped_columns").delete(marks));
        }
        proposals
    }

    /// Tables that have an operation of the lock and no info; so many that one decision is not too large.
    pub(super) fn answered_only(&self) -> impl Iterator<Item = &TableId> {
        let answered = self.task.answered_by_lock.get(&self.key.id);
        let answered = answered.into_iter().flatten();
        answered
            .filter(|table| !self.task.infos.contains_key(*table))
            .take(self.room.tables() * AT_A_TIME)
    }

    fn info_key(&self, table: &TableId) -> String {
        InfoKey {
            task: self.key.task.clone(),
            source: table.source.clone(),
            schema: table.schema.clone(),
            table: table.table.clone(),
        }
        .encode()
    }

    fn operation_key(&self, table: &TableId) -> String {
        OperationKey {
            task: self.key.task.clone(),
            source: table.source.clone(),
            schema: table.schema.clone(),
            table: table.table.clone(),
        }
        .encode()
    }

    fn with_mark(&self, proposal: Proposal, (at, present, stage): MarkChange<'_>) -> Proposal {
        let (table, column) = at;
        let key = DroppedColumnKey {
            lock: self.key.id.clone(),
            column: column.clone(),
            source: table.source.clone(),
            schema: table.schema.clone(),
            table: table.table.clone(),
        }
        .encode();
        let proposal = proposal.guard(Guard::unchanged(key.clone(), present));
        match stage {
            Some(stage) => proposal.put(key, stage.to_bytes()),
            None => proposal.delete(KeyRange::key(key)),
        }
    }
}
