//! `start-task`, `check-task`, `stop-task`, `pause-task`, `resume-task`.

use dm_proto::pb;
use dm_task::TaskConfig;

use super::{Job, at_most_one_task, batch, read_file, tls_content};
use crate::cli::{CheckTask, OperateTask, SEE_OUTPUT, StartTask, wrong_arguments};
use crate::error::Error;

/// A command that is one operation of `OperateTask`.
pub(super) struct Operation {
    pub(super) command: &'static str,
    pub(super) op: pb::TaskOp,
    verb: &'static str,
}

pub(super) const STOP: Operation = Operation {
    command: "stop-task",
    op: pb::TaskOp::Delete,
    verb: "delete",
};
pub(super) const PAUSE: Operation = Operation {
    command: "pause-task",
    op: pb::TaskOp::Pause,
    verb: "pause",
};
pub(super) const RESUME: Operation = Operation {
    command: "resume-task",
    op: pb::TaskOp::Resume,
    verb: "resume",
};

const CONFLICT: &str = "The behaviour of `is-sharding` and `shard-mode` is conflicting. \
`is-sharding` is deprecated, please use `shard-mode` only.";

/// In a message with this text the results of a check are printed as they are, so that they can be read.
const CHECK_FAILED: &str = "fail to check synchronization configuration with type";

pub(super) async fn start(job: &mut Job<'_>, start: &StartTask) -> Result<bool, Error> {
    let [path] = start.args.as_slice() else {
        return Err(wrong_arguments(&["start-task"], SEE_OUTPUT));
    };
    let text = read_file(path)?;
    let config = TaskConfig::from_yaml(path, &text)?;
    if is_contradictory(&text, &config) {
        job.streams.say(CONFLICT);
        return Err(Error::Other(SEE_OUTPUT.to_owned()));
    }
    let security = config.target_database.security.as_ref();
    let task = match tls_content::embed(&text, "target-database", security) {
        Ok(Some(embedded)) => {
            TaskConfig::from_yaml(path, &embedded)?;
            embedded
        }
        Ok(None) => text,
        Err(error) => {
            job.streams.complain(&format!("[warn] {error}"));
            text
        }
    };
    let request = pb::StartTaskRequest {
        task,
        sources: job.sources.clone(),
        remove_meta: start.remove_meta,
        start_time: start.start_time.clone(),
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.start_task(naming(request, path)).await
        })
        .await?;
    let printed = shown(&answer, |answer| &mut answer.check_result);
    job.streams.say(&printed);
    Ok(answer.result && all(&answer.sources))
}

/// What is wrong with the file is left to the master to say.
pub(super) async fn check(job: &mut Job<'_>, check: &CheckTask) -> Result<bool, Error> {
    let [path] = check.args.as_slice() else {
        return Err(wrong_arguments(&["check-task"], SEE_OUTPUT));
    };
    let task = read_file(path)?;
    let config = TaskConfig::from_yaml(path, &task);
    if config.is_ok_and(|config| is_contradictory(&task, &config)) {
        job.streams.say(CONFLICT);
        return Err(Error::Other(SEE_OUTPUT.to_owned()));
    }
    let request = pb::CheckTaskRequest {
        task,
        err_cnt: check.error,
        warn_cnt: check.warn,
        start_time: check.start_time.clone(),
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.check_task(naming(request, path)).await
        })
        .await?;
    let printed = shown(&answer, |answer| &mut answer.msg);
    job.streams.say(&printed);
    Ok(answer.result)
}

/// Tells the master the file's name, which only its errors use.
fn naming<M>(mut request: tonic::Request<M>, path: &str) -> tonic::Request<M> {
    let name = tonic::metadata::MetadataValue::from_bytes(path.as_bytes());
    request.metadata_mut().insert_bin("dm-file-bin", name);
    request
}

pub(super) async fn operate(
    job: &mut Job<'_>,
    operation: &Operation,
    args: &OperateTask,
) -> Result<bool, Error> {
    let Some(name) = at_most_one_task(&[operation.command], &args.args)? else {
        return batch::operate(job, operation, args.batch_size).await;
    };
    let answer = send(job, operation, name.clone()).await;
    let answer = answer.inspect_err(|_| {
        let note = format!("can not {} task {name}", operation.verb);
        job.streams.say(&note);
    })?;
    job.print(&answer);
    Ok(answer.result && all(&answer.sources))
}

pub(super) async fn send(
    job: &Job<'_>,
    operation: &Operation,
    name: String,
) -> Result<pb::OperateTaskResponse, Error> {
    // All tasks of a source: the operation still is about the source alone.
    let request = pb::OperateTaskRequest {
        op: operation.op.into(),
        name,
        sources: job.sources.clone(),
    };
    job.ask(request, |mut master, request| async move {
        master.operate_task(request).await
    })
    .await
}

/// Whether every source has done it.
pub(super) fn all(sources: &[pb::CommonWorkerResponse]) -> bool {
    sources.iter().all(|source| source.result)
}

/// Both keys are given, and one says that there are shards while the other says that there are none.
fn is_contradictory(text: &str, config: &TaskConfig) -> bool {
    let of = |key| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'))
            .map(plain)
    };
    let says_no = of("is-sharding")
        .is_some_and(|value| ["false", "no", "off", "n"].contains(&value.to_lowercase().as_str()));
    let names_none = of("shard-mode").is_some_and(str::is_empty);
    (says_no && !config.shard_mode.is_empty()) || (names_none && config.is_sharding)
}

/// A scalar of one line without its comment and quotes.
fn plain(value: &str) -> &str {
    let value = value.split(" #").next().unwrap_or_default();
    value.trim().trim_matches(['"', '\''])
}

/// The answer as JSON, except that the results of a failed check are put in as they are: they have lines.
fn shown<M>(answer: &M, results: impl Fn(&mut M) -> &mut String) -> String
where
    M: prost::Message + prost::Name + Clone,
{
    const PLACE: &str = "the results of the check";
    let mut without = answer.clone();
    let check = std::mem::replace(results(&mut without), PLACE.to_owned());
    if !check.contains(CHECK_FAILED) {
        return dm_proto::json::print(answer);
    }
    let json = dm_proto::json::print(&without);
    let check = check.replacen("detail: {", "   \tdetail: {", 1);
    // The last one: a message may hold the same words.
    match json.rsplit_once(PLACE) {
        Some((before, after)) => format!("{before}{check}{after}"),
        None => json,
    }
}

#[cfg(test)]
mod tests;
