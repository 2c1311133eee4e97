//! What an info gets: each statement is judged against the schemas of the other tables.

use std::cmp::Ordering;

use dm_errors::{Code, DmError, List};
use dm_keyspace::optimism::{ConflictStage, DropStage, Operation};
use dm_schema::lattice::Schema;
use dm_schema::{ColumnChange, column_change};
use dm_store::Revision;

use super::evidence::{Reported, Schemas, TableId};
use super::lock::Lock;
use super::owing::Owed;
use super::shapes::Shape;
use super::unlock;

/// What a user can do about a column that was not fully dropped.
const SKIP: &str = "Please use `binlog skip` command to skip this error.";

/// The outcome for one info.
#[derive(Debug, Default)]
struct Verdict {
    ddls: Vec<String>,
    cols: Vec<String>,
    error: Option<DmError>,
}

/// The outcome for one statement.
enum Step {
    /// Whether the downstream has to execute it.
    Accepted(bool),
    /// It contradicts another table.
    Detected,
    /// The others have to meet it first.
    Wait,
}

impl Lock {
    /// Judges an info: its effect on the schemas, and the operation that is owed for it.
    pub(super) fn judge(&mut self, table: &TableId, info: &Reported, answered: Option<&Operation>) {
        self.owed.remove(table);
        self.set_info(table, info.revision);
        let stage = |error: &DmError| match error.code() {
            Code::SHARD_DDL_OPTIMISM_NEED_SKIP_AND_REDIRECT => ConflictStage::SkipWaitRedirect,
            Code::SHARD_DDL_OPTIMISM_TRY_SYNC_FAIL => ConflictStage::Detected,
            _ => ConflictStage::Error,
        };
        let answered = answered.filter(|_| !info.ignore_conflict);
        let decided = answered.and_then(|a| Some((a, unlock::decided(a, &info.ddls)?)));
        if let Some((answered, executes)) = decided {
            return self.obey(table, info, &answered.conflict_message, executes);
        }
        let verdict = match &info.schemas {
            None => Verdict::failed(no_schema(info)),
            Some(s) if s.after.len() != info.ddls.len() || info.ddls.is_empty() => {
                Verdict::failed(inconsistent(info, s))
            }
            Some(schemas) => self.verdict(table, info, schemas),
        };
        if verdict.error.is_some() || !verdict.ddls.is_empty() {
            // DM keeps the flag of a table that failed otherwise; not so ours, since its lock must stay.
            self.set_done(table, info.ignore_conflict && self.is_done(table));
        }
        if info.ignore_conflict {
            return;
        }
        let (conflict_stage, conflict_message) = match &verdict.error {
            Some(error) => (stage(error), error.to_string()),
            None => (ConflictStage::None, String::new()),
        };
        self.errors += u64::from(conflict_stage == ConflictStage::Error);
        let operation = Operation {
            ddls: Some(verdict.ddls),
            cols: Some(verdict.cols),
            conflict_stage,
            conflict_message,
            ..self.operation(table)
        };
        self.owe(table, operation, info.revision, info.revision);
    }

    fn is_done(&self, table: &TableId) -> bool {
        self.members.get(table).is_some_and(|member| member.is_done)
    }

    /// An operation of this lock that says nothing yet.
    pub(super) fn operation(&self, table: &TableId) -> Operation {
        Operation {
            id: self.id.clone(),
            task: self.task.clone(),
            source: table.source.clone(),
            up_schema: table.schema.clone(),
            up_table: table.table.clone(),
            ..Operation::default()
        }
    }

    fn owe(&mut self, table: &TableId, operation: Operation, info: Revision, group: Revision) {
        let owed = Owed {
            operation,
            info,
            group,
            then: None,
        };
        self.owed.insert(table, owed);
    }

