//! What etcd shows of one task, and the indexes to find it by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dm_keyspace::SourceId;
use dm_keyspace::optimism::{DropStage, Info, InfoKey, Operation, OperationKey, SourceTables};
use dm_store::Revision;

use super::lock::Lock;
use super::shapes::{Interner, Shape};

/// An upstream table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// The source that has it.
    pub source: SourceId,
    /// Its schema there.
    pub schema: String,
    /// Its name there.
    pub table: String,
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (schema, table) = (
            self.schema.replace('`', "``"),
            self.table.replace('`', "``"),
        );
        write!(f, "{}-`{schema}`.`{table}`", self.source)
    }
}

impl TableId {
    /// Before all others.
    pub(super) fn first() -> Self {
        Self::first_of(&SourceId::default())
    }

    /// Before all others of the source.
    pub(super) fn first_of(source: &SourceId) -> Self {
        Self {
            source: source.clone(),
            schema: String::new(),
            table: String::new(),
        }
    }
}

/// The tables of one source among those of all.
pub(super) fn of_source<'a, T>(
    tables: &'a BTreeMap<TableId, T>,
    source: &'a SourceId,
) -> impl Iterator<Item = (&'a TableId, &'a T)> {
    let from = tables.range(TableId::first_of(source)..);
    from.take_while(move |(table, _)| table.source == *source)
}

impl From<&InfoKey> for TableId {
    fn from(key: &InfoKey) -> Self {
        Self {
            source: key.source.clone(),
            schema: key.schema.clone(),
            table: key.table.clone(),
        }
    }
}

impl From<&OperationKey> for TableId {
    fn from(key: &OperationKey) -> Self {
        Self {
            source: key.source.clone(),
            schema: key.schema.clone(),
            table: key.table.clone(),
        }
    }
}

/// Schema and table downstream.
pub(super) type Target = (String, String);

/// Schemas of an info.
#[derive(Clone, Debug)]
pub(super) struct Schemas {
    pub(super) before: Shape,
    /// After each statement.
    pub(super) after: Vec<Shape>,
}

impl Schemas {
    /// The schema after all statements.
    pub(super) fn last(&self) -> &Shape {
        self.after.last().unwrap_or(&self.before)
    }
}

/// An info.
#[derive(Clone, Debug)]
pub(super) struct Reported {
    pub(super) lock: String,
    pub(super) target: Target,
    pub(super) ddls: Vec<String>,
    /// None when the schema before is missing, or one of them cannot be read.
    pub(super) schemas: Option<Schemas>,
    /// Why one of them cannot be read.
    pub(super) fault: Option<String>,
    pub(super) ignore_conflict: bool,
    pub(super) revision: Revision,
    pub(super) trace: Option<String>,
    /// It has taken effect: by a judgement, or by an answer that was found.
    pub(super) is_judged: bool,
}

impl Reported {
    /// The info with its schemas read.
    pub(super) fn new(info: Info, revision: Revision, shapes: &mut Interner) -> Self {
        let lock = info.lock_id();
        let mut fault = None;
        let mut read = |json: &str| shapes.read(json).map_err(|e| fault = Some(e)).ok();
        let before = info
            .table_info_before
            .as_ref()
            .and_then(|json| read(json.get()));
        let after = info.table_info_after.iter().flatten();
        let after: Option<Vec<Shape>> = after.map(|json| read(json.get())).collect();
        Self {
            lock,
            target: (info.down_schema, info.down_table),
            ddls: info.ddls.unwrap_or_default(),
            schemas: before
                .zip(after)
                .map(|(before, after)| Schemas { before, after }),
            fault,
            ignore_conflict: info.ignore_conflict,
            revision,
            trace: info.traceparent,
            is_judged: false,
        }
    }
}

/// An operation.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) operation: Operation,
    pub(super) revision: Revision,
    /// What was there before it had the same content: a done then belongs to it.
    pub(super) is_repeated: bool,
}

