//! Requests that users make while the cluster suffers: tasks started, paused, resumed and stopped in several parts,
//! sources transferred, relay switched. Each replica makes them of itself, as its own API does, so that a crash takes
//! both away at once.
//!
//! What an answer has told is kept, until the next request about the same thing begins: only then may it change.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use dm_keyspace::{
    LoadTask, LoadTaskKey, RelayOperationKey, RelayWorkerKey, SourceConfigKey, SourceId, Stage,
    StageRecord, SubtaskKey, SubtaskStageKey, TaskName, TaskStartKey, WorkerName,
};
use dm_replica::{Handle, Plan};
use dm_testkit::memory::MemoryEtcd;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use scheduler_svc::Scheduler;
use scheduler_svc::machine::request::{Begun, CliArgs, Extent, NewSubtask, NewTask, SubtaskStage};
use scheduler_svc::machine::starts::Part;

const TASKS: [&str; 2] = ["t", "u"];
pub(super) const TRANSFERS: &str = "/dm-master/source-transfer/";
/// Operations of one transaction as the requests count them: few, so that everything takes several.
const MOST_OPERATIONS: usize = 5;
/// Of a transfer, which is always one transaction.
const MOST_OF_A_TRANSFER: usize = 128;
const BETWEEN: Duration = Duration::from_millis(1_500);
/// Far longer than an operation takes while its leader leads.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of each thing, how many requests about it have begun, and what the last of them has told.
type Things = BTreeMap<String, (u64, Option<State>)>;

/// What users have been told, by the thing that it is about.
#[derive(Clone, Default)]
pub(super) struct Told {
    things: Rc<RefCell<Things>>,
    answers: Rc<Cell<usize>>,
}

/// What a thing is, as an answer has said.
#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    /// The task does not exist.
    Absent,
    /// The task is in this stage, for all its sources.
    Stage(Stage),
    /// The worker is told to pull the relay log of this source, or of none.
    Relay(Option<String>),
}

impl Told {
    /// A request about it begins: whatever was told may change.
    fn begin(&self, thing: &str) -> u64 {
        let mut told = self.things.borrow_mut();
        let (ticket, state) = told.entry(thing.to_owned()).or_default();
        *ticket += 1;
        *state = None;
        *ticket
    }

    /// The request is answered; without effect when another one has begun since.
    fn end(&self, thing: &str, ticket: u64, state: State) {
        self.answers.set(self.answers.get() + 1);
        if let Some((latest, known)) = self.things.borrow_mut().get_mut(thing)
            && *latest == ticket
        {
            *known = Some(state);
        }
    }

    /// Whether etcd holds what was told.
    fn check(&self, etcd: &MemoryEtcd) -> Result<(), String> {
        for (thing, (_, state)) in &*self.things.borrow() {
            let now = match state {
                None => continue,
                Some(State::Relay(_)) => State::Relay(relay_of(etcd, thing)),
                Some(_) => match task_of(etcd, thing)?.first() {
                    None => State::Absent,
                    Some(stage) => State::Stage(*stage),
                },
            };
            if Some(&now) != state.as_ref() {
                return Err(format!("{thing} was told to be {state:?}, and is {now:?}"));
            }
        }
        Ok(())
    }

    /// So many requests were answered with success.
    pub(super) fn answers(&self) -> usize {
        self.answers.get()
    }
}

/// The stages of a task's subtasks, each different one once.
fn task_of(etcd: &MemoryEtcd, task: &str) -> Result<Vec<Stage>, String> {
    let sources = |prefix: &str, source: fn(&[u8]) -> Option<(TaskName, SourceId)>| {
        let keys = etcd.dump(prefix);
        let keys = keys.iter().filter_map(|kv| source(&kv.key));
        keys.filter(|(name, _)| name.as_str() == task)
            .map(|(_, source)| source)
            .collect::<BTreeSet<SourceId>>()
    };
    let configs = sources(SubtaskKey::PREFIX, |key| {
        SubtaskKey::parse(key).ok().map(|k| (k.task, k.source))
    });
    let stages = sources(SubtaskStageKey::PREFIX, |key| {
        SubtaskStageKey::parse(key).ok().map(|k| (k.task, k.source))
    });
    if configs != stages {
        return Err(format!(
            "{task}: {configs:?} have subtasks, {stages:?} have stages"
        ));
    }
    let all = etcd.dump(SourceConfigKey::PREFIX).len();
    if !configs.is_empty() && configs.len() != all {
        return Err(format!("{task} is half there: {configs:?}"));
    }
    let stages: BTreeSet<Stage> = etcd
        .dump(SubtaskStageKey::PREFIX)
        .iter()
        .filter_map(|kv| StageRecord::from_bytes(&kv.value).ok())
        .filter(|record| {
            record
                .task
                .as_ref()
                .is_some_and(|name| name.as_str() == task)
        })
        .map(|record| record.expect)
        .collect();
    match stages.len() {
        0 | 1 => Ok(stages.into_iter().collect()),
        _ => Err(format!("{task} is in several stages: {stages:?}")),
    }
}

