//! A lock that an operator resolves by hand.
//!
//! The request is a record of our own in etcd, so every replica sees it in the same feed as everything
//! else, it survives a change of leader, and a client that goes away changes nothing.
//!
//! ```text
//! step        does                                            leaves it when
//! Executing   tells the chosen owner to execute               it is done -> Skipping
//!                                                             time is up -> Skipping if forced, else GivingUp
//! Skipping    tells each other source that waits to skip      all that had reported at the start or do so now are done, or time is
//!                                                             up -> Removing
//! Removing    deletes infos and operations of the round, and the request
//! GivingUp    deletes the request only                        the owner is done after all -> Skipping
//! ```
//!
//! The request says who had reported when it was made and when that was, so the next leader goes on where the last one was; only
//! the time that the others have for skipping begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_keyspace::SourceId;
use dm_store::Revision;
use serde_json::{Value, json};

use super::own::{self, text, texts};
use super::round::{Round, Scene};
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
    /// The owner has not answered in time. The lock is as it was, but for the order.
    OwnerSilent {
        /// Who was to execute.
        owner: SourceId,
        /// What it is at.
        state: OwnerState,
    },
}

/// What an owner that did not answer in time is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerState {
    /// Its order to execute stands, and it still waits for the lock, as far as it has said.
    Executing,
    /// It was done just after the time was up.
    Done,
    /// It was told nothing, or no longer waits for the lock.
    Absent,
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
    /// Sources that had reported when the request came, apart from the owner.
    pub(crate) others: Option<BTreeSet<SourceId>>,
    /// When the request was made: time since the beginning of 1970.
    pub(crate) begun: Option<Duration>,
    /// A first part of the lock's records has been removed; nothing else can follow but the rest.
    pub(crate) is_removing: bool,
}

impl Order {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut value =
            json!({ "owner": self.owner.as_str(), "force": self.force, "ddls": self.ddls });
        if let Some(others) = &self.others {
            value["others"] = others.iter().map(SourceId::as_str).collect();
        }
        if let Some(begun) = self.begun {
            value["begun"] = own::millis(begun).into();
        }
        if self.is_removing {
            value["removing"] = true.into();
        }
        value.to_string().into_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let value = own::json(bytes)?;
        let others = match value.get("others") {
            Some(_) => Some(texts(&value, "others")?),
            None => None,
        };
        Ok(Self {
            owner: text(&value, "owner")?.into(),
            force: value
                .get("force")
                .and_then(Value::as_bool)
                .ok_or("member `force` must be true or false")?,
            ddls: texts(&value, "ddls")?,
            others: others.map(|others| others.into_iter().map(SourceId::from).collect()),
            begun: own::time(&value, "begun"),
            is_removing: value.get("removing").and_then(Value::as_bool) == Some(true),
        })
    }
}

impl Unlock {
    /// One that a request asks for. One from before, seen in a snapshot, has lasted for a while already.
    pub(crate) fn new(order: Order, revision: Revision, is_from_before: bool) -> Self {
        Self {
            revision,
            step: match order.is_removing {
                true => Step::Removing,
                false => Step::Executing,
            },
            since: order.begun.filter(|_| is_from_before),
            others: order.others.clone(),
            order,
        }
    }

