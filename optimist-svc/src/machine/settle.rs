//! The end of a revision: what it touched takes effect.
//!
//! For each touched lock: tables join and leave, answers that are in etcd are taken over, infos without an answer are
//! judged in order, waiting tables are redirected when all agree, and dropped columns advance.

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::optimism::{ConflictStage, DropStage, Operation};
use dm_store::Revision;

use super::evidence::{Answered, Marks, Reported, TableId, Task, same_answer};
use super::lock::{Lock, Mark};
use super::{LockKey, Optimist};
use dm_schema::{ColumnChange, column_change};

/// What a revision changed of a lock.
#[derive(Debug, Default)]
pub(super) struct Touch {
    /// Tables whose info or operation changed.
    pub(super) tables: BTreeSet<TableId>,
    /// The lists of tables changed as well.
    pub(super) is_relisted: bool,
    /// Everything is new.
    pub(super) is_load: bool,
}

impl Optimist {
    /// Derives anew what the revision touched.
    pub(super) fn settle(&mut self, at: Revision) {
        let mut tasks = BTreeSet::new();
        for (key, touch) in std::mem::take(&mut self.touched) {
            let reads = self.awaited.limit.is_some();
            if let Some(task) = self.tasks.get_mut(&key.task) {
                task.settle(&key, &touch, at, reads);
                if let Some(lock) = task.locks.get_mut(&key.id) {
                    lock.first_seen.get_or_insert(self.now);
                }
                tasks.insert(key.task.clone());
            }
            self.take_stock(&key);
            self.dirty.insert(key);
        }
        for task in tasks {
            if self.tasks.get(&task).is_some_and(Task::is_empty) {
                self.tasks.remove(&task);
            }
        }
    }
}

impl Task {
    fn settle(&mut self, key: &LockKey, touch: &Touch, at: Revision, reads_schemas: bool) {
        let Some(mut lock) = self.locks.remove(&key.id).or_else(|| self.new_lock(key)) else {
            return;
        };
        let is_new = lock.members.is_empty();
        if is_new {
            lock.columns = columns(self.marks.get(&key.id));
        }
        self.find_init(&mut lock);
        let mut returning = BTreeSet::new();
        if touch.is_relisted || is_new {
            returning = self.relist(&mut lock);
        }
        self.joins_and_leavers(&mut lock, &touch.tables);
        if !reads_schemas {
            use_init(&mut lock);
        }
        for table in &touch.tables {
            self.take_over(&mut lock, table, touch.is_load || returning.contains(table));
        }
        for table in &returning {
            self.restore_marks(&mut lock, table);
            if !touch.tables.contains(table) {
                self.take_over(&mut lock, table, true);
            }
        }
        self.proceed(&mut lock, at);
        for table in &touch.tables {
            self.advance(&mut lock, table);
        }
        lock.forget_dropped();
        // A lock outlives its infos only while its other tables have something left to do.
        let has_work = !lock.members.is_empty() && !lock.is_resolved();
        if self.by_lock.contains_key(&lock.id) || !lock.leaving.is_empty() || has_work {
            self.locks.insert(key.id.clone(), lock);
        }
    }

    fn new_lock(&self, key: &LockKey) -> Option<Lock> {
        let first = self.first_info(&key.id)?;
        let mut lock = Lock::new(key.id.clone(), key.task.clone(), first.target.clone());
        lock.trace.clone_from(&first.trace);
        Some(lock)
    }

    fn first_info(&self, id: &str) -> Option<&Reported> {
        let infos = self.by_lock.get(id).into_iter().flatten();
        infos
            .filter_map(|table| self.infos.get(table))
            .min_by_key(|info| info.revision)
    }

    fn find_init(&self, lock: &mut Lock) {
        if lock.init.is_some() {
            return;
        }
        let infos = self.by_lock.get(&lock.id).into_iter().flatten();
        let first = infos
            .filter_map(|table| self.infos.get(table))
            .filter_map(|info| Some((info.revision, info.schemas.as_ref()?)))
            .min_by_key(|(revision, _)| *revision);
        lock.init = first.map(|(_, schemas)| schemas.before.clone());
    }

