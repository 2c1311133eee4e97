//! The gRPC methods of `dm.scheduler.v1.Scheduler`.
//!
//! Each method checks its request, does what is slow (databases, other services) outside the loop, proposes, and
//! answers when the feed has brought the write back. What a user has done wrong is an answer with `result: false`
//! and DM's error text; a gRPC error means that this replica could not answer at all.

mod config;
mod failure;
mod operate_task;
mod query_status;
mod relay;
mod service;
mod source;
mod start_task;
mod transfer;
mod validation;
mod verdict;
mod wait;
mod worker;
mod worker_calls;

use dm_keyspace::{SourceId, TaskName};
use dm_replica::Handle;
use dm_service::client::Channels;
use dm_task::secret::SecretKey;
use tonic::{Request, Response};

use crate::latch::Latches;
use crate::machine::Scheduler;
use crate::settings::Limits;
use crate::workers::Workers;

use failure::Failure;

/// A worker's methods, as callers of [`Workers::call`] get them.
type WorkerClient = dm_proto::pb::worker_client::WorkerClient<dm_service::client::Channel>;

/// Answers requests on behalf of one replica. Clones share everything.
#[derive(Clone, Debug)]
pub struct Api {
    handle: Handle<Scheduler>,
    channels: Channels,
    workers: Workers,
    limits: Limits,
    max_txn_ops: usize,
    latches: Latches,
    secret_key: Option<SecretKey>,
}

impl Api {
    /// `channels` lead to the workers and to the leaders of the other roles; `secret_key` decrypts passwords in
    /// configurations; `max_txn_ops` is etcd's limit.
    #[must_use]
    pub fn new(
        handle: Handle<Scheduler>,
        channels: Channels,
        limits: Limits,
        secret_key: Option<SecretKey>,
        max_txn_ops: usize,
    ) -> Self {
        let workers = Workers::new(
            channels.clone(),
            limits.rpc_concurrency.into(),
            limits.rpc_timeout,
        );
        Self {
            handle,
            channels,
            workers,
            limits,
            max_txn_ops,
            latches: Latches::default(),
            secret_key,
        }
    }

    /// Looks at the state: the leader's, or with `dm-stale-read: true` this replica's own.
    async fn look<T: Send + 'static>(
        &self,
        freshness: Freshness,
        look: impl FnOnce(&Scheduler) -> T + Send + 'static,
    ) -> Result<Seen<T>, Failure> {
        let look = |machine: &Scheduler, at: dm_store::Revision| Seen {
            value: look(machine),
            at,
        };
        match freshness {
            Freshness::Leader => Ok(self.handle.read(look).await?),
            Freshness::Any => Ok(self.handle.read_stale(look).await?),
        }
    }
}

/// Whose state a read may be answered from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Freshness {
    Leader,
    Any,
}

impl Freshness {
    fn of<T>(request: &Request<T>) -> Self {
        let stale = request
            .metadata()
            .get(dm_service::layers::forward::STALE_READ);
        if stale.is_some_and(|value| value == "true") {
            Self::Any
        } else {
            Self::Leader
        }
    }
}

/// Something read, and the revision that it was read at.
struct Seen<T> {
    value: T,
    at: dm_store::Revision,
}

impl<T> Seen<T> {
    /// The answer, with the revision in its metadata.
    fn into_response(self) -> Response<T> {
        let mut response = Response::new(self.value);
        response
            .metadata_mut()
            .insert("dm-revision", self.at.0.into());
        response
    }
}

fn sources(names: &[String]) -> Vec<SourceId> {
    names
        .iter()
        .map(|name| SourceId::from(name.as_str()))
        .collect()
}

fn task(name: &str) -> TaskName {
    TaskName::from(name)
}
