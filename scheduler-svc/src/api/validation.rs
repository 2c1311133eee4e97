//! The validation methods: two that write what workers are to do, four that ask workers.

use std::collections::BTreeSet;

use dm_errors::{Code, DmError, List};
use dm_keyspace::{SourceId, TaskName};
use dm_proto::pb;
use dm_proto::pb::start_validation_request::{Mode, StartTime};
use dm_task::{SourceConfig, start_time};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tonic::Status;
use tracing::instrument;

use super::wait::entry;
use super::worker_calls::{Row, entries};
use super::{Api, Failure, WorkerClient, sources, task};
use crate::latch::Latched;
use crate::machine::request::{NewValidation, Target};
use crate::machine::{BoundWorker, Scheduler};
use crate::workers::call_failed;

const SUCCESS: &str = "success";
const NO_TASK: &str = "task name should be specified";

impl Api {
    #[instrument(name = "start_validation", skip_all, fields(dm.task = request.task_name))]
    pub(super) async fn validate(
        &self,
        request: pb::StartValidationRequest,
    ) -> Result<pb::StartValidationResponse, Failure> {
        let new = NewValidation {
            mode: request.mode.map(|Mode::ModeValue(mode)| mode),
            start_time: request
                .start_time
                .map(|StartTime::StartTimeValue(time)| time),
        };
        let named = sources(&request.sources);
        let (targets, _latched) = self.latched_targets(&request.task_name, &named).await?;
        check(&new)?;
        let most = self.max_txn_ops;
        let tasks = self
            .handle
            .write(move |m| m.start_validation(&targets, &new, most))
            .await?;
        self.wait_for_operations(tasks).await?;
        Ok(pb::StartValidationResponse {
            result: true,
            msg: SUCCESS.to_owned(),
            sources: Vec::new(),
        })
    }

    #[instrument(name = "stop_validation", skip_all, fields(dm.task = request.task_name))]
    pub(super) async fn end_validation(
        &self,
        request: pb::StopValidationRequest,
    ) -> Result<pb::StopValidationResponse, Failure> {
        let named = sources(&request.sources);
        let (targets, _latched) = self.latched_targets(&request.task_name, &named).await?;
        let most = self.max_txn_ops;
        let tasks = self
            .handle
            .write(move |m| m.stop_validation(&targets, most))
            .await?;
        self.wait_for_operations(tasks).await?;
        Ok(pb::StopValidationResponse {
            result: true,
            msg: SUCCESS.to_owned(),
            sources: Vec::new(),
        })
    }

    async fn latched_targets(
        &self,
        name: &str,
        named: &[SourceId],
    ) -> Result<(Vec<Target>, Vec<Latched>), Failure> {
        let some = |targets: Vec<Target>| match (targets.is_empty(), name) {
            (false, _) => Ok(targets),
            (true, "") => Err(Failure::Answer(format!(
                "cannot get subtask by sources `{}`",
                List(named)
            ))),
            (true, name) => Err(Failure::Answer(with_sources(name, named))),
        };
        let targets = some(self.targets(name, named).await?)?;
        let tasks: BTreeSet<&TaskName> = targets.iter().map(|(task, _)| task).collect();
        let latch = |task: &TaskName| {
            self.latches
                .take(task, "StartValidation")
                .map_err(|_| Failure::Answer(format!("latch {task} is in use by other client")))
        };
        let latched = tasks
            .into_iter()
            .map(latch)
            .collect::<Result<Vec<_>, _>>()?;
        // What was read before the latch may have changed until it was taken.
        Ok((some(self.targets(name, named).await?)?, latched))
    }

    async fn targets(&self, name: &str, named: &[SourceId]) -> Result<Vec<Target>, Failure> {
        let (name, named) = (task(name), named.to_vec());
        let targets = self
            .handle
            .read(move |m, _| m.validation_targets(&name, &named))
            .await?;
        Ok(targets)
    }

