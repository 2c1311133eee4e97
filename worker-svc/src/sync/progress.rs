//! How far a subtask is: the one record that a restart goes on from. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::online::Copies;
use crate::binlog::position::{Location, Position};
use crate::names::TableName;
use crate::shard::group::{Group, RowRule};
use crate::shard::held::Held;
use crate::shard::optimist::Told;

/// A table whose full load was read at another place than the log is read from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Loaded {
    /// Everything up to here is in the rows that were loaded.
    pub from: Position,
    /// Something up to here may be: the load was interrupted and repeated.
    pub safe_until: Position,
}

/// The state of the replication of one source.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Progress {
    /// Everything before is applied, apart from what groups hold back.
    pub main: Location,
    /// Tables that were loaded at later places; forgotten when those are passed.
    #[serde(default)]
    pub loaded: BTreeMap<TableName, Loaded>,
    /// Tables by their target; pessimistic shard mode only.
    #[serde(default)]
    pub groups: BTreeMap<TableName, Group>,
    /// Tables that wait for a redirect; optimistic shard mode only.
    #[serde(default, skip_serializing_if = "Held::is_empty")]
    pub held: Held,
    /// What was carried out and has to be told; optimistic shard mode only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// What was done to tables that tools are about to put in the place of others.
    #[serde(default, skip_serializing_if = "Copies::is_empty")]
    pub copies: Copies,
    /// A statement that was about to be executed downstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
}

/// What to do with rows that the main stream meets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// They are in the downstream.
    Skip,
    /// They come again, after the shard DDL.
    Hold,
    /// They are applied; safely when some may be in the downstream.
    Apply {
        /// Make it repeatable.
        safe: bool,
    },
}

impl Progress {
    /// For rows of a table whose event ends at `end`.
    pub fn decide(&self, table: &TableName, target: &TableName, end: &Position) -> Decision {
        let by_load = self.after_load(table, end);
        if by_load == Decision::Skip {
            return by_load;
        }
        if self.held.holds(table) {
            return Decision::Hold;
        }
        match self.member(table, target) {
            Some((_, group, _)) if group.row_rule(table) == RowRule::Hold => Decision::Hold,
            _ => by_load,
        }
    }

    /// The group of a table, by its target, and its name in there. While a rename is open the table is in the group of its name before.
    pub fn member<'a>(
        &'a self,
        table: &TableName,
        target: &TableName,
    ) -> Option<(&'a TableName, &'a Group, &'a TableName)> {
        let known = |(target, group): (&'a TableName, &'a Group)| {
            Some((target, group, group.member(table)?))
        };
        let first = self.groups.get_key_value(target).and_then(known);
        first.or_else(|| {
            let open = self.groups.iter().filter(|(_, g)| g.is_unresolved());
            open.filter_map(known).next()
        })
    }

    /// A group whose tables have got names with another target goes on as the group of that one.
    pub fn rehome(&mut self, target: &TableName, target_of: impl Fn(&TableName) -> TableName) {
        let Some(group) = self.groups.get(target) else {
            return;
        };
        let new = group.members.first().map(&target_of);
        if let Some(new) = new.filter(|new| new != target)
            && let Some(group) = self.groups.remove(target)
        {
            let joined = self.groups.entry(new).or_default();
            joined.members.extend(group.members);
            joined.items.extend(group.items);
        }
    }

    /// The same without regard to groups, for rows that are read again.
    pub fn after_load(&self, table: &TableName, end: &Position) -> Decision {
        match self.loaded.get(table) {
            Some(loaded) if *end <= loaded.from => Decision::Skip,
            Some(loaded) => Decision::Apply {
                safe: *end <= loaded.safe_until,
            },
            None => Decision::Apply { safe: false },
        }
    }

    /// Forgets load positions that nothing will ask for again.
    pub fn prune(&mut self) {
        self.held.prune();
        if self.groups.values().any(Group::is_unresolved) || !self.held.is_empty() {
            return;
        }
        let main = &self.main.position;
        self.loaded
            .retain(|_, l| l.from > *main || l.safe_until > *main);
    }

    /// Where somebody would have to begin who does not know this record.
    pub fn pinned(&self) -> Location {
        let groups = self.groups.values().filter_map(Group::first_start);
        let first = groups.chain(self.held.first_start()).min();
        match first {
            Some(position) if *position < self.main.position => Location::at(position.clone()),
            _ => self.main.clone(),
        }
    }

    /// A group that is in the middle of a DDL that all its tables have met.
    pub fn group_at_work(&self) -> Option<&TableName> {
        use crate::shard::group::Phase;
        self.groups
            .iter()
            .find(|(_, g)| g.phase != Phase::Gathering)
            .map(|(target, _)| target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::group::Meeting;

    fn at(pos: u64) -> Position {
        Position::new("b.000001", pos)
    }

    fn table(name: &str) -> TableName {
        TableName::new("db", name)
    }

    #[test]
    fn a_table_that_was_loaded_later_is_skipped_then_safe_then_plain() {
        let mut progress = Progress::default();
        progress.loaded.insert(
            table("a"),
            Loaded {
                from: at(10),
                safe_until: at(20),
            },
        );
        let decide = |pos| progress.decide(&table("a"), &table("t"), &at(pos));
        assert_eq!(decide(10), Decision::Skip);
        assert_eq!(decide(20), Decision::Apply { safe: true });
        assert_eq!(decide(21), Decision::Apply { safe: false });
        progress.main = Location::at(at(20));
        progress.prune();
        assert!(progress.loaded.is_empty());
    }

    #[test]
    fn an_open_shard_ddl_holds_rows_and_pins_the_position() {
        let mut progress = Progress {
            main: Location::at(at(50)),
            ..Progress::default()
        };
        let group = progress.groups.entry(table("t")).or_default();
        group.join(&table("b")).unwrap();
        let met = Meeting {
            start: at(30),
            end: at(31),
            after: dm_schema::Table::default(),
            renamed: None,
        };
        group
            .meet(
                "s",
                &table("a"),
                vec!["D".to_owned()],
                crate::shard::group::Session::default(),
                met,
            )
            .unwrap();
        assert_eq!(
            progress.decide(&table("a"), &table("t"), &at(60)),
            Decision::Hold
        );
        assert_eq!(
            progress.decide(&table("b"), &table("t"), &at(60)),
            Decision::Apply { safe: false }
        );
        assert_eq!(progress.pinned().position, at(30));
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), progress);
    }
}
