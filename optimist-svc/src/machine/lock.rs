//! One lock: the tables of one downstream table, their schemas, and the tests on sets of them.
//!
//! Each table has a normal schema, that of its last accepted statement, and, while it waits, a conflict schema. Its
//! final schema is the conflict schema if it has one. The lock is synced when every final schema equals the join of all.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dm_keyspace::TaskName;
use dm_schema::lattice::Schema;
use dm_store::Revision;

use super::evidence::{TableId, Target};
use super::marks::Columns;
use super::owing::Owing;
use super::shapes::{Pairs, Shape, Shapes, join};

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

    /// What it has and what it waits for, if it waits.
    fn pair(&self) -> Option<(&Shape, &Shape)> {
        self.normal.as_ref().zip(self.conflict.as_ref())
    }
}

/// Infos of a lock that have not taken effect, in order.
#[derive(Debug, Default)]
pub(super) struct Unjudged {
    order: BTreeSet<(Revision, TableId)>,
    of_table: BTreeMap<TableId, Revision>,
}

impl Unjudged {
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn insert(&mut self, table: &TableId, info: Revision) {
        self.remove(table);
        self.order.insert((info, table.clone()));
        self.of_table.insert(table.clone(), info);
    }

    pub(super) fn remove(&mut self, table: &TableId) {
        if let Some(info) = self.of_table.remove(table) {
            self.order.remove(&(info, table.clone()));
        }
    }