    /// An operator has decided about these very statements, whatever the other tables are at.
    fn obey(&mut self, table: &TableId, info: &Reported, conflict: &str, executes: bool) {
        if let Some(schemas) = &info.schemas {
            // When they are left out, the next info tells what the table looks like.
            let shape = if executes {
                schemas.last()
            } else {
                &schemas.before
            };
            self.set_normal(table, shape);
        }
        self.set_done(table, false);
        let decided = unlock::decision(ConflictStage::Unlocked, conflict, &info.ddls, executes);
        let operation = Operation {
            cols: Some(Vec::new()),
            ..unlock::with(self.operation(table), decided)
        };
        self.owe(table, operation, info.revision, info.revision);
    }

    fn verdict(&mut self, table: &TableId, info: &Reported, schemas: &Schemas) -> Verdict {
        let mut verdict = Verdict::default();
        let mut before = &schemas.before;
        for (ddl, after) in info.ddls.iter().zip(&schemas.after) {
            match self.step(table, before, after, info.revision) {
                Step::Accepted(is_changed) => {
                    match self.check_columns(table, ddl, before, after, &verdict.cols) {
                        Ok(column) => verdict.cols.extend(column),
                        Err(error) => {
                            verdict = Verdict::failed(error);
                            break;
                        }
                    }
                    if is_changed {
                        verdict.ddls.push(ddl.clone());
                    }
                }
                Step::Detected => {
                    verdict = Verdict::failed(self.conflict(ddl, before, after));
                    break;
                }
                Step::Wait => {
                    let code = Code::SHARD_DDL_OPTIMISM_NEED_SKIP_AND_REDIRECT;
                    verdict.error = Some(DmError::new(code, &[&self.id, ddl]));
                    break;
                }
            }
            before = after;
        }
        let waits = verdict
            .error
            .as_ref()
            .is_some_and(|error| error.code() == Code::SHARD_DDL_OPTIMISM_NEED_SKIP_AND_REDIRECT);
        if verdict.error.is_some() && info.ignore_conflict {
            self.set_normal(table, schemas.last());
        } else if verdict.error.is_some() && !waits {
            self.set_normal(table, &schemas.before);
        } else if !waits {
            for column in &verdict.cols {
                if self.columns.get(table, column).is_none() {
                    self.columns.set(table, column, DropStage::NotDone);
                }
            }
        }
        verdict
    }

    /// One statement: the rules of the specification's section on one DDL.
    fn step(&mut self, table: &TableId, before: &Shape, after: &Shape, at: Revision) -> Step {
        self.clear_conflict(table);
        let stored = self.normal(table).cloned();
        let is_known = stored.as_ref() == Some(before);
        let is_repeated = !is_known && stored.as_ref() == Some(after);
        if !is_known {
            // What the worker sends wins over what is remembered.
            self.set_normal(table, before);
        }
        if let Ok(order) = before.compare(after) {
            let old = self.joined_normals();
            self.set_normal(table, after);
            if let Some(new) = self.joined_normals() {
                if self.resolve_if_agreed(Some(table), at) {
                    return Step::Accepted(true);
                }
                let is_changed = old.is_none_or(|old| {
                    old != new || is_equal(after, &old) || order != Ordering::Greater
                });
                return Step::Accepted(is_changed);
            }
        }
        if is_repeated || self.agrees_with_one(table, before, after) {
            self.set_normal(table, after);
            return Step::Accepted(true);
        }
        self.set_conflict(table, before, after);
        if !self.conflicts_agree() {
            return Step::Detected;
        }
        match self.resolve_if_agreed(Some(table), at) {
            true => Step::Accepted(true),
            false => Step::Wait,
        }
    }

    /// When all tables are where the waiting ones want to go, these are sent back to the statement they wait at.
    pub(super) fn resolve_if_agreed(&mut self, caller: Option<&TableId>, group: Revision) -> bool {
        if self.conflicts.is_empty() || !self.finals_agree() {
            return false;
        }
        self.work += self.conflicts.len() as u64;
        for table in self.conflicts.clone() {
            let Some(conflict) = self.members.get(&table).and_then(|m| m.conflict.clone()) else {
                continue;
            };
            self.set_normal(&table, &conflict);
            if caller != Some(&table) {
                self.redirect(&table, group);
            }
        }
        true
    }

