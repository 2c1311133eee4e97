//! Configurations as users see them: `GetCfg`, `GetSubTaskCfg`, `ListTaskConfigs`, `ListSourceConfigs`; and
//! `Encrypt`, for passwords in files.

use std::collections::BTreeMap;

use bytes::Bytes;
use dm_errors::DmError;
use dm_keyspace::{SourceId, TaskName, WorkerName};
use dm_proto::pb::{self, CfgType};
use dm_task::task::{exported_yaml, shown_yaml};
use dm_task::{Secret, SourceConfig, SubtaskConfig};
use rand::TryRngCore;
use rand::rngs::OsRng;
use tracing::instrument;

use super::{Api, Failure, Freshness, Seen};
use crate::machine::Scheduler;
use crate::workers::call_failed;

const NO_KEY: &str = "secret key not initialized. To enable encryption:
1. Create a file containing a 32-byte (64-character) hexadecimal AES-256 secret key.
2. Set 'secret-key-path' in DM-master's configuration file to point to this key file.
3. Restart DM-master to apply the configuration.
For details, see: https://docs.pingcap.com/tidb/stable/dm-customized-secret-key";

impl Api {
    #[instrument(name = "get_cfg", skip_all, fields(dm.name = request.name, dm.kind = request.r#type().as_str_name()))]
    pub(super) async fn shown_config(
        &self,
        freshness: Freshness,
        request: pb::GetCfgRequest,
    ) -> Result<Seen<pb::GetCfgResponse>, Failure> {
        let name = request.name.clone();
        let (text, at) = match request.r#type() {
            CfgType::TaskType => self.shown_task(freshness, name).await?,
            CfgType::SourceType => self.shown_source(freshness, name).await?,
            CfgType::WorkerType => self.worker_config(freshness, name).await?,
            // Templates are made and read through DM's REST interface alone.
            CfgType::TaskTemplateType => return Err(missing("task")),
            other @ (CfgType::InvalidType | CfgType::MasterType) => {
                return Err(Failure::Answer(format!(
                    "invalid config op '{}'",
                    other.as_str_name()
                )));
            }
        };
        let value = pb::GetCfgResponse {
            result: true,
            msg: String::new(),
            cfg: text,
        };
        Ok(Seen { value, at })
    }

    async fn shown_task(
        &self,
        freshness: Freshness,
        name: String,
    ) -> Result<(String, dm_store::Revision), Failure> {
        let task = super::task(&name);
        let seen = self.look(freshness, move |m| texts(m, &task)).await?;
        let yaml = shown_yaml(&parsed(&seen.value)?)?;
        Ok((yaml.ok_or_else(|| missing("task"))?, seen.at))
    }

    async fn shown_source(
        &self,
        freshness: Freshness,
        name: String,
    ) -> Result<(String, dm_store::Revision), Failure> {
        let id = SourceId::from(name);
        let seen = self.look(freshness, move |m| m.source_config(&id)).await?;
        let text = seen.value.ok_or_else(|| missing("source"))?;
        Ok((source(&text)?.to_shown_yaml()?, seen.at))
    }

    async fn worker_config(
        &self,
        freshness: Freshness,
        name: String,
    ) -> Result<(String, dm_store::Revision), Failure> {
        let worker = WorkerName::from(name);
        let seen = self
            .look(freshness, move |m| m.worker_addr(&worker))
            .await?;
        let addr = seen.value.ok_or_else(|| missing("worker"))?;
        let ask = |mut worker: super::WorkerClient, request| async move {
            worker.get_worker_cfg(request).await
        };
        let answer = self
            .workers
            .call(&addr, pb::GetWorkerCfgRequest {}, ask)
            .await;
        let answer = answer.map_err(|status| call_failed(&status))?;
        Ok((answer.cfg, seen.at))
    }

    pub(super) async fn subtask_texts(
        &self,
        freshness: Freshness,
        name: String,
    ) -> Result<Seen<pb::GetSubTaskCfgResponse>, Failure> {
        let task = super::task(&name);
        let seen = self.look(freshness, move |m| texts(m, &task)).await?;
        if seen.value.is_empty() {
            return Err(missing("task"));
        }
        let text = |text: &Bytes| String::from_utf8_lossy(text).into_owned();
        let value = pb::GetSubTaskCfgResponse {
            result: true,
            msg: String::new(),
            cfgs: seen.value.iter().map(text).collect(),
        };
        Ok(Seen { value, at: seen.at })
    }

    /// Every task as a file to import again.
    #[instrument(name = "list_task_configs", skip_all)]
    pub(super) async fn exported_tasks(
        &self,
        freshness: Freshness,
    ) -> Result<Seen<pb::ListTaskConfigsResponse>, Failure> {
        let all = |m: &Scheduler| {
            let task = |name: &TaskName| (name.clone(), texts(m, name));
            m.task_names().map(task).collect::<Vec<_>>()
        };
        let seen = self.look(freshness, all).await?;
        let mut files = BTreeMap::new();
        for (name, texts) in seen.value {
            let failed = |error: DmError| {
                Failure::Answer(format!("failed to marshal task config of {name}: {error}"))
            };
            let subtasks = parsed(&texts).map_err(failed)?;
            let Some(first) = subtasks.first() else {
                continue;
            };
            let password = self.sealed(&first.to.password)?;
            if let Some(file) = exported_yaml(&subtasks, &password).map_err(failed)? {
                files.insert(name.to_string(), file);
            }
        }
        let value = pb::ListTaskConfigsResponse {
            result: true,
            msg: String::new(),
            task_configs: files,
        };
        Ok(Seen { value, at: seen.at })
    }

    /// Every source as a file to import again.
    #[instrument(name = "list_source_configs", skip_all)]
    pub(super) async fn exported_sources(
        &self,
        freshness: Freshness,
    ) -> Result<Seen<pb::ListSourceConfigsResponse>, Failure> {
        let all = |m: &Scheduler| {
            let text = |id: &SourceId| m.source_config(id).map(|text| (id.clone(), text));
            m.source_ids().filter_map(text).collect::<Vec<_>>()
        };
        let seen = self.look(freshness, all).await?;
        let mut files = BTreeMap::new();
        for (id, text) in seen.value {
            let failed = |error: DmError| {
                Failure::Answer(format!("fail to marshal source config of {id}: {error}"))
            };
            let config = source(&text).map_err(failed)?;
            let password = self.sealed(&config.from.password)?;
            files.insert(
                id.to_string(),
                config.to_exported_yaml(password).map_err(failed)?,
            );
        }
        let value = pb::ListSourceConfigsResponse {
            result: true,
            msg: String::new(),
            source_configs: files,
        };
        Ok(Seen { value, at: seen.at })
    }

    /// A password for a file: encrypted if there is a key, as it is without one.
    fn sealed(&self, password: &Secret) -> Result<Secret, Failure> {
        match &self.secret_key {
            Some(_) => Ok(Secret::from(self.encrypted(password.expose())?)),
            None => Ok(password.clone()),
        }
    }

    pub(super) fn encrypted(&self, clear: &str) -> Result<String, Failure> {
        let Some(key) = &self.secret_key else {
            return Err(Failure::Answer(NO_KEY.to_owned()));
        };
        let mut iv = [0; 16];
        OsRng
            .try_fill_bytes(&mut iv)
            .map_err(|error| Failure::Answer(format!("no random bytes are to be had: {error}")))?;
        Ok(key.encrypt(iv, clear))
    }
}

fn missing(what: &str) -> Failure {
    Failure::Answer(format!("{what} not found"))
}

/// The configurations of a task's subtasks, by source.
fn texts(m: &Scheduler, task: &TaskName) -> Vec<Bytes> {
    let sources = m.sources_of_task(task);
    let text = |id| m.subtask_config(&id, task);
    sources.into_iter().filter_map(text).collect()
}

fn parsed(texts: &[Bytes]) -> Result<Vec<SubtaskConfig>, DmError> {
    let parse = |text: &Bytes| SubtaskConfig::from_toml(&String::from_utf8_lossy(text));
    texts.iter().map(parse).collect()
}

fn source(text: &[u8]) -> Result<SourceConfig, DmError> {
    SourceConfig::from_toml(&String::from_utf8_lossy(text))
}