    /// The request, once a first part of the records goes.
    pub(crate) fn removing(&self) -> Order {
        Order {
            others: self.others.clone(),
            is_removing: true,
            ..self.order.clone()
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
        if self.order.is_removing {
            return Step::Removing;
        }
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
        if self.step == Step::Skipping {
            // Who reports now is told to skip too, and belongs to those whose answer counts.
            for source in &round.reported {
                if *source != self.order.owner && !others.contains(source) {
                    others.insert(source.clone());
                }
            }
        }
        let begun = now.map(|now| {
            let since = self.since.get_or_insert(now);
            // Another leader's clock may be ahead of ours.
            *since = (*since).min(now);
            *since
        });
        let is_late = now
            .zip(begun)
            .is_some_and(|(now, begun)| now.saturating_sub(begun) >= limit);
        // Nobody's report is removed before it was answered: its worker would wait for ever.
        let is_untold = |source: &SourceId| {
            round.tally.untold.contains(source) && round.members.contains(source)
        };
        let owner_untold = is_untold(&self.order.owner);
        let is_anybody_untold = owner_untold || others.iter().any(is_untold);
        match self.step {
            Step::Executing | Step::GivingUp if !round.tally.executed.is_empty() => Step::Skipping,
            Step::Executing if is_late && !self.order.force => Step::GivingUp,
            Step::Executing if is_late && !owner_untold => Step::Skipping,
            Step::Skipping | Step::Removing if is_anybody_untold => Step::Skipping,
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

/// An unlock whose request is gone.
#[derive(Clone, Debug)]
pub(crate) struct Withdrawn {
    pub(crate) unlock: Unlock,
    /// Who was told to skip and had not said that it did.
    unfinished: Vec<SourceId>,
}

impl Withdrawn {
    /// `round` is as it was before the request went.
    pub(crate) fn new(unlock: Unlock, round: Option<&Round>) -> Self {
        Self {
            unfinished: unlock.unfinished(round),
            unlock,
        }
    }

    /// How it has ended: whether the lock's records are gone shows who saw nothing of it, too.
    pub(crate) fn outcome(self, scene: &Scene<'_>) -> UnlockOutcome {
        let Order { owner, ddls, .. } = self.unlock.order;
        let is_waiting = scene.waiting(&owner, &ddls).is_some();
        let is_done = scene.is_done(&owner, &ddls);
        let is_left = is_waiting || scene.operation(&owner, &ddls).is_some();
        if self.unlock.step != Step::GivingUp && !is_left {
            return UnlockOutcome::Removed {
                unfinished: self.unfinished,
            };
        }
        let state = if is_done {
            OwnerState::Done
        } else if scene.is_executing(&owner, &ddls) {
            OwnerState::Executing
        } else {
            OwnerState::Absent
        };
        UnlockOutcome::OwnerSilent { owner, state }
    }
}

/// The last outcomes, for those who wait for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes {
    ended: BTreeMap<LockKey, (Revision, UnlockOutcome)>,
    /// Oldest first. Several may have ended at one revision.
    order: BTreeSet<(Revision, LockKey)>,
}

/// Outcomes that are kept.
const KEPT: usize = 1_024;

impl Outcomes {
    pub(crate) fn add(&mut self, key: LockKey, revision: Revision, outcome: UnlockOutcome) {
        if let Some((old, _)) = self.ended.insert(key.clone(), (revision, outcome)) {
            self.order.remove(&(old, key.clone()));
        }
        self.order.insert((revision, key));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_of_one_revision_are_all_kept_and_none_beyond_the_limit() {
        let key = |number: usize| LockKey {
            task: "t".into(),
            id: number.to_string(),
        };
        let removed = || UnlockOutcome::Removed {
            unfinished: Vec::new(),
        };
        let mut outcomes = Outcomes::default();
        for number in 0..KEPT + 2 {
            outcomes.add(key(number), Revision(7), removed());
        }
        outcomes.add(key(KEPT), Revision(8), removed());
        assert_eq!((outcomes.ended.len(), outcomes.order.len()), (KEPT, KEPT));
        let kept = (0..KEPT + 2).filter(|n| outcomes.after(&key(*n), Revision(6)).is_some());
        assert_eq!(kept.count(), KEPT);
        assert!(outcomes.after(&key(KEPT), Revision(7)).is_some());
    }

    #[test]
    fn order_survives_a_round_trip_and_may_be_of_an_older_version() {
        let order = Order {
            owner: "s1".into(),
            ddls: vec!["x".to_owned()],
            others: Some(["s2".into()].into()),
            begun: Some(Duration::from_millis(5)),
            is_removing: true,
            force: true,
        };
        assert_eq!(Order::from_bytes(&order.to_bytes()), Ok(order));
        let old = br#"{"owner":"s1","force":false,"ddls":[]}"#;
        assert_eq!(Order::from_bytes(old).map(|order| order.others), Ok(None));
    }
}
