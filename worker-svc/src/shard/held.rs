//! Tables of an optimistic task whose DDL contradicts the other tables: they wait until they are redirected, and are then read again. Pure.
//!
//! | a table | rows and DDL in the main stream | next |
//! |---|---|---|
//! | not held | applied | told to skip and wait for a redirect: held |
//! | held | passed over | redirected: due |
//! | due | passed over | between two transactions of the main stream: read again |
//! | read again | the main stream stands still; the log is read from where the table was held, for such tables only | the main stream's place is reached: not held; told to wait once more: held from there |
//!
//! All of it is part of the record that is written with the rows, so that every row is applied once, whatever happens in between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::binlog::position::Position;
use crate::names::TableName;

/// A table that waits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hold {
    /// The end of the last transaction before the DDL in question: nothing of the table behind it is applied.
    pub from: Position,
    /// The revision of the operation that told it to wait.
    pub told: i64,
    /// A redirect has come.
    #[serde(default)]
    pub due: bool,
}

/// The reading of what was passed over.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Again {
    /// How far it is: the end of a transaction.
    pub at: Position,
    /// Its tables, each with the place from where on it takes part.
    pub tables: BTreeMap<TableName, Position>,
}

/// What a change with a copy of the table has brought to a table that waits: the copy's own statements are behind the place from which it is read again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Brought {
    /// Where the statement begins that put the copy in the table's place.
    pub at: Position,
    /// What happens to the table there.
    pub ddls: Vec<String>,
}

/// All tables that are not where the main stream is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Held {
    /// Those that wait.
    #[serde(default)]
    pub tables: BTreeMap<TableName, Hold>,
    /// Those that are read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
    /// In the order of their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brought: Vec<Brought>,
}

