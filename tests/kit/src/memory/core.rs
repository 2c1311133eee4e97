//! The model itself: etcd's answers as a function of the requests so far and a time handed in.
//!
//! No I/O, no clock. Requests and answers are etcd's own messages. What must stay true: a request
//! that is refused changes nothing, and one that is accepted makes at most one revision.

use std::time::Duration;

use dm_proto::etcdserverpb as pb;
use dm_proto::etcdserverpb::request_op::Request;
use dm_proto::etcdserverpb::response_op::Response;
use pb::{PutRequest, PutResponse, ResponseHeader, ResponseOp, TxnRequest, TxnResponse};

use super::history::History;
use super::lease::Leases;
use super::range;
use super::refusal::Refusal;
use super::span::Span;
use super::txn;
use super::watch::Streams;

/// Ids that every answer carries; any constants do.
const CLUSTER_ID: u64 = 0x0dd5_eed5_0dd5_eed5;
/// The one member of the cluster.
pub(crate) const MEMBER_ID: u64 = 0x0a11_ce00_0a11_ce00;
/// Nobody ever stood against it.
pub(crate) const RAFT_TERM: u64 = 2;

/// One member's state: history, leases and the watch streams that are fed from it.
#[derive(Debug)]
pub(crate) struct Core {
    history: History,
    leases: Leases,
    streams: Streams,
    max_txn_ops: usize,
}

/// A transaction with its conditions decided; those of inner ones too, all on the state before it.
enum Step<'a> {
    Op(&'a Request),
    Txn(Plan<'a>),
}

struct Plan<'a> {
    succeeded: bool,
    steps: Vec<Step<'a>>,
}

impl Core {
    pub(crate) fn new(max_txn_ops: usize, min_lease_ttl: i64) -> Self {
        Self {
            history: History::new(),
            leases: Leases::new(min_lease_ttl),
            streams: Streams::default(),
            max_txn_ops,
        }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.history.revision()
    }

    /// The head of an answer made now.
    pub(crate) fn header(&self) -> ResponseHeader {
        header(self.history.revision())
    }

    /// The watch streams, to open, ask and drain.
    pub(crate) fn watch(&mut self) -> (&mut Streams, &History) {
        (&mut self.streams, &self.history)
    }

    pub(crate) fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Refusal> {
        txn::check_range(request)?;
        self.history.check_readable(request.revision)?;
        Ok(range::answer(&self.history, request, self.header()))
    }

    pub(crate) fn put(&mut self, request: PutRequest) -> Result<PutResponse, Refusal> {
        txn::check_put(&request)?;
        self.check_lease(&request)?;
        self.check_kept(&request)?;
        let mut response = self.apply_put(&request);
        response.header = Some(self.seal());
        Ok(response)
    }

