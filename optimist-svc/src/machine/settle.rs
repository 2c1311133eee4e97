//! The end of a revision: what it touched takes effect.
//!
//! For each touched lock: tables join and leave, answers that are in etcd are taken over, infos without an answer are
//! judged in order, waiting tables are redirected when all agree, and dropped columns advance.

use std::collections::BTreeSet;

use dm_keyspace::SourceId;
use dm_store::Revision;

use super::evidence::{Marks, Reported, TableId, Task, of_source};
use super::lock::Lock;
use super::marks::Columns;
use super::{LockKey, Optimist};

/// What a revision changed of a lock.
#[derive(Debug, Default)]
pub(super) struct Touch {
    /// Tables whose info or operation changed.
    pub(super) tables: BTreeSet<TableId>,
    /// Sources whose lists of tables changed as well, or that have come or gone.
    pub(super) sources: BTreeSet<SourceId>,
    /// Any table of any source may have joined or left.
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
                let was_there = task.locks.contains_key(&key.id);
                task.settle(&key, &touch, at, reads);
                if was_there && !task.locks.contains_key(&key.id) {
                    self.ended.insert(key.clone());
                }
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
        if self.removing.contains_key(&key.id) {
            self.give_up(&key.id);
            return;
        }
        let Some(mut lock) = self.locks.remove(&key.id).or_else(|| self.new_lock(key)) else {
            return;
        };
        let is_new = lock.members.is_empty();
        if is_new {
            lock.columns = Columns::of(self.marks.get(&key.id));
        }
        self.find_init(&mut lock);
        let mut returning = BTreeSet::new();
        if touch.is_relisted || is_new {
            let all = self.sources_of(&lock);
            returning = self.relist(&mut lock, &all);
        } else if !touch.sources.is_empty() {
            returning = self.relist(&mut lock, &touch.sources);
        }
        self.joins_and_leavers(&mut lock, &touch.tables);
        if is_new && lock.init.is_some() {
            self.drop_strange_marks(&mut lock);
        }
        if touch.is_relisted || is_new {
            let all = lock.awaited.clone();
            self.use_own(&mut lock, &all);
        } else {
            self.use_own(&mut lock, &touch.tables);
        }
        if !reads_schemas {
            use_init(&mut lock);
        }
        for table in &touch.tables {
            self.take_over(&mut lock, table, touch.is_load || returning.contains(table));
        }
        if !returning.is_empty() {
            self.restore_marks(&mut lock, &returning);
        }
        for table in returning.difference(&touch.tables) {
            self.take_over(&mut lock, table, true);
        }
        self.proceed(&mut lock, at);
        for table in &touch.tables {
            self.advance(&mut lock, table);
        }
        lock.columns.forget_gone();
        self.settle_marks(&mut lock);
        for table in &touch.tables {
            lock.owed.look_at(table);
        }
        // A lock outlives its infos only while its other tables have something left to do.
        let is_resolved = lock.is_resolved();
        if lock.was_resolved && !is_resolved {
            lock.outrun += 1;
        }
        lock.was_resolved = is_resolved;
        let has_work = !lock.members.is_empty() && !is_resolved;
        if self.by_lock.contains_key(&lock.id) || !lock.leaving.is_empty() || has_work {
            self.locks.insert(key.id.clone(), lock);
        }
    }

    /// A lock whose records are being deleted in parts is none: what it was is not derived any more, and what is reported
    /// meanwhile waits until nothing of it is left.
    fn give_up(&mut self, id: &str) {
        self.locks.remove(id);
        for table in self.by_lock.get(id).into_iter().flatten() {
            if let Some(info) = self.infos.get_mut(table) {
                info.is_judged = false;
            }
        }
    }

    fn settle_marks(&self, lock: &mut Lock) {
        let none = Marks::new();
        let present = self.marks.get(&lock.id).unwrap_or(&none);
        for table in lock.columns.settle(present) {
            lock.owed.look_at(&table);
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

    /// Sources that have tables of the lock, or may have.
    fn sources_of(&self, lock: &Lock) -> BTreeSet<SourceId> {
        let reported = self.by_lock.get(&lock.id).into_iter().flatten();
        let tables = lock.members.keys().chain(&lock.leaving).chain(reported);
        let mut sources: BTreeSet<SourceId> = self.sources.keys().cloned().collect();
        sources.extend(tables.map(|table| table.source.clone()));
        sources
    }

    /// The members are those that the sources list, and those that have reported since the lists were written.
    /// Answers the tables that had left, are members again, and whose records are still there: they count as found.
    fn relist(&mut self, lock: &mut Lock, sources: &BTreeSet<SourceId>) -> BTreeSet<TableId> {
        let left = lock.leaving.clone();
        let mut known = BTreeSet::new();
        for source in sources {
            let is_stopped = self.is_stopped(source);
            let listed = self.sources.get(source);
            let listed = listed.and_then(|listed| listed.tables.get(&lock.target));
            let may_join = lock.init.is_some() && !is_stopped;
            for table in listed.into_iter().flatten().filter(|_| may_join) {
                lock.join(table);
                lock.leaving.remove(table);
            }
            known.extend(of_source(&lock.members, source).map(|(table, _)| table.clone()));
            let reported = self.by_lock.get(&lock.id).into_iter();
            let reported = reported.flat_map(|tables| tables.range(TableId::first_of(source)..));
            known.extend(
                reported
                    .take_while(|table| table.source == *source)
                    .cloned(),
            );
        }
        self.joins_and_leavers(lock, &known);
        left.difference(&lock.leaving).cloned().collect()
    }

    /// Marks that are still in etcd.
    fn restore_marks(&self, lock: &mut Lock, tables: &BTreeSet<TableId>) {
        let marks = self.marks.get(&lock.id).into_iter().flatten();
        for ((spelling, table), (stage, _)) in marks.filter(|((_, t), _)| tables.contains(t)) {
            lock.columns.set(table, spelling, *stage);
        }
    }

    /// Marks of tables that have no part in the lock.
    fn drop_strange_marks(&self, lock: &mut Lock) {
        let marks = self.marks.get(&lock.id).into_iter().flatten();
        for ((spelling, table), _) in marks.filter(|((_, t), _)| !lock.members.contains_key(t)) {
            lock.columns.remove(table, spelling);
        }
    }

    fn joins_and_leavers(&mut self, lock: &mut Lock, tables: &BTreeSet<TableId>) {
        lock.work += tables.len() as u64;
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
                match info {
                    Some(_) => lock.leaving.insert(table.clone()),
                    None => lock.leaving.remove(table),
                };
            } else {
                lock.leaving.remove(table);
                if info.is_some() && lock.init.is_some() {
                    lock.join(table);
                }
                match info.filter(|info| !info.is_judged) {
                    Some(info) => lock.unjudged.insert(table, info.revision),
                    None => lock.unjudged.remove(table),
                }
            }
        }
    }

    /// A table that has reported need not be looked for: what its info says of it wins over what the checkpoint remembers.
    fn use_own(&self, lock: &mut Lock, tables: &BTreeSet<TableId>) {
        for table in tables {
            if !lock.awaited.contains(table) {
                continue;
            }
            let info = self.infos.get(table).filter(|info| info.lock == lock.id);
            if let Some(schemas) = info.and_then(|info| info.schemas.as_ref()) {
                lock.set_normal(table, &schemas.before);
            }
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
        self.settle_marks(lock);
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