/// Whether two operations say the same, apart from being done.
pub(super) fn same_answer(a: &Operation, b: &Operation) -> bool {
    a.id == b.id
        && a.ddls == b.ddls
        && a.conflict_stage == b.conflict_stage
        && a.conflict_message == b.conflict_message
        && a.cols == b.cols
}

/// The tables of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    pub(super) tables: BTreeMap<Target, BTreeSet<TableId>>,
    pub(super) revision: Revision,
    /// Whether there is a record; a deleted one leaves an empty list behind.
    pub(super) is_present: bool,
}

impl Listed {
    pub(super) fn new(record: Option<(&SourceId, &SourceTables)>, revision: Revision) -> Self {
        let mut tables: BTreeMap<Target, BTreeSet<TableId>> = BTreeMap::new();
        if let Some((source, record)) = record {
            for (down_schema, down_table, schema, table) in record.routes() {
                let target = (down_schema.to_owned(), down_table.to_owned());
                tables.entry(target).or_default().insert(TableId {
                    source: source.clone(),
                    schema: schema.to_owned(),
                    table: table.to_owned(),
                });
            }
        }
        Self {
            tables,
            revision,
            is_present: record.is_some(),
        }
    }
}

/// Marks of one lock as they stand in etcd: column as written, table, stage and revision.
pub(super) type Marks = BTreeMap<(String, TableId), (DropStage, Revision)>;

/// One task.
#[derive(Debug, Default)]
pub(super) struct Task {
    pub(super) sources: BTreeMap<SourceId, Listed>,
    pub(super) subtasks: BTreeSet<SourceId>,
    /// Sources whose subtask was seen to go.
    pub(super) stopped: BTreeMap<SourceId, Revision>,
    pub(super) infos: BTreeMap<TableId, Reported>,
    pub(super) operations: BTreeMap<TableId, Answered>,
    pub(super) marks: BTreeMap<String, Marks>,
    /// Keys of records that do not decode.
    pub(super) unreadable: BTreeSet<String>,
    /// Tables with an info, by lock.
    pub(super) by_lock: BTreeMap<String, BTreeSet<TableId>>,
    /// Tables with an operation, by the lock that it is of.
    pub(super) answered_by_lock: BTreeMap<String, BTreeSet<TableId>>,
    /// Locks whose records are being deleted in parts, with the revision of the key that says so.
    pub(super) removing: BTreeMap<String, Revision>,
    /// The schemas of its tables.
    pub(super) shapes: Interner,
    pub(super) locks: BTreeMap<String, Lock>,
}

impl Task {
    /// How many records of the task's own families there are.
    pub(super) fn records(&self) -> usize {
        let marks: usize = self.marks.values().map(BTreeMap::len).sum();
        self.infos.len()
            + self.operations.len()
            + self.lists()
            + marks
            + self.unreadable.len()
            + self.removing.len()
    }

    /// How many sources have a list of tables.
    pub(super) fn lists(&self) -> usize {
        self.sources
            .values()
            .filter(|listed| listed.is_present)
            .count()
    }

    /// Whether nothing is known of the task any more.
    pub(super) fn is_empty(&self) -> bool {
        self.subtasks.is_empty()
            && self.locks.is_empty()
            && self.infos.is_empty()
            && self.operations.is_empty()
            && self.marks.is_empty()
            && self.unreadable.is_empty()
            && self.removing.is_empty()
            && !self.sources.values().any(|listed| listed.is_present)
    }

    /// Targets of which tables of the source have reported.
    pub(super) fn reported_by(&self, source: &SourceId) -> BTreeSet<Target> {
        let infos = of_source(&self.infos, source);
        infos.map(|(_, info)| info.target.clone()).collect()
    }

    /// Targets that the source has or may have tables of.
    pub(super) fn targets_of(&self, source: &SourceId) -> BTreeSet<Target> {
        let listed = self.sources.get(source);
        let listed = listed.into_iter().flat_map(|listed| listed.tables.keys());
        let mut targets = self.reported_by(source);
        targets.extend(listed.cloned());
        targets
    }

