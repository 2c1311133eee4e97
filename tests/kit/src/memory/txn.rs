//! The rules of a transaction that need no store: how many operations, which keys twice, and
//! whether a condition holds for a record.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use dm_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use dm_proto::etcdserverpb::request_op::Request;
use dm_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use dm_proto::mvccpb::KeyValue;

use super::refusal::Refusal;
use super::span::Span;

/// Checks what can be checked before the state is looked at.
pub(crate) fn check(txn: &TxnRequest, max_ops: usize) -> Result<(), Refusal> {
    check_shape(txn, max_ops)?;
    Writes::of(&txn.success)?;
    Writes::of(&txn.failure)?;
    Ok(())
}

fn check_shape(txn: &TxnRequest, max_ops: usize) -> Result<(), Refusal> {
    let ops = txn
        .compare
        .len()
        .max(txn.success.len())
        .max(txn.failure.len());
    let left = max_ops.checked_sub(ops).ok_or(Refusal::TooManyOps)?;
    if txn.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Refusal::EmptyKey);
    }
    txn.success
        .iter()
        .chain(&txn.failure)
        .try_for_each(|op| match &op.request {
            Some(Request::RequestRange(range)) => check_range(range),
            Some(Request::RequestPut(put)) => check_put(put),
            Some(Request::RequestDeleteRange(delete)) => check_delete(delete),
            Some(Request::RequestTxn(inner)) => check_shape(inner, left),
            None => Err(Refusal::KeyNotFound),
        })
}

pub(crate) fn check_range(range: &RangeRequest) -> Result<(), Refusal> {
    if range.key.is_empty() {
        Err(Refusal::EmptyKey)
    } else {
        Ok(())
    }
}

pub(crate) fn check_put(put: &PutRequest) -> Result<(), Refusal> {
    match put {
        put if put.key.is_empty() => Err(Refusal::EmptyKey),
        put if put.ignore_value && !put.value.is_empty() => Err(Refusal::ValueProvided),
        put if put.ignore_lease && put.lease != 0 => Err(Refusal::LeaseProvided),
        _ => Ok(()),
    }
}

pub(crate) fn check_delete(delete: &DeleteRangeRequest) -> Result<(), Refusal> {
    if delete.key.is_empty() {
        Err(Refusal::EmptyKey)
    } else {
        Ok(())
    }
}

/// What one branch of a transaction may write, with the branches inside it.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<Span>,
}

impl<'a> Writes<'a> {
    /// Collects a branch; a key put twice, or put and deleted, is refused. Two deletions are fine.
    fn of(ops: &'a [RequestOp]) -> Result<Self, Refusal> {
        let mut writes = Self::default();
        for op in ops {
            if let Some(Request::RequestDeleteRange(delete)) = &op.request {
                writes
                    .deletes
                    .push(Span::new(&delete.key, &delete.range_end));
            }
        }
        for op in ops {
            if let Some(Request::RequestTxn(inner)) = &op.request {
                // Only one of the two runs, so they may well write the same keys.
                let (mut either, or) = (Self::of(&inner.success)?, Self::of(&inner.failure)?);
                either.puts.extend(or.puts);
                either.deletes.extend(or.deletes);
                either.puts.iter().try_for_each(|key| writes.put(key))?;
                writes.deletes.extend(either.deletes);
            }
        }
        for op in ops {
            if let Some(Request::RequestPut(put)) = &op.request {
                writes.put(&put.key)?;
            }
        }
        Ok(writes)
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Refusal> {
        let deleted = self.deletes.iter().any(|span| span.contains(key));
        if deleted || !self.puts.insert(key) {
            Err(Refusal::DuplicateKey)
        } else {
            Ok(())
        }
    }
}

/// Whether a condition holds for the records in its range: for all of them, and when there is
/// none, for a record of zeros, except that no value equals a missing one.
pub(crate) fn holds<'a>(compare: &Compare, records: impl Iterator<Item = &'a KeyValue>) -> bool {
    let mut records = records.peekable();
    if records.peek().is_none() {
        return compare.target() != CompareTarget::Value
            && holds_for(compare, &KeyValue::default());
    }
    records.all(|record| holds_for(compare, record))
}

fn holds_for(compare: &Compare, record: &KeyValue) -> bool {
    let wanted = compare.target_union.as_ref();
    let number = |is: i64, pick: fn(&TargetUnion) -> Option<i64>| {
        is.cmp(&wanted.and_then(pick).unwrap_or_default())
    };
    let order = match compare.target() {
        CompareTarget::Version => number(record.version, |target| match target {
            TargetUnion::Version(version) => Some(*version),
            _ => None,
        }),
        CompareTarget::Create => number(record.create_revision, |target| match target {
            TargetUnion::CreateRevision(revision) => Some(*revision),
            _ => None,
        }),
        CompareTarget::Mod => number(record.mod_revision, |target| match target {
            TargetUnion::ModRevision(revision) => Some(*revision),
            _ => None,
        }),
        CompareTarget::Lease => number(record.lease, |target| match target {
            TargetUnion::Lease(lease) => Some(*lease),
            _ => None,
        }),
        CompareTarget::Value => match wanted {
            Some(TargetUnion::Value(value)) => record.value.cmp(value),
            _ => record.value.as_slice().cmp(&[]),
        },
    };
    match compare.result() {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::NotEqual => order != Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
    }
}
