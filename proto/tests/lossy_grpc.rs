//! Invalid UTF-8 through the generated client and server, with the raw frames of a Go peer on the other side.

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use dm_proto::pb;
use dm_proto::pb::worker_client::WorkerClient;
use dm_proto::pessimist::pessimist_server::{Pessimist, PessimistServer};
use dm_proto::pessimist::{
    RemoveMetaRequest, RemoveMetaResponse, ShowDdlLocksResponse, WatchLocksRequest,
    WatchLocksResponse,
};
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tonic::{Code, Request, Response, Status};
use tower::{ServiceExt, service_fn};

/// A gRPC frame as it stands in an HTTP/2 body: not compressed, length, message.
fn frame(message: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).expect("a short message"));
    out.put_slice(message);
    out.freeze()
}

async fn status_from_peer(message: &'static [u8]) -> Result<pb::QueryStatusResponse, Status> {
    let peer = service_fn(move |_: http::Request<Body>| async move {
        let response = http::Response::builder()
            .header("content-type", "application/grpc")
            .body(Body::new(Full::new(frame(message))));
        Ok::<_, Infallible>(response.expect("a valid header"))
    });
    let mut client = WorkerClient::new(peer);
    let answer = client
        .query_status(pb::QueryStatusRequest::default())
        .await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn a_client_reads_invalid_text_as_replacement_characters() {
    // msg (2) "a\xff", subTaskStatus (4) { name (1) "\xfe" }
    let got = status_from_peer(&[0x12, 2, b'a', 0xff, 0x22, 3, 0x0a, 1, 0xfe])
        .await
        .unwrap();
    assert_eq!(got.msg, "a\u{fffd}");
    assert_eq!(got.sub_task_status[0].name, "\u{fffd}");
}

#[tokio::test]
async fn a_client_refuses_a_malformed_answer() {
    // msg says five bytes, and has one.
    let error = status_from_peer(&[0x12, 5, 0xff]).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal, "{error:?}");
}

struct Echo;

#[tonic::async_trait]
impl Pessimist for Echo {
    type WatchLocksStream = tokio_stream::Pending<Result<WatchLocksResponse, Status>>;

    async fn show_ddl_locks(
        &self,
        request: Request<pb::ShowDdlLocksRequest>,
    ) -> Result<Response<ShowDdlLocksResponse>, Status> {
        let request = request.into_inner();
        let msg = format!("{} {}", request.task, request.sources.join(","));
        Ok(Response::new(ShowDdlLocksResponse {
            result: true,
            msg,
            ..Default::default()
        }))
    }

    async fn unlock_ddl_lock(
        &self,
        _: Request<pb::UnlockDdlLockRequest>,
    ) -> Result<Response<pb::UnlockDdlLockResponse>, Status> {
        Err(Status::unavailable("not part of this test"))
    }

    async fn remove_meta(
        &self,
        _: Request<RemoveMetaRequest>,
    ) -> Result<Response<RemoveMetaResponse>, Status> {
        Err(Status::unavailable("not part of this test"))
    }

    async fn watch_locks(
        &self,
        _: Request<WatchLocksRequest>,
    ) -> Result<Response<Self::WatchLocksStream>, Status> {
        Err(Status::unavailable("not part of this test"))
    }
}

#[tokio::test]
async fn a_server_reads_invalid_text_as_replacement_characters() {
    let request = http::Request::builder()
        .method("POST")
        .uri("/dm.pessimist.v1.Pessimist/ShowDDLLocks")
        .header("content-type", "application/grpc")
        // task (1) "t\xff", sources (2) "s1", "\xc3"
        .body(Body::new(Full::new(frame(&[
            0x0a, 2, b't', 0xff, 0x12, 2, b's', b'1', 0x12, 1, 0xc3,
        ]))))
        .unwrap();
    let response = PessimistServer::new(Echo).oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let answer: ShowDdlLocksResponse = prost::Message::decode(body.slice(5..)).unwrap();
    assert_eq!(answer.msg, "t\u{fffd} s1,\u{fffd}");
}
