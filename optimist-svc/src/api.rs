//! `dm.optimist.v1.Optimist`. There are no locks yet: none is shown, and none can be unlocked.

use std::convert::Infallible;

use dm_errors::{Code, DmError};
use dm_keyspace::TaskName;
use dm_keyspace::optimism::task_of_lock_id;
use dm_proto::optimist::optimist_server::Optimist as Service;
use dm_proto::optimist::{
    RemoveMetaRequest, RemoveMetaResponse, ShowDdlLocksResponse, WatchLocksRequest,
    WatchLocksResponse,
};
use dm_proto::pb;
use dm_replica::{Handle, Plan, Refused, WriteError};
use dm_service::layers::forward::STALE_READ;
use dm_store::Revision;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::machine::Optimist;

/// The answer when no lock is to be shown.
const NO_LOCK: &str = "no DDL lock exists";
/// The answer to a lock id in which no task can be found.
const NO_TASK_IN_LOCK_ID: &str = "can't find task name from lock-ID";

/// The gRPC methods of one replica.
#[derive(Clone, Debug)]
pub struct Api {
    handle: Handle<Optimist>,
    stopping: CancellationToken,
}

impl Api {
    /// Methods that ask this replica, and end their streams at `stopping`.
    #[must_use]
    pub fn new(handle: Handle<Optimist>, stopping: CancellationToken) -> Self {
        Self { handle, stopping }
    }

    /// The revision at which this replica may answer.
    async fn revision(&self, is_stale: bool) -> Result<Revision, Status> {
        let at = if is_stale {
            self.handle.read_stale(|_, at| at).await
        } else {
            self.handle.read(|_, at| at).await
        };
        at.map_err(|e| unavailable(&e))
    }
}

fn unavailable(refused: &Refused) -> Status {
    match refused {
        Refused::NotLeader => {
            Status::unavailable(DmError::new(Code::MASTER_OPTIMIST_NOT_STARTED, &[]).to_string())
        }
        Refused::NotLoaded | Refused::Stopping => Status::unavailable(refused.to_string()),
    }
}

#[tonic::async_trait]
impl Service for Api {
    type WatchLocksStream = ReceiverStream<Result<WatchLocksResponse, Status>>;

    async fn show_ddl_locks(
        &self,
        request: Request<pb::ShowDdlLocksRequest>,
    ) -> Result<Response<ShowDdlLocksResponse>, Status> {
        let is_stale = request
            .metadata()
            .get(STALE_READ)
            .is_some_and(|value| value == "true");
        let revision = self.revision(is_stale).await?.0;
        let msg = NO_LOCK.to_owned();
        Ok(Response::new(ShowDdlLocksResponse {
            result: true,
            msg,
            revision,
            ..ShowDdlLocksResponse::default()
        }))
    }

    async fn unlock_ddl_lock(
        &self,
        request: Request<pb::UnlockDdlLockRequest>,
    ) -> Result<Response<pb::UnlockDdlLockResponse>, Status> {
        self.revision(false).await?;
        let id = request.into_inner().id;
        let msg = match task_of_lock_id(&id) {
            "" => NO_TASK_IN_LOCK_ID.to_owned(),
            _ => DmError::new(Code::MASTER_LOCK_NOT_FOUND, &[&id]).to_string(),
        };
        Ok(Response::new(pb::UnlockDdlLockResponse {
            result: false,
            msg,
        }))
    }

    async fn remove_meta(
        &self,
        request: Request<RemoveMetaRequest>,
    ) -> Result<Response<RemoveMetaResponse>, Status> {
        let task: TaskName = request.into_inner().task.into();
        if task.is_empty() {
            return Err(Status::invalid_argument("the request names no task"));
        }
        let removed = self
            .handle
            .write(move |m: &Optimist| -> Result<Plan<usize>, Infallible> {
                Ok(m.plan_remove_meta(&task))
            });
        let deleted = match removed.await {
            Ok(deleted) => deleted,
            Err(WriteError::Rejected(never)) => match never {},
            Err(WriteError::Refused(refused)) => return Err(unavailable(&refused)),
            Err(error) => return Err(Status::aborted(error.to_string())),
        };
        let revision = match deleted {
            0 => Revision::ZERO,
            _ => self.revision(true).await?,
        };
        Ok(Response::new(RemoveMetaResponse {
            deleted: i64::try_from(deleted).unwrap_or(i64::MAX),
            revision: revision.0,
        }))
    }

    async fn watch_locks(
        &self,
        _: Request<WatchLocksRequest>,
    ) -> Result<Response<Self::WatchLocksStream>, Status> {
        self.revision(false).await?;
        let (changes, stream) = mpsc::channel(1);
        let (mut status, stopping) = (self.handle.status(), self.stopping.clone());
        // Nothing ever changes; the stream ends with the lead, as that of a service with locks does.
        tokio::spawn(async move {
            tokio::select! {
                _ = status.wait_for(|status| status.leads.is_none()) => {}
                () = stopping.cancelled() => {}
                () = changes.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
