//! Transactions: conditions, limits, and that they are carried out as a whole or not at all.

use dm_proto::etcdserverpb::compare::{CompareResult, TargetUnion};
use dm_proto::etcdserverpb::request_op::Request;
use dm_proto::etcdserverpb::response_op::Response;
use dm_proto::etcdserverpb::{Compare, PutRequest, TxnRequest};
use tonic::Code;

use crate::fixture::{Fixture, assert_refused, compare, delete_op, end_of, op, put, put_op, range};

/// Makes a condition of a number.
type Target = fn(i64) -> TargetUnion;

const RESULTS: [CompareResult; 4] = [
    CompareResult::Less,
    CompareResult::Equal,
    CompareResult::Greater,
    CompareResult::NotEqual,
];

async fn holds(etcd: &Fixture, compare: Compare) -> bool {
    etcd.txn(TxnRequest {
        compare: vec![compare],
        ..TxnRequest::default()
    })
    .await
    .unwrap()
    .succeeded
}

/// Which of `<`, `=`, `>`, `!=` hold.
async fn all_ways(etcd: &Fixture, key: &str, target: &TargetUnion) -> [bool; 4] {
    let mut held = [false; 4];
    for (result, held) in RESULTS.into_iter().zip(&mut held) {
        *held = holds(etcd, compare(key, result, target.clone())).await;
    }
    held
}

const BELOW: [bool; 4] = [true, false, false, true];
const SAME: [bool; 4] = [false, true, false, false];
const ABOVE: [bool; 4] = [false, false, true, true];

pub(crate) async fn every_target_compares_in_every_way(etcd: &Fixture) {
    let lease = etcd.grant(100).await;
    etcd.put("k", "l").await;
    etcd.kv()
        .put(PutRequest {
            lease,
            ..put("k", "m")
        })
        .await
        .unwrap();
    let numbers: [(Target, i64); 4] = [
        (TargetUnion::Version, 2),
        (TargetUnion::CreateRevision, 2),
        (TargetUnion::ModRevision, 3),
        (TargetUnion::Lease, lease),
    ];
    for (target, is) in numbers {
        assert_eq!(all_ways(etcd, "k", &target(is + 1)).await, BELOW);
        assert_eq!(all_ways(etcd, "k", &target(is)).await, SAME);
        assert_eq!(all_ways(etcd, "k", &target(is - 1)).await, ABOVE);
    }
    for (value, held) in [
        ("n", BELOW),
        ("m", SAME),
        ("l", ABOVE),
        ("mm", BELOW),
        ("", ABOVE),
    ] {
        assert_eq!(
            all_ways(etcd, "k", &TargetUnion::Value(value.into())).await,
            held,
            "{value}"
        );
    }
}

pub(crate) async fn a_missing_key_compares_as_zeros(etcd: &Fixture) {
    let numbers: [Target; 4] = [
        TargetUnion::Version,
        TargetUnion::CreateRevision,
        TargetUnion::ModRevision,
        TargetUnion::Lease,
    ];
    for target in numbers {
        assert_eq!(all_ways(etcd, "none", &target(0)).await, SAME);
        assert_eq!(all_ways(etcd, "none", &target(1)).await, BELOW);
    }
    assert_eq!(
        all_ways(etcd, "none", &TargetUnion::Value(Vec::new())).await,
        [false; 4]
    );
}

pub(crate) async fn a_range_compares_as_all_of_its_records(etcd: &Fixture) {
    etcd.put("r/1", "v").await;
    etcd.put("r/2", "v").await;
    let over = |revision| Compare {
        range_end: end_of("r/").into(),
        ..compare(
            "r/",
            CompareResult::Less,
            TargetUnion::ModRevision(revision),
        )
    };
    assert!(holds(etcd, over(4)).await);
    assert!(!holds(etcd, over(3)).await);
}

pub(crate) async fn only_one_branch_is_carried_out(etcd: &Fixture) {
    let request = || TxnRequest {
        compare: vec![compare(
            "k",
            CompareResult::Equal,
            TargetUnion::CreateRevision(0),
        )],
        success: vec![put_op("k", "first")],
        failure: vec![op(Request::RequestRange(range("k", "")))],
    };
    let first = etcd.txn(request()).await.unwrap();
    assert!(
        first.succeeded && matches!(first.responses[0].response, Some(Response::ResponsePut(_)))
    );
    let second = etcd.txn(request()).await.unwrap();
    assert!(!second.succeeded);
    let Some(Response::ResponseRange(range)) = &second.responses[0].response else {
        panic!("{second:?}")
    };
    assert_eq!(range.kvs[0].value, b"first");
    assert_eq!(
        second.header.unwrap().revision,
        2,
        "a read makes no revision"
    );
}