fn relay_of(etcd: &MemoryEtcd, worker: &str) -> Option<String> {
    let key = RelayWorkerKey {
        worker: worker.into(),
    };
    let kv = etcd.dump(&key.encode()).into_iter().next()?;
    String::from_utf8(kv.value).ok()
}

/// Whether nothing is half done, no intent is left, and etcd holds what was told; else what is wrong.
pub(super) fn check(etcd: &MemoryEtcd, told: &Told) -> Result<(), String> {
    for prefix in [TaskStartKey::PREFIX, TRANSFERS, RelayOperationKey::KEY] {
        if let Some(kv) = etcd.dump(prefix).first() {
            let (key, value) = (
                String::from_utf8_lossy(&kv.key),
                String::from_utf8_lossy(&kv.value),
            );
            return Err(format!("{key} is left: {value}"));
        }
    }
    for task in TASKS {
        task_of(etcd, task)?;
    }
    told.check(etcd)
}

/// What all drivers of a run share.
#[derive(Clone)]
pub(super) struct Users {
    pub(super) told: Told,
    /// No more requests.
    pub(super) are_quiet: Rc<Cell<bool>>,
    pub(super) etcd: MemoryEtcd,
    pub(super) workers: usize,
    pub(super) sources: usize,
    seeds: Rc<Cell<u64>>,
}

impl Users {
    pub(super) fn new(etcd: MemoryEtcd, seed: u64, workers: usize, sources: usize) -> Self {
        Self {
            told: Told::default(),
            are_quiet: Rc::default(),
            etcd,
            workers,
            sources,
            seeds: Rc::new(Cell::new(seed)),
        }
    }

    /// Makes requests of one replica for as long as it lives.
    pub(super) async fn drive(self, handle: Handle<Scheduler>) {
        self.seeds.set(self.seeds.get().wrapping_mul(31) + 1);
        let mut rng = SmallRng::seed_from_u64(self.seeds.get());
        loop {
            tokio::time::sleep(rng.random_range(Duration::ZERO..BETWEEN)).await;
            if self.are_quiet.get() || handle.read(|_, _| ()).await.is_err() {
                continue;
            }
            let task = TASKS[rng.random_range(0..TASKS.len())];
            let source = format!("s{}", rng.random_range(0..self.sources));
            let worker = format!("worker-{}", rng.random_range(0..self.workers));
            match rng.random_range(0..10) {
                0..=2 => self.start(&handle, task).await,
                3 => self.stop(&handle, task).await,
                4 => self.set(&handle, task, SubtaskStage::Paused).await,
                5 => self.set(&handle, task, SubtaskStage::Running).await,
                6 => {
                    let wait = rng.random_range(Duration::ZERO..BETWEEN);
                    transfer(&handle, source, worker, wait).await;
                }
                7 => self.start_relay(&handle, source, worker).await,
                8 => self.stop_relay(&handle, source, worker).await,
                // As workers do, when they begin to load and when they have loaded.
                _ => {
                    let key = LoadTaskKey {
                        task: task.into(),
                        source: source.as_str().into(),
                    };
                    let worker = worker.as_str().into();
                    match rng.random_range(0..2) {
                        0 => self.etcd.put(key.encode(), LoadTask { worker }.to_bytes()),
                        _ => self.etcd.delete(key.encode()),
                    };
                }
            }
        }
    }

    async fn start(&self, handle: &Handle<Scheduler>, task: &str) {
        let new = new_task(task, self.sources);
        let (head, sources) = (new.head(), new.subtasks.iter().map(|s| s.source.clone()));
        let sources: Vec<SourceId> = sources.collect();
        let is_possible = handle.read(move |m, _| {
            let is_new = m.sources_of_task(&head.name).is_empty();
            is_new
                && m.check_start(&head, &sources.iter().collect::<Vec<_>>())
                    .is_ok()
        });
        if !matches!(is_possible.await, Ok(true)) {
            return;
        }
        let ticket = self.told.begin(task);
        for part in new.parts(MOST_OPERATIONS) {
            if handle.write(move |m| m.start_task(&part)).await.is_err() {
                let name = TaskName::from(task);
                // When this fails as well, it is the next leader's.
                let _ = handle.write(move |m| m.abandon_start(&name)).await;
                return;
            }
        }
        self.told.end(task, ticket, State::Stage(Stage::Running));
    }

