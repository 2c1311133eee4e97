//! The locks as users see them.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_keyspace::{SourceId, TaskName, WorkerName};
use dm_store::Revision;

use super::crossing::Crossing;
use super::reasons::Reasons;
use super::round::{Phase, Round, Scene};
use super::workers::Workers;
use super::{LockKey, Pessimist};

/// A lock with the reason why it is not resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockView {
    /// The lock's id, as it stands in operations.
    pub id: String,
    /// Its task.
    pub task: TaskName,
    /// Who executes.
    pub owner: SourceId,
    /// The statements of the present round.
    pub ddls: Vec<String>,
    /// Members that have reported, sorted.
    pub synced: Vec<SourceId>,
    /// Members that have not, sorted.
    pub unsynced: Vec<SourceId>,
    /// Members that are done, sorted.
    pub done: Vec<SourceId>,
    /// How far it has come.
    pub phase: Phase,
    /// Each member, and each source that waits for the lock with other statements.
    pub sources: Vec<SourceView>,
    /// Why it stands still, in sentences.
    pub reasons: Vec<String>,
    /// Trace of the first report.
    pub trace: Option<String>,
    /// How long it has been known: to this process, or since the report that began a round whose order was given.
    pub age: Duration,
}

/// One source of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceView {
    /// The source.
    pub source: SourceId,
    /// What it is at.
    pub state: SourceState,
    /// What it has reported for this lock; empty when it has not.
    pub ddls: Vec<String>,
    /// Downstream table of its report.
    pub table: Option<(String, String)>,
    /// Revision of the record behind the state; zero when there is none.
    pub revision: Revision,
    /// The worker that serves it.
    pub worker: Option<WorkerName>,
    /// Whether no worker serves it, or none that is online.
    pub is_offline: bool,
}

/// What a source of a lock is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// Has not reported.
    Awaited,
    /// Has not reported, and cannot: it has no worker that is online.
    Offline,
    /// Waits for an answer.
    Reported,
    /// Waits with other statements than the lock's.
    Mismatched,
    /// Was told to execute.
    Executing,
    /// Was told to skip.
    Skipping,
    /// Has executed or skipped.
    Done,
}

/// How many locks of a task are how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockStates {
    /// Not all members have reported.
    pub unsynced: u32,
    /// All have.
    pub synced: u32,
}

impl Pessimist {
    /// The locks of a task (empty: of all) that have one of `sources` as a member (empty: any), by task and id.
    #[must_use]
    pub fn locks(&self, task: &str, sources: &[SourceId]) -> Vec<LockView> {
        let tasks = self
            .tasks
            .iter()
            .filter(|(name, _)| task.is_empty() || name.as_str() == task);
        let mut views = Vec::new();
        for (name, task) in tasks {
            let crossed = self.crossed_locks(name);
            for (id, lock) in &task.locks {
                let scene = Scene { task, id, lock };
                let is_wanted = |round: &&Round| {
                    sources.is_empty() || sources.iter().any(|s| round.members.contains(s))
                };
                if let Some(round) = lock.round.as_ref().filter(is_wanted) {
                    views.push(self.view(name, &scene, round, &crossed));
                }
            }
        }
        views
    }

    /// How many locks there are, without a view of each.
    #[must_use]
    pub fn lock_count(&self) -> usize {
        self.tasks
            .values()
            .map(|task| {
                task.locks
                    .values()
                    .filter(|lock| lock.round.is_some())
                    .count()
            })
            .sum()
    }

    /// Locks of each task that has any: how many wait for reports, and how many have them all.
    #[must_use]
    pub fn lock_states(&self) -> BTreeMap<TaskName, LockStates> {
        let mut states: BTreeMap<TaskName, LockStates> = BTreeMap::new();
        for (name, task) in &self.tasks {
            for round in task.locks.values().filter_map(|lock| lock.round.as_ref()) {
                let of_task = states.entry(name.clone()).or_default();
                match round.is_synced() {
                    true => of_task.synced += 1,
                    false => of_task.unsynced += 1,
                }
            }
        }
        states
    }

    fn view(
        &self,
        task: &TaskName,
        scene: &Scene<'_>,
        round: &Round,
        crossed: &BTreeMap<LockKey, Crossing>,
    ) -> LockView {
        let seen = self.time();
        let key = LockKey {
            task: task.clone(),
            id: scene.id.to_owned(),
        };
        let reasons = Reasons {
            machine: self,
            name: task,
            scene,
            round,
        };
        LockView {
            id: scene.id.to_owned(),
            task: task.clone(),
            owner: round.owner.clone(),
            ddls: round.ddls.clone(),
            synced: round.reported.iter().cloned().collect(),
            unsynced: round.unsynced().cloned().collect(),
            done: round.done.iter().cloned().collect(),
            phase: round.phase,
            sources: sources(&self.workers, scene, round),
            reasons: reasons.sentences(crossed.get(&key)),
            trace: round.trace.clone(),
            age: seen.saturating_sub(round.first_seen),
        }
    }
}

fn sources(workers: &Workers, scene: &Scene<'_>, round: &Round) -> Vec<SourceView> {
    let strays = round
        .rejected
        .keys()
        .filter(|source| !round.members.contains(*source));
    let mut all: Vec<&SourceId> = round.members.iter().chain(strays).collect();
    all.sort();
    all.into_iter()
        .map(|source| source_view(workers, scene, round, source))
        .collect()
}

fn source_view(
    workers: &Workers,
    scene: &Scene<'_>,
    round: &Round,
    source: &SourceId,
) -> SourceView {
    let worker = workers.of(source);
    let is_offline = worker.is_none_or(|(_, is_online)| !is_online);
    let info = scene
        .task
        .infos
        .get(source)
        .filter(|reported| reported.lock == scene.id);
    let answered = scene.task.operations.get(source);
    let operation = scene.operation(source, &round.ddls);
    let is_waiting = scene.waiting(source, &round.ddls).is_some();
    let state = match operation {
        Some(o) if o.done => SourceState::Done,
        _ if round.rejected.contains_key(source) => SourceState::Mismatched,
        Some(o) if is_waiting && o.exec => SourceState::Executing,
        Some(_) if is_waiting => SourceState::Skipping,
        _ if is_waiting => SourceState::Reported,
        _ if is_offline => SourceState::Offline,
        _ => SourceState::Awaited,
    };
    let revision = match state {
        SourceState::Awaited | SourceState::Offline => None,
        SourceState::Reported | SourceState::Mismatched => info.map(|reported| reported.revision),
        _ => answered.map(|answered| answered.revision),
    };
    SourceView {
        source: source.clone(),
        state,
        ddls: info
            .map(|reported| reported.info.ddls().to_vec())
            .unwrap_or_default(),
        table: info.map(|reported| (reported.info.schema.clone(), reported.info.table.clone())),
        revision: revision.unwrap_or_default(),
        worker: worker.map(|(worker, _)| worker.clone()),
        is_offline,
    }
}
