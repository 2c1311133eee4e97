//! The same random requests to both servers: every answer must be the same, to the last field.

use dm_proto::etcdserverpb as pb;
use dm_proto::etcdserverpb::compare::{CompareResult, TargetUnion};
use dm_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use dm_proto::etcdserverpb::request_op::Request;
use dm_proto::etcdserverpb::response_op::Response;
use dm_proto::mvccpb::Event;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::fixture::{Fixture, compare, delete, op, put, range, watch};

const KEYS: [&str; 5] = ["k/a", "k/b", "k/c", "k/d", "k/e"];
const REQUESTS: usize = 600;

fn key(rng: &mut StdRng) -> &'static str {
    KEYS[rng.random_range(0..KEYS.len())]
}

fn end(rng: &mut StdRng) -> &'static str {
    ["", "", "k/c", "k/f", "\0"][rng.random_range(0..5)]
}

fn number(rng: &mut StdRng, newest: i64) -> i64 {
    (newest - rng.random_range(-1..12)).max(0)
}

fn random_range(rng: &mut StdRng, newest: i64) -> pb::RangeRequest {
    pb::RangeRequest {
        limit: rng.random_range(0..4),
        revision: if rng.random_bool(0.5) {
            0
        } else {
            number(rng, newest)
        },
        // Records that are equal otherwise come in any order from etcd; keys never are.
        sort_target: SortTarget::Key.into(),
        sort_order: [SortOrder::None, SortOrder::Ascend, SortOrder::Descend]
            [rng.random_range(0..3)]
        .into(),
        keys_only: rng.random_bool(0.2),
        count_only: rng.random_bool(0.1),
        min_mod_revision: if rng.random_bool(0.8) {
            0
        } else {
            number(rng, newest)
        },
        max_create_revision: if rng.random_bool(0.8) {
            0
        } else {
            number(rng, newest)
        },
        ..range(key(rng), end(rng))
    }
}

fn random_put(rng: &mut StdRng) -> pb::PutRequest {
    let ignore_value = rng.random_bool(0.1);
    let value = if ignore_value {
        String::new()
    } else {
        rng.random_range(0..4).to_string()
    };
    // One lease in use, one that is none.
    let lease = [0, 0, 0, 7, 4_711][rng.random_range(0..5)];
    let ignore_lease = lease == 0 && rng.random_bool(0.2);
    pb::PutRequest {
        lease,
        ignore_value,
        ignore_lease,
        prev_kv: rng.random_bool(0.5),
        ..put(key(rng), &value)
    }
}

fn random_delete(rng: &mut StdRng) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        prev_kv: rng.random_bool(0.5),
        ..delete(key(rng), end(rng))
    }
}

fn random_compare(rng: &mut StdRng, newest: i64) -> pb::Compare {
    let at = number(rng, newest);
    let target = match rng.random_range(0..5) {
        0 => TargetUnion::Version(rng.random_range(0..4)),
        1 => TargetUnion::CreateRevision(at),
        2 => TargetUnion::ModRevision(at),
        3 => TargetUnion::Lease([0, 7][rng.random_range(0..2)]),
        _ => TargetUnion::Value(rng.random_range(0..4).to_string().into()),
    };
    let result = CompareResult::try_from(rng.random_range(0..4)).unwrap();
    pb::Compare {
        range_end: end(rng).into(),
        ..compare(key(rng), result, target)
    }
}

fn random_ops(rng: &mut StdRng, newest: i64, depth: u32) -> Vec<pb::RequestOp> {
    let count = rng.random_range(0..4);
    let ops = (0..count).map(|_| match rng.random_range(0..8) {
        0..3 => Request::RequestPut(random_put(rng)),
        3..5 => Request::RequestRange(random_range(rng, newest)),
        5..7 => Request::RequestDeleteRange(pb::DeleteRangeRequest {
            range_end: Vec::new(),
            ..random_delete(rng)
        }),
        _ if depth == 0 => Request::RequestPut(random_put(rng)),
        _ => Request::RequestTxn(random_txn(rng, newest, depth - 1)),
    });
    ops.map(op).collect()
}

