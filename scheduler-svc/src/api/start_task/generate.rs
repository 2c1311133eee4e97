//! From the text of a task file to complete subtask configurations.

use std::collections::BTreeMap;

use dm_errors::DmError;
use dm_keyspace::SourceId;
use dm_task::subtask::Meta;
use dm_task::{SourceConfig, SubtaskConfig, TaskConfig};
use futures::stream::{self, StreamExt};

use super::TaskConfigError;
use crate::api::source::DATABASES_AT_A_TIME;
use crate::api::{Api, Failure};
use crate::database::{binlog_position, target_version};

/// The import mode in which all sources load into one set of files.
pub(super) const PHYSICAL_IMPORT: &str = "physical";

/// A task file and what became of it.
pub(super) struct Generated {
    pub(super) config: TaskConfig,
    /// In the order of the file.
    pub(super) subtasks: Vec<SubtaskConfig>,
    /// The sources of the task.
    pub(super) sources: BTreeMap<SourceId, SourceConfig>,
}

impl Api {
    /// Reads the file, asks the target for its version and, where the task begins at the end of a binlog, the
    /// sources for theirs; then splits. `file` is for errors, it may be empty.
    pub(super) async fn generate(
        &self,
        file: &str,
        text: &str,
        has_start_time: bool,
    ) -> Result<Generated, Failure> {
        let mut config = match has_start_time {
            true => TaskConfig::from_yaml_with_start_time(file, text)?,
            false => TaskConfig::from_yaml(file, text)?,
        };
        if let Some(key) = &self.secret_key {
            config.decrypt(key);
        }
        let limit = self.limits.database_timeout;
        let version = target_version(&config.target_database, limit)
            .await
            .map_err(TaskConfigError::from)?;
        config.adjust_target_session(&version);
        let sources = self.source_configs(&config).await?;
        if config.task_mode == "incremental" && !has_start_time {
            self.find_positions(&mut config, &sources).await?;
        }
        let subtasks = config.split(&sources)?;
        Ok(Generated {
            config,
            subtasks,
            sources,
        })
    }

    /// The configurations of the task's sources.
    async fn source_configs(
        &self,
        config: &TaskConfig,
    ) -> Result<BTreeMap<SourceId, SourceConfig>, Failure> {
        let ids: Vec<SourceId> = config.source_ids().map(SourceId::from).collect();
        let named = ids.clone();
        let known = self
            .handle
            .read(move |m, _| {
                let is_complete = named.iter().all(|id| m.source_config(id).is_some());
                // Only to tell them to the user.
                (!is_complete).then(|| m.source_ids().cloned().collect::<Vec<_>>())
            })
            .await?;
        if let Some(known) = known {
            config.check_sources(&known)?;
        }
        let texts = self
            .handle
            .read(move |m, _| {
                let text = |id: SourceId| m.source_config(&id).map(|text| (id, text));
                ids.into_iter().filter_map(text).collect::<Vec<_>>()
            })
            .await?;
        let parse = |(id, text): (SourceId, bytes::Bytes)| {
            SourceConfig::from_toml(&String::from_utf8_lossy(&text))
                .map(|config| (id.clone(), config))
                .map_err(|e| e.annotate(format!("source {id}")))
        };
        Ok(texts
            .into_iter()
            .map(parse)
            .collect::<Result<BTreeMap<_, _>, DmError>>()?)
    }

    async fn find_positions(
        &self,
        config: &mut TaskConfig,
        sources: &BTreeMap<SourceId, SourceConfig>,
    ) -> Result<(), Failure> {
        let limit = self.limits.database_timeout;
        let open = config.mysql_instances.iter().enumerate();
        let open = open.filter_map(|(at, instance)| {
            let source = sources.get(instance.source_id.as_str())?;
            instance.meta.is_none().then(|| (at, source.clone()))
        });
        let asked: Vec<(usize, SourceConfig)> = open.collect();
        let ask = |(at, source): (usize, SourceConfig)| async move {
            binlog_position(&source, limit).await.map(|meta| (at, meta))
        };
        let asked = stream::iter(asked).map(ask).buffered(DATABASES_AT_A_TIME);
        // In the order of the file, so that the first source that fails is the one that is named.
        let found: Vec<Result<(usize, Meta), DmError>> = asked.collect().await;
        for found in found {
            let (at, meta) = found?;
            config.mysql_instances[at].meta = Some(meta);
        }
        Ok(())
    }
}
