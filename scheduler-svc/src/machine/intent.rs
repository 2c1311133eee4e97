//! The record of a transfer that is under way: `/dm-master/source-transfer/<source>`, a key of our own that DM does
//! not read.
//!
//! `transfer-source` pauses tasks, waits, and moves. While it waits the record says which stages it has changed and
//! which leader attends to it:
//!
//! | the record | what happens |
//! |---|---|
//! | written by the present leader | its request is waiting; it removes the record with the move, or undoes |
//! | written by a leader that is gone | undone by the present one: the stages that it has changed run again |
//!
//! The move itself is one transaction, so there is nothing in between to be found by a next leader.

use dm_keyspace::{SourceId, Stage, StageRecord, SubtaskStageKey, TaskName, WorkerName};
use dm_replica::Proposal;
use dm_store::{Guard, KeyRange, KeyValue, Revision};
use serde::{Deserialize, Serialize};

use super::Scheduler;
use super::record::Source;

const PREFIX: &str = "/dm-master/source-transfer/";

/// Where the record of a source lies.
pub(super) fn key_of(source: &SourceId) -> String {
    format!("{PREFIX}{source}")
}

/// The source whose record lies there.
pub(super) fn source_of(key: &[u8]) -> Option<SourceId> {
    let id = key.strip_prefix(PREFIX.as_bytes())?;
    std::str::from_utf8(id).ok().map(SourceId::from)
}

/// What a transfer has begun.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The worker that is to serve the source.
    pub(crate) to: String,
    /// The one that served it.
    pub(crate) from: String,
    /// Tasks that were running and are paused for the move.
    pub(crate) paused: Vec<String>,
    /// Revision of the key of the leader that attends to it.
    pub(crate) term: i64,
}

impl Intent {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Names and numbers always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// An intent as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct IntentSeen {
    pub(crate) intent: Intent,
    pub(crate) revision: Revision,
}

impl IntentSeen {
    pub(super) fn from_kv(kv: &KeyValue) -> Result<Self, String> {
        let intent = serde_json::from_slice(&kv.value).map_err(|error| error.to_string())?;
        Ok(Self {
            intent,
            revision: kv.mod_revision,
        })
    }

    /// The worker that is to serve the source.
    pub(super) fn to(&self) -> WorkerName {
        self.intent.to.as_str().into()
    }

    /// The worker that served it.
    pub(super) fn from(&self) -> WorkerName {
        self.intent.from.as_str().into()
    }
}

impl Scheduler {
    /// The undo of a transfer that no living leader attends to.
    pub(super) fn undo_orphan(&self, id: &SourceId, source: &Source) -> Option<Proposal> {
        let seen = source.intent.as_ref()?;
        let leader = self.term()?;
        (leader != Revision(seen.intent.term))
            .then(|| self.end_transfer(Proposal::new("undo_transfer"), id, source, seen))
    }

    /// Adds the end of a transfer: its record goes, and what it has paused runs again, unless somebody else has
    /// set that stage since.
    pub(super) fn end_transfer(
        &self,
        proposal: Proposal,
        id: &SourceId,
        source: &Source,
        seen: &IntentSeen,
    ) -> Proposal {
        let record = key_of(id);
        let proposal = proposal
            .guard(Guard::ModRevision(record.clone().into(), seen.revision))
            .delete(KeyRange::key(record));
        let paused = seen
            .intent
            .paused
            .iter()
            .map(|task| TaskName::from(task.as_str()));
        let paused = paused.filter(|task| {
            let stage = source.subtasks.get(task).and_then(|s| s.stage);
            stage.is_some_and(|s| s.revision == seen.revision && s.stage == Stage::Paused)
        });
        paused.fold(proposal, |proposal, task| {
            let key = SubtaskStageKey {
                source: id.clone(),
                task: task.clone(),
            }
            .encode();
            let running = StageRecord::subtask(Stage::Running, id.clone(), task);
            proposal
                .guard(Guard::ModRevision(key.clone().into(), seen.revision))
                .put(key, running.to_bytes())
        })
    }
}
