//! Asking a service over its port.

use bytes::{BufMut, Bytes, BytesMut};
use dm_proto::election::election_client::ElectionClient;
use dm_proto::election::{GetLeadersRequest, ListMembersRequest};
use dm_proto::member::member_client::MemberClient;
use dm_proto::member::{DescribeRequest, DescribeResponse, Role};
use dm_proto::pb;
use dm_proto::pb::master_client::MasterClient;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tower::{Service, ServiceExt};

use super::{LIMIT, Running};

pub(crate) fn channel(addr: &str) -> Channel {
    Endpoint::from_shared(format!("http://{addr}"))
        .unwrap()
        .connect_lazy()
}

/// A DM client's way in.
pub(crate) fn master(door: &Running) -> MasterClient<Channel> {
    MasterClient::new(channel(&door.addr))
}

/// The native way in.
pub(crate) fn elections(door: &Running) -> ElectionClient<Channel> {
    ElectionClient::new(channel(&door.addr))
}

pub(crate) async fn describe(replica: &Running) -> Result<DescribeResponse, Status> {
    let mut member = MemberClient::new(channel(&replica.addr));
    Ok(member.describe(DescribeRequest {}).await?.into_inner())
}

pub(crate) fn role(name: &str) -> Role {
    match name {
        "election" => Role::Election,
        "scheduler" => Role::Scheduler,
        "pessimist" => Role::Pessimist,
        "optimist" => Role::Optimist,
        other => panic!("no role {other}"),
    }
}

/// Who leads a role as this door sees it; none also while the door does not answer.
pub(crate) async fn leader(door: &Running, of: &str) -> Option<String> {
    let request = GetLeadersRequest {
        roles: vec![role(of).into()],
    };
    let answer = elections(door).get_leaders(request).await.ok()?;
    answer.into_inner().leaders.first().map(|l| l.name.clone())
}

/// How many doors stand in line as this door sees it.
pub(crate) async fn in_line(door: &Running) -> usize {
    let request = ListMembersRequest {
        roles: vec![Role::Election.into()],
        skip_health: true,
        ..Default::default()
    };
    let Ok(answer) = elections(door).list_members(request).await else {
        return 0;
    };
    let members = answer.into_inner().members;
    members.iter().filter(|m| m.position > 0).count()
}

/// The three parts of `list-member`.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) leader: Option<pb::ListLeaderMember>,
    pub(crate) master: Option<pb::ListMasterMember>,
    pub(crate) worker: Option<pb::ListWorkerMember>,
}

pub(crate) async fn list_member(
    door: &Running,
    request: pb::ListMemberRequest,
) -> Result<Listed, Status> {
    let answer = master(door).list_member(request).await?.into_inner();
    assert!(answer.result, "{}", answer.msg);
    let mut listed = Listed::default();
    for part in answer.members {
        match part.member.expect("a part is never empty") {
            pb::members::Member::Leader(part) => listed.leader = Some(part),
            pb::members::Member::Master(part) => listed.master = Some(part),
            pb::members::Member::Worker(part) => listed.worker = Some(part),
        }
    }
    Ok(listed)
}

/// A gRPC answer as it is on the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) frames: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    /// The status, wherever it stands.
    pub(crate) fn status(&self) -> Status {
        Status::from_header_map(&self.headers)
            .or_else(|| Status::from_header_map(&self.trailers))
            .expect("a gRPC answer has a status")
    }

    /// The message, without its frame.
    pub(crate) fn message(&self) -> &[u8] {
        &self.frames[5..]
    }
}

/// One message in a gRPC frame.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.extend_from_slice(message);
    framed.freeze()
}

/// Sends bytes to a path, with some metadata, and gives back all that comes.
pub(crate) async fn raw(
    addr: &str,
    path: &str,
    metadata: &[(&'static str, &'static str)],
    message: &[u8],
) -> Answer {
    let mut request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (key, value) in metadata {
        request = request.header(*key, *value);
    }
    let body = tonic::body::Body::new(http_body_util::Full::new(frame(message)));
    let asked = async {
        let mut channel = channel(addr);
        let answering = channel
            .ready()
            .await
            .unwrap()
            .call(request.body(body).unwrap());
        let (head, body) = answering.await.unwrap().into_parts();
        assert_eq!(head.status, StatusCode::OK, "{path}");
        let whole = body.collect().await.unwrap();
        let trailers = whole.trailers().cloned().unwrap_or_default();
        Answer {
            headers: head.headers,
            frames: whole.to_bytes(),
            trailers,
        }
    };
    tokio::time::timeout(LIMIT, asked)
        .await
        .unwrap_or_else(|_| panic!("{path} was not answered"))
}

/// A page of plain HTTP.
pub(crate) async fn page(addr: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(tonic::body::Body::new(http_body_util::Full::new(
            Bytes::from(body.to_owned()),
        )))
        .unwrap();
    let mut channel = channel(addr);
    let answer = channel.ready().await.unwrap().call(request).await.unwrap();
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}