    /// The members are those that the sources list, and those that have reported since the lists were written.
    /// Answers the tables that had left, are members again, and whose records are still there: they count as found.
    fn relist(&mut self, lock: &mut Lock) -> BTreeSet<TableId> {
        let left = lock.leaving.clone();
        if lock.init.is_some() {
            let target = lock.target.clone();
            let listed = self.listed(&target);
            for table in listed.filter(|table| !self.is_stopped(&table.source)) {
                lock.join(table);
                lock.leaving.remove(table);
            }
        }
        let known: BTreeSet<TableId> = lock
            .members
            .keys()
            .chain(self.by_lock.get(&lock.id).into_iter().flatten())
            .cloned()
            .collect();
        self.joins_and_leavers(lock, &known);
        left.difference(&lock.leaving).cloned().collect()
    }

    /// Marks that are still in etcd.
    fn restore_marks(&self, lock: &mut Lock, table: &TableId) {
        let marks = self.marks.get(&lock.id).into_iter().flatten();
        for ((spelling, _), (stage, _)) in marks.filter(|((_, other), _)| other == table) {
            lock.set_mark(table, spelling, *stage);
        }
    }

    fn joins_and_leavers(&mut self, lock: &mut Lock, tables: &BTreeSet<TableId>) {
        for table in tables {
            let has_left = self.has_left(table, &lock.target);
            if has_left
                && let Some(info) = self.infos.get_mut(table)
                && info.lock == lock.id
            {
                info.is_judged = false;
            }
            let info = self.infos.get(table).filter(|info| info.lock == lock.id);
            if has_left {
                lock.leave(table);
                lock.unjudged.retain(|(_, other)| other != table);
                match info {
                    Some(_) => lock.leaving.insert(table.clone()),
                    None => lock.leaving.remove(table),
                };
            } else {
                lock.leaving.remove(table);
                if info.is_some() && lock.init.is_some() {
                    lock.join(table);
                }
                lock.unjudged.retain(|(_, other)| other != table);
                if let Some(info) = info.filter(|info| !info.is_judged) {
                    lock.unjudged.insert((info.revision, table.clone()));
                }
            }
        }
    }

    /// What has been answered is not judged again: the answer in etcd counts, whoever gave it.
    fn take_over(&mut self, lock: &mut Lock, table: &TableId, is_load: bool) {
        let answered = self
            .operations
            .get(table)
            .filter(|a| a.operation.id == lock.id);
        let info = self
            .infos
            .get_mut(table)
            .filter(|info| info.lock == lock.id);
        let (Some(answered), Some(info)) = (answered, info) else {
            return;
        };
        if info.ignore_conflict || lock.leaving.contains(table) {
            if is_load && answered.operation.done {
                lock.set_done(table, true);
            }
            return;
        }
        if answered.revision < info.revision {
            return;
        }
        let operation = &answered.operation;
        if !info.is_judged {
            // A done without its answer is a late one, of what was before the info.
            if is_load || !operation.done {
                info.is_judged = true;
                lock.unjudged.remove(&(info.revision, table.clone()));
                adopt(lock, table, info, operation);
            }
            return;
        }
        match lock.owed.get_mut(table) {
            Some(owed) if same_answer(&owed.operation, operation) => {
                match owed.then.take() {
                    Some(next) => owed.operation = *next,
                    None => {
                        lock.owed.remove(table);
                    }
                }
                finish(lock, table, answered);
            }
            Some(_) if operation.done => {}
            Some(_) => {
                lock.owed.remove(table);
                adopt(lock, table, info, operation);
            }
            None if operation.done || answered.is_repeated => finish(lock, table, answered),
            None => adopt(lock, table, info, operation),
        }
    }

    /// Infos are judged in order, once all schemas are known.
    pub(super) fn proceed(&mut self, lock: &mut Lock, at: Revision) {
        if !lock.awaited.is_empty() {
            return;
        }
        while let Some((revision, table)) = lock.unjudged.pop_first() {
            if let Some(info) = self.infos.get_mut(&table) {
                info.is_judged = true;
                let answered = self.operations.get(&table).map(|a| &a.operation);
                lock.judge(&table, info, answered.filter(|o| o.id == lock.id));
                lock.resolve_if_agreed(None, revision);
            }
        }
        lock.resolve_if_agreed(None, at);
    }

