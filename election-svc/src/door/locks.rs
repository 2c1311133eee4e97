//! DDL locks of both modes behind DM's two methods.

use axum::body::Body;
use axum::extract::State;
use dm_proto::election::ShowDdlLocksResponse;
use dm_proto::pb;
use dm_service::layers::forward::WITHOUT_DETAILS;
use http::{Request, Response};
use tonic::Status;
use tonic::metadata::MetadataValue;

use super::master::Door;
use super::unary;

/// DM's words for an empty list.
const NONE: &str = "no DDL lock exists";

/// `pb.Master/ShowDDLLocks`: the pessimist's, then the optimist's.
pub(super) async fn show(State(door): State<Door>, request: Request<Body>) -> Response<Body> {
    unary::answer(request, move |message: pb::ShowDdlLocksRequest| {
        let door = door.clone();
        async move {
            let optimistic = optimistic(&door, tonic::Request::new(message.clone()));
            let (pessimistic, optimistic) = tokio::join!(pessimistic(&door, &message), optimistic);
            Ok(merged(pessimistic, optimistic))
        }
    })
    .await
}

async fn pessimistic(
    door: &Door,
    request: &pb::ShowDdlLocksRequest,
) -> Result<dm_proto::pessimist::ShowDdlLocksResponse, Status> {
    let mut pessimist = door.pessimist().await?;
    Ok(pessimist
        .show_ddl_locks(request.clone())
        .await?
        .into_inner())
}

async fn optimistic(
    door: &Door,
    request: tonic::Request<pb::ShowDdlLocksRequest>,
) -> Result<dm_proto::optimist::ShowDdlLocksResponse, Status> {
    let mut optimist = door.optimist().await?;
    Ok(optimist.show_ddl_locks(request).await?.into_inner())
}

/// A coordinator that does not answer is named; the other's locks are shown all the same, with what it says of them.
fn merged(
    pessimistic: Result<dm_proto::pessimist::ShowDdlLocksResponse, Status>,
    optimistic: Result<dm_proto::optimist::ShowDdlLocksResponse, Status>,
) -> ShowDdlLocksResponse {
    let mut shown = ShowDdlLocksResponse {
        result: pessimistic.is_ok() && optimistic.is_ok(),
        ..Default::default()
    };
    let mut said = Vec::new();
    match pessimistic {
        Ok(part) => {
            shown.locks.extend(part.locks);
            shown.pessimistic = part.details;
            said.push(part.msg);
        }
        Err(status) => said.push(unknown("pessimistic", &status)),
    }
    match optimistic {
        Ok(part) => {
            shown.locks.extend(part.locks);
            shown.optimistic = part.details;
            said.push(part.msg);
        }
        Err(status) => said.push(unknown("optimistic", &status)),
    }
    said.retain(|text| !text.is_empty() && text != NONE);
    if said.is_empty() && shown.locks.is_empty() {
        said.push(NONE.to_owned());
    }
    shown.msg = said.join("; ");
    shown
}

fn unknown(mode: &str, status: &Status) -> String {
    format!("the {mode} locks are not known: {}", status.message())
}

/// Where a request to unlock goes.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Pessimist,
    Optimist,
    /// Whoever has it may be the one that does not answer: this is said instead.
    Nowhere(String),
}

/// To the one that has the lock; the pessimist says so when nobody has.
fn way(
    id: &str,
    pessimistic: Result<Vec<pb::DdlLock>, Status>,
    optimistic: Result<Vec<pb::DdlLock>, Status>,
) -> Way {
    let has = |locks: &Result<Vec<pb::DdlLock>, Status>| matches!(locks, Ok(locks) if locks.iter().any(|lock| lock.id == id));
    if has(&optimistic) {
        return Way::Optimist;
    }
    if has(&pessimistic) {
        return Way::Pessimist;
    }
    let silent = [("pessimistic", pessimistic), ("optimistic", optimistic)];
    let silent: Vec<String> = silent
        .into_iter()
        .filter_map(|(mode, part)| Some(unknown(mode, &part.err()?)))
        .collect();
    if silent.is_empty() {
        Way::Pessimist
    } else {
        Way::Nowhere(format!("lock {id} is not known, and {}", silent.join("; ")))
    }
}

