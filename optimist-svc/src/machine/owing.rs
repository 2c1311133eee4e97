//! Operations that are to be put, in the order in which they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use dm_keyspace::optimism::Operation;
use dm_store::Revision;

use super::evidence::TableId;

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

impl Owed {
    /// Whether it answers the info that was judged, or else redirects a table because of it.
    pub(super) fn is_answer(&self) -> bool {
        self.info == self.group
    }
}

/// What one lock owes, one operation a table at most.
#[derive(Debug, Default)]
pub(super) struct Owing {
    by_table: BTreeMap<TableId, Owed>,
    /// Group by group, redirects before the answer.
    order: BTreeSet<(Revision, bool, TableId)>,
}

impl Owing {
    pub(super) fn is_empty(&self) -> bool {
        self.by_table.is_empty()
    }

    pub(super) fn get(&self, table: &TableId) -> Option<&Owed> {
        self.by_table.get(table)
    }

    pub(super) fn insert(&mut self, table: &TableId, owed: Owed) {
        self.remove(table);
        let at = (owed.group, owed.is_answer(), table.clone());
        self.order.insert(at);
        self.by_table.insert(table.clone(), owed);
    }

    pub(super) fn remove(&mut self, table: &TableId) {
        if let Some(owed) = self.by_table.remove(table) {
            let at = (owed.group, owed.is_answer(), table.clone());
            self.order.remove(&at);
        }
    }

    /// The operation is there: what follows is owed now, if anything does.
    pub(super) fn is_put(&mut self, table: &TableId) {
        let next = self.by_table.get_mut(table).and_then(|o| o.then.take());
        match (next, self.by_table.get_mut(table)) {
            (Some(next), Some(owed)) => owed.operation = *next,
            _ => self.remove(table),
        }
    }

    /// The table is to be redirected. It takes the first operation that it finds for its answer: if it has not got that
    /// yet, the redirect follows later.
    pub(super) fn redirect(&mut self, table: &TableId, redirect: Owed) {
        match self.by_table.get_mut(table) {
            Some(owed) => owed.then = Some(Box::new(redirect.operation)),
            None => self.insert(table, redirect),
        }
    }

    /// The group after `last`, in order.
    pub(super) fn group_after(&self, last: Option<Revision>) -> Option<Revision> {
        let after = last.map_or(Bound::Unbounded, |last| {
            Bound::Included((last.next(), false, TableId::first()))
        });
        let mut rest = self.order.range((after, Bound::Unbounded));
        rest.next().map(|(group, _, _)| *group)
    }

    /// Those of one group, redirects before the answer.
    pub(super) fn of(&self, group: Revision) -> impl Iterator<Item = (&TableId, &Owed)> {
        let first = (group, false, TableId::first());
        let of_group = self.order.range(first..);
        let of_group = of_group.take_while(move |(other, _, _)| *other == group);
        of_group.filter_map(|(_, _, table)| self.by_table.get_key_value(table))
    }
}
