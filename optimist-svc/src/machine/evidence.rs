//! What etcd shows of one task, and the indexes to find it by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dm_keyspace::SourceId;
use dm_keyspace::optimism::{DropStage, Info, InfoKey, Operation, OperationKey, SourceTables};
use dm_store::Revision;

use super::lock::Lock;
use super::shapes::{Shape, shape};

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
    /// None when the schema before is missing or cannot be read.
    pub(super) schemas: Option<Schemas>,
    pub(super) ignore_conflict: bool,
    pub(super) revision: Revision,
    pub(super) trace: Option<String>,
    /// It has taken effect: by a judgement, or by an answer that was found.
    pub(super) is_judged: bool,
}

impl Reported {
    /// The info with its schemas read, and what is wrong with those that cannot be read.
    pub(super) fn new(info: Info, revision: Revision) -> (Self, Option<String>) {
        let lock = info.lock_id();
        let mut fault = None;
        let mut read = |json: &str| shape(json).map_err(|e| fault = Some(e)).ok();
        let before = info
            .table_info_before
            .as_ref()
            .and_then(|json| read(json.get()));
        let after = info.table_info_after.iter().flatten();
        let after: Option<Vec<Shape>> = after.map(|json| read(json.get())).collect();
        let reported = Self {
            lock,
            target: (info.down_schema, info.down_table),
            ddls: info.ddls.unwrap_or_default(),
            schemas: before
                .zip(after)
                .map(|(before, after)| Schemas { before, after }),
            ignore_conflict: info.ignore_conflict,
            revision,
            trace: info.traceparent,
            is_judged: false,
        };
        (reported, fault)
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
    pub(super) locks: BTreeMap<String, Lock>,
}

impl Task {
    /// How many records of the task's own families there are.
    pub(super) fn records(&self) -> usize {
        let marks: usize = self.marks.values().map(BTreeMap::len).sum();
        self.infos.len() + self.operations.len() + self.lists() + marks + self.unreadable.len()
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
        self.records() == 0 && self.subtasks.is_empty() && self.locks.is_empty()
    }

    /// Tables that the sources list for a target.
    pub(super) fn listed(&self, target: &Target) -> impl Iterator<Item = &TableId> {
        self.sources
            .values()
            .filter_map(|listed| listed.tables.get(target))
            .flatten()
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
            if is_moved && let Some(of_lock) = self.by_lock.get_mut(&old.lock) {
                of_lock.remove(table);
                if of_lock.is_empty() {
                    self.by_lock.remove(&old.lock);
                }
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
        locks.extend(old.iter().map(|old| old.operation.id.clone()));
        locks.extend(self.infos.get(table).map(|info| info.lock.clone()));
        if let Some((operation, revision)) = operation {
            locks.insert(operation.id.clone());
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