    #[instrument(name = "get_validation_status", skip_all, fields(dm.task = request.task_name))]
    pub(super) async fn validation_status(
        &self,
        request: pb::GetValidationStatusRequest,
    ) -> Result<pb::GetValidationStatusResponse, Failure> {
        let filter = request.filter_status();
        let rows = self.validated_rows(&request.task_name).await?;
        if !matches!(
            filter,
            pb::Stage::InvalidStage | pb::Stage::Running | pb::Stage::Stopped
        ) {
            let text = "filtering stage should be either `running`, `stopped`, or empty";
            return Err(Failure::Answer(text.to_owned()));
        }
        let mut all = pb::GetValidationStatusResponse {
            result: true,
            ..Default::default()
        };
        let ask = |mut worker: WorkerClient, request| async move {
            worker.get_worker_validator_status(request).await
        };
        for answer in self.ask_all(rows, &request, ask).await {
            match answer {
                Ok(answer) => {
                    note(&mut all.result, &mut all.msg, answer.result, &answer.msg);
                    all.validators.extend(answer.validators);
                    all.table_statuses.extend(answer.table_statuses);
                }
                Err(text) => note(&mut all.result, &mut all.msg, false, &text),
            }
        }
        Ok(all)
    }

    #[instrument(name = "get_validation_error", skip_all, fields(dm.task = request.task_name))]
    pub(super) async fn validation_errors(
        &self,
        request: pb::GetValidationErrorRequest,
    ) -> Result<pb::GetValidationErrorResponse, Failure> {
        let rows = self.validated_rows(&request.task_name).await?;
        if request.err_state() == pb::ValidateErrorState::ResolvedErr {
            let text = "only support querying `all`, `unprocessed`, and `ignored` error";
            return Err(Failure::Answer(text.to_owned()));
        }
        let mut all = pb::GetValidationErrorResponse {
            result: true,
            ..Default::default()
        };
        let ask = |mut worker: WorkerClient, request| async move {
            worker.get_validator_error(request).await
        };
        for answer in self.ask_all(rows, &request, ask).await {
            match answer {
                Ok(answer) => {
                    note(&mut all.result, &mut all.msg, answer.result, &answer.msg);
                    all.error.extend(answer.error);
                }
                Err(text) => note(&mut all.result, &mut all.msg, false, &text),
            }
        }
        Ok(all)
    }

    #[instrument(name = "operate_validation_error", skip_all, fields(dm.task = request.task_name))]
    pub(super) async fn settle_validation_error(
        &self,
        request: pb::OperateValidationErrorRequest,
    ) -> Result<pb::OperateValidationErrorResponse, Failure> {
        let rows = self.validated_rows(&request.task_name).await?;
        let mut all = pb::OperateValidationErrorResponse {
            result: true,
            msg: String::new(),
        };
        let ask = |mut worker: WorkerClient, request| async move {
            worker.operate_validator_error(request).await
        };
        for answer in self.ask_all(rows, &request, ask).await {
            match answer {
                Ok(answer) => note(&mut all.result, &mut all.msg, answer.result, &answer.msg),
                Err(text) => note(&mut all.result, &mut all.msg, false, &text),
            }
        }
        Ok(all)
    }

    #[instrument(name = "update_validation", skip_all, fields(dm.task = request.task_name))]
    pub(super) async fn move_validation(
        &self,
        request: &pb::UpdateValidationRequest,
    ) -> Result<pb::UpdateValidationResponse, Failure> {
        let named = sources(&request.sources);
        let targets = match request.task_name.as_str() {
            "" => return Err(Failure::Answer(NO_TASK.to_owned())),
            name => self.targets(name, &named).await?,
        };
        if targets.is_empty() {
            return Err(Failure::Answer(match named.is_empty() {
                true => without_subtasks(&request.task_name),
                false => with_sources(&request.task_name, &named),
            }));
        }
        let ids: Vec<SourceId> = targets.into_iter().map(|(_, id)| id).collect();
        let rows = self.bound_rows(ids.clone()).await?;
        let by_gtid = self.handle.read(move |m, _| by_gtid(m, &ids)).await?;
        let mut refused = Vec::new();
        let mut asked = Vec::new();
        for row in rows {
            match missing_cutover(&row.0, by_gtid.contains(&row.0), request) {
                Some(text) => refused.push(entry(false, text, &row.0, "")),
                None => asked.push(row),
            }
        }
        let ask = |worker: BoundWorker| {
            let message = pb::UpdateValidationWorkerRequest {
                task_name: request.task_name.clone(),
                binlog_pos: request.binlog_pos.clone(),
                binlog_gtid: request.binlog_gtid.clone(),
            };
            self.ask(
                worker,
                message,
                |mut worker: WorkerClient, request| async move {
                    worker.update_validator(request).await
                },
            )
        };
        let mut all = entries(asked, ask).await;
        all.extend(refused);
        all.sort_by(|a, b| a.source.cmp(&b.source));
        Ok(pb::UpdateValidationResponse {
            result: true,
            msg: String::new(),
            sources: all,
        })
    }