    /// Whether the source takes no part in the task any more.
    pub(super) fn is_stopped(&self, source: &SourceId) -> bool {
        !self.subtasks.contains(source)
            && (self.stopped.contains_key(source) || !self.subtasks.is_empty())
    }

    /// Whether a table does not belong to the target (any more): its source says so, or has none of it.
    pub(super) fn has_left(&self, table: &TableId, target: &Target) -> bool {
        if self.is_stopped(&table.source) {
            return true;
        }
        let info = self.infos.get(table).filter(|info| info.target == *target);
        match (self.sources.get(&table.source), info) {
            (Some(listed), _) if listed.tables.get(target).is_some_and(|t| t.contains(table)) => {
                false
            }
            // What is reported after the list was written is news.
            (Some(listed), Some(info)) => info.revision < listed.revision,
            (None, Some(_)) => false,
            (_, None) => true,
        }
    }

    /// Replaces the info of a table. Answers the locks that it concerns.
    pub(super) fn set_info(&mut self, table: &TableId, info: Option<Reported>) -> BTreeSet<String> {
        let mut locks = BTreeSet::new();
        let old = match info {
            Some(info) => {
                let of_lock = self.by_lock.entry(info.lock.clone()).or_default();
                of_lock.insert(table.clone());
                locks.insert(info.lock.clone());
                self.infos.insert(table.clone(), info)
            }
            None => self.infos.remove(table),
        };
        if let Some(old) = old {
            let is_moved = !locks.contains(&old.lock);
            if is_moved {
                take(&mut self.by_lock, &old.lock, table);
            }
            if is_moved && let Some(lock) = self.locks.get_mut(&old.lock) {
                lock.owed.remove(table);
            }
            locks.insert(old.lock);
        }
        locks
    }

    /// Replaces the operation of a table. Answers the locks that it concerns.
    pub(super) fn set_operation(
        &mut self,
        table: &TableId,
        operation: Option<(Operation, Revision)>,
    ) -> BTreeSet<String> {
        let mut locks = BTreeSet::new();
        let old = self.operations.remove(table);
        if let Some(old) = &old {
            take(&mut self.answered_by_lock, &old.operation.id, table);
            locks.insert(old.operation.id.clone());
        }
        locks.extend(self.infos.get(table).map(|info| info.lock.clone()));
        if let Some((operation, revision)) = operation {
            locks.insert(operation.id.clone());
            let of_lock = self.answered_by_lock.entry(operation.id.clone());
            of_lock.or_default().insert(table.clone());
            let is_repeated = old.is_none_or(|old| same_answer(&old.operation, &operation));
            let answered = Answered {
                operation,
                revision,
                is_repeated,
            };
            self.operations.insert(table.clone(), answered);
        }
        locks
    }
}

#[cfg(test)]
impl Task {
    pub(super) fn indexes_are_right(&self) -> bool {
        let mut reported: BTreeMap<String, BTreeSet<TableId>> = BTreeMap::new();
        for (table, info) in &self.infos {
            reported
                .entry(info.lock.clone())
                .or_default()
                .insert(table.clone());
        }
        let mut answered: BTreeMap<String, BTreeSet<TableId>> = BTreeMap::new();
        for (table, answer) in &self.operations {
            let of_lock = answered.entry(answer.operation.id.clone());
            of_lock.or_default().insert(table.clone());
        }
        reported == self.by_lock && answered == self.answered_by_lock
    }
}

/// Takes a table out of an index by lock.
fn take(index: &mut BTreeMap<String, BTreeSet<TableId>>, lock: &str, table: &TableId) {
    let Some(tables) = index.get_mut(lock) else {
        return;
    };
    tables.remove(table);
    if tables.is_empty() {
        index.remove(lock);
    }
}
