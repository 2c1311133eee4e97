//! Columns that some tables have dropped and the downstream may still have.
//!
//! Each change of a mark costs the same however many tables have marked the column: stages are counted, and which marks
//! may differ from those in etcd is known.

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::optimism::DropStage;

use super::evidence::{Marks, TableId};

/// A column that a table has dropped and the downstream may still have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The column as the statement wrote it.
    pub(super) spelling: String,
    pub(super) stage: DropStage,
}

/// The tables that have dropped one column.
#[derive(Debug, Default, PartialEq, Eq)]
struct Marked {
    tables: BTreeMap<TableId, Mark>,
    not_done: usize,
    executed: usize,
}

impl Marked {
    fn count(&mut self, stage: DropStage, add: bool) {
        let counter = match stage {
            DropStage::NotDone => &mut self.not_done,
            DropStage::Done => &mut self.executed,
            DropStage::PartiallyDone | DropStage::Unknown(_) => return,
        };
        *counter = if add { *counter + 1 } else { *counter - 1 };
    }

    fn set(&mut self, table: &TableId, mark: Mark) -> Option<Mark> {
        self.count(mark.stage, true);
        let old = self.tables.insert(table.clone(), mark);
        if let Some(old) = &old {
            self.count(old.stage, false);
        }
        old
    }

    fn remove(&mut self, table: &TableId) -> Option<Mark> {
        let old = self.tables.remove(table)?;
        self.count(old.stage, false);
        Some(old)
    }

    /// Somebody has executed it, and nobody still has to.
    fn is_gone(&self) -> bool {
        self.not_done == 0 && self.executed > 0
    }
}

/// Where a mark lies in etcd, apart from the lock: the table, and the column as it is written there.
pub(super) type At = (TableId, String);

/// The columns of one lock.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// By column in lower case.
    marked: BTreeMap<String, Marked>,
    /// Marks that may not be in etcd as they are here.
    unsettled: BTreeSet<At>,
    /// Those of them that have changed since the last look.
    changed: BTreeSet<At>,
    /// Columns, as they are written, of which no mark is to be left in etcd.
    forgotten: BTreeSet<String>,
    /// Marks that were looked at so far.
    pub(super) work: u64,
}

impl Columns {
    /// The marks in etcd.
    pub(super) fn of(marks: Option<&Marks>) -> Self {
        let mut columns = Self::default();
        for ((spelling, table), (stage, _)) in marks.into_iter().flatten() {
            columns.set(table, spelling, *stage);
        }
        columns
    }

