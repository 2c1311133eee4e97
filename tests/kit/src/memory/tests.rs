//! What the contract suite cannot ask of a real etcd: time by hand and planned faults.

use std::time::Duration;

use dm_proto::etcdserverpb as pb;
use dm_proto::etcdserverpb::kv_client::KvClient;
use dm_proto::etcdserverpb::lease_client::LeaseClient;
use dm_proto::etcdserverpb::watch_client::WatchClient;
use dm_proto::etcdserverpb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::*;
use crate::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(10);

async fn channel(etcd: &MemoryEtcd) -> Channel {
    Endpoint::from_shared(etcd.endpoint())
        .unwrap()
        .connect()
        .await
        .unwrap()
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.into(),
        value: value.into(),
        ..PutRequest::default()
    }
}

fn txn(key: &str) -> pb::TxnRequest {
    let request = pb::request_op::Request::RequestPut(put(key, "v"));
    pb::TxnRequest {
        success: vec![pb::RequestOp {
            request: Some(request),
        }],
        ..pb::TxnRequest::default()
    }
}

struct Watching {
    requests: mpsc::Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Watching {
    async fn all(etcd: &MemoryEtcd) -> Self {
        let (requests, stream) = mpsc::channel(8);
        let create = pb::WatchCreateRequest {
            range_end: vec![0],
            ..pb::WatchCreateRequest::default()
        };
        requests
            .send(request(RequestUnion::CreateRequest(create)))
            .await
            .unwrap();
        let mut client = WatchClient::new(channel(etcd).await);
        let responses = client
            .watch(ReceiverStream::new(stream))
            .await
            .unwrap()
            .into_inner();
        let mut watching = Self {
            requests,
            responses,
        };
        assert!(watching.next().await.unwrap().created);
        watching
    }

    async fn next(&mut self) -> std::result::Result<pb::WatchResponse, Status> {
        let message = tokio::time::timeout(LIMIT, self.responses.message())
            .await
            .unwrap();
        message.map(|response| response.unwrap())
    }
}

fn request(union: RequestUnion) -> pb::WatchRequest {
    pb::WatchRequest {
        request_union: Some(union),
    }
}

#[tokio::test]
async fn time_by_hand_ends_leases_and_their_keys() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let mut leases = LeaseClient::new(channel(&etcd).await);
    let granted = leases
        .lease_grant(pb::LeaseGrantRequest { ttl: 10, id: 0 })
        .await
        .unwrap()
        .into_inner();
    let mut kv = KvClient::new(channel(&etcd).await);
    kv.put(PutRequest {
        lease: granted.id,
        ..put("k", "v")
    })
    .await
    .unwrap();
    let mut watching = Watching::all(&etcd).await;
    etcd.advance(Duration::from_secs(9));
    assert_eq!(etcd.dump("k").len(), 1);
    etcd.advance(Duration::from_secs(1));
    assert!(etcd.dump("k").is_empty());
    let gone = watching.next().await.unwrap();
    assert_eq!(gone.events[0].kv.as_ref().unwrap().key, b"k");
}

