//! `config`, the older `get-config` and `get-task-config`, and `encrypt`.

mod export;
mod files;
mod import;

use std::path::Path;

use dm_proto::pb::{self, CfgType};

use super::Job;
use crate::cli::{Config, ConfigAction, GetConfig, SEE_OUTPUT, wrong_arguments};
use crate::error::Error;

pub(super) async fn run(job: &mut Job<'_>, path: &[&str], config: &Config) -> Result<bool, Error> {
    let (kind, of) = match &config.action {
        None => return Ok(job.explain(path)),
        Some(ConfigAction::Export(dir)) => return export::run(job, path, dir).await,
        Some(ConfigAction::Import(dir)) => return import::run(job, path, dir).await,
        Some(ConfigAction::Task(of) | ConfigAction::Source(of)) if of.action.is_some() => {
            return Err(Error::Other(
                "this function will be supported later".to_owned(),
            ));
        }
        Some(ConfigAction::Task(of)) => (CfgType::TaskType, &of.show),
        Some(ConfigAction::Source(of)) => (CfgType::SourceType, &of.show),
        Some(ConfigAction::Master(of)) => (CfgType::MasterType, of),
        Some(ConfigAction::Worker(of)) => (CfgType::WorkerType, of),
        Some(ConfigAction::TaskTemplate(of)) => (CfgType::TaskTemplateType, of),
    };
    match of.args.as_slice() {
        [name] => show(job, kind, name, &of.path).await,
        _ => Ok(job.explain(path)),
    }
}

pub(super) async fn get(job: &mut Job<'_>, path: &[&str], get: &GetConfig) -> Result<bool, Error> {
    let [word, name] = get.args.as_slice() else {
        return Err(wrong_arguments(path, SEE_OUTPUT));
    };
    let kind = match word.as_str() {
        "task" => CfgType::TaskType,
        "master" => CfgType::MasterType,
        "worker" => CfgType::WorkerType,
        "source" => CfgType::SourceType,
        _ => {
            return Err(Error::Other(format!(
                "invalid config type '{word}', expected task, master, worker or source"
            )));
        }
    };
    show(job, kind, name, &get.file).await
}

pub(super) async fn get_task(
    job: &mut Job<'_>,
    path: &[&str],
    get: &GetConfig,
) -> Result<bool, Error> {
    let [name] = get.args.as_slice() else {
        return Err(wrong_arguments(path, SEE_OUTPUT));
    };
    show(job, CfgType::TaskType, name, &get.file).await
}

/// Prints a configuration, or writes it to `file` if that is not empty.
async fn show(job: &mut Job<'_>, kind: CfgType, name: &str, file: &str) -> Result<bool, Error> {
    let request = pb::GetCfgRequest {
        r#type: kind.into(),
        name: name.to_owned(),
    };
    let limit = Some(job.session.rpc_timeout);
    let answer = job
        .ask_within(limit, request, |mut master, request| async move {
            master.get_cfg(request).await
        })
        .await;
    let mut answer = answer.inspect_err(|_| {
        let note = format!("can not get {} config of {name}", kind.as_str_name());
        job.streams.say(&note);
    })?;
    if answer.result && !file.is_empty() {
        files::write(Path::new(file), &answer.cfg)?;
        answer.cfg.clear();
        answer.msg = format!("write config to file {file} succeed");
    }
    job.print(&answer);
    Ok(answer.result)
}

pub(super) async fn encrypt(
    job: &mut Job<'_>,
    path: &[&str],
    args: &[String],
) -> Result<bool, Error> {
    let [plaintext] = args else {
        return Ok(job.explain(path));
    };
    let request = pb::EncryptRequest {
        plaintext: plaintext.clone(),
    };
    let answer = job
        .ask(request, |mut master, request| async move {
            master.encrypt(request).await
        })
        .await?;
    if !answer.result {
        return Err(Error::Other(answer.msg));
    }
    job.streams.say(&answer.ciphertext);
    Ok(true)
}
