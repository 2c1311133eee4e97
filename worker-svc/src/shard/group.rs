//! The tables of one source that arrive in one downstream table, and the DDLs that they meet one after the other. Pure.
//!
//! | phase | what is true | next |
//! |---|---|---|
//! | Gathering | no table, or some, have met the first DDL; rows of those that have are held back | the last table meets it: Reporting |
//! | Reporting | all have met it; the other sources do not know | told to execute: Executing; told to skip: Told |
//! | Executing | the downstream may have the new structure, or not | executed: Told |
//! | Told | the downstream has the new structure as far as this source is concerned | etcd has "done": Replaying |
//! | Replaying | the rows held back are read again from the log | all applied: Gathering, for the next DDL |
//!
//! Every transition is written downstream in one transaction with the rows and the position, so a restart goes on where it stopped.

use std::collections::{BTreeMap, BTreeSet};

use dm_errors::{Code, DmError};
use dm_schema::Table;
use serde::{Deserialize, Serialize};

use crate::binlog::position::Position;
use crate::names::TableName;

/// One table has met a DDL.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Meeting {
    /// Where the DDL begins in the log.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
    /// The table's structure after it.
    pub after: Table,
    /// The table's name after it, if it was a rename. The group knows the table by its name before until the DDL is resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed: Option<TableName>,
}

/// One DDL of the group, in the order in which the first table met them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Item {
    /// The statements under the downstream's name.
    pub ddls: Vec<String>,
    /// Who has met it.
    pub met: BTreeMap<TableName, Meeting>,
    /// The first table's session.
    #[serde(flatten)]
    pub session: Session,
}

/// What of a statement's session matters when it is executed elsewhere.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Session {
    /// Seconds since 1970, for functions of time.
    #[serde(default)]
    pub timestamp: u32,
    /// Time zone, for constants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// How far the first DDL is. See the table above.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "phase")]
pub enum Phase {
    /// Waiting for tables of this source.
    #[default]
    Gathering,
    /// Waiting for the other sources.
    Reporting,
    /// Told to execute; it may have been, or not.
    Executing {
        /// The order, as JSON.
        operation: String,
    },
    /// Done as told; etcd has to hear it.
    Told {
        /// The order that was followed, as JSON.
        operation: String,
    },
    /// Reading held rows again.
    Replaying {
        /// How far that is.
        at: Position,
    },
}

/// What to do with a row of a table in the group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RowRule {
    /// The table has met no open DDL.
    Apply,
    /// It comes again later.
    Hold,
}

/// Tables with one target, and their open DDLs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Group {
    /// All tables of the source with this target.
    pub members: BTreeSet<TableName>,
    /// Open DDLs; each table has met a first few of them.
    #[serde(default)]
    pub items: Vec<Item>,
    /// How far the first of them is.
    #[serde(flatten)]
    pub phase: Phase,
}

impl Group {
    /// Whether some DDL is open.
    pub fn is_unresolved(&self) -> bool {
        !self.items.is_empty()
    }

    /// Number of open DDLs that a table has met.
    fn met_by(&self, table: &TableName) -> usize {
        self.items
            .iter()
            .take_while(|item| item.met.contains_key(table))
            .count()
    }

    /// The member that the log calls by this name now.
    pub fn member(&self, name: &TableName) -> Option<&TableName> {
        if !self.is_unresolved() {
            return self.members.get(name);
        }
        self.members
            .iter()
            .find(|member| self.current(member) == name)
    }

    /// The name of a member behind all that it has met.
    fn current<'a>(&'a self, member: &'a TableName) -> &'a TableName {
        let met = self.items.iter().filter_map(|item| item.met.get(member));
        met.filter_map(|meeting| meeting.renamed.as_ref())
            .next_back()
            .unwrap_or(member)
    }

    /// A table meets its next DDL. Answers whether with it the first DDL is complete in this source.
    pub fn meet(
        &mut self,
        source: &str,
        table: &TableName,
        ddls: Vec<String>,
        session: Session,
        meeting: Meeting,
    ) -> Result<bool, DmError> {
        self.members.insert(table.clone());
        let nth = self.met_by(table);
        if let Some(item) = self.items.get(nth) {
            if item.ddls != ddls {
                let expected = format!("[{}]", item.ddls.join(" "));
                let found = format!("source {source} table {table}: [{}]", ddls.join(" "));
                return Err(DmError::new(
                    Code::SYNC_UNIT_DDL_WRONG_SEQUENCE,
                    &[&found, &expected],
                ));
            }
        } else {
            self.items.push(Item {
                ddls,
                met: BTreeMap::new(),
                session,
            });
        }
        self.items[nth].met.insert(table.clone(), meeting);
        if nth == 0 && self.first_is_complete() {
            self.phase = Phase::Reporting;
            return Ok(true);
        }
        Ok(false)
    }

