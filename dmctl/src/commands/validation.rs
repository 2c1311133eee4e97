//! `validation start`, `stop`, `update`, `status`, `show-error`, `ignore-error`, `resolve-error`, `clear-error`.

use dm_errors::{Code, DmError};
use dm_proto::pb;
use dm_task::start_time;
use pb::start_validation_request::{Mode, StartTime};
use pb::{ValidateErrorState, ValidationErrOp};

use super::Job;
use super::task::all;
use crate::cli::{
    MarkValidationError, ShowValidationError, StartValidation, StopValidation, UpdateValidation,
    Validation, ValidationAction, ValidationStatus, wrong_arguments,
};
use crate::error::Error;

const NO_TASK: &str = "task name should be specified";
const TOO_MANY: &str = "too many arguments are specified";

pub(super) async fn run(
    job: &mut Job<'_>,
    path: &[&str],
    validation: &Validation,
) -> Result<bool, Error> {
    match &validation.action {
        None => Ok(job.explain(path)),
        Some(ValidationAction::Start(of)) => start(job, path, of).await,
        Some(ValidationAction::Stop(of)) => stop(job, path, of).await,
        Some(ValidationAction::Update(of)) => update(job, path, of).await,
        Some(ValidationAction::Status(of)) => status(job, path, of).await,
        Some(ValidationAction::ShowError(of)) => show_error(job, path, of).await,
        Some(ValidationAction::IgnoreError(of)) => {
            mark(job, path, ValidationErrOp::IgnoreErrOp, of).await
        }
        Some(ValidationAction::ResolveError(of)) => {
            mark(job, path, ValidationErrOp::ResolveErrOp, of).await
        }
        Some(ValidationAction::ClearError(of)) => {
            mark(job, path, ValidationErrOp::ClearErrOp, of).await
        }
    }
}

