//! What is known of a lock: where its evidence is, and the round that it is in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_keyspace::SourceId;
use dm_store::Revision;

use super::evidence::same_ddls;
use super::record::{Record, Recorded, Stage};
use super::tally::Tally;
use super::unlock::Unlock;

/// One lock of a task: where to look for its evidence, and what it is doing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lock {
    /// Sources whose info names it.
    pub(crate) infos: BTreeSet<SourceId>,
    /// Sources whose operation names it.
    pub(crate) operations: BTreeSet<SourceId>,
    pub(crate) round: Option<Round>,
    pub(crate) unlock: Option<Unlock>,
    /// What its present or last round has left for those who come later.
    pub(crate) record: Option<Recorded>,
}

impl Lock {
    pub(crate) fn is_gone(&self) -> bool {
        self.infos.is_empty()
            && self.operations.is_empty()
            && self.round.is_none()
            && self.unlock.is_none()
            && self.record.is_none()
    }
}

/// How far a round has come; see the table at the head of `round.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not every member has reported.
    Collecting,
    /// All have; the owner is told to execute.
    OwnerExecuting,
    /// It is executed; the others are told to skip.
    OthersSkipping,
    /// All are done; the operations are being deleted.
    Resolved,
}

/// One list of statements on its way through the members.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) ddls: Vec<String>,
    pub(crate) owner: SourceId,
    pub(crate) members: BTreeSet<SourceId>,
    /// Members that wait, or have waited since the round began, or are done.
    pub(crate) reported: BTreeSet<SourceId>,
    pub(crate) done: BTreeSet<SourceId>,
    /// Sources that wait for the lock with other statements, by the revision of their info.
    pub(crate) rejected: BTreeMap<SourceId, Revision>,
    pub(crate) phase: Phase,
    /// An operation of it has been seen: who joins now is a member only when it reports.
    pub(crate) has_begun: bool,
    /// Trace of the first report.
    pub(crate) trace: Option<String>,
    /// Since when the lock is known, as time since the beginning of 1970.
    pub(crate) first_seen: Duration,
    /// The evidence of all sources about these statements.
    pub(crate) tally: Tally,
}

impl Round {
    /// Whether all members have reported; nobody else is among those that have.
    pub(crate) fn is_synced(&self) -> bool {
        !self.members.is_empty() && self.members.len() == self.reported.len()
    }

    /// The round of a record, with what is known of it besides; not yet counted.
    pub(super) fn recorded(record: &Record, previous: Option<Self>) -> Self {
        let previous = previous.filter(|round| same_ddls(&record.ddls, &round.ddls));
        if let Some(round) = previous.as_ref().filter(|round| round.has_begun) {
            return round.clone();
        }
        let (rejected, trace) =
            previous.map_or_else(Default::default, |round| (round.rejected, round.trace));
        Self {
            ddls: record.ddls.clone(),
            owner: record.owner.clone(),
            members: record.members.clone(),
            reported: BTreeSet::new(),
            done: BTreeSet::new(),
            rejected,
            phase: Phase::Collecting,
            has_begun: true,
            trace,
            first_seen: record.first_seen,
            tally: Tally::default(),
        }
    }

    /// What is put down of it at this stage: who has brought it so far.
    pub(crate) fn record(&self, stage: Stage) -> Record {
        let members = match stage {
            Stage::Begun => &self.members,
            Stage::Resolving | Stage::Finished => &self.done,
        };
        Record {
            stage,
            ddls: self.ddls.clone(),
            owner: self.owner.clone(),
            members: members.clone(),
            first_seen: self.first_seen,
        }
    }

    pub(crate) fn unsynced(&self) -> impl Iterator<Item = &SourceId> {
        self.members.difference(&self.reported)
    }
}
