//! etcd's `Lease` service.

use dm_proto::etcdserverpb::lease_server::Lease;
use dm_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{STREAM_BUFFER, Service};

type Replies = mpsc::Sender<Result<LeaseKeepAliveResponse, Status>>;

#[tonic::async_trait]
impl Lease for Service {
    type LeaseKeepAliveStream = ReceiverStream<Result<LeaseKeepAliveResponse, Status>>;

    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let LeaseGrantRequest { id, ttl } = request.into_inner();
        self.0
            .call("LeaseGrant", |core| core.lease_grant(id, ttl))
            .map(Response::new)
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        self.0
            .call("LeaseRevoke", |core| {
                core.lease_revoke(request.get_ref().id)
            })
            .map(Response::new)
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (replies, stream) = mpsc::channel(STREAM_BUFFER);
        let cut = self.0.cut_token();
        let service = self.clone();
        tokio::spawn(async move {
            let answered = service.answer_renewals(request.into_inner(), &replies);
            if cut.run_until_cancelled(answered).await.is_none() {
                let _gone = replies
                    .send(Err(Status::unavailable("connection reset")))
                    .await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        self.0
            .call("LeaseTimeToLive", |core| {
                Ok(core.lease_time_to_live(request.get_ref()))
            })
            .map(Response::new)
    }

    async fn lease_leases(
        &self,
        _: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        self.0
            .call("LeaseLeases", |core| Ok(core.lease_list()))
            .map(Response::new)
    }
}

impl Service {
    /// Until either side ends the stream; a planned failure ends it too.
    async fn answer_renewals(
        &self,
        mut requests: Streaming<LeaseKeepAliveRequest>,
        replies: &Replies,
    ) {
        while let Ok(Some(request)) = requests.message().await {
            let reply = self.0.call("LeaseKeepAlive", |core| {
                Ok(core.lease_keep_alive(request.id))
            });
            let failed = reply.is_err();
            if replies.send(reply).await.is_err() || failed {
                return;
            }
        }
    }
}
