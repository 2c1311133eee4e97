//! `StartTask`, `UpdateTask` and `CheckTask`: from a task file to one subtask for each source.

mod checked;
mod cleanup;
mod generate;

use std::collections::BTreeSet;

use dm_errors::DmError;
use dm_keyspace::{SourceId, TaskName};
use dm_proto::pb;
use dm_task::{SubtaskConfig, start_time};
use tonic::Status;
use tracing::{Instrument, instrument};

use super::verdict::Expected;
use super::wait::{Awaited, entry};
use super::{Api, Failure};
use crate::machine::Scheduler;
use crate::machine::request::{CliArgs, NewSubtask, NewTask};
use crate::machine::starts::Part;
use crate::precheck::Budget;

use generate::Generated;

const NOT_IN_TASK: &str = "source not found in task's config";
const REMOVE_META_IN_FILE: &str =
    "`remove-meta` in task config is deprecated, please use `start-task ... --remove-meta` instead";

impl Api {
    #[instrument(name = "start_task", skip_all, fields(dm.task))]
    pub(super) async fn start(
        &self,
        request: &pb::StartTaskRequest,
        file: &str,
    ) -> Result<pb::StartTaskResponse, Failure> {
        let start_time = Some(request.start_time.clone()).filter(|time| !time.is_empty());
        if let Some(time) = &start_time {
            start_time::check(time).map_err(Failure::Answer)?;
        }
        let generated = self
            .generate(file, &request.task, start_time.is_some())
            .await?;
        tracing::Span::current().record("dm.task", &generated.config.name);
        let check_result = match self.precheck(&generated, Budget::USUAL).await? {
            Ok(passed) => passed,
            Err(failed) => {
                return Ok(pb::StartTaskResponse {
                    check_result: failed.to_string(),
                    ..Default::default()
                });
            }
        };
        let begun = self.begin(request, start_time, generated).await;
        let answer = match begun {
            Err(Failure::Answer(msg)) => pb::StartTaskResponse {
                msg,
                ..Default::default()
            },
            other => other?,
        };
        Ok(pb::StartTaskResponse {
            check_result,
            ..answer
        })
    }

    /// What follows the checks.
    async fn begin(
        &self,
        request: &pb::StartTaskRequest,
        start_time: Option<String>,
        Generated {
            config, subtasks, ..
        }: Generated,
    ) -> Result<pb::StartTaskResponse, Failure> {
        let subtasks = match chosen(subtasks, &request.sources) {
            Ok(subtasks) => subtasks,
            Err(sources) => {
                return Ok(pb::StartTaskResponse {
                    sources,
                    ..Default::default()
                });
            }
        };
        let name = TaskName::from(config.name.as_str());
        let sources = subtasks
            .iter()
            .map(|s| s.source_id.as_str().into())
            .collect::<Vec<_>>();
        let task = new_task(
            name.clone(),
            &subtasks,
            CliArgs { start_time },
            request.remove_meta,
        )?;
        {
            let _latched = self.latches.take(
                &name,
                if request.remove_meta {
                    "RemoveMeta"
                } else {
                    "AddSubTasks"
                },
            )?;
            if request.remove_meta {
                self.remove_meta(&config).await?;
            }
            self.add_subtasks(task).await?;
        }
        let expected = Expected::Stage {
            task: name.to_string(),
            stage: pb::Stage::Running,
        };
        let entries = self.wait_for(&expected, Awaited::all(sources)).await?;
        let remove_meta = config.remove_meta.then(|| REMOVE_META_IN_FILE.to_owned());
        let told: Vec<String> = remove_meta.into_iter().chain(config.notices()).collect();
        Ok(pb::StartTaskResponse {
            result: true,
            msg: told.join("\n"),
            sources: entries,
            check_result: String::new(),
        })
    }

