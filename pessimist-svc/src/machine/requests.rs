//! What requests change: validated on the state, written through etcd like everything else.

use dm_keyspace::TaskName;
use dm_keyspace::pessimism::{InfoKey, OperationKey};
use dm_replica::{Plan, Proposal};
use dm_store::{Guard, KeyRange, Revision};

use super::own::Family;
use super::round::Phase;
use super::unlock::{Order, UnlockOutcome, UnlockRefusal, UnlockRequest};
use super::{LockKey, Pessimist};

impl Pessimist {
    /// What removes every record of a task, and how many infos, operations and requests to unlock there are among them;
    /// none when there is nothing at all.
    #[must_use]
    pub fn plan_remove_meta(&self, task: &TaskName) -> Plan<usize> {
        let Some(known) = self.tasks.get(task) else {
            return Plan::Done(0);
        };
        let count = known.infos.len()
            + known.operations.len()
            + known.locks.values().filter(|l| l.unlock.is_some()).count();
        if count == 0 && known.locks.values().all(|lock| lock.record.is_none()) {
            return Plan::Done(0);
        }
        let proposal = Proposal::new("remove_meta")
            .delete(KeyRange::prefix(InfoKey::prefix_of_task(task)))
            .delete(KeyRange::prefix(OperationKey::prefix_of_task(task)))
            .delete(KeyRange::prefix(Family::UNLOCK.prefix_of_task(task)))
            .delete(KeyRange::prefix(Family::ROUND.prefix_of_task(task)));
        Plan::Commit(proposal, count)
    }

    /// Begins an unlock. Answers the revision after which [`Pessimist::unlock_outcome`] finds how it ended.
    ///
    /// # Errors
    /// When there is nothing to unlock, or the owner to be does not wait.
    pub fn plan_unlock(
        &self,
        task: &TaskName,
        request: &UnlockRequest,
    ) -> Result<Plan<Revision>, UnlockRefusal> {
        let id = &request.id;
        let unknown = || UnlockRefusal::UnknownLock(id.clone());
        let lock = self
            .tasks
            .get(task)
            .and_then(|task| task.locks.get(id))
            .ok_or_else(unknown)?;
        let round = lock.round.as_ref().ok_or_else(unknown)?;
        if round.phase == Phase::Resolved {
            return Err(UnlockRefusal::Resolved(id.clone()));
        }
        let owner = request
            .replace_owner
            .clone()
            .unwrap_or_else(|| round.owner.clone());
        if !round.reported.contains(&owner) {
            return Err(UnlockRefusal::NotWaiting {
                owner,
                synced: round.reported.iter().cloned().collect(),
            });
        }
        let mut others = round.reported.clone();
        others.remove(&owner);
        let order = Order {
            owner,
            force: request.force_remove,
            ddls: round.ddls.clone(),
            others: Some(others),
            begun: self.clock(),
            is_removing: false,
        };
        let key = Family::UNLOCK.encode(&LockKey {
            task: task.clone(),
            id: id.clone(),
        });
        let seen = lock.unlock.as_ref().map(|unlock| unlock.revision);
        let guard = Guard::unchanged(key.clone(), seen);
        let proposal = Proposal::new("unlock")
            .guard(guard)
            .put(key, order.to_bytes())
            .trace(round.trace.clone());
        Ok(Plan::Commit(proposal, self.applied))
    }

    /// How the unlock ended that was planned at revision `since`; none while it goes on.
    #[must_use]
    pub fn unlock_outcome(
        &self,
        task: &TaskName,
        id: &str,
        since: Revision,
    ) -> Option<UnlockOutcome> {
        self.outcomes
            .after(
                &LockKey {
                    task: task.clone(),
                    id: id.to_owned(),
                },
                since,
            )
            .cloned()
    }
}
