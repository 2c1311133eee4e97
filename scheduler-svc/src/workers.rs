//! Calls to workers: as many at a time as the settings allow, each with a limit. A worker that does not answer
//! costs its own row and nothing else.

use std::sync::Arc;
use std::time::Duration;

use dm_errors::{Code, DmError};
use dm_proto::pb;
use dm_proto::pb::worker_client::WorkerClient;
use dm_service::client::{Channel, Channels};
use tokio::sync::Semaphore;
use tonic::{Code as Grpc, Request, Response, Status};

/// A list of differing rows or of schemas may be long; more than this is a fault of the worker.
pub(crate) const MOST_ANSWER_BYTES: usize = 64 << 20;

/// The way to all workers. Clones share the limit.
#[derive(Clone, Debug)]
pub struct Workers {
    channels: Channels,
    slots: Arc<Semaphore>,
    timeout: Duration,
}

impl Workers {
    /// `timeout` is for one call, waiting for its turn not included.
    #[must_use]
    pub fn new(channels: Channels, concurrency: usize, timeout: Duration) -> Self {
        Self {
            channels,
            slots: Arc::new(Semaphore::new(concurrency)),
            timeout,
        }
    }

    /// Asks a worker for its source and the subtasks of one task, or of all with an empty name.
    ///
    /// # Errors
    /// Whatever keeps the worker from answering in time.
    pub async fn query_status(
        &self,
        addr: &str,
        task: &str,
    ) -> Result<pb::QueryStatusResponse, Status> {
        let name = task.to_owned();
        let message = pb::QueryStatusRequest { name };
        self.call(addr, message, |mut worker, request| async move {
            worker.query_status(request).await
        })
        .await
    }

    /// Sends one message by one method of a worker.
    ///
    /// # Errors
    /// Whatever keeps the worker from answering in time.
    pub async fn call<M, T, F>(
        &self,
        addr: &str,
        message: M,
        method: impl FnOnce(WorkerClient<Channel>, Request<M>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let _turn = self
            .slots
            .acquire()
            .await
            .map_err(|_| Status::unavailable("the scheduler is stopping"))?;
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        let client =
            WorkerClient::new(self.channels.to(addr)?).max_decoding_message_size(MOST_ANSWER_BYTES);
        match tokio::time::timeout(self.timeout, method(client, request)).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded("context deadline exceeded")),
        }
    }
}

/// DM's error for a call that failed, 38008, with the cause in the words of Go's gRPC.
#[must_use]
pub fn call_failed(status: &Status) -> DmError {
    let cause = format!(
        "rpc error: code = {} desc = {}",
        go_name(status.code()),
        status.message()
    );
    DmError::new(Code::MASTER_GRPC_REQUEST_ERROR, &[]).cause(cause)
}

fn go_name(code: Grpc) -> String {
    match code {
        Grpc::Ok => "OK".to_owned(),
        Grpc::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_reads_as_in_dm() {
        assert_eq!(
            call_failed(&Status::unavailable("gone")).to_string(),
            "[code=38008:class=dm-master:scope=internal:level=high], Message: grpc request error, \
             RawCause: rpc error: code = Unavailable desc = gone"
        );
        assert_eq!(go_name(Grpc::Cancelled), "Canceled");
    }
}