#[tokio::test]
async fn the_runtimes_time_ends_leases_without_a_request() {
    let options = Options {
        clock: Clock::Tokio,
        min_lease_ttl: 1,
        ..Options::default()
    };
    let etcd = MemoryEtcd::start_with(&options).await.unwrap();
    let mut leases = LeaseClient::new(channel(&etcd).await);
    let granted = leases
        .lease_grant(pb::LeaseGrantRequest { ttl: 1, id: 0 })
        .await
        .unwrap()
        .into_inner();
    let mut kv = KvClient::new(channel(&etcd).await);
    kv.put(PutRequest {
        lease: granted.id,
        ..put("k", "v")
    })
    .await
    .unwrap();
    wait_until(LIMIT, "the key goes", || async {
        etcd.dump("k").is_empty()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn planned_failures_come_in_order_and_are_counted() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let mut kv = KvClient::new(channel(&etcd).await);
    etcd.fail_next("Put", Status::unavailable("one"));
    etcd.fail_next("Put", Status::deadline_exceeded("two"));
    assert_eq!(
        kv.put(put("k", "v")).await.unwrap_err().code(),
        Code::Unavailable
    );
    assert_eq!(
        kv.put(put("k", "v")).await.unwrap_err().code(),
        Code::DeadlineExceeded
    );
    kv.put(put("k", "v")).await.unwrap();
    assert_eq!(
        (etcd.count("Put"), etcd.count("Range"), etcd.revision()),
        (3, 0, 2)
    );
}

#[tokio::test]
async fn while_deletions_are_refused_all_else_goes_on_and_nothing_is_deleted() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let mut kv = KvClient::new(channel(&etcd).await);
    etcd.refuse_deletions(Some("k"));
    kv.txn(txn("k")).await.unwrap();
    let delete = pb::DeleteRangeRequest {
        key: "k".into(),
        ..pb::DeleteRangeRequest::default()
    };
    let mut deleting = txn("other");
    deleting.success.push(pb::RequestOp {
        request: Some(pb::request_op::Request::RequestDeleteRange(delete.clone())),
    });
    for refused in [
        kv.delete_range(delete.clone()).await.unwrap_err(),
        kv.txn(deleting.clone()).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    let other = pb::DeleteRangeRequest {
        key: "other".into(),
        ..delete
    };
    kv.delete_range(other).await.unwrap();
    assert_eq!((etcd.dump("").len(), etcd.revision()), (1, 2));
    etcd.refuse_deletions(None);
    kv.txn(deleting).await.unwrap();
    assert_eq!(etcd.dump("k").len(), 0);
}

#[tokio::test]
async fn a_lost_reply_hides_a_transaction_that_was_carried_out() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let mut kv = KvClient::new(channel(&etcd).await);
    etcd.drop_reply_of_next_txn();
    assert_eq!(
        kv.txn(txn("k")).await.unwrap_err().code(),
        Code::Unavailable
    );
    assert_eq!(etcd.dump("k").len(), 1);
    kv.txn(txn("k")).await.unwrap();
}

#[tokio::test]
async fn held_events_come_after_the_release_and_compaction_meanwhile_cancels() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let mut watching = Watching::all(&etcd).await;
    etcd.hold_watch();
    etcd.put("a", "1");
    etcd.put("a", "2");
    watching
        .requests
        .send(request(RequestUnion::ProgressRequest(
            pb::WatchProgressRequest {},
        )))
        .await
        .unwrap();
    etcd.release_watch();
    assert_eq!(watching.next().await.unwrap().events.len(), 2);
    assert_eq!(watching.next().await.unwrap().watch_id, -1);
    etcd.hold_watch();
    etcd.put("a", "3");
    let last = etcd.put("a", "4");
    etcd.compact(last).unwrap();
    etcd.release_watch();
    let cancelled = watching.next().await.unwrap();
    assert_eq!(
        (cancelled.canceled, cancelled.compact_revision),
        (true, last)
    );
    assert_eq!(etcd.open_watches(), 0);
}

#[tokio::test]
async fn a_cut_ends_streams_and_new_connections_work() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let mut watching = Watching::all(&etcd).await;
    etcd.cut_connections();
    assert!(watching.next().await.is_err());
    wait_until(LIMIT, "the watch is forgotten", || async {
        etcd.open_watches() == 0
    })
    .await
    .unwrap();
    Watching::all(&etcd).await;
}

#[tokio::test]
async fn refusing_is_like_being_down_without_losing_anything() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let mut kv = KvClient::new(channel(&etcd).await);
    kv.put(put("k", "v")).await.unwrap();
    etcd.refuse(true);
    assert!(kv.put(put("k", "w")).await.is_err());
    etcd.refuse(false);
    let range = pb::RangeRequest {
        key: b"k".to_vec(),
        ..pb::RangeRequest::default()
    };
    wait_until(LIMIT, "it answers again", || {
        let (mut kv, range) = (kv.clone(), range.clone());
        async move { kv.range(range).await.is_ok() }
    })
    .await
    .unwrap();
    assert_eq!(etcd.dump("k")[0].value, b"v");
}

#[tokio::test]
async fn the_last_handle_takes_the_server_with_it() {
    let etcd = MemoryEtcd::start().await.unwrap();
    let mut kv = KvClient::new(channel(&etcd).await);
    let range = pb::RangeRequest {
        key: b"k".to_vec(),
        ..pb::RangeRequest::default()
    };
    kv.range(range.clone()).await.unwrap();
    drop(etcd);
    wait_until(LIMIT, "nobody answers", || {
        let (mut kv, range) = (kv.clone(), range.clone());
        async move { kv.range(range).await.is_err() }
    })
    .await
    .unwrap();
}
