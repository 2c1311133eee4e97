//! Operations that are to be put, in the order in which they are.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Groups of which something is different since the last look, those that are no more included.
    changed: BTreeSet<Revision>,
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
        self.changed.insert(owed.group);
        let at = (owed.group, owed.is_answer(), table.clone());
        self.order.insert(at);
        self.by_table.insert(table.clone(), owed);
    }

    pub(super) fn remove(&mut self, table: &TableId) {
        if let Some(owed) = self.by_table.remove(table) {
            self.changed.insert(owed.group);
            let at = (owed.group, owed.is_answer(), table.clone());
            self.order.remove(&at);
        }
    }

    /// The operation is there: what follows is owed now, if anything does.
    pub(super) fn is_put(&mut self, table: &TableId) {
        let next = self.by_table.get_mut(table).and_then(|o| o.then.take());
        match (next, self.by_table.get_mut(table)) {
            (Some(next), Some(owed)) => {
                owed.operation = *next;
                self.changed.insert(owed.group);
            }
            _ => self.remove(table),
        }
    }

    /// What is in etcd for the table is something else now, so that what is owed to it is put in another way.
    pub(super) fn look_at(&mut self, table: &TableId) {
        self.changed
            .extend(self.by_table.get(table).map(|owed| owed.group));
    }

    /// The groups that are not as they were when this was asked last.
    pub(super) fn take_changed(&mut self) -> BTreeSet<Revision> {
        std::mem::take(&mut self.changed)
    }

    /// The table is to be redirected. It takes the first operation that it finds for its answer: if it has not got that
    /// yet, the redirect follows later.
    pub(super) fn redirect(&mut self, table: &TableId, redirect: Owed) {
        match self.by_table.get_mut(table) {
            Some(owed) => owed.then = Some(Box::new(redirect.operation)),
            None => self.insert(table, redirect),
        }
    }

    /// All groups.
    #[cfg(test)]
    pub(super) fn groups(&self) -> BTreeSet<Revision> {
        self.order.iter().map(|(group, _, _)| *group).collect()
    }

    /// Those of one group, redirects before the answer.
    pub(super) fn of(&self, group: Revision) -> impl Iterator<Item = (&TableId, &Owed)> {
        let first = (group, false, TableId::first());
        let of_group = self.order.range(first..);
        let of_group = of_group.take_while(move |(other, _, _)| *other == group);
        of_group.filter_map(|(_, _, table)| self.by_table.get_key_value(table))
    }
}
