//! Deleting the records of a resolved lock.
//!
//! A small lock goes in one transaction. Of a large one the first puts a key of our own that says so, and the last deletes
//! it: whoever leads meanwhile knows that what is still there is a rest, and not a lock that waits for its other tables.

use dm_keyspace::TaskName;
use dm_keyspace::optimism::DroppedColumnKey;
use dm_replica::Proposal;
use dm_store::{Guard, KeyRange, Revision};

use super::LockKey;
use super::answers::may_answer;
use super::evidence::TableId;
use super::lock::Lock;
use super::steps::{AT_A_TIME, Steps};

/// Under it lie the locks whose records are being deleted in parts.
pub(super) const PREFIX: &str = "/dm-master/optimist/removing/";

pub(super) fn prefix_of_task(task: &TaskName) -> String {
    format!("{PREFIX}{}/", hex::encode(task.as_str()))
}

pub(super) fn encode(key: &LockKey) -> String {
    format!("{}{}", prefix_of_task(&key.task), hex::encode(&key.id))
}

pub(super) fn parse(key: &[u8]) -> Option<LockKey> {
    let text = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
    let (task, id) = text.split_once('/')?;
    let name = |hex: &str| String::from_utf8(hex::decode(hex).ok()?).ok();
    Some(LockKey {
        task: name(task)?.into(),
        id: name(id)?,
    })
}

impl Steps<'_> {
    /// The whole lock, or the first part of it. A newer info stops it.
    pub(super) fn remove(&self, lock: &Lock) -> Proposal {
        let tables: Vec<&TableId> = lock.members.keys().chain(&lock.leaving).collect();
        // The marks are one more write.
        let is_whole = 2 * tables.len() < self.room.0;
        let (proposal, tables) = match is_whole {
            true => (Proposal::new("remove_lock"), tables),
            false => {
                let key = encode(self.key);
                let first = Proposal::new("begin_removal")
                    .guard(Guard::Missing(key.clone().into()))
                    .put(key, Vec::new());
                let reported = self.task.by_lock.get(&self.key.id).into_iter().flatten();
                let some = self.room.tables().saturating_sub(1).max(1);
                (first, reported.take(some).collect())
            }
        };
        let proposal = self.delete_of(proposal, &tables).trace(lock.trace.clone());
        match is_whole && self.task.marks.contains_key(&lock.id) {
            true => proposal.delete(self.marks()),
            false => proposal,
        }
    }

    /// What is left of a lock whose removal has begun: infos that are answered, operations without an info, marks.
    /// What is reported since then stays, and is a new lock when the key is gone.
    pub(super) fn go_on_removing(&self, since: Revision) -> Vec<Proposal> {
        let reported = self.task.by_lock.get(&self.key.id).into_iter().flatten();
        let mut tables: Vec<&TableId> = reported
            .filter(|table| self.is_over(table, since))
            .take(self.room.tables() * AT_A_TIME)
            .collect();
        tables.extend(self.answered_only());
        let mut proposals = self.delete("remove_lock", &tables);
        if self.task.marks.contains_key(&self.key.id) {
            proposals.push(Proposal::new("forget_dropped_columns").delete(self.marks()));
        }
        if proposals.is_empty() {
            let key = encode(self.key);
            let last = Proposal::new("end_removal")
                .guard(Guard::ModRevision(key.clone().into(), since))
                .delete(KeyRange::key(key));
            proposals.push(last);
        }
        proposals
    }

    /// Nobody waits for an answer to the table's info: it has got one, done or with nothing to do, before all was resolved.
    fn is_over(&self, table: &TableId, since: Revision) -> bool {
        let Some(info) = self.task.infos.get(table) else {
            return false;
        };
        let answered = self.task.operations.get(table);
        let is_answered = answered.is_some_and(|a| {
            let is_newer = a.operation.id == self.key.id && a.revision > info.revision;
            is_newer && (!a.operation.done || may_answer(&a.operation, info))
        });
        is_answered || (info.ignore_conflict && info.revision < since)
    }

    fn marks(&self) -> KeyRange {
        KeyRange::prefix(DroppedColumnKey::prefix_of_lock(&self.key.id))
    }
}