    fn first_is_complete(&self) -> bool {
        self.items
            .first()
            .is_some_and(|item| self.members.iter().all(|m| item.met.contains_key(m)))
    }

    /// Whether a row of a table that the log calls by this name now is applied where the main stream meets it.
    pub fn row_rule(&self, table: &TableName) -> RowRule {
        match self.member(table) {
            Some(member) if self.met_by(member) > 0 => RowRule::Hold,
            _ => RowRule::Apply,
        }
    }

    /// The member that the log calls by this name between the first DDL and the next.
    pub fn replays(&self, name: &TableName) -> Option<&TableName> {
        let met = self.items.first()?.met.iter();
        let mut called = met.map(|(member, met)| (member, met.renamed.as_ref().unwrap_or(member)));
        called
            .find(|(_, now)| *now == name)
            .map(|(member, _)| member)
    }

    /// In the replay of the first DDL: the structure for a row of `table` whose event lies at `start`..`end`, if the row is among those held
    /// back by this DDL and not by a later one.
    pub fn replayed(&self, table: &TableName, start: &Position, end: &Position) -> Option<&Table> {
        let member = self.replays(table)?;
        let first = self.items.first()?.met.get(member)?;
        let second = self.items.get(1).and_then(|item| item.met.get(member));
        let held_again = second.is_some_and(|met| *start >= met.start);
        (*end > first.end && !held_again).then_some(&first.after)
    }

    /// Where the rows held back by the first DDL begin.
    pub fn first_end(&self) -> Option<&Position> {
        self.items.first()?.met.values().map(|m| &m.end).min()
    }

    /// Where the first open DDL begins: whoever knows nothing of this record has to start reading there.
    pub fn first_start(&self) -> Option<&Position> {
        self.items.first()?.met.values().map(|m| &m.start).min()
    }

    /// Where the first open DDL begins for the table that has met it last: the event that completes it.
    pub fn last_start(&self) -> Option<&Position> {
        self.items.first()?.met.values().map(|m| &m.start).max()
    }

    /// The first DDL is behind the group.
    pub fn resolved(&mut self) {
        if !self.items.is_empty() {
            let first = self.items.remove(0);
            self.rename(&first);
        }
        self.phase = Phase::Gathering;
    }

    /// Members go by the names that a DDL has given them.
    fn rename(&mut self, item: &Item) {
        let name = |member: TableName| {
            let met = item.met.get(&member);
            met.and_then(|met| met.renamed.clone()).unwrap_or(member)
        };
        self.members = std::mem::take(&mut self.members)
            .into_iter()
            .map(name)
            .collect();
        for item in &mut self.items {
            let met = std::mem::take(&mut item.met).into_iter();
            item.met = met.map(|(member, met)| (name(member), met)).collect();
        }
    }

    /// A new table joins; not while some DDL is open, since it may have been created before or after that.
    pub fn join(&mut self, table: &TableName) -> Result<(), DmError> {
        if self.is_unresolved() && self.member(table).is_none() {
            return Err(DmError::new(
                Code::SYNC_UNIT_ADD_TABLE_IN_SHARDING,
                &[&self.active(), &self.sequence()],
            ));
        }
        self.members.insert(table.clone());
        Ok(())
    }

    /// A table that nobody has known is one of the group, by a user's word: it has met no open DDL yet. Not once the others have all met the first.
    pub fn admit(&mut self, table: &TableName) -> Result<(), DmError> {
        if self.phase != Phase::Gathering {
            return self.join(table);
        }
        self.members.insert(table.clone());
        Ok(())
    }

    /// A table is gone; not while some DDL is open, since its held rows would be lost.
    pub fn leave(&mut self, table: &TableName) -> Result<(), DmError> {
        if self.is_unresolved() && self.member(table).is_some() {
            return Err(DmError::new(
                Code::SYNC_UNIT_DROP_SCHEMA_TABLE_IN_SHARDING,
                &[table, &self.active(), &self.sequence()],
            ));
        }
        self.members.remove(table);
        Ok(())
    }

    fn active(&self) -> String {
        self.items
            .first()
            .map(|item| format!("[{}]", item.ddls.join(" ")))
            .unwrap_or_default()
    }

    fn sequence(&self) -> String {
        let items: Vec<String> = self
            .items
            .iter()
            .map(|item| format!("[{}]", item.ddls.join(" ")))
            .collect();
        format!("[{}]", items.join(" "))
    }

    /// Members that have met the first open DDL, and those that have not.
    pub fn synced(&self) -> (Vec<&TableName>, Vec<&TableName>) {
        self.members.iter().partition(|m| self.met_by(m) > 0)
    }
}

#[cfg(test)]
mod tests;
