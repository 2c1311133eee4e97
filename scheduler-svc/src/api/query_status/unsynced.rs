//! Shard groups that a worker does not know of yet: the pessimist has a lock for them, because other sources have met
//! the DDL and this one has not.

use std::collections::BTreeSet;

use dm_keyspace::{Role, TaskName};
use dm_proto::pb;
use dm_proto::pb::sub_task_status::Status as Unit;
use dm_proto::pessimist::pessimist_client::PessimistClient;
use tonic::Request;

use super::source_of;
use crate::api::{Api, Failure};
use crate::machine::Scheduler;

const UNSYNCED: &str = "this DM-worker doesn't receive any shard DDL of this group";
/// How the configuration of a subtask says that the pessimist coordinates it.
const PESSIMISTIC: &[u8] = b"shard-mode = \"pessimistic\"";

impl Api {
    /// Adds the groups to subtasks that replicate and know of none. Without a pessimist the answers stay as they are:
    /// they are true, if not complete.
    pub(super) async fn add_unsynced(&self, name: &str, answers: &mut [pb::QueryStatusResponse]) {
        let statuses = answers.iter().flat_map(|answer| &answer.sub_task_status);
        let tasks: BTreeSet<TaskName> = statuses
            .filter(|status| knows_of_none(status))
            .map(|status| TaskName::from(status.name.as_str()))
            .collect();
        if tasks.is_empty() {
            return;
        }
        match self.locks(name, tasks).await {
            Ok(locks) => answers.iter_mut().for_each(|answer| add(&locks, answer)),
            Err(failure) => tracing::warn!(?failure, "the answer goes without shard groups"),
        }
    }

    async fn locks(
        &self,
        name: &str,
        tasks: BTreeSet<TaskName>,
    ) -> Result<Vec<pb::DdlLock>, Failure> {
        let is_any = move |m: &Scheduler, _| tasks.iter().any(|task| is_pessimistic(m, task));
        if !self.handle.read(is_any).await? {
            return Ok(Vec::new());
        }
        let mut request = Request::new(pb::ShowDdlLocksRequest {
            task: name.to_owned(),
            sources: Vec::new(),
        });
        request.set_timeout(self.limits.rpc_timeout);
        let mut pessimist = PessimistClient::new(self.leader_of(Role::Pessimist).await?)
            .max_decoding_message_size(crate::workers::MOST_ANSWER_BYTES);
        let answer = pessimist.show_ddl_locks(request).await?;
        Ok(answer.into_inner().locks)
    }
}

/// All subtasks of a task are of one mode.
fn is_pessimistic(m: &Scheduler, task: &TaskName) -> bool {
    let first = m.sources_of_task(task).into_iter().next();
    let text = first.and_then(|id| m.subtask_config(&id, task));
    text.is_some_and(|text| {
        text.windows(PESSIMISTIC.len())
            .any(|part| part == PESSIMISTIC)
    })
}

fn knows_of_none(status: &pb::SubTaskStatus) -> bool {
    matches!(&status.status, Some(Unit::Sync(sync)) if sync.unresolved_groups.is_empty())
}

fn add(locks: &[pb::DdlLock], answer: &mut pb::QueryStatusResponse) {
    let source = source_of(answer).to_owned();
    let involved = |lock: &&pb::DdlLock| {
        let mut members = lock.synced.iter().chain(&lock.unsynced);
        members.any(|member| *member == source)
    };
    let unknowing = answer.sub_task_status.iter_mut();
    for status in unknowing.filter(|status| knows_of_none(status)) {
        let Some(Unit::Sync(sync)) = &mut status.status else {
            continue;
        };
        let of_task = locks.iter().filter(|lock| lock.task == status.name);
        let groups = of_task.filter(involved).map(|lock| {
            let table = lock.id.strip_prefix(&format!("{}-", lock.task));
            pb::ShardingGroup {
                target: table.unwrap_or(&lock.id).to_owned(),
                unsynced: vec![UNSYNCED.to_owned()],
                ..Default::default()
            }
        });
        sync.unresolved_groups = groups.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_of_the_task_that_waits_for_the_source_is_a_group_of_it() {
        let lock = |id: &str, task: &str, synced: &[&str], unsynced: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
            pb::DdlLock {
                id: id.into(),
                task: task.into(),
                synced: owned(synced),
                unsynced: owned(unsynced),
                ..Default::default()
            }
        };
        let locks = [
            lock("a-b-`s`.`t`", "a-b", &["s2"], &["s1"]),
            lock("a-b-`s`.`u`", "a-b", &["s2"], &["s3"]),
            lock("a-`s`.`t`", "a", &["s1"], &[]),
        ];
        let status = |groups: &[&str]| pb::SubTaskStatus {
            name: "a-b".into(),
            status: Some(Unit::Sync(pb::SyncStatus {
                unresolved_groups: groups
                    .iter()
                    .map(|target| pb::ShardingGroup {
                        target: (*target).to_owned(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })),
            ..Default::default()
        };
        let shown = |groups: &[&str]| {
            let mut answer = pb::QueryStatusResponse {
                source_status: Some(pb::SourceStatus {
                    source: "s1".into(),
                    ..Default::default()
                }),
                sub_task_status: vec![status(groups)],
                ..Default::default()
            };
            add(&locks, &mut answer);
            let Some(Unit::Sync(sync)) = answer.sub_task_status.remove(0).status else {
                panic!("no sync status");
            };
            sync.unresolved_groups
        };
        let groups = shown(&[]);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].target, "`s`.`t`");
        assert_eq!(groups[0].unsynced, [UNSYNCED]);
        assert_eq!(shown(&["known"])[0].target, "known");
    }
}
