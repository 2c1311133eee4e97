//! `query-status`: the master's whole answer, or one line for each task when all is well.

use dm_proto::pb;
use serde::Serialize;

use super::{Job, at_most_one_task};
use crate::cli::QueryStatus;
use crate::error::Error;
use crate::output::{go_json, go_list};

pub(super) async fn query(job: &mut Job<'_>, query: &QueryStatus) -> Result<bool, Error> {
    let name = at_most_one_task(&["query-status"], &query.args)?.unwrap_or_default();
    let request = pb::QueryStatusListRequest {
        name: name.clone(),
        sources: job.sources.clone(),
    };
    let answer = ask(job, request).await;
    let answer = answer.inspect_err(|_| {
        let sources = go_list(&job.sources);
        let note = format!("can not query {name} task's status(in sources {sources})");
        job.streams.say(&note);
    })?;
    let is_short = name.is_empty()
        && job.sources.is_empty()
        && !query.more
        && answer.result
        && answer.sources.iter().all(|source| source.result);
    if is_short {
        let text = go_json(&Summary::of(&answer));
        job.streams.say(&text);
    } else {
        job.print(&answer);
    }
    Ok(answer.result)
}

/// The call itself, within the limit for calls that read.
pub(super) async fn ask(
    job: &Job<'_>,
    request: pb::QueryStatusListRequest,
) -> Result<pb::QueryStatusListResponse, Error> {
    let limit = Some(job.session.rpc_timeout);
    job.ask_within(limit, request, |mut master, request| async move {
        master.query_status(request).await
    })
    .await
}

#[derive(Serialize)]
struct Summary {
    result: bool,
    msg: String,
    tasks: Vec<Task>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    #[serde(skip_serializing_if = "String::is_empty")]
    task_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    task_status: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<String>,
}

const ERROR: &str = "Error";

impl Summary {
    /// Tasks in the order in which the answer first mentions them.
    fn of(answer: &pb::QueryStatusListResponse) -> Self {
        let mut tasks: Vec<Task> = Vec::new();
        for entry in &answer.sources {
            let source = entry.source_status.clone().unwrap_or_default();
            for subtask in &entry.sub_task_status {
                let known = tasks.iter().position(|task| task.task_name == subtask.name);
                let at = known.unwrap_or_else(|| {
                    tasks.push(Task {
                        task_name: subtask.name.clone(),
                        ..Task::default()
                    });
                    tasks.len() - 1
                });
                let task = &mut tasks[at];
                task.sources.push(source.source.clone());
                task.take(subtask, source.relay_status.as_ref());
            }
        }
        for task in tasks.iter_mut().filter(|task| task.has_error()) {
            let advice = format!(
                ". Please run `query-status {}` to get more details.",
                task.task_name
            );
            task.task_status.push_str(&advice);
        }
        Self {
            result: answer.result,
            msg: answer.msg.clone(),
            tasks,
        }
    }
}

impl Task {
    fn has_error(&self) -> bool {
        self.task_status.starts_with(ERROR)
    }

    /// Folds one subtask into the status: errors win, then a pause, then a difference, which is `Running`.
    fn take(&mut self, subtask: &pb::SubTaskStatus, relay: Option<&pb::RelayStatus>) {
        let is_paused = subtask.stage == i32::from(pb::Stage::Paused);
        let stage = stage_name(subtask.stage);
        if self.has_error() {
        } else if is_paused && has_errors(subtask.result.as_ref()) {
            self.task_status = format!("{ERROR} - Some error occurred in subtask");
        } else if let Some(trouble) = relay.and_then(|relay| relay_trouble(subtask, relay)) {
            self.task_status = format!("{ERROR} - Relay status is {trouble}");
        } else if self.task_status == pb::Stage::Paused.as_str_name() {
        } else if self.task_status.is_empty() || is_paused {
            self.task_status = stage;
        } else if self.task_status != stage {
            pb::Stage::Running
                .as_str_name()
                .clone_into(&mut self.task_status);
        }
    }
}

/// What keeps a subtask that replicates from getting any further.
fn relay_trouble(subtask: &pb::SubTaskStatus, relay: &pb::RelayStatus) -> Option<String> {
    let replicates = subtask.unit == i32::from(pb::UnitType::Sync)
        && subtask.stage == i32::from(pb::Stage::Running);
    let stands = [pb::Stage::Paused, pb::Stage::Stopped].map(i32::from);
    if !replicates || !stands.contains(&relay.stage) {
        return None;
    }
    Some(if has_errors(relay.result.as_ref()) {
        ERROR.to_owned()
    } else {
        stage_name(relay.stage)
    })
}

fn has_errors(result: Option<&pb::ProcessResult>) -> bool {
    result.is_some_and(|result| !result.errors.is_empty())
}

fn stage_name(number: i32) -> String {
    pb::Stage::try_from(number).map_or_else(
        |_| number.to_string(),
        |stage| stage.as_str_name().to_owned(),
    )
}

#[cfg(test)]
mod tests;
