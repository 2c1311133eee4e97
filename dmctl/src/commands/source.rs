//! `operate-source`, `transfer-source`.

use dm_proto::pb;
use dm_task::SourceConfig;

use super::task::all;
use super::{Job, read_file, tls_content};
use crate::cli::{OperateSource, SEE_OUTPUT, wrong_arguments};
use crate::error::Error;

const SAMPLE: &str = include_str!("source/sample.yaml");

const ONE_WORKER: &str = "operate-source create can't create multiple sources when specify worker";
const RELAY_DIR: &str = "`relay-dir` in source config will be deprecated soon, please use `relay-dir` in worker config instead";

pub(super) async fn operate(job: &mut Job<'_>, operate: &OperateSource) -> Result<bool, Error> {
    if operate.print_sample_config {
        job.streams.say(SAMPLE.trim_end());
        return Ok(true);
    }
    let Some((word, files)) = operate.args.split_first() else {
        return Err(wrong_arguments(&["operate-source"], SEE_OUTPUT));
    };
    let op = match word.as_str() {
        "create" => pb::SourceOp::StartSource,
        "update" => pb::SourceOp::UpdateSource,
        "stop" => pb::SourceOp::StopSource,
        "show" => pb::SourceOp::ShowSource,
        _ => {
            return Err(Error::Other(format!(
                "invalid operate '{word}' on worker, expected create, update, stop or show"
            )));
        }
    };
    if op != pb::SourceOp::ShowSource && files.is_empty() {
        return Err(Error::Other(
            "operate-source create/stop should specify config-file(s)".to_owned(),
        ));
    }
    let mut request = pb::OperateSourceRequest {
        op: op.into(),
        source_id: job.sources.clone(),
        ..Default::default()
    };
    for file in files {
        match read_file(file) {
            Ok(text) => request.config.push(prepared(job, op, file, text)?),
            Err(_) if op == pb::SourceOp::StopSource => request.source_id.push(file.clone()),
            Err(error) => return Err(error),
        }
    }
    if op == pb::SourceOp::StartSource && !operate.worker.is_empty() {
        if files.len() > 1 {
            job.streams.say(ONE_WORKER);
        }
        request.worker_name.clone_from(&operate.worker);
    }
    let answer = job
        .ask(request, |mut master, request| async move {
            master.operate_source(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result && all(&answer.sources))
}

pub(super) async fn transfer(job: &mut Job<'_>, args: &[String]) -> Result<bool, Error> {
    let [source, worker] = args else {
        return Err(wrong_arguments(&["transfer-source"], SEE_OUTPUT));
    };
    let request = pb::TransferSourceRequest {
        source: source.clone(),
        worker: worker.clone(),
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.transfer_source(request).await
        })
        .await?;
    job.print(&answer);
    Ok(answer.result)
}

/// The text to send for a file. Where only the id counts, the rest may be of another cluster's taste.
fn prepared(
    job: &mut Job<'_>,
    op: pb::SourceOp,
    file: &str,
    text: String,
) -> Result<String, Error> {
    if matches!(op, pb::SourceOp::StopSource | pb::SourceOp::ShowSource) {
        SourceConfig::id_from_yaml(file, &text)?;
        return Ok(text);
    }
    let config = SourceConfig::from_yaml(file, &text)?;
    if !config.relay_dir.is_empty() {
        job.streams.say(RELAY_DIR);
    }
    match tls_content::embed(&text, "from", config.from.security.as_ref()) {
        Ok(Some(embedded)) => {
            SourceConfig::from_yaml(file, &embedded)?;
            Ok(embedded)
        }
        Ok(None) => Ok(text),
        Err(error) => {
            job.streams.complain(&format!("[warn] {error}"));
            Ok(text)
        }
    }
}
