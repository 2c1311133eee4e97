//! The two servers behind one face, and short forms of the requests.

use std::time::Duration;

use dm_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use dm_proto::etcdserverpb::kv_client::KvClient;
use dm_proto::etcdserverpb::lease_client::LeaseClient;
use dm_proto::etcdserverpb::request_op::Request;
use dm_proto::etcdserverpb::watch_client::WatchClient;
use dm_proto::etcdserverpb::watch_request::RequestUnion;
use dm_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest,
    RequestOp, TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest, WatchResponse,
};
use dm_proto::mvccpb::KeyValue;
use dm_testkit::etcd::RealEtcd;
use dm_testkit::memory::MemoryEtcd;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

enum Server {
    Memory(MemoryEtcd),
    Real { _running: Box<RealEtcd> },
}

/// A server and a connection to it.
pub(crate) struct Fixture {
    server: Server,
    channel: Channel,
}

impl Fixture {
    pub(crate) async fn memory() -> Self {
        let server = MemoryEtcd::start().await.unwrap();
        let channel = connect(server.endpoint()).await;
        Self {
            server: Server::Memory(server),
            channel,
        }
    }

    pub(crate) async fn real() -> Self {
        let server = RealEtcd::start_temp().await.unwrap();
        let channel = connect(server.endpoint()).await;
        Self {
            server: Server::Real {
                _running: Box::new(server),
            },
            channel,
        }
    }

    pub(crate) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }

    pub(crate) fn leases(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    /// Lets lease time pass where it does not pass by itself.
    pub(crate) fn pass(&self, time: Duration) {
        match &self.server {
            Server::Memory(etcd) => etcd.advance(time),
            Server::Real { .. } => {}
        }
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> i64 {
        self.kv()
            .put(put(key, value))
            .await
            .unwrap()
            .into_inner()
            .header
            .unwrap()
            .revision
    }

    pub(crate) async fn get(&self, key: &str) -> Option<KeyValue> {
        self.kv()
            .range(range(key, ""))
            .await
            .unwrap()
            .into_inner()
            .kvs
            .into_iter()
            .next()
    }

    /// Keys of a range, in the order of the answer.
    pub(crate) async fn keys(&self, request: RangeRequest) -> Vec<String> {
        let kvs = self.kv().range(request).await.unwrap().into_inner().kvs;
        kvs.into_iter()
            .map(|kv| String::from_utf8(kv.key).unwrap())
            .collect()
    }

    pub(crate) async fn delete(&self, key: &str, end: &str) -> i64 {
        self.kv()
            .delete_range(delete(key, end))
            .await
            .unwrap()
            .into_inner()
            .header
            .unwrap()
            .revision
    }

    pub(crate) async fn compact(&self, revision: i64) {
        self.kv()
            .compact(CompactionRequest {
                revision,
                physical: true,
            })
            .await
            .unwrap();
    }

    pub(crate) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        self.kv()
            .txn(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub(crate) async fn revision(&self) -> i64 {
        self.kv()
            .range(range("any", ""))
            .await
            .unwrap()
            .into_inner()
            .header
            .unwrap()
            .revision
    }

    pub(crate) async fn grant(&self, ttl: i64) -> i64 {
        self.leases()
            .lease_grant(LeaseGrantRequest { ttl, id: 0 })
            .await
            .unwrap()
            .into_inner()
            .id
    }

    pub(crate) async fn watch(&self) -> Watching {
        let (requests, stream) = mpsc::channel(16);
        let mut client = WatchClient::new(self.channel.clone());
        // etcd sends the head of the answer only with its first message, so the first request
        // must not wait for it.
        let first = WatchCreateRequest {
            key: b"unused".to_vec(),
            watch_id: 99,
            ..WatchCreateRequest::default()
        };
        requests
            .send(wrap(RequestUnion::CreateRequest(first)))
            .await
            .unwrap();
        let responses = client
            .watch(ReceiverStream::new(stream))
            .await
            .unwrap()
            .into_inner();
        let mut watching = Watching {
            requests,
            responses,
        };
        assert!(watching.next().await.created);
        watching
    }
}

async fn connect(endpoint: String) -> Channel {
    Endpoint::from_shared(endpoint)
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// An open watch stream.
pub(crate) struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Watching {
    pub(crate) async fn send(&self, union: RequestUnion) {
        self.requests.send(wrap(union)).await.unwrap();
    }

    pub(crate) async fn create(&mut self, create: WatchCreateRequest) -> WatchResponse {
        self.send(RequestUnion::CreateRequest(create)).await;
        self.next().await
    }

    pub(crate) async fn next(&mut self) -> WatchResponse {
        let message = tokio::time::timeout(LIMIT, self.responses.message()).await;
        message.unwrap().unwrap().unwrap()
    }

    /// The next `count` events, however they are spread over responses.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<dm_proto::mvccpb::Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.next().await.events);
        }
        assert_eq!(events.len(), count);
        events
    }
}

fn wrap(union: RequestUnion) -> WatchRequest {
    WatchRequest {
        request_union: Some(union),
    }
}

/// An end that makes a prefix of a key.
pub(crate) fn end_of(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    let last = end.pop().unwrap();
    end.push(char::from(u8::try_from(last).unwrap() + 1));
    end
}

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.into(),
        value: value.into(),
        ..PutRequest::default()
    }
}

pub(crate) fn range(key: &str, end: &str) -> RangeRequest {
    RangeRequest {
        key: key.into(),
        range_end: end.into(),
        ..RangeRequest::default()
    }
}

pub(crate) fn delete(key: &str, end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: key.into(),
        range_end: end.into(),
        prev_kv: false,
    }
}

pub(crate) fn watch(key: &str, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.into(),
        range_end: end_of(key).into(),
        start_revision,
        ..Default::default()
    }
}

pub(crate) fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

pub(crate) fn put_op(key: &str, value: &str) -> RequestOp {
    op(Request::RequestPut(put(key, value)))
}

pub(crate) fn delete_op(key: &str, end: &str) -> RequestOp {
    op(Request::RequestDeleteRange(delete(key, end)))
}

pub(crate) fn compare(key: &str, result: CompareResult, target: TargetUnion) -> Compare {
    let kind = match target {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
        TargetUnion::Lease(_) => CompareTarget::Lease,
    };
    Compare {
        key: key.into(),
        result: result.into(),
        target: kind.into(),
        target_union: Some(target),
        range_end: Vec::new(),
    }
}

/// Checks a refusal by what clients branch on.
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    text: &str,
) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
}
