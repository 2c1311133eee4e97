//! The optimist's machine: which records there are, by task. Pure; it proposes nothing of its own.
//!
//! What must stay true: folding never fails. A record that does not decode becomes a named fault, and still
//! counts as a record of its task, so that removing the task's metadata removes it too.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Display;

use dm_keyspace::optimism::{
    DropStage, DroppedColumnKey, Info, InfoKey, Operation, OperationKey, SourceTables,
    SourceTablesKey,
};
use dm_keyspace::{Key, TaskName};
use dm_replica::{Decision, Machine, Plan, Proposal};
use dm_store::{Batch, Event, KeyRange, Revision, Snapshot};

/// What all keys of optimistic tasks begin with.
const ROOT: &[u8] = b"/dm-master/shardddl-optimism/";

/// A record that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong with it; never its content.
    pub what: String,
    /// Revision at which it was seen.
    pub revision: Revision,
}

/// How many records there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Schema changes that tables have met.
    pub infos: usize,
    /// Answers to them.
    pub operations: usize,
    /// Lists of the tables of a source.
    pub source_tables: usize,
    /// Columns that may not be added again yet.
    pub dropped_columns: usize,
    /// Records that could not be used, since the start of the process.
    pub faults_seen: u64,
}

/// Keys of one task.
#[derive(Debug, Default)]
struct Records {
    infos: BTreeSet<InfoKey>,
    operations: BTreeSet<OperationKey>,
    source_tables: BTreeSet<SourceTablesKey>,
    dropped_columns: BTreeSet<DroppedColumnKey>,
}

impl Records {
    fn len(&self) -> usize {
        self.infos.len()
            + self.operations.len()
            + self.source_tables.len()
            + self.dropped_columns.len()
    }
}

/// The records of all optimistic tasks.
#[derive(Debug, Default)]
pub struct Optimist {
    tasks: BTreeMap<TaskName, Records>,
    faults: BTreeMap<String, Fault>,
    faults_seen: u64,
}

impl Optimist {
    /// Records that cannot be used, by key.
    pub fn faults(&self) -> impl Iterator<Item = (&str, &Fault)> {
        self.faults.iter().map(|(key, fault)| (key.as_str(), fault))
    }

    /// Totals over all tasks.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let start = Counts {
            faults_seen: self.faults_seen,
            ..Counts::default()
        };
        self.tasks.values().fold(start, |sum, records| Counts {
            infos: sum.infos + records.infos.len(),
            operations: sum.operations + records.operations.len(),
            source_tables: sum.source_tables + records.source_tables.len(),
            dropped_columns: sum.dropped_columns + records.dropped_columns.len(),
            ..sum
        })
    }

    /// What removes every record of a task, and how many that are.
    #[must_use]
    pub fn plan_remove_meta(&self, task: &TaskName) -> Plan<usize> {
        let Some(records) = self.tasks.get(task).filter(|records| records.len() > 0) else {
            return Plan::Done(0);
        };
        let whole_task = Proposal::new("remove_meta")
            .delete(KeyRange::prefix(InfoKey::prefix_of_task(task)))
            .delete(KeyRange::prefix(OperationKey::prefix_of_task(task)))
            .delete(KeyRange::prefix(SourceTablesKey::prefix_of_task(task)));
        // Dropped columns lie by lock, not by task.
        let locks: BTreeSet<&str> = records
            .dropped_columns
            .iter()
            .map(|column| column.lock.as_str())
            .collect();
        let all = locks.into_iter().fold(whole_task, |proposal, lock| {
            proposal.delete(KeyRange::prefix(DroppedColumnKey::prefix_of_lock(lock)))
        });
        Plan::Commit(all, records.len())
    }

    fn fold(&mut self, event: &Event) {
        if !event.key().starts_with(ROOT) {
            return;
        }
        self.faults
            .remove(String::from_utf8_lossy(event.key()).as_ref());
        match Key::parse(event.key()) {
            Ok(Key::OptimismInfo(key)) => {
                self.check(event, Info::from_bytes);
                keep(&mut self.records(&key.task).infos, key.clone(), event);
                self.forget_if_empty(&key.task);
            }
            Ok(Key::OptimismOperation(key)) => {
                self.check(event, Operation::from_bytes);
                keep(&mut self.records(&key.task).operations, key.clone(), event);
                self.forget_if_empty(&key.task);
            }
            Ok(Key::SourceTables(key)) => {
                self.check(event, SourceTables::from_bytes);
                keep(
                    &mut self.records(&key.task).source_tables,
                    key.clone(),
                    event,
                );
                self.forget_if_empty(&key.task);
            }
            Ok(Key::DroppedColumn(key)) => {
                self.check(event, DropStage::from_bytes);
                let task = key.task();
                keep(&mut self.records(&task).dropped_columns, key, event);
                self.forget_if_empty(&task);
            }
            Ok(_) => {}
            Err(e) => self.fault(event, &e),
        }
    }

    fn records(&mut self, task: &TaskName) -> &mut Records {
        self.tasks.entry(task.clone()).or_default()
    }

    fn forget_if_empty(&mut self, task: &TaskName) {
        if self
            .tasks
            .get(task)
            .is_some_and(|records| records.len() == 0)
        {
            self.tasks.remove(task);
        }
    }

    fn check<T, E: Display>(&mut self, event: &Event, decode: impl Fn(&[u8]) -> Result<T, E>) {
        if let Event::Put(kv) = event
            && let Err(e) = decode(&kv.value)
        {
            self.fault(event, &e);
        }
    }

    fn fault(&mut self, event: &Event, what: &dyn Display) {
        if let Event::Put(kv) = event {
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            tracing::warn!(key, error = %what, "record skipped");
            self.faults_seen += 1;
            self.faults.insert(
                key,
                Fault {
                    what: what.to_string(),
                    revision: kv.mod_revision,
                },
            );
        }
    }
}