    /// In one transaction as far as etcd's limit allows. Everything is checked before the first one is sent; what
    /// was added is taken back when a later one fails, by the next leader if need be. It goes on when the caller leaves.
    async fn add_subtasks(&self, mut task: NewTask) -> Result<(), Failure> {
        let head = task.head();
        let sources: Vec<SourceId> = task.subtasks.iter().map(|s| s.source.clone()).collect();
        let existing = self
            .handle
            .read(move |m, _| {
                m.check_start(&head, &sources.iter().collect::<Vec<_>>())?;
                let existing = sources
                    .into_iter()
                    .filter(|id| m.has_subtask(id, &head.name));
                Ok::<BTreeSet<SourceId>, DmError>(existing.collect())
            })
            .await??;
        task.subtasks
            .retain(|subtask| !existing.contains(&subtask.source));
        let (api, name) = (self.clone(), task.name.clone());
        let parts = task.parts(self.max_txn_ops);
        let added = async move {
            for part in parts {
                let added = api.handle.write(move |m| m.start_task(&part)).await;
                if let Err(error) = added {
                    api.take_back(&name).await;
                    return Err(error.into());
                }
            }
            Ok(())
        };
        let added = tokio::spawn(added.in_current_span()).await;
        added.unwrap_or_else(|_| Err(Status::internal("the start of the task broke off").into()))
    }

    /// Has the loop remove what a start has added so far, and waits for it.
    async fn take_back(&self, name: &TaskName) {
        let task = name.clone();
        let given_up = self
            .handle
            .write::<(), DmError, _>(move |m| m.abandon_start(&task));
        if let Err(error) = given_up.await {
            tracing::warn!(dm.task = %name, %error, "an incomplete start is left to the next leader");
            return;
        }
        let task = name.clone();
        let is_gone = move |m: &Scheduler| (!m.is_in_operation(&task)).then_some(());
        let waited = self.handle.wait_until(self.limits.bind_wait, is_gone).await;
        if !matches!(waited, Ok(Some(()))) {
            tracing::warn!(dm.task = %name, "an incomplete start is not removed yet");
        }
    }
}

/// The subtasks of the named sources, or of all; else an entry for each name that the task does not have.
fn chosen(
    subtasks: Vec<SubtaskConfig>,
    named: &[String],
) -> Result<Vec<SubtaskConfig>, Vec<pb::CommonWorkerResponse>> {
    if named.is_empty() {
        return Ok(subtasks);
    }
    let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    let known: BTreeSet<&str> = subtasks.iter().map(|s| s.source_id.as_str()).collect();
    let missing: Vec<_> = named
        .difference(&known)
        .map(|id| entry(false, NOT_IN_TASK.to_owned(), &(*id).into(), ""))
        .collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    Ok(subtasks
        .into_iter()
        .filter(|s| named.contains(s.source_id.as_str()))
        .collect())
}

fn new_task(
    name: TaskName,
    subtasks: &[SubtaskConfig],
    args: CliArgs,
    removes_meta: bool,
) -> Result<NewTask, DmError> {
    let is_physical_import = subtasks
        .first()
        .is_some_and(|s| s.loads() && s.loader.import_mode == generate::PHYSICAL_IMPORT);
    let new = |config: &SubtaskConfig| {
        let validates = !matches!(config.validator.mode.as_str(), "" | "none");
        Ok(NewSubtask {
            source: config.source_id.as_str().into(),
            toml: config.to_toml()?,
            validates,
        })
    };
    let subtasks = subtasks
        .iter()
        .map(new)
        .collect::<Result<Vec<_>, DmError>>()?;
    Ok(NewTask {
        name,
        subtasks,
        args,
        is_physical_import,
        removes_meta,
        part: Part::Only,
    })
}

impl From<TaskConfigError> for Failure {
    fn from(TaskConfigError(error): TaskConfigError) -> Self {
        error.into()
    }
}

/// An error about a task, whatever it is, is one of the master's class.
struct TaskConfigError(DmError);

impl From<DmError> for TaskConfigError {
    fn from(error: DmError) -> Self {
        Self(error.class(dm_errors::Class::DmMaster))
    }
}
