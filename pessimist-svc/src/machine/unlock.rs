//! A lock that an operator resolves by hand.
//!
//! The request is a record of our own in etcd, so every replica sees it in the same feed as everything
//! else, it survives a change of leader, and a client that goes away changes nothing.
//!
//! ```text
//! step        does                                            leaves it when
//! Executing   tells the chosen owner to execute               it is done -> Skipping
//!                                                             time is up -> Skipping if forced, else GivingUp
//! Skipping    tells each other source that waits to skip      those that had reported at the start are done, or time is up -> Removing
//! Removing    deletes infos and operations of the round, and the request
//! GivingUp    deletes the request only
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_keyspace::{SourceId, TaskName};
use dm_store::Revision;
use serde_json::{Value, json};

use super::round::Round;
use super::{LockKey, evidence::same_ddls};

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlockRequest {
    /// The lock's id.
    pub id: String,
    /// Who shall execute, in place of the lock's owner.
    pub replace_owner: Option<SourceId>,
    /// Remove the lock even if the owner does not answer.
    pub force_remove: bool,
}

/// How an unlock has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnlockOutcome {
    /// The lock is gone, with all that belongs to it.
    Removed {
        /// Sources that were told to skip and have not said that they did.
        unfinished: Vec<SourceId>,
    },
    /// The owner has not answered in time; its order stands.
    OwnerSilent(SourceId),
}

/// Why an unlock is not begun. Nothing is written then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnlockRefusal {
    /// There is no such lock.
    #[error("there is no lock {0}")]
    UnknownLock(String),
    /// All are done, its records are being deleted.
    #[error("lock {0} is resolved")]
    Resolved(String),
    /// The owner to be does not wait for the lock.
    #[error("{owner} does not wait for the lock, but {synced:?} do")]
    NotWaiting {
        /// The owner that was asked for.
        owner: SourceId,
        /// Who may be asked for.
        synced: Vec<SourceId>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Executing,
    Skipping,
    Removing,
    GivingUp,
}

/// An unlock that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Unlock {
    pub(crate) order: Order,
    /// Revision of the request: what was put before it is put again.
    pub(crate) revision: Revision,
    pub(crate) step: Step,
    /// When this replica saw the step begin; none until the timer has told the time.
    since: Option<Duration>,
    /// Sources that had reported when the request came, apart from the owner.
    pub(crate) others: Option<BTreeSet<SourceId>>,
}

/// What stands in the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) owner: SourceId,
    pub(crate) force: bool,
    /// The round that it is for; another one is not touched.
    pub(crate) ddls: Vec<String>,
}

impl Order {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        json!({ "owner": self.owner.as_str(), "force": self.force, "ddls": self.ddls })
            .to_string()
            .into_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| format!("not JSON: {e}"))?;
        let ddls = value
            .get("ddls")
            .and_then(Value::as_array)
            .ok_or("member `ddls` must be a list")?;
        Ok(Self {
            owner: value
                .get("owner")
                .and_then(Value::as_str)
                .ok_or("member `owner` must be a text")?
                .into(),
            force: value
                .get("force")
                .and_then(Value::as_bool)
                .ok_or("member `force` must be true or false")?,
            ddls: ddls
                .iter()
                .filter_map(|ddl| ddl.as_str().map(str::to_owned))
                .collect(),
        })
    }
}

/// `/dm-master/pessimist/unlock/<task>/<lock id>`, both as hex: outside of every prefix that DM scans.
pub(crate) const PREFIX: &str = "/dm-master/pessimist/unlock/";

pub(crate) fn prefix_of_task(task: &TaskName) -> String {
    format!("{PREFIX}{}/", hex::encode(task.as_str()))
}

pub(crate) fn encode(key: &LockKey) -> String {
    format!("{}{}", prefix_of_task(&key.task), hex::encode(&key.id))
}

pub(crate) fn parse(key: &[u8]) -> Option<LockKey> {
    let text = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
    let (task, id) = text.split_once('/')?;
    let name = |hex: &str| String::from_utf8(hex::decode(hex).ok()?).ok();
    Some(LockKey {
        task: name(task)?.into(),
        id: name(id)?,
    })
}

impl Unlock {
    pub(crate) fn new(order: Order, revision: Revision) -> Self {
        Self {
            order,
            revision,
            step: Step::Executing,
            since: None,
            others: None,
        }
    }

    /// Whether the round that it is for is still there.
    pub(crate) fn is_for(&self, round: Option<&Round>) -> bool {
        round.is_some_and(|round| same_ddls(&round.ddls, &self.order.ddls))
    }

    /// Goes as far as evidence and time allow. Answers whether the step changed.
    pub(crate) fn advance(
        &mut self,
        round: Option<&Round>,
        now: Option<Duration>,
        limit: Duration,
    ) -> bool {
        let before = self.step;
        loop {
            let next = self.next(round, now, limit);
            if next == self.step {
                return self.step != before;
            }
            self.step = next;
            self.since = now;
        }
    }

    fn next(&mut self, round: Option<&Round>, now: Option<Duration>, limit: Duration) -> Step {
        let Some(round) = round.filter(|_| self.is_for(round)) else {
            return if self.step == Step::GivingUp {
                Step::GivingUp
            } else {
                Step::Removing
            };
        };
        let others = self.others.get_or_insert_with(|| {
            round
                .reported
                .iter()
                .filter(|source| **source != self.order.owner)
                .cloned()
                .collect()
        });
        let begun = now.map(|now| *self.since.get_or_insert(now));
        let is_late = now
            .zip(begun)
            .is_some_and(|(now, begun)| now.saturating_sub(begun) >= limit);
        match self.step {
            Step::Executing if !round.tally.executed.is_empty() => Step::Skipping,
            Step::Executing if is_late && self.order.force => Step::Skipping,
            Step::Executing if is_late => Step::GivingUp,
            Step::Skipping if is_late || others.is_subset(&round.done) => Step::Removing,
            step => step,
        }
    }

    /// Who was told to skip and has not said that it did.
    pub(crate) fn unfinished(&self, round: Option<&Round>) -> Vec<SourceId> {
        let (Some(others), Some(round)) = (&self.others, round) else {
            return Vec::new();
        };
        others.difference(&round.done).cloned().collect()
    }

    /// Whose info is deleted with the lock. One that has reported meanwhile keeps it: it was told nothing.
    pub(crate) fn concerns(&self, source: &SourceId) -> bool {
        *source == self.order.owner
            || self
                .others
                .as_ref()
                .is_some_and(|others| others.contains(source))
    }
}

/// The last outcomes, for those who wait for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes {
    ended: BTreeMap<LockKey, (Revision, UnlockOutcome)>,
    order: BTreeMap<Revision, LockKey>,
}

/// Outcomes that are kept.
const KEPT: usize = 1_024;

impl Outcomes {
    pub(crate) fn add(&mut self, key: LockKey, revision: Revision, outcome: UnlockOutcome) {
        if let Some((old, _)) = self.ended.insert(key.clone(), (revision, outcome)) {
            self.order.remove(&old);
        }
        self.order.insert(revision, key);
        while self.order.len() > KEPT {
            if let Some((_, oldest)) = self.order.pop_first() {
                self.ended.remove(&oldest);
            }
        }
    }

    /// How the unlock ended that began after `since`, if it has.
    pub(crate) fn after(&self, key: &LockKey, since: Revision) -> Option<&UnlockOutcome> {
        self.ended
            .get(key)
            .filter(|(at, _)| *at > since)
            .map(|(_, outcome)| outcome)
    }
}
