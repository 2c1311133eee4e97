//! `shard-ddl-lock`, `shard-ddl-lock unlock`, and their older names.

use dm_proto::codec::LossyCodec;
use dm_proto::election::ShowDdlLocksResponse;
use dm_proto::pb;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Response, Status};

use super::{Job, at_most_one_task};
use crate::cli::{SEE_OUTPUT, Unlock, wrong_arguments};
use crate::connection::{self, Channel};
use crate::error::Error;
use crate::output::go_list;

/// Where DM's clients ask for the locks.
const SHOW: &str = "/pb.Master/ShowDDLLocks";

/// Prints the locks as DM does, or with what our masters tell beyond that; DM's own tell nothing more.
pub(super) async fn show(
    job: &mut Job<'_>,
    path: &[&str],
    args: &[String],
    detail: bool,
) -> Result<bool, Error> {
    let task = at_most_one_task(path, args)?.unwrap_or_default();
    let request = pb::ShowDdlLocksRequest {
        task: task.clone(),
        sources: job.sources.clone(),
    };
    let connection = &job.session.connection;
    let answer = connection.call(request, None, detailed).await;
    let answer = answer.inspect_err(|_| {
        let sources = go_list(&job.sources);
        let note = format!("can not show DDL locks for task {task} and sources {sources}");
        job.streams.say(&note);
    })?;
    if detail {
        job.print(&answer);
    } else {
        let ShowDdlLocksResponse {
            result, msg, locks, ..
        } = answer.clone();
        job.print(&pb::ShowDdlLocksResponse { result, msg, locks });
    }
    Ok(answer.result)
}

/// DM's call, read as the message that our masters answer with.
async fn detailed(
    channel: Channel,
    request: Request<pb::ShowDdlLocksRequest>,
) -> Result<Response<ShowDdlLocksResponse>, Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(connection::LARGEST_ANSWER);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(SHOW);
    client.unary(request, path, LossyCodec::default()).await
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
    let answer = job
        .ask(request, |mut master, request| async move {
            master.unlock_ddl_lock(request).await
        })
        .await;
    let answer = answer.inspect_err(|_| {
        job.streams.say(&format!("can not unlock DDL lock {id}"));
    })?;
    job.print(&answer);
    Ok(answer.result)
}
