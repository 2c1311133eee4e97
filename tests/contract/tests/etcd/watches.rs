//! Watches: where they begin, what they bring, how they end.

use dm_proto::etcdserverpb::watch_create_request::FilterType;
use dm_proto::etcdserverpb::watch_request::RequestUnion;
use dm_proto::etcdserverpb::{
    TxnRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchResponse,
};
use dm_proto::mvccpb::Event;
use dm_proto::mvccpb::event::EventType;

use crate::fixture::{Fixture, delete_op, put_op, watch};

fn revisions(events: &[Event]) -> Vec<i64> {
    events
        .iter()
        .map(|event| event.kv.as_ref().unwrap().mod_revision)
        .collect()
}

async fn fill(etcd: &Fixture) {
    for value in ["1", "2", "3"] {
        etcd.put("k", value).await;
    }
}

pub(crate) async fn a_watch_begins_at_its_revision(etcd: &Fixture) {
    fill(etcd).await;
    etcd.delete("k", "").await;
    let mut watching = etcd.watch().await;
    assert!(watching.create(watch("k", 3)).await.created);
    let events = watching.events(3).await;
    assert_eq!(revisions(&events), [3, 4, 5]);
    let last = &events[2];
    assert_eq!(last.r#type(), EventType::Delete);
    let kv = last.kv.as_ref().unwrap();
    assert_eq!(
        (kv.key.as_slice(), kv.create_revision, kv.version),
        (&b"k"[..], 0, 0)
    );
    etcd.put("k", "4").await;
    assert_eq!(
        revisions(&watching.next().await.events),
        [6],
        "and goes on with the present"
    );
}

pub(crate) async fn a_watch_without_a_revision_begins_now(etcd: &Fixture) {
    fill(etcd).await;
    let mut watching = etcd.watch().await;
    let created = watching.create(watch("k", 0)).await;
    assert!(created.created);
    assert_eq!(created.header.unwrap().revision, 4);
    etcd.put("k", "4").await;
    let response = watching.next().await;
    assert_eq!(response.header.unwrap().revision, 5);
    assert_eq!(revisions(&response.events), [5]);
}

pub(crate) async fn a_watch_may_begin_in_the_future(etcd: &Fixture) {
    let mut watching = etcd.watch().await;
    assert!(watching.create(watch("k", 4)).await.created);
    fill(etcd).await;
    assert_eq!(revisions(&watching.events(1).await), [4]);
}

pub(crate) async fn events_of_one_revision_come_together(etcd: &Fixture) {
    let mut watching = etcd.watch().await;
    assert!(watching.create(watch("k", 0)).await.created);
    etcd.put("k/old", "v").await;
    watching.events(1).await;
    let success = vec![
        put_op("k/2", "v"),
        put_op("k/1", "v"),
        delete_op("k/old", ""),
    ];
    etcd.txn(TxnRequest {
        success,
        ..TxnRequest::default()
    })
    .await
    .unwrap();
    let response = watching.next().await;
    assert_eq!(revisions(&response.events), [3, 3, 3]);
    let keys: Vec<&[u8]> = response
        .events
        .iter()
        .map(|event| event.kv.as_ref().unwrap().key.as_slice())
        .collect();
    assert_eq!(
        keys,
        [&b"k/2"[..], b"k/1", b"k/old"],
        "in the order of the operations"
    );
    assert_eq!(response.header.unwrap().revision, 3);
}

pub(crate) async fn events_carry_the_record_before_them(etcd: &Fixture) {
    fill(etcd).await;
    etcd.delete("k", "").await;
    let mut watching = etcd.watch().await;
    watching
        .create(WatchCreateRequest {
            prev_kv: true,
            ..watch("k", 2)
        })
        .await;
    let before: Vec<Option<Vec<u8>>> = watching
        .events(4)
        .await
        .into_iter()
        .map(|event| event.prev_kv.map(|kv| kv.value))
        .collect();
    assert_eq!(
        before,
        [
            None,
            Some(b"1".to_vec()),
            Some(b"2".to_vec()),
            Some(b"3".to_vec())
        ]
    );
}

pub(crate) async fn filters_leave_events_out(etcd: &Fixture) {
    etcd.put("k", "1").await;
    etcd.delete("k", "").await;
    etcd.put("k", "2").await;
    let only = |filter: FilterType| WatchCreateRequest {
        filters: vec![filter.into()],
        ..watch("k", 2)
    };
    let mut deletions = etcd.watch().await;
    deletions.create(only(FilterType::Noput)).await;
    assert_eq!(revisions(&deletions.events(1).await), [3]);
    let mut puts = etcd.watch().await;
    puts.create(only(FilterType::Nodelete)).await;
    assert_eq!(revisions(&puts.events(2).await), [2, 4]);
}

pub(crate) async fn one_stream_carries_several_watches(etcd: &Fixture) {
    let mut watching = etcd.watch().await;
    let a = watching.create(watch("a", 0)).await;
    let b = watching
        .create(WatchCreateRequest {
            watch_id: 40,
            ..watch("b", 0)
        })
        .await;
    assert!(a.created && b.created);
    assert_eq!(b.watch_id, 40);
    etcd.put("b", "v").await;
    assert_eq!(watching.next().await.watch_id, 40);
    etcd.put("a", "v").await;
    assert_eq!(watching.next().await.watch_id, a.watch_id);
}

pub(crate) async fn a_cancelled_watch_is_quiet(etcd: &Fixture) {
    let mut watching = etcd.watch().await;
    let quiet = watching.create(watch("k", 0)).await.watch_id;
    let heard = watching.create(watch("k", 0)).await.watch_id;
    watching
        .send(RequestUnion::CancelRequest(WatchCancelRequest {
            watch_id: quiet,
        }))
        .await;
    let cancelled = watching.next().await;
    assert_eq!(
        (
            cancelled.watch_id,
            cancelled.canceled,
            cancelled.compact_revision
        ),
        (quiet, true, 0)
    );
    for at in [2, 3] {
        etcd.put("k", "v").await;
        let response = watching.next().await;
        assert_eq!(
            (response.watch_id, revisions(&response.events)),
            (heard, vec![at])
        );
    }
}

pub(crate) async fn a_watch_of_compacted_history_is_cancelled(etcd: &Fixture) {
    fill(etcd).await;
    etcd.compact(4).await;
    let mut watching = etcd.watch().await;
    let id = watching.create(watch("k", 2)).await.watch_id;
    let cancelled = watching.next().await;
    assert_eq!(
        (
            cancelled.watch_id,
            cancelled.canceled,
            cancelled.compact_revision
        ),
        (id, true, 4)
    );
    assert!(watching.create(watch("k", 4)).await.created);
    assert_eq!(
        revisions(&watching.events(1).await),
        [4],
        "the compacted revision itself is there"
    );
}

pub(crate) async fn a_wish_for_an_id_in_use_is_refused(etcd: &Fixture) {
    let mut watching = etcd.watch().await;
    let wish = || WatchCreateRequest {
        watch_id: 5,
        ..watch("k", 0)
    };
    assert_eq!(watching.create(wish()).await.watch_id, 5);
    let refused: WatchResponse = watching.create(wish()).await;
    assert_eq!(
        (refused.watch_id, refused.created, refused.canceled),
        (-1, true, true)
    );
    assert!(!refused.cancel_reason.is_empty());
}

pub(crate) async fn progress_is_told_on_request(etcd: &Fixture) {
    let mut watching = etcd.watch().await;
    watching.create(watch("k", 0)).await;
    fill(etcd).await;
    watching.events(3).await;
    watching
        .send(RequestUnion::ProgressRequest(WatchProgressRequest {}))
        .await;
    let notice = watching.next().await;
    assert_eq!((notice.watch_id, notice.events.len()), (-1, 0));
    assert_eq!(notice.header.unwrap().revision, 4);
}
