//! etcd's `KV` service.

use dm_proto::etcdserverpb::kv_server::Kv;
use dm_proto::etcdserverpb::request_op::Request as OpRequest;
use dm_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use tonic::{Request, Response, Status};

use super::Service;

/// First keys of what a transaction deletes in either branch; transactions inside of it are not looked into.
fn deleted(txn: &TxnRequest) -> impl Iterator<Item = &[u8]> {
    let ops = txn.success.iter().chain(&txn.failure);
    ops.filter_map(|op| match &op.request {
        Some(OpRequest::RequestDeleteRange(range)) => Some(range.key.as_slice()),
        _ => None,
    })
}

#[tonic::async_trait]
impl Kv for Service {
    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        self.0
            .call("Range", |core| core.range(request.get_ref()))
            .map(Response::new)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        self.0
            .call("Put", |core| core.put(request.into_inner()))
            .map(Response::new)
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let key = request.get_ref().key.as_slice();
        self.0
            .with_faults(|faults| faults.delete("DeleteRange", [key].into_iter()))?;
        self.0
            .call("DeleteRange", |core| core.delete(request.get_ref()))
            .map(Response::new)
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        self.0
            .with_faults(|faults| faults.delete("Txn", deleted(request.get_ref())))?;
        self.0
            .call("Txn", |core| core.txn(request.get_ref()))
            .map(Response::new)
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        self.0
            .call("Compact", |core| core.compact(request.get_ref().revision))
            .map(Response::new)
    }
}
