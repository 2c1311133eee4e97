//! Records that can be read and refer to what is gone: told to operators, never acted on.
//!
//! What refers to a source is known at the source, so only the touched sources are looked at.

use std::collections::{BTreeMap, BTreeSet};

use dm_keyspace::{SourceId, TaskName};

use super::Scheduler;
use super::record::{Source, Subtask};

/// What kind of record refers to nothing.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum OrphanKind {
    /// A worker is told to pull the relay log of no source.
    RelayWorker,
    /// A worker has last served no source.
    LastBound,
    /// A relay stage of no source.
    RelayStage,
    /// A transfer of no source.
    Transfer,
    /// Records of a subtask of no source.
    Subtask,
    /// A configuration of a subtask that has no stage.
    SubtaskWithoutStage,
    /// A stage, or one of a validator, of a subtask that has no configuration.
    StageWithoutSubtask,
    /// Dumped files of no subtask, or on no worker.
    LoadTask,
}

impl OrphanKind {
    /// The kind as a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RelayWorker => "relay-worker",
            Self::LastBound => "last-bound",
            Self::RelayStage => "relay-stage",
            Self::Transfer => "transfer",
            Self::Subtask => "subtask",
            Self::SubtaskWithoutStage => "subtask-without-stage",
            Self::StageWithoutSubtask => "stage-without-subtask",
            Self::LoadTask => "load-task",
        }
    }
}

/// One record, or the few of one subtask, that refer to nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Orphan {
    /// What it is.
    pub kind: OrphanKind,
    /// What it says, in words for operators.
    pub text: String,
}

/// All of them, by the source that they name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orphans {
    by_source: BTreeMap<SourceId, Vec<Orphan>>,
    counts: BTreeMap<OrphanKind, usize>,
}

impl Orphans {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Orphan> {
        self.by_source.values().flatten()
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (OrphanKind, usize)> {
        self.counts.iter().map(|(kind, count)| (*kind, *count))
    }

    fn set(&mut self, id: &SourceId, orphans: Vec<Orphan>) {
        for new in &orphans {
            *self.counts.entry(new.kind).or_default() += 1;
        }
        let before = match orphans.is_empty() {
            true => self.by_source.remove(id),
            false => self.by_source.insert(id.clone(), orphans),
        };
        for old in before.into_iter().flatten() {
            if let Some(count) = self.counts.get_mut(&old.kind) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

impl Scheduler {
    /// Brings up to date what is told about the touched sources.
    pub(super) fn tell_orphans(&mut self, sources: &BTreeSet<SourceId>) {
        for id in sources {
            let found = self
                .sources
                .get(id)
                .map_or_else(Vec::new, |source| self.orphans_of(id, source));
            self.orphans.set(id, found);
        }
    }

    fn orphans_of(&self, id: &SourceId, source: &Source) -> Vec<Orphan> {
        let mut found = Vec::new();
        if source.config.is_none() {
            without_source(id, source, &mut found);
        }
        for (task, subtask) in &source.subtasks {
            found.extend(orphan_of_subtask(
                id,
                task,
                subtask,
                source.config.is_some(),
            ));
        }
        for (task, worker) in &source.loads {
            let has_subtask = source
                .subtasks
                .get(task)
                .is_some_and(|s| s.config.is_some());
            let gone = if !has_subtask {
                "there is no such subtask"
            } else if self
                .workers
                .get(worker)
                .is_none_or(|w| w.registered.is_none())
            {
                "the worker is not registered"
            } else {
                continue;
            };
            found.push(Orphan {
                kind: OrphanKind::LoadTask,
                text: format!(
                    "worker {worker} has dumped files of source {id} for task {task}: {gone}"
                ),
            });
        }
        found
    }
}

/// The records that name a source, where there is none.
fn without_source(id: &SourceId, source: &Source, found: &mut Vec<Orphan>) {
    let mut tell = |kind, text| found.push(Orphan { kind, text });
    for name in &source.relays {
        let text =
            format!("worker {name} is told to pull the relay log of {id}, which is no source");
        tell(OrphanKind::RelayWorker, text);
    }
    for name in &source.last_bounds {
        let text = format!("worker {name} has last served {id}, which is no source");
        tell(OrphanKind::LastBound, text);
    }
    if source.relay_stage.is_some() {
        let text = format!("there is a relay stage of {id}, which is no source");
        tell(OrphanKind::RelayStage, text);
    }
    if source.intent.is_some() {
        let text = format!("there is a transfer of {id}, which is no source");
        tell(OrphanKind::Transfer, text);
    }
}

fn orphan_of_subtask(
    id: &SourceId,
    task: &TaskName,
    subtask: &Subtask,
    has_source: bool,
) -> Option<Orphan> {
    let has_stage = subtask.stage.is_some();
    let (kind, what) = match (has_source, subtask.config.is_some(), has_stage) {
        // A subtask whose last record has just gone.
        _ if subtask.is_empty() => return None,
        (false, ..) => (OrphanKind::Subtask, "there is no such source"),
        (true, false, _) => (
            OrphanKind::StageWithoutSubtask,
            "there is a stage and no configuration",
        ),
        (true, true, false) => (
            OrphanKind::SubtaskWithoutStage,
            "there is a configuration and no stage",
        ),
        (true, true, true) => return None,
    };
    Some(Orphan {
        kind,
        text: format!("subtask of task {task} for source {id}: {what}"),
    })
}
