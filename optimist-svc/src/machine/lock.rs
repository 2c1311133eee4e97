//! One lock: the tables of one downstream table, their schemas, and the tests on sets of them.
//!
//! Each table has a normal schema, that of its last accepted statement, and, while it waits, a conflict schema. Its
//! final schema is the conflict schema if it has one. The lock is synced when every final schema equals the join of all.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_keyspace::TaskName;
use dm_keyspace::optimism::{DropStage, Operation};
use dm_schema::lattice::Schema;
use dm_store::Revision;

use super::evidence::{TableId, Target};
use super::shapes::{Shape, Shapes, join};

/// One table of a lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    /// None until it is known what the table looks like.
    pub(super) normal: Option<Shape>,
    pub(super) conflict: Option<Shape>,
    /// Its last operation with statements has been executed.
    pub(super) is_done: bool,
    /// Revision of the info that made it so.
    pub(super) info: Revision,
}

impl Member {
    pub(super) fn last(&self) -> Option<&Shape> {
        self.conflict.as_ref().or(self.normal.as_ref())
    }
}

/// An operation that is to be put.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) operation: Operation,
    /// Revision of the info that it answers.
    pub(super) info: Revision,
    /// Those of one group are put together.
    pub(super) group: Revision,
    /// What follows once it is there.
    pub(super) then: Option<Box<Operation>>,
}

/// A column that a table has dropped and the downstream may still have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The column as the statement wrote it.
    pub(super) spelling: String,
    pub(super) stage: DropStage,
}

/// One lock.
#[derive(Debug)]
pub(super) struct Lock {
    pub(super) id: String,
    pub(super) task: TaskName,
    pub(super) target: Target,
    /// What stands in for tables whose schema is not found anywhere.
    pub(super) init: Option<Shape>,
    pub(super) members: BTreeMap<TableId, Member>,
    normals: Shapes,
    finals: Shapes,
    pub(super) conflicts: BTreeSet<TableId>,
    /// Members of unknown schema.
    pub(super) awaited: BTreeSet<TableId>,
    /// What the timer said when the first of them became one.
    pub(super) awaited_since: Option<Duration>,
    undone: usize,
    /// By column in lower case.
    pub(super) columns: BTreeMap<String, BTreeMap<TableId, Mark>>,
    pub(super) owed: BTreeMap<TableId, Owed>,
    /// Infos that have not taken effect, in order.
    pub(super) unjudged: BTreeSet<(Revision, TableId)>,
    /// Tables that have left, and whose records are to be deleted.
    pub(super) leaving: BTreeSet<TableId>,
    pub(super) trace: Option<String>,
    /// Infos answered with an error that nobody has counted yet.
    pub(super) errors: u64,
    /// What the timer said first while the lock was there.
    pub(super) first_seen: Option<Duration>,
}

impl Lock {
    pub(super) fn new(id: String, task: TaskName, target: Target) -> Self {
        Self {
            id,
            task,
            target,
            init: None,
            members: BTreeMap::new(),
            normals: Shapes::default(),
            finals: Shapes::default(),
            conflicts: BTreeSet::new(),
            awaited: BTreeSet::new(),
            awaited_since: None,
            undone: 0,
            columns: BTreeMap::new(),
            owed: BTreeMap::new(),
            unjudged: BTreeSet::new(),
            leaving: BTreeSet::new(),
            trace: None,
            errors: 0,
            first_seen: None,
        }
    }

    /// A table joins; nothing happens to one that is a member.
    pub(super) fn join(&mut self, table: &TableId) {
        if !self.members.contains_key(table) {
            self.members.insert(table.clone(), Member::default());
            self.awaited.insert(table.clone());
            self.undone += 1;
        }
    }

    /// A table leaves, with its marks and what was to be told to it.
    pub(super) fn leave(&mut self, table: &TableId) {
        self.change(table, |member| *member = Member::default());
        if let Some(member) = self.members.remove(table) {
            self.undone -= usize::from(!member.is_done);
        }
        self.awaited.remove(table);
        self.owed.remove(table);
        for tables in self.columns.values_mut() {
            tables.remove(table);
        }
        self.columns.retain(|_, tables| !tables.is_empty());
    }

    /// The only way to change a member: the counts follow.
    fn change(&mut self, table: &TableId, change: impl FnOnce(&mut Member)) {
        let Some(member) = self.members.get_mut(table) else {
            return;
        };
        if let Some(shape) = &member.normal {
            self.normals.remove(shape);
        }
        if let Some(shape) = member.last() {
            self.finals.remove(shape);
        }
        self.undone -= usize::from(!member.is_done);
        change(member);
        self.undone += usize::from(!member.is_done);
        if let Some(shape) = &mut member.normal {
            *shape = self.normals.add(shape);
            self.awaited.remove(table);
        }
        if let Some(shape) = member.last().cloned() {
            self.finals.add(&shape);
        }
        match member.conflict {
            Some(_) => self.conflicts.insert(table.clone()),
            None => self.conflicts.remove(table),
        };
    }

    /// Normal and final schema, and no conflict.
    pub(super) fn set_normal(&mut self, table: &TableId, shape: &Shape) {
        self.change(table, |member| {
            member.normal = Some(shape.clone());
            member.conflict = None;
        });
    }

    /// The table waits at `conflict`.
    pub(super) fn set_conflict(&mut self, table: &TableId, normal: &Shape, conflict: &Shape) {
        self.change(table, |member| {
            member.normal = Some(normal.clone());
            member.conflict = Some(conflict.clone());
        });
    }

