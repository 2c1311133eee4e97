//! `start-relay`, `stop-relay`, `pause-relay`, `resume-relay`, `purge-relay`.

use dm_proto::pb;

use super::Job;
use super::task::all;
use crate::cli::{PurgeRelay, SEE_OUTPUT, wrong_arguments};
use crate::error::Error;

const NO_SOURCE: &str = "must specify at least one source (`-s` / `--source`)";
const NOT_ONE_SOURCE: &str = "must specify one source (`-s` / `--source`)";
const NO_FILE: &str = "must specify the name of the terminal file before which to purge relay log files. (`-f` / `--filename`)";
const ONE_SOURCE_PER_FILE: &str = "for --filename, can only specify one source per time";
const NO_SUB_DIR: &str = "[warn] no --sub-dir specify for --filename, the latest one will be used";
const WITH_WORKERS: &str = "start-relay/stop-relay with worker name will be deprecated soon. \
You can try stopping relay first and use start-relay without worker name instead";

/// The arguments are workers; without any the relay is switched for the source, whichever worker it is bound to.
pub(super) async fn switch(
    job: &mut Job<'_>,
    path: &[&str],
    op: pb::RelayOpV2,
    workers: &[String],
) -> Result<bool, Error> {
    if job.sources.is_empty() && workers.is_empty() {
        return Err(wrong_arguments(path, SEE_OUTPUT));
    }
    let [source] = job.sources.as_slice() else {
        return refuse(NOT_ONE_SOURCE);
    };
    let request = pb::OperateRelayRequest {
        op: op.into(),
        source: source.clone(),
        worker: workers.to_vec(),
    };
    if !workers.is_empty() {
        job.streams.say(WITH_WORKERS);
    }
    let answer = job
        .ask(request, |mut master, request| async move {
            master.operate_relay(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result && all(&answer.sources))
}

pub(super) async fn operate(
    job: &mut Job<'_>,
    path: &[&str],
    op: pb::RelayOp,
    args: &[String],
) -> Result<bool, Error> {
    if !args.is_empty() {
        return Err(wrong_arguments(path, SEE_OUTPUT));
    }
    if job.sources.is_empty() {
        return refuse(NO_SOURCE);
    }
    let request = pb::OperateWorkerRelayRequest {
        op: op.into(),
        sources: job.sources.clone(),
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.operate_worker_relay_task(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result && all(&answer.sources))
}

pub(super) async fn purge(job: &mut Job<'_>, purge: &PurgeRelay) -> Result<bool, Error> {
    if !purge.args.is_empty() {
        return Err(wrong_arguments(&["purge-relay"], SEE_OUTPUT));
    }
    if job.sources.is_empty() {
        return refuse(NO_SOURCE);
    }
    let filename = purge.filename.trim_matches('"');
    if filename.is_empty() {
        return refuse(NO_FILE);
    }
    if job.sources.len() > 1 {
        return refuse(ONE_SOURCE_PER_FILE);
    }
    let sub_dir = purge.sub_dir.trim_matches('"');
    if sub_dir.is_empty() {
        job.streams.say(NO_SUB_DIR);
    }
    let request = pb::PurgeWorkerRelayRequest {
        sources: job.sources.clone(),
        filename: filename.to_owned(),
        sub_dir: sub_dir.to_owned(),
        ..Default::default()
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.purge_worker_relay(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result && all(&answer.sources))
}

fn refuse(text: &str) -> Result<bool, Error> {
    Err(Error::Other(text.to_owned()))
}