    fn redirect(&mut self, table: &TableId, group: Revision) {
        let operation = Operation {
            conflict_stage: ConflictStage::Resolved,
            ..self.operation(table)
        };
        let info = self.members.get(table).map(|m| m.info).unwrap_or_default();
        let redirect = Owed {
            operation,
            info,
            group,
            then: None,
        };
        self.owed.redirect(table, redirect);
    }

    /// Refuses to add a column that is not fully dropped, or elsewhere of another length. Answers the column that goes.
    fn check_columns(
        &mut self,
        table: &TableId,
        ddl: &str,
        before: &Shape,
        after: &Shape,
        dropped: &[String],
    ) -> Result<Option<String>, DmError> {
        let (old, new) = (
            self.joined_with(table, before),
            self.joined_with(table, after),
        );
        let Some((old, new)) = old.zip(new) else {
            return Ok(None);
        };
        let Ok(order) = old.compare(&new) else {
            return Ok(None);
        };
        let change =
            column_change(ddl).map_err(|_| self.not_dropped(format!("fail to parse ddl {ddl}")))?;
        match change {
            Some(ColumnChange::Added(column)) if order != Ordering::Greater => {
                self.check_lengths(&column, ddl, [&old, after], &new)?;
                let lower = column.to_lowercase();
                let is_dropped_here = dropped.iter().any(|name| name.to_lowercase() == lower);
                if is_dropped_here || self.columns.get(table, &column).is_some() {
                    return Err(self.not_dropped(format!(
                        "add column {column} that wasn't fully dropped in downstream. ddl: {ddl}"
                    )));
                }
                Ok(None)
            }
            Some(ColumnChange::Dropped(column)) if order != Ordering::Less => Ok(Some(column)),
            _ => Ok(None),
        }
    }

    fn check_lengths(
        &self,
        column: &str,
        ddl: &str,
        others: [&Schema; 2],
        new: &Schema,
    ) -> Result<(), DmError> {
        let Some(length) = new.column_length(column) else {
            return Ok(());
        };
        let lengths = others
            .into_iter()
            .filter_map(|schema| schema.column_length(column));
        match lengths.into_iter().find(|other| *other != length) {
            Some(other) => Err(self.not_dropped(format!(
                "add columns with different field lengths. ddl: {ddl}, origLen: {other}, newLen: {length}"
            ))),
            None => Ok(()),
        }
    }

    fn not_dropped(&self, what: String) -> DmError {
        let code = Code::SHARD_DDL_OPTIMISM_ADD_NOT_FULLY_DROPPED_COLUMN;
        DmError::new(code, &[&self.id, &what]).workaround(SKIP)
    }

    fn conflict(&self, ddl: &str, before: &Shape, after: &Shape) -> DmError {
        let what = format!(
            "there will be conflicts if DDLs {ddl} are applied to the downstream. old table info: {before}, new table info: {after}"
        );
        DmError::new(Code::SHARD_DDL_OPTIMISM_TRY_SYNC_FAIL, &[&self.id, &what])
    }
}

impl Verdict {
    fn failed(error: DmError) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }
}

fn is_equal(shape: &Shape, schema: &Schema) -> bool {
    let shape: &Schema = shape;
    shape == schema
}

/// DM has no code for a schema that is there and makes no sense; the text says which of the two it is.
fn no_schema(info: &Reported) -> DmError {
    let ddls = List(&info.ddls);
    let code = Code::MASTER_OPTIMISTIC_TABLE_INFO_BEFORE_NOT_EXIST;
    let error = DmError::new(code, &[&ddls]);
    match &info.fault {
        Some(fault) => error.message(format!(
            "table-info of optimistic ddls {ddls} cannot be read: {fault}"
        )),
        None => error,
    }
}

fn inconsistent(info: &Reported, schemas: &Schemas) -> DmError {
    DmError::new(
        Code::MASTER_INCONSISTENT_OPTIMISTIC_DD_LS_AND_INFO,
        &[&info.ddls.len(), &schemas.after.len()],
    )
}