    /// A done operation tells how far its dropped columns are.
    fn advance(&self, lock: &mut Lock, table: &TableId) {
        let answered = self
            .operations
            .get(table)
            .filter(|a| a.operation.id == lock.id);
        let info = self
            .infos
            .get(table)
            .filter(|info| info.lock == lock.id && info.is_judged);
        let (Some(answered), Some(info)) = (answered, info) else {
            return;
        };
        let counts = counts_as_done(answered) && answered.revision > info.revision;
        if !counts || lock.owed.contains_key(table) {
            return;
        }
        let ddls = answered.operation.ddls.as_deref().unwrap_or_default();
        for column in answered.operation.cols.iter().flatten() {
            let Some(Mark { spelling, stage }) = lock.mark(table, column).cloned() else {
                continue;
            };
            let reached = match drops(ddls, column) {
                true => DropStage::Done,
                false => DropStage::PartiallyDone,
            };
            lock.set_mark(table, &spelling, stage.max(reached));
        }
    }
}

/// Schemas of tables that nobody knows are taken to be the first one seen.
pub(super) fn use_init(lock: &mut Lock) {
    if let Some(init) = lock.init.clone() {
        for table in lock.awaited.clone() {
            lock.set_normal(&table, &init);
        }
    }
}

/// Whether somebody has said that the operation, and not an earlier one, is executed. A wait or a redirect cannot be.
fn counts_as_done(answered: &Answered) -> bool {
    let stage = &answered.operation.conflict_stage;
    let is_executable = matches!(stage, ConflictStage::None | ConflictStage::Unlocked);
    answered.operation.done && answered.is_repeated && is_executable
}

fn finish(lock: &mut Lock, table: &TableId, answered: &Answered) {
    if counts_as_done(answered) {
        lock.set_done(table, true);
    }
}

/// The effect of an answer that this machine has not given, or not in this life.
fn adopt(lock: &mut Lock, table: &TableId, info: &Reported, operation: &Operation) {
    let Some(schemas) = &info.schemas else {
        return;
    };
    lock.set_info(table, info.revision);
    let executes = operation.ddls.as_ref().is_some_and(|ddls| !ddls.is_empty());
    match &operation.conflict_stage {
        ConflictStage::None | ConflictStage::Resolved => lock.set_normal(table, schemas.last()),
        ConflictStage::Unlocked if executes => lock.set_normal(table, schemas.last()),
        ConflictStage::SkipWaitRedirect => {
            let befores = std::iter::once(&schemas.before).chain(&schemas.after);
            let mut steps = befores.zip(&schemas.after);
            let waiting = steps.find(|(before, after)| before.compare(after).is_err());
            let first = (&schemas.before, schemas.last());
            let (before, after) = waiting.unwrap_or(first);
            lock.set_conflict(table, before, after);
        }
        _ => lock.set_normal(table, &schemas.before),
    }
    let is_executable = matches!(
        operation.conflict_stage,
        ConflictStage::None | ConflictStage::Unlocked
    );
    lock.set_done(table, operation.done && is_executable);
}

/// Whether one of the statements drops the column.
fn drops(ddls: &[String], column: &str) -> bool {
    let lower = column.to_lowercase();
    let dropped = |ddl: &String| match column_change(ddl) {
        Ok(Some(ColumnChange::Dropped(name))) => name.to_lowercase() == lower,
        _ => false,
    };
    ddls.iter().any(dropped)
}

/// The marks in etcd as a lock holds them.
fn columns(marks: Option<&Marks>) -> BTreeMap<String, BTreeMap<TableId, Mark>> {
    let mut columns: BTreeMap<String, BTreeMap<TableId, Mark>> = BTreeMap::new();
    for ((spelling, table), (stage, _)) in marks.into_iter().flatten() {
        let mark = Mark {
            spelling: spelling.clone(),
            stage: *stage,
        };
        let tables = columns.entry(spelling.to_lowercase()).or_default();
        tables.insert(table.clone(), mark);
    }
    columns
}