    pub(super) fn pop_first(&mut self) -> Option<(Revision, TableId)> {
        let first = self.order.pop_first()?;
        self.of_table.remove(&first.1);
        Some(first)
    }
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
    pairs: Pairs,
    /// Members of unknown schema.
    pub(super) awaited: BTreeSet<TableId>,
    /// What the timer said when the first of them became one.
    pub(super) awaited_since: Option<Duration>,
    undone: usize,
    pub(super) columns: Columns,
    pub(super) owed: Owing,
    pub(super) unjudged: Unjudged,
    /// Tables that have left, and whose records are to be deleted.
    pub(super) leaving: BTreeSet<TableId>,
    pub(super) trace: Option<String>,
    /// Infos answered with an error that nobody has counted yet.
    pub(super) errors: u64,
    /// It could go, and its records were being deleted.
    pub(super) was_resolved: bool,
    /// How often something new came before they were, that nobody has counted yet.
    pub(super) outrun: u64,
    /// What the timer said first while the lock was there.
    pub(super) first_seen: Option<Duration>,
    /// Tables and schemas that were looked at so far.
    pub(super) work: u64,
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
            pairs: Pairs::default(),
            awaited: BTreeSet::new(),
            awaited_since: None,
            undone: 0,
            columns: Columns::default(),
            owed: Owing::default(),
            unjudged: Unjudged::default(),
            leaving: BTreeSet::new(),
            trace: None,
            errors: 0,
            was_resolved: false,
            outrun: 0,
            first_seen: None,
            work: 0,
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
        self.change(table, |member| {
            member.normal = None;
            member.conflict = None;
        });
        if let Some(member) = self.members.remove(table) {
            self.undone -= usize::from(!member.is_done);
        }
        self.awaited.remove(table);
        self.owed.remove(table);
        self.unjudged.remove(table);
        self.columns.leave(table);
    }

    /// The only way to change the schemas of a member: the counts follow.
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
        if let Some((normal, conflict)) = member.pair() {
            self.pairs.remove(normal, conflict);
        }
        change(member);
        if let Some(shape) = &mut member.normal {
            *shape = self.normals.add(shape);
            self.awaited.remove(table);
        }
        if let Some(shape) = member.last().cloned() {
            self.finals.add(&shape);
        }
        if let Some((normal, conflict)) = member.pair() {
            self.pairs.add(normal, conflict);
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
        if let Some(member) = self.members.get_mut(table) {
            self.undone -= usize::from(!member.is_done);
            member.is_done = is_done;
            self.undone += usize::from(!member.is_done);
        }
    }

    pub(super) fn set_info(&mut self, table: &TableId, info: Revision) {
        if let Some(member) = self.members.get_mut(table) {
            member.info = info;
        }
    }

    pub(super) fn clear_conflict(&mut self, table: &TableId) {
        self.change(table, |member| member.conflict = None);
    }

    pub(super) fn normal(&self, table: &TableId) -> Option<&Shape> {
        self.members.get(table)?.normal.as_ref()
    }

    /// The join of all normal schemas.
    pub(super) fn joined_normals(&mut self) -> Option<Arc<Schema>> {
        self.normals.joined()
    }

    /// The join of all final schemas: what the downstream is to be.
    pub(super) fn joined(&self) -> Option<Arc<Schema>> {
        self.finals.join()
    }

    /// The join of all normal schemas, had `table` the given one.
    pub(super) fn joined_with(&mut self, table: &TableId, shape: &Shape) -> Option<Arc<Schema>> {
        let own = self.members.get(table).and_then(|m| m.normal.as_ref());
        self.normals.joined_with(own, shape)
    }

    /// Whether every table's final schema is the join of all.
    pub(super) fn is_synced(&self) -> bool {
        self.awaited.is_empty() && self.finals.is_uniform()
    }

    /// Whether the lock can go: all equal, all done, nothing to tell, and no dropped column that nobody has executed.
    pub(super) fn is_resolved(&self) -> bool {
        !self.members.is_empty()
            && self.undone == 0
            && self.owed.is_empty()
            && self.unjudged.is_empty()
            && self.conflicts.is_empty()
            && self.columns.are_executed()
            && self.is_synced()
    }

    /// Whether `judged` is where all waiting tables want to go: the old thing is gone from it, the new one is everywhere in it.
    fn agrees(&mut self, judged: &[Shape]) -> bool {
        self.work += judged.len() as u64;
        let Some(joined) = join(judged.iter().map(|shape| -> &Schema { shape })) else {
            return false;
        };
        let mut looked = 0;
        let agrees = self.pairs.iter().all(|(previous, wanted)| {
            looked += judged.len() as u64;
            let is_old_gone = joined.compare(previous).is_err();
            is_old_gone && judged.iter().all(|shape| covers(previous, shape, wanted))
        });
        self.work += looked;
        agrees
    }

    /// Whether the waiting tables agree with each other.
    pub(super) fn conflicts_agree(&mut self) -> bool {
        let mut wanted: Vec<Shape> = Vec::new();
        for (_, conflict) in self.pairs.iter() {
            if !wanted.contains(conflict) {
                wanted.push(conflict.clone());
            }
        }
        self.agrees(&wanted)
    }

    /// Whether all tables are where the waiting ones want to go.
    pub(super) fn finals_agree(&mut self) -> bool {
        let finals: Vec<Shape> = self.finals.iter().cloned().collect();
        self.agrees(&finals)
    }

    /// Whether some other table has already made the step from `before` to `after`.
    pub(super) fn agrees_with_one(
        &mut self,
        table: &TableId,
        before: &Shape,
        after: &Shape,
    ) -> bool {
        let own = self.members.get(table).and_then(|m| m.normal.as_ref());
        let others = self.normals.others(own);
        others.iter().any(|other| {
            let Some(joined) = join([after as &Schema, other]) else {
                return false;
            };
            joined.compare(before).is_err() && covers(before, other, after)
        })
    }

    /// How much was looked at so far: schemas, tables, marks.
    #[cfg(test)]
    pub(super) fn work(&self) -> u64 {
        self.work + self.normals.work + self.finals.work + self.columns.work
    }

    /// Whether what is counted is what looking at all tables gives.
    #[cfg(test)]
    pub(super) fn is_as_derived_anew(&self) -> bool {
        let members = || self.members.values();
        let classes = |shapes: Vec<&Shape>| {
            let mut counted = Shapes::default();
            for shape in shapes {
                counted.add(shape);
            }
            counted
        };
        let normals = classes(members().filter_map(|m| m.normal.as_ref()).collect());
        let finals = classes(members().filter_map(Member::last).collect());
        let mut pairs = Pairs::default();
        for (normal, conflict) in members().filter_map(Member::pair) {
            pairs.add(normal, conflict);
        }
        let joined = |shapes: &Shapes| join(shapes.iter().map(|shape| -> &Schema { shape }));
        normals.counts() == self.normals.counts()
            && finals.counts() == self.finals.counts()
            && pairs.counts() == self.pairs.counts()
            && joined(&normals) == self.normals.join().map(|joined| (*joined).clone())
            && joined(&finals) == self.finals.join().map(|joined| (*joined).clone())
            && self.undone == members().filter(|member| !member.is_done).count()
            && (self.members.iter().filter(|(_, m)| m.conflict.is_some()))
                .map(|(table, _)| table)
                .eq(&self.conflicts)
    }
}

/// Whether `shape`, with what was there before where that can be joined, has all of `wanted`.
fn covers(previous: &Shape, shape: &Shape, wanted: &Shape) -> bool {
    let joined = join([previous as &Schema, shape]);
    let whole: &Schema = joined.as_ref().unwrap_or(shape);
    matches!(
        whole.compare(wanted),
        Ok(Ordering::Greater | Ordering::Equal)
    )
}