async fn start(job: &mut Job<'_>, path: &[&str], start: &StartValidation) -> Result<bool, Error> {
    let mode = start.mode.as_deref();
    if let Some(mode) = mode.filter(|mode| !["full", "fast"].contains(mode)) {
        let reason = format!("mode should be either `full` or `fast`, current is `{mode}`");
        return Err(wrong_arguments(path, reason));
    }
    let time = start.start_time.as_deref();
    if time.is_some_and(|time| start_time::check(time).is_err()) {
        return Err(wrong_arguments(path, start_time::should_be()));
    }
    let request = pb::StartValidationRequest {
        mode: start.mode.clone().map(Mode::ModeValue),
        start_time: start.start_time.clone().map(StartTime::StartTimeValue),
        sources: job.sources.clone(),
        task_name: one_or_all(path, &start.args, start.all_task)?,
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.start_validation(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result && all(&answer.sources))
}

async fn stop(job: &mut Job<'_>, path: &[&str], stop: &StopValidation) -> Result<bool, Error> {
    let request = pb::StopValidationRequest {
        sources: job.sources.clone(),
        task_name: one_or_all(path, &stop.args, stop.all_task)?,
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.stop_validation(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result && all(&answer.sources))
}

/// The task to send: one, or none for all of them.
fn one_or_all(path: &[&str], args: &[String], is_all: bool) -> Result<String, Error> {
    match (args, is_all) {
        ([task], false) => Ok(task.clone()),
        ([], true) => Ok(String::new()),
        ([] | [_], _) => Err(wrong_arguments(
            path,
            "either `task-name` or `all-task` should be set",
        )),
        _ => Err(wrong_arguments(path, TOO_MANY)),
    }
}

async fn update(
    job: &mut Job<'_>,
    path: &[&str],
    update: &UpdateValidation,
) -> Result<bool, Error> {
    let (pos, gtid) = (&update.cutover_binlog_pos, &update.cutover_binlog_gtid);
    if pos.is_empty() == gtid.is_empty() {
        // The text is DM's, with the same flag twice.
        let reason =
            "you must specify either one of '--cutover-binlog-pos' or '--cutover-binlog-pos'";
        return Err(wrong_arguments(path, reason));
    }
    if !pos.is_empty() && !is_position(pos) {
        let text =
            format!("invalid binlog pos, should be like (mysql-bin.000001, 2345), got {pos}");
        let error = DmError::new(Code::BINLOG_PARSE_POS_FROM_STR, &[]).message(text);
        return Err(wrong_arguments(path, error.to_string()));
    }
    let task = match update.args.as_slice() {
        [task] => task,
        [] => return Err(wrong_arguments(path, "`task-name` should be set")),
        _ => {
            let reason = "should specify only one `task-name`";
            return Err(wrong_arguments(path, reason));
        }
    };
    let request = pb::UpdateValidationRequest {
        task_name: task.clone(),
        sources: job.sources.clone(),
        binlog_pos: pos.clone(),
        binlog_gtid: gtid.clone(),
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.update_validation(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result && all(&answer.sources))
}

/// `(name, pos)`
fn is_position(text: &str) -> bool {
    let bare = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    bare.and_then(|bare| bare.split_once(", "))
        .is_some_and(|(name, pos)| !name.is_empty() && pos.parse::<u32>().is_ok())
}

async fn status(
    job: &mut Job<'_>,
    path: &[&str],
    status: &ValidationStatus,
) -> Result<bool, Error> {
    let task_name = one_task(path, &status.args)?;
    let filter = match status.table_stage.as_str() {
        "" => pb::Stage::InvalidStage,
        "running" => pb::Stage::Running,
        "stopped" => pb::Stage::Stopped,
        _ => {
            let reason = "stage should be either `running` or `stopped`";
            return Err(wrong_arguments(path, reason));
        }
    };
    let request = pb::GetValidationStatusRequest {
        task_name,
        filter_status: filter.into(),
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.get_validation_status(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result)
}

async fn show_error(
    job: &mut Job<'_>,
    path: &[&str],
    show: &ShowValidationError,
) -> Result<bool, Error> {
    if show.args.is_empty() {
        return Err(Error::Other(NO_TASK.to_owned()));
    }
    let task_name = one_task(path, &show.args)?;
    let state = match show.error.as_str() {
        "all" => ValidateErrorState::InvalidErr,
        "ignored" => ValidateErrorState::IgnoredErr,
        "unprocessed" => ValidateErrorState::NewErr,
        _ => {
            let reason = "error flag should be either `all`, `ignored`, or `unprocessed`";
            return Err(wrong_arguments(path, reason));
        }
    };
    let request = pb::GetValidationErrorRequest {
        err_state: state.into(),
        task_name,
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.get_validation_error(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result)
}

fn one_task(path: &[&str], args: &[String]) -> Result<String, Error> {
    match args {
        [task] => Ok(task.clone()),
        [] => Err(wrong_arguments(path, NO_TASK)),
        _ => Err(wrong_arguments(path, TOO_MANY)),
    }
}

async fn mark(
    job: &mut Job<'_>,
    path: &[&str],
    op: ValidationErrOp,
    mark: &MarkValidationError,
) -> Result<bool, Error> {
    let (task, id) = match (mark.args.as_slice(), mark.all) {
        ([], _) => return Err(wrong_arguments(path, NO_TASK)),
        ([task], true) => (task, 0),
        ([task, id], false) => match id.parse() {
            Ok(id) => (task, id),
            Err(_) => {
                let reason = "`error-id` should be integer when `--all` is not set";
                return Err(wrong_arguments(path, reason));
            }
        },
        ([_], false) | ([_, _], true) => {
            let reason = "either `--all` or `error-id` should be set";
            return Err(wrong_arguments(path, reason));
        }
        _ => return Err(wrong_arguments(path, TOO_MANY)),
    };
    let request = pb::OperateValidationErrorRequest {
        op: op.into(),
        is_all_error: mark.all,
        task_name: task.clone(),
        err_id: id,
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.operate_validation_error(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result)
}
