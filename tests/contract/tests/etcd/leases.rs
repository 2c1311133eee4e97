//! Leases: granting, renewing, revoking, running out.

use std::time::Duration;

use dm_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, PutRequest,
};
use dm_testkit::wait_until;
use tonic::Code;

use crate::fixture::{Fixture, LIMIT, assert_refused, put, watch};

const NOT_FOUND: &str = "etcdserver: requested lease not found";

async fn put_on(etcd: &Fixture, key: &str, lease: i64) {
    etcd.kv()
        .put(PutRequest {
            lease,
            ..put(key, "v")
        })
        .await
        .unwrap();
}

async fn revoke(etcd: &Fixture, id: i64) -> Result<i64, tonic::Status> {
    let answer = etcd
        .leases()
        .lease_revoke(LeaseRevokeRequest { id })
        .await?;
    Ok(answer.into_inner().header.unwrap().revision)
}

async fn renew(etcd: &Fixture, id: i64) -> i64 {
    let requests = tokio_stream::once(LeaseKeepAliveRequest { id });
    let mut answers = etcd
        .leases()
        .lease_keep_alive(requests)
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.id, id);
    answer.ttl
}

async fn time_to_live(etcd: &Fixture, id: i64) -> LeaseTimeToLiveResponse {
    etcd.leases()
        .lease_time_to_live(LeaseTimeToLiveRequest { id, keys: true })
        .await
        .unwrap()
        .into_inner()
}

pub(crate) async fn a_grant_says_what_it_gave(etcd: &Fixture) {
    let grant = |ttl, id| {
        let mut leases = etcd.leases();
        async move {
            leases
                .lease_grant(LeaseGrantRequest { ttl, id })
                .await
                .map(tonic::Response::into_inner)
        }
    };
    let chosen = grant(100, 7).await.unwrap();
    assert_eq!((chosen.id, chosen.ttl), (7, 100));
    assert!(grant(100, 0).await.unwrap().id != 0);
    assert_eq!(
        grant(1, 8).await.unwrap().ttl,
        2,
        "one and a half election timeouts are the least"
    );
    assert_refused(
        grant(100, 7).await,
        Code::FailedPrecondition,
        "etcdserver: lease already exists",
    );
    assert_refused(
        grant(9_000_000_001, 9).await,
        Code::OutOfRange,
        "etcdserver: too large lease TTL",
    );
    assert_eq!(etcd.revision().await, 1, "leases make no revisions");
}

pub(crate) async fn keys_go_with_their_lease_in_one_revision(etcd: &Fixture) {
    let lease = etcd.grant(100).await;
    for key in ["k/2", "k/1"] {
        put_on(etcd, key, lease).await;
    }
    let mut watching = etcd.watch().await;
    assert!(watching.create(watch("k/", 0)).await.created);
    let mut attached = time_to_live(etcd, lease).await.keys;
    attached.sort();
    assert_eq!(attached, [b"k/1", b"k/2"]);
    assert_eq!(revoke(etcd, lease).await.unwrap(), 4);
    let gone = watching.next().await.events;
    let keys: Vec<&[u8]> = gone
        .iter()
        .map(|event| event.kv.as_ref().unwrap().key.as_slice())
        .collect();
    assert_eq!(keys, [b"k/1", b"k/2"]);
    assert_eq!(etcd.get("k/1").await, None);
}

pub(crate) async fn a_lease_that_is_gone_is_known_by_its_ttl(etcd: &Fixture) {
    assert_refused(revoke(etcd, 4_711).await, Code::NotFound, NOT_FOUND);
    assert_eq!(renew(etcd, 4_711).await, 0);
    let left = time_to_live(etcd, 4_711).await;
    assert_eq!((left.ttl, left.granted_ttl), (-1, 0));
}

pub(crate) async fn a_renewal_keeps_the_keys(etcd: &Fixture) {
    let lease = etcd.grant(100).await;
    put_on(etcd, "k", lease).await;
    etcd.pass(Duration::from_secs(60));
    assert_eq!(renew(etcd, lease).await, 100);
    etcd.pass(Duration::from_secs(60));
    assert_eq!(etcd.get("k").await.unwrap().lease, lease);
    assert_eq!(time_to_live(etcd, lease).await.granted_ttl, 100);
}

pub(crate) async fn keys_go_when_their_lease_runs_out(etcd: &Fixture) {
    let lease = etcd.grant(2).await;
    put_on(etcd, "k", lease).await;
    etcd.pass(Duration::from_secs(3));
    wait_until(LIMIT, "the key goes", || async {
        etcd.get("k").await.is_none()
    })
    .await
    .unwrap();
    assert_eq!(etcd.revision().await, 3);
    wait_until(LIMIT, "the lease goes", || async {
        time_to_live(etcd, lease).await.ttl == -1
    })
    .await
    .unwrap();
}

pub(crate) async fn a_put_moves_a_key_to_another_lease(etcd: &Fixture) {
    let (one, two) = (etcd.grant(100).await, etcd.grant(100).await);
    for key in ["moved", "freed"] {
        put_on(etcd, key, one).await;
    }
    put_on(etcd, "moved", two).await;
    etcd.put("freed", "v").await;
    let before = etcd.revision().await;
    assert_eq!(
        revoke(etcd, one).await.unwrap(),
        before,
        "it had no keys any more"
    );
    assert_eq!(revoke(etcd, two).await.unwrap(), before + 1);
    assert!(etcd.get("moved").await.is_none() && etcd.get("freed").await.is_some());
}

pub(crate) async fn a_put_on_an_unknown_lease_is_refused(etcd: &Fixture) {
    let refused = etcd
        .kv()
        .put(PutRequest {
            lease: 4_711,
            ..put("k", "v")
        })
        .await;
    assert_refused(refused, Code::NotFound, NOT_FOUND);
}
