//! Range requests: which records, in which order, how many of them, and what of each.

use dm_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use dm_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use dm_proto::mvccpb::KeyValue;

use super::history::History;
use super::span::Span;

/// Answers a request whose revision is known to be readable.
pub(crate) fn answer(
    history: &History,
    request: &RangeRequest,
    header: ResponseHeader,
) -> RangeResponse {
    let at = if request.revision > 0 {
        request.revision
    } else {
        i64::MAX
    };
    let span = Span::new(&request.key, &request.range_end);
    let mut records: Vec<&KeyValue> = history.at(&span, at).collect();
    // As in etcd, the count knows neither the limit nor the revision filters.
    let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
    let mut response = RangeResponse {
        header: Some(header),
        count,
        ..RangeResponse::default()
    };
    if request.count_only {
        return response;
    }
    records.retain(|record| passes(request, record));
    sort(request, &mut records);
    let limit = usize::try_from(request.limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    response.more = records.len() > limit;
    records.truncate(limit);
    response.kvs = records.into_iter().cloned().collect();
    if request.keys_only {
        response
            .kvs
            .iter_mut()
            .for_each(|record| record.value.clear());
    }
    response
}

/// Bounds of 0 are none.
fn passes(request: &RangeRequest, record: &KeyValue) -> bool {
    let within = |is: i64, min: i64, max: i64| (min == 0 || is >= min) && (max == 0 || is <= max);
    within(
        record.mod_revision,
        request.min_mod_revision,
        request.max_mod_revision,
    ) && within(
        record.create_revision,
        request.min_create_revision,
        request.max_create_revision,
    )
}

fn sort(request: &RangeRequest, records: &mut [&KeyValue]) {
    match request.sort_target() {
        // They come in the order of their keys.
        SortTarget::Key => {}
        SortTarget::Version => records.sort_by_key(|record| record.version),
        SortTarget::Create => records.sort_by_key(|record| record.create_revision),
        SortTarget::Mod => records.sort_by_key(|record| record.mod_revision),
        SortTarget::Value => records.sort_by(|a, b| a.value.cmp(&b.value)),
    }
    if request.sort_order() == SortOrder::Descend {
        records.reverse();
    }
}
