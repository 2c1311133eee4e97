//! Keys that are just there: tasks of some sources of which all but one wait at a DDL, so that every lock is incomplete and
//! nothing is to be done about it.

use dm_keyspace::pessimism::Info;
use dm_store::{KeyRange, Revision, Snapshot};

use crate::{Error, Result, World};

/// Fills etcd up.
#[derive(Debug)]
pub struct Ballast {
    world: World,
    /// Sources of each task.
    members: usize,
    keys: usize,
}

impl Ballast {
    /// No keys yet. The more sources a task has, the more of them are infos: less than half, and a third if there are two.
    #[must_use]
    pub fn new(world: &World, members: usize) -> Self {
        Self {
            world: world.clone(),
            members,
            keys: 0,
        }
    }

    /// Keys of a whole task: a subtask for each source, an info for all but the last.
    fn keys_of_a_task(&self) -> usize {
        2 * self.members - 1
    }

    /// Adds locks until `total` of this ballast are pending.
    ///
    /// # Errors
    /// When etcd refuses one.
    pub async fn pend(&mut self, total: usize) -> Result<()> {
        let keys = total * self.keys_of_a_task();
        self.add(keys.saturating_sub(self.keys)).await?;
        Ok(())
    }

    /// Adds keys until there are `total` under `/dm-`, whoever put the others; gives the revision after which all are
    /// there.
    ///
    /// # Errors
    /// When there are more already.
    pub async fn fill_to(&mut self, total: usize) -> Result<Revision> {
        let present = self.present().await?;
        let missing = total.checked_sub(present.entries.len()).ok_or_else(|| {
            let found = present.entries.len();
            Error::Usage(format!(
                "etcd holds {found} keys already, which is more than {total}"
            ))
        })?;
        Ok(self.add(missing).await?.max(present.revision))
    }

    /// Adds locks until there are `total` infos of this ballast or a few more; gives the revision after which all are there.
    ///
    /// # Errors
    /// When etcd refuses one.
    pub async fn fill_to_infos(&mut self, total: usize) -> Result<Revision> {
        let tasks = total.div_ceil(self.members.saturating_sub(1).max(1));
        let keys = tasks * self.keys_of_a_task();
        self.add(keys.saturating_sub(self.keys)).await
    }

    /// Keys under `/dm-`, whoever put them.
    ///
    /// # Errors
    /// When etcd does not answer.
    pub async fn keys_in_etcd(&self) -> Result<usize> {
        Ok(self.present().await?.entries.len())
    }

    async fn present(&self) -> Result<Snapshot> {
        let present = self.world.store(0).snapshot(&KeyRange::dm()).await;
        present.map_err(Error::etcd("count keys"))
    }

    /// How many of the keys are infos.
    #[must_use]
    pub fn infos(&self) -> usize {
        let (whole, rest) = (
            self.keys / self.keys_of_a_task(),
            self.keys % self.keys_of_a_task(),
        );
        whole * (self.members - 1) + rest.saturating_sub(self.members)
    }

    async fn add(&mut self, missing: usize) -> Result<Revision> {
        let numbers = self.keys..self.keys + missing;
        let records: Vec<_> = numbers.map(|number| self.record(number)).collect();
        self.keys += missing;
        self.world.load(records).await
    }

    /// The record with this number; a task begins with its subtasks, so that no prefix of the whole completes a lock.
    fn record(&self, number: usize) -> (String, Vec<u8>) {
        let (run, keys) = (self.world.run(), self.keys_of_a_task());
        let (task, at) = (run.task("ballast", number / keys), number % keys);
        let source = run.idle_source(at % self.members);
        if at < self.members {
            return self.world.subtask(&source, &task);
        }
        let ddls = vec!["ALTER TABLE `bench`.`t` ADD COLUMN `c` BIGINT".to_owned()];
        let info = Info::new(task, source, "bench", "t", ddls);
        (info.key().encode(), info.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dm_keyspace::Key;

    use super::*;
    use crate::names::Run;

    #[tokio::test]
    async fn infos_are_counted() {
        let world = World::new(Run::new("b"), vec!["127.0.0.1:1".to_owned()], None)
            .await
            .unwrap();
        let mut ballast = Ballast::new(&world, 10);
        for (keys, infos) in [(0, 0), (10, 0), (12, 2), (19, 9), (29, 9), (30, 10)] {
            ballast.keys = keys;
            assert_eq!(ballast.infos(), infos, "{keys} keys");
            let records = (0..keys).map(|number| ballast.record(number).0);
            let prefix = dm_keyspace::pessimism::InfoKey::PREFIX;
            let counted = records.filter(|key| key.starts_with(prefix)).count();
            assert_eq!(counted, infos, "{keys} keys");
        }
    }

    #[tokio::test]
    async fn no_number_of_ballast_keys_completes_a_lock() {
        let world = World::new(Run::new("b"), vec!["127.0.0.1:1".to_owned()], None)
            .await
            .unwrap();
        let ballast = Ballast::new(&world, 10);
        let (mut subtasks, mut infos) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..19 {
            match Key::parse(ballast.record(number).0.as_bytes()).unwrap() {
                Key::Subtask(key) => assert!(subtasks.insert(key.source)),
                Key::PessimismInfo(key) => assert!(infos.insert(key.source)),
                other => panic!("{other:?}"),
            }
            assert!(infos.len() < subtasks.len());
        }
        assert_eq!((subtasks.len(), infos.len()), (10, 9));
        let (next, _) = ballast.record(19);
        let Key::Subtask(key) = Key::parse(next.as_bytes()).unwrap() else {
            panic!("{next}")
        };
        assert_eq!(key.task, world.run().task("ballast", 1));
    }
}
