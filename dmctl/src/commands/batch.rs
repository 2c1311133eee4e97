//! `pause-task`, `resume-task`, `stop-task` without a task: all tasks of one source.

use dm_proto::pb;
use futures::{StreamExt, stream};
use serde::Serialize;

use super::task::{self, Operation};
use super::{Job, status};
use crate::cli::{SEE_OUTPUT, wrong_arguments};
use crate::error::Error;
use crate::output::go_json;

#[derive(Serialize)]
struct Answer {
    result: bool,
    msg: String,
    tasks: Vec<Task>,
}

#[derive(Serialize)]
struct Task {
    task: String,
    op: &'static str,
    result: bool,
    msg: String,
    sources: Option<Vec<Source>>,
}

#[derive(Serialize)]
struct Source {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    result: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    msg: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    worker: String,
}

pub(super) async fn operate(
    job: &mut Job<'_>,
    operation: &Operation,
    at_once: u16,
) -> Result<bool, Error> {
    let note = match job.sources.len() {
        1 => None,
        0 => Some("must give one source-name when task-name/task-conf is not specified"),
        _ => Some("can give only one source-name when task-name/task-conf is not specified"),
    };
    if let Some(note) = note {
        job.streams.say(note);
        return Err(wrong_arguments(&[operation.command], SEE_OUTPUT));
    }
    let request = pb::QueryStatusListRequest {
        name: String::new(),
        sources: job.sources.clone(),
    };
    let known = status::ask(job, request).await?;
    let names = match known.sources.first() {
        Some(source) if known.result => source.sub_task_status.iter().map(|s| s.name.clone()),
        _ => {
            let text = go_json(&Answer {
                result: known.result,
                msg: known.msg,
                tasks: Vec::new(),
            });
            job.streams.say(&text);
            return Ok(known.result);
        }
    };
    let this: &Job<'_> = job;
    let calls: Vec<_> = names.map(|name| one(this, operation, name)).collect();
    let mut tasks: Vec<Task> = stream::iter(calls)
        .buffer_unordered(usize::from(at_once))
        .collect()
        .await;
    tasks.sort_by(|a, b| a.task.cmp(&b.task));
    let is_done = tasks.iter().all(Task::is_done);
    let text = go_json(&Answer {
        result: true,
        msg: String::new(),
        tasks,
    });
    job.streams.say(&text);
    Ok(is_done)
}

async fn one(job: &Job<'_>, operation: &Operation, name: String) -> Task {
    let answer = task::send(job, operation, name.clone()).await;
    let (result, msg, sources) = match answer {
        Ok(answer) => (answer.result, answer.msg, answer.sources),
        Err(error) => (false, error.to_string(), Vec::new()),
    };
    let sources: Vec<Source> = sources.into_iter().map(Source::from).collect();
    Task {
        task: name,
        op: operation.op.as_str_name(),
        result,
        msg,
        sources: (!sources.is_empty()).then_some(sources),
    }
}

impl Task {
    fn is_done(&self) -> bool {
        self.result && self.sources.iter().flatten().all(|source| source.result)
    }
}

impl From<pb::CommonWorkerResponse> for Source {
    fn from(of: pb::CommonWorkerResponse) -> Self {
        Self {
            result: of.result,
            msg: of.msg,
            source: of.source,
            worker: of.worker,
        }
    }
}
