//! From events to evidence. Folding never fails: what cannot be read becomes a named fault.

use std::collections::BTreeSet;
use std::fmt::Display;

use dm_keyspace::optimism::{
    DropStage, DroppedColumnKey, Info, InfoKey, Operation, OperationKey, SourceTables,
    SourceTablesKey,
};
use dm_keyspace::{SourceId, SubtaskKey, TaskName};
use dm_store::{Event, KeyValue, Revision};

use super::evidence::{Listed, Reported, TableId, Target, Task};
use super::{Fault, LockKey, Optimist, removal};

/// What all keys of optimistic tasks begin with.
const ROOT: &[u8] = b"/dm-master/shardddl-optimism/";
/// Written by old versions of DM; nobody reads it.
const LEFT_OVER: &[u8] = b"/dm-master/shardddl-optimism/init-schema/";

impl Optimist {
    /// Takes one event in; what it touches is derived at the end of its revision.
    pub(super) fn fold(&mut self, event: &Event) {
        let key = event.key();
        if key.starts_with(InfoKey::PREFIX.as_bytes()) {
            self.fold_info(event);
        } else if key.starts_with(OperationKey::PREFIX.as_bytes()) {
            self.fold_operation(event);
        } else if key.starts_with(SourceTablesKey::PREFIX.as_bytes()) {
            self.fold_source_tables(event);
        } else if key.starts_with(DroppedColumnKey::PREFIX.as_bytes()) {
            self.fold_mark(event);
        } else if key.starts_with(SubtaskKey::PREFIX.as_bytes()) {
            self.fold_subtask(event);
        } else if key.starts_with(removal::PREFIX.as_bytes()) {
            self.fold_removal(event);
        } else if key.starts_with(ROOT) && !key.starts_with(LEFT_OVER) {
            self.readable::<(), _>(event, Err("the key belongs to no family"));
        }
    }

    fn fold_info(&mut self, event: &Event) {
        let Some(key) = self.readable(event, InfoKey::parse(event.key())) else {
            return;
        };
        let table = TableId::from(&key);
        let info = value(event).and_then(|kv| {
            let info = self.readable(event, Info::from_bytes(&kv.value));
            let info = info.and_then(|info| {
                let own = (info.key() == key).then_some(info);
                self.readable(
                    event,
                    own.ok_or("the value names another table than the key"),
                )
            });
            self.keep_unreadable(&key.task, event, info.is_none());
            let shapes = &mut self.task(&key.task).shapes;
            let info = Reported::new(info?, kv.mod_revision, shapes);
            if let Some(fault) = &info.fault {
                self.readable::<(), _>(event, Err(format!("a schema cannot be read: {fault}")));
            }
            Some(info)
        });
        if value(event).is_none() {
            self.keep_unreadable(&key.task, event, false);
        }
        let locks = self.task(&key.task).set_info(&table, info);
        self.touch(&key.task, locks, Some(&table));
    }

    fn fold_operation(&mut self, event: &Event) {
        let Some(key) = self.readable(event, OperationKey::parse(event.key())) else {
            return;
        };
        let table = TableId::from(&key);
        let operation = value(event).and_then(|kv| {
            let operation = self.readable(event, Operation::from_bytes(&kv.value));
            Some((operation?, kv.mod_revision))
        });
        let is_unreadable = value(event).is_some() && operation.is_none();
        self.keep_unreadable(&key.task, event, is_unreadable);
        let locks = self.task(&key.task).set_operation(&table, operation);
        self.touch(&key.task, locks, Some(&table));
    }

    fn fold_source_tables(&mut self, event: &Event) {
        let Some(key) = self.readable(event, SourceTablesKey::parse(event.key())) else {
            return;
        };
        let record =
            value(event).map(|kv| self.readable(event, SourceTables::from_bytes(&kv.value)));
        let is_unreadable = matches!(record, Some(None));
        self.keep_unreadable(&key.task, event, is_unreadable);
        if is_unreadable {
            return;
        }
        let record = record.flatten();
        let record = record.as_ref().map(|record| (&key.source, record));
        let listed = Listed::new(record, event.revision());
        let task = self.task(&key.task);
        let mut targets: BTreeSet<Target> = listed.tables.keys().cloned().collect();
        let old = task.sources.insert(key.source.clone(), listed);
        targets.extend(old.into_iter().flat_map(|old| old.tables.into_keys()));
        targets.extend(task.reported_by(&key.source));
        self.relist(&key.task, &targets, Some(&key.source));
    }

    fn fold_subtask(&mut self, event: &Event) {
        let Ok(SubtaskKey { source, task }) = SubtaskKey::parse(event.key()) else {
            return;
        };
        let of_task = self.task(&task);
        let was_stopped = of_task.subtasks.is_empty();
        match value(event) {
            Some(_) => {
                of_task.stopped.remove(&source);
                if !of_task.subtasks.insert(source.clone()) {
                    return;
                }
            }
            None => {
                of_task.subtasks.remove(&source);
                of_task.stopped.insert(source.clone(), event.revision());
            }
        }
        // Which sources take part depends on whether any subtask is there at all.
        let is_about_all = was_stopped != of_task.subtasks.is_empty();
        let targets = match is_about_all {
            true => of_task
                .locks
                .values()
                .map(|lock| lock.target.clone())
                .collect(),
            false => of_task.targets_of(&source),
        };
        self.relist(&task, &targets, (!is_about_all).then_some(&source));
        self.touch(&task, [String::new()], None);
    }