pub(crate) async fn all_operations_share_one_revision(etcd: &Fixture) {
    etcd.put("old", "v").await;
    let success = vec![
        put_op("a", "1"),
        delete_op("old", ""),
        op(Request::RequestRange(range("a", "\0"))),
        put_op("b", "2"),
    ];
    let answer = etcd
        .txn(TxnRequest {
            success,
            ..TxnRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(answer.header.unwrap().revision, 3);
    let Some(Response::ResponseRange(seen)) = &answer.responses[2].response else {
        panic!("{answer:?}")
    };
    assert_eq!(
        seen.kvs
            .iter()
            .map(|kv| kv.key.as_slice())
            .collect::<Vec<_>>(),
        [b"a"],
        "it sees its own writes"
    );
    let revisions = [etcd.get("a").await, etcd.get("b").await].map(|kv| kv.unwrap().mod_revision);
    assert_eq!(revisions, [3, 3]);
}

pub(crate) async fn a_key_changed_twice_is_refused(etcd: &Fixture) {
    let text = "etcdserver: duplicate key given in txn request";
    let twice = |success| TxnRequest {
        success,
        ..TxnRequest::default()
    };
    for ops in [
        vec![put_op("k", "1"), put_op("k", "2")],
        vec![put_op("k", "1"), delete_op("a", "z")],
    ] {
        assert_refused(etcd.txn(twice(ops)).await, Code::InvalidArgument, text);
    }
    etcd.txn(twice(vec![delete_op("k", ""), delete_op("a", "z")]))
        .await
        .unwrap();
    let in_one_of_two = TxnRequest {
        success: vec![put_op("k", "1")],
        failure: vec![put_op("k", "2")],
        ..TxnRequest::default()
    };
    etcd.txn(twice(vec![op(Request::RequestTxn(in_one_of_two.clone()))]))
        .await
        .unwrap();
    let outside_too = vec![op(Request::RequestTxn(in_one_of_two)), put_op("k", "3")];
    assert_refused(
        etcd.txn(twice(outside_too)).await,
        Code::InvalidArgument,
        text,
    );
}

pub(crate) async fn too_many_operations_are_refused(etcd: &Fixture) {
    let ops = |count| TxnRequest {
        success: (0..count)
            .map(|at| put_op(&format!("k{at}"), "v"))
            .collect(),
        ..TxnRequest::default()
    };
    etcd.txn(ops(128)).await.unwrap();
    let text = "etcdserver: too many operations in txn request";
    assert_refused(etcd.txn(ops(129)).await, Code::InvalidArgument, text);
    let conditions = vec![compare("k", CompareResult::Equal, TargetUnion::Version(0)); 129];
    let compares = TxnRequest {
        compare: conditions,
        ..TxnRequest::default()
    };
    assert_refused(etcd.txn(compares).await, Code::InvalidArgument, text);
}

pub(crate) async fn a_refused_operation_leaves_nothing(etcd: &Fixture) {
    let bad_put = op(Request::RequestPut(PutRequest {
        lease: 4_711,
        ..put("b", "v")
    }));
    let request = TxnRequest {
        success: vec![put_op("a", "v"), bad_put],
        ..TxnRequest::default()
    };
    assert_refused(
        etcd.txn(request).await,
        Code::NotFound,
        "etcdserver: requested lease not found",
    );
    assert_eq!(etcd.get("a").await, None);
    assert_eq!(etcd.revision().await, 1);
}

pub(crate) async fn inner_conditions_are_decided_before_anything_is_written(etcd: &Fixture) {
    let inner = TxnRequest {
        compare: vec![compare(
            "a",
            CompareResult::Equal,
            TargetUnion::CreateRevision(0),
        )],
        success: vec![put_op("inner", "a was missing")],
        failure: vec![put_op("inner", "a was there")],
    };
    let outer = vec![put_op("a", "v"), op(Request::RequestTxn(inner))];
    etcd.txn(TxnRequest {
        success: outer,
        ..TxnRequest::default()
    })
    .await
    .unwrap();
    assert_eq!(etcd.get("inner").await.unwrap().value, b"a was missing");
}
