//! One subtask: its stage, the run of its units, and what is told about it.
//!
//! | stage | request or event | next |
//! |---|---|---|
//! | Running | pause | Pausing, then Paused when the run has ended |
//! | Running | a unit fails | Paused, with the error; resumed by itself later if that may help |
//! | Running | all units are done | Finished |
//! | Paused | resume | Running, with the configuration read anew |
//! | any | close | Stopped |

pub mod backoff;
pub mod checks;
pub mod run;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dm_errors::{Code, DmError};
use dm_keyspace::{SourceId, Stage, TaskName, WorkerName};
use dm_proto::pb;
use dm_store::Store;
use dm_task::{DbConfig, SubtaskConfig};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result, process_error};
use crate::exceptions::Exceptions;
use crate::permit::Permit;
use crate::shard::coordinator::Coordinator;
use crate::status::Board;
use crate::tracked::{self, Change};
use crate::unit::steps::Steps;
use backoff::Backoff;

/// A run that is asked to stop may take this long to finish what it is doing.
const GRACE: Duration = Duration::from_secs(10);
/// A change of a tracked structure may take this long; a pause or a close waits for it.
const CHANGE_LIMIT: Duration = Duration::from_secs(20);
/// Requests waiting for a subtask.
const QUEUE: usize = 16;

/// What a subtask stands on: who runs it, for which source, by which right.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// This worker.
    pub worker: WorkerName,
    /// The source.
    pub source: SourceId,
    /// How to reach it.
    pub from: DbConfig,
    /// Names of the source are told apart by case.
    pub case_sensitive: bool,
    /// Filters of the source, for each of its tasks.
    pub filters: Vec<dm_task::filter::EventRule>,
    /// Whether a run that failed is tried again by itself.
    pub auto_resume: bool,
    /// Revision of the bound.
    pub bound_revision: i64,
    /// etcd.
    pub store: Store,
    /// The right to act.
    pub permit: Permit,
    /// The way to the other sources.
    pub coordinator: Coordinator,
    /// Whoever watches the steps of a DDL: nobody, but in tests.
    pub steps: Steps,
}

/// What everybody may know about a subtask.
#[derive(Clone, Debug)]
pub struct Told {
    /// Where in its life it is.
    pub stage: pb::Stage,
    /// Why it stands still.
    pub errors: Vec<pb::ProcessError>,
    /// It stands still because somebody asked for it.
    pub is_canceled: bool,
    /// Its configuration.
    pub config: SubtaskConfig,
}

/// The end that reads.
#[derive(Clone, Debug)]
pub struct View {
    /// The task.
    pub task: TaskName,
    /// Figures of the units.
    pub board: Board,
    /// What a user has ordered for single statements.
    pub exceptions: Exceptions,
    requests: mpsc::WeakSender<Request>,
    told: Arc<Mutex<Told>>,
}

impl View {
    /// A copy of what is known.
    pub fn told(&self) -> Told {
        self.lock().clone()
    }

    /// Asks for a run with the same configuration, as a resume does.
    pub async fn resume(&self) {
        let config = self.told().config;
        if let Some(requests) = self.requests.upgrade() {
            // A subtask that has ended needs none.
            let _ = requests.send(Request::Resume(Box::new(Ok(config)))).await;
        }
    }

    /// Changes a tracked structure of a paused subtask.
    pub async fn change(&self, change: Change) -> Result<()> {
        let (answer, wait) = oneshot::channel();
        let request = Request::Change(Box::new(change), answer);
        if let Some(requests) = self.requests.upgrade()
            && requests.send(request).await.is_ok()
            && let Ok(answer) = wait.await
        {
            return answer;
        }
        let stage = self.told().stage;
        Err(not_paused(stage).into())
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: pb::Stage) {
        tracing::info!(task = %self.task, ?stage, "subtask");
        self.lock().stage = stage;
    }
}

#[derive(Debug)]
enum Request {
    Pause,
    Resume(Box<Result<SubtaskConfig>>),
    Change(Box<Change>, oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<()>),
}

