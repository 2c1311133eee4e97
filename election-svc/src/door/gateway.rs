//! Members and leadership as JSON over plain HTTP, under the paths of DM's gRPC gateway.
//!
//! Answers have two spaces of indent, defaults written out and the field names of the `.proto` files. A request that fails
//! within its method is HTTP 200 with `"result": false`; a gRPC error has the status that belongs to its code.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use dm_proto::{json, pb};
use http::{StatusCode, header};
use prost::{Message, Name};
use tonic::{Code, Status};

use super::master::Door;

/// The routes of this module.
pub(super) fn routes() -> Router<Door> {
    Router::new()
        .route("/apis/v1alpha1/members", get(members))
        .route("/apis/v1alpha1/members/{kind}/{name}", delete(offline))
        .route("/apis/v1alpha1/leader/{op}", put(leader))
}

/// `GET members?leader=true&names=a&names=b`.
async fn members(State(door): State<Door>, Query(query): Query<Vec<(String, String)>>) -> Response {
    match list_request(&query) {
        Ok(request) => answer(door.list(request).await),
        Err(refusal) => refused(&refusal),
    }
}

fn list_request(query: &[(String, String)]) -> Result<pb::ListMemberRequest, Status> {
    let mut request = pb::ListMemberRequest::default();
    for (key, value) in query {
        match key.as_str() {
            "leader" => request.leader = flag(key, value)?,
            "master" => request.master = flag(key, value)?,
            "worker" => request.worker = flag(key, value)?,
            "names" => request.names.push(value.clone()),
            // Unknown parameters are passed over, as unknown members of a body are.
            _ => {}
        }
    }
    Ok(request)
}

fn flag(key: &str, value: &str) -> Result<bool, Status> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(Status::invalid_argument(format!(
            "parameter {key}: {other:?} is neither true nor false"
        ))),
    }
}

/// `DELETE members/master/NAME`.
async fn offline(State(door): State<Door>, Path((kind, name)): Path<(String, String)>) -> Response {
    let request = pb::OfflineMemberRequest { r#type: kind, name };
    answer(door.offline(request).await)
}

/// `PUT leader/1` or `PUT leader/EvictLeaderOp`; the path says it all, so the body is not looked at.
async fn leader(State(door): State<Door>, Path(op): Path<String>) -> Response {
    match leader_op(&op) {
        Ok(op) => answer(door.operate_leader(pb::OperateLeaderRequest { op }).await),
        Err(refusal) => refused(&refusal),
    }
}

fn leader_op(word: &str) -> Result<i32, Status> {
    let by_name = pb::LeaderOp::from_str_name(word).map(i32::from);
    by_name.or_else(|| word.parse().ok()).ok_or_else(|| {
        Status::invalid_argument(format!(
            "{word:?} is no leader operation; allowed are EvictLeaderOp (1) and CancelEvictLeaderOp (2)"
        ))
    })
}

fn answer<M: Message + Name>(answer: Result<M, Status>) -> Response {
    match answer {
        Ok(message) => reply(StatusCode::OK, narrowed(&json::print(&message))),
        Err(status) => refused(&status),
    }
}

fn refused(status: &Status) -> Response {
    let body = serde_json::json!({
        "error": status.message(),
        "code": i32::from(status.code()),
        "message": status.message(),
    });
    reply(http_status(status.code()), body.to_string())
}

fn reply(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Halves the indent of `dmctl`'s form. No text in it has a line break of its own.
fn narrowed(wide: &str) -> String {
    let line = |line: &str| {
        let text = line.trim_start_matches(' ');
        format!("{}{text}", " ".repeat((line.len() - text.len()) / 2))
    };
    wide.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_is_named_or_numbered() {
        assert_eq!(leader_op("EvictLeaderOp").ok(), Some(1));
        assert_eq!(leader_op("2").ok(), Some(2));
        let refusal = leader_op("evict").unwrap_err();
        assert!(refusal.message().contains("CancelEvictLeaderOp"));
    }

    #[test]
    fn query_says_what_is_listed() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let query = [
            pair("master", "true"),
            pair("names", "a"),
            pair("names", "b"),
        ];
        let request = list_request(&query).unwrap();
        assert!(request.master && !request.leader && !request.worker);
        assert_eq!(request.names, ["a", "b"]);
        assert!(list_request(&[pair("leader", "perhaps")]).is_err());
    }

    #[test]
    fn indent_is_two_spaces_and_texts_keep_theirs() {
        let message = pb::OperateLeaderResponse {
            result: true,
            msg: "    wide".to_owned(),
        };
        assert_eq!(
            narrowed(&json::print(&message)),
            "{\n  \"result\": true,\n  \"msg\": \"    wide\"\n}"
        );
    }
}
