//! Keys that are just there: tasks of ten sources of which nine wait at a DDL, so that every lock is incomplete and
//! nothing is to be done about it. Half of the keys are subtasks, half are infos.

use dm_keyspace::pessimism::Info;
use dm_store::{KeyRange, Revision};

use crate::{Error, Result, World};

/// Sources of each task.
const MEMBERS: usize = 10;
/// Keys of a whole task: a subtask for each source, an info for all but the last.
const KEYS: usize = 2 * MEMBERS - 1;

/// Fills etcd up.
#[derive(Debug)]
pub struct Ballast {
    world: World,
    keys: usize,
}

impl Ballast {
    /// None yet.
    #[must_use]
    pub fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            keys: 0,
        }
    }

    /// Adds keys until there are `total` under `/dm-`, whoever put the others; gives the revision after which all are
    /// there.
    ///
    /// # Errors
    /// When there are more already.
    pub async fn fill_to(&mut self, total: usize) -> Result<Revision> {
        let present = self.world.store(0).snapshot(&KeyRange::dm()).await;
        let present = present.map_err(Error::etcd("count keys"))?;
        let missing = total.checked_sub(present.entries.len()).ok_or_else(|| {
            let found = present.entries.len();
            Error::Usage(format!(
                "etcd holds {found} keys already, which is more than {total}"
            ))
        })?;
        let world = &self.world;
        let added = (self.keys..self.keys + missing).map(|number| record(world, number));
        let last = world.load(added).await?;
        self.keys += missing;
        Ok(last.max(present.revision))
    }
}

/// The record with this number; a task begins with its subtasks, so that no prefix of the whole completes a lock.
fn record(world: &World, number: usize) -> (String, Vec<u8>) {
    let (task, at) = (world.run().task("ballast", number / KEYS), number % KEYS);
    let source = world.run().idle_source(at % MEMBERS);
    if at < MEMBERS {
        return world.subtask(&source, &task);
    }
    let ddls = vec!["ALTER TABLE `bench`.`t` ADD COLUMN `c` BIGINT".to_owned()];
    let info = Info::new(task, source, "bench", "t", ddls);
    (info.key().encode(), info.to_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dm_keyspace::Key;

    use super::*;
    use crate::names::Run;

    #[tokio::test]
    async fn no_number_of_ballast_keys_completes_a_lock() {
        let world = World::new(Run::new("b"), vec!["127.0.0.1:1".to_owned()], None)
            .await
            .unwrap();
        let (mut subtasks, mut infos) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..KEYS {
            match Key::parse(record(&world, number).0.as_bytes()).unwrap() {
                Key::Subtask(key) => assert!(subtasks.insert(key.source)),
                Key::PessimismInfo(key) => assert!(infos.insert(key.source)),
                other => panic!("{other:?}"),
            }
            assert!(infos.len() < subtasks.len());
        }
        assert_eq!((subtasks.len(), infos.len()), (MEMBERS, MEMBERS - 1));
        let (next, _) = record(&world, KEYS);
        let Key::Subtask(key) = Key::parse(next.as_bytes()).unwrap() else {
            panic!("{next}")
        };
        assert_eq!(key.task, world.run().task("ballast", 1));
    }
}