    async fn stop(&self, handle: &Handle<Scheduler>, task: &str) {
        let ticket = self.told.begin(task);
        let name = TaskName::from(task);
        let stopped = handle.write(move |m| {
            let members: Vec<SourceId> = m.members_of_task(&name).into_iter().collect();
            m.remove_subtasks(&name, &members, MOST_OPERATIONS)
        });
        let stopped = stopped.await;
        if is_over(handle, task, stopped.ok()).await {
            self.told.end(task, ticket, State::Absent);
        }
    }

    async fn set(&self, handle: &Handle<Scheduler>, task: &str, stage: SubtaskStage) {
        let ticket = self.told.begin(task);
        let name = TaskName::from(task);
        let set = handle.write(move |m| {
            let members: Vec<SourceId> = m.sources_of_task(&name).into_iter().collect();
            m.set_stage(stage, &name, &members, MOST_OPERATIONS)
        });
        let set = set.await;
        if is_over(handle, task, set.ok()).await {
            let stage = match stage {
                SubtaskStage::Paused => Stage::Paused,
                SubtaskStage::Running => Stage::Running,
            };
            self.told.end(task, ticket, State::Stage(stage));
        }
    }

    async fn start_relay(&self, handle: &Handle<Scheduler>, source: String, worker: String) {
        let ticket = self.told.begin(&worker);
        let (id, name) = (
            SourceId::from(source.as_str()),
            WorkerName::from(worker.as_str()),
        );
        let started = handle.write(move |m| m.start_relay(&id, std::slice::from_ref(&name)));
        if started.await.is_ok() {
            self.told.end(&worker, ticket, State::Relay(Some(source)));
        }
    }

    async fn stop_relay(&self, handle: &Handle<Scheduler>, source: String, worker: String) {
        let ticket = self.told.begin(&worker);
        let (id, name) = (
            SourceId::from(source.as_str()),
            WorkerName::from(worker.as_str()),
        );
        let stopped = handle.write(move |m| m.stop_relay(&id, std::slice::from_ref(&name)));
        if stopped.await.is_ok() {
            self.told.end(&worker, ticket, State::Relay(None));
        }
    }
}

/// A task of the first so many sources.
pub(super) fn new_task(task: &str, sources: usize) -> NewTask {
    let subtasks = (0..sources).map(|n| NewSubtask {
        source: format!("s{n}").as_str().into(),
        toml: format!("name = \"{task}\"\nsource-id = \"s{n}\"\nmode = \"all\"\n"),
        validates: n % 2 == 0,
    });
    NewTask {
        name: task.into(),
        subtasks: subtasks.collect(),
        args: CliArgs::default(),
        is_physical_import: false,
        removes_meta: false,
        part: Part::Only,
    }
}

/// Whether the change is made, after the loop's part in it.
async fn is_over(handle: &Handle<Scheduler>, task: &str, extent: Option<Extent>) -> bool {
    match extent {
        None => false,
        Some(Extent::Whole) => true,
        Some(Extent::InParts) => {
            let name = TaskName::from(task);
            let gone = move |m: &Scheduler| (!m.is_in_operation(&name)).then_some(());
            let waited = handle.wait_until(PATIENCE, gone).await;
            matches!(waited, Ok(Some(())))
        }
    }
}

async fn transfer(handle: &Handle<Scheduler>, source: String, worker: String, wait: Duration) {
    let id = SourceId::from(source.as_str());
    let to = WorkerName::from(worker.as_str());
    let begun = handle
        .write(move |m| m.begin_transfer(&id, &to, MOST_OF_A_TRANSFER))
        .await;
    let Ok(Begun::Waiting { .. }) = begun else {
        return;
    };
    tokio::time::sleep(wait).await;
    let id = SourceId::from(source.as_str());
    let complete =
        handle.write(move |m: &Scheduler| -> Result<Plan<()>, _> { m.complete_transfer(&id) });
    if complete.await.is_err() {
        let id = SourceId::from(source.as_str());
        let _ = handle.write(move |m| m.abandon_transfer(&id)).await;
    }
}
