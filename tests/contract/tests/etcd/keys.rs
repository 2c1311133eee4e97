//! Puts, ranges, deletions, compaction.

use dm_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use dm_proto::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest};
use tonic::Code;

use crate::fixture::{Fixture, assert_refused, delete, end_of, put, range};

pub(crate) async fn an_empty_store_is_at_revision_one(etcd: &Fixture) {
    let answer = etcd.kv().range(range("k", "")).await.unwrap().into_inner();
    let header = answer.header.unwrap();
    assert_eq!((header.revision, answer.count, answer.kvs.len()), (1, 0, 0));
    assert!(header.cluster_id != 0 && header.member_id != 0 && header.raft_term != 0);
}

pub(crate) async fn puts_count_revisions_and_versions(etcd: &Fixture) {
    assert_eq!(etcd.put("k", "1").await, 2);
    assert_eq!(etcd.put("k", "2").await, 3);
    let kv = etcd.get("k").await.unwrap();
    assert_eq!(
        (kv.create_revision, kv.mod_revision, kv.version, kv.lease),
        (2, 3, 2, 0)
    );
    etcd.delete("k", "").await;
    etcd.put("k", "3").await;
    let kv = etcd.get("k").await.unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (5, 5, 1));
}

pub(crate) async fn a_put_gives_back_what_was_there(etcd: &Fixture) {
    let ask = || PutRequest {
        prev_kv: true,
        ..put("k", "v")
    };
    assert_eq!(
        etcd.kv().put(ask()).await.unwrap().into_inner().prev_kv,
        None
    );
    let before = etcd.get("k").await;
    assert_eq!(
        etcd.kv().put(ask()).await.unwrap().into_inner().prev_kv,
        before
    );
}

pub(crate) async fn a_put_can_keep_the_old_value_or_lease(etcd: &Fixture) {
    let keep_value = || PutRequest {
        ignore_value: true,
        ..put("k", "")
    };
    let keep_lease = |value| PutRequest {
        ignore_lease: true,
        ..put("k", value)
    };
    let missing = "etcdserver: key not found";
    assert_refused(
        etcd.kv().put(keep_value()).await,
        Code::InvalidArgument,
        missing,
    );
    assert_refused(
        etcd.kv().put(keep_lease("v")).await,
        Code::InvalidArgument,
        missing,
    );
    let lease = etcd.grant(100).await;
    etcd.kv()
        .put(PutRequest {
            lease,
            ..put("k", "v")
        })
        .await
        .unwrap();
    etcd.kv().put(keep_lease("w")).await.unwrap();
    let kv = etcd.get("k").await.unwrap();
    assert_eq!((kv.value.as_slice(), kv.lease), (&b"w"[..], lease));
    etcd.kv().put(keep_value()).await.unwrap();
    let kv = etcd.get("k").await.unwrap();
    assert_eq!((kv.value.as_slice(), kv.lease), (&b"w"[..], 0));
    let both = PutRequest {
        ignore_value: true,
        ..put("k", "x")
    };
    assert_refused(
        etcd.kv().put(both).await,
        Code::InvalidArgument,
        "etcdserver: value is provided",
    );
    let both = PutRequest {
        ignore_lease: true,
        lease,
        ..put("k", "x")
    };
    assert_refused(
        etcd.kv().put(both).await,
        Code::InvalidArgument,
        "etcdserver: lease is provided",
    );
}

pub(crate) async fn ranges_are_limited_counted_and_sorted(etcd: &Fixture) {
    for (key, value) in [("k/b", "1"), ("k/a", "3"), ("k/c", "2"), ("l", "4")] {
        etcd.put(key, value).await;
    }
    let all = || range("k/", &end_of("k/"));
    let limited = RangeRequest { limit: 2, ..all() };
    let answer = etcd.kv().range(limited.clone()).await.unwrap().into_inner();
    assert_eq!((answer.count, answer.more), (3, true));
    assert_eq!(etcd.keys(limited).await, ["k/a", "k/b"]);
    assert!(
        !etcd
            .kv()
            .range(RangeRequest { limit: 3, ..all() })
            .await
            .unwrap()
            .into_inner()
            .more
    );

    let sorted = |order: SortOrder, target: SortTarget| RangeRequest {
        sort_order: order.into(),
        sort_target: target.into(),
        limit: 2,
        ..all()
    };
    assert_eq!(
        etcd.keys(sorted(SortOrder::Descend, SortTarget::Key)).await,
        ["k/c", "k/b"]
    );
    assert_eq!(
        etcd.keys(sorted(SortOrder::Ascend, SortTarget::Create))
            .await,
        ["k/b", "k/a"]
    );
    assert_eq!(
        etcd.keys(sorted(SortOrder::Descend, SortTarget::Mod)).await,
        ["k/c", "k/a"]
    );
    assert_eq!(
        etcd.keys(sorted(SortOrder::Ascend, SortTarget::Value))
            .await,
        ["k/b", "k/c"]
    );
}

