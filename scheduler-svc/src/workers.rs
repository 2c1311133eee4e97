//! Calls to workers: as many at a time as the settings allow, each with a limit. A worker that does not answer
//! costs its own row and nothing else.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dm_errors::{Code, DmError};
use dm_proto::pb;
use dm_proto::pb::worker_client::WorkerClient;
use dm_service::client::{Channel, Channels};
use dm_service::clock::Deadline;
use tokio::sync::Semaphore;
use tonic::{Code as Grpc, Request, Response, Status};

/// A list of differing rows or of schemas may be long; more than this is a fault of the worker.
pub(crate) const MOST_ANSWER_BYTES: usize = 64 << 20;

/// Calls to one worker that may be under way at a time.
const PER_WORKER: usize = 2;
/// A call that takes longer gives its place to others, and goes on without one.
const PATIENCE: Duration = Duration::from_secs(1);
/// A worker that has not answered in time is not asked again for so long.
const REST: Duration = Duration::from_secs(5);
/// So many addresses are remembered before those are forgotten that nobody calls.
const MOST_LANES: usize = 10_000;

/// The way to all workers. Clones share the limits.
///
/// There are places for calls that have just begun, for all workers together, and a few for each worker, whatever
/// its calls are at. So of workers that hang, each holds a bounded number of calls, and none of the common places.
#[derive(Clone, Debug)]
pub struct Workers {
    channels: Channels,
    places: Arc<Semaphore>,
    lanes: Arc<Mutex<BTreeMap<String, Arc<Lane>>>>,
    timeout: Duration,
}

/// The calls to one address.
#[derive(Debug)]
struct Lane {
    places: Semaphore,
    rest: Mutex<Option<Deadline>>,
}

impl Lane {
    fn is_resting(&self) -> bool {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.as_ref()
            .is_some_and(|until| !until.remaining().is_zero())
    }

    fn set_rest(&self, rest: Option<Deadline>) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = rest;
    }
}

impl Workers {
    /// `concurrency` is for calls that have just begun; `timeout` is for one call, waiting for its turn included.
    #[must_use]
    pub fn new(channels: Channels, concurrency: usize, timeout: Duration) -> Self {
        Self {
            channels,
            places: Arc::new(Semaphore::new(concurrency)),
            lanes: Arc::default(),
            timeout,
        }
    }

    fn lane(&self, addr: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= MOST_LANES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let lane = lanes.entry(addr.to_owned()).or_insert_with(|| {
            Arc::new(Lane {
                places: Semaphore::new(PER_WORKER),
                rest: Mutex::default(),
            })
        });
        Arc::clone(lane)
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
        let lane = self.lane(addr);
        if lane.is_resting() {
            let text = "context deadline exceeded: the worker has not answered a moment ago";
            return Err(Status::deadline_exceeded(text));
        }
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        let client =
            WorkerClient::new(self.channels.to(addr)?).max_decoding_message_size(MOST_ANSWER_BYTES);
        let is_asked = AtomicBool::new(false);
        let answer = async {
            let stopping = |_| Status::unavailable("the scheduler is stopping");
            let _turn = lane.places.acquire().await.map_err(stopping)?;
            let place = self.places.acquire().await.map_err(stopping)?;
            is_asked.store(true, Ordering::Relaxed);
            let mut answer = pin!(method(client, request));
            if let Ok(answer) = tokio::time::timeout(PATIENCE, &mut answer).await {
                return answer;
            }
            drop(place);
            answer.await
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Err(status)) if status.code() == Grpc::DeadlineExceeded => {
                lane.set_rest(Some(Deadline::after(REST.min(self.timeout))));
                Err(status)
            }
            Ok(answer) => {
                lane.set_rest(None);
                answer.map(Response::into_inner)
            }
            Err(_) => {
                // Whoever has not got a turn knows nothing about the worker.
                if is_asked.into_inner() {
                    lane.set_rest(Some(Deadline::after(REST.min(self.timeout))));
                }
                Err(Status::deadline_exceeded("context deadline exceeded"))
            }
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

    fn channels() -> Channels {
        Channels::new(None, Duration::from_secs(30), Duration::from_secs(300))
    }

    /// An address that takes connections and never says a word.
    fn hangs() -> (std::net::TcpListener, String) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        (listener, addr)
    }

    /// An address that answers whatever it is asked with an error of gRPC.
    async fn answers() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server =
            tonic::transport::Server::builder().add_routes(tonic::service::Routes::default());
        tokio::spawn(server.serve_with_incoming(incoming));
        addr
    }

    #[tokio::test]
    async fn workers_that_hang_cost_others_no_more_than_their_patience() {
        let workers = Workers::new(channels(), 64, Duration::from_secs(300));
        let hung: Vec<_> = (0..65).map(|_| hangs()).collect();
        let mut calls = tokio::task::JoinSet::new();
        for (_, addr) in &hung {
            // More of them than any worker has places.
            for _ in 0..3 {
                let (workers, addr) = (workers.clone(), addr.clone());
                calls.spawn(async move { workers.query_status(&addr, "").await });
            }
        }
        let taken = || async { workers.places.available_permits() == 0 };
        let limit = Duration::from_secs(30);
        dm_testkit::wait_until(limit, "calls in all places", taken)
            .await
            .unwrap();
        let answer = workers.query_status(&answers().await, "").await;
        assert_eq!(answer.unwrap_err().code(), Grpc::Unimplemented);
        assert!(
            calls.try_join_next().is_none(),
            "a worker that hangs has answered"
        );
    }

    #[tokio::test]
    async fn a_worker_that_has_just_kept_silent_is_not_asked_again_at_once() {
        let workers = Workers::new(channels(), 64, Duration::from_millis(50));
        let (_listener, addr) = hangs();
        let first = workers.query_status(&addr, "").await.unwrap_err();
        assert_eq!(first.code(), Grpc::DeadlineExceeded);
        assert!(workers.lane(&addr).rest.lock().unwrap().is_some());
        workers
            .lane(&addr)
            .set_rest(Some(Deadline::after(Duration::from_secs(60))));
        let again = workers.query_status(&addr, "").await.unwrap_err();
        assert_eq!(again.code(), Grpc::DeadlineExceeded);
        assert!(again.message().ends_with("a moment ago"), "{again:?}");
        // Others are asked.
        let other = answers().await;
        let workers = Workers::new(channels(), 64, Duration::from_secs(30));
        let answer = workers.query_status(&other, "").await.unwrap_err();
        assert_eq!(answer.code(), Grpc::Unimplemented);
    }

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
