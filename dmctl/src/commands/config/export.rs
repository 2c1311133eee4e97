//! `config export`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dm_keyspace::{RelayWorker, RelayWorkerKey};
use dm_store::KeyRange;

use super::Job;
use super::files::{self, Layout};
use crate::cli::{ConfigDir, SEE_OUTPUT, wrong_arguments};
use crate::error::Error;

/// Everything is asked for before anything is written.
pub(super) async fn run(job: &mut Job<'_>, path: &[&str], dir: &ConfigDir) -> Result<bool, Error> {
    if !dir.args.is_empty() {
        return Err(wrong_arguments(path, SEE_OUTPUT));
    }
    let layout = Layout::of(dir);
    let sources = job
        .ask((), |mut master, request| async move {
            master.list_source_configs(request).await
        })
        .await?;
    if !sources.result {
        return Err(Error::Other(sources.msg));
    }
    let tasks = job
        .ask((), |mut master, request| async move {
            master.list_task_configs(request).await
        })
        .await?;
    if !tasks.result {
        return Err(Error::Other(tasks.msg));
    }
    let relay_workers = relay_workers(job).await?;
    // A name of the cluster must not choose another directory.
    let mut names = sources
        .source_configs
        .keys()
        .chain(tasks.task_configs.keys());
    if let Some(name) = names.find(|name| name.contains('/')) {
        return Err(Error::Other(format!("`{name}` is no name for a file")));
    }
    write_each(&layout.sources, &sources.source_configs)?;
    write_each(&layout.tasks, &tasks.task_configs)?;
    if !relay_workers.is_empty() {
        let json = serde_json::json!(relay_workers).to_string();
        files::write(&layout.relay_workers, &json)?;
    }
    let text = format!("export configs to directory `{}` succeed", layout.root);
    job.streams.say(&text);
    Ok(true)
}

/// Workers by the source that they were told to relay, which only etcd knows. DM has no call for it.
async fn relay_workers(job: &Job<'_>) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let failed = |why: &dyn std::fmt::Display| {
        Error::Other(format!("can not get relay workers from etcd: {why}"))
    };
    let etcd = job.session.connection.etcd().await;
    let etcd = etcd.map_err(|error| failed(&error))?;
    let range = KeyRange::prefix(RelayWorkerKey::PREFIX);
    let snapshot = etcd.snapshot(&range).await;
    let snapshot = snapshot.map_err(|error| failed(&error))?;
    let mut workers = BTreeMap::<String, BTreeSet<String>>::new();
    for entry in snapshot.entries {
        let key = RelayWorkerKey::parse(&entry.key).map_err(|error| failed(&error))?;
        let value = RelayWorker::from_bytes(&entry.value).map_err(|error| failed(&error))?;
        workers
            .entry(value.source.as_str().to_owned())
            .or_default()
            .insert(key.worker.as_str().to_owned());
    }
    Ok(workers)
}

fn write_each(dir: &Path, configs: &BTreeMap<String, String>) -> Result<(), Error> {
    files::make(dir)?;
    for (name, text) in configs {
        files::write(&dir.join(format!("{name}.yaml")), text)?;
    }
    Ok(())
}
