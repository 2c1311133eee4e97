//! `shard-ddl-lock`, `shard-ddl-lock unlock`, and their older names.

use dm_proto::pb;

use super::{Job, at_most_one_task};
use crate::cli::{SEE_OUTPUT, Unlock, wrong_arguments};
use crate::connection;
use crate::error::Error;
use crate::output::go_list;

pub(super) async fn show(job: &mut Job<'_>, path: &[&str], args: &[String]) -> Result<bool, Error> {
    let task = at_most_one_task(path, args)?.unwrap_or_default();
    let request = pb::ShowDdlLocksRequest {
        task: task.clone(),
        sources: job.sources.clone(),
    };
    let connection = &job.session.connection;
    let answer = connection
        .call(request, None, |channel, request| async {
            connection::master(channel).show_ddl_locks(request).await
        })
        .await;
    let answer = answer.inspect_err(|_| {
        let sources = go_list(&job.sources);
        let note = format!("can not show DDL locks for task {task} and sources {sources}");
        job.streams.say(&note);
    })?;
    job.print(&answer);
    Ok(answer.result)
}

pub(super) async fn unlock(
    job: &mut Job<'_>,
    path: &[&str],
    unlock: &Unlock,
) -> Result<bool, Error> {
    let [id] = unlock.args.as_slice() else {
        return Err(wrong_arguments(path, SEE_OUTPUT));
    };
    let op = match unlock.action.as_str() {
        "skip" => pb::UnlockDdlLockOp::SkipLock,
        "exec" => pb::UnlockDdlLockOp::ExecLock,
        _ => {
            return Err(Error::Other(
                "please check --action argument, only exec/skip are acceptable".to_owned(),
            ));
        }
    };
    let request = pb::UnlockDdlLockRequest {
        id: id.clone(),
        replace_owner: unlock.owner.clone(),
        force_remove: unlock.force_remove,
        op: op.into(),
        sources: job.sources.clone(),
        database: unlock.database.clone(),
        table: unlock.table.clone(),
    };
    let connection = &job.session.connection;
    let answer = connection
        .call(request, None, |channel, request| async {
            connection::master(channel).unlock_ddl_lock(request).await
        })
        .await;
    let answer = answer.inspect_err(|_| {
        job.streams.say(&format!("can not unlock DDL lock {id}"));
    })?;
    job.print(&answer);
    Ok(answer.result)
}