    /// Columns in lower case.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.marked.keys()
    }

    pub(super) fn get(&self, table: &TableId, column: &str) -> Option<&Mark> {
        self.marked.get(&column.to_lowercase())?.tables.get(table)
    }

    /// Whether somebody has executed the drop of every column.
    pub(super) fn are_executed(&self) -> bool {
        self.marked.values().all(|marked| marked.executed > 0)
    }

    pub(super) fn set(&mut self, table: &TableId, column: &str, stage: DropStage) {
        let mark = Mark {
            spelling: column.to_owned(),
            stage,
        };
        let marked = self.marked.entry(column.to_lowercase()).or_default();
        let old = marked.set(table, mark);
        for spelling in old.iter().map(|old| old.spelling.as_str()).chain([column]) {
            self.changed.insert((table.clone(), spelling.to_owned()));
        }
    }

    pub(super) fn remove(&mut self, table: &TableId, column: &str) {
        let lower = column.to_lowercase();
        let Some(marked) = self.marked.get_mut(&lower) else {
            return;
        };
        if let Some(old) = marked.remove(table) {
            self.changed.insert((table.clone(), old.spelling));
        }
        if marked.tables.is_empty() {
            self.marked.remove(&lower);
        }
    }

    /// The table has no part in the lock any more.
    pub(super) fn leave(&mut self, table: &TableId) {
        for column in self.marked.keys().cloned().collect::<Vec<_>>() {
            self.remove(table, &column);
        }
    }

    /// The mark in etcd is another one now.
    pub(super) fn look_at(&mut self, table: &TableId, spelling: &str) {
        self.changed.insert((table.clone(), spelling.to_owned()));
    }

    /// Columns that every table which dropped them is done with, and that somebody has executed, are forgotten.
    pub(super) fn forget_gone(&mut self) {
        let gone: Vec<String> = self
            .marked
            .iter()
            .filter(|(_, marked)| marked.is_gone())
            .map(|(column, _)| column.clone())
            .collect();
        for marked in gone.iter().filter_map(|column| self.marked.remove(column)) {
            let spellings = marked.tables.into_values().map(|mark| mark.spelling);
            self.forgotten.extend(spellings);
        }
    }

    /// Takes note of which marks are in etcd as they are here, of those that have changed here or there. Answers their tables.
    pub(super) fn settle(&mut self, present: &Marks) -> BTreeSet<TableId> {
        // A column that is dropped again while its old marks are being deleted keeps the new ones.
        let again: Vec<String> = self
            .forgotten
            .iter()
            .filter(|spelling| self.marked.contains_key(&spelling.to_lowercase()))
            .cloned()
            .collect();
        for spelling in again {
            self.forgotten.remove(&spelling);
            let stale = marks_of(present, &spelling).map(|((column, table), _)| (table, column));
            self.changed
                .extend(stale.map(|(table, column)| (table.clone(), column.clone())));
        }
        self.forgotten
            .retain(|spelling| marks_of(present, spelling).next().is_some());
        self.work += self.changed.len() as u64;
        let mut tables = BTreeSet::new();
        for at in std::mem::take(&mut self.changed) {
            tables.insert(at.0.clone());
            match self.is_settled(&at, present) || self.forgotten.contains(&at.1) {
                true => self.unsettled.remove(&at),
                false => self.unsettled.insert(at),
            };
        }
        tables
    }

    fn is_settled(&self, at: &At, present: &Marks) -> bool {
        let there = present.get(&(at.1.clone(), at.0.clone()));
        self.wanted(at) == there.map(|(stage, _)| *stage)
    }

    /// The stage that is to be in etcd there.
    pub(super) fn wanted(&self, at: &At) -> Option<DropStage> {
        let mark = self.get(&at.0, &at.1)?;
        (mark.spelling == at.1).then_some(mark.stage)
    }

    /// Columns, as they are written, of which all marks are to be deleted.
    pub(super) fn forgotten(&self) -> impl Iterator<Item = &String> {
        self.forgotten.iter()
    }

    /// Marks that are not in etcd as they are here, by table.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &At> {
        self.unsettled.iter()
    }

    /// Those of one table.
    pub(super) fn unsettled_of<'a>(&'a self, table: &'a TableId) -> impl Iterator<Item = &'a At> {
        let first = (table.clone(), String::new());
        let from = self.unsettled.range(first..);
        from.take_while(move |(other, _)| other == table)
    }

    /// Whether this is what looking at everything gives.
    #[cfg(test)]
    pub(super) fn is_as_derived_anew(&self, present: &Marks) -> bool {
        let counts = self.marked.values().all(|marked| {
            let of = |stage| marked.tables.values().filter(|m| m.stage == stage).count();
            (marked.not_done, marked.executed) == (of(DropStage::NotDone), of(DropStage::Done))
        });
        let here = self.marked.values().flat_map(|marked| &marked.tables);
        let here = here.map(|(table, mark)| (table.clone(), mark.spelling.clone()));
        let there = present
            .keys()
            .map(|(column, table)| (table.clone(), column.clone()));
        let differing: BTreeSet<At> = here
            .chain(there)
            .filter(|at| !self.is_settled(at, present) && !self.forgotten.contains(&at.1))
            .collect();
        counts && differing == self.unsettled
    }
}

/// Marks in etcd of a column as it is written.
fn marks_of<'a>(
    present: &'a Marks,
    spelling: &'a str,
) -> impl Iterator<Item = (&'a (String, TableId), &'a (DropStage, dm_store::Revision))> {
    let first = (spelling.to_owned(), TableId::first());
    present
        .range(first..)
        .take_while(move |((column, _), _)| column == spelling)
}
