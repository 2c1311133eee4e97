//! DDL locks of both modes behind DM's two methods.

use axum::body::Body;
use axum::extract::State;
use dm_keyspace::Role;
use dm_proto::optimist::optimist_client::OptimistClient;
use dm_proto::pb;
use dm_proto::pessimist::pessimist_client::PessimistClient;
use http::{Request, Response};
use tonic::Status;

use super::master::Door;
use super::unary;

/// DM's words for an empty list.
const NONE: &str = "no DDL lock exists";

/// `pb.Master/ShowDDLLocks`: the pessimist's, then the optimist's.
pub(super) async fn show(State(door): State<Door>, request: Request<Body>) -> Response<Body> {
    unary::answer(request, move |message| {
        let door = door.clone();
        async move {
            Ok(merged(
                pessimistic(&door, &message).await,
                optimistic(&door, &message).await,
            ))
        }
    })
    .await
}

async fn pessimistic(
    door: &Door,
    request: &pb::ShowDdlLocksRequest,
) -> Result<Vec<pb::DdlLock>, Status> {
    let channel = door.roles().channel(Role::Pessimist).await?;
    Ok(PessimistClient::new(channel)
        .show_ddl_locks(request.clone())
        .await?
        .into_inner()
        .locks)
}

async fn optimistic(
    door: &Door,
    request: &pb::ShowDdlLocksRequest,
) -> Result<Vec<pb::DdlLock>, Status> {
    let channel = door.roles().channel(Role::Optimist).await?;
    Ok(OptimistClient::new(channel)
        .show_ddl_locks(request.clone())
        .await?
        .into_inner()
        .locks)
}

/// A coordinator that does not answer is named; the other's locks are shown all the same.
fn merged(
    pessimistic: Result<Vec<pb::DdlLock>, Status>,
    optimistic: Result<Vec<pb::DdlLock>, Status>,
) -> pb::ShowDdlLocksResponse {
    let mut locks = Vec::new();
    let mut missing = Vec::new();
    for (mode, part) in [("pessimistic", pessimistic), ("optimistic", optimistic)] {
        match part {
            Ok(part) => locks.extend(part),
            Err(status) => missing.push(format!(
                "the {mode} locks are not known: {}",
                status.message()
            )),
        }
    }
    let msg = match (missing.is_empty(), locks.is_empty()) {
        (false, _) => missing.join("; "),
        (true, true) => NONE.to_owned(),
        (true, false) => String::new(),
    };
    pb::ShowDdlLocksResponse {
        result: missing.is_empty(),
        msg,
        locks,
    }
}

/// `pb.Master/UnlockDDLLock`: to the coordinator that has the lock; the pessimist says so when nobody has.
pub(super) async fn unlock(State(door): State<Door>, request: Request<Body>) -> Response<Body> {
    unary::answer(request, move |message: pb::UnlockDdlLockRequest| {
        let door = door.clone();
        async move {
            let is_optimistic = optimistic(&door, &pb::ShowDdlLocksRequest::default())
                .await
                .is_ok_and(|locks| locks.iter().any(|lock| lock.id == message.id));
            if is_optimistic {
                let channel = door.roles().channel(Role::Optimist).await?;
                return Ok(OptimistClient::new(channel)
                    .unlock_ddl_lock(message)
                    .await?
                    .into_inner());
            }
            let channel = door.roles().channel(Role::Pessimist).await?;
            Ok(PessimistClient::new(channel)
                .unlock_ddl_lock(message)
                .await?
                .into_inner())
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(id: &str) -> pb::DdlLock {
        pb::DdlLock {
            id: id.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn no_lock_at_all_is_said_in_dms_words() {
        let answer = merged(Ok(Vec::new()), Ok(Vec::new()));
        assert_eq!((answer.result, answer.msg.as_str()), (true, NONE));
    }

    #[test]
    fn silent_coordinator_does_not_hide_the_others_locks() {
        let answer = merged(Ok(vec![lock("a")]), Err(Status::unavailable("gone")));
        assert_eq!(answer.locks.len(), 1);
        assert!(!answer.result && answer.msg.contains("optimistic locks are not known: gone"));
    }

    #[test]
    fn pessimistic_locks_come_first() {
        let answer = merged(Ok(vec![lock("p")]), Ok(vec![lock("o")]));
        assert_eq!(
            answer
                .locks
                .iter()
                .map(|l| l.id.as_str())
                .collect::<Vec<_>>(),
            ["p", "o"]
        );
    }
}
