//! `dm.pessimist.v1.Pessimist`: what the folded state shows, and what an operator changes by hand.
//!
//! Each method asks the replica and encodes; none decides anything.

mod encode;
mod watch;

use dm_keyspace::TaskName;
use dm_keyspace::pessimism::task_of_lock_id;
use dm_proto::pb;
use dm_proto::pessimist::pessimist_server::Pessimist as Service;
use dm_proto::pessimist::{
    RemoveMetaRequest, RemoveMetaResponse, ShowDdlLocksResponse, WatchLocksRequest,
    WatchLocksResponse,
};
use dm_replica::{Handle, Plan, Refused, WriteError};
use dm_service::layers::forward::STALE_READ;
use dm_store::Revision;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::errors;
use crate::machine::{LockView, Pessimist, UnlockRefusal, UnlockRequest};
use crate::settings::Limits;

/// The answer when no lock is to be shown.
const NO_LOCK: &str = "no DDL lock exists";

/// The gRPC methods of one replica.
#[derive(Clone, Debug)]
pub struct Api {
    handle: Handle<Pessimist>,
    limits: Limits,
    stopping: CancellationToken,
}

impl Api {
    /// Methods that ask this replica, and end their streams at `stopping`.
    #[must_use]
    pub fn new(handle: Handle<Pessimist>, limits: Limits, stopping: CancellationToken) -> Self {
        Self {
            handle,
            limits,
            stopping,
        }
    }

    async fn locks(
        &self,
        request: Request<pb::ShowDdlLocksRequest>,
    ) -> Result<(Vec<LockView>, Revision), Refused> {
        let is_stale = request
            .metadata()
            .get(STALE_READ)
            .is_some_and(|value| value == "true");
        let pb::ShowDdlLocksRequest { task, sources } = request.into_inner();
        let sources: Vec<_> = sources.into_iter().map(Into::into).collect();
        let look = move |m: &Pessimist, at: Revision| (m.locks(&task, &sources), at);
        if is_stale {
            self.handle.read_stale(look).await
        } else {
            self.handle.read(look).await
        }
    }

    /// Carries an unlock from the request to its outcome. The text is empty, or tells what remains to be done.
    async fn unlock(&self, request: pb::UnlockDdlLockRequest) -> Result<String, Failure> {
        let id = request.id;
        let task: TaskName = task_of_lock_id(&id).into();
        if task.is_empty() {
            return Err(Failure::Answer(errors::NO_TASK_IN_LOCK_ID.to_owned()));
        }
        let replace_owner =
            (!request.replace_owner.is_empty()).then(|| request.replace_owner.into());
        let wanted = UnlockRequest {
            id: id.clone(),
            replace_owner,
            force_remove: request.force_remove,
        };
        let of = task.clone();
        let begun = self.handle.write(
            move |m: &Pessimist| -> Result<Plan<Revision>, UnlockRefusal> {
                // The workers of a stopped task never answer.
                let force_remove = wanted.force_remove || !m.is_running(&of);
                m.plan_unlock(
                    &of,
                    &UnlockRequest {
                        force_remove,
                        ..wanted.clone()
                    },
                )
            },
        );
        let since = begun.await?;
        let lock = id.clone();
        let limit = self.limits.unlock_call_wait;
        let outcome = self
            .handle
            .wait_until(limit, move |m| m.unlock_outcome(&task, &lock, since))
            .await?;
        match outcome {
            Some(outcome) => {
                errors::outcome(&id, outcome).map_err(|e| Failure::Answer(e.to_string()))
            }
            None => Err(Failure::Answer(format!(
                "the lock {id} is still being unlocked, and that goes on without this call; `shard-ddl-lock --detail` tells what it waits for"
            ))),
        }
    }
}

/// How a request ends that does not succeed.
enum Failure {
    /// With a text for the client, in an answer.
    Answer(String),
    /// Not here, not now: the call itself fails.
    Unavailable(Status),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Unavailable(unavailable(&refused))
    }
}

impl From<WriteError<UnlockRefusal>> for Failure {
    fn from(error: WriteError<UnlockRefusal>) -> Self {
        match error {
            WriteError::Rejected(refusal) => Self::Answer(errors::refusal(&refusal).to_string()),
            WriteError::Refused(refused) => refused.into(),
            error @ (WriteError::Unacceptable(_) | WriteError::Contended | WriteError::Unknown) => {
                Self::Unavailable(Status::aborted(error.to_string()))
            }
        }
    }
}

fn unavailable(refused: &Refused) -> Status {
    match refused {
        Refused::NotLeader => Status::unavailable(errors::not_started().to_string()),
        Refused::NotLoaded | Refused::Stopping => Status::unavailable(refused.to_string()),
    }
}

#[tonic::async_trait]
impl Service for Api {
    type WatchLocksStream = BoxStream<'static, Result<WatchLocksResponse, Status>>;

    async fn show_ddl_locks(
        &self,
        request: Request<pb::ShowDdlLocksRequest>,
    ) -> Result<Response<ShowDdlLocksResponse>, Status> {
        let (locks, at) = self.locks(request).await.map_err(|e| unavailable(&e))?;
        let msg = if locks.is_empty() { NO_LOCK } else { "" };
        Ok(Response::new(ShowDdlLocksResponse {
            result: true,
            msg: msg.to_owned(),
            locks: locks.iter().map(encode::lock).collect(),
            details: locks.iter().map(encode::detail).collect(),
            revision: at.0,
        }))
    }

    async fn unlock_ddl_lock(
        &self,
        request: Request<pb::UnlockDdlLockRequest>,
    ) -> Result<Response<pb::UnlockDdlLockResponse>, Status> {
        let (result, msg) = match self.unlock(request.into_inner()).await {
            Ok(msg) => (true, msg),
            Err(Failure::Answer(msg)) => (false, msg),
            Err(Failure::Unavailable(status)) => return Err(status),
        };
        Ok(Response::new(pb::UnlockDdlLockResponse { result, msg }))
    }

    async fn remove_meta(
        &self,
        request: Request<RemoveMetaRequest>,
    ) -> Result<Response<RemoveMetaResponse>, Status> {
        let task: TaskName = request.into_inner().task.into();
        if task.is_empty() {
            return Err(Status::invalid_argument("the request names no task"));
        }
        let removed =
            self.handle
                .write(move |m: &Pessimist| -> Result<Plan<usize>, UnlockRefusal> {
                    Ok(m.plan_remove_meta(&task))
                });
        let deleted = match removed.await {
            Ok(deleted) => deleted,
            Err(WriteError::Refused(refused)) => return Err(unavailable(&refused)),
            Err(error) => return Err(Status::aborted(error.to_string())),
        };
        let at = match deleted {
            0 => Revision::ZERO,
            _ => self
                .handle
                .read_stale(|_, at| at)
                .await
                .map_err(|e| unavailable(&e))?,
        };
        Ok(Response::new(RemoveMetaResponse {
            deleted: i64::try_from(deleted).unwrap_or(i64::MAX),
            revision: at.0,
        }))
    }

    async fn watch_locks(
        &self,
        request: Request<WatchLocksRequest>,
    ) -> Result<Response<Self::WatchLocksStream>, Status> {
        self.handle
            .read(|_, _| ())
            .await
            .map_err(|e| unavailable(&e))?;
        let task = request.into_inner().task;
        let changes = watch::follow(self.handle.clone(), self.stopping.clone(), task);
        let messages = changes.map(Ok);
        Ok(Response::new(messages.boxed()))
    }
}
