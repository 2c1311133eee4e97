//! What a lock calls for: answers and redirects with the marks that belong to them, marks that advance, records to delete.
//!
//! Every write is guarded by the info that it answers and by what it replaces.

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::optimism::{DropStage, DroppedColumnKey, InfoKey, Operation, OperationKey};
use dm_keyspace::{SourceId, SubtaskKey, TaskName};
use dm_replica::Proposal;
use dm_store::{Guard, KeyRange, Revision};

use super::LockKey;
use super::evidence::{Marks, TableId, Task};
use super::fold::source_tables_key;
use super::lock::{Lock, Owed};

/// Tables that one transaction is about; each takes two guards and two writes, and etcd takes 128 of either.
const TABLES_PER_PROPOSAL: usize = 50;
/// The same where each may add the guard of its source.
const STOPPED_PER_PROPOSAL: usize = 40;

/// All that the lock calls for now.
pub(super) fn steps(task: &Task, key: &LockKey) -> Vec<Proposal> {
    if key.id.is_empty() {
        return forget_sources(task, &key.task);
    }
    let steps = Steps { task, key };
    match task.locks.get(&key.id) {
        Some(lock) if lock.is_resolved() => steps.remove(lock),
        Some(lock) => {
            let mut proposals = steps.answers(lock);
            proposals.extend(steps.advance(lock));
            proposals.extend(steps.forget(lock));
            proposals
        }
        None => steps.left_over(),
    }
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

struct Steps<'a> {
    task: &'a Task,
    key: &'a LockKey,
}

/// A change of marks: the key, its revision if it is there, and the new stage if there is to be one.
type MarkChange = (String, Option<Revision>, Option<DropStage>);