    pub(super) fn set_done(&mut self, table: &TableId, is_done: bool) {
        self.change(table, |member| member.is_done = is_done);
    }

    pub(super) fn set_info(&mut self, table: &TableId, info: Revision) {
        self.change(table, |member| member.info = info);
    }

    pub(super) fn clear_conflict(&mut self, table: &TableId) {
        self.change(table, |member| member.conflict = None);
    }

    pub(super) fn normal(&self, table: &TableId) -> Option<&Shape> {
        self.members.get(table)?.normal.as_ref()
    }

    /// The join of all normal schemas.
    pub(super) fn joined_normals(&self) -> Option<Schema> {
        self.normals.join()
    }

    /// The join of all final schemas: what the downstream is to be.
    pub(super) fn joined(&self) -> Option<Schema> {
        self.finals.join()
    }

    /// The join of all normal schemas, had `table` the given one.
    pub(super) fn joined_with(&self, table: &TableId, shape: &Shape) -> Option<Schema> {
        let mut normals = self.normals.clone();
        if let Some(own) = self.normal(table) {
            normals.remove(own);
        }
        normals.add(shape);
        normals.join()
    }

    /// Whether every table's final schema is the join of all.
    pub(super) fn is_synced(&self) -> bool {
        self.awaited.is_empty()
            && self
                .joined()
                .is_some_and(|joined| self.finals.equal_and_not(&joined).1 == 0)
    }

    /// Whether the lock can go: all equal, all done, nothing to tell, and no dropped column that nobody has executed.
    pub(super) fn is_resolved(&self) -> bool {
        let is_executed = |tables: &BTreeMap<TableId, Mark>| {
            tables.values().any(|mark| mark.stage == DropStage::Done)
        };
        !self.members.is_empty()
            && self.undone == 0
            && self.owed.is_empty()
            && self.unjudged.is_empty()
            && self.conflicts.is_empty()
            && self.columns.values().all(is_executed)
            && self.is_synced()
    }

    /// Normal and conflict schema of the waiting tables, each pair once.
    fn pairs(&self) -> Vec<(&Shape, &Shape)> {
        let mut pairs: Vec<(&Shape, &Shape)> = Vec::new();
        for table in &self.conflicts {
            let member = self.members.get(table);
            let pair = member.and_then(|m| m.normal.as_ref().zip(m.conflict.as_ref()));
            if let Some(pair) = pair
                && !pairs.contains(&pair)
            {
                pairs.push(pair);
            }
        }
        pairs
    }

    /// Whether `judged` is where all waiting tables want to go: the old thing is gone from it, the new one is everywhere in it.
    fn agrees(&self, judged: &[&Shape]) -> bool {
        let Some(joined) = join(judged.iter().map(|shape| shape.as_ref())) else {
            return false;
        };
        self.pairs().into_iter().all(|(previous, wanted)| {
            let is_old_gone = joined.compare(previous).is_err();
            is_old_gone && judged.iter().all(|shape| covers(previous, shape, wanted))
        })
    }

    /// Whether the waiting tables agree with each other.
    pub(super) fn conflicts_agree(&self) -> bool {
        let mut wanted: Vec<&Shape> = Vec::new();
        for (_, conflict) in self.pairs() {
            if !wanted.contains(&conflict) {
                wanted.push(conflict);
            }
        }
        self.agrees(&wanted)
    }

    /// Whether all tables are where the waiting ones want to go.
    pub(super) fn finals_agree(&self) -> bool {
        self.agrees(&self.finals.iter().collect::<Vec<_>>())
    }

    /// Whether some other table has already made the step from `before` to `after`.
    pub(super) fn agrees_with_one(&self, table: &TableId, before: &Shape, after: &Shape) -> bool {
        let mut others = self.normals.clone();
        if let Some(own) = self.normal(table) {
            others.remove(own);
        }
        others.iter().any(|other| {
            let Some(joined) = join([after.as_ref(), other.as_ref()]) else {
                return false;
            };
            joined.compare(before).is_err() && covers(before, other, after)
        })
    }

    /// The mark of a column that the table has dropped.
    pub(super) fn mark(&self, table: &TableId, column: &str) -> Option<&Mark> {
        self.columns.get(&column.to_lowercase())?.get(table)
    }

    pub(super) fn set_mark(&mut self, table: &TableId, column: &str, stage: DropStage) {
        let mark = Mark {
            spelling: column.to_owned(),
            stage,
        };
        let tables = self.columns.entry(column.to_lowercase()).or_default();
        tables.insert(table.clone(), mark);
    }

    pub(super) fn remove_mark(&mut self, table: &TableId, column: &str) {
        let lower = column.to_lowercase();
        if let Some(tables) = self.columns.get_mut(&lower) {
            tables.remove(table);
            if tables.is_empty() {
                self.columns.remove(&lower);
            }
        }
    }

    /// Columns that every table which dropped them is done with, and that somebody has executed, are forgotten.
    pub(super) fn forget_dropped(&mut self) {
        self.columns.retain(|_, tables| {
            let has = |stage| tables.values().any(|mark| mark.stage == stage);
            has(DropStage::NotDone) || !has(DropStage::Done)
        });
    }
}

/// Whether `shape`, with what was there before where that can be joined, has all of `wanted`.
fn covers(previous: &Shape, shape: &Shape, wanted: &Shape) -> bool {
    let joined = join([previous.as_ref(), shape.as_ref()]);
    let whole = joined.as_ref().unwrap_or(shape);
    matches!(
        whole.compare(wanted),
        Ok(Ordering::Greater | Ordering::Equal)
    )
}