    /// The locks whose records are being deleted in parts. When that is over, what has been reported meanwhile is found
    /// as a new leader would find it.
    fn fold_removal(&mut self, event: &Event) {
        let Some(key) = removal::parse(event.key()) else {
            self.readable::<(), _>(event, Err("the key names no lock"));
            return;
        };
        let task = self.task(&key.task);
        match value(event) {
            Some(kv) => {
                task.removing.insert(key.id.clone(), kv.mod_revision);
            }
            None => {
                task.removing.remove(&key.id);
            }
        }
        let touch = self.touched.entry(key.clone()).or_default();
        if value(event).is_none() {
            touch.is_load = true;
            let of_lock = self
                .tasks
                .get(&key.task)
                .and_then(|t| t.by_lock.get(&key.id));
            touch.tables.extend(of_lock.into_iter().flatten().cloned());
        }
    }

    fn fold_mark(&mut self, event: &Event) {
        let Some(key) = self.readable(event, DroppedColumnKey::parse(event.key())) else {
            return;
        };
        let task = key.task();
        let stage = value(event).and_then(|kv| {
            let stage = self.readable(event, DropStage::from_bytes(&kv.value))?;
            Some((stage, kv.mod_revision))
        });
        let is_unreadable = value(event).is_some() && stage.is_none();
        self.keep_unreadable(&task, event, is_unreadable);
        let DroppedColumnKey {
            lock: id,
            column,
            source,
            schema,
            table,
        } = key;
        let table = TableId {
            source,
            schema,
            table,
        };
        let of_task = self.task(&task);
        set_mark(of_task, &id, &column, &table, stage);
        self.touch(&task, [id], Some(&table));
    }

    /// The outcome of decoding, or none and a fault in the state.
    fn readable<T, E: Display>(&mut self, event: &Event, decoded: Result<T, E>) -> Option<T> {
        let key = String::from_utf8_lossy(event.key()).into_owned();
        match decoded {
            Ok(decoded) => {
                self.faults.remove(&key);
                Some(decoded)
            }
            Err(e) if value(event).is_some() => {
                self.faults_seen += 1;
                tracing::warn!(key, error = %e, "record skipped");
                let fault = Fault {
                    what: e.to_string(),
                    revision: event.revision(),
                };
                self.faults.insert(key, fault);
                None
            }
            Err(_) => {
                self.faults.remove(&key);
                None
            }
        }
    }

    /// Records that do not decode still belong to their task.
    fn keep_unreadable(&mut self, task: &TaskName, event: &Event, is_unreadable: bool) {
        let key = String::from_utf8_lossy(event.key()).into_owned();
        let unreadable = &mut self.task(task).unreadable;
        match is_unreadable {
            true => unreadable.insert(key),
            false => unreadable.remove(&key),
        };
    }

    fn task(&mut self, name: &TaskName) -> &mut Task {
        self.tasks.entry(name.clone()).or_default()
    }

    fn touch(
        &mut self,
        task: &TaskName,
        locks: impl IntoIterator<Item = String>,
        table: Option<&TableId>,
    ) {
        for id in locks {
            let key = LockKey {
                task: task.clone(),
                id,
            };
            let touch = self.touched.entry(key).or_default();
            touch.tables.extend(table.cloned());
        }
    }

    /// The tables of one source, or of all, that belong to the targets may be others now.
    fn relist(&mut self, task: &TaskName, targets: &BTreeSet<Target>, source: Option<&SourceId>) {
        for (schema, table) in targets {
            let key = LockKey {
                task: task.clone(),
                id: dm_keyspace::optimism::lock_id(task, schema, table),
            };
            let touch = self.touched.entry(key).or_default();
            match source {
                Some(source) => {
                    touch.sources.insert(source.clone());
                }
                None => touch.is_relisted = true,
            }
        }
    }
}

/// A mark in etcd, and with it the lock's own, except where the lock is about to write another.
fn set_mark(
    task: &mut Task,
    id: &str,
    column: &str,
    table: &TableId,
    stage: Option<(DropStage, Revision)>,
) {
    let key = (column.to_owned(), table.clone());
    match stage {
        Some(stage) => {
            task.marks
                .entry(id.to_owned())
                .or_default()
                .insert(key, stage);
        }
        None => {
            if let Some(marks) = task.marks.get_mut(id) {
                marks.remove(&key);
                if marks.is_empty() {
                    task.marks.remove(id);
                }
            }
        }
    }
    let Some(lock) = task.locks.get_mut(id) else {
        return;
    };
    let is_owed = lock.owed.get(table).is_some_and(|owed| {
        let mut columns = owed.operation.cols.iter().flatten();
        columns.any(|owed| owed.to_lowercase() == column.to_lowercase())
    });
    lock.columns.look_at(table, column);
    match stage {
        _ if is_owed => {}
        Some((stage, _)) if lock.members.contains_key(table) => {
            lock.columns.set(table, column, stage);
        }
        Some(_) => {}
        None => lock.columns.remove(table, column),
    }
}

/// The record that the event puts, if it puts one.
fn value(event: &Event) -> Option<&KeyValue> {
    match event {
        Event::Put(kv) => Some(kv),
        Event::Delete { .. } => None,
    }
}

/// Where the list of a source lies.
pub(super) fn source_tables_key(task: &TaskName, source: &SourceId) -> String {
    SourceTablesKey {
        task: task.clone(),
        source: source.clone(),
    }
    .encode()
}
