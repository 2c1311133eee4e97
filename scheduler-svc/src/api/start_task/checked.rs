//! The checks before a task begins: `CheckTask`, and as a part of `StartTask` and `UpdateTask`.

use dm_errors::DmError;
use dm_keyspace::SourceId;
use dm_proto::pb;
use dm_task::start_time;
use tracing::instrument;

use super::chosen;
use super::generate::Generated;
use crate::api::{Api, Failure};
use crate::precheck::{self, Budget, Candidate};

impl Api {
    /// The text about the checks, or the error that they end in.
    pub(super) async fn precheck(
        &self,
        generated: &Generated,
        budget: Budget,
    ) -> Result<Result<String, DmError>, Failure> {
        let ids: Vec<SourceId> = generated.sources.keys().cloned().collect();
        let relayed = self
            .handle
            .read(move |m, _| {
                let relayed = ids.into_iter().filter(|id| m.has_relay_workers(id));
                relayed.collect::<Vec<_>>()
            })
            .await?;
        let candidate = |subtask: &dm_task::SubtaskConfig| {
            let source = generated.sources.get(subtask.source_id.as_str());
            Candidate {
                subtask: subtask.clone(),
                flavor: source.map(|s| s.flavor.clone()).unwrap_or_default(),
                enable_gtid: source.is_some_and(|s| s.enable_gtid),
                uses_relay: source.is_some_and(|s| s.enable_relay)
                    || relayed.iter().any(|id| id.as_str() == subtask.source_id),
            }
        };
        let candidates: Vec<Candidate> = generated.subtasks.iter().map(candidate).collect();
        let limits = precheck::Limits {
            query: self.limits.database_timeout,
            database: self.limits.precheck_timeout,
            all: precheck::MOST_TIME,
            concurrency: self.limits.rpc_concurrency.into(),
        };
        Ok(precheck::check(&candidates, budget, limits).await)
    }

    #[instrument(name = "check_task", skip_all, fields(dm.task))]
    pub(in crate::api) async fn check(
        &self,
        request: &pb::CheckTaskRequest,
        file: &str,
    ) -> Result<pb::CheckTaskResponse, Failure> {
        let has_start_time = !request.start_time.is_empty();
        if has_start_time {
            start_time::check(&request.start_time).map_err(Failure::Answer)?;
        }
        let generated = self.generate(file, &request.task, has_start_time).await?;
        tracing::Span::current().record("dm.task", &generated.config.name);
        let budget = Budget {
            errors: request.err_cnt,
            warnings: request.warn_cnt,
        };
        let msg = self.precheck(&generated, budget).await??;
        Ok(pb::CheckTaskResponse { result: true, msg })
    }

    /// As in DM, the file is checked and nothing is changed.
    #[instrument(name = "update_task", skip_all)]
    pub(in crate::api) async fn update(
        &self,
        request: &pb::UpdateTaskRequest,
        file: &str,
    ) -> Result<pb::UpdateTaskResponse, Failure> {
        let generated = self.generate(file, &request.task, false).await?;
        let checked = self.precheck(&generated, Budget::USUAL).await?;
        let check_result = match checked {
            Ok(passed) => passed,
            Err(failed) => {
                return Ok(pb::UpdateTaskResponse {
                    check_result: failed.to_string(),
                    ..Default::default()
                });
            }
        };
        let msg = generated.config.notices().join("\n");
        let sources = chosen(generated.subtasks, &request.sources).err();
        Ok(pb::UpdateTaskResponse {
            result: true,
            sources: sources.unwrap_or_default(),
            check_result,
            msg,
        })
    }
}