    pub(crate) fn delete(
        &mut self,
        request: &pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Refusal> {
        txn::check_delete(request)?;
        let mut response = self.apply_delete(request);
        response.header = Some(self.seal());
        Ok(response)
    }

    pub(crate) fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Refusal> {
        txn::check(request, self.max_txn_ops)?;
        let plan = self.plan(request)?;
        let mut response = self.apply_txn(&plan);
        response.header = Some(self.seal());
        Ok(response)
    }

    pub(crate) fn compact(&mut self, revision: i64) -> Result<pb::CompactionResponse, Refusal> {
        self.history.compact(revision)?;
        self.streams.pump(&self.history);
        Ok(pb::CompactionResponse {
            header: Some(self.header()),
        })
    }

    /// Decides the conditions, and refuses what cannot be carried out to its end.
    fn plan<'a>(&self, request: &'a TxnRequest) -> Result<Plan<'a>, Refusal> {
        let succeeded = request.compare.iter().all(|compare| {
            let span = Span::new(&compare.key, &compare.range_end);
            txn::holds(compare, self.history.at(&span, i64::MAX))
        });
        let branch = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let steps = branch
            .iter()
            .filter_map(|op| op.request.as_ref())
            .map(|op| self.plan_step(op));
        Ok(Plan {
            succeeded,
            steps: steps.collect::<Result<_, _>>()?,
        })
    }

    fn plan_step<'a>(&self, op: &'a Request) -> Result<Step<'a>, Refusal> {
        match op {
            Request::RequestTxn(inner) => return self.plan(inner).map(Step::Txn),
            Request::RequestRange(range) => self.history.check_readable(range.revision)?,
            // The other way round than outside a transaction, as etcd has it.
            Request::RequestPut(put) => {
                self.check_kept(put)?;
                self.check_lease(put)?;
            }
            Request::RequestDeleteRange(_) => {}
        }
        Ok(Step::Op(op))
    }

    fn check_lease(&self, put: &PutRequest) -> Result<(), Refusal> {
        if put.lease != 0 && !self.leases.exists(put.lease) {
            return Err(Refusal::LeaseNotFound);
        }
        Ok(())
    }

    fn check_kept(&self, put: &PutRequest) -> Result<(), Refusal> {
        if (put.ignore_value || put.ignore_lease) && self.history.get(&put.key).is_none() {
            return Err(Refusal::KeyNotFound);
        }
        Ok(())
    }

    fn apply_txn(&mut self, plan: &Plan<'_>) -> TxnResponse {
        let responses = plan
            .steps
            .iter()
            .map(|step| self.apply_step(step))
            .collect();
        // etcd leaves the head of an inner transaction empty; the outer one gets its own later.
        TxnResponse {
            header: Some(ResponseHeader::default()),
            succeeded: plan.succeeded,
            responses,
        }
    }

    fn apply_step(&mut self, step: &Step<'_>) -> ResponseOp {
        let response = match step {
            Step::Txn(plan) => Response::ResponseTxn(self.apply_txn(plan)),
            Step::Op(Request::RequestPut(put)) => Response::ResponsePut(self.apply_put(put)),
            Step::Op(Request::RequestDeleteRange(delete)) => {
                Response::ResponseDeleteRange(self.apply_delete(delete))
            }
            Step::Op(Request::RequestRange(range)) => {
                Response::ResponseRange(range::answer(&self.history, range, self.inner_header()))
            }
            // `plan_step` makes plans of these.
            Step::Op(Request::RequestTxn(_)) => Response::ResponseTxn(TxnResponse::default()),
        };
        ResponseOp {
            response: Some(response),
        }
    }

    fn apply_put(&mut self, put: &PutRequest) -> PutResponse {
        let old = self
            .history
            .get(&put.key)
            .map(|old| (old.value.clone(), old.lease));
        let (old_value, old_lease) = old.unwrap_or_default();
        let value = if put.ignore_value {
            old_value
        } else {
            put.value.clone()
        };
        let lease = if put.ignore_lease {
            old_lease
        } else {
            put.lease
        };
        let previous = self.history.put(&put.key, value, lease);
        self.leases.reattach(&put.key, old_lease, lease);
        let prev_kv = if put.prev_kv { previous } else { None };
        PutResponse {
            header: Some(self.inner_header()),
            prev_kv,
        }
    }

    fn apply_delete(&mut self, delete: &pb::DeleteRangeRequest) -> pb::DeleteRangeResponse {
        let gone = self
            .history
            .delete(&Span::new(&delete.key, &delete.range_end));
        for record in &gone {
            self.leases.reattach(&record.key, record.lease, 0);
        }
        pb::DeleteRangeResponse {
            header: Some(self.inner_header()),
            deleted: i64::try_from(gone.len()).unwrap_or(i64::MAX),
            prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
        }
    }

    /// The head of an operation's answer inside a transaction: a revision, and not a word about
    /// the server.
    fn inner_header(&self) -> ResponseHeader {
        ResponseHeader {
            revision: self.history.revision() + i64::from(self.history.is_dirty()),
            ..ResponseHeader::default()
        }
    }

    /// Ends a request that may have written: its revision is made and told to the watches.
    fn seal(&mut self) -> ResponseHeader {
        self.history.seal();
        self.streams.pump(&self.history);
        self.header()
    }

    pub(crate) fn lease_grant(
        &mut self,
        id: i64,
        ttl: i64,
    ) -> Result<pb::LeaseGrantResponse, Refusal> {
        let (id, ttl) = self.leases.grant(id, ttl)?;
        Ok(pb::LeaseGrantResponse {
            header: Some(self.header()),
            id,
            ttl,
            error: String::new(),
        })
    }

    pub(crate) fn lease_revoke(&mut self, id: i64) -> Result<pb::LeaseRevokeResponse, Refusal> {
        for key in self.leases.end(id)? {
            self.history.delete(&Span::new(&key, b""));
        }
        Ok(pb::LeaseRevokeResponse {
            header: Some(self.seal()),
        })
    }

    /// A lease that is gone is not refused: the answer has a TTL of 0.
    pub(crate) fn lease_keep_alive(&mut self, id: i64) -> pb::LeaseKeepAliveResponse {
        let ttl = self.leases.keep_alive(id).unwrap_or(0);
        pb::LeaseKeepAliveResponse {
            header: Some(self.header()),
            id,
            ttl,
        }
    }

    /// A lease that is gone is not refused: the answer has a TTL of -1.
    pub(crate) fn lease_time_to_live(
        &self,
        request: &pb::LeaseTimeToLiveRequest,
    ) -> pb::LeaseTimeToLiveResponse {
        let header = Some(self.header());
        match self.leases.remaining(request.id) {
            Some(left) => pb::LeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: left.seconds,
                granted_ttl: left.granted,
                keys: if request.keys { left.keys } else { Vec::new() },
            },
            None => pb::LeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: -1,
                ..Default::default()
            },
        }
    }

    pub(crate) fn lease_list(&self) -> pb::LeaseLeasesResponse {
        let leases = self
            .leases
            .ids()
            .into_iter()
            .map(|id| pb::LeaseStatus { id })
            .collect();
        pb::LeaseLeasesResponse {
            header: Some(self.header()),
            leases,
        }
    }

    /// The time that leases have seen.
    pub(crate) fn now(&self) -> Duration {
        self.leases.now()
    }

    /// When the next lease runs out, unless it is renewed.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.leases.next_deadline()
    }

    /// Moves the time and ends the leases that have run out, each in a revision of its own.
    pub(crate) fn advance_to(&mut self, now: Duration) {
        self.leases.set_now(now);
        while let Some(id) = self.leases.expired() {
            // Only an unknown lease is refused, and this one was just listed.
            let _revoked = self.lease_revoke(id);
        }
    }
}

/// The head of an answer at a revision.
pub(crate) fn header(revision: i64) -> ResponseHeader {
    ResponseHeader {
        cluster_id: CLUSTER_ID,
        member_id: MEMBER_ID,
        revision,
        raft_term: RAFT_TERM,
    }
}