pub(crate) async fn ranges_tell_only_what_was_asked_for(etcd: &Fixture) {
    for (key, value) in [("k/b", "1"), ("k/a", "3"), ("k/c", "2"), ("l", "4")] {
        etcd.put(key, value).await;
    }
    let all = || range("k/", &end_of("k/"));
    let bare = etcd
        .kv()
        .range(RangeRequest {
            keys_only: true,
            ..all()
        })
        .await
        .unwrap()
        .into_inner();
    assert!(bare.kvs.len() == 3 && bare.kvs.iter().all(|kv| kv.value.is_empty()));
    let count = etcd
        .kv()
        .range(RangeRequest {
            count_only: true,
            ..all()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((count.count, count.kvs.len()), (3, 0));
    assert_eq!(etcd.keys(range("k/c", "\0")).await, ["k/c", "l"]);
    assert_eq!(
        etcd.keys(RangeRequest {
            min_mod_revision: 3,
            max_mod_revision: 4,
            ..all()
        })
        .await,
        ["k/a", "k/c"]
    );
    assert_eq!(etcd.keys(range("l", "k")).await, [""; 0]);
}

pub(crate) async fn pages_at_one_revision_do_not_see_later_writes(etcd: &Fixture) {
    for key in ["p/1", "p/2", "p/3"] {
        etcd.put(key, "old").await;
    }
    let end = end_of("p/");
    let first = etcd
        .kv()
        .range(RangeRequest {
            limit: 2,
            ..range("p/", &end)
        })
        .await
        .unwrap()
        .into_inner();
    let at = first.header.unwrap().revision;
    etcd.put("p/3", "new").await;
    etcd.put("p/4", "new").await;
    let rest = RangeRequest {
        limit: 2,
        revision: at,
        ..range("p/2\0", &end)
    };
    let rest = etcd.kv().range(rest).await.unwrap().into_inner();
    assert_eq!(
        rest.kvs
            .iter()
            .map(|kv| kv.value.as_slice())
            .collect::<Vec<_>>(),
        [b"old"]
    );
    assert!(!rest.more);
    assert_eq!(
        rest.header.unwrap().revision,
        at + 2,
        "the head tells the newest revision"
    );
}

pub(crate) async fn a_prefix_is_deleted_at_once(etcd: &Fixture) {
    for key in ["d/1", "d/2", "e"] {
        etcd.put(key, "v").await;
    }
    let request = dm_proto::etcdserverpb::DeleteRangeRequest {
        prev_kv: true,
        ..delete("d/", &end_of("d/"))
    };
    let answer = etcd.kv().delete_range(request).await.unwrap().into_inner();
    assert_eq!(
        (
            answer.deleted,
            answer.prev_kvs.len(),
            answer.header.unwrap().revision
        ),
        (2, 2, 5)
    );
    assert_eq!(etcd.keys(range("a", "\0")).await, ["e"]);
}

pub(crate) async fn a_deletion_of_nothing_makes_no_revision(etcd: &Fixture) {
    let before = etcd.put("k", "v").await;
    assert_eq!(etcd.delete("x", "").await, before);
    assert_eq!(etcd.revision().await, before);
}

pub(crate) async fn compacted_and_future_revisions_are_refused(etcd: &Fixture) {
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let future = "etcdserver: mvcc: required revision is a future revision";
    for value in ["1", "2", "3"] {
        etcd.put("k", value).await;
    }
    etcd.compact(3).await;
    let at = |revision| RangeRequest {
        revision,
        ..range("k", "")
    };
    assert_eq!(
        etcd.kv().range(at(3)).await.unwrap().into_inner().kvs[0].value,
        b"2"
    );
    assert_refused(etcd.kv().range(at(2)).await, Code::OutOfRange, compacted);
    assert_refused(etcd.kv().range(at(5)).await, Code::OutOfRange, future);
    let compact = |revision| CompactionRequest {
        revision,
        physical: false,
    };
    assert_refused(
        etcd.kv().compact(compact(3)).await,
        Code::OutOfRange,
        compacted,
    );
    assert_refused(
        etcd.kv().compact(compact(5)).await,
        Code::OutOfRange,
        future,
    );
}

pub(crate) async fn requests_without_a_key_are_refused(etcd: &Fixture) {
    let text = "etcdserver: key is not provided";
    assert_refused(
        etcd.kv().range(range("", "")).await,
        Code::InvalidArgument,
        text,
    );
    assert_refused(
        etcd.kv().put(put("", "v")).await,
        Code::InvalidArgument,
        text,
    );
    assert_refused(
        etcd.kv().delete_range(delete("", "")).await,
        Code::InvalidArgument,
        text,
    );
}
