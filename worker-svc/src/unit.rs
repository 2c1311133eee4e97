//! What all units of a subtask share.

pub mod steps;

use dm_keyspace::{SourceId, TaskName, WorkerName};
use dm_store::Store;
use dm_task::{DbConfig, SubtaskConfig};
use tokio_util::sync::CancellationToken;

use crate::downstream::meta::Records;
use crate::error::{Error, Result};
use crate::exceptions::Exceptions;
use crate::permit::Permit;
use crate::rules::Rules;
use crate::shard::coordinator::Coordinator;
use crate::shard::optimist::Optimist;
use crate::status::Board;
use steps::Steps;

/// The surroundings of one run of a subtask.
#[derive(Clone, Debug)]
pub struct Context {
    /// The task.
    pub task: TaskName,
    /// The source.
    pub source: SourceId,
    /// This worker.
    pub worker: WorkerName,
    /// The subtask as etcd has it.
    pub config: SubtaskConfig,
    /// How to reach the source.
    pub from: DbConfig,
    /// Compiled rules.
    pub rules: Rules,
    /// The records in the downstream.
    pub records: Records,
    /// Revision of the bound under which this run happens; orders the epochs of its writers.
    pub bound_revision: i64,
    /// etcd.
    pub store: Store,
    /// Figures for the status.
    pub board: Board,
    /// Ends with the lease.
    pub permit: Permit,
    /// Ends the run.
    pub cancel: CancellationToken,
    /// The way to the other sources.
    pub coordinator: Coordinator,
    /// What a user has ordered for single statements.
    pub exceptions: Exceptions,
    /// Whoever watches the steps of a DDL.
    pub steps: Steps,
}

impl Context {
    /// Whether shard DDL waits for the other sources.
    pub fn is_pessimistic(&self) -> bool {
        self.config.shard_mode == "pessimistic"
    }

    /// Whether shard DDL goes on as far as it agrees with that of the other tables.
    pub fn is_optimistic(&self) -> bool {
        self.config.shard_mode == "optimistic"
    }

    /// Whether a conflict of optimistic shard DDL is an error instead of a wait.
    pub fn is_strict(&self) -> bool {
        self.config.strict_optimistic_shard_mode
    }

    /// The way to the other tables in optimistic mode.
    pub fn optimist(&self) -> Optimist {
        Optimist::new(self.coordinator.clone())
    }

    /// Runs `work` until it is done, the run is cancelled, or the lease ends.
    pub async fn guarded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::Cancelled),
            () = self.permit.ended() => Err(Error::LeaseEnded),
            done = work => done,
        }
    }
}