/// The end that steers. Dropping it ends the subtask without grace.
#[derive(Debug)]
pub struct Subtask {
    view: View,
    requests: mpsc::Sender<Request>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Subtask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Subtask {
    /// Begins a subtask's life, running or paused. A configuration that cannot be used is an error of the subtask, for all to see.
    pub fn start(
        task: TaskName,
        config: Result<SubtaskConfig>,
        expect: Stage,
        surroundings: Surroundings,
    ) -> Self {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let told = Told {
            stage: pb::Stage::New,
            errors: Vec::new(),
            is_canceled: false,
            config: SubtaskConfig::default(),
        };
        let view = View {
            task,
            board: Board::default(),
            exceptions: Exceptions::default(),
            requests: requests.downgrade(),
            told: Arc::new(Mutex::new(told)),
        };
        let driver = Driver {
            view: view.clone(),
            surroundings,
            requests: receiver,
            backoff: Backoff::default(),
        };
        Self {
            view,
            requests,
            task: tokio::spawn(driver.drive(config, expect)),
        }
    }

    /// For the status.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Asks for what a stage record expects. A configuration goes with a resume.
    pub async fn expect(&self, stage: Stage, config: Option<Result<SubtaskConfig>>) {
        let request = match (stage, config) {
            (Stage::Running, Some(config)) => Request::Resume(Box::new(config)),
            (Stage::Paused | Stage::Stopped, _) => Request::Pause,
            _ => return,
        };
        // The driver ends only with this value.
        let _ = self.requests.send(request).await;
    }

    /// Ends it in order and waits for that.
    pub async fn close(self) {
        let (closed, wait) = oneshot::channel();
        if self.requests.send(Request::Close(closed)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

/// How a run was left.
enum Left {
    Finished,
    Failed(Error),
    Paused,
    Closed(oneshot::Sender<()>),
    Abandoned,
}

struct Driver {
    view: View,
    surroundings: Surroundings,
    requests: mpsc::Receiver<Request>,
    backoff: Backoff,
}

impl Driver {
    async fn drive(mut self, config: Result<SubtaskConfig>, expect: Stage) {
        let mut next = self.accept(config).filter(|_| expect == Stage::Running);
        if next.is_none() {
            self.view.set(pb::Stage::Paused);
        }
        loop {
            if let Some(config) = next.take() {
                match self.run(config).await {
                    Left::Finished => self.view.set(pb::Stage::Finished),
                    Left::Failed(error) => self.failed(&error),
                    Left::Paused => self.paused(),
                    Left::Closed(closed) => return self.closed(closed),
                    Left::Abandoned => return,
                }
            }
            next = match self.wait().await {
                Some(Request::Close(closed)) => return self.closed(closed),
                Some(Request::Pause) => {
                    self.paused();
                    None
                }
                Some(Request::Resume(config)) => self.accept(*config),
                Some(Request::Change(change, answer)) => {
                    let changed = self.change(&change).await;
                    // Nobody may wait any more.
                    let _ = answer.send(changed);
                    None
                }
                None => return,
            };
        }
    }

    /// The next request, or a resume of our own when the time for one has come.
    async fn wait(&mut self) -> Option<Request> {
        let config = self.view.told().config;
        match self.backoff.wait() {
            None => self.requests.recv().await,
            Some(wait) => tokio::select! {
                request = self.requests.recv() => request,
                () = tokio::time::sleep(wait) => {
                    tracing::info!(task = %self.view.task, "resuming by itself");
                    Some(Request::Resume(Box::new(Ok(config))))
                }
            },
        }
    }

    /// Completes a configuration from the source's; a bad one becomes the subtask's error.
    fn accept(&self, config: Result<SubtaskConfig>) -> Option<SubtaskConfig> {
        let checked = config.and_then(|mut config| {
            config.case_sensitive |= self.surroundings.case_sensitive;
            let rules = config.filter_rules.clone();
            let own = self.surroundings.filters.iter();
            config
                .filter_rules
                .extend(own.filter(|f| !rules.contains(f)).cloned());
            checks::supported(&config)?;
            Ok(config)
        });
        let open = !self.view.board.read().groups.is_empty();
        let mut told = self.view.lock();
        let checked = checked.map(|new| {
            if open && !checks::same_tables(&told.config, &new) {
                tracing::warn!(task = %self.view.task, "tables and routes stay as they are while a shard DDL is open");
                return told.config.clone();
            }
            new
        });
        match checked {
            Ok(config) => {
                told.config = config.clone();
                told.errors.clear();
                told.is_canceled = false;
                Some(config)
            }
            Err(error) => {
                told.errors = vec![error.to_process_error()];
                told.stage = pb::Stage::Paused;
                None
            }
        }
    }

    async fn run(&mut self, config: SubtaskConfig) -> Left {
        self.view.set(pb::Stage::Running);
        let cancel = CancellationToken::new();
        let permit = self.surroundings.permit.clone();
        let unit = match run::context(&self.view, &self.surroundings, config, cancel.clone()) {
            Ok(unit) => unit,
            Err(error) => return Left::Failed(error),
        };
        self.backoff.started();
        let running = run::units(unit);
        tokio::pin!(running);
        let request = loop {
            tokio::select! {
                biased;
                () = permit.ended() => return Left::Failed(Error::LeaseEnded),
                done = &mut running => return match done {
                    Ok(()) => Left::Finished,
                    Err(error) => Left::Failed(error),
                },
                request = self.requests.recv() => match request {
                    Some(Request::Resume(_)) => {}
                    Some(Request::Change(_, answer)) => {
                        let _ = answer.send(Err(not_paused(pb::Stage::Running).into()));
                    }
                    other => break other,
                },
            }
        };
        let ending = match request {
            Some(Request::Pause) => pb::Stage::Pausing,
            Some(_) => pb::Stage::Stopping,
            None => return Left::Abandoned,
        };
        self.view.set(ending);
        cancel.cancel();
        if tokio::time::timeout(GRACE, &mut running).await.is_err() {
            tracing::warn!(task = %self.view.task, "run ended without grace");
        }
        match request {
            Some(Request::Close(closed)) => Left::Closed(closed),
            _ => Left::Paused,
        }
    }

    /// Between two runs, so that there is one writer at a time.
    async fn change(&self, change: &Change) -> Result<()> {
        let told = self.view.told();
        if told.stage != pb::Stage::Paused {
            return Err(not_paused(told.stage).into());
        }
        let cancel = CancellationToken::new();
        let unit = run::context(&self.view, &self.surroundings, told.config, cancel)?;
        let work = async {
            let mut writer = run::open(&unit).await?;
            tracked::change(&unit, &mut writer, change).await
        };
        let limited = tokio::time::timeout(CHANGE_LIMIT, unit.guarded(work));
        limited.await.unwrap_or_else(|_| {
            let text = format!("no answer from the databases or etcd within {CHANGE_LIMIT:?}");
            Err(DmError::uncoded(text).into())
        })
    }

    fn failed(&mut self, error: &Error) {
        tracing::error!(task = %self.view.task, error = %process_text(error), "subtask paused by an error");
        let resumable = self.surroundings.auto_resume && error.is_resumable();
        self.backoff.failed(resumable);
        let mut told = self.view.lock();
        told.errors = vec![process_error(&error.to_dm())];
        told.stage = pb::Stage::Paused;
    }

    fn paused(&mut self) {
        self.backoff.failed(false);
        self.view.lock().is_canceled = true;
        self.view.set(pb::Stage::Paused);
    }

    fn closed(&self, closed: oneshot::Sender<()>) {
        self.view.set(pb::Stage::Stopped);
        // Nobody may wait any more.
        let _ = closed.send(());
    }
}

/// The answer to what only a paused subtask can do.
pub fn not_paused(stage: pb::Stage) -> DmError {
    DmError::new(Code::WORKER_NOT_PAUSED_STAGE, &[&stage.as_str_name()])
}

/// An error with its causes, for the log.
fn process_text(error: &Error) -> String {
    error.to_dm().to_string()
}