fn keep<K: Ord>(keys: &mut BTreeSet<K>, key: K, event: &Event) {
    match event {
        Event::Put(_) => keys.insert(key),
        Event::Delete { .. } => keys.remove(&key),
    };
}

impl Machine for Optimist {
    type Input = Infallible;

    fn load(&mut self, snapshot: &Snapshot) {
        self.tasks.clear();
        self.faults.clear();
        for entry in &snapshot.entries {
            self.fold(&Event::Put(entry.clone()));
        }
    }

    fn apply(&mut self, batch: &Batch) {
        for event in &batch.events {
            self.fold(event);
        }
    }

    fn input(&mut self, input: Infallible) {
        match input {}
    }

    fn decide(&mut self) -> Vec<Decision> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dm_keyspace::LeaseId;
    use dm_store::KeyValue;

    use super::*;

    fn put(key: String, value: &[u8], at: i64) -> Event {
        Event::Put(KeyValue {
            key: key.into(),
            value: Bytes::copy_from_slice(value),
            create_revision: Revision(at),
            mod_revision: Revision(at),
            version: 1,
            lease: LeaseId(0),
        })
    }

    fn info_key(task: &str) -> String {
        InfoKey {
            task: task.into(),
            source: "s1".into(),
            schema: "foo".into(),
            table: "bar1".into(),
        }
        .encode()
    }

    fn column_key(lock: &str) -> String {
        let (column, source) = ("c1".to_owned(), "s1".into());
        DroppedColumnKey {
            lock: lock.to_owned(),
            column,
            source,
            schema: "foo".into(),
            table: "bar1".into(),
        }
        .encode()
    }

    fn apply(optimist: &mut Optimist, events: Vec<Event>) {
        let revision = events.last().map(Event::revision).unwrap_or_default();
        optimist.apply(&Batch { revision, events });
    }

    #[test]
    fn remove_meta_deletes_all_families_of_one_task_only() {
        let mut optimist = Optimist::default();
        let events = vec![
            put(info_key("t1"), b"{}", 2),
            put(info_key("t1x"), b"{}", 3),
            put(column_key("t1-`foo`.`bar`"), b"0", 4),
            put(column_key("t1x-`foo`.`bar`"), b"0", 5),
        ];
        apply(&mut optimist, events);
        let Plan::Commit(proposal, deleted) = optimist.plan_remove_meta(&"t1".into()) else {
            panic!("nothing is planned")
        };
        let goes = |key: String| {
            proposal
                .deletes
                .iter()
                .any(|range| range.contains(key.as_bytes()))
        };
        assert_eq!(deleted, 2);
        assert!(goes(info_key("t1")) && goes(column_key("t1-`foo`.`bar`")));
        assert!(!goes(info_key("t1x")) && !goes(column_key("t1x-`foo`.`bar`")));
    }

    #[test]
    fn remove_meta_of_an_unknown_task_plans_nothing() {
        assert!(matches!(
            Optimist::default().plan_remove_meta(&"t1".into()),
            Plan::Done(0)
        ));
    }

    #[test]
    fn undecodable_record_is_named_until_it_is_replaced_and_still_belongs_to_its_task() {
        let mut optimist = Optimist::default();
        apply(&mut optimist, vec![put(info_key("t1"), b"no json", 2)]);
        assert_eq!(
            optimist
                .faults()
                .map(|(key, _)| key.to_owned())
                .collect::<Vec<_>>(),
            [info_key("t1")]
        );
        assert_eq!(
            (optimist.counts().infos, optimist.counts().faults_seen),
            (1, 1)
        );
        apply(&mut optimist, vec![put(info_key("t1"), b"{}", 3)]);
        assert_eq!(optimist.faults().count(), 0);
    }

    #[test]
    fn key_of_no_shape_is_a_fault_that_its_deletion_ends() {
        let mut optimist = Optimist::default();
        let key = "/dm-master/shardddl-optimism/info/zz".to_owned();
        apply(&mut optimist, vec![put(key.clone(), b"{}", 2)]);
        assert_eq!(optimist.faults().count(), 1);
        apply(
            &mut optimist,
            vec![Event::Delete {
                key: key.into(),
                revision: Revision(3),
            }],
        );
        assert_eq!(optimist.faults().count(), 0);
    }

    #[test]
    fn snapshot_replaces_what_was_known_and_deletions_count() {
        let mut optimist = Optimist::default();
        apply(
            &mut optimist,
            vec![put(info_key("t1"), b"{}", 2), put(info_key("t2"), b"{}", 3)],
        );
        assert_eq!(optimist.counts().infos, 2);
        optimist.load(&Snapshot {
            revision: Revision(4),
            entries: Vec::new(),
        });
        assert_eq!(optimist.counts(), Counts::default());
        apply(&mut optimist, vec![put(info_key("t1"), b"{}", 5)]);
        apply(
            &mut optimist,
            vec![Event::Delete {
                key: info_key("t1").into(),
                revision: Revision(6),
            }],
        );
        assert_eq!(optimist.counts().infos, 0);
        assert!(optimist.decide().is_empty());
    }
}