/// `pb.Master/UnlockDDLLock`: to the coordinator that has the lock.
pub(super) async fn unlock(State(door): State<Door>, request: Request<Body>) -> Response<Body> {
    unary::answer(request, move |message: pb::UnlockDdlLockRequest| {
        let door = door.clone();
        async move {
            let all = pb::ShowDdlLocksRequest::default();
            let mut brief = tonic::Request::new(all.clone());
            brief
                .metadata_mut()
                .insert(WITHOUT_DETAILS, MetadataValue::from_static("true"));
            let (pessimistic, optimistic) =
                tokio::join!(pessimistic(&door, &all), optimistic(&door, brief));
            let way = way(
                &message.id,
                pessimistic.map(|part| part.locks),
                optimistic.map(|part| part.locks),
            );
            let answer = match way {
                Way::Optimist => door.optimist().await?.unlock_ddl_lock(message).await?,
                Way::Pessimist => door.pessimist().await?.unlock_ddl_lock(message).await?,
                Way::Nowhere(msg) => {
                    let result = false;
                    return Ok(pb::UnlockDdlLockResponse { result, msg });
                }
            };
            Ok(answer.into_inner())
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

    fn pessimistic(ids: &[&str]) -> dm_proto::pessimist::ShowDdlLocksResponse {
        dm_proto::pessimist::ShowDdlLocksResponse {
            locks: ids.iter().map(|id| lock(id)).collect(),
            details: ids.iter().map(|_| Default::default()).collect(),
            ..Default::default()
        }
    }

    fn optimistic(ids: &[&str]) -> dm_proto::optimist::ShowDdlLocksResponse {
        dm_proto::optimist::ShowDdlLocksResponse {
            locks: ids.iter().map(|id| lock(id)).collect(),
            details: ids.iter().map(|_| Default::default()).collect(),
            ..Default::default()
        }
    }

    fn gone<T>() -> Result<T, Status> {
        Err(Status::unavailable("gone"))
    }

    #[test]
    fn no_lock_at_all_is_said_in_dms_words() {
        let answer = merged(Ok(pessimistic(&[])), Ok(optimistic(&[])));
        assert_eq!((answer.result, answer.msg.as_str()), (true, NONE));
    }

    #[test]
    fn silent_coordinator_does_not_hide_the_others_locks() {
        let answer = merged(Ok(pessimistic(&["a"])), gone());
        assert_eq!(answer.locks.len(), 1);
        assert!(!answer.result && answer.msg.contains("optimistic locks are not known: gone"));
    }

    #[test]
    fn what_a_coordinator_says_of_its_locks_is_passed_on() {
        let mut part = optimistic(&["o"]);
        part.msg = "why it stands still".to_owned();
        let answer = merged(
            Ok(dm_proto::pessimist::ShowDdlLocksResponse {
                msg: NONE.to_owned(),
                ..pessimistic(&[])
            }),
            Ok(part),
        );
        assert_eq!(
            (answer.result, answer.msg.as_str()),
            (true, "why it stands still")
        );
    }

    #[test]
    fn pessimistic_locks_come_first() {
        let answer = merged(Ok(pessimistic(&["p"])), Ok(optimistic(&["o", "p"])));
        assert_eq!(
            answer
                .locks
                .iter()
                .map(|l| l.id.as_str())
                .collect::<Vec<_>>(),
            ["p", "o", "p"]
        );
        assert_eq!((answer.pessimistic.len(), answer.optimistic.len()), (1, 2));
    }

    #[test]
    fn dms_clients_read_the_same_locks_and_pass_over_the_details() {
        use prost::Message;
        let answer = merged(Ok(pessimistic(&["p"])), Ok(optimistic(&["o"])));
        let read = pb::ShowDdlLocksResponse::decode(answer.encode_to_vec().as_slice()).unwrap();
        assert_eq!((read.result, read.locks), (true, answer.locks));
    }

    #[test]
    fn unlock_goes_to_the_one_that_has_the_lock() {
        let locks = |ids: &[&str]| Ok(ids.iter().map(|id| lock(id)).collect());
        assert_eq!(way("o", locks(&["p"]), locks(&["o"])), Way::Optimist);
        assert_eq!(way("p", locks(&["p"]), locks(&["o"])), Way::Pessimist);
        assert_eq!(way("x", locks(&["p"]), locks(&["o"])), Way::Pessimist);
        assert_eq!(way("o", gone(), locks(&["o"])), Way::Optimist);
        assert_eq!(way("p", locks(&["p"]), gone()), Way::Pessimist);
    }

    #[test]
    fn unlock_of_what_only_a_silent_coordinator_may_know_is_not_guessed() {
        let way = way("o", Ok(vec![lock("p")]), gone());
        assert!(
            matches!(&way, Way::Nowhere(why) if why.contains("optimistic locks are not known: gone")),
            "{way:?}"
        );
    }
}
