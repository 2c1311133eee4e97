//! `QueryStatus`: what the workers say, one row for each that was asked, whether it answers or not.

mod unsynced;

use std::collections::BTreeSet;

use dm_errors::{Code, DmError};
use dm_keyspace::{SourceId, TaskName};
use dm_proto::pb;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tracing::instrument;

use super::{Api, Failure, Freshness, Seen, sources, task};
use crate::machine::{BoundWorker, Scheduler};
use crate::workers::call_failed;

/// Whom to ask about which source, and the subtasks that should show up in the answers.
struct Inquiry {
    rows: Vec<(SourceId, Option<BoundWorker>)>,
    subtasks: Vec<(SourceId, TaskName)>,
}

impl Api {
    #[instrument(name = "query_status", skip_all, fields(dm.task = request.name))]
    pub(super) async fn query(
        &self,
        freshness: Freshness,
        request: &pb::QueryStatusListRequest,
    ) -> Result<Seen<pb::QueryStatusListResponse>, Failure> {
        let (name, named) = (task(&request.name), sources(&request.sources));
        let seen = self
            .look(freshness, move |m| inquiry(m, &name, &named))
            .await?;
        let inquiry = seen.value.map_err(Failure::Answer)?;
        let calls: FuturesUnordered<_> = inquiry
            .rows
            .into_iter()
            .enumerate()
            .map(|(at, row)| self.row(at, row, &request.name))
            .collect();
        let mut rows: Vec<(usize, pb::QueryStatusResponse)> = calls.collect().await;
        rows.sort_by(|(a, x), (b, y)| (source_of(x), a).cmp(&(source_of(y), b)));
        let mut answers: Vec<pb::QueryStatusResponse> =
            rows.into_iter().map(|(_, answer)| answer).collect();
        self.add_unsynced(&request.name, &mut answers).await;
        add_unasked(&mut answers, inquiry.subtasks);
        let value = pb::QueryStatusListResponse {
            result: true,
            msg: String::new(),
            sources: answers,
        };
        Ok(Seen { value, at: seen.at })
    }

    async fn row(
        &self,
        at: usize,
        (source, worker): (SourceId, Option<BoundWorker>),
        task: &str,
    ) -> (usize, pb::QueryStatusResponse) {
        let Some(worker) = worker else {
            let error = DmError::new(Code::MASTER_WORKER_ARGS_EXTRACTOR, &[])
                .message(format!("{source} relevant worker-client not found"));
            return (at, failed(&source, "", error.to_string()));
        };
        let answer = match self.workers.query_status(&worker.addr, task).await {
            Ok(answer) => completed(answer, &source, worker.worker.as_str()),
            Err(status) => failed(
                &source,
                worker.worker.as_str(),
                call_failed(&status).to_string(),
            ),
        };
        (at, answer)
    }
}

/// The text of the error is DM's own and has no code.
fn inquiry(m: &Scheduler, name: &TaskName, named: &[SourceId]) -> Result<Inquiry, String> {
    let missing: Vec<&str> = named
        .iter()
        .filter(|id| m.source_config(id).is_none())
        .map(SourceId::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "sources [{}] haven't been added",
            missing.join(" ")
        ));
    }
    let asked: Vec<SourceId> = if !named.is_empty() {
        named.to_vec()
    } else if !name.is_empty() {
        m.sources_of_task(name).into_iter().collect()
    } else {
        m.bound_sources().cloned().collect()
    };
    if asked.is_empty() && !name.is_empty() {
        return Err(format!("task {name} has no source or not exist"));
    }
    let rows = asked
        .iter()
        .flat_map(|id| rows_of(m, id, !named.is_empty()))
        .collect();
    // With a task's name only those are shown that were asked about.
    let mut subtasks = Vec::new();
    if name.is_empty() {
        let is_wanted = |id: &SourceId| named.is_empty() || named.contains(id);
        let all = m.subtasks().filter(|(id, _)| is_wanted(id));
        subtasks.extend(all.map(|(id, task)| (id.clone(), task.clone())));
    }
    Ok(Inquiry { rows, subtasks })
}

/// Relay workers are asked only about sources that the user has named.
fn rows_of(m: &Scheduler, id: &SourceId, with_relay: bool) -> Vec<(SourceId, Option<BoundWorker>)> {
    let workers = if with_relay {
        m.workers_of_source(id)
    } else {
        m.bound_worker(id).into_iter().collect()
    };
    if workers.is_empty() {
        return vec![(id.clone(), None)];
    }
    workers
        .into_iter()
        .map(|worker| (id.clone(), Some(worker)))
        .collect()
}

fn completed(
    mut answer: pb::QueryStatusResponse,
    source: &SourceId,
    worker: &str,
) -> pb::QueryStatusResponse {
    let status = answer.source_status.get_or_insert_default();
    if status.worker.is_empty() {
        worker.clone_into(&mut status.worker);
    }
    source.as_str().clone_into(&mut status.source);
    answer
}

fn failed(source: &SourceId, worker: &str, msg: String) -> pb::QueryStatusResponse {
    completed(
        pb::QueryStatusResponse {
            result: false,
            msg,
            ..Default::default()
        },
        source,
        worker,
    )
}

fn source_of(answer: &pb::QueryStatusResponse) -> &str {
    answer.source_status.as_ref().map_or("", |s| &s.source)
}

/// Subtasks of sources that no worker was asked about are shown with their names alone.
fn add_unasked(answers: &mut Vec<pb::QueryStatusResponse>, subtasks: Vec<(SourceId, TaskName)>) {
    let shown: BTreeSet<String> = answers.iter().map(|a| source_of(a).to_owned()).collect();
    let mut added: Vec<pb::QueryStatusResponse> = Vec::new();
    for (source, task) in subtasks
        .into_iter()
        .filter(|(id, _)| !shown.contains(id.as_str()))
    {
        let row = pb::SubTaskStatus {
            name: task.to_string(),
            ..Default::default()
        };
        match added
            .last_mut()
            .filter(|last| source_of(last) == source.as_str())
        {
            Some(last) => last.sub_task_status.push(row),
            None => {
                let msg = format!(
                    "can't find task={task} from dm-worker for source={source}, please use dmctl list-member to check \
                     if worker is offline."
                );
                let mut entry = failed(&source, "source not bound", msg);
                entry.sub_task_status.push(row);
                added.push(entry);
            }
        }
    }
    answers.extend(added);
    answers.sort_by(|a, b| source_of(a).cmp(source_of(b)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_37_tasks_of_unbound_sources_are_listed_by_name() {
        let mut answers = vec![completed(
            pb::QueryStatusResponse::default(),
            &"s2".into(),
            "w2",
        )];
        let subtasks = [("s1", "t1"), ("s1", "t2"), ("s2", "t1"), ("s3", "t1")];
        add_unasked(
            &mut answers,
            subtasks.map(|(s, t)| (s.into(), t.into())).into(),
        );
        let shown: Vec<(&str, usize)> = answers
            .iter()
            .map(|a| (source_of(a), a.sub_task_status.len()))
            .collect();
        assert_eq!(shown, [("s1", 2), ("s2", 0), ("s3", 1)]);
        assert_eq!(
            answers[0].source_status.as_ref().unwrap().worker,
            "source not bound"
        );
        assert!(
            answers[0]
                .msg
                .starts_with("can't find task=t1 from dm-worker for source=s1, ")
        );
    }
}
