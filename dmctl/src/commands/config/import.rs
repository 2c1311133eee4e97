//! `config import`.

use std::collections::BTreeMap;
use std::path::Path;

use dm_proto::pb;

use super::Job;
use super::files::{self, Layout};
use crate::cli::{ConfigDir, SEE_OUTPUT, wrong_arguments};
use crate::commands::task::all;
use crate::error::Error;

/// What is there already needs not be created.
const EXISTS: &str = "already exist";

const NO_RECOVERY: &str = "Currently DM doesn't support recover relay workers. \
You may need to execute `transfer-source` and `start-relay` command manually.";

/// Everything is read before anything is sent.
pub(super) async fn run(job: &mut Job<'_>, path: &[&str], dir: &ConfigDir) -> Result<bool, Error> {
    if !dir.args.is_empty() {
        return Err(wrong_arguments(path, SEE_OUTPUT));
    }
    let layout = Layout::of(dir);
    if !Path::new(&layout.root).is_dir() {
        return Err(Error::Other(format!(
            "config directory `{}` not exists",
            layout.root
        )));
    }
    let sources = files::texts(&layout.sources)?;
    let tasks = files::texts(&layout.tasks)?;
    let has_relay_workers = has_relay_workers(&layout.relay_workers)?;
    let mut is_done = true;
    job.streams.say("start creating sources");
    for source in sources {
        is_done &= create(job, source).await?;
    }
    job.streams.say("start creating tasks");
    for task in tasks {
        is_done &= start(job, task).await?;
    }
    if has_relay_workers {
        let text = format!(
            "The original relay workers have been exported to `{}`.",
            layout.relay_workers.display()
        );
        job.streams.say(&text);
        job.streams.say(NO_RECOVERY);
    }
    let text = format!("import configs from directory `{}` succeed", layout.root);
    job.streams.say(&text);
    Ok(is_done)
}

fn has_relay_workers(path: &Path) -> Result<bool, Error> {
    if !path.exists() {
        return Ok(false);
    }
    let text = files::read(path)?;
    let workers: BTreeMap<String, Vec<String>> = serde_json::from_str(&text)
        .map_err(|error| Error::Other(format!("can not read {}: {error}", path.display())))?;
    Ok(!workers.is_empty())
}

async fn create(job: &mut Job<'_>, config: String) -> Result<bool, Error> {
    let request = pb::OperateSourceRequest {
        op: pb::SourceOp::StartSource.into(),
        config: vec![config],
        ..Default::default()
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.operate_source(request).await
        })
        .await?;
    if !answer.result && !answer.msg.contains(EXISTS) {
        job.print(&answer);
        return Err(Error::Other("fail to create sources".to_owned()));
    }
    Ok(!answer.result || all(&answer.sources))
}

async fn start(job: &mut Job<'_>, task: String) -> Result<bool, Error> {
    let request = pb::StartTaskRequest {
        task,
        ..Default::default()
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.start_task(request).await
        })
        .await?;
    if !answer.result && !answer.msg.contains(EXISTS) {
        job.print(&answer);
        return Err(Error::Other("fail to create tasks".to_owned()));
    }
    Ok(!answer.result || all(&answer.sources))
}
