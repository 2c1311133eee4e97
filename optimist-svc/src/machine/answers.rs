//! Answers that are in etcd: what they say counts, whoever gave them.

use dm_keyspace::optimism::{ConflictStage, DropStage, Operation};
use dm_schema::{ColumnChange, column_change};

use super::evidence::{Answered, Reported, Schemas, TableId, Task, same_answer};
use super::lock::Lock;
use super::marks::Mark;
use super::shapes::Shape;

impl Task {
    /// What has been answered is not judged again: the answer in etcd counts, whoever gave it.
    pub(super) fn take_over(&mut self, lock: &mut Lock, table: &TableId, is_load: bool) {
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
            // A done without its answer is a late one, of what was before the info. Whoever has not seen what happened
            // can but look whether it may be an answer to this one.
            if !operation.done || (is_load && may_answer(operation, info)) {
                info.is_judged = true;
                lock.unjudged.remove(table);
                adopt(lock, table, info, operation);
            }
            return;
        }
        match lock.owed.get(table) {
            Some(owed) if same_answer(&owed.operation, operation) => {
                lock.owed.is_put(table);
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

    /// A done operation tells how far its dropped columns are.
    pub(super) fn advance(&self, lock: &mut Lock, table: &TableId) {
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
        if !counts || lock.owed.get(table).is_some() {
            return;
        }
        let ddls = answered.operation.ddls.as_deref().unwrap_or_default();
        for column in answered.operation.cols.iter().flatten() {
            let Some(Mark { spelling, stage }) = lock.columns.get(table, column).cloned() else {
                continue;
            };
            let reached = match drops(ddls, column) {
                true => DropStage::Done,
                false => DropStage::PartiallyDone,
            };
            lock.columns.set(table, &spelling, stage.max(reached));
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
    lock.set_info(table, info.revision);
    adopt_schema(lock, table, info, operation);
    let is_executable = matches!(
        operation.conflict_stage,
        ConflictStage::None | ConflictStage::Unlocked
    );
    lock.set_done(table, operation.done && is_executable);
}

fn adopt_schema(lock: &mut Lock, table: &TableId, info: &Reported, operation: &Operation) {
    let Some(schemas) = &info.schemas else {
        return;
    };
    let ddls = operation.ddls.as_deref();
    let executes = ddls.is_some_and(|ddls| !ddls.is_empty());
    match &operation.conflict_stage {
        ConflictStage::None => lock.set_normal(table, schemas.last()),
        ConflictStage::Unlocked | ConflictStage::Resolved if executes => {
            lock.set_normal(table, schemas.last());
        }
        // A redirect says nothing of statements, unless an operator has left them out.
        ConflictStage::Resolved if ddls.is_none() => {
            let (_, after) = waits_at(info, schemas, operation);
            lock.set_normal(table, after);
        }
        ConflictStage::SkipWaitRedirect => {
            let (before, after) = waits_at(info, schemas, operation);
            lock.set_conflict(table, before, after);
        }
        _ => lock.set_normal(table, &schemas.before),
    }
}

/// The schemas before and after the statement that a table waits at, or waited: the one that its operation names, or the
/// first that cannot be made by one table alone.
fn waits_at<'a>(
    info: &Reported,
    schemas: &'a Schemas,
    operation: &Operation,
) -> (&'a Shape, &'a Shape) {
    let befores = std::iter::once(&schemas.before).chain(&schemas.after);
    let steps: Vec<(&Shape, &Shape)> = befores.zip(&schemas.after).collect();
    let named = info.ddls.iter().position(|ddl| {
        let what = format!(": {ddl}. ");
        operation.conflict_message.contains(&what)
    });
    let alone = || {
        steps
            .iter()
            .position(|(before, after)| before.compare(after).is_err())
    };
    let at = named.or_else(alone).and_then(|at| steps.get(at).copied());
    at.unwrap_or((&schemas.before, schemas.last()))
}

/// Whether a done operation may be the answer to an info, and not to the one before: it executes nothing but what is
/// reported there, and drops no other column.
pub(super) fn may_answer(operation: &Operation, info: &Reported) -> bool {
    let mut reported = info.ddls.iter();
    let mut told = operation.ddls.iter().flatten();
    let are_told = told.all(|ddl| reported.any(|reported| reported == ddl));
    let mut columns = operation.cols.iter().flatten();
    are_told && columns.all(|column| drops(&info.ddls, column))
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
