//! `dm.optimist.v1.Optimist`: what the folded state shows, and what an operator decides by hand.
//!
//! Each method asks the replica and encodes; none decides anything.

mod encode;
mod watch;

use std::convert::Infallible;

use dm_keyspace::optimism::task_of_lock_id;
use dm_keyspace::{SourceId, TaskName};
use dm_proto::optimist::optimist_server::Optimist as Service;
use dm_proto::optimist::{
    RemoveMetaRequest, RemoveMetaResponse, ShowDdlLocksResponse, WatchLocksRequest,
    WatchLocksResponse,
};
use dm_proto::pb;
use dm_replica::{Handle, Plan, Refused, WriteError};
use dm_service::layers::forward::{STALE_READ, WITHOUT_DETAILS};
use dm_service::replicated::changes;
use dm_store::Revision;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::errors;
use crate::machine::{LockView, Optimist, TableId, UnlockRefusal, UnlockRequest};

/// The answer when no lock is to be shown.
const NO_LOCK: &str = "no DDL lock exists";

/// How locks are asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    is_stale: bool,
    details: bool,
}

impl Asked {
    fn by(metadata: &MetadataMap) -> Self {
        let is_set = |name| metadata.get(name).is_some_and(|value| value == "true");
        Self {
            is_stale: is_set(STALE_READ),
            details: !is_set(WITHOUT_DETAILS),
        }
    }
}

/// What there is to show.
struct Seen {
    locks: Vec<LockView>,
    faults: Vec<(String, String)>,
    at: Revision,
}

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

    /// What is shown of the locks of a task, and the records that nothing can be made of.
    async fn look(
        &self,
        task: String,
        sources: Vec<SourceId>,
        asked: Asked,
    ) -> Result<Seen, Status> {
        let look = move |m: &Optimist, at: Revision| {
            let faults = m.faults();
            Seen {
                locks: match asked.details {
                    true => m.locks(&task, &sources),
                    false => m.locks_in_brief(&task, &sources),
                },
                faults: faults
                    .map(|(key, fault)| (key.to_owned(), fault.what.clone()))
                    .collect(),
                at,
            }
        };
        let seen = if asked.is_stale {
            self.handle.read_stale(look).await
        } else {
            self.handle.read(look).await
        };
        seen.map_err(|e| unavailable(&e))
    }

    /// Decides a conflict. The inner error is a text for the client.
    async fn unlock(
        &self,
        request: pb::UnlockDdlLockRequest,
    ) -> Result<Result<(), String>, Status> {
        self.revision(false).await?;
        let task: TaskName = task_of_lock_id(&request.id).into();
        if task.is_empty() {
            return Ok(Err(errors::NO_TASK_IN_LOCK_ID.to_owned()));
        }
        let [source] = request.sources.as_slice() else {
            return Ok(Err(errors::NOT_ONE_SOURCE.to_owned()));
        };
        let wanted = UnlockRequest {
            table: TableId {
                source: source.as_str().into(),
                schema: request.database,
                table: request.table,
            },
            executes: request.op == pb::UnlockDdlLockOp::ExecLock as i32,
            id: request.id,
        };
        let asked = wanted.clone();
        let decided = self
            .handle
            .write(move |m: &Optimist| -> Result<Plan<()>, UnlockRefusal> {
                m.plan_unlock(&task, &asked)
            });
        match decided.await {
            Ok(()) => Ok(Ok(())),
            Err(WriteError::Rejected(refusal)) => {
                Ok(Err(errors::refusal(&wanted, &refusal).to_string()))
            }
            Err(WriteError::Refused(refused)) => Err(unavailable(&refused)),
            Err(error) => Err(Status::aborted(error.to_string())),
        }
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
        let asked = Asked::by(request.metadata());
        let pb::ShowDdlLocksRequest { task, sources } = request.into_inner();
        let sources: Vec<SourceId> = sources.into_iter().map(Into::into).collect();
        let Seen { locks, faults, at } = self.look(task, sources.clone(), asked).await?;
        let msg = match encode::message(&locks, &faults) {
            nothing if nothing.is_empty() && locks.is_empty() => NO_LOCK.to_owned(),
            said => said,
        };
        let rows = locks.iter().flat_map(|lock| encode::rows(lock, &sources));
        let details = locks.iter().filter(|_| asked.details).map(encode::detail);
        Ok(Response::new(ShowDdlLocksResponse {
            result: true,
            msg,
            locks: rows.collect(),
            details: details.collect(),
            revision: at.0,
        }))
    }

    async fn unlock_ddl_lock(
        &self,
        request: Request<pb::UnlockDdlLockRequest>,
    ) -> Result<Response<pb::UnlockDdlLockResponse>, Status> {
        let (result, msg) = match self.unlock(request.into_inner()).await? {
            Ok(()) => (true, String::new()),
            Err(msg) => (false, msg),
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
        request: Request<WatchLocksRequest>,
    ) -> Result<Response<Self::WatchLocksStream>, Status> {
        self.revision(false).await?;
        let task = request.into_inner().task;
        let look = move |m: &Optimist| m.locks(&task, &[]);
        let changes = changes(self.handle.clone(), self.stopping.clone(), look);
        let messages = changes.map(|change| Ok(watch::message(&change)));
        Ok(Response::new(messages.boxed()))
    }
}
