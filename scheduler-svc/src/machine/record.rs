//! What the fold knows of one worker and of one source: their records as last seen, with the revisions that guards need.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dm_keyspace::{SourceId, Stage, TaskName, WorkerName};
use dm_store::{KeyValue, Revision};

use super::intent::IntentSeen;

/// How a worker stands with the scheduler; `list-member` shows the words.
///
/// ```text
/// offline ──keepalive put──▶ free (relay, if told to pull a relay log) ──bound put──▶ bound
///    ▲                        │                                          │
///    └────keepalive gone──────┴──────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WorkerStage {
    /// Its keepalive key does not exist.
    Offline,
    /// Alive and without a source.
    Free,
    /// Alive, pulls the relay log of a source, and serves none.
    Relay,
    /// Alive and serving a source.
    Bound,
}

impl WorkerStage {
    /// The word that DM shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Free => "free",
            Self::Relay => "relay",
            Self::Bound => "bound",
        }
    }
}

/// A registration.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) addr: String,
    pub(crate) revision: Revision,
}

/// A keepalive key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Alive {
    /// Since when the key exists without a gap.
    pub(crate) created: Revision,
    /// When the process that keeps it said so for the first time. A worker that restarts within its TTL
    /// puts a new join time; one that only changes its TTL puts the old value again.
    pub(crate) started: Revision,
    value: Bytes,
}

impl Alive {
    /// Takes a put of the key; `before` is what was known of it.
    pub(crate) fn seen(kv: &KeyValue, before: Option<&Self>) -> Self {
        let started = match before {
            Some(b) if b.created == kv.create_revision && b.value == kv.value => b.started,
            // Without the history, the last put may have been that of a new process.
            _ => kv.mod_revision,
        };
        Self {
            created: kv.create_revision,
            started,
            value: kv.value.clone(),
        }
    }
}

/// A bound key.
#[derive(Clone, Debug)]
pub(crate) struct BoundSeen {
    /// None when the record cannot be read: it binds the worker to nothing.
    pub(crate) source: Option<SourceId>,
    pub(crate) created: Revision,
    pub(crate) revision: Revision,
}

/// All that is known of a worker's name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Worker {
    pub(crate) registered: Option<Registered>,
    pub(crate) alive: Option<Alive>,
    pub(crate) bound: Option<BoundSeen>,
    pub(crate) last_bound: Option<SourceId>,
    pub(crate) relay: Option<SourceId>,
    /// The subtasks whose dumped files it holds.
    pub(crate) loads: BTreeSet<(SourceId, TaskName)>,
}

impl Worker {
    pub(crate) fn is_empty(&self) -> bool {
        self.registered.is_none()
            && self.alive.is_none()
            && self.bound.is_none()
            && self.last_bound.is_none()
            && self.relay.is_none()
            && self.loads.is_empty()
    }

    /// Registered and alive: it can be told to do something.
    pub(crate) fn is_online(&self) -> bool {
        self.registered.is_some() && self.alive.is_some()
    }

    /// Online and without a bound key, even a bad one: a bound can be put.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_online() && self.bound.is_none()
    }

    /// Told to pull the relay log of another source than the one it is bound to: it can serve neither.
    pub(crate) fn relays_elsewhere(&self) -> bool {
        let bound = self.bound.as_ref().and_then(|b| b.source.as_ref());
        let (Some(bound), Some(relay)) = (bound, &self.relay) else {
            return false;
        };
        bound != relay
    }

    pub(crate) fn stage(&self) -> WorkerStage {
        match (self.is_online(), &self.bound, &self.relay) {
            (false, ..) => WorkerStage::Offline,
            (true, Some(_), _) => WorkerStage::Bound,
            (true, None, Some(_)) => WorkerStage::Relay,
            (true, None, None) => WorkerStage::Free,
        }
    }
}

/// A text record and when it was written.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) bytes: Bytes,
    pub(crate) created: Revision,
    pub(crate) revision: Revision,
}

/// A stage record and when it was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct StageSeen {
    pub(crate) stage: Stage,
    pub(crate) revision: Revision,
}

/// What placement needs of a source's configuration.
#[derive(Clone, Debug)]
pub(crate) struct SourceConfigSeen {
    pub(crate) text: Text,
    /// False when the text cannot be read: such a source is left as it is and not placed anew.
    pub(crate) is_readable: bool,
    pub(crate) enable_relay: bool,
}

/// One subtask's records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subtask {
    pub(crate) config: Option<Text>,
    /// The configuration is there and cannot be read.
    pub(crate) is_unreadable: bool,
    pub(crate) stage: Option<StageSeen>,
    pub(crate) validator: Option<StageSeen>,
}

impl Subtask {
    pub(crate) fn is_empty(&self) -> bool {
        self.config.is_none() && self.stage.is_none() && self.validator.is_none()
    }

    pub(crate) fn has_readable_config(&self) -> bool {
        self.config.is_some() && !self.is_unreadable
    }
}

/// All that is known of a source's id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) config: Option<SourceConfigSeen>,
    pub(crate) relay_stage: Option<StageSeen>,
    pub(crate) subtasks: BTreeMap<TaskName, Subtask>,
    /// Who holds the dumped files of which task.
    pub(crate) loads: BTreeMap<TaskName, WorkerName>,
    /// The workers whose bound, last bound or relay key names this source.
    pub(crate) bounds: BTreeSet<WorkerName>,
    pub(crate) last_bounds: BTreeSet<WorkerName>,
    pub(crate) relays: BTreeSet<WorkerName>,
    /// A transfer of the source that is under way.
    pub(crate) intent: Option<IntentSeen>,
}

impl Source {
    pub(crate) fn is_empty(&self) -> bool {
        self.config.is_none()
            && self.relay_stage.is_none()
            && self.subtasks.is_empty()
            && self.loads.is_empty()
            && self.bounds.is_empty()
            && self.last_bounds.is_empty()
            && self.relays.is_empty()
            && self.intent.is_none()
    }

    /// Whether a new bound may name it.
    pub(crate) fn is_placeable(&self) -> bool {
        self.config.as_ref().is_some_and(|c| c.is_readable)
    }

    /// Workers with dumped files of subtasks that still exist.
    pub(crate) fn loaders(&self) -> impl Iterator<Item = &WorkerName> {
        let live = |task: &TaskName| self.subtasks.get(task).is_some_and(|s| s.config.is_some());
        self.loads
            .iter()
            .filter(move |(task, _)| live(task))
            .map(|(_, worker)| worker)
    }
}
