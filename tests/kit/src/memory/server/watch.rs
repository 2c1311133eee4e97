//! etcd's `Watch` service.

use std::sync::Arc;

use dm_proto::etcdserverpb::watch_request::RequestUnion;
use dm_proto::etcdserverpb::watch_server::Watch;
use dm_proto::etcdserverpb::{WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::super::watch::StreamId;
use super::{STREAM_BUFFER, Service, Shared};

type Replies = mpsc::Sender<Result<WatchResponse, Status>>;

#[tonic::async_trait]
impl Watch for Service {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let id = self.0.call("Watch", |core| Ok(core.watch().0.open()))?;
        let (replies, stream) = mpsc::channel(STREAM_BUFFER);
        let stream_task = OpenStream {
            shared: Arc::clone(&self.0),
            id,
        };
        let cut = self.0.cut_token();
        tokio::spawn(async move {
            let ended = cut
                .run_until_cancelled(stream_task.run(request.into_inner(), &replies))
                .await;
            let last = ended.unwrap_or_else(|| Err(Status::unavailable("connection reset")));
            if let Err(status) = last {
                let _gone = replies.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// A client's stream; its watchers go when it is dropped.
struct OpenStream {
    shared: Arc<Shared>,
    id: StreamId,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.shared.lock().core.watch().0.close(self.id);
    }
}

impl OpenStream {
    async fn run(
        &self,
        mut requests: Streaming<WatchRequest>,
        replies: &Replies,
    ) -> Result<(), Status> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.request(request)?,
                    // The client is gone, with or without a word.
                    Ok(None) | Err(_) => return Ok(()),
                },
                told = changed.changed() => if told.is_err() { return Ok(()) },
            }
            let waiting = self.shared.lock().core.watch().0.take(self.id);
            for response in waiting {
                if replies.send(Ok(response)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn request(&self, request: WatchRequest) -> Result<(), Status> {
        let Some(union) = request.request_union else {
            return Ok(());
        };
        let mut state = self.shared.lock();
        if matches!(union, RequestUnion::CreateRequest(_)) {
            state.faults.enter("WatchCreate")?;
        }
        state.follow_clock();
        let (streams, history) = state.core.watch();
        streams.request(self.id, union, history);
        Ok(())
    }
}