    /// The workers of a task's sources.
    async fn validated_rows(&self, name: &str) -> Result<Vec<Row>, Failure> {
        if name.is_empty() {
            return Err(Failure::Answer(NO_TASK.to_owned()));
        }
        let targets = self.targets(name, &[]).await?;
        if targets.is_empty() {
            return Err(Failure::Answer(without_subtasks(name)));
        }
        self.bound_rows(targets.into_iter().map(|(_, id)| id).collect())
            .await
    }

    /// The same question to every worker; why there is no answer, as text. In the order of the rows.
    async fn ask_all<M, T, F>(
        &self,
        rows: Vec<Row>,
        message: &M,
        method: impl Fn(WorkerClient, tonic::Request<M>) -> F,
    ) -> Vec<Result<T, String>>
    where
        M: Clone,
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let method = &method;
        let ask = |(source, worker): Row| async move {
            let Some(worker) = worker else {
                let error = DmError::new(Code::MASTER_WORKER_ARGS_EXTRACTOR, &[])
                    .message(format!("{source} relevant worker-client not found"));
                return Err(error.to_string());
            };
            let answer = self
                .workers
                .call(&worker.addr, message.clone(), method)
                .await;
            answer.map_err(|status| call_failed(&status).to_string())
        };
        rows.into_iter()
            .map(ask)
            .collect::<FuturesOrdered<_>>()
            .collect()
            .await
    }
}

fn check(new: &NewValidation) -> Result<(), Failure> {
    let is_mode = |mode: &String| matches!(mode.as_str(), "full" | "fast");
    if new.mode.as_ref().is_some_and(|mode| !is_mode(mode)) {
        let text = "validation mode should be either `full` or `fast`";
        return Err(Failure::Answer(text.to_owned()));
    }
    let is_time = |time: &String| start_time::check(time).is_ok();
    if new.start_time.as_ref().is_some_and(|time| !is_time(time)) {
        return Err(Failure::Answer(start_time::should_be()));
    }
    Ok(())
}

fn with_sources(name: &str, named: &[SourceId]) -> String {
    format!(
        "cannot get subtask by task name `{name}` and sources `{}`",
        List(named)
    )
}

fn without_subtasks(name: &str) -> String {
    format!("cannot get subtask by task name `{name}`")
}

/// One worker's failure makes the whole answer one, and adds its text.
fn note(result: &mut bool, all: &mut String, is_good: bool, msg: &str) {
    if !is_good {
        *result = false;
        all.push_str(msg);
        all.push_str("; ");
    }
}

/// The sources that are read by GTID.
fn by_gtid(m: &Scheduler, ids: &[SourceId]) -> BTreeSet<SourceId> {
    let is_by_gtid = |id: &&SourceId| {
        let text = m.source_config(id).unwrap_or_default();
        SourceConfig::from_toml(&String::from_utf8_lossy(&text))
            .is_ok_and(|config| config.enable_gtid)
    };
    ids.iter().filter(is_by_gtid).cloned().collect()
}

fn missing_cutover(
    id: &SourceId,
    is_by_gtid: bool,
    request: &pb::UpdateValidationRequest,
) -> Option<String> {
    let (given, what) = match is_by_gtid {
        true => (&request.binlog_gtid, "gtid"),
        false => (&request.binlog_pos, "pos"),
    };
    given.is_empty().then(|| {
        format!("source {id} didn't specify cutover-binlog-{what} when enableGTID is {is_by_gtid}")
    })
}