impl Held {
    /// Whether every table is where the main stream is.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.again.is_none() && self.brought.is_empty()
    }

    /// A table was told to wait, by the operation of that revision; it leaves the reading that it may have been part of.
    pub fn hold(&mut self, table: TableName, from: Position, told: i64) {
        if let Some(again) = &mut self.again {
            again.tables.remove(&table);
        }
        let hold = Hold {
            from,
            told,
            due: false,
        };
        self.tables.insert(table, hold);
    }

    /// Whether the main stream passes over the table.
    pub fn holds(&self, table: &TableName) -> bool {
        let read_again = self
            .again
            .as_ref()
            .is_some_and(|a| a.tables.contains_key(table));
        read_again || self.tables.contains_key(table)
    }

    /// A table was told something else, at that revision.
    pub fn redirected(&mut self, table: &TableName, revision: i64) {
        if let Some(hold) = self.tables.get_mut(table)
            && revision > hold.told
        {
            hold.due = true;
        }
    }

    /// The revision after which redirects are still to come; none if no table waits for one.
    pub fn told(&self) -> Option<i64> {
        let waiting = self.tables.values().filter(|hold| !hold.due);
        waiting.map(|hold| hold.told).min()
    }

    /// Begins to read the due tables again, if there are any and nothing is being read again.
    pub fn begin(&mut self) -> bool {
        if self.again.is_some() {
            return false;
        }
        let due = |(_, hold): &(&TableName, &Hold)| hold.due;
        let from = |(table, hold): (&TableName, &Hold)| (table.clone(), hold.from.clone());
        let tables: BTreeMap<_, _> = self.tables.iter().filter(due).map(from).collect();
        let Some(at) = tables.values().min().cloned() else {
            return false;
        };
        self.tables.retain(|table, _| !tables.contains_key(table));
        self.again = Some(Again { at, tables });
        true
    }

    /// Whether an event that begins at `start` is one to be read again.
    pub fn takes_part(&self, table: &TableName, start: &Position) -> bool {
        let from = self
            .again
            .as_ref()
            .and_then(|again| again.tables.get(table));
        from.is_some_and(|from| start >= from)
    }

    /// The reading has come to the end of a transaction.
    pub fn reached(&mut self, at: Position) {
        if let Some(again) = &mut self.again {
            again.at = at;
        }
    }

    /// The reading has come to where the main stream is.
    pub fn finish(&mut self) {
        self.again = None;
    }

    /// The table is gone.
    pub fn forget(&mut self, table: &TableName) {
        self.tables.remove(table);
        if let Some(again) = &mut self.again {
            again.tables.remove(table);
        }
    }

    /// Notes what is brought at a place, once.
    pub fn bring(&mut self, at: Position, ddls: Vec<String>) {
        if self.brought_at(&at).is_none() {
            self.brought.push(Brought { at, ddls });
        }
    }

    /// What is brought at a place.
    pub fn brought_at(&self, at: &Position) -> Option<&[String]> {
        let found = self.brought.iter().find(|brought| brought.at == *at);
        found.map(|brought| brought.ddls.as_slice())
    }

    /// Forgets what nothing will ask for again.
    pub fn prune(&mut self) {
        match self.first_start().cloned() {
            Some(first) => self.brought.retain(|brought| brought.at >= first),
            None => self.brought.clear(),
        }
    }

    /// The first place of which not everything is applied.
    pub fn first_start(&self) -> Option<&Position> {
        let read_again = self.again.as_ref().map(|again| &again.at);
        self.tables
            .values()
            .map(|hold| &hold.from)
            .chain(read_again)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(pos: u64) -> Position {
        Position::new("b.000001", pos)
    }

    fn table(number: u8) -> TableName {
        TableName::new("db", format!("t{number}"))
    }

    #[derive(Clone, Debug)]
    enum Do {
        /// The main stream takes one event, if it does not stand still.
        Main,
        /// The reading takes one event.
        Again,
        Redirect(u8),
        /// The next event of this table, wherever it is met, is answered with "wait".
        Refuse(u8),
        Restart,
    }

    /// What is durable, and what was applied by table in the order in which it was.
    #[derive(Clone, Default)]
    struct World {
        held: Held,
        main: u64,
        applied: BTreeMap<u8, Vec<u64>>,
    }

    fn step(
        world: &mut World,
        log: &[u8],
        action: &Do,
        refuse: &mut Option<u8>,
        revision: &mut i64,
    ) {
        match action {
            Do::Main if world.held.again.is_none() => {
                let Some(owner) = log.get(world.main as usize).copied() else {
                    return;
                };
                if !world.held.holds(&table(owner)) {
                    if refuse.take_if(|r| *r == owner).is_some() {
                        *revision += 1;
                        world.held.hold(table(owner), at(world.main), *revision);
                    } else {
                        world.applied.entry(owner).or_default().push(world.main);
                    }
                }
                world.main += 1;
                world.held.begin();
            }
            Do::Again => {
                let Some(place) = world.held.again.as_ref().map(|a| a.at.pos) else {
                    return;
                };
                if place == world.main {
                    world.held.finish();
                    return;
                }
                let owner = log[place as usize];
                if world.held.takes_part(&table(owner), &at(place)) {
                    if refuse.take_if(|r| *r == owner).is_some() {
                        *revision += 1;
                        world.held.hold(table(owner), at(place), *revision);
                    } else {
                        world.applied.entry(owner).or_default().push(place);
                    }
                }
                world.held.reached(at(place + 1));
            }
            Do::Redirect(owner) => {
                *revision += 1;
                world.held.redirected(&table(*owner), *revision);
            }
            Do::Refuse(owner) => *refuse = Some(*owner),
            Do::Restart => {
                let text = serde_json::to_string(&world.held).unwrap();
                world.held = serde_json::from_str(&text).unwrap();
            }
            Do::Main => {}
        }
    }

    fn action() -> impl Strategy<Value = Do> {
        prop_oneof![
            6 => Just(Do::Main),
            6 => Just(Do::Again),
            2 => (0..3_u8).prop_map(Do::Redirect),
            2 => (0..3_u8).prop_map(Do::Refuse),
            1 => Just(Do::Restart),
        ]
    }

    proptest! {
        #[test]
        fn every_event_is_applied_once_and_in_order(log in proptest::collection::vec(0..3_u8, 1..20), actions in proptest::collection::vec(action(), 0..80)) {
            let mut world = World::default();
            let (mut refuse, mut revision) = (None, 0);
            for action in &actions {
                step(&mut world, &log, action, &mut refuse, &mut revision);
                for (owner, applied) in &world.applied {
                    let own = (0..).zip(&log).filter(|(_, o)| *o == owner).map(|(place, _)| place);
                    prop_assert_eq!(applied.clone(), own.take(applied.len()).collect::<Vec<u64>>());
                }
                // Whoever begins at the first open place misses nothing.
                let first = world.held.first_start().map_or(world.main, |p| p.pos).min(world.main);
                for place in 0..first {
                    let owner = log[place as usize];
                    prop_assert!(world.applied[&owner].contains(&place));
                }
            }
            // Redirected and not refused any more, all of it arrives.
            for _ in 0..3 {
                for owner in 0..3 {
                    step(&mut world, &log, &Do::Redirect(owner), &mut None, &mut revision);
                }
                world.held.begin();
                for _ in 0..=log.len() {
                    step(&mut world, &log, &Do::Again, &mut None, &mut revision);
                }
                for _ in 0..log.len() {
                    step(&mut world, &log, &Do::Main, &mut None, &mut revision);
                }
            }
            world.held.begin();
            for _ in 0..=log.len() {
                step(&mut world, &log, &Do::Again, &mut None, &mut revision);
            }
            prop_assert!(world.held.is_empty());
            prop_assert_eq!(world.applied.values().map(Vec::len).sum::<usize>(), log.len());
        }
    }

    #[test]
    fn a_redirect_from_before_the_wait_does_not_count() {
        let mut held = Held::default();
        held.hold(table(1), at(5), 7);
        held.redirected(&table(1), 7);
        assert!(!held.begin());
        held.redirected(&table(1), 8);
        assert_eq!(held.told(), None);
        assert!(held.begin() && held.takes_part(&table(1), &at(5)));
        assert!(!held.takes_part(&table(1), &at(4)));
        held.forget(&table(1));
        assert!(!held.holds(&table(1)));
    }

    #[test]
    fn what_is_brought_is_kept_as_long_as_it_may_be_read_again() {
        let mut held = Held::default();
        held.hold(table(1), at(5), 7);
        held.bring(at(4), vec!["A".to_owned()]);
        held.bring(at(6), vec!["B".to_owned()]);
        held.bring(at(6), vec!["C".to_owned()]);
        held.prune();
        assert_eq!(held.brought_at(&at(4)), None);
        assert_eq!(held.brought_at(&at(6)), Some(&["B".to_owned()][..]));
        held.forget(&table(1));
        held.prune();
        assert!(held.is_empty());
    }
}