impl Steps<'_> {
    /// The operations that are owed, those of one judgement together.
    fn answers(&self, lock: &Lock) -> Vec<Proposal> {
        let mut groups: BTreeMap<Revision, Vec<(&TableId, &Owed)>> = BTreeMap::new();
        for (table, owed) in &lock.owed {
            groups.entry(owed.group).or_default().push((table, owed));
        }
        groups
            .into_iter()
            .flat_map(|(group, owed)| self.group(lock, group, owed))
            .collect()
    }

    fn group(&self, lock: &Lock, group: Revision, owed: Vec<(&TableId, &Owed)>) -> Vec<Proposal> {
        let changes = self.mark_changes(lock);
        let is_answer = |owed: &Owed| owed.info == group;
        let (answers, redirects): (Vec<_>, Vec<_>) =
            owed.into_iter().partition(|(_, owed)| is_answer(owed));
        // Of more than fit into one transaction the answer goes last, when the others are there.
        let is_whole = redirects.len() < TABLES_PER_PROPOSAL;
        let chunks: Vec<Vec<(&TableId, &Owed)>> = match is_whole {
            true => vec![redirects.into_iter().chain(answers).collect()],
            false => redirects
                .chunks(TABLES_PER_PROPOSAL)
                .map(<[_]>::to_vec)
                .collect(),
        };
        let one = |owed: Vec<(&TableId, &Owed)>| {
            let trace = owed.last().and_then(|(table, _)| self.trace(table));
            let empty = Proposal::new("answer").trace(trace);
            let proposal = owed.iter().fold(empty, |proposal, (table, owed)| {
                self.put(proposal, table, owed)
            });
            let tables: BTreeSet<&TableId> = owed.iter().map(|(table, _)| *table).collect();
            let of_tables = changes
                .iter()
                .filter(|((_, table), change)| tables.contains(table) && change.2.is_some());
            of_tables.fold(proposal, |proposal, (_, change)| {
                with_mark(proposal, change)
            })
        };
        chunks.into_iter().map(one).collect()
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

    /// Marks that are not as they should be, by column and table.
    fn mark_changes(&self, lock: &Lock) -> BTreeMap<(String, TableId), MarkChange> {
        let none = Marks::new();
        let present = self.task.marks.get(&lock.id).unwrap_or(&none);
        let mut changes = BTreeMap::new();
        for (table, mark) in lock.columns.values().flatten() {
            let at = (mark.spelling.clone(), table.clone());
            let known = present.get(&at);
            if known.is_none_or(|(stage, _)| *stage != mark.stage) {
                let key = self.mark_key(&at);
                changes.insert(at, (key, known.map(|(_, at)| *at), Some(mark.stage)));
            }
        }
        for (at, (_, revision)) in present {
            let is_wanted = lock
                .mark(&at.1, &at.0)
                .is_some_and(|mark| mark.spelling == at.0);
            if !is_wanted {
                changes.insert(at.clone(), (self.mark_key(at), Some(*revision), None));
            }
        }
        changes
    }

    /// Changes of marks that no answer brings.
    fn advance(&self, lock: &Lock) -> Vec<Proposal> {
        let changes = self.mark_changes(lock);
        let others: Vec<&MarkChange> = changes
            .iter()
            .filter(|((_, table), change)| change.2.is_none() || !lock.owed.contains_key(table))
            .map(|(_, change)| change)
            .collect();
        let one = |changes: &[&MarkChange]| {
            let empty = Proposal::new("advance_dropped_columns");
            changes
                .iter()
                .fold(empty, |proposal, change| with_mark(proposal, change))
        };
        others.chunks(2 * TABLES_PER_PROPOSAL).map(one).collect()
    }

    /// Records of tables that have left. Those of a source that takes no part are deleted only while it takes none.
    fn forget(&self, lock: &Lock) -> Vec<Proposal> {
        let (stopped, gone): (Vec<&TableId>, Vec<&TableId>) = lock
            .leaving
            .iter()
            .partition(|table| self.task.is_stopped(&table.source));
        let mut proposals = self.delete("forget_tables", &gone);
        for tables in stopped.chunks(STOPPED_PER_PROPOSAL) {
            let sources: BTreeSet<&SourceId> = tables.iter().map(|table| &table.source).collect();
            for proposal in self.delete("forget_stopped", tables) {
                let guarded = sources.iter().fold(proposal, |proposal, source| {
                    proposal.guard(no_subtask(source, &self.key.task))
                });
                proposals.push(guarded);
            }
        }
        proposals
    }

    /// The whole lock. Of a large one the rest follows when a part is gone; a newer info stops it.
    fn remove(&self, lock: &Lock) -> Vec<Proposal> {
        let with_records = |table: &&TableId| {
            self.task.infos.contains_key(*table) || self.task.operations.contains_key(*table)
        };
        let is_whole = lock.members.len() <= TABLES_PER_PROPOSAL;
        let mut tables: Vec<&TableId> = lock.members.keys().collect();
        if !is_whole {
            tables.retain(with_records);
        }
        tables.extend(&lock.leaving);
        let mut proposals = self.delete("remove_lock", &tables);
        if self.task.marks.contains_key(&lock.id)
            && let Some(first) = proposals.first_mut()
        {
            let marks = KeyRange::prefix(DroppedColumnKey::prefix_of_lock(&lock.id));
            first.deletes.push(marks);
        }
        proposals
    }

    /// Deletes info and operation of each table, if they are those that were seen.
    fn delete(&self, name: &'static str, tables: &[&TableId]) -> Vec<Proposal> {
        let one = |tables: &[&TableId]| {
            tables.iter().fold(Proposal::new(name), |proposal, table| {
                let (info, operation) = (self.info_key(table), self.operation_key(table));
                let reported = self.task.infos.get(*table).map(|info| info.revision);
                let answered = self.task.operations.get(*table).map(|a| a.revision);
                proposal
                    .guard(Guard::unchanged(info.clone(), reported))
                    .guard(Guard::unchanged(operation.clone(), answered))
                    .delete(KeyRange::key(info))
                    .delete(KeyRange::key(operation))
            })
        };
        tables.chunks(TABLES_PER_PROPOSAL).map(one).collect()
    }

    /// Operations and marks that outlived their lock: a worker was late, or a removal was cut short.
    fn left_over(&self) -> Vec<Proposal> {
        if self.task.by_lock.contains_key(&self.key.id) {
            return Vec::new();
        }
        let of_lock = self.task.operations.iter().filter(|(table, answered)| {
            answered.operation.id == self.key.id && !self.task.infos.contains_key(*table)
        });
        let tables: Vec<&TableId> = of_lock.map(|(table, _)| table).collect();
        let mut proposals = self.delete("forget_operations", &tables);
        let marks = self.task.marks.get(&self.key.id);
        let keys: Vec<(String, Revision)> = marks
            .into_iter()
            .flatten()
            .map(|(at, (_, revision))| (self.mark_key(at), *revision))
            .collect();
        proposals.extend(keys.chunks(2 * TABLES_PER_PROPOSAL).map(|keys| {
            let empty = Proposal::new("forget_dropped_columns");
            keys.iter().fold(empty, |proposal, (key, revision)| {
                with_mark(proposal, &(key.clone(), Some(*revision), None))
            })
        }));
        proposals
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

    fn mark_key(&self, (column, table): &(String, TableId)) -> String {
        DroppedColumnKey {
            lock: self.key.id.clone(),
            column: column.clone(),
            source: table.source.clone(),
            schema: table.schema.clone(),
            table: table.table.clone(),
        }
        .encode()
    }
}

fn with_mark(proposal: Proposal, (key, present, stage): &MarkChange) -> Proposal {
    let proposal = proposal.guard(Guard::unchanged(key.clone(), *present));
    match stage {
        Some(stage) => proposal.put(key.clone(), stage.to_bytes()),
        None => proposal.delete(KeyRange::key(key.as_str())),
    }
}