fn random_txn(rng: &mut StdRng, newest: i64, depth: u32) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: (0..rng.random_range(0..3))
            .map(|_| random_compare(rng, newest))
            .collect(),
        success: random_ops(rng, newest, depth),
        failure: random_ops(rng, newest, depth),
    }
}

fn random_request(rng: &mut StdRng, newest: i64) -> Request {
    match rng.random_range(0..10) {
        0..3 => Request::RequestPut(random_put(rng)),
        3 => Request::RequestDeleteRange(random_delete(rng)),
        4..6 => Request::RequestRange(random_range(rng, newest)),
        _ => Request::RequestTxn(random_txn(rng, newest, 1)),
    }
}

/// The answer in a comparable form: without the ids of the server, refusals as text.
async fn answer(etcd: &Fixture, request: Request) -> String {
    let mut kv = etcd.kv();
    let mut response = match request {
        Request::RequestRange(range) => kv
            .range(range)
            .await
            .map(|ok| Response::ResponseRange(ok.into_inner())),
        Request::RequestPut(put) => kv
            .put(put)
            .await
            .map(|ok| Response::ResponsePut(ok.into_inner())),
        Request::RequestDeleteRange(delete) => kv
            .delete_range(delete)
            .await
            .map(|ok| Response::ResponseDeleteRange(ok.into_inner())),
        Request::RequestTxn(txn) => kv
            .txn(txn)
            .await
            .map(|ok| Response::ResponseTxn(ok.into_inner())),
    };
    if let Ok(response) = &mut response {
        forget_server(response);
    }
    match response {
        Ok(response) => format!("{response:?}"),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// The head of the whole answer names the server; the heads inside a transaction's answer do not.
fn forget_server(response: &mut Response) {
    let header = match response {
        Response::ResponseRange(range) => &mut range.header,
        Response::ResponsePut(put) => &mut put.header,
        Response::ResponseDeleteRange(delete) => &mut delete.header,
        Response::ResponseTxn(txn) => &mut txn.header,
    };
    let revision = header.as_ref().unwrap().revision;
    *header = Some(pb::ResponseHeader {
        revision,
        ..pb::ResponseHeader::default()
    });
}

async fn history(etcd: &Fixture, from: i64) -> Vec<Event> {
    let last = etcd.put("k/last", "the end").await;
    let mut watching = etcd.watch().await;
    watching
        .create(pb::WatchCreateRequest {
            prev_kv: true,
            ..watch("k/", from)
        })
        .await;
    let mut events: Vec<Event> = Vec::new();
    while events
        .last()
        .is_none_or(|event| event.kv.as_ref().unwrap().mod_revision < last)
    {
        events.extend(watching.next().await.events);
    }
    events
}

#[tokio::test]
async fn both_answer_random_requests_alike() {
    let (model, real) = (Fixture::memory().await, Fixture::real().await);
    for etcd in [&model, &real] {
        etcd.leases()
            .lease_grant(pb::LeaseGrantRequest { ttl: 10_000, id: 7 })
            .await
            .unwrap();
    }
    for seed in 1..=3 {
        let rng = &mut StdRng::seed_from_u64(seed);
        for step in 0..REQUESTS {
            let request = random_request(rng, model.revision().await);
            let (says, wanted) = (
                answer(&model, request.clone()).await,
                answer(&real, request.clone()).await,
            );
            assert_eq!(
                says, wanted,
                "seed {seed}, step {step}: the model and etcd differ on {request:?}"
            );
        }
        let revision = model.revision().await - 50;
        for etcd in [&model, &real] {
            etcd.compact(revision).await;
        }
        assert_eq!(
            history(&model, revision + 1).await,
            history(&real, revision + 1).await,
            "seed {seed}"
        );
    }
}
